"""Poolings: frame-level outputs to one vector an utterance. One protocol for all of them.

`pooling(hidden, mask)`: hidden (batch, channels, frames), mask (batch, 1, frames) with True for real frames,
-> (batch, pooling.out_dim). Frames outside the mask have no effect.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

VARIANCE_FLOOR = 1e-6  # under the square root: keeps the gradient of a constant channel finite


def _uniform_weights(hidden: Tensor, mask: Tensor) -> Tensor:
    return mask.to(hidden.dtype) / mask.sum(2, keepdim=True)


def _weighted_sum(hidden: Tensor, weights: Tensor) -> Tensor:
    """Sum over frames of hidden (batch, channels, frames) with weights (batch, 1 or channels, frames)."""
    if weights.shape[1] > 1:
        return (hidden * weights).sum(2)
    with torch.autocast(hidden.device.type, enabled=False):  # a product of matrices, but a statistic
        return (hidden @ weights.to(hidden.dtype).transpose(1, 2)).squeeze(2)


def _weighted_statistics(hidden: Tensor, weights: Tensor) -> Tensor:
    """[mu; sigma] with weights (batch, 1 or channels, frames) that sum to one over the frames."""
    mean = _weighted_sum(hidden, weights)
    variance = _weighted_sum((hidden - mean[:, :, None]).square(), weights)
    return torch.cat([mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()], 1)


class MeanPooling(nn.Module):
    """Mean over time: "average pooling" of Okabe et al. (1803.10963), equation 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_dim = channels

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return _weighted_sum(hidden, _uniform_weights(hidden, mask))


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over time. Okabe et al. (1803.10963), equations 1 and 2; Kaldi's stats pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_dim = 2 * channels

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return _weighted_statistics(hidden, _uniform_weights(hidden, mask))


class PoolingInParts(nn.Module):
    """A pooling of each of `parts` equal parts of the time, one behind the other, so that the vector tells their order.

    Part i of T frames has those from floor(i T / parts) to before floor((i + 1) T / parts), and one at least. All parts
    go through the inner pooling at once, so that its batch norm sees each frame once (where parts are of unequal length
    the frame behind a shorter one, too). Ours.
    """

    def __init__(self, pooling: nn.Module, parts: int) -> None:
        super().__init__()
        if parts < 2:
            raise ValueError(f"parts {parts}, want 2 or more")
        self.pooling, self._parts = pooling, parts
        self.out_dim = parts * pooling.out_dim

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(2, keepdim=True)
        part = torch.arange(self._parts, device=mask.device)[:, None]
        begin = part * lengths // self._parts  # (batch, parts, 1)
        end = torch.maximum((part + 1) * lengths // self._parts, begin + 1)
        longest = (mask.shape[2] + self._parts - 1) // self._parts
        frame = begin + torch.arange(longest, device=mask.device)  # (batch, parts, longest)
        chosen = torch.minimum(frame, lengths - 1).flatten(1)[:, None].expand(-1, hidden.shape[1], -1)
        cut = hidden.gather(2, chosen).unflatten(2, (self._parts, longest)).transpose(1, 2)
        pooled = self.pooling(cut.flatten(0, 1), (frame < end).flatten(0, 1)[:, None])
        return pooled.unflatten(0, (-1, self._parts)).flatten(1)


class _Attention(nn.Module):
    """One attention weight a frame. Okabe et al. (1803.10963), equations 3 and 4."""

    def __init__(self, channels: int, hidden_dim: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv1d(channels, hidden_dim, 1),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(hidden_dim),
            nn.Conv1d(hidden_dim, 1, 1),
        )

    def weights(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """alpha (batch, 1, frames), zero outside the mask."""
        return self.attention(hidden).masked_fill(~mask, float("-inf")).softmax(2)


class AttentionPooling(_Attention):
    """Mean weighted by one attention weight a frame. Okabe et al. (1803.10963), equations 3 to 5.

    e_t = v^T f(W h_t + b) + k, alpha = softmax over t of e. f is ReLU, then batch normalisation, with 64 hidden nodes
    (section 4.1.2).

    Arguments: channels (dims of h_t), hidden_dim (rows of W).
    """

    def __init__(self, channels: int, hidden_dim: int = 64) -> None:
        super().__init__(channels, hidden_dim)
        self.out_dim = channels

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return _weighted_sum(hidden, self.weights(hidden, mask))


class AttentiveStatisticsPooling(_Attention):
    """Mean and standard deviation weighted by one attention weight a frame. Okabe et al. (1803.10963), eq. 3 to 6.

    The weights alpha are those of AttentionPooling; the same alpha weights both statistics.

    Arguments: channels (dims of h_t), hidden_dim (rows of W).
    """

    def __init__(self, channels: int, hidden_dim: int = 64) -> None:
        super().__init__(channels, hidden_dim)
        self.out_dim = 2 * channels

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return _weighted_statistics(hidden, self.weights(hidden, mask))


class ChannelAttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation with an attention weight for each channel and frame, as ECAPA-TDNN has it.

    e_{t,c} = v_c^T f(W h_t + b) + k_c, alpha_{.,c} = softmax over t of e_{.,c}. With global context W sees
    [h_t; mu; sigma], mu and sigma being the utterance's plain statistics. Source: Desplanques et al. 2020
    (2005.07143), equations 1 and 2 and section 3.1; f is tanh.

    Arguments: channels (dims of h_t), hidden_dim (rows of W), global_context.
    """

    def __init__(self, channels: int, hidden_dim: int = 128, global_context: bool = True) -> None:
        super().__init__()
        self.out_dim = 2 * channels
        self.frame = nn.Conv1d(channels, hidden_dim, 1)
        # the context is the same for every frame: its part of W is applied once an utterance
        self.context = nn.Linear(2 * channels, hidden_dim, bias=False) if global_context else None
        self.energy = nn.Conv1d(hidden_dim, channels, 1)

    def weights(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """alpha (batch, channels, frames), zero outside the mask."""
        inner = self.frame(hidden)
        if self.context is not None:
            inner = inner + self.context(_weighted_statistics(hidden, _uniform_weights(hidden, mask)))[:, :, None]
        return self.energy(torch.tanh(inner)).masked_fill(~mask, float("-inf")).softmax(2)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return _weighted_statistics(hidden, self.weights(hidden, mask))
