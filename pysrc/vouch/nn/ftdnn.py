"""Factorised time-delay neural network: every affine map through a narrow, nearly semi-orthogonal one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vouch.nn.constraints import semi_orthogonal_step


class _FactorisedLayer(nn.Module):
    """Linear map to the bottleneck over frames {-dilation, 0}, affine map over {0, dilation}, ReLU, batch norm.

    dilation 0: both see one frame.
    """

    def __init__(self, channels_in: int, channels_out: int, bottleneck: int, dilation: int) -> None:
        super().__init__()
        kernel, step = (2, dilation) if dilation else (1, 1)
        self.factor = nn.Conv1d(channels_in, bottleneck, kernel, dilation=step, bias=False)
        nn.init.normal_(self.factor.weight, std=(channels_in * kernel) ** -0.5)
        self.affine = nn.Conv1d(bottleneck, channels_out, kernel, dilation=step)
        self.norm = nn.BatchNorm1d(channels_out)

    def constrain(self) -> None:
        semi_orthogonal_step(self.factor.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(torch.relu_(self.affine(self.factor(hidden))))


class FTDNN(nn.Module):
    """Ten layers, eight of them factorised, with skip connections: a receptive field of 33 frames.

    Source: Povey et al. 2018, "Semi-orthogonal low-rank matrix factorization for deep neural networks"; the sizes of
    Villalba et al. 2020, "State-of-the-art speaker recognition with neural network embeddings", table of the F-TDNN
    (17 M parameters with the segment-level layers and about 7,000 speakers): a TDNN layer [-2..2]; factorised layers
    with dilations 2, 0, 3, 0, 3, 3, 3, 0; a frame-wise layer. Layer 5 sees layers 4 and 3, layer 7 sees 6, 4 and 2,
    layer 9 sees 8, 6 and 4, appended to each other; all others see the one before. Convolutions see only real frames,
    and a skip is cut to the frames that are left.

    The first map of each factorised layer is kept nearly semi-orthogonal by one correction after every optimizer step
    (vouch.nn.constraints; Kaldi corrects after one step in four, drawn by chance, to save time).

    Arguments: feature_dim, channels (of the factorised layers; half as many in the first layer), bottleneck,
    pooled_channels (of the last layer).
    """

    context = 32
    _DILATIONS = (2, 0, 3, 0, 3, 3, 3, 0)  # of layers 2 to 9
    _INPUTS = {5: (4, 3), 7: (6, 4, 2), 9: (8, 6, 4)}

    def __init__(
        self, feature_dim: int, channels: int = 1024, bottleneck: int = 256, pooled_channels: int = 2048
    ) -> None:
        super().__init__()
        first = channels // 2
        self.first = nn.Sequential(nn.Conv1d(feature_dim, first, 5), nn.ReLU(inplace=True), nn.BatchNorm1d(first))
        self.factorised = nn.ModuleList(
            _FactorisedLayer(
                first if layer == 2 else channels * len(self._INPUTS.get(layer, (1,))), channels, bottleneck, dilation
            )
            for layer, dilation in enumerate(self._DILATIONS, 2)
        )
        self.last = nn.Sequential(
            nn.Conv1d(channels, pooled_channels, 1), nn.ReLU(inplace=True), nn.BatchNorm1d(pooled_channels)
        )
        self.out_channels = pooled_channels

    def forward(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features (batch, frames, dims), lengths (batch,) -> hidden (batch, channels, frames - 32), lengths - 32.

        lengths None: every frame is real. Raises ValueError for an input of 32 frames or fewer.
        """
        if features.shape[1] <= self.context:
            raise ValueError(f"{features.shape[1]} frames, want more than {self.context}")
        outputs = {1: self.first(features.transpose(1, 2))}
        for number, layer in enumerate(self.factorised, 2):
            inputs = [outputs[i] for i in self._INPUTS.get(number, (number - 1,))]
            frames = inputs[0].shape[2]  # of the layer before, the fewest
            inputs = [x[:, :, (x.shape[2] - frames) // 2 :][:, :, :frames] for x in inputs]
            outputs[number] = layer(torch.cat(inputs, 1) if len(inputs) > 1 else inputs[0])
        return self.last(outputs[9]), None if lengths is None else lengths - self.context
