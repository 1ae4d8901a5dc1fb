"""Poolings against their formulas in NumPy, and against padding."""

import numpy as np
import pytest
import torch
from network_reference import Parameters, relu, softmax, trained

from vouch.nn.masks import frame_mask, zero_padding
from vouch.nn.pooling import (
    AttentionPooling,
    AttentiveStatisticsPooling,
    ChannelAttentiveStatisticsPooling,
    MeanPooling,
    PoolingInParts,
    StatisticsPooling,
)

POOLINGS = [
    MeanPooling,
    StatisticsPooling,
    AttentionPooling,
    AttentiveStatisticsPooling,
    ChannelAttentiveStatisticsPooling,
]


def _frames(batch: int = 3, channels: int = 7, frames: int = 11) -> torch.Tensor:
    return torch.randn(batch, channels, frames, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_statistics_pooling_is_mean_and_biased_deviation():
    hidden = _frames()
    pooled = StatisticsPooling(7)(hidden, torch.ones(3, 1, 11, dtype=torch.bool)).numpy()
    x = hidden.numpy()
    mean = x.mean(2)
    deviation = np.sqrt((x * x).mean(2) - mean * mean)  # equation 2
    np.testing.assert_allclose(pooled, np.concatenate([mean, deviation], 1), rtol=1e-10)


def _attention(pooling: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """alpha (1, frames) of equations 3 and 4."""
    layers = Parameters(pooling).at("attention")
    f = layers.at(2).norm(relu(layers.at(0).convolution(x)))  # ReLU, then batch norm
    return softmax(layers.at(3).convolution(f), 1)


def test_mean_and_attention_pooling_are_weighted_means():
    hidden = _frames()
    mean = MeanPooling(7)(hidden, torch.ones(3, 1, 11, dtype=torch.bool)).numpy()
    np.testing.assert_allclose(mean, hidden.numpy().mean(2), rtol=1e-10)
    pooling = trained(AttentionPooling(7, hidden_dim=5).double())
    pooled = pooling(hidden, torch.ones(3, 1, 11, dtype=torch.bool)).detach().numpy()
    expected = [(_attention(pooling, x) * x).sum(1) for x in hidden.numpy()]
    np.testing.assert_allclose(pooled, expected, rtol=1e-9)


def test_attentive_statistics_follow_equations_3_to_6():
    hidden = _frames()
    pooling = trained(AttentiveStatisticsPooling(7, hidden_dim=5).double())
    pooled = pooling(hidden, torch.ones(3, 1, 11, dtype=torch.bool)).detach().numpy()
    for x, got in zip(hidden.numpy(), pooled, strict=True):
        alpha = _attention(pooling, x)
        mean = (alpha * x).sum(1)
        deviation = np.sqrt((alpha * x * x).sum(1) - mean * mean)
        np.testing.assert_allclose(got, np.concatenate([mean, deviation]), rtol=1e-9)


@pytest.mark.parametrize("global_context", [True, False])
def test_channel_attentive_statistics_are_their_formula(global_context):
    hidden = _frames()
    torch.manual_seed(6)
    pooling = ChannelAttentiveStatisticsPooling(7, 5, global_context).double()
    pooled = pooling(hidden, torch.ones(3, 1, 11, dtype=torch.bool)).detach().numpy()
    p = Parameters(pooling)
    w = p["frame.weight"][:, :, 0]
    if global_context:  # one W that sees [h; mu; sigma]
        w = np.concatenate([w, p["context.weight"]], 1)
    for x, got in zip(hidden.numpy(), pooled, strict=True):
        seen = x
        if global_context:
            constant = np.concatenate([x.mean(1), x.std(1)])[:, None]
            seen = np.concatenate([x, np.repeat(constant, x.shape[1], 1)])
        energy = p.at("energy").convolution(np.tanh(w @ seen + p["frame.bias"][:, None]))
        alpha = softmax(energy, 1)  # (channels, frames)
        mean = (alpha * x).sum(1)
        deviation = np.sqrt((alpha * x * x).sum(1) - mean * mean)
        np.testing.assert_allclose(got, np.concatenate([mean, deviation]), rtol=1e-9)


def test_attention_is_not_uniform():
    hidden = _frames()
    weights = trained(AttentiveStatisticsPooling(7, 5).double()).weights(hidden, torch.ones(3, 1, 11).bool())
    assert weights.sum(2).allclose(torch.ones(3, 1, dtype=torch.float64))
    assert weights.std() > 1e-3


@pytest.mark.parametrize("pooling", POOLINGS)
def test_constant_frames_keep_the_gradient_finite(pooling):
    hidden = torch.ones(2, 4, 6, requires_grad=True)
    pooling(4)(hidden, torch.ones(2, 1, 6, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(hidden.grad).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_frames_outside_the_mask_have_no_effect(pooling):
    torch.manual_seed(7)
    module = trained(pooling(7).double())
    hidden, mask = _frames(), frame_mask(torch.tensor([11, 4, 1]), 11)
    pooled = module(torch.where(mask, hidden, 1e6), mask)
    assert pooled.shape == (3, module.out_dim)
    for row, x, frames in zip(pooled, hidden, (11, 4, 1), strict=True):
        alone = module(x[None, :, :frames], torch.ones(1, 1, frames, dtype=torch.bool))[0]
        torch.testing.assert_close(row, alone, rtol=1e-12, atol=1e-12)


def test_masks():
    lengths = torch.tensor([2, 3])
    assert frame_mask(lengths, 3).int().tolist() == [[[1, 1, 0]], [[1, 1, 1]]]
    assert zero_padding(torch.ones(2, 1, 3), lengths).tolist() == [[[1, 1, 0]], [[1, 1, 1]]]
    assert zero_padding(torch.full((2, 1, 2, 3), torch.inf), lengths)[0].tolist() == [[[torch.inf, torch.inf, 0]] * 2]
    hidden = torch.ones(2, 1, 3)
    assert zero_padding(hidden, None) is hidden


@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_in_parts_is_the_pooling_of_each_part(kind):
    """13 frames in 4 parts, and 2 in 4, where the last two parts share a frame; behind the lengths is padding."""
    inner = trained(kind(7).double())
    pooling = PoolingInParts(inner, 4)
    hidden = _frames(2, 7, 13)
    got = pooling(hidden, frame_mask(torch.tensor([13, 2]), 13))
    assert got.shape == (2, pooling.out_dim)
    for row, bounds in ((0, [(0, 3), (3, 6), (6, 9), (9, 13)]), (1, [(0, 1), (0, 1), (1, 2), (1, 2)])):
        parts = [hidden[row : row + 1, :, begin:end] for begin, end in bounds]
        expected = [inner(part, torch.ones(1, 1, part.shape[2], dtype=torch.bool)) for part in parts]
        torch.testing.assert_close(got[row : row + 1], torch.cat(expected, 1), rtol=1e-10, atol=1e-12)


def test_pooling_in_parts_updates_its_statistics_once():
    inner = AttentiveStatisticsPooling(7, hidden_dim=5)
    twin = AttentiveStatisticsPooling(7, hidden_dim=5)
    twin.load_state_dict(inner.state_dict())
    hidden, mask = _frames(frames=12).float(), torch.ones(3, 1, 12, dtype=torch.bool)
    PoolingInParts(inner, 4)(hidden, mask)
    twin(hidden, mask)
    norm, whole = inner.attention[2], twin.attention[2]
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(norm.running_mean, whole.running_mean)
    torch.testing.assert_close(norm.running_var, whole.running_var)


def test_one_part_is_no_pooling_in_parts():
    with pytest.raises(ValueError, match="parts 1, want 2 or more"):
        PoolingInParts(MeanPooling(3), 1)
