"""Kaldi's file of a logistic regression: `<LogisticRegression> <weights> matrix <class> list </LogisticRegression>`.

Source of the form: Kaldi's ivector/logistic-regression.
"""

from __future__ import annotations

import numpy as np

from vouch.io.objects import read_object, write_object


def read_logistic_regression(rxfilename: str) -> tuple[np.ndarray, np.ndarray]:
    """(weights `(components, dims + 1)` float64, classes `(components,)` int32) of a model file, binary or text.

    Older files have no classes; then component i is class i. Raises VouchError on a damaged file or another model.
    """
    with read_object(rxfilename, "a logistic regression", "give a model of logistic-regression-train") as reader:
        reader.expect("<LogisticRegression>")
        reader.expect("<weights>")
        weights = reader.matrix()
        if reader.expect("<class>", "</LogisticRegression>") == "<class>":
            classes = np.asarray(reader.int_vector(), dtype=np.int32)
            reader.expect("</LogisticRegression>")
        else:
            classes = np.arange(len(weights), dtype=np.int32)
        if not weights.size or len(classes) != len(weights) or classes.min() < 0:
            reader.fail(f"it has {len(weights)} components, and classes for {len(classes)}")
        if not np.isfinite(weights).all():
            reader.fail("its weights are not finite")
    return weights, classes


def write_logistic_regression(wxfilename: str, weights: np.ndarray, classes: np.ndarray, binary: bool = True) -> None:
    """Write weights `(components, dims + 1)` in single precision and classes `(components,)`."""
    with write_object(wxfilename, binary) as writer:
        writer.token("<LogisticRegression>")
        writer.token("<weights>")
        writer.matrix(weights)
        writer.token("<class>")
        writer.int_vector(classes)
        writer.token("</LogisticRegression>")
