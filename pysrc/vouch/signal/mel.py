"""Mel filter banks, the cosine transform and liftering: the constant matrices of MFCC and fbank features."""

from __future__ import annotations

import numpy as np

from vouch.errors import VouchError
from vouch.signal.frames import FrameOptions


def mel_scale(frequency: np.ndarray | float) -> np.ndarray:
    """Mel value of a frequency in Hz: 1127 ln(1 + f/700)."""
    return 1127.0 * np.log1p(np.asarray(frequency, dtype=np.float64) / 700.0)


def inverse_mel_scale(mel: np.ndarray | float) -> np.ndarray:
    """Frequency in Hz of a mel value."""
    return 700.0 * np.expm1(np.asarray(mel, dtype=np.float64) / 1127.0)


def warp_frequencies(
    frequency: np.ndarray, warp: float, low_freq: float, high_freq: float, vtln_low: float, vtln_high: float
) -> np.ndarray:
    """Frequencies in Hz after vocal tract length normalisation (Kaldi, MelBanks::VtlnWarpFreq).

    Piecewise linear and continuous: f / warp between the two knots l = vtln_low · max(1, warp) and
    h = vtln_high · min(1, warp), straight lines from there to low_freq and high_freq, which stay where they are.
    """
    left, right = vtln_low * max(1.0, warp), vtln_high * min(1.0, warp)
    return np.interp(frequency, [low_freq, left, right, high_freq], [low_freq, left / warp, right / warp, high_freq])


def mel_banks(
    options: FrameOptions,
    num_bins: int,
    low_freq: float,
    high_freq: float,
    vtln_low: float = 100.0,
    vtln_high: float = -500.0,
    vtln_warp: float = 1.0,
) -> np.ndarray:
    """Weights (padded_size/2 + 1, num_bins) from a power spectrum to mel energies (Kaldi, MelBanks).

    Triangles linear in mel; a high_freq of at most 0 and a negative vtln_high count from the Nyquist frequency; the
    Nyquist bin itself has no weight. With a vtln_warp other than 1 the corners of the triangles are moved by
    `warp_frequencies`. Raises VouchError on an impossible frequency range or a triangle without any FFT bin.
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
    if vtln_warp != 1:
        knots = vtln_low, vtln_high + nyquist if vtln_high < 0 else vtln_high
        _check_warp(vtln_warp, low_freq, high, *knots)
        edges = mel_scale(warp_frequencies(inverse_mel_scale(edges), vtln_warp, low_freq, high, *knots))
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    weights = np.minimum((mel - left) / (center - left), (right - mel) / (right - center))
    weights = np.concatenate([np.maximum(weights, 0.0), np.zeros((1, num_bins))])
    if not weights.any(axis=0).all():
        raise VouchError(
            f"mel filter {int(np.flatnonzero(~weights.any(axis=0))[0])} of {num_bins} has no FFT bin under it; "
            "use fewer --num-mel-bins or a longer --frame-length"
        )
    return weights


def _check_warp(warp: float, low_freq: float, high_freq: float, vtln_low: float, vtln_high: float) -> None:
    """Both knots must lie between the ends of the filters, in order, warped or not."""
    if not (warp > 0 and low_freq < vtln_low * max(1.0, warp) < vtln_high * min(1.0, warp) < high_freq) or not (
        low_freq < vtln_low < vtln_high < high_freq
    ):
        raise VouchError(
            f"a warp of {warp:g} from {vtln_low:g} to {vtln_high:g} Hz does not fit mel filters from {low_freq:g} to "
            f"{high_freq:g} Hz; check --vtln-warp, --vtln-low, --vtln-high, --low-freq and --high-freq"
        )


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
