"""Backbones against the same network in NumPy, and against published sizes."""

import numpy as np
import pytest
import torch
from network_reference import Parameters, elu, relu, trained

from vouch.nn.cnn5 import CNN5
from vouch.nn.ecapa import ECAPA
from vouch.nn.embedding import EmbeddingNetwork
from vouch.nn.ftdnn import FTDNN
from vouch.nn.pooling import ChannelAttentiveStatisticsPooling, StatisticsPooling
from vouch.nn.resnet import Bottleneck, ResNet, ResNet34
from vouch.nn.resnet1d import ResNet1d
from vouch.nn.tdnn import ETDNN, TDNN


def _size(*modules) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def _outputs(network, frames: int, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """A random input (dims, frames) and what the network makes of it, (channels, frames)."""
    torch.manual_seed(5)
    network = trained(network.double())
    features = torch.randn(1, frames, dims, dtype=torch.float64)
    hidden, lengths = network(features, torch.tensor([frames]))
    assert hidden.shape == (1, network.out_channels, lengths.item())
    without, _ = network(features, None)
    torch.testing.assert_close(without, hidden, rtol=1e-12, atol=1e-12)
    return features[0].T.numpy(), hidden[0].detach().numpy()


@pytest.mark.parametrize(
    ("network", "dilations", "context"),
    [(TDNN(5, 6, 7), [1, 2, 3, 1, 1], 14), (ETDNN(5, 6, 7), [1, 1, 2, 1, 3, 1, 4, 1, 1, 1], 22)],
)
def test_tdnns_are_their_formula(network, dilations, context):
    x, got = _outputs(network, 40, 5)
    layers = Parameters(network).at("layers")
    for number, dilation in enumerate(dilations):
        x = layers.at(3 * number + 2).norm(relu(layers.at(3 * number).convolution(x, dilation)))
    assert got.shape[1] == 40 - context == 40 - network.context
    np.testing.assert_allclose(got, x, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match=f"want more than {context}"):
        network(torch.zeros(1, context, 5, dtype=torch.float64), None)


def test_ftdnn_is_the_table_of_villalba():
    network = FTDNN(5, 8, 3, 7)
    x, got = _outputs(network, 50, 5)
    p = Parameters(network)

    def factorised(layer: int, dilation: int, *inputs: tuple[int, np.ndarray]) -> tuple[int, np.ndarray]:
        """Outputs with the frame that the first of them stands on; taps t - d, t, then t, t + d."""
        step, at = max(dilation, 1), p.at("factorised").at(layer - 2)
        start = inputs[0][0]
        frames = inputs[0][1].shape[1]
        joined = np.concatenate([y[:, start - s : start - s + frames] for s, y in inputs])
        inner = at.at("factor").convolution(joined, step)  # output i stands on frame start + dilation + i
        return start + dilation, at.at("norm").norm(relu(at.at("affine").convolution(inner, step)))

    first = p.at("first")
    l1 = (2, first.at(2).norm(relu(first.at(0).convolution(x))))
    l2 = factorised(2, 2, l1)
    l3 = factorised(3, 0, l2)
    l4 = factorised(4, 3, l3)
    l5 = factorised(5, 0, l4, l3)
    l6 = factorised(6, 3, l5)
    l7 = factorised(7, 3, l6, l4, l2)
    l8 = factorised(8, 3, l7)
    start, l9 = factorised(9, 0, l8, l6, l4)
    last = p.at("last")
    assert start == 16 and got.shape[1] == 50 - 32 == 50 - network.context
    np.testing.assert_allclose(got, last.at(2).norm(relu(last.at(0).convolution(l9))), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="want more than 32"):
        network(torch.zeros(1, 32, 5, dtype=torch.float64), None)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_resnet1d_is_its_formula(stride):
    network = ResNet1d(5, 6, stride)
    x, got = _outputs(network, 12, 5)
    p = Parameters(network)

    def layer(at: Parameters, y: np.ndarray) -> np.ndarray:
        return at.at(1).norm(at.at(0).convolution(y, padding=1))

    x = elu(layer(p.at("stem"), x)[:, ::stride])
    for number in range(4):
        block = p.at("blocks").at(number)
        x = elu(x + layer(block.at("second"), elu(layer(block.at("first"), x))))
    np.testing.assert_allclose(got, x, rtol=1e-9, atol=1e-9)


def test_ecapa_is_its_formula():
    network = ECAPA(5, 12, 7, scale=3, bottleneck=4)
    x, got = _outputs(network, 15, 5)
    p = Parameters(network)

    def unit(at: Parameters, y: np.ndarray, dilation: int = 1) -> np.ndarray:
        kernel = at.at("convolution")["weight"].shape[2]
        return at.at("norm").norm(relu(at.at("convolution").convolution(y, dilation, dilation * (kernel // 2))))

    inputs, outputs = [unit(p.at("first"), x)], []
    for number, dilation in enumerate((2, 3, 4)):
        block = p.at("blocks").at(number)
        y = unit(block.at("before"), sum(inputs))
        one, two, three = y[:4], y[4:8], y[8:]
        units = block.at("res2").at("units")
        second = unit(units.at(0), two, dilation)
        third = unit(units.at(1), three + second, dilation)
        y = unit(block.at("after"), np.concatenate([one, second, third]))
        gate = block.at("excitation").at("gate")
        logits = gate.at(2).linear(relu(gate.at(0).linear(y.mean(1))))
        outputs.append(sum(inputs) + y / (1 + np.exp(-logits))[:, None])
        inputs.append(outputs[-1])
    expected = relu(p.at("last").at(0).convolution(np.concatenate(outputs)))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def _largest_of_squares(x: np.ndarray) -> np.ndarray:
    """x (channels, rows, columns): the largest of 2 x 2 values each; at odd ends of fewer."""
    rows, columns = (range(0, size, 2) for size in x.shape[1:])
    return np.stack([np.stack([x[:, r : r + 2, c : c + 2].max((1, 2)) for c in columns], 1) for r in rows], 1)


@pytest.mark.parametrize(("frames", "left"), [(32, 2), (37, 3), (1, 1)])
def test_cnn5_is_its_formula(frames, left):
    network = CNN5(11, 2)
    x, got = _outputs(network, frames, 11)
    x = x[None]
    for number in range(5):
        block = Parameters(network).at("blocks").at(number)
        half = 0 if number else 1
        x = block.at("norm").norm(relu(block.at("convolution").convolution2d(x, 1, (1 + half, 1 + half))))
        x = _largest_of_squares(x) if number else x
    assert x.shape == (16, 1, left)
    np.testing.assert_allclose(got, x.mean(1), rtol=1e-9, atol=1e-9)
    widths = [block.convolution.out_channels for block in CNN5(64).blocks]
    assert widths == [512, 64, 128, 256, 512] and network.blocks[0].dropout.p == 0.3


def _residual(at: Parameters, names: list[tuple[str, int]], x: np.ndarray, stride: int) -> np.ndarray:
    """A residual block: its convolutions (name, stride), all but the last with ReLU, and the shortcut."""
    y = x
    for number, (name, step) in enumerate(names):
        layer = at.at(name)
        half = layer.at(0)["weight"].shape[2] // 2
        y = layer.at(1).norm(layer.at(0).convolution2d(y, step, (half, half)))
        y = y if number == len(names) - 1 else relu(y)
    shortcut = at.at("shortcut")
    if f"{shortcut.prefix}0.weight" in at.values:
        x = shortcut.at(1).norm(shortcut.at(0).convolution2d(x, stride))
    return relu(y + x)


@pytest.mark.parametrize("frequency", ["flatten", "mean", "convolution"])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_resnets_are_their_formula(kind, frequency):
    if kind == "basic":
        network, blocks = ResNet34(11, 2, frequency), (3, 4, 6, 3)
    else:
        blocks = (2, 1, 1, 1)
        network = ResNet(11, Bottleneck, blocks, 2, frequency)
    x, got = _outputs(network, 19, 11)
    p = Parameters(network)
    x = relu(p.at("stem").at(1).norm(p.at("stem").at(0).convolution2d(x[None], 1, (1, 1))))
    strides = [2 if stage and not block else 1 for stage in range(4) for block in range(blocks[stage])]
    for number, stride in enumerate(strides):
        names = (
            [("first", stride), ("second", 1)] if kind == "basic" else [("first", 1), ("second", stride), ("third", 1)]
        )
        x = _residual(p.at("blocks").at(number), names, x, stride)
    assert x.shape[1:] == (2, 3)  # 11 bins and 19 frames, halved three times, rounded up
    if frequency == "flatten":
        x = x.reshape(-1, 3)
    elif frequency == "mean":
        x = x.mean(1)
    else:
        x = relu(p.at("over_bins").at(0).convolution2d(x))[:, 0]
    np.testing.assert_allclose(got, x, rtol=1e-8, atol=1e-8)


def test_even_axes_have_a_gradient():  # PyTorch 2.13 ends with a segmentation fault where the shortcuts have the stride
    network = ResNet34(40, 8)
    features = torch.randn(4, 200, 40, requires_grad=True)
    network(features, None)[0].square().mean().backward()
    assert features.grad.isfinite().all() and features.grad.any()


def test_published_sizes():
    speakers = 512 * 7000 + 7000  # the classifier of about 7,000 speakers that the published sizes contain
    etdnn = EmbeddingNetwork(ETDNN(23), StatisticsPooling(1500))
    assert round((_size(etdnn) + speakers) / 1e6) == 10  # Villalba et al. 2020
    ftdnn = EmbeddingNetwork(FTDNN(23), StatisticsPooling(2048))
    assert round((_size(ftdnn) + speakers) / 1e6) == 17  # Villalba et al. 2020
    resnet = ResNet34(80, 32)
    network = EmbeddingNetwork(resnet, StatisticsPooling(resnet.out_channels), 256, 0)
    assert round(_size(network.backbone, network.embedding) / 1e6, 2) == 6.63  # WeSpeaker's ResNet34-TSTP-emb256
    for channels, published in ((512, 6.19), (1024, 14.66)):  # Desplanques et al. 2020, table 1: 6.2 and 14.7
        ecapa = ECAPA(80, channels)
        pooling = ChannelAttentiveStatisticsPooling(ecapa.out_channels)
        assert round(_size(EmbeddingNetwork(ecapa, pooling, 192, 0, norm_pooled=True)) / 1e6, 2) == published


def test_tdnn_size_and_contexts():
    network = TDNN(23, 512, 1500)
    # x-vector table 1 of Snyder et al. with 23 MFCC: affine weights and biases of the five layers, two per batch norm
    affine = 512 * (5 * 23 + 1) + 2 * 512 * (3 * 512 + 1) + 512 * (512 + 1) + 1500 * (512 + 1)
    assert _size(network) == affine + 2 * (4 * 512 + 1500)


@pytest.mark.parametrize(("kind", "seen"), [(TDNN, 7), (ETDNN, 11), (FTDNN, 16), (ResNet1d, 9)])
def test_receptive_fields(kind, seen):
    torch.manual_seed(8)
    network = trained(kind(5, 32))
    features = torch.randn(1, 80, 5)
    moved = features.clone()
    moved[0, 40] += 10.0
    hidden, after = network(features, None)[0], network(moved, None)[0]
    touched = (hidden != after).any(1)[0].nonzero().flatten() + network.context // 2
    assert touched.min() == 40 - seen and touched.max() == 40 + seen


def test_sizes_that_make_no_network():
    with pytest.raises(ValueError, match="channels 10 do not make 8 equal groups"):
        ECAPA(5, 10)
    with pytest.raises(ValueError, match="channels 64 and dropout 1.0, want 1 or more, and 0 to below 1"):
        CNN5(5, dropout=1.0)
    with pytest.raises(ValueError, match="frequency 'sum', want flatten, mean or convolution"):
        ResNet34(5, 2, "sum")


def test_the_picture_stays_channels_last():
    network = trained(ResNet34(9, 4))
    seen = []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.randn(2, 20, 9), torch.tensor([20, 11]))
    assert len(seen) == 16 and all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)
