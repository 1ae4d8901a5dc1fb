"""Mel filter banks, the cosine transform and liftering: the constant matrices of MFCC and fbank features."""

from __future__ import annotations

import numpy as np

from vouch.errors import VouchError
from vouch.signal.frames import FrameOptions


def mel_scale(frequency: np.ndarray | float) -> np.ndarray:
    """Mel value of a frequency in Hz: 1127 ln(1 + f/700)."""
    return 1127.0 * np.log1p(np.asarray(frequency, dtype=np.float64) / 700.0)


def mel_banks(options: FrameOptions, num_bins: int, low_freq: float, high_freq: float) -> np.ndarray:
    """Weights (padded_size/2 + 1, num_bins) from a power spectrum to mel energies (Kaldi, MelBanks).

    Triangles linear in mel; a high_freq of at most 0 counts from the Nyquist frequency; the Nyquist bin itself
    has no weight. Raises VouchError on an impossible frequency range or a triangle without any FFT bin.
    """
    if num_bins < 3:
        raise VouchError(f"--num-mel-bins must be at least 3, not {num_bins}")
    nyquist = 0.5 * options.sample_frequency
    high = high_freq if high_freq > 0 else nyquist + high_freq
    if not 0 <= low_freq < high <= nyquist:
        raise VouchError(
            f"mel filters from {low_freq:g} to {high:g} Hz do not fit 0 to {nyquist:g} Hz; "
            "check --low-freq, --high-freq and --sample-frequency"
        )
    half = options.padded_size // 2
    mel = mel_scale(np.arange(half) * options.sample_frequency / options.padded_size)[:, None]
    edges = np.linspace(mel_scale(low_freq), mel_scale(high), num_bins + 2)
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    weights = np.minimum((mel - left) / (center - left), (right - mel) / (right - center))
    weights = np.concatenate([np.maximum(weights, 0.0), np.zeros((1, num_bins))])
    if not weights.any(axis=0).all():
        raise VouchError(
            f"mel filter {int(np.flatnonzero(~weights.any(axis=0))[0])} of {num_bins} has no FFT bin under it; "
            "use fewer --num-mel-bins or a longer --frame-length"
        )
    return weights


def dct_matrix(num_ceps: int, num_bins: int) -> np.ndarray:
    """First rows (num_ceps, num_bins) of the orthonormal DCT-II."""
    rows, columns = np.arange(num_ceps)[:, None], np.arange(num_bins)[None, :]
    matrix = np.sqrt(2.0 / num_bins) * np.cos(np.pi / num_bins * (columns + 0.5) * rows)
    matrix[0] = np.sqrt(1.0 / num_bins)
    return matrix


def lifter(num_ceps: int, q: float) -> np.ndarray:
    """Cepstral liftering factors (num_ceps,): 1 + Q/2 · sin(π i / Q); ones for Q = 0."""
    if q == 0:
        return np.ones(num_ceps)
    return 1.0 + 0.5 * q * np.sin(np.pi * np.arange(num_ceps) / q)
