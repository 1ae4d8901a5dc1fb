"""Small extractors and utterances, and their statistics by loops, for the tests of the i-vector extractor."""

from __future__ import annotations

import numpy as np

from vouch.gmm.extractor import IvectorExtractor


def random_extractor(gaussians=3, dim=4, rank=5, weights=False, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((gaussians, dim, dim + 2))
    return IvectorExtractor(
        weight_projections=0.3 * rng.standard_normal((gaussians, rank)) if weights else np.zeros((0, 0)),
        weights=np.zeros(0) if weights else rng.dirichlet(np.full(gaussians, 5.0)),
        projections=rng.standard_normal((gaussians, dim, rank)),
        inv_covars=x @ x.transpose(0, 2, 1),
        prior_offset=2.5,
    )


def random_utterance(extractor, frames, seed=0, pairs=2):
    """(features, offsets, indices, weights), the weights of a frame of any sum."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((frames, extractor.dim)).astype(np.float32)
    offsets = np.arange(0, frames * pairs + 1, pairs)
    indices = np.concatenate([rng.permutation(extractor.num_gauss)[:pairs] for _ in range(frames)]).astype(np.int32)
    return features, offsets, indices, rng.uniform(0.1, 0.9, frames * pairs).astype(np.float32)


def loops(extractor, utterance):
    """Zeroth, first and second-order statistics, pair by pair."""
    features, offsets, indices, weights = utterance
    zeroth = np.zeros(extractor.num_gauss)
    first = np.zeros((extractor.num_gauss, extractor.dim))
    second = np.zeros((extractor.num_gauss, extractor.dim, extractor.dim))
    for t, frame in enumerate(features.astype(np.float64)):
        pairs = slice(offsets[t], offsets[t + 1])
        for i, weight in zip(indices[pairs], weights[pairs].astype(np.float64), strict=True):
            zeroth[i] += weight
            first[i] += weight * frame
            second[i] += weight * np.outer(frame, frame)
    return zeroth, first, second
