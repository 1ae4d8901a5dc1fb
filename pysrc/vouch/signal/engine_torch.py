"""Frames to features with torch, for a GPU; the same steps as vouch.signal.engine_numpy."""

from __future__ import annotations

import numpy as np
import torch

from vouch.signal.features import EPSILON, Recipe
from vouch.signal.frames import window_function

_BLOCK = 50_000  # frames worked on together: 0.3 GB of the device


class TorchEngine:
    """Computes the features of a Recipe on a torch device; an Engine (vouch.signal.features)."""

    block = _BLOCK

    def __init__(self, recipe: Recipe, device: str) -> None:
        self._recipe, self._device = recipe, torch.device(device)
        self._window = self._constant(window_function(recipe.frame))
        self._transform = None if recipe.transform is None else self._constant(recipe.transform)

    def filters(self, mel: np.ndarray) -> torch.Tensor:
        return self._constant(mel)

    def generator(self, key: int) -> torch.Generator:
        return torch.Generator(device=self._device).manual_seed(key)

    @torch.inference_mode()
    def features(
        self, samples: np.ndarray, count: int, filters: torch.Tensor, generator: torch.Generator | None
    ) -> np.ndarray:
        frame = self._recipe.frame
        signal = self._constant(samples)
        frames = signal.unfold(0, frame.window_size, frame.window_shift)[:count]
        if generator is not None:
            noise = torch.empty(frames.shape, device=self._device).normal_(generator=generator)
            frames = frames + frame.dither * noise
        return self._of_frames(frames, filters).cpu().numpy()

    @torch.no_grad()
    def batch(self, signals: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
        """Features (batch, frames, dim) of signals (batch, samples) on the device, all that fit in; no dither."""
        frame = self._recipe.frame
        frames = signals.unfold(1, frame.window_size, frame.window_shift)
        return self._of_frames(frames.flatten(0, 1), filters).unflatten(0, frames.shape[:2])

    def _of_frames(self, frames: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
        recipe, frame = self._recipe, self._recipe.frame
        if frame.remove_dc_offset:
            frames = frames - frames.mean(dim=1, keepdim=True)
        raw = frames
        previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        frames = (frames - frame.preemphasis_coefficient * previous) * self._window
        spectra = torch.fft.rfft(frames, n=frame.padded_size).abs()
        mel = (spectra.square_() if recipe.use_power else spectra) @ filters
        if recipe.use_log:
            mel = mel.clamp_(min=EPSILON).log_()
        features = mel if self._transform is None else mel @ self._transform
        if recipe.energy:
            energy = self._log_energy(raw if recipe.energy == "raw" else frames)
            features = self._with_energy(features, energy)
        return features

    def _with_energy(self, features: torch.Tensor, energy: torch.Tensor) -> torch.Tensor:
        if self._recipe.extra_column:
            columns = [energy[:, None], features]
            return torch.cat(columns if self._recipe.energy_column == 0 else columns[::-1], dim=1)
        features[:, self._recipe.energy_column] = energy
        return features

    def _log_energy(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.square().sum(dim=1).clamp_(min=max(EPSILON, self._recipe.energy_floor)).log_()

    def _constant(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32, device=self._device)
