"""Linear and affine transforms of vectors: transform-vec, ivector-transform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.vector_blocks import check_finite, finite_vectors, require_some
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np


def transform_vec(argv: list[str]) -> int:
    """Apply a linear (dim columns) or affine (dim + 1 columns) transform to every vector."""
    options = ToolOptions(
        "transform-vec",
        "[options] TRANSFORM-FILE VECTOR-RSPECIFIER OUT-WSPECIFIER",
        "Multiply every vector by a matrix with as many columns as the vector has values or, with one column more,"
        " the last being the offset.",
        (3, 3),
    )
    _, (matrix_file, source, target) = options.parse(argv)
    from vouch.io.tables import TableWriter

    done = 0
    with TableWriter(target, "vector") as writer:
        for key, vector in _transformed(matrix_file, source):
            writer.write(key, vector)
            done += 1
        require_some(done, source)
    log(f"Applied transform to {done} vectors.")
    return 0


def ivector_transform(argv: list[str]) -> int:
    """Apply a linear or affine transform to i-vectors, and say how long they are then."""
    options = ToolOptions(
        "ivector-transform",
        "[options] TRANSFORM-FILE VECTOR-RSPECIFIER OUT-WSPECIFIER",
        "As transform-vec; the log tells of the mean and the length of the vectors that come out.",
        (3, 3),
    )
    _, (matrix_file, source, target) = options.parse(argv)
    import numpy as np

    from vouch.io.tables import TableWriter

    done, total, square = 0, 0.0, 0.0
    with TableWriter(target, "vector") as writer:
        for key, vector in _transformed(matrix_file, source):
            writer.write(key, vector)
            double = vector.astype(np.float64)
            done, total, square = done + 1, total + double, square + float(double @ double)
        require_some(done, source)
    log(f"Processed {done} iVectors.")
    mean = total / done
    length = np.sqrt(max(square / done - float(mean @ mean), 0.0) / len(mean))
    log(
        f"Norm of mean was {np.linalg.norm(mean):.6g} (should be close to zero), length divided by sqrt(dim) was"
        f" {length:.6g} (should probably be close to one)"
    )
    return 0


def _transformed(matrix_file: str, source: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every (key, transformed vector as float32); the sums are in double precision."""
    import numpy as np

    from vouch.io.tables import read_matrix

    matrix = read_matrix(matrix_file).astype(np.float32).astype(np.float64)
    for key, vector in finite_vectors(source):
        if matrix.shape[1] not in (len(vector), len(vector) + 1):
            raise VouchError(
                f"vector '{key}' has {len(vector)} values, but the transform {matrix_file} has"
                f" {matrix.shape[1]} columns (want as many, or one more); use the transform of this system"
            )
        out = matrix[:, : len(vector)] @ vector
        if matrix.shape[1] > len(vector):
            out += matrix[:, -1]
        check_finite(f"{matrix_file} of {source}", key, out)
        yield key, out.astype(np.float32)
