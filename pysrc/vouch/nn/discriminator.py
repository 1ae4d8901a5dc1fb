"""The network that tells the domains apart."""

from __future__ import annotations

from torch import Tensor, nn


class Discriminator(nn.Module):
    """Fully connected layers with ELU, then one logit: above 0 it says source, below target.

    Source: Bhattacharya et al. (1811.03063): two layers of 256, ELU.

    Arguments: in_dim, hidden_dim, hidden_layers, num_speakers (above 0: a second output, logits of the source's
    speakers, as an auxiliary-classifier GAN has it).
    """

    def __init__(self, in_dim: int, hidden_dim: int = 256, hidden_layers: int = 2, num_speakers: int = 0) -> None:
        super().__init__()
        if hidden_dim < 1 or hidden_layers < 0:
            raise ValueError("hidden_dim of a discriminator wants 1 or more, hidden_layers 0 or more")
        self.hidden = nn.Sequential()
        for _ in range(hidden_layers):
            self.hidden.extend([nn.Linear(in_dim, hidden_dim), nn.ELU()])
            in_dim = hidden_dim
        self.domain = nn.Linear(in_dim, 1)
        self.speaker = nn.Linear(in_dim, num_speakers) if num_speakers else None

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor | None]:
        """embeddings (batch, in_dim) -> domain logits (batch,), speaker logits (batch, num_speakers) or None."""
        hidden = self.hidden(embeddings)
        return self.domain(hidden)[:, 0], None if self.speaker is None else self.speaker(hidden)
