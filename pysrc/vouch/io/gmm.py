"""Kaldi's files of Gaussian mixture models, diagonal and full, and of the statistics to train them on.

`G` is the number of Gaussians, `D` the dimension. All files are in single precision; the arrays here are float64.
Source of the forms: Kaldi's gmm/diag-gmm, full-gmm, mle-diag-gmm, mle-full-gmm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.io.objects import ObjectReader, ObjectWriter, read_object, write_object

_DIAGONAL = ("<DiagGMM>", "<DiagGMMBegin>")
_FULL = ("<FullGMM>", "<FullGMMBegin>")
_OTHERS = {
    **dict.fromkeys(_DIAGONAL, ("a diagonal GMM", "convert it: vouch gmm-global-to-fgmm")),
    **dict.fromkeys(_FULL, ("a full-covariance GMM", "convert it: vouch fgmm-global-to-gmm")),
    "<GMMACCS>": ("a file of statistics", "estimate a model from them: vouch gmm-global-est or fgmm-global-est"),
    "<IvectorExtractor>": ("an i-vector extractor", "give the UBM that it was made from"),
    "<Plda>": ("a PLDA model", "give what gmm-global-est or fgmm-global-est writes"),
    "<TransitionModel>": ("an acoustic model of phones", "give what gmm-global-est or fgmm-global-est writes"),
}


class GmmStatsFile(NamedTuple):
    """What a file of statistics for a GMM holds, float64."""

    flags: str  # letters of "mvwt" (means, variances, weights, transitions)
    occupancy: np.ndarray  # (G,) sum of the posteriors
    means: np.ndarray | None  # (G, D)
    second_order: np.ndarray | None  # (G, D) or (G, D, D)
    dims: int  # D, also of statistics that have occupancies only


_FLAGS = "mvwt"  # means, variances, weights, transitions: bits 1, 2, 4, 8
_UINT16 = -2


def read_diag_gmm(rxfilename: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A diagonal GMM: weights `(G,)`, gconsts `(G,)`, means times precisions `(G, D)`, precisions `(G, D)`.

    The constants of the file are not used: they are computed again, with Kaldi's roundings to single precision.
    Raises VouchError when the file is of another type, damaged, or has a Gaussian without a likelihood.
    """
    with read_object(rxfilename, "a diagonal GMM", "make it again with gmm-global-est") as reader:
        weights, means_invvars = _begin_model(reader, _DIAGONAL, "<MEANS_INVVARS>")
        reader.expect("<INV_VARS>")
        inv_vars = reader.matrix()
        if inv_vars.shape != means_invvars.shape:
            reader.fail(f"means {means_invvars.shape} and variances {inv_vars.shape} do not fit together")
        reader.expect("</DiagGMM>", "<DiagGMMEnd>")
        gconsts = _checked_gconsts(reader, _diag_gconsts(weights, means_invvars, inv_vars))
        reader.check_numbers(weights=weights, means=means_invvars, precisions=inv_vars)
    return weights, gconsts, means_invvars, inv_vars


def write_diag_gmm(
    wxfilename: str,
    weights: np.ndarray,
    gconsts: np.ndarray,
    means_invvars: np.ndarray,
    inv_vars: np.ndarray,
    binary: bool = True,
) -> None:
    """Write a diagonal GMM; arrays as `read_diag_gmm` gives them."""
    with write_object(wxfilename, binary) as writer:
        _write_begin(writer, "<DiagGMM>", gconsts, weights)
        writer.token("<MEANS_INVVARS>")
        writer.matrix(means_invvars)
        writer.token("<INV_VARS>")
        writer.matrix(inv_vars)
        writer.token("</DiagGMM>")
        writer.newline()


def read_full_gmm(rxfilename: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A full-covariance GMM: weights `(G,)`, gconsts `(G,)`, precision · mean `(G, D)`, precisions `(G, D, D)`.

    The constants of the file are not used: they are computed again, in double precision (Kaldi's differ from these by
    the roundings of its single-precision Cholesky). Raises VouchError when the file is of another type, damaged, or has
    a precision that is not positive definite.
    """
    with read_object(rxfilename, "a full-covariance GMM", "make it again with fgmm-global-est") as reader:
        weights, means_invcovars = _begin_model(reader, _FULL, "<MEANS_INVCOVARS>")
        reader.expect("<INV_COVARS>")
        inv_covars = _read_symmetric(reader, *means_invcovars.shape)
        reader.expect("</FullGMM>", "<FullGMMEnd>")
        gconsts = _checked_gconsts(reader, _full_gconsts(reader, weights, means_invcovars, inv_covars))
        reader.check_numbers(weights=weights, means=means_invcovars, precisions=inv_covars)
    return weights, gconsts, means_invcovars, inv_covars


def write_full_gmm(
    wxfilename: str,
    weights: np.ndarray,
    gconsts: np.ndarray,
    means_invcovars: np.ndarray,
    inv_covars: np.ndarray,
    binary: bool = True,
) -> None:
    """Write a full-covariance GMM; arrays as `read_full_gmm` gives them."""
    with write_object(wxfilename, binary) as writer:
        _write_begin(writer, "<FullGMM>", gconsts, weights)
        writer.token("<MEANS_INVCOVARS>")
        writer.matrix(means_invcovars)
        writer.token("<INV_COVARS>")
        for inv_covar in inv_covars:
            writer.packed(inv_covar)
        writer.token("</FullGMM>")
        writer.newline()


def read_diag_stats(rxfilename: str) -> GmmStatsFile:
    """Statistics for a diagonal GMM: means and second_order are the sums of x and of x² `(G, D)`, or None.

    Raises VouchError when the file is something else.
    """
    with read_object(
        rxfilename, "a file of statistics for a diagonal GMM", "make them with gmm-global-acc-stats"
    ) as reader:
        gaussians, dims, flags = _begin_stats(reader)
        parts: dict[str, np.ndarray] = {}
        while (token := reader.token()) != "</GMMACCS>":
            if token == "<FULLVARACCS>":
                reader.fail("they are for a full-covariance GMM", "give them to the fgmm-global tools")
            parts[token] = _read_part(reader, token, gaussians, dims, ("<OCCUPANCY>", "<MEANACCS>", "<DIAGVARACCS>"))
        occupancy, means, variances = (parts.get(name) for name in ("<OCCUPANCY>", "<MEANACCS>", "<DIAGVARACCS>"))
        _check_parts(reader, flags, occupancy, means, variances)
        reader.check_numbers(occupancies=occupancy, sums=means, squares=variances)
    return GmmStatsFile(flags, occupancy, means if "m" in flags else None, variances if "v" in flags else None, dims)


def write_diag_stats(
    wxfilename: str,
    flags: str,
    occupancy: np.ndarray,
    means: np.ndarray | None,
    variances: np.ndarray | None,
    binary: bool = True,
    dims: int = 0,
) -> None:
    """Write statistics for a diagonal GMM; as `read_diag_stats` gives them. dims is for statistics without means."""
    with write_object(wxfilename, binary) as writer:
        _write_begin_stats(writer, flags, occupancy, means, dims)
        writer.token("<DIAGVARACCS>")
        writer.matrix(np.zeros((0, 0)) if variances is None else variances)
        writer.token("</GMMACCS>")


def read_full_stats(rxfilename: str) -> GmmStatsFile:
    """Statistics for a full-covariance GMM: means and second_order are the sums of x `(G, D)` and of x x' `(G, D, D)`,
    or None. (The file holds the last without the part of the mean.) Raises VouchError when the file is something else.
    """
    what, fix = "a file of statistics for a full-covariance GMM", "make them with fgmm-global-acc-stats"
    with read_object(rxfilename, what, fix) as reader:
        gaussians, dims, flags = _begin_stats(reader)
        parts: dict[str, np.ndarray] = {}
        while (token := reader.token()) != "</GMMACCS>":
            if token == "<DIAGVARACCS>":
                reader.fail("they are for a diagonal GMM", "give them to the gmm-global tools")
            if token == "<FULLVARACCS>":
                parts[token] = _read_symmetric(reader, gaussians, dims)
            else:
                parts[token] = _read_part(reader, token, gaussians, dims, ("<OCCUPANCY>", "<MEANACCS>"))
        occupancy, means, covariances = (parts.get(name) for name in ("<OCCUPANCY>", "<MEANACCS>", "<FULLVARACCS>"))
        _check_parts(reader, flags, occupancy, means, covariances)
        reader.check_numbers(occupancies=occupancy, sums=means, squares=covariances)
    if "v" in flags:
        covariances += _squares_of_means(occupancy, means)
    return GmmStatsFile(flags, occupancy, means if "m" in flags else None, covariances if "v" in flags else None, dims)


def write_full_stats(
    wxfilename: str,
    flags: str,
    occupancy: np.ndarray,
    means: np.ndarray | None,
    covariances: np.ndarray | None,
    binary: bool = True,
    dims: int = 0,
) -> None:
    """Write statistics for a full-covariance GMM; as `read_full_stats` gives them. dims: for those without means."""
    with write_object(wxfilename, binary) as writer:
        _write_begin_stats(writer, flags, occupancy, means, dims)
        if covariances is not None:
            writer.token("<FULLVARACCS>")
            for centred in covariances - _squares_of_means(occupancy, means):
                writer.packed(centred)
        writer.token("</GMMACCS>")


# --- models -----------------------------------------------------------------------------------------------------------


def _begin(reader: ObjectReader, *tokens: str, is_model: bool = True) -> None:
    """Read the first word; another one is an error that says what the file is, and how to convert it to a model."""
    found = reader.token()
    if found in tokens:
        return
    if found in _OTHERS:
        what, fix = _OTHERS[found]
        reader.fail(f"it is {what}", fix if is_model else None)
    reader.fail(f"it begins with '{found[:40]}', not with {tokens[0]}")


def _begin_model(reader: ObjectReader, begin: tuple[str, ...], means_token: str) -> tuple[np.ndarray, np.ndarray]:
    """(weights (G,), means times precisions (G, D)); the constants, if any, are passed over."""
    _begin(reader, *begin)
    if reader.expect("<GCONSTS>", "<WEIGHTS>") == "<GCONSTS>":
        reader.vector()
        reader.expect("<WEIGHTS>")
    weights = reader.vector()
    reader.expect(means_token)
    means = reader.matrix()
    if not means.size or len(means) != len(weights):
        reader.fail(f"{len(weights)} weights and means {means.shape} do not fit together")
    bad = np.flatnonzero(~(weights >= 0))
    if len(bad):
        reader.fail(f"the weight of Gaussian {bad[0]} is {weights[bad[0]]:g}")
    return weights, means


def _write_begin(writer: ObjectWriter, begin: str, gconsts: np.ndarray, weights: np.ndarray) -> None:
    writer.token(begin)
    writer.newline()
    writer.token("<GCONSTS>")
    writer.vector(gconsts)
    writer.token("<WEIGHTS>")
    writer.vector(weights)


def _read_symmetric(reader: ObjectReader, gaussians: int, dims: int) -> np.ndarray:
    """(G, D, D)."""
    matrices = []
    for gaussian in range(gaussians):
        matrix = reader.packed()
        if len(matrix) != dims:
            reader.fail(f"the covariance of Gaussian {gaussian} has dimension {len(matrix)}, its mean {dims}")
        matrices.append(matrix)
    return np.stack(matrices)


def _diag_gconsts(weights: np.ndarray, means_invvars: np.ndarray, inv_vars: np.ndarray) -> np.ndarray:
    """log w − D/2 log 2π + Σ ½ log p − ½ (m p)²/p, the sum rounded to single precision after every dimension, as Kaldi
    does; its files are so written again byte for byte. NaN where a precision is negative.
    """
    dims = means_invvars.shape[1]
    with np.errstate(all="ignore"):
        single_log = np.log(inv_vars).astype(np.float32)
        squares = 0.5 * means_invvars * means_invvars / inv_vars
        gconsts = np.log(weights).astype(np.float32) + np.float32(-0.5 * np.log(2 * np.pi) * dims)
        for dim in range(dims):
            gconsts = (gconsts + (0.5 * single_log[:, dim].astype(np.float64) - squares[:, dim])).astype(np.float32)
    return gconsts.astype(np.float64)


def _full_gconsts(
    reader: ObjectReader, weights: np.ndarray, means_invcovars: np.ndarray, inv_covars: np.ndarray
) -> np.ndarray:
    """log w − D/2 log 2π + ½ log |P| − ½ (P m)' P⁻¹ (P m), by the Cholesky factor of each precision P."""
    gaussians, dims = means_invcovars.shape
    halves = np.empty(gaussians)
    for gaussian, (mean, inv_covar) in enumerate(zip(means_invcovars, inv_covars, strict=True)):
        try:
            factor = np.linalg.cholesky(inv_covar)
            whitened = np.linalg.solve(factor, mean)
        except np.linalg.LinAlgError:
            reader.fail(f"the inverse covariance of Gaussian {gaussian} is not positive definite")
        with np.errstate(all="ignore"):
            halves[gaussian] = np.log(np.diagonal(factor)).sum() - 0.5 * whitened @ whitened
    with np.errstate(divide="ignore"):
        return np.log(weights) - 0.5 * np.log(2 * np.pi) * dims + halves


def _checked_gconsts(reader: ObjectReader, gconsts: np.ndarray) -> np.ndarray:
    """A Gaussian of infinite likelihood is made one that never wins, as Kaldi does."""
    bad = np.flatnonzero(np.isnan(gconsts))
    if len(bad):
        reader.fail(f"Gaussian {bad[0]} has a likelihood that is not a number")
    return np.where(np.isposinf(gconsts), -np.inf, gconsts)


# --- statistics -------------------------------------------------------------------------------------------------------


def _begin_stats(reader: ObjectReader) -> tuple[int, int, str]:
    """(G, D, flags)."""
    _begin(reader, "<GMMACCS>", is_model=False)
    reader.expect("<VECSIZE>")
    dims = reader.integer()
    reader.expect("<NUMCOMPONENTS>")
    gaussians = reader.integer()
    reader.expect("<FLAGS>")
    bits = reader.integer()
    if dims < 0 or gaussians < 1 or not 0 <= bits < 1 << len(_FLAGS):
        reader.fail(f"dimension {dims}, {gaussians} Gaussians and flags {bits} make no sense")
    return gaussians, dims, "".join(letter for place, letter in enumerate(_FLAGS) if bits >> place & 1)


def _read_part(reader: ObjectReader, token: str, gaussians: int, dims: int, known: tuple[str, ...]) -> np.ndarray:
    if token not in known:
        reader.fail(f"found '{token[:40]}' where one of {', '.join(known)} should be")
    array = reader.vector() if token == "<OCCUPANCY>" else reader.matrix()
    wanted = (gaussians,) if array.ndim == 1 else (gaussians, dims)
    if array.shape != wanted and (array.ndim == 1 or array.size):
        reader.fail(f"{token} has shape {array.shape}, not {wanted}")
    return array


def _check_parts(reader: ObjectReader, flags: str, *parts: np.ndarray | None) -> None:
    """Occupancies are always there; means and covariances where the flags say so."""
    occupancy, means, second = parts
    if occupancy is None or ("m" in flags and not _filled(means)) or ("v" in flags and not _filled(means, second)):
        reader.fail(f"its flags are '{flags}', but the sums for them are not there")


def _filled(*arrays: np.ndarray | None) -> bool:
    return all(array is not None and array.size for array in arrays)


def _squares_of_means(occupancy: np.ndarray, means: np.ndarray) -> np.ndarray:
    """m m' / n of every Gaussian, (G, D, D), where m is the sum of the n frames; 0 where there are none."""
    with np.errstate(all="ignore"):
        shares = np.where(occupancy == 0, 0, 1 / occupancy)[:, None]
        return (means * shares)[:, :, None] * means[:, None, :]


def _write_begin_stats(
    writer: ObjectWriter, flags: str, occupancy: np.ndarray, means: np.ndarray | None, dims: int
) -> None:
    writer.token("<GMMACCS>")
    writer.token("<VECSIZE>")
    writer.integer(dims if means is None else means.shape[1])
    writer.token("<NUMCOMPONENTS>")
    writer.integer(len(occupancy))
    writer.token("<FLAGS>")
    writer.integer(sum(1 << _FLAGS.index(flag) for flag in set(flags)), _UINT16)
    writer.token("<OCCUPANCY>")
    writer.vector(occupancy)
    writer.token("<MEANACCS>")
    writer.matrix(np.zeros((0, 0)) if means is None else means)
