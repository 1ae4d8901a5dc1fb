"""Networks in NumPy, float64: plain formulas on the parameters of a module, by their names."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray as Array
from torch import nn


def trained(module: nn.Module, seed: int = 2) -> nn.Module:
    """The module in eval mode, with batch norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            size = part.num_features
            part.running_mean.copy_(0.5 * torch.randn(size, generator=generator))
            part.running_var.copy_(torch.rand(size, generator=generator) + 0.5)
            part.weight.data.copy_(1 + 0.3 * torch.randn(size, generator=generator))
            part.bias.data.copy_(0.3 * torch.randn(size, generator=generator))
    return module.eval()


class Parameters:
    """The parameters and buffers of a module under a prefix, and the layers that they make."""

    def __init__(self, module: nn.Module | dict[str, Array], prefix: str = "") -> None:
        if isinstance(module, nn.Module):
            module = {name: value.detach().double().numpy() for name, value in module.state_dict().items()}
        self.values, self.prefix = module, prefix

    def at(self, name: str | int) -> Parameters:
        return Parameters(self.values, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Array:
        return self.values[self.prefix + name]

    def get(self, name: str) -> Array | float:
        return self.values.get(self.prefix + name, 0.0)

    def linear(self, x: Array) -> Array:
        """x (dims,)"""
        return self["weight"] @ x + self.get("bias")

    def convolution(self, x: Array, dilation: int = 1, padding: int = 0) -> Array:
        """x (channels, frames)"""
        w = self["weight"]
        x = np.pad(x, ((0, 0), (padding, padding)))
        frames = x.shape[1] - (w.shape[2] - 1) * dilation
        y = sum(w[:, :, k] @ x[:, k * dilation : k * dilation + frames] for k in range(w.shape[2]))
        return y + np.reshape(self.get("bias"), (-1, 1))

    def convolution2d(self, x: Array, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Array:
        """x (channels, rows, columns)"""
        w = self["weight"]
        x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2))
        rows, columns = ((x.shape[1 + i] - w.shape[2 + i]) // stride + 1 for i in range(2))
        y = np.zeros((len(w), rows, columns))
        for r in range(rows):
            for c in range(columns):
                patch = x[:, r * stride : r * stride + w.shape[2], c * stride : c * stride + w.shape[3]]
                y[:, r, c] = np.tensordot(w, patch, 3)
        return y + np.reshape(self.get("bias"), (-1, 1, 1))

    def norm(self, x: Array) -> Array:
        """Batch normalisation in eval mode; the channels of x come first."""
        shape = (-1, *[1] * (x.ndim - 1))
        scale = self["weight"] / np.sqrt(self["running_var"] + 1e-5)
        return (x - self["running_mean"].reshape(shape)) * scale.reshape(shape) + self["bias"].reshape(shape)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)
