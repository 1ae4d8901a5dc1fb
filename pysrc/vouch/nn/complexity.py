"""The size of a network and the arithmetic of one utterance."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from vouch.nn.embedding import EmbeddingNetwork


@torch.no_grad()
def complexity(network: EmbeddingNetwork, feature_dim: int, frames: int) -> tuple[int, int]:
    """(parameters, multiply-adds of the embedding of one utterance of `frames` frames).

    Counted are matrix products and convolutions, what the embedding needs; the parameters are those of the whole
    network. Raises ValueError where the utterance is shorter than the backbone takes.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network.embed(torch.zeros(1, frames, feature_dim, device=device), None)
    network.train(training)
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2
