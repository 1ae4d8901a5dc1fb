"""An embedding alone against the same in a padded batch: relative 1e-5 in float32, every backbone and pooling."""

import pytest
import torch
from network_reference import trained

from vouch.nn.embedding import EmbeddingNetwork
from vouch.system import COMPONENTS

LENGTHS = (90, 41, 67, 34)
SMALL = {
    "tdnn": {"channels": 16, "pooled_channels": 24},
    "etdnn": {"channels": 16, "pooled_channels": 24},
    "ftdnn": {"channels": 16, "bottleneck": 8, "pooled_channels": 24},
    "resnet34": {"channels": 4},
    "resnet50": {"channels": 2},
    "resnet1d": {"channels": 16},
    "ecapa_tdnn": {"channels": 16, "pooled_channels": 24, "scale": 4, "bottleneck": 8},
    "cnn5": {"channels": 4},
}
BACKBONES = [(name, {}) for name in COMPONENTS["backbone"]]
BACKBONES += [("resnet34", {"frequency": how}) for how in ("mean", "convolution")]
BACKBONES += [("resnet1d", {"stride": 2})]


def _network(backbone: str, options: dict, pooling: str) -> EmbeddingNetwork:
    torch.manual_seed(0)
    frames = COMPONENTS["backbone"][backbone](13, **SMALL[backbone], **options)
    return trained(
        EmbeddingNetwork(frames, COMPONENTS["pooling"][pooling](frames.out_channels), 10, 5, norm_pooled=True)
    )


@pytest.mark.parametrize("pooling", COMPONENTS["pooling"])
@pytest.mark.parametrize(("backbone", "options"), BACKBONES)
def test_an_embedding_does_not_depend_on_the_padding_of_its_batch(backbone, options, pooling):
    network = _network(backbone, options, pooling)
    utterances = [torch.randn(n, 13) for n in LENGTHS]
    batch = torch.full((len(LENGTHS), max(LENGTHS), 13), 1e3)  # padding that would be seen at once
    for row, utterance in zip(batch, utterances, strict=True):
        row[: len(utterance)] = utterance
    with torch.no_grad():
        together = network.embed(batch, torch.tensor(LENGTHS))
        for row, utterance in zip(together, utterances, strict=True):
            alone = network.embed(utterance[None], torch.tensor([len(utterance)]))[0]
            unmasked = network.embed(utterance[None], None)[0]
            assert (row - alone).norm() < 1e-5 * alone.norm()
            assert (unmasked - alone).norm() < 1e-5 * alone.norm()


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50", "resnet1d", "ecapa_tdnn", "cnn5"])
def test_convolutions_that_pad_are_masked_in_training_too(backbone):
    network = COMPONENTS["backbone"][backbone](13, **SMALL[backbone])
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.eval()  # statistics of the batch are the only thing that may see another utterance
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    batch = torch.randn(2, 60, 13)
    other = batch.clone()
    other[1, 33:] = 50.0
    lengths = torch.tensor([60, 33])
    (one, out), (two, _) = network(batch, lengths), network(other, lengths)
    assert network.training and torch.equal(one[1, :, : out[1]], two[1, :, : out[1]])


@pytest.mark.parametrize("pooling", COMPONENTS["pooling"])
@pytest.mark.parametrize("backbone", COMPONENTS["backbone"])
def test_every_network_takes_16_bits_on_a_processor(backbone, pooling):
    network = _network(backbone, {}, pooling)
    features = torch.randn(2, 60, 13)
    with torch.no_grad():
        exact = network.embed(features, None)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network.embed(features, None)
    assert torch.nn.functional.cosine_similarity(rounded.float(), exact).min() > 0.95
