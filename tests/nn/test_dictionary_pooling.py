"""Dictionary poolings against their formulas in NumPy, and against padding."""

import numpy as np
import pytest
import torch
from network_reference import Parameters, softmax

from vouch.nn.dictionary_pooling import DictionaryPooling, GhostVLAD, NetVLAD
from vouch.nn.masks import frame_mask

ALL = torch.ones(3, 1, 11, dtype=torch.bool)


def _frames() -> torch.Tensor:
    return torch.randn(3, 7, 11, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_lde_is_its_formula():
    torch.manual_seed(2)
    pooling = DictionaryPooling(7, centres=4).double()
    pooling.scales.data.copy_(torch.tensor([0.5, 1.0, 2.0, 0.1]))
    pooled = pooling(_frames(), ALL).detach().numpy()
    p = Parameters(pooling)
    for x, got in zip(_frames().numpy(), pooled, strict=True):
        residuals = x.T[:, None, :] - p["centres"]  # (frames, centres, dims)
        w = softmax(-p["scales"] * (residuals**2).sum(2), 1)
        np.testing.assert_allclose(got, (w[:, :, None] * residuals).mean(0).ravel(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ghosts", [0, 3])
def test_vlad_is_its_formula(ghosts):
    torch.manual_seed(3)
    pooling = (NetVLAD(7, 4) if ghosts == 0 else GhostVLAD(7, 4, ghosts)).double()
    pooled = pooling(_frames(), ALL).detach().numpy()
    assert pooled.shape == (3, 28) == (3, pooling.out_dim)
    p = Parameters(pooling)
    for x, got in zip(_frames().numpy(), pooled, strict=True):
        a = softmax(p.at("assignment").convolution(x).T, 1)  # (frames, centres and ghosts)
        v = np.stack([(a[:, k, None] * (x.T - p["centres"][k])).sum(0) for k in range(4)])
        np.testing.assert_allclose(got, (v / np.linalg.norm(v, axis=1, keepdims=True)).ravel(), rtol=1e-9)


def test_a_frame_that_a_ghost_takes_has_no_effect():
    pooling = GhostVLAD(2, centres=2, ghosts=1).double()
    pooling.assignment.weight.data.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 99]])[:, :, None])  # the ghost wants y
    hidden = torch.randn(1, 2, 6, dtype=torch.float64)
    hidden[:, 1] = 0.0
    noise = torch.tensor([[[3.0], [9.0]]], dtype=torch.float64)
    with_noise = pooling(torch.cat([hidden, noise], 2), torch.ones(1, 1, 7, dtype=torch.bool))
    torch.testing.assert_close(with_noise, pooling(hidden, torch.ones(1, 1, 6, dtype=torch.bool)))


@pytest.mark.parametrize("pooling", [DictionaryPooling, NetVLAD, GhostVLAD])
def test_frames_outside_the_mask_have_no_effect(pooling):
    torch.manual_seed(7)
    module = pooling(7).double()
    hidden, mask = _frames(), frame_mask(torch.tensor([11, 4, 1]), 11)
    pooled = module(torch.where(mask, hidden, 1e3), mask)
    for row, x, frames in zip(pooled, hidden, (11, 4, 1), strict=True):
        alone = module(x[None, :, :frames], torch.ones(1, 1, frames, dtype=torch.bool))[0]
        torch.testing.assert_close(row, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pooling", [DictionaryPooling, NetVLAD, GhostVLAD])
def test_mixed_precision_is_not_for_residuals(pooling):
    torch.manual_seed(7)
    module, hidden = pooling(7), 10 * _frames().float()
    expected = module(hidden, ALL)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(hidden, ALL), expected)


def test_sizes_that_make_no_pooling():
    with pytest.raises(ValueError, match="centres wants 1 or more"):
        GhostVLAD(7, 0)
