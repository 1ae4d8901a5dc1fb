"""Parameters and multiply-adds counted by hand."""

import pytest
import torch

from vouch.nn.complexity import complexity
from vouch.nn.embedding import EmbeddingNetwork
from vouch.nn.pooling import AttentionPooling, MeanPooling
from vouch.nn.resnet1d import ResNet1d
from vouch.nn.tdnn import TDNN


def test_tdnn_by_hand():
    network = EmbeddingNetwork(TDNN(23, 8, 12), AttentionPooling(12, 5), 6, 4)
    layers = 8 * 23 * 5 * 96 + 8 * 8 * 3 * 92 + 8 * 8 * 3 * 86 + 8 * 8 * 86 + 12 * 8 * 86  # 100 frames in, 86 out
    attention = 12 * 5 * 86 + 5 * 86 + 12 * 86  # the last: the weighted mean
    parameters, multiply_adds = complexity(network, 23, 100)
    assert multiply_adds == layers + attention + 12 * 6
    assert parameters == sum(p.numel() for p in network.parameters())
    assert network.training
    with pytest.raises(ValueError, match="14 frames, want more than 14"):
        complexity(network, 23, 14)


def test_counting_leaves_the_network_as_it_was():
    network = EmbeddingNetwork(ResNet1d(5, 6), MeanPooling(6), 4, 0).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert complexity(network, 5, 50)[1] == 50 * (5 * 6 * 3 + 8 * 6 * 6 * 3) + 6 * 50 + 6 * 4
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
