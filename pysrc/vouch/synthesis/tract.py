"""The vocal tract: transfer functions of formants, applied frame by frame with overlap-add.

Sources: Fant, "Acoustic Theory of Speech Production" (1960), the transfer function as a product of conjugate pole
pairs with unit gain at 0 Hz; Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980), cascade
for the voice, a separate branch for frication, a nasal pole and zero that cancel in oral sounds.

A frame is a Hann window of two hops; the windows sum to one, so a transfer function that does not change filters
exactly, and one that changes is interpolated. The excitation is made at twice the output rate, so that its pulses
do not alias, and the upper half of each spectrum is dropped.
"""

from __future__ import annotations

import numpy as np

RATE = 8000  # Hz, of what is synthesised
SOURCE_RATE = 2 * RATE  # Hz, of the excitation
HOP = 64  # excitation samples a frame: 4 ms
FRAME_SECONDS = HOP / SOURCE_RATE
_NFFT = 1024  # 64 ms: a formant 50 Hz wide has decayed by more than 80 dB
_HOP_OUT = HOP * RATE // SOURCE_RATE
FREQUENCIES = np.arange(_NFFT // 4 + 1) * (SOURCE_RATE / _NFFT)  # (bins,) Hz, 0 to RATE / 2
_TAPER = np.clip((RATE / 2 - FREQUENCIES) / 200.0, 0.0, 1.0) ** 2  # lets no ringing arise at RATE / 2


def pole_pair(frequency: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """1 / H of one formant with H(0) = 1: complex (frames, bins) for frequency and bandwidth (frames,) in Hz."""
    squared = (frequency**2 + bandwidth**2 / 4)[:, None]
    return (squared - FREQUENCIES**2 + 1j * FREQUENCIES * bandwidth[:, None]) / squared


def voice_transfer(
    formants: np.ndarray, bandwidths: np.ndarray, nasal_zero: np.ndarray, nasal_pole: float, tilt: float
) -> np.ndarray:
    """Transfer function of the voiced branch, complex (frames, bins).

    formants, bandwidths: (frames, count) Hz; nasal_zero: (frames,) Hz, equal to nasal_pole (Hz) in oral sounds;
    tilt: corner of the source's low-pass in Hz (the lower, the softer the voice).
    """
    inverse = np.broadcast_to(1 + 1j * FREQUENCIES / tilt, (len(formants), len(FREQUENCIES))).copy()
    for frequency, bandwidth in zip(formants.T, bandwidths.T, strict=True):
        inverse *= pole_pair(frequency, bandwidth)
    width = np.full(len(formants), 100.0)
    inverse *= pole_pair(np.full(len(formants), nasal_pole), width)
    return pole_pair(nasal_zero, width) / inverse


def noise_transfer(centre: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Magnitude of the frication branch, (frames, bins): a resonance of gain 1 at its peak, perhaps above RATE / 2."""
    below = np.maximum(FREQUENCIES, 1.0) / centre[:, None]
    detuning = (below - 1 / below) * (centre / bandwidth)[:, None]
    return 1 / np.sqrt(1 + detuning**2)


def frame_count(samples: int) -> int:
    """Number of frames that cover `samples` excitation samples."""
    return samples // HOP + 1


def apply_transfers(branches: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Filter excitations by their transfer functions and add the branches.

    branches: pairs of an excitation (samples,) at SOURCE_RATE, all of one length that HOP divides, and a transfer
    function (frame_count(samples), bins). Returns (samples / 2,) at RATE; frame i is centred on sample i * HOP.
    """
    samples = len(branches[0][0])
    frames = frame_count(samples)
    window = np.hanning(2 * HOP + 1)[:-1]
    spectrum = np.zeros((frames, len(FREQUENCIES)), dtype=np.complex128)
    for excitation, transfer in branches:
        padded = np.pad(excitation, HOP)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)[::HOP]
        spectrum += np.fft.rfft(pieces * window, _NFFT)[:, : len(FREQUENCIES)] * transfer
    pieces = np.fft.irfft(spectrum * _TAPER, _NFFT // 2) * (RATE / SOURCE_RATE)
    blocks = pieces.reshape(frames, -1, _HOP_OUT)
    total = np.zeros((frames + blocks.shape[1], _HOP_OUT))
    for k in range(blocks.shape[1]):
        total[k : k + frames] += blocks[:, k]
    return total.reshape(-1)[_HOP_OUT : _HOP_OUT + samples * RATE // SOURCE_RATE]
