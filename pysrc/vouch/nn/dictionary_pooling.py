"""Poolings by a learned dictionary: residuals to its centres, assigned softly. The protocol is vouch.nn.pooling's.

They work in the precision of their input, in automatic mixed precision too: a residual to a centre is a small
difference of large numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def _residuals(hidden: Tensor, weights: Tensor, centres: Tensor) -> Tensor:
    """sum over t of w_tk (x_t - mu_k): weights (batch, centres, frames) -> (batch, centres, channels)."""
    return weights @ hidden.transpose(1, 2) - weights.sum(2)[:, :, None] * centres


class DictionaryPooling(nn.Module):
    """Learnable dictionary encoding (LDE).

    w_tc = softmax over c of -s_c |x_t - mu_c|^2, e_c = (1/T) sum_t w_tc (x_t - mu_c), and all e_c joined.
    Source: Cai et al. 2018 (1804.00385; 1804.05160), who divide by the number of frames rather than by sum_t w_tc.
    Ours: the centres start near zero, where each frame belongs to all of them, and s at one.

    Arguments: channels (dims of x_t), centres (C).
    """

    def __init__(self, channels: int, centres: int = 64) -> None:
        super().__init__()
        self.out_dim = centres * channels
        self.centres = nn.Parameter(torch.randn(centres, channels) * channels**-0.5)
        self.scales = nn.Parameter(torch.ones(centres))

    def weights(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(batch, centres, frames), zero outside the mask; they sum to one over the centres."""
        scales = self.scales[:, None]
        affine = 2 * (self.centres @ hidden) - self.centres.square().sum(1)[:, None]
        # |x_t|^2 times the mean scale is the same for all centres: left out, it costs the softmax no digits
        logits = scales * affine - (scales - scales.mean()) * hidden.square().sum(1, keepdim=True)
        return logits.softmax(1).masked_fill(~mask, 0.0)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            residuals = _residuals(hidden, self.weights(hidden, mask), self.centres)
            return (residuals / mask.sum(2)[:, :, None]).flatten(1)


class GhostVLAD(nn.Module):
    """NetVLAD with ghosts: centres that take frames of no use and are dropped.

    a_tk = softmax over k of w_k x_t + b_k, V_k = sum_t a_tk (x_t - c_k), each V_k divided by its length, those that are
    no ghosts joined. Source: Arandjelovic et al. 2016 (1511.07247), equation 4; Zhong et al. 2018 (1810.09951);
    Xie et al. 2019 (1902.10107), section 2.2: 8 centres and 2 ghosts. The length of the whole is constant then, so that
    the last normalisation of Arandjelovic et al. is left out.

    Arguments: channels (dims of x_t), centres (K), ghosts (G).
    """

    def __init__(self, channels: int, centres: int = 8, ghosts: int = 2) -> None:
        super().__init__()
        if centres < 1 or ghosts < 0:
            raise ValueError("centres wants 1 or more, ghosts 0 or more")
        self.out_dim = centres * channels
        self.centres = nn.Parameter(torch.empty(centres, channels))
        nn.init.orthogonal_(self.centres)
        self.assignment = nn.Conv1d(channels, centres + ghosts, 1)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            weights = self.assignment(hidden).softmax(1)[:, : len(self.centres)].masked_fill(~mask, 0.0)
            return functional.normalize(_residuals(hidden, weights, self.centres), dim=2).flatten(1)


class NetVLAD(GhostVLAD):
    """NetVLAD: GhostVLAD without ghosts. Arandjelovic et al. 2016 (1511.07247); Xie et al. 2019 (1902.10107).

    Arguments: channels, centres (K).
    """

    def __init__(self, channels: int, centres: int = 8) -> None:
        super().__init__(channels, centres, ghosts=0)
