"""The supervised objective."""

import torch

from vouch.nn.heads import Softmax
from vouch.objectives.base import Optimizer
from vouch.objectives.supervised import Supervised


class _Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.segment = torch.nn.Linear(5, 16), torch.nn.Identity()

    def embed(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.first(features.mean(1))


def test_held_out_figures_are_computed_in_32_bits_behind_the_network():
    torch.manual_seed(0)
    model = Supervised(_Network(), Softmax(16, 3000), Optimizer())
    features, lengths, labels = torch.randn(40, 9, 5), torch.full((40,), 9), torch.arange(40)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        embeddings, figures = model.evaluate(features, lengths, labels)
    with torch.inference_mode():
        logits = model.head.output(embeddings.float()).double()
    assert embeddings.dtype == torch.bfloat16 and figures["loss"].dtype == torch.float32
    expected = logits.logsumexp(1) - logits[torch.arange(40), labels]
    torch.testing.assert_close(figures["loss"].double(), expected, rtol=1e-6, atol=1e-6)
    assert figures["accuracy"].equal((logits.argmax(1) == labels).float())
