"""A training data directory of recordings: their chunks become features while the training runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vouch.cli.front_end import cmn_options, feature_extractor, vad_options
from vouch.cli.log import warn
from vouch.cli.training_data import TrainingData
from vouch.cli.wave_commands import in_process_commands
from vouch.errors import VouchError
from vouch.io.datadir import read_pairs, read_utt2spk, show
from vouch.io.durations import has_utt2dur, write_utt2dur
from vouch.io.tables import read_script
from vouch.io.vector_archive import VectorArchive
from vouch.io.wave_stretch import read_stretch
from vouch.io.wave_tables import list_recordings, wave_length
from vouch.signal.features import FeatureExtractor
from vouch.signal.resample import resample_rational
from vouch.training.augmentation import Augmenter
from vouch.training.waveforms import Cmn, WaveformSource

if TYPE_CHECKING:
    from vouch.training.source_options import WaveformOptions

_ROOMS_KEPT = 256  # impulse responses that a process keeps


def open_waveforms(
    data: str | Path, features: str, options: WaveformOptions, seed: int, fewest_speakers: int = 2
) -> TrainingData:
    """The recordings of wav.scp, their speakers of utt2spk and lengths of utt2dur (made where it is missing), VAD
    decisions of vad.scp where it is there; `features` is mfcc or fbank. The recordings at another speed are more
    utterances of more speakers.

    Raises VouchError for a broken file, a directory with segments, other utterances in vad.scp, and fewer
    speakers.
    """
    folder = Path(data)
    if (folder / "segments").exists():
        raise VouchError(
            f"{folder}/segments: source type waveforms takes no segments; cut the recordings with vouch "
            f"extract-segments, or train on features"
        )
    names = dict(read_script(str(folder / "wav.scp")))
    keys = list(names)
    utterances, of_utterance = read_utt2spk(folder)
    if [key.encode() for key in keys] != utterances:
        raise VouchError(f"{folder}: wav.scp and utt2spk list other utterances; run utils/fix_data_dir.sh {folder}")
    speakers = sorted({speaker.decode() for speaker in of_utterance})
    if len(speakers) < fewest_speakers:
        raise VouchError(f"{folder}/utt2spk has {len(speakers)} speaker, training wants two or more")
    number = {speaker.encode(): i for i, speaker in enumerate(speakers)}
    labels = np.array([number[speaker] for speaker in of_utterance])
    extractor, _ = feature_extractor(features, options.feature_config)
    source = WaveformSource(
        keys,
        _frames(folder, extractor),
        _reader(list(names.values()), extractor),
        extractor,
        _cmn(options.cmn_config),
        None,
        options.speeds,
        _vad(folder, keys),
        vad_options(options.vad_config) if not (folder / "vad.scp").exists() else None,
        seed,
    )
    source.augmenter = _augmenter(options, source, labels, extractor)
    copies = 1 + len(options.speeds)
    shifted = [labels + copy * len(speakers) for copy in range(copies)]
    all_speakers = speakers + [f"sp{speed:g}-{speaker}" for speed in options.speeds for speaker in speakers]
    groups = np.tile(np.arange(len(keys)), copies)
    return TrainingData(source, np.concatenate(shifted), source.num_frames, all_speakers, groups)


def _cmn(config: str) -> Cmn:
    given = cmn_options(config)
    if given["normalize_variance"]:
        raise VouchError(f"{config}: source type waveforms normalises means only; set --norm-vars=false")
    return Cmn(given["window"], given["min_window"], given["center"])


def _vad(folder: Path, keys: list[str]) -> Callable[[int], np.ndarray] | None:
    if not (folder / "vad.scp").exists():
        return None
    decisions = VectorArchive(folder / "vad.scp")
    if decisions.keys.blob != "\n".join(keys).encode():
        raise VouchError(f"{folder}: wav.scp and vad.scp list other utterances; run utils/fix_data_dir.sh {folder}")
    return decisions.read


def _frames(folder: Path, extractor: FeatureExtractor) -> np.ndarray:
    """Frames of every recording (recordings,)."""
    if not has_utt2dur(folder):
        write_utt2dur(folder)
    frame = extractor.options.frame
    counts = []
    for utterance, duration in zip(*read_pairs(folder / "utt2dur"), strict=True):
        counts.append(frame.num_frames(round(float(duration) * frame.sample_frequency)))
        if counts[-1] < 1:
            raise VouchError(f"{folder}/utt2dur: '{show(utterance)}' is shorter than a frame; leave it out")
    return np.array(counts, np.int64)


def _reader(names: list[str], extractor: FeatureExtractor) -> Callable[[int, int, int], np.ndarray]:
    commands, wanted = in_process_commands(), extractor.options.frame.sample_frequency

    def read(recording: int, first: int, count: int) -> np.ndarray:
        samples, rate = read_stretch(names[recording], first, count, commands)
        if rate != wanted:
            raise VouchError(f"{names[recording]} has {rate} Hz, the configuration of the features {wanted:g}")
        return samples

    return read


def _augmenter(
    options: WaveformOptions, source: WaveformSource, labels: np.ndarray, extractor: FeatureExtractor
) -> Augmenter:
    rate = int(extractor.options.frame.sample_frequency)
    places = {"noise": options.noise, "music": options.music, "rirs": options.rirs}
    recordings = {
        kind: list(list_recordings(place, f"training.source.{kind}").values())
        for kind, place in places.items()
        if place
    }

    @lru_cache(_ROOMS_KEPT)
    def room(name: str) -> np.ndarray:
        samples, own_rate = read_stretch(name, 0, 1 << 40)
        return resample_rational(samples, rate, own_rate)

    @lru_cache(None)
    def length(name: str) -> tuple[int, int]:
        return wave_length(name, warn)

    def noise(name: str, rng: np.random.Generator, count: int) -> np.ndarray:
        total, own_rate = length(name)
        wanted = -(-count * own_rate // rate)
        samples, _ = read_stretch(name, int(rng.integers(0, max(total - wanted, 0) + 1)), wanted)
        if len(samples) < wanted:  # it will be repeated
            samples = np.roll(samples, -int(rng.integers(len(samples))))
        return resample_rational(samples, rate, own_rate)[:count]

    def talker(rng: np.random.Generator, recording: int, count: int) -> np.ndarray:
        other = recording
        while labels[other] == labels[recording]:
            other = int(rng.integers(len(labels)))
        return source.stretch_of(other, rng, count)

    return Augmenter(rate, options.share, recordings, noise, room, talker if options.babble else None)
