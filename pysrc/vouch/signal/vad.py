"""Energy voice activity detection and the selection of voiced frames (Kaldi, compute-vad, select-voiced-frames)."""

from __future__ import annotations

import numpy as np

from vouch.errors import VouchError


def compute_vad(
    log_energy: np.ndarray,
    energy_threshold: float = 5.0,
    energy_mean_scale: float = 0.5,
    frames_context: int = 0,
    proportion_threshold: float = 0.6,
) -> np.ndarray:
    """1.0 for each voiced frame of log_energy (frames,), else 0.0; float32 (frames,).

    A frame is loud above energy_threshold + energy_mean_scale · mean(log_energy), and voiced when at least
    proportion_threshold of the frames at most frames_context away (fewer at the ends) are loud. Arithmetic is
    float32, as Kaldi's. Raises VouchError on options out of range.
    """
    if energy_mean_scale < 0 or frames_context < 0 or not 0 < proportion_threshold < 1:
        raise VouchError(
            "want --vad-energy-mean-scale >= 0, --vad-frames-context >= 0 and --vad-proportion-threshold "
            f"between 0 and 1, not {energy_mean_scale:g}, {frames_context}, {proportion_threshold:g}"
        )
    frames = len(log_energy)
    if frames == 0:
        return np.zeros(0, dtype=np.float32)
    mean = np.float32(np.sum(log_energy, dtype=np.float64)) / np.float32(frames)
    threshold = np.float32(energy_threshold) + np.float32(energy_mean_scale) * mean
    loud_so_far = np.concatenate([[0], np.cumsum(log_energy > threshold)])
    first = np.maximum(np.arange(frames) - frames_context, 0)
    last = np.minimum(np.arange(frames) + frames_context + 1, frames)
    loud = (loud_so_far[last] - loud_so_far[first]).astype(np.float32)
    wanted = (last - first).astype(np.float32) * np.float32(proportion_threshold)
    return (loud >= wanted).astype(np.float32)


def select_voiced(features: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Rows of features (frames, dim) where voiced (frames,) is 1.

    Raises VouchError when the lengths differ or voiced has values other than 0 and 1.
    """
    if len(features) != len(voiced):
        raise VouchError(f"{len(features)} frames of features but {len(voiced)} VAD decisions")
    keep = voiced != 0
    if np.any(voiced[keep] != 1):
        raise VouchError("VAD decisions must be 0 or 1")
    return features[keep]
