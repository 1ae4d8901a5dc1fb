"""An embedding network: backbone, pooling and segment-level layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vouch.nn.masks import frame_mask

_ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU}


class EmbeddingNetwork(nn.Module):
    """backbone -> pooling -> trunk -> affine = the embedding -> a further hidden layer that only training uses.

    Source: Snyder et al. 2018 and Okabe et al. (1803.10963): the embedding is the output of the first affine layer
    after the pooling, before its ReLU and batch normalisation; each hidden layer is ReLU, batch norm, affine, and
    the classifier sees ReLU and batch norm of the last one. With hidden_dim 0 the classifier sees the batch norm of
    the embedding itself, the custom with margin losses. Bhattacharya et al. (1811.03063) have a trunk of two layers
    before the embedding, which is a layer of the classifier there; a layer of the trunk is affine, activation, batch
    norm (the last is not certain there).

    Arguments: backbone and pooling (modules of vouch.nn), embedding_dim, hidden_dim (0: no further layer), dropout
    (share of the pooled values dropped in training), norm_pooled (batch normalisation of the pooled values, as
    Desplanques et al. 2020 have it), trunk_layers and trunk_dim (layers between pooling and embedding), activation
    (relu or elu, of these layers).
    """

    def __init__(
        self,
        backbone: nn.Module,
        pooling: nn.Module,
        embedding_dim: int = 512,
        hidden_dim: int = 512,
        dropout: float = 0.0,
        norm_pooled: bool = False,
        trunk_layers: int = 0,
        trunk_dim: int = 512,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if embedding_dim < 1 or hidden_dim < 0:
            raise ValueError(f"embedding_dim {embedding_dim} and hidden_dim {hidden_dim}, want 1 or more and 0 or more")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout {dropout}, want 0 to below 1")
        if trunk_layers < 0 or trunk_dim < 1 or activation not in _ACTIVATIONS:
            raise ValueError(
                f"trunk_layers {trunk_layers}, trunk_dim {trunk_dim}, activation '{activation}': want 0 or more, 1 or "
                f"more, {' or '.join(_ACTIVATIONS)}"
            )
        self.backbone, self.pooling = backbone, pooling
        self.norm = nn.BatchNorm1d(pooling.out_dim) if norm_pooled else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        active = _ACTIVATIONS[activation]
        self.layers = nn.Sequential()
        self.trunk_dim = pooling.out_dim
        for _ in range(trunk_layers):
            self.layers.extend([nn.Linear(self.trunk_dim, trunk_dim), active(), nn.BatchNorm1d(trunk_dim)])
            self.trunk_dim = trunk_dim
        self.embedding = nn.Linear(self.trunk_dim, embedding_dim)
        self.embedding_dim = embedding_dim
        self.out_dim = hidden_dim or embedding_dim
        if hidden_dim:
            self.segment = nn.Sequential(
                active(),
                nn.BatchNorm1d(embedding_dim),
                nn.Linear(embedding_dim, hidden_dim),
                active(),
                nn.BatchNorm1d(hidden_dim),
            )
        else:
            self.segment = nn.BatchNorm1d(embedding_dim)

    def trunk(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """features (batch, frames, dims), lengths (batch,) -> what the embedding is made of (batch, trunk_dim);
        padding has no effect. lengths None: every frame is real, which saves the masks."""
        hidden, lengths = self.backbone(features, lengths)
        hidden = hidden.to(features.dtype)  # statistics are not for 16 bits
        frames = hidden.shape[2]
        if lengths is None:
            mask = torch.ones(hidden.shape[0], 1, frames, dtype=torch.bool, device=hidden.device)
        else:
            mask = frame_mask(lengths, frames)
        return self.layers(self.dropout(self.norm(self.pooling(hidden, mask))))

    def embed(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """features (batch, frames, dims), lengths (batch,) -> (batch, embedding_dim), as `trunk` takes them."""
        return self.embedding(self.trunk(features, lengths))

    def forward(self, features: Tensor) -> Tensor:
        """features (batch, frames, dims), all frames real -> (batch, out_dim), what a classifier head takes."""
        return self.segment(self.embed(features, None))


class UnitEmbeddingNetwork(EmbeddingNetwork):
    """An embedding network whose embeddings are standardised by the batch (in evaluation by running statistics), dim by
    dim, and then all have the length sqrt(embedding_dim): directions about their mean, never one for all chunks. Ours.
    """

    def __init__(self, *parts: nn.Module, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.standardise = nn.BatchNorm1d(self.embedding_dim, affine=False)

    def embed(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        embedding = self.standardise(super().embed(features, lengths).float())
        return functional.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5
