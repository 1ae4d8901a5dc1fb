"""The M-step of the i-vector extractor (Kaldi, ivector-extractor-est): projections, weights, variances and prior.

Kaldi's order, floors and conditions, in the notation of its ivector/ivector-extractor.cc.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError
from vouch.gmm import packed
from vouch.gmm.extractor import ExtractorStats, IvectorExtractor, Note
from vouch.gmm.extractor_prior import update_prior
from vouch.gmm.extractor_variances import update_variances
from vouch.gmm.quadratic import maximise

_SHOWN = 4  # Gaussians whose own improvement is told


class EstimationOptions(NamedTuple):
    """Kaldi's IvectorExtractorEstimationOptions."""

    variance_floor_factor: float = 0.1
    gaussian_min_count: float = 100.0
    diagonalize: bool = True


class Estimate(NamedTuple):
    """A new model, the improvement of the objective function per frame, and what there is to say."""

    extractor: IvectorExtractor
    improvement: float
    notes: list[Note]


def estimate(extractor: IvectorExtractor, stats: ExtractorStats, options: EstimationOptions | None = None) -> Estimate:
    """The model that the statistics of this extractor ask for. Leaves both arguments as they are.

    Raises VouchError where the statistics are another model's, hold nothing or are not finite, and where a covariance
    is singular.
    """
    options = options or EstimationOptions()
    _check(extractor, stats)
    notes, frames = [], float(stats.occupancy.sum())
    if stats.auxf:
        text = f"Overall auxf/frame on training data was {stats.auxf / frames:.6g} per frame over {frames:.6g} frames."
        notes.append(Note("log", text))
    extractor, total, said = _update_projections(extractor, stats, options.gaussian_min_count)
    notes += said
    if extractor.has_weight_projections:
        extractor, improvement, said = _update_weights(extractor, stats)
        notes, total = notes + said, total + improvement
    if stats.scatter.size:
        extractor, improvement, said = update_variances(
            extractor, stats, options.variance_floor_factor, options.gaussian_min_count, _SHOWN
        )
        notes, total = notes + said, total + improvement
    extractor, improvement, said = update_prior(extractor, stats, options.diagonalize)
    notes, total = notes + said, total + improvement
    notes.append(Note("log", f"Overall objective-function improvement per frame was {total:.6g}"))
    return Estimate(extractor, total, notes)


def explained_variance(extractor: IvectorExtractor, stats: ExtractorStats) -> float:
    """The part of the variance within Gaussians that i-vectors explain (Kaldi, IvectorVarianceDiagnostic).

    The eigenvalues of the inverse covariances are floored to 1 in it, as in Kaldi.
    """
    weights = stats.occupancy / stats.occupancy.sum()
    within = weights @ (1.0 / np.maximum(np.linalg.eigvalsh(extractor.inv_covars), 1.0)).sum(axis=1)
    between = weights @ np.einsum("gdr,gdr->g", extractor.projections, extractor.projections)
    return float(between / (between + within))


def _check(extractor: IvectorExtractor, stats: ExtractorStats) -> None:
    ours = *extractor.projections.shape, "with" if extractor.has_weight_projections else "without"
    theirs = *stats.linear.shape, "with" if stats.weight_linear.size else "without"
    if ours != theirs:
        form = "{} Gaussians, {} dimensions, {}-dimensional i-vectors, {} weight projections"
        raise VouchError(
            f"the statistics are of {form.format(*theirs)}; the model is of {form.format(*ours)}: make them with it"
        )
    if not all(np.isfinite(value).all() for value in stats):
        raise VouchError("the statistics hold values that are not numbers; make them again")
    if stats.num_ivectors <= 0 or stats.occupancy.sum() <= 0:
        raise VouchError("the statistics are of no utterance at all; make them again, and look at the log of that step")


def _update_projections(
    extractor: IvectorExtractor, stats: ExtractorStats, min_count: float
) -> tuple[IvectorExtractor, float, list[Note]]:
    """(model with new M, improvement per frame, notes); Gaussians under min_count keep theirs."""
    projections, notes, total = extractor.projections.copy(), [], 0.0
    for i, count in enumerate(stats.occupancy.tolist()):
        if count < min_count:
            notes.append(Note("warn", f"Skipping Gaussian index {i} because count {count:.6g} is below min-count."))
            continue
        found = maximise(packed.unpack(stats.quadratic[i]), stats.linear[i], projections[i], extractor.inv_covars[i])
        if found is None:
            notes.append(_unchanged("matrix", "M"))
            continue
        projections[i], improvement, floored = found
        total += improvement
        if floored:
            notes.append(Note("log", f"Solving matrix problem for M: floored {floored} eigenvalues."))
        if i < _SHOWN:
            text = f"Objf impr for M for Gaussian index {i} is {improvement / count:.6g} per frame"
            notes.append(Note("detail", f"{text} over {count:.6g} frames."))
    frames = float(stats.occupancy.sum())
    text = f"Overall objective function improvement for M (mean projections) was {total / frames:.6g} per frame"
    notes.append(Note("log", f"{text} over {frames:.6g} frames."))
    return extractor._replace(projections=projections), total / frames, notes


def _update_weights(extractor: IvectorExtractor, stats: ExtractorStats) -> tuple[IvectorExtractor, float, list[Note]]:
    """(model with new weight projections, improvement per frame, notes)."""
    weights, notes, total = extractor.weight_projections.copy(), [], 0.0
    for i, count in enumerate(stats.occupancy.tolist()):
        row = slice(i, i + 1)
        found = maximise(packed.unpack(stats.weight_quadratic[i]), stats.weight_linear[row], weights[row], None)
        if found is None:
            notes.append(_unchanged("vector", "w"))
            continue
        weights[row], improvement, floored = found
        total += improvement
        if floored:
            notes.append(Note("log", f"Solving quadratic problem for w: floored {floored} eigenvalues."))
        if i < _SHOWN and count:
            text = f"Auxf impr/frame for Gaussian index {i} for weights is {improvement / count:.6g}"
            notes.append(Note("detail", f"{text} over {count:.6g} frames."))
    frames = float(stats.occupancy.sum())
    text = f"Overall auxf impr/frame from weight update is {total / frames:.6g} over {frames:.6g} frames."
    notes.append(Note("log", text))
    return extractor._replace(weight_projections=weights), total / frames, notes


def _unchanged(shape: str, name: str) -> Note:
    return Note("warn", f"Zero quadratic term in quadratic {shape} problem for {name}: leaving it unchanged.")
