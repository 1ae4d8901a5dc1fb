"""Kaldi's lossy matrix forms CM, CM2 and CM3, to the bit (matrix/compressed-matrix).

kaldiio's own codec is not used: it does not clamp (methods 4, 6 and 7 wrap around) and rounds otherwise than Kaldi in
the last bit. Every step below therefore keeps Kaldi's mixture of single and double precision.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

AUTO, SPEECH, TWO_BYTE_AUTO, TWO_BYTE_SIGNED, ONE_BYTE_AUTO, ONE_BYTE_UNSIGNED, ONE_BYTE_ZERO_ONE = range(1, 8)
# method -> (smallest value, range of values); the others take them from the matrix
_FIXED = {TWO_BYTE_SIGNED: (-32768.0, 65535.0), ONE_BYTE_UNSIGNED: (0.0, 255.0), ONE_BYTE_ZERO_ONE: (0.0, 1.0)}
HEADER = struct.Struct("<ffii")
LEVELS = {"CM2": (np.dtype("<u2"), 65535), "CM3": (np.dtype("u1"), 255)}
_U16_STEP = np.float32(1.52590218966964e-05)
_BLOCK = 1024  # rows coded together


def compress(matrix: np.ndarray, method: int) -> bytes:
    """A matrix (rows, columns) as Kaldi writes it with --compression-method=1 … 7, from the type token on.

    Raises ValueError on NaN or infinite values, which these forms cannot hold, and on another method.
    """
    if method not in range(1, 8):
        raise ValueError(f"compression method {method} is not one of 1 to 7")
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    rows, cols = matrix.shape
    if not matrix.size:
        return b"CM " + HEADER.pack(0, 0, 0, 0)
    if method == AUTO:
        method = SPEECH if rows > 8 else TWO_BYTE_AUTO
    low, width = _limits(matrix, method)
    header = HEADER.pack(low, width, rows, cols)
    if method == SPEECH:
        return b"CM " + header + _compress_columns(matrix, low, width)
    kind = "CM2" if method in (TWO_BYTE_AUTO, TWO_BYTE_SIGNED) else "CM3"
    dtype, top = LEVELS[kind]
    codes = np.empty(matrix.shape, dtype)
    for block in _row_blocks(matrix):
        codes[block] = _quantise(matrix[block], low, width, top)
    return b"".join((kind.encode(), b" ", header, codes))


def _row_blocks(matrix: np.ndarray) -> Iterator[slice]:
    """Slices of some rows each: what is computed on the way to a code takes 20 times its space."""
    return (slice(start, start + _BLOCK) for start in range(0, len(matrix), _BLOCK))


def _limits(matrix: np.ndarray, method: int) -> tuple[np.float32, np.float32]:
    low, high = matrix.min(), matrix.max()
    with np.errstate(over="ignore", invalid="ignore"):
        width = high - low
    if not np.isfinite(width):
        raise ValueError("NaN, infinite or too large values cannot be compressed; write without compression")
    if method in _FIXED:
        return np.float32(_FIXED[method][0]), np.float32(_FIXED[method][1])
    if low == high:
        width = (low + (np.float32(1) + abs(low))) - low
    return low, width


def _quantise(values: np.ndarray, low: np.float32, width: np.float32, top: int) -> np.ndarray:
    fraction = np.clip((values - low) / width, np.float32(0), np.float32(1))
    return ((fraction * np.float32(top)).astype(np.float64) + 0.499).astype(np.int64)


def _compress_columns(matrix: np.ndarray, low: np.float32, width: np.float32) -> bytes:
    marks = _percentiles(matrix, low, width)
    codes = np.empty(matrix.shape, np.uint8)
    for block in _row_blocks(matrix):
        codes[block] = _column_codes(matrix[block], _u16_to_float(marks.T, low, width))
    return marks.astype("<u2").tobytes() + codes.T.tobytes()


def _column_codes(matrix: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The code of each value, between the marks (4, columns)."""
    p0, p25, p75, p100 = marks
    scaled = [
        (matrix - start) / (stop - start) * np.float32(steps)
        for start, stop, steps in ((p0, p25, 64), (p25, p75, 128), (p75, p100, 63))
    ]
    low_part, middle, high_part = (np.trunc(part.astype(np.float64) + 0.5) for part in scaled)
    return np.where(
        matrix < p25,
        np.clip(low_part, 0, 64),
        np.where(matrix < p75, np.clip(64 + middle, 64, 192), np.clip(192 + high_part, 192, 255)),
    )


def _percentiles(matrix: np.ndarray, low: np.float32, width: np.float32) -> np.ndarray:
    """The four marks of every column, (columns, 4): smallest, quartiles, largest; strictly increasing."""
    rows = len(matrix)
    if rows >= 5:
        places = [0, rows // 4, 3 * (rows // 4), rows - 1]
        values = np.partition(matrix, places, axis=0)[places]
    else:
        values = np.sort(matrix, axis=0)
    marks = np.zeros((4, matrix.shape[1]), np.int64)
    marks[: len(values)] = _quantise(values, low, width, 65535)
    marks[0] = np.minimum(marks[0], 65532)
    for place, most in ((1, 65533), (2, 65534), (3, 65535)):
        marks[place] = np.minimum(np.maximum(marks[place], marks[place - 1] + 1), most)
    return marks.T


def _u16_to_float(codes: np.ndarray, low: np.float32, width: np.float32) -> np.ndarray:
    return np.float32(low) + np.float32(width) * _U16_STEP * codes.astype(np.float32)


def decompress_levels(codes: np.ndarray, low: float, width: float, top: int) -> np.ndarray:
    """CM2 (top = 65535) or CM3 (top = 255) codes (rows, columns) to float32."""
    step = np.float32(np.float64(np.float32(width)) * (1.0 / top))
    return np.float32(low) + codes.astype(np.float32) * step


def decompress_columns(data: bytes, low: float, width: float, rows: int, cols: int) -> np.ndarray:
    """A CM body, column headers and codes, to float32 (rows, columns)."""
    marks = np.frombuffer(data, "<u2", 4 * cols).reshape(cols, 4)
    codes = np.frombuffer(data, np.uint8, rows * cols, 8 * cols).reshape(cols, rows).T
    p0, p25, p75, p100 = _u16_to_float(marks.T, np.float32(low), np.float32(width))
    values = codes.astype(np.float32)
    low_part = p0 + ((p25 - p0) * values).astype(np.float64) * (1 / 64.0)
    middle = p25 + ((p75 - p25) * (values - 64)).astype(np.float64) * (1 / 128.0)
    high_part = p75 + ((p100 - p75) * (values - 192)).astype(np.float64) * (1 / 63.0)
    return np.where(codes <= 64, low_part, np.where(codes <= 192, middle, high_part)).astype(np.float32)
