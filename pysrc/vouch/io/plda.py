"""Kaldi's Plda files, binary and text."""

from __future__ import annotations

import numpy as np

from vouch.errors import VouchError
from vouch.io.objects import read_object, write_object


def read_plda(rxfilename: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a Kaldi PLDA model: (mean `(dims,)`, transform `(dims, dims)`, psi `(dims,)`), float64.

    Binary (single or double precision) and text forms are told apart by the file itself.
    Raises VouchError when the file is not a whole PLDA model.
    """
    with read_object(rxfilename, "a PLDA model", "give a model of ivector-compute-plda") as reader:
        reader.expect("<Plda>")
        mean, transform, psi = reader.vector(), reader.matrix(), reader.vector()
        reader.expect("</Plda>")
        dims = len(mean)
        if not dims or transform.shape != (dims, dims) or psi.shape != (dims,):
            raise VouchError(
                f"{rxfilename}: mean {mean.shape}, transform {transform.shape} and psi {psi.shape} do not fit "
                "together: train the model again with ivector-compute-plda"
            )
        reader.check_numbers(mean=mean, transform=transform, psi=psi)
        if psi.min() < 0:
            reader.fail(f"its psi, variances between speakers, hold the number {psi.min():g}")
    return mean, transform, psi


def write_plda(wxfilename: str, mean: np.ndarray, transform: np.ndarray, psi: np.ndarray, binary: bool = True) -> None:
    """Write a Kaldi PLDA model of `(dims,)`, `(dims, dims)`, `(dims,)` in double precision; text has 7 digits."""
    with write_object(wxfilename, binary) as writer:
        writer.token("<Plda>")
        writer.vector(mean, double=True)
        writer.matrix(transform, double=True)
        writer.vector(psi, double=True)
        writer.token("</Plda>")
