"""Confidence interval of the equal error rate by resampling speakers."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vouch.errors import VouchError
from vouch.metrics.eer import check_scores, weighted_equal_error_rate


def speakers_of_trials(
    models: np.ndarray, tests: np.ndarray, is_target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (speaker of each trial's model, speaker of each trial's test segment, number of speakers).

    `models` and `tests` `(trials,)` are whole numbers from 0 that name enrollment models and test segments,
    `is_target` `(trials,)` bool. A trial list names no speakers, but a target trial says that its model and its test
    segment share one: the speakers are the connected components of the graph of target trials. A model or
    a segment without target trials counts as a speaker of its own.
    """
    num_models = int(models.max()) + 1
    size = num_models + int(tests.max()) + 1
    edges = (models[is_target], num_models + tests[is_target])
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(size, size))
    num_speakers, speaker = connected_components(graph, directed=False)
    return speaker[models], speaker[num_models + tests], int(num_speakers)


def eer_interval(
    scores: np.ndarray,
    is_target: np.ndarray,
    models: np.ndarray,
    tests: np.ndarray,
    num_samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return (low, high) of the EER in [0, 1], a percentile bootstrap over speakers: the (1 - level)/2 and
    (1 + level)/2 quantiles, linearly interpolated, of `eer_samples`."""
    samples = eer_samples(scores, is_target, models, tests, num_samples, seed)
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def eer_samples(
    scores: np.ndarray,
    is_target: np.ndarray,
    models: np.ndarray,
    tests: np.ndarray,
    num_samples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """EER in [0, 1] of resampled speakers `(num_samples,)`; the same seed draws the same speakers for every system on
    one trial list, so that two systems can be compared sample by sample.

    All arrays `(trials,)`; models, tests and is_target as for speakers_of_trials. Trials share speakers and are not
    independent, so speakers are drawn, not trials (Bisani and Ney, Bootstrap estimates for confidence intervals
    in ASR performance evaluation, ICASSP 2004, for the method; Poh and Bengio, Estimating the confidence interval of
    expected performance curve in biometric authentication using joint bootstrap, ICASSP 2007, for the
    resampling of users). Each sample draws as many speakers as there are, with replacement; a trial between two
    speakers counts the product of their draws, a trial within one speaker (a target trial) his draws. Open in
    those sources and chosen here: samples without target or nontarget trials are drawn again. The EER is that of
    equal_error_rate.

    Memory: about 40 bytes a trial.
    Raises VouchError when a class is empty, a score is NaN, or the target trials belong to fewer than two speakers.
    """
    check_scores(scores[is_target], scores[~is_target])
    if num_samples < 1:
        raise VouchError(f"--num-samples={num_samples}: want 1 or more bootstrap samples")
    model_speaker, test_speaker, num_speakers = speakers_of_trials(models, tests, is_target)
    if len(np.unique(model_speaker[is_target])) < 2:
        raise VouchError("all target trials are of one speaker: an interval over speakers needs two or more")
    order = np.argsort(scores, kind="stable")
    targets, nontargets = order[is_target[order]], order[~is_target[order]]
    target_scores, nontarget_scores = scores[targets], scores[nontargets]
    target_speakers = model_speaker[targets].astype(np.int32)
    pairs = model_speaker[nontargets].astype(np.int32), test_speaker[nontargets].astype(np.int32)
    same = np.flatnonzero(pairs[0] == pairs[1])
    generator = np.random.default_rng(seed)
    samples = np.empty(num_samples)
    done = 0
    while done < num_samples:
        draws = np.bincount(generator.integers(num_speakers, size=num_speakers), minlength=num_speakers)
        target_weights = draws[target_speakers]
        nontarget_weights = draws[pairs[0]] * draws[pairs[1]]
        nontarget_weights[same] = draws[pairs[0][same]]
        if target_weights.any() and nontarget_weights.any():
            samples[done] = weighted_equal_error_rate(
                target_scores, target_weights, nontarget_scores, nontarget_weights
            )
            done += 1
    return samples
