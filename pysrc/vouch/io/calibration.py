"""The text file of a calibration: a line each of slope, offset, prior and, where there are qualities, their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vouch.errors import VouchError
from vouch.io.streams import open_output
from vouch.io.tables import read_token_lines

_KEYS = ["slope", "offset", "prior"]
_FIX = "give a model of `vouch train-calibration`"


def read_calibration(rxfilename: str) -> tuple[float, float, float, list[float]]:
    """(slope, offset, prior, weights) of a file with the lines 'slope NUMBER', 'offset NUMBER', 'prior NUMBER' and,
    where it takes qualities, 'qualities NUMBER NUMBER ...'; else there are no weights.

    Raises VouchError on other lines and on numbers that are not finite.
    """
    lines = list(read_token_lines(rxfilename))
    names = [line[0] for line in lines if len(line) == 2 or (line[0] == "qualities" and len(line) > 2)]
    if names not in (_KEYS, [*_KEYS, "qualities"]) or len(lines) != len(names):
        raise VouchError(f"{rxfilename} has not the lines {', '.join(_KEYS)} of a calibration: {_FIX}")
    try:
        slope, offset, prior, *weights = (float(text) for line in lines for text in line[1:])
    except ValueError:
        slope = offset = prior = math.nan
        weights = []
    if not all(map(math.isfinite, (slope, offset, prior, *weights))):
        raise VouchError(f"{rxfilename}: its values are no finite numbers; {_FIX}")
    return slope, offset, prior, weights


def write_calibration(wxfilename: str, slope: float, offset: float, prior: float, weights: Sequence[float]) -> None:
    """Write the file, 9 digits each."""
    lines = {"slope": [slope], "offset": [offset], "prior": [prior], "qualities": weights}
    with open_output(wxfilename) as stream:
        for key, values in lines.items():
            if len(values):
                stream.write(f"{key} {' '.join(f'{value:.9g}' for value in values)}\n".encode())
