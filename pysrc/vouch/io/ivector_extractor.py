"""Kaldi's IvectorExtractor files and the files of its training statistics, binary and text."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple, NoReturn

import numpy as np

from vouch.errors import VouchError
from vouch.io.objects import ObjectReader, read_object, write_object
from vouch.io.streams import open_input

_STATS = {
    "what": "a file of i-vector extractor statistics",
    "fix": "write them again with ivector-extractor-acc-stats",
}


class ExtractorArrays(NamedTuple):
    """What an IvectorExtractor file holds, float64; G Gaussians, D feature dimensions, R i-vector dimensions."""

    weight_projections: np.ndarray  # w, (G, R); (0, 0) where the weights do not depend on the i-vector
    weights: np.ndarray  # w_vec, (G,); (0,) where they do
    projections: np.ndarray  # M, (G, D, R)
    inv_covars: np.ndarray  # SigmaInv, (G, D, D)
    prior_offset: float


class StatsArrays(NamedTuple):
    """What an IvectorExtractorStats file holds, float64; P = R (R + 1) / 2, the lower triangle by rows."""

    auxf: float
    occupancy: np.ndarray  # gamma, (G,)
    linear: np.ndarray  # Y, (G, D, R)
    quadratic: np.ndarray  # R, (G, P); single precision in the file
    weight_quadratic: np.ndarray  # Q, (G, P) or (0, 0); single precision in the file
    weight_linear: np.ndarray  # G, (G, R) or (0, 0)
    scatter: np.ndarray  # S, (G, D, D) or (0, 0, 0)
    num_ivectors: float
    ivector_sum: np.ndarray  # (R,)
    ivector_scatter: np.ndarray  # (R, R)


def read_ivector_extractor(rxfilename: str) -> ExtractorArrays:
    """Read an extractor; raises VouchError where the file is not one, or its arrays do not fit together."""
    what, fix = "an i-vector extractor", "give a model of ivector-extractor-init or ivector-extractor-est"
    with read_object(rxfilename, what, fix) as reader:
        reader.expect("<IvectorExtractor>")
        reader.expect("<w>")
        weight_projections = reader.matrix()
        reader.expect("<w_vec>")
        weights = reader.vector()
        reader.expect("<M>")
        count = _count(reader)
        projections = _stack(reader, count, "matrix")
        reader.expect("<SigmaInv>")
        inv_covars = _stack(reader, count, "packed")
        reader.expect("<IvectorOffset>")
        arrays = ExtractorArrays(weight_projections, weights, projections, inv_covars, reader.real())
        reader.expect("</IvectorExtractor>")
        _check_extractor(reader, arrays)
    return arrays


def write_ivector_extractor(wxfilename: str, arrays: Iterable[Any], binary: bool = True) -> None:
    """Write an extractor from the five values of `ExtractorArrays`, in double precision as Kaldi does."""
    extractor = ExtractorArrays(*arrays)
    with write_object(wxfilename, binary) as writer:
        writer.token("<IvectorExtractor>")
        writer.token("<w>")
        writer.matrix(extractor.weight_projections, double=True)
        writer.token("<w_vec>")
        writer.vector(extractor.weights, double=True)
        writer.token("<M>")
        writer.integer(len(extractor.projections))
        for matrix in extractor.projections:
            writer.matrix(matrix, double=True)
        writer.token("<SigmaInv>")
        for matrix in extractor.inv_covars:
            writer.packed(matrix, double=True)
        writer.token("<IvectorOffset>")
        writer.real(extractor.prior_offset, double=True)
        writer.token("</IvectorExtractor>")


def read_ivector_extractor_stats(rxfilename: str) -> StatsArrays:
    """Read training statistics; raises VouchError where the file does not hold them, or they do not fit together."""
    with read_object(rxfilename, **_STATS) as reader:
        return _read_stats(reader)


def sum_ivector_extractor_stats(rxfilenames: list[str], at_once: bool = False) -> StatsArrays:
    """The sum of the statistics in several files, of which two are in memory at a time.

    at_once opens all files (starts all commands) before the first is read. Raises VouchError where one is of another
    shape than those before it.
    """
    total = None
    with ExitStack() as stack:
        streams = [stack.enter_context(open_input(name)) for name in rxfilenames] if at_once else None
        for place, name in enumerate(rxfilenames):
            if streams is None:
                stats = read_ivector_extractor_stats(name)
            else:
                stats = _read_stats(ObjectReader(streams[place], name, **_STATS))
            total = stats if total is None else _added(total, stats, name)
    return total


def write_ivector_extractor_stats(wxfilename: str, arrays: Iterable[Any], binary: bool = True) -> None:
    """Write training statistics from the ten values of `StatsArrays`, in the precisions of Kaldi's file."""
    stats = StatsArrays(*arrays)
    with write_object(wxfilename, binary) as writer:
        writer.token("<IvectorExtractorStats>")
        writer.token("<TotAuxf>")
        writer.real(stats.auxf, double=True)
        writer.token("<gamma>")
        writer.vector(stats.occupancy, double=True)
        writer.token("<Y>")
        writer.integer(len(stats.linear))
        for matrix in stats.linear:
            writer.matrix(matrix, double=True)
        writer.token("<R>")
        writer.matrix(stats.quadratic)
        writer.token("<Q>")
        writer.matrix(stats.weight_quadratic)
        writer.token("<G>")
        writer.matrix(stats.weight_linear, double=True)
        writer.token("<S>")
        writer.integer(len(stats.scatter))
        for matrix in stats.scatter:
            writer.packed(matrix, double=True)
        writer.token("<NumIvectors>")
        writer.real(stats.num_ivectors, double=True)
        writer.token("<IvectorSum>")
        writer.vector(stats.ivector_sum, double=True)
        writer.token("<IvectorScatter>")
        writer.packed(stats.ivector_scatter, double=True)
        writer.token("</IvectorExtractorStats>")


def _read_stats(reader: ObjectReader) -> StatsArrays:
    reader.expect("<IvectorExtractorStats>")
    reader.expect("<TotAuxf>")
    auxf = reader.real()
    reader.expect("<gamma>")
    occupancy = reader.vector()
    reader.expect("<Y>")
    linear = _stack(reader, _count(reader), "matrix")
    packed = {}
    for token in ("<R>", "<Q>", "<G>"):
        reader.expect(token)
        packed[token] = reader.matrix()
    reader.expect("<S>")
    count = _count(reader, least=0)
    scatter = _stack(reader, count, "packed") if count else np.zeros((0, 0, 0))
    reader.expect("<NumIvectors>")
    num_ivectors = reader.real()
    reader.expect("<IvectorSum>")
    ivector_sum = reader.vector()
    reader.expect("<IvectorScatter>")
    stats = StatsArrays(auxf, occupancy, linear, *packed.values(), scatter, num_ivectors, ivector_sum, reader.packed())
    reader.expect("</IvectorExtractorStats>")
    _check_stats(reader, stats)
    return stats


def _added(total: StatsArrays, stats: StatsArrays, rxfilename: str) -> StatsArrays:
    """total + stats, the arrays in place."""
    for name, ours, theirs in zip(StatsArrays._fields, total, stats, strict=True):
        if np.shape(ours) != np.shape(theirs):
            raise VouchError(
                f"{rxfilename}: its {name} has the shape {np.shape(theirs)}, that of the files before it "
                f"{np.shape(ours)}; sum only statistics made with one model and the same options"
            )
        if isinstance(ours, np.ndarray):
            ours += theirs
    return total._replace(auxf=total.auxf + stats.auxf, num_ivectors=total.num_ivectors + stats.num_ivectors)


def _count(reader: ObjectReader, least: int = 1) -> int:
    count = reader.integer()
    if not least <= count < 1 << 24:
        reader.fail(f"found {count} as the number of Gaussians")
    return count


def _stack(reader: ObjectReader, count: int, method: str) -> np.ndarray:
    """`count` matrices of one shape, read into one array."""
    read = getattr(reader, method)
    first = read()
    stack = None
    for place in range(count):
        matrix = read() if place else first
        if matrix.shape != first.shape:
            reader.fail(f"matrix {place} has the shape {matrix.shape}, those before it {first.shape}")
        if stack is None:
            stack = _empty(reader, (count, *first.shape))
        stack[place] = matrix
    return stack


def _empty(reader: ObjectReader, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty(shape)
    except (MemoryError, ValueError):
        reader.fail(f"not enough memory for {' x '.join(map(str, shape))} numbers", "use a machine with more")


def _check_extractor(reader: ObjectReader, arrays: ExtractorArrays) -> None:
    count, dims, rank = arrays.projections.shape
    has_projections = bool(arrays.weight_projections.size)
    fits = (
        arrays.inv_covars.shape == (count, dims, dims)
        and arrays.weight_projections.shape == ((count, rank) if has_projections else (0, 0))
        and arrays.weights.shape == ((0,) if has_projections else (count,))
    )
    if not fits or not dims:
        _misfit(reader, arrays)
    reader.check_numbers(**arrays._asdict())


def _check_stats(reader: ObjectReader, stats: StatsArrays) -> None:
    count, dims, rank = stats.linear.shape
    packed = rank * (rank + 1) // 2
    has_weights, has_scatter = bool(stats.weight_linear.size), bool(stats.scatter.size)
    fits = (
        stats.occupancy.shape == (count,)
        and stats.quadratic.shape == (count, packed)
        and stats.weight_quadratic.shape == ((count, packed) if has_weights else (0, 0))
        and stats.weight_linear.shape == ((count, rank) if has_weights else (0, 0))
        and stats.scatter.shape == ((count, dims, dims) if has_scatter else (0, 0, 0))
        and stats.ivector_sum.shape == (rank,)
        and stats.ivector_scatter.shape == (rank, rank)
    )
    if not fits or not dims:
        _misfit(reader, stats)
    reader.check_numbers(**stats._asdict())


def _misfit(reader: ObjectReader, arrays: NamedTuple) -> NoReturn:
    shapes = ", ".join(f"{name} {value.shape}" for name, value in arrays._asdict().items() if hasattr(value, "shape"))
    reader.fail(f"its arrays do not fit together: {shapes}")
