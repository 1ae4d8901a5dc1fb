"""Networks and heads are one graph to torch.compile, and neither progress nor chunk lengths make it anew each time."""

import pytest
import torch
from test_padding import SMALL

from vouch.nn.embedding import EmbeddingNetwork
from vouch.system import COMPONENTS

LARGEST = 5  # graphs of a network and a head together: each once, once for any length, and before and after the ramp


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("backbone", "pooling", "head"),
    [
        ("tdnn", "attentive_statistics", "am_softmax"),
        ("ftdnn", "lde", "softmax"),
        ("resnet1d", "attention", "aam_softmax"),
        ("ecapa_tdnn", "channel_attentive_statistics", "a_softmax"),
    ],
)
def test_one_graph(backbone, pooling, head):
    frames = COMPONENTS["backbone"][backbone](13, **SMALL[backbone])
    network = EmbeddingNetwork(frames, COMPONENTS["pooling"][pooling](frames.out_channels), 8, 0)
    classifier = COMPONENTS["head"][head](8, 3, **({} if head == "softmax" else {"margin_ramp": 0.5}))
    graphs = []

    def count(graph: torch.fx.GraphModule, _: list) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    forward = torch.compile(network, backend=count, fullgraph=True)
    lossy = torch.compile(classifier, backend=count, fullgraph=True)
    for step, length in enumerate((60, 70, 80, 75, 66, 61)):
        loss, _ = lossy(forward(torch.randn(4, length, 13)), torch.tensor([0, 1, 2, 1]), step / 6)
        loss.backward()
    assert len(graphs) <= LARGEST
