"""Plda files: Kaldi's bytes both ways, and damaged files."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.io.plda import read_plda, write_plda

MODEL = (np.array([1.0, -2.5]), np.array([[0.5, 1e-7], [-3.0, 123456789.0]]), np.array([2.0, 0.25]))


@pytest.mark.parametrize("binary", [True, False])
def test_round_trip(tmp_path, binary):
    path = str(tmp_path / "plda")
    write_plda(path, *MODEL, binary=binary)
    for got, wanted in zip(read_plda(path), MODEL, strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, wanted, rtol=0 if binary else 1e-6)


def test_text_form(tmp_path):
    write_plda(str(tmp_path / "plda"), *MODEL, binary=False)
    assert (tmp_path / "plda").read_text() == (
        "<Plda>  [ 1 -2.5 ]\n [\n  0.5 1e-07 \n  -3 1.234568e+08 ]\n [ 2 0.25 ]\n</Plda> "
    )


def test_reads_single_precision(tmp_path):
    size = b"\4" + struct.pack("<i", 1)
    one, two = struct.pack("<f", 1.5), struct.pack("<f", 2.5)
    data = b"\0B<Plda> FV " + size + one + b"FM " + size + size + two + b"FV " + size + one + b"</Plda> "
    (tmp_path / "plda").write_bytes(data)
    assert [array.ravel().tolist() for array in read_plda(str(tmp_path / "plda"))] == [[1.5], [2.5], [1.5]]


def test_every_truncation_is_refused(tmp_path):
    for binary in (True, False):
        write_plda(str(tmp_path / "whole"), *MODEL, binary=binary)
        data = (tmp_path / "whole").read_bytes()
        for length in range(len(data) - 1):  # the last byte is a space
            (tmp_path / "cut").write_bytes(data[:length])
            with pytest.raises(VouchError, match="cut"):
                read_plda(str(tmp_path / "cut"))


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    write_plda(str(tmp_path / "odd"), MODEL[0], MODEL[1][:1], MODEL[2])
    with pytest.raises(VouchError, match="odd: .* do not fit together"):
        read_plda(str(tmp_path / "odd"))


def test_kaldi_files_are_read_and_written_byte_for_byte(golden, tmp_path):
    models = np.load(golden / "backend" / "plda_models.npz")
    for name, binary in (("plda", True), ("plda_text", False)):
        source = golden / "backend" / name
        read = read_plda(str(source))
        for array, part in zip(read, ("mean", "transform", "psi"), strict=True):
            np.testing.assert_allclose(array, models[f"plda/{part}"], rtol=0 if binary else 1e-6)
        write_plda(str(tmp_path / name), *read, binary=binary)
        assert (tmp_path / name).read_bytes() == source.read_bytes()
    write_plda(str(tmp_path / "converted"), *read_plda(str(golden / "backend" / "plda")), binary=False)
    assert (tmp_path / "converted").read_bytes() == (golden / "backend" / "plda_text").read_bytes()
