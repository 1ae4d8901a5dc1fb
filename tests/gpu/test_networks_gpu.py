"""Networks on a GPU: the same embeddings as on the processor, no padding effect, no waiting, layouts, compilation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vouch.io.config import read_config
from vouch.system import COMPONENTS, build_objective, resolve

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["average", "attention", "statistics", "attentive", "asp", "resnet34", "ecapa"]
LENGTHS = (300, 120, 411, 77)
DIMS = 40


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Float32 is float32: no TF32."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def _objective(name: str) -> torch.nn.Module:
    path = ROOT / "conf" / f"{name}.yaml"
    torch.manual_seed(1)
    return build_objective(resolve(read_config(path), str(path)), DIMS, 10, "cuda")


def _padded() -> tuple[list[torch.Tensor], torch.Tensor]:
    utterances = [torch.randn(n, DIMS) for n in LENGTHS]
    batch = torch.full((len(LENGTHS), max(LENGTHS), DIMS), 1e3)
    for row, utterance in zip(batch, utterances, strict=True):
        row[: len(utterance)] = utterance
    return utterances, batch


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_embeddings_are_those_of_the_processor_and_padding_has_no_effect(name):
    objective = _objective(name).eval()
    utterances, batch = _padded()
    lengths = torch.tensor(LENGTHS)
    together = objective.embed(batch.cuda(), lengths.cuda())
    for row, utterance in zip(together, utterances, strict=True):
        alone = objective.embed(utterance[None].cuda(), torch.tensor([len(utterance)]).cuda())[0]
        assert (row - alone).norm() < 1e-5 * alone.norm()
    processor = objective.cpu().embed(batch, lengths)
    assert (together.cpu() - processor).norm() < 1e-4 * processor.norm()


@pytest.mark.parametrize("name", NAMES)
def test_a_forward_and_backward_pass_in_16_bits_does_not_wait_for_the_device(name):
    objective = _objective(name).train()
    features = torch.randn(8, 200, DIMS, device="cuda")
    labels = torch.arange(8, device="cuda")

    def loss() -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            hidden = objective.network(features).float()
        return objective.head(hidden, labels, 0.2)[0]

    loss().backward()  # libraries load, algorithms are chosen
    torch.cuda.set_sync_debug_mode("error")
    try:
        value = loss()
        value.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(value)
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters() if p.grad is not None)


def test_resnet_stays_channels_last():
    network = COMPONENTS["backbone"]["resnet34"](DIMS).cuda()
    seen = []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.autocast("cuda", torch.bfloat16):
        network(torch.randn(4, 100, DIMS, device="cuda"), None)
    assert len(seen) == 16 and all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


@pytest.mark.parametrize("name", ["asp", "resnet34", "ecapa"])
def test_compiled_networks_give_the_same(name):
    objective = _objective(name).eval()
    compiled = torch.compile(objective.network, fullgraph=True)
    for frames in (200, 260, 320):
        features = torch.randn(4, frames, DIMS, device="cuda")
        with torch.no_grad():
            plain = objective.network(features)
            assert (compiled(features) - plain).norm() < 1e-4 * plain.norm()


def test_the_semi_orthogonal_step_does_not_wait_for_the_device():
    network = COMPONENTS["backbone"]["ftdnn"](DIMS).cuda()
    network.factorised[0].constrain()
    torch.cuda.set_sync_debug_mode("error")
    try:
        network.factorised[0].constrain()
    finally:
        torch.cuda.set_sync_debug_mode("default")
