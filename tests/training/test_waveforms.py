"""Chunks made from recordings: the features of the archive path where nothing is added, and what is added is right."""

import numpy as np
import pytest
import torch

from vouch.errors import VouchError
from vouch.io.audio import Wave, write_wave
from vouch.io.wave_stretch import read_stretch
from vouch.signal.cmvn import sliding_cmvn
from vouch.signal.features import Fbank, FbankOptions, Mfcc, MfccOptions
from vouch.signal.frames import FrameOptions
from vouch.signal.resample import change_speed
from vouch.signal.vad import compute_vad
from vouch.training.augmentation import SNRS, Augmenter
from vouch.training.waveforms import WaveformSource

RATE, CMN = 8000, {"window": 300, "min_window": 100, "center": True}
VAD = {"energy_threshold": 5.5, "frames_context": 2, "proportion_threshold": 0.12}
FRAME = FrameOptions(sample_frequency=RATE, dither=0.0, snip_edges=False)
MFCC = Mfcc(MfccOptions(frame=FRAME, num_ceps=23, high_freq=3700.0))


def _recording(seed: int, seconds: float) -> np.ndarray:
    """Noise that is loud and low by turns, so that the VAD has something to drop; 16-bit values."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(RATE * seconds)) / RATE
    loudness = np.where(np.sin(2 * np.pi * times / 1.3 + seed) > -0.5, 2000.0, 3.0)
    smooth = np.convolve(rng.standard_normal(len(times)), [0.5, 0.8, 0.5], "same")
    return np.round(loudness * smooth).astype(np.float32)


RECORDINGS = [_recording(0, 12.0), _recording(1, 7.013), _recording(2, 1.5)]


def _read(recording: int, first: int, count: int) -> np.ndarray:
    return RECORDINGS[recording][first : first + count]


def _decisions(recording: int) -> np.ndarray:
    return compute_vad(MFCC(RECORDINGS[recording])[:, 0], **VAD)


def _source(extractor=MFCC, **changes) -> WaveformSource:
    frames = np.array([FRAME.num_frames(len(samples)) for samples in RECORDINGS])
    options = {"vad": _decisions, "vad_options": VAD, "seed": 3}
    return WaveformSource(["a", "b", "c"], frames, _read, extractor, **{**options, **changes})


def _features(source: WaveformSource, indices, starts, length) -> np.ndarray:
    made = source.read_chunks(np.array(indices), np.array(starts), length)
    return source.to_features(*map(torch.from_numpy, made)).numpy()


def _archive_path(samples: np.ndarray, extractor=MFCC, vad=True) -> tuple[np.ndarray, np.ndarray]:
    """Features as the steps make them, of the voiced frames, and the numbers of these frames."""
    features = extractor(samples)
    voiced = np.flatnonzero(compute_vad(MFCC(samples)[:, 0], **VAD)) if vad else np.arange(len(features))
    return sliding_cmvn(features, **CMN).features[voiced], voiced


FBANK = Fbank(FbankOptions(frame=FRAME, num_mel_bins=40))


@pytest.mark.parametrize("extractor", [MFCC, FBANK])
def test_an_unaugmented_chunk_has_the_features_of_the_archive_path(extractor):
    """Voiced frames, their order, the reflected ends of the recording and the windows of the normalisation."""
    indices, starts, length = [0, 0, 0, 1, 1], [0, 431, 1190, 5, 300], 250
    found = _features(_source(extractor), indices, starts, length)
    assert found.shape == (5, 250, extractor.dim) and found.dtype == np.float32
    for chunk, index, start in zip(found, indices, starts, strict=True):
        features, voiced = _archive_path(RECORDINGS[index], extractor)
        place = min(np.searchsorted(voiced, start), len(voiced) - length)
        quantum = (features.max() - features.min()) / 65535  # of the two-byte archives
        np.testing.assert_allclose(chunk, features[place : place + length], atol=quantum)


def test_short_recordings_are_repeated():
    features, voiced = _archive_path(RECORDINGS[2])
    assert len(voiced) < 150
    found = _features(_source(), [2], [0], 200)[0]
    np.testing.assert_allclose(found, features[np.arange(200) % len(voiced)], atol=1e-3)


def test_a_long_silence_does_not_make_the_stretch_long():
    speech, decisions = _recording(4, 60.0), np.zeros(6000)
    decisions[:100], decisions[-900:] = 1, 1
    source = WaveformSource(
        ["a"], np.array([6000]), lambda _, first, n: speech[first : first + n], MFCC, vad=lambda _: decisions
    )
    for start in (0, 70):
        samples, frames, *_ = source.read_chunks(np.array([0]), np.array([start]), 300)
        assert samples.shape[1] < 10 * RATE and np.array_equal(frames[0], np.arange(300) % 100)


def test_without_decisions_the_energy_of_the_chunk_decides():
    start, length = 100, 300
    found = _features(_source(vad=None), [0], [start], length)[0]
    features, _ = _archive_path(RECORDINGS[0], vad=False)
    energies = MFCC(RECORDINGS[0])[start : start + length, 0]
    voiced = start + np.flatnonzero(compute_vad(energies, **VAD))
    assert 100 < len(voiced) < length
    np.testing.assert_allclose(found, features[np.resize(voiced, length)], atol=1e-3)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_other_speeds_are_other_utterances(speed):
    source = _source(speeds=[speed])
    assert list(source.keys) == ["a", "b", "c", f"sp{speed}-a", f"sp{speed}-b", f"sp{speed}-c"]
    assert len(source) == 6 and source.shape(3)[0] == int(1200 / speed)
    found = _features(_source(speeds=[speed], vad=None, vad_options={"energy_threshold": -100.0}), [3], [437], 200)[0]
    features, _ = _archive_path(change_speed(RECORDINGS[0], speed), vad=False)
    np.testing.assert_allclose(found, features[437:637], atol=2e-2)
    voiced = _features(source, [3, 3], [0, 2000], 200)  # and with the decisions of the original, to the very end
    assert np.isfinite(voiced).all()


def _noise(name: str, rng: np.random.Generator, count: int) -> np.ndarray:
    return np.roll(_recording(9, 2.0), rng.integers(1000))


def _no_room(name: str) -> np.ndarray:
    raise AssertionError("no room was asked for")


def test_choices_depend_on_seed_batch_and_chunk_only():
    augmenter = Augmenter(RATE, 1.0, {"noise": ["x"]}, _noise, _no_room)
    one = _source(augmenter=augmenter)
    together = one.read_chunks(np.array([0, 1]), np.array([10, 20]), 100, (2, 7))
    again = _source(augmenter=augmenter).read_chunks(np.array([1]), np.array([20]), 100, (2, 7))
    size = again[0].shape[1]
    np.testing.assert_array_equal(together[0][1, :size], again[0][0])
    for seed, place in ((4, (2, 7)), (3, (3, 7)), (3, (2, 8))):
        other = _source(augmenter=augmenter, seed=seed).read_chunks(np.array([1]), np.array([20]), 100, place)
        assert not np.array_equal(other[0], again[0])
    held_out = one.read_chunks(np.array([1]), np.array([20]), 100)
    np.testing.assert_array_equal(held_out[0], _source().read_chunks(np.array([1]), np.array([20]), 100)[0])


@pytest.mark.parametrize("kind", ["noise", "music", "babble"])
def test_noises_have_their_ratio_to_the_speech(kind):
    rng = np.random.default_rng(0)
    speech, noise = _recording(4, 3.0), _recording(5, 1.1)
    talker = (lambda rng, utterance, count: np.resize(noise, count)) if kind == "babble" else None
    names = {} if kind == "babble" else {kind: ["x"]}
    augmenter = Augmenter(
        RATE, 1.0, names, lambda name, rng, count: np.roll(noise, rng.integers(100)), _no_room, talker
    )
    ratios = set()
    for _ in range(60):
        added = augmenter(speech, rng, 0) - speech
        ratios.add(round(10 * np.log10(np.mean(speech**2) / np.mean(added.astype(np.float64) ** 2)), 1))
    if kind == "babble":  # 3 to 7 of them, all the same here: amplitudes add up
        loudest, softest = (-20 * np.log10(n * 10 ** (-snr / 20)) for n, snr in ((7, 13), (3, 20)))
        assert len(ratios) > 20 and loudest - 0.1 <= min(ratios) < max(ratios) <= softest + 0.1
    else:
        assert ratios == {float(snr) for snr in SNRS[kind]}


def test_rooms_and_the_share():
    room = np.zeros(900, np.float32)
    room[[10, 400]] = 32768.0, 16384.0
    speech = _recording(6, 2.0)
    augmenter = Augmenter(RATE, 0.6, {"rirs": ["r"]}, _noise, lambda name: room)
    rng = np.random.default_rng(1)
    made = [augmenter(speech, rng, 0) for _ in range(300)]
    echoed = [m for m in made if m is not speech]
    assert abs(len(echoed) / 300 - 0.6) < 0.1
    expected = speech + 0.5 * np.concatenate([np.zeros(390, np.float32), speech[:-390]])
    expected *= np.sqrt(np.mean(speech**2) / np.mean(expected**2))
    assert np.corrcoef(echoed[0], expected)[0, 1] > 0.999
    assert Augmenter(RATE, 1.0, {}, _noise, _no_room)(speech, rng, 0) is speech


def test_broken_recordings_name_the_utterance():
    def shorter(recording, first, count):
        return RECORDINGS[recording][:4000][first : first + count]

    with pytest.raises(VouchError, match="utterance 'a': the recording is shorter than"):
        _features(WaveformSource(["a"], np.array([1200]), shorter, MFCC), [0], [300], 200)
    silent = _source(vad=lambda recording: np.zeros(1200))
    with pytest.raises(VouchError, match="utterance 'b': its VAD has no voiced frame"):
        _features(silent, [1], [0], 100)


@pytest.mark.parametrize("form", ["wav", "flac", "pipe", "stereo"])
def test_stretches_of_recordings(tmp_path, form):
    samples = RECORDINGS[1]
    path = tmp_path / ("x.flac" if form == "flac" else "x.wav")
    if form == "flac":
        import soundfile

        soundfile.write(path, samples.astype(np.int16), RATE, subtype="PCM_16")
    else:
        channels = [samples, -samples] if form == "stereo" else [samples]
        write_wave(str(path), Wave(np.stack(channels), RATE))
    name = f"cat {path} |" if form == "pipe" else str(path)
    for first, count in ((0, 100), (1234, 4000), (len(samples) - 50, 200), (len(samples) + 5, 10)):
        found, rate = read_stretch(name, first, count)
        assert rate == RATE and found.dtype == np.float32
        np.testing.assert_array_equal(found, samples[first : first + count])


def test_stretches_of_what_is_no_recording(tmp_path):
    write_wave(str(tmp_path / "x.wav"), Wave(RECORDINGS[2][None], RATE))
    cut = (tmp_path / "x.wav").read_bytes()[:-100]
    (tmp_path / "x.wav").write_bytes(cut)
    with pytest.raises(VouchError, match="x.wav: it was cut off"):
        read_stretch(str(tmp_path / "x.wav"), len(RECORDINGS[2]) - 60, 60)
    (tmp_path / "y.wav").write_text("hello, world")
    for name in ("y.wav", "z.wav"):
        with pytest.raises(VouchError, match=name):
            read_stretch(str(tmp_path / name), 0, 10)
