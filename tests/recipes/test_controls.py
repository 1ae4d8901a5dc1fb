"""Controls: neither the corpus nor the scoring tells who speaks; only a network that learnt it does.

On the embedded corpus at full size, the small attentive x-vector (conf/mini/asp.yaml) is trained three times: on the
true speakers, on shuffled ones, and not at all. A few epochs on clean data suffice to tell them apart.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from recipe_runs import ROOT, succeed

from vouch.cli.trial_list import Trials
from vouch.io.tables import read_token_lines
from vouch.metrics.eer import equal_error_rate
from vouch.metrics.intervals import eer_samples

BACKENDS = ("cosine", "plda")
TRAINING = "epochs: {epochs}, sampler: {{samples_per_utterance: 4}}, min_frames: 100, max_frames: 150"


class Row(NamedTuple):
    """EER in % and its 95 % interval."""

    eer: float
    low: float
    high: float


class Systems:
    """The corpus with features, and the rows of systems trained on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self._step("local/prepare_mini.sh", "--nj", 2, folder / "corpus", self.data)
        for part in ("train", "enroll", "test"):
            self._step("steps/make_mfcc.sh", "--nj", 2, self.data / part)
            self._step("steps/compute_vad.sh", "--nj", 2, self.data / part)
        config = ROOT / "conf/mini/training_feats.conf"
        self._step("steps/prepare_feats_for_training.sh", "--config", config, self.data / "train", self.data / "nosil")

    def _step(self, script: str, *words: object) -> None:
        succeed("bash", ROOT / script, *words)

    def evaluate(self, name: str, epochs: int, data: str = "nosil") -> dict[str, Row]:
        """Train on a data directory; the rows of each backend on the source trials."""
        model = self.folder / name
        yaml = self.folder / f"{name}.yaml"
        yaml.write_text(f"base: {ROOT}/conf/mini/asp.yaml\ntraining: {{{TRAINING.format(epochs=epochs)}}}\n")
        self._step("steps/train.sh", "--device", "cpu", "--num-threads", 1, yaml, self.data / data, model)
        for part in ("train", "enroll", "test"):
            extract = ("steps/extract_embeddings.sh", "--nj", 1, "--device", "cpu")
            self._step(*extract, model, self.data / part, model / "embeddings" / part)
        embeddings, backend = model / "embeddings", model / "backend"
        self._step("steps/train_backend.sh", "--lda-dim", 60, embeddings / "train", backend)
        score = ("steps/score.sh", "--backends", " ".join(BACKENDS), backend, backend / "mean.vec")
        self._step(*score, embeddings / "enroll", embeddings / "test", self.data / "test", model / "scores", "source")
        return {kind: self._row(name, kind) for kind in BACKENDS}

    def scores(self, name: str, backend: str) -> Path:
        return self.folder / name / "scores/source" / f"{backend}.scores"

    def eer_samples(self, name: str, backend: str) -> np.ndarray:
        """EERs of resampled speakers, the same ones for every system."""
        trials = Trials(str(self.data / "test/trials"))
        scores = trials.align(str(self.scores(name, backend)))
        return eer_samples(scores, trials.is_target, trials.models, trials.tests)

    def _row(self, name: str, backend: str) -> Row:
        row = self.folder / name / f"{backend}.tsv"
        options = (f"--system={name}", f"--backend={backend}", "--trials-name=source")
        succeed("vouch", "evaluate", *options, self.data / "test/trials", self.scores(name, backend), row)
        header, values = (line.split("\t") for line in row.read_text().splitlines())
        figures = dict(zip(header, values, strict=True))
        return Row(*(float(figures[column]) for column in ("EER", "EER_low", "EER_high")))


def shuffle_speakers(source: Path, target: Path) -> None:
    """A copy of a data directory whose utterances have each other's speakers, every speaker as many as before."""
    succeed("bash", ROOT / "utils/copy_data_dir.sh", source, target)
    pairs = [line.split() for line in (source / "utt2spk").read_text().splitlines()]
    speakers = [speaker for _, speaker in pairs]
    random.Random(0).shuffle(speakers)
    lines = [f"{utterance} {speaker}\n" for (utterance, _), speaker in zip(pairs, speakers, strict=True)]
    (target / "utt2spk").write_text("".join(lines))


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    return Systems(tmp_path_factory.mktemp("controls"))


@pytest.fixture(scope="module")
def trained(systems: Systems) -> dict[str, Row]:
    return systems.evaluate("trained", epochs=5)


def test_an_untrained_network_is_worse(systems: Systems, trained: dict[str, Row]) -> None:
    """By cosine, which knows nothing but the network, the intervals lie apart.

    PLDA learns the true speakers itself, and finds some of them in random projections of the features: there the
    EER is outside the trained one's interval, but the intervals, of 20 speakers, may touch.
    """
    untrained = systems.evaluate("untrained", epochs=0)
    assert trained["cosine"].high < untrained["cosine"].low, (trained, untrained)
    assert trained["plda"].high < untrained["plda"].eer, (trained, untrained)


def test_a_network_trained_on_shuffled_speakers_is_worse(systems: Systems, trained: dict[str, Row]) -> None:
    shuffle_speakers(systems.data / "nosil", systems.data / "shuffled")
    shuffled = systems.evaluate("shuffled", epochs=5, data="shuffled")
    assert trained["cosine"].high < shuffled["cosine"].low, (trained, shuffled)
    # By PLDA the intervals of 20 speakers may touch; on the same speakers the difference is above 0.
    samples = [systems.eer_samples(name, "plda") for name in ("trained", "shuffled")]
    assert np.quantile(samples[1] - samples[0], 0.025) > 0, (trained, shuffled)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shuffled_trial_labels_give_half(systems: Systems, trained: dict[str, Row], backend: str) -> None:
    """The mean of 20 shuffles: one alone has a deviation of 50 % / sqrt(200 targets), 3.5 %."""
    label = {(model, test): kind for model, test, kind in read_token_lines(str(systems.data / "test/trials"))}
    scored = list(read_token_lines(str(systems.scores("trained", backend))))
    scores = np.array([float(score) for *_, score in scored])
    targets = np.array([label[model, test] == "target" for model, test, _ in scored])
    eers = []
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(targets)
        eers.append(100 * equal_error_rate(scores[shuffled], scores[~shuffled])[0])
    assert np.mean(eers) == pytest.approx(50, abs=4)
    assert max(eers) < 62 and min(eers) > 38
