"""An embedding network: backbone, pooling and segment-level layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vouch.nn.masks import frame_mask


class EmbeddingNetwork(nn.Module):
    """backbone -> pooling -> affine = the embedding -> further hidden layers that only training uses.

    Source: Snyder et al. 2018 and Okabe et al. (1803.10963): the embedding is the output of the first affine layer
    after the pooling, before its ReLU and batch normalisation; each hidden layer is ReLU, batch norm, affine, and
    the classifier sees ReLU and batch norm of the last one. With hidden_dim 0 the classifier sees the batch norm of
    the embedding itself, the custom with margin losses.

    Arguments: backbone and pooling (modules of vouch.nn), embedding_dim, hidden_dim (0: no further layer), dropout
    (share of the pooled values dropped in training), norm_pooled (batch normalisation of the pooled values, as
    Desplanques et al. 2020 have it).
    """

    def __init__(
        self,
        backbone: nn.Module,
        pooling: nn.Module,
        embedding_dim: int = 512,
        hidden_dim: int = 512,
        dropout: float = 0.0,
        norm_pooled: bool = False,
    ) -> None:
        super().__init__()
        if embedding_dim < 1 or hidden_dim < 0:
            raise ValueError(f"embedding_dim {embedding_dim} and hidden_dim {hidden_dim}, want 1 or more and 0 or more")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout {dropout}, want 0 to below 1")
        self.backbone, self.pooling = backbone, pooling
        self.norm = nn.BatchNorm1d(pooling.out_dim) if norm_pooled else nn.Identity()
        self.embedding = nn.Linear(pooling.out_dim, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.embedding_dim = embedding_dim
        self.out_dim = hidden_dim or embedding_dim
        if hidden_dim:
            self.segment = nn.Sequential(
                nn.ReLU(),
                nn.BatchNorm1d(embedding_dim),
                nn.Linear(embedding_dim, hidden_dim),
                nn.ReLU(),
                nn.BatchNorm1d(hidden_dim),
            )
        else:
            self.segment = nn.BatchNorm1d(embedding_dim)

    def embed(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """features (batch, frames, dims), lengths (batch,) -> (batch, embedding_dim); padding has no effect.

        lengths None: every frame is real, which saves the masks.
        """
        hidden, lengths = self.backbone(features, lengths)
        hidden = hidden.to(features.dtype)  # statistics are not for 16 bits
        frames = hidden.shape[2]
        if lengths is None:
            mask = torch.ones(len(hidden), 1, frames, dtype=torch.bool, device=hidden.device)
        else:
            mask = frame_mask(lengths, frames)
        return self.embedding(self.dropout(self.norm(self.pooling(hidden, mask))))

    def forward(self, features: Tensor) -> Tensor:
        """features (batch, frames, dims), all frames real -> (batch, out_dim), what a classifier head takes."""
        return self.segment(self.embed(features, None))
