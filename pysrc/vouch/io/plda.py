"""Kaldi's Plda files, binary and text."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from vouch.errors import VouchError
from vouch.io.tables import open_input, open_output

_TYPES = {b"F": np.dtype("<f4"), b"D": np.dtype("<f8")}


def read_plda(rxfilename: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a Kaldi PLDA model: (mean `(dims,)`, transform `(dims, dims)`, psi `(dims,)`), float64.

    Binary (single or double precision) and text forms are told apart by the file itself.
    Raises VouchError when the file is not a whole PLDA model.
    """
    with open_input(rxfilename) as stream:
        data = stream.read()
    try:
        mean, transform, psi = _parse_binary(data) if data.startswith(b"\0B") else _parse_text(data)
    except (ValueError, IndexError, struct.error) as error:
        raise VouchError(
            f"{rxfilename} is not a Kaldi PLDA model ({error}): train it again with ivector-compute-plda"
        ) from None
    dims = len(mean)
    if not dims or transform.shape != (dims, dims) or psi.shape != (dims,):
        raise VouchError(
            f"{rxfilename}: mean {mean.shape}, transform {transform.shape} and psi {psi.shape} do not fit "
            "together: train the model again with ivector-compute-plda"
        )
    return mean, transform, psi


def write_plda(wxfilename: str, mean: np.ndarray, transform: np.ndarray, psi: np.ndarray, binary: bool = True) -> None:
    """Write a Kaldi PLDA model of float64 `(dims,)`, `(dims, dims)`, `(dims,)`; text has 7 digits, as Kaldi's."""
    with open_output(wxfilename) as stream:
        (_write_binary if binary else _write_text)(stream, mean, transform, psi)


def _write_binary(stream: BinaryIO, mean: np.ndarray, transform: np.ndarray, psi: np.ndarray) -> None:
    stream.write(b"\0B<Plda> ")
    for array in (mean, transform, psi):
        sizes = b"".join(b"\4" + struct.pack("<i", size) for size in array.shape)
        stream.write((b"DV " if array.ndim == 1 else b"DM ") + sizes + array.astype("<f8").tobytes())
    stream.write(b"</Plda> ")


def _write_text(stream: BinaryIO, mean: np.ndarray, transform: np.ndarray, psi: np.ndarray) -> None:
    def numbers(row: np.ndarray) -> str:
        return "".join(f"{value:.7g} " for value in row.tolist())

    rows = "".join(f"\n  {numbers(row)}" for row in transform)
    stream.write(f"<Plda>  [ {numbers(mean)}]\n [{rows}]\n [ {numbers(psi)}]\n</Plda> ".encode())


def _parse_binary(data: bytes) -> list[np.ndarray]:
    arrays, position = [], _skip(data, 2, b"<Plda> ")
    for kind in (b"V", b"M", b"V"):
        dtype = _TYPES.get(data[position : position + 1])
        if dtype is None or data[position + 1 : position + 3] != kind + b" ":
            raise ValueError(f"no {'matrix' if kind == b'M' else 'vector'} at byte {position}")
        position += 3
        shape = []
        for _ in range(2 if kind == b"M" else 1):
            shape.append(struct.unpack_from("<i", data, _skip(data, position, b"\4"))[0])
            position += 5
        size = int(np.prod(shape)) * dtype.itemsize
        if size < 0 or position + size > len(data):
            raise ValueError("it ends early")
        arrays.append(np.frombuffer(data, dtype, size // dtype.itemsize, position).reshape(shape).astype("f8"))
        position += size
    _skip(data, position, b"</Plda> ")
    return arrays


def _skip(data: bytes, position: int, token: bytes) -> int:
    if data[position : position + len(token)] != token:
        raise ValueError(f"no {token!r} at byte {position}")
    return position + len(token)


def _parse_text(data: bytes) -> list[np.ndarray]:
    text = data.decode("ascii").strip()
    if not (text.startswith("<Plda>") and text.endswith("</Plda>")):
        raise ValueError("no <Plda> … </Plda>")
    parts = text.removeprefix("<Plda>").removesuffix("</Plda>").split("]")
    if len(parts) != 4 or parts[3].strip() or not all(part.lstrip().startswith("[") for part in parts[:3]):
        raise ValueError("it does not hold three arrays in brackets")
    mean, transform, psi = (part.lstrip()[1:] for part in parts[:3])
    rows = [np.array(line.split(), dtype=np.float64) for line in transform.splitlines() if line.strip()]
    return [np.array(mean.split(), dtype=np.float64), np.array(rows), np.array(psi.split(), dtype=np.float64)]
