"""The text file of a calibration: a line each of slope, offset and prior."""

from __future__ import annotations

import math

from vouch.errors import VouchError
from vouch.io.streams import open_output
from vouch.io.tables import read_token_lines

_KEYS = ["slope", "offset", "prior"]
_FIX = "give a model of `vouch train-calibration`"


def read_calibration(rxfilename: str) -> tuple[float, float, float]:
    """(slope, offset, prior) of a file with the lines 'slope NUMBER', 'offset NUMBER' and 'prior NUMBER'.

    Raises VouchError on other lines and on numbers that are not finite.
    """
    lines = list(read_token_lines(rxfilename))
    if [line[0] for line in lines if len(line) == 2] != _KEYS or len(lines) != len(_KEYS):
        raise VouchError(f"{rxfilename} has not the three lines {', '.join(_KEYS)} of a calibration: {_FIX}")
    try:
        slope, offset, prior = (float(text) for _, text in lines)
    except ValueError:
        slope = offset = prior = math.nan
    if not all(map(math.isfinite, (slope, offset, prior))):
        raise VouchError(f"{rxfilename}: its values are no finite numbers; {_FIX}")
    return slope, offset, prior


def write_calibration(wxfilename: str, slope: float, offset: float, prior: float) -> None:
    """Write the file, 9 digits each."""
    with open_output(wxfilename) as stream:
        for key, value in zip(_KEYS, (slope, offset, prior), strict=True):
            stream.write(f"{key} {value:.9g}\n".encode())
