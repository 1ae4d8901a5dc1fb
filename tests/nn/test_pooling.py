"""Poolings against their formulas in NumPy, and against padding."""

import numpy as np
import pytest
import torch
from torch import nn

from vouch.nn.embedding import EmbeddingNetwork
from vouch.nn.masks import frame_mask
from vouch.nn.pooling import AttentiveStatisticsPooling, StatisticsPooling
from vouch.nn.tdnn import TDNN


def _frames(batch: int = 3, channels: int = 7, frames: int = 11) -> torch.Tensor:
    return torch.randn(batch, channels, frames, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _trained(module: nn.Module) -> nn.Module:
    """Batch norms with statistics that are not the identity."""
    generator = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            part.weight.data.copy_(torch.randn(part.num_features, generator=generator))
    return module.eval()


def test_statistics_pooling_is_mean_and_biased_deviation():
    hidden = _frames()
    pooled = StatisticsPooling(7)(hidden, torch.ones(3, 1, 11, dtype=torch.bool)).numpy()
    x = hidden.numpy()
    mean = x.mean(2)
    deviation = np.sqrt((x * x).mean(2) - mean * mean)  # equation 2
    np.testing.assert_allclose(pooled, np.concatenate([mean, deviation], 1), rtol=1e-10)


def test_attentive_statistics_follow_equations_3_to_6():
    hidden = _frames()
    pooling = _trained(AttentiveStatisticsPooling(7, hidden_dim=5).double())
    pooled = pooling(hidden, torch.ones(3, 1, 11, dtype=torch.bool)).detach().numpy()
    first, _, norm, second = pooling.attention
    w, b = first.weight.detach().numpy()[:, :, 0], first.bias.detach().numpy()
    v, k = second.weight.detach().numpy()[0, :, 0], second.bias.detach().numpy()
    for x, got in zip(hidden.numpy(), pooled, strict=True):
        f = np.maximum(w @ x + b[:, None], 0)  # ReLU, then batch norm
        scale = norm.weight.detach().numpy() / np.sqrt(norm.running_var.numpy() + norm.eps)
        f = (f - norm.running_mean.numpy()[:, None]) * scale[:, None] + norm.bias.detach().numpy()[:, None]
        e = v @ f + k
        alpha = np.exp(e) / np.exp(e).sum()
        mean = (alpha * x).sum(1)
        deviation = np.sqrt((alpha * x * x).sum(1) - mean * mean)
        np.testing.assert_allclose(got, np.concatenate([mean, deviation]), rtol=1e-9)


def test_attention_is_not_uniform():
    hidden = _frames()
    weights = _trained(AttentiveStatisticsPooling(7, 5).double()).weights(hidden, torch.ones(3, 1, 11).bool())
    assert weights.sum(2).allclose(torch.ones(3, 1, dtype=torch.float64))
    assert weights.std() > 1e-3


@pytest.mark.parametrize("pooling", [StatisticsPooling, AttentiveStatisticsPooling])
def test_constant_frames_keep_the_gradient_finite(pooling):
    hidden = torch.ones(2, 4, 6, requires_grad=True)
    pooling(4)(hidden, torch.ones(2, 1, 6, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(hidden.grad).all()


@pytest.mark.parametrize("pooling", [StatisticsPooling, AttentiveStatisticsPooling])
def test_an_embedding_does_not_depend_on_the_padding_of_its_batch(pooling):
    torch.manual_seed(0)
    network = _trained(EmbeddingNetwork(TDNN(6, 8, 12), pooling(12), 5, 5))
    lengths = torch.tensor([40, 17, 29])
    batch = torch.full((3, 40, 6), 1e3)  # padding that would be seen at once
    utterances = [torch.randn(n, 6) for n in lengths]
    for row, utterance in zip(batch, utterances, strict=True):
        row[: len(utterance)] = utterance
    together = network.embed(batch, lengths)
    for row, utterance in zip(together, utterances, strict=True):
        alone = network.embed(utterance[None], torch.tensor([len(utterance)]))[0]
        torch.testing.assert_close(row, alone, rtol=1e-5, atol=1e-5)


def test_tdnn_contexts_and_size():
    network = TDNN(23, 512, 1500)
    # x-vector table 1 of Snyder et al. with 23 MFCC: affine weights and biases of the five layers, two per batch norm
    affine = 512 * (5 * 23 + 1) + 2 * 512 * (3 * 512 + 1) + 512 * (512 + 1) + 1500 * (512 + 1)
    assert sum(p.numel() for p in network.parameters()) == affine + 2 * (4 * 512 + 1500)
    network.eval()
    features = torch.randn(1, 60, 23)
    hidden, lengths = network(features, torch.tensor([60]))
    assert hidden.shape == (1, 1500, 46) and lengths.item() == 46
    moved = features.clone()
    moved[0, 30] += 10.0  # frame 30 is seen by outputs 30 - 14 to 30, that is 15 of them
    touched = (network(moved, torch.tensor([60]))[0] != hidden).any(1)[0].nonzero().flatten().tolist()
    assert min(touched) == 16 and max(touched) == 30


def test_frame_mask():
    assert frame_mask(torch.tensor([2, 3]), 3).int().tolist() == [[[1, 1, 0]], [[1, 1, 1]]]
