"""An embedding network: backbone, pooling and segment-level layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vouch.nn.tdnn import frame_mask


class EmbeddingNetwork(nn.Module):
    """backbone -> pooling -> affine = the embedding -> further hidden layers that only training uses.

    Source: Snyder et al. 2018 and Okabe et al. (1803.10963): the embedding is the output of the first affine layer
    after the pooling, before its ReLU and batch normalisation; each hidden layer is ReLU, batch norm, affine, and
    the classifier sees ReLU and batch norm of the last one. With hidden_dim 0 the classifier sees the batch norm of
    the embedding itself, the custom with margin losses.

    Arguments: backbone and pooling (modules of vouch.nn), embedding_dim, hidden_dim (0: no further layer), dropout
    (share of the pooled values dropped in training).
    """

    def __init__(
        self,
        backbone: nn.Module,
        pooling: nn.Module,
        embedding_dim: int = 512,
        hidden_dim: int = 512,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
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

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features (batch, frames, dims), lengths (batch,) -> (batch, embedding_dim); padding has no effect."""
        hidden, lengths = self.backbone(features, lengths)
        hidden = hidden.to(features.dtype)  # statistics are not for 16 bits
        pooled = self.pooling(hidden, frame_mask(lengths, hidden.shape[2]))
        return self.embedding(self.dropout(pooled))

    def forward(self, features: Tensor) -> Tensor:
        """features (batch, frames, dims), all frames real -> (batch, out_dim), what a classifier head takes."""
        lengths = torch.full((len(features),), features.shape[1], device=features.device)
        return self.segment(self.embed(features, lengths))
