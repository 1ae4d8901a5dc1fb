"""E-steps of a UBM on batches of frames by torch, on the CPU or a GPU.

The statistics are those of `vouch.gmm.diagonal` and `vouch.gmm.full`, as matrix products in single precision of a part
of the frames at a time; the sums over the parts are float64. The M-steps are shared with the tools.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vouch.gmm.models import DiagGmm, DiagStats, FullGmm, FullStats

_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}  # of the largest array made at a time: frames x Gaussians
_IN_CACHE = {"cpu": 1 << 19, "cuda": 1 << 27}  # the same where the array is gone over several times
_NEGLIGIBLE = 1e-6  # a posterior that full-covariance statistics leave out


class FramePosteriors(NamedTuple):
    """Posteriors of the Gaussians that matter to each frame, the best first: frame t has the counts[t] entries that
    follow those of the frames before it.

    counts (frames,) uint8; indices (entries,) int32; weights (entries,) float32; log_likelihood (sum over frames).
    """

    counts: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    log_likelihood: float


class DiagonalEStep:
    """Statistics of a diagonal GMM over frames, all Gaussians (Kaldi's gmm-global-acc-stats without --gselect)."""

    def __init__(self, gmm: DiagGmm, device: torch.device) -> None:
        self._scorer = _DiagonalScorer(gmm, device)
        self._num_gauss, self._dim = gmm.inv_vars.shape

    def of(self, features: np.ndarray) -> DiagStats:
        """The statistics of features (frames, dims). Several threads may ask at once."""
        occupancy, sums = np.zeros(self._num_gauss), np.zeros((self._num_gauss, 2 * self._dim))
        log_likelihood = 0.0
        for part in _parts(features, self._num_gauss, self._scorer.device, _IN_CACHE):
            scores, pair = self._scorer.score(part)
            total = scores.logsumexp(1, keepdim=True)
            posteriors = scores.sub_(total).exp_()
            occupancy += _array(posteriors.sum(0, dtype=torch.float64))
            sums += _array(posteriors.T @ pair)
            log_likelihood += float(total.sum(dtype=torch.float64))
        means, variances = sums[:, : self._dim].copy(), sums[:, self._dim :].copy()
        return DiagStats(occupancy, means, variances, log_likelihood, float(len(features)))


class FullEStep:
    """Statistics of a full-covariance GMM over frames (Kaldi's gmm-gselect and fgmm-global-acc-stats).

    selection: the model whose `selected` best Gaussians a frame are looked at; Kaldi's scripts take the diagonal
    of the model that the training starts with. Posteriors under 1e-6 are left out.
    """

    def __init__(self, gmm: FullGmm, selection: DiagGmm, selected: int, device: torch.device) -> None:
        self._scorer = _FullScorer(gmm, selection, selected, device)
        self._num_gauss, self._dim = gmm.means_invcovars.shape

    def of(self, features: np.ndarray) -> FullStats:
        """The statistics of features (frames, dims). Several threads may ask at once."""
        stats = FullStats(
            np.zeros(self._num_gauss),
            np.zeros((self._num_gauss, self._dim)),
            np.zeros((self._num_gauss, self._dim, self._dim)),
            0.0,
            float(len(features)),
        )
        log_likelihood = 0.0
        for part in _parts(features, self._num_gauss, self._scorer.device):
            indices, posteriors, total = self._scorer.posteriors(part)
            log_likelihood += float(total.sum(dtype=torch.float64))
            frames, pick = torch.nonzero(posteriors >= _NEGLIGIBLE, as_tuple=True)
            _add_pairs(stats, part, indices[frames, pick], frames, posteriors[frames, pick])
        return stats._replace(log_likelihood=log_likelihood)


def _add_pairs(stats: FullStats, features: Tensor, gaussians: Tensor, frames: Tensor, weights: Tensor) -> None:
    num_gauss, dim = stats.means.shape
    sums = torch.zeros(num_gauss, dim + 1, dim, device=features.device)
    occupancy = torch.zeros(num_gauss, device=features.device)
    for g, entries in by_gaussian(gaussians, num_gauss):
        rows, weight = features[frames[entries]], weights[entries]
        weighted = rows * weight[:, None]
        occupancy[g] = weight.sum()
        torch.mm(weighted.T, rows, out=sums[g, :dim])
        torch.sum(weighted, 0, out=sums[g, dim])
    arrays = _array(sums)
    stats.occupancy[:] += _array(occupancy)
    stats.means[:] += arrays[:, dim]
    stats.covariances[:] += arrays[:, :dim]


class Posteriors:
    """Pruned posteriors of a full-covariance GMM (Kaldi's gmm-gselect and fgmm-global-gselect-to-post).

    selected: the best Gaussians by `selection` (the diagonal of gmm) that are looked at; minimum: smaller
    posteriors are dropped and the others scaled to sum to one; where all are smaller the best gets one.
    """

    def __init__(self, gmm: FullGmm, selection: DiagGmm, selected: int, minimum: float, device: torch.device) -> None:
        self._scorer = _FullScorer(gmm, selection, selected, device)
        self._num_gauss, self._minimum = len(gmm.weights), minimum

    def of(self, features: np.ndarray) -> FramePosteriors:
        """Posteriors of features (frames, dims)."""
        counts, indices, weights, log_likelihood = [], [], [], 0.0
        for part in _parts(features, self._num_gauss, self._scorer.device):
            chosen, posteriors, total = self._scorer.posteriors(part)
            log_likelihood += float(total.sum(dtype=torch.float64))
            best = torch.zeros_like(posteriors).scatter_(1, posteriors.argmax(1, keepdim=True), 1.0)
            kept = torch.where(posteriors >= self._minimum, posteriors, 0.0)
            total_kept = kept.sum(1, keepdim=True)
            kept = torch.where(total_kept > 0, kept / total_kept, best)
            mask = kept > 0
            counts.append(mask.sum(1, dtype=torch.uint8).cpu().numpy())
            indices.append(chosen[mask].int().cpu().numpy())
            weights.append(kept[mask].cpu().numpy())
        if not counts:
            return FramePosteriors(np.zeros(0, np.uint8), np.zeros(0, np.int32), np.zeros(0, np.float32), 0.0)
        return FramePosteriors(np.concatenate(counts), np.concatenate(indices), np.concatenate(weights), log_likelihood)


class _DiagonalScorer:
    """Log likelihoods of frames by all Gaussians, weights included: one product with the frames and their squares."""

    def __init__(self, gmm: DiagGmm, device: torch.device) -> None:
        self.device = device
        self._weights = _tensor(np.hstack([gmm.means_invvars, -0.5 * gmm.inv_vars]).T, device)
        self._gconsts = _tensor(gmm.gconsts, device)

    def score(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(log likelihoods (frames, Gaussians), frames beside their squares (frames, 2 dims))."""
        pair = torch.cat([features, features.square()], 1)
        return torch.addmm(self._gconsts, pair, self._weights), pair


class _FullScorer:
    """Posteriors of the selected Gaussians: those that one Gaussian was selected for are one product with the
    Cholesky factor of its inverse covariance."""

    def __init__(self, gmm: FullGmm, selection: DiagGmm, selected: int, device: torch.device) -> None:
        self.device = device
        self._selection = _DiagonalScorer(selection, device)
        self._selected = min(selected, len(gmm.weights))
        factors = np.linalg.cholesky(gmm.inv_covars)  # L, with inv_covar = L L'
        means = np.linalg.solve(gmm.inv_covars, gmm.means_invcovars[..., None])
        projected = (factors.swapaxes(1, 2) @ means)[..., 0]
        self._factors, self._projected = _tensor(factors, device), _tensor(projected, device)
        # log w - D/2 log 2 pi + 1/2 log det of the inverse covariance: gconst, and the means' part given back
        self._constants = _tensor(gmm.gconsts + 0.5 * np.square(projected).sum(1), device)

    def posteriors(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(indices, posteriors, both (frames, selected); log likelihoods (frames,) of the selected together)."""
        scores, _ = self._selection.score(features)
        indices = scores.topk(self._selected, 1).indices
        distances = torch.empty(indices.numel(), device=self.device)
        for g, entries in by_gaussian(indices.flatten(), len(self._factors)):
            rows = features[entries.div(self._selected, rounding_mode="floor")]
            distances[entries] = torch.addmm(self._projected[g], rows, self._factors[g], beta=-1).square_().sum(1)
        scores = self._constants[indices] - 0.5 * distances.view(indices.shape)
        total = scores.logsumexp(1)
        return indices, (scores - total[:, None]).exp_(), total


def by_gaussian(gaussians: Tensor, num_gauss: int) -> list[tuple[int, Tensor]]:
    """(g, positions of g in the array) of every Gaussian that is there."""
    order = gaussians.to(torch.int32).sort(stable=True).indices
    counts = torch.bincount(gaussians, minlength=num_gauss).tolist()
    return [(g, positions) for g, positions in enumerate(order.split(counts)) if len(positions)]


def _parts(
    features: np.ndarray, num_gauss: int, device: torch.device, elements: dict[str, int] = _ELEMENTS
) -> list[Tensor]:
    frames = max(1, elements.get(device.type, elements["cpu"]) // num_gauss)
    whole = torch.as_tensor(np.ascontiguousarray(features, np.float32))
    return [whole[at : at + frames].to(device) for at in range(0, len(whole), frames)]


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32, device=device)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
