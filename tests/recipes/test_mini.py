"""The mini recipe, reduced, through every stage. (That two runs from scratch agree: test_interruptions.py.)"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from recipe_runs import ROOT, call, read_results, succeed, write_preparation, write_settings

from vouch.io.gmm import read_full_gmm
from vouch.io.ivector_extractor import read_ivector_extractor
from vouch.io.tables import read_table

NETWORKS = ("xvector", "asp", "danse")
BACKENDS = ("cosine", "cosine_adapt", "plda", "plda_adapt", "plda_coral", "plda_coral_plus")
SYSTEMS = ("ivector", *NETWORKS)
AUGMENT = "--types=reverb noise music babble\n--speeds=0.9\n--copies=0.5\n"


class Run:
    """A finished run of the recipe, in a folder with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "my run"
        preparation = write_preparation(folder, 0.06, 'rm -f "$out"/adapt_test/trials_*')
        self.conf = conf = write_settings(folder, SYSTEMS, 1, AUGMENT)
        (conf / "both.yaml").write_text("kind: joint\nsystems: [asp, ivector]\nbackend: {lda_dim: 12}\n")
        self.command = ["bash", ROOT / "run.sh", "--prepare", preparation, "--conf", conf]
        self.command += ["--out", self.out, "--nj", "1", "--device", "cpu"]  # the default systems that conf has
        self.said = self.repeat()

    def repeat(self, *options: str) -> str:
        return succeed(*self.command, *options)

    def times(self, *patterns: str) -> dict[Path, int]:
        """When the files of these patterns below `out` were written, in ns."""
        found = {
            path: path.stat().st_mtime_ns for pattern in patterns for path in self.out.glob(pattern) if path.is_file()
        }
        assert found
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("mini"))


def test_every_stage_is_announced_and_the_table_printed(run: Run) -> None:
    announced = re.findall(r"^=== stage (\d)", run.said, flags=re.M)
    assert sorted(set(announced)) == list("123456789") and announced == sorted(announced)
    for line in (run.out / "results/EER").read_text().splitlines():
        assert line in run.said


def test_a_row_for_each_system_backend_and_list(run: Run) -> None:
    rows = read_results(run.out / "results/EER")
    found = {(row["system"], row["backend"], row["trials"]) for row in rows}
    assert len(found) == len(rows)
    for system in SYSTEMS:
        for backend in BACKENDS:
            assert {(system, backend, "source"), (system, backend, "target")} <= found
    for row in rows:
        assert 0 <= float(row["EER_low"]) <= float(row["EER"]) <= float(row["EER_high"]) <= 100
        assert 0 <= float(row["minDCF01"]) <= 1 and 0 <= float(row["minDCF001"]) <= 1


def test_trials_of_the_table_are_those_of_the_lists(run: Run) -> None:
    for row in read_results(run.out / "results/EER"):
        domain, _, part = row["trials"].partition("_")
        folder = run.out / "data" / {"source": "test", "target": "adapt_test"}[domain]
        lines = (folder / (f"trials_{part}" if part else "trials")).read_text().splitlines()
        labels = [line.split()[2] for line in lines]
        assert int(row["targets"]) == labels.count("target") > 0
        assert int(row["nontargets"]) == labels.count("nontarget") > 0
        scores = run.out / "exp" / row["system"] / "scores" / row["trials"] / f"{row['backend']}.scores"
        scored = {tuple(line.split()[:2]) for line in scores.read_text().splitlines()}
        assert scored == {tuple(line.split()[:2]) for line in lines}


def test_results_agree_with_the_tsv_and_have_plots(run: Run) -> None:
    rows = read_results(run.out / "results/EER")
    header, *lines = [line.split("\t") for line in (run.out / "results/results.tsv").read_text().splitlines()]
    table = [dict(zip(header, line, strict=True)) for line in lines]
    assert len(table) == len(rows)
    plots = {path.name for path in (run.out / "results").glob("det_*.png")}
    assert plots == {f"det_{row['trials']}.png" for row in rows}
    assert all((run.out / "results" / plot).read_bytes().startswith(b"\x89PNG") for plot in plots)


@pytest.mark.parametrize("system", NETWORKS)
def test_what_a_training_leaves(run: Run, system: str) -> None:
    model = run.out / "exp" / system
    utt2spk = (run.out / "data/mfcc/train_aug_nosil/utt2spk").read_text().splitlines()
    speakers = sorted({line.split()[1] for line in utt2spk})
    assert (model / "speakers.txt").read_text().splitlines() == speakers
    assert any(speaker.startswith("sp0.9-") for speaker in speakers)
    saved = torch.load(model / "final.pt", weights_only=True)
    assert saved["speakers"] == speakers and saved["feature_dim"] == 23
    assert saved["config"]["training"]["epochs"] == 1
    assert "epochs: 1" in (model / "config.yaml").read_text()
    lines = [json.loads(line) for line in (model / "train.jsonl").read_text().splitlines()]
    assert lines and all({"step", "epoch", "loss", "accuracy"} <= set(line) for line in lines)


def test_what_an_adversarial_system_leaves(run: Run) -> None:
    lines = [json.loads(line) for line in (run.out / "exp/danse/train.jsonl").read_text().splitlines()]
    assert "discriminator_loss" in lines[-1] and "adversarial_loss" in lines[-1]
    assert (run.out / "results/embeddings_danse.png").read_bytes().startswith(b"\x89PNG")
    header, *probes = (line.split("\t") for line in (run.out / "results/domain_probe.tsv").read_text().splitlines())
    assert header == ["system", "source_utterances", "target_utterances", "probe"]
    assert [probe[0] for probe in probes] == sorted(SYSTEMS) and all(0 <= float(probe[3]) <= 1 for probe in probes)


def test_what_an_ivector_training_leaves(run: Run) -> None:
    model = run.out / "exp/ivector"
    ubm, extractor = read_full_gmm(str(model / "final.ubm")), read_ivector_extractor(str(model / "final.ie"))
    assert ubm[3].shape == (8, 60, 60) and extractor.projections.shape == (8, 60, 16)
    assert "start_gaussians: 4" in (model / "config.yaml").read_text()
    lines = [json.loads(line) for line in (model / "train.jsonl").read_text().splitlines()]
    assert [line["pass"] for line in lines] == ["start-1", "diagonal-1", "full-1", "posteriors-1", "extractor-1"]
    clean = (run.out / "data/mfcc/train/utt2spk").read_text()
    assert (run.out / "data/mfcc/train_ivector/utt2spk").read_text() == clean


def test_a_trained_model_scores_recordings_as_the_recipe_does(run: Run) -> None:
    """But for the dither and the one byte of a stored value."""
    enrolled = [line.split() for line in (run.out / "data/enroll/utt2spk").read_text().splitlines()]
    files = {
        utterance: name
        for part in ("enroll", "test")
        for utterance, name in (x.split(" ", 1) for x in (run.out / f"data/{part}/wav.scp").read_text().splitlines())
    }
    for system, options in ("xvector", []), ("danse", ["--backend=plda", "--domain=source"]):
        folder = run.out / "exp" / system
        assert (folder / "features.conf").read_bytes() == (ROOT / "conf/mfcc.conf").read_bytes()
        assert (folder / "cmn.conf").read_bytes() == (ROOT / "conf/cmn.conf").read_bytes()
        scores = folder / "scores/source" / ("plda.scores" if options else "cosine.scores")
        lines = [line.split() for line in scores.read_text().splitlines()]
        model, test, wanted = lines[0]
        of_model = [files[utterance] for utterance, owner in enrolled if owner == model]
        done = call("vouch", "verify", f"--model={folder}", *options, *of_model, files[test])
        assert done.returncode == 0, done.stderr
        name, found = done.stdout.split()
        spread = np.std([float(line[2]) for line in lines])
        assert name == "score" and float(found) == pytest.approx(float(wanted), abs=0.3 * spread)


def test_data_directories_are_valid(run: Run) -> None:
    for part in (
        "train",
        "enroll",
        "test",
        "adapt",
        "adapt_enroll",
        "adapt_test",
        "train_aug",
        "train_aug_nosil",
        "train_ivector",
        "adapt_aug",
        "adapt_aug_nosil",
    ):
        succeed("bash", ROOT / "utils/validate_data_dir.sh", "--no-text", run.out / "data/mfcc" / part)


def test_augmented_data_are_the_clean_ones_and_the_copies_asked_for(run: Run) -> None:
    def utterances(part: str) -> list[str]:
        return [line.split()[0] for line in (run.out / "data/mfcc" / part / "utt2spk").read_text().splitlines()]

    clean, augmented = utterances("train"), utterances("train_aug")
    speed = {f"sp0.9-{utterance}" for utterance in clean}
    assert {*clean, *speed} <= set(augmented)
    copies = set(augmented) - set(clean) - speed
    assert len(copies) == int(0.5 * 2 * len(clean))
    assert {copy.rpartition("-")[2] for copy in copies} == {"reverb", "noise", "music", "babble"}
    assert all(copy.rpartition("-")[0] in {*clean, *speed} for copy in copies)
    assert set(utterances("train_backend")) == {u for u in augmented if not u.startswith("sp0.9-")}


def test_training_features_are_rows_of_two_bytes_a_value(run: Run) -> None:
    data = run.out / "data/mfcc/train_aug_nosil"
    frames = dict(line.split() for line in (data / "utt2num_frames").read_text().splitlines())
    for line in (data / "feats.scp").read_text().splitlines():
        utterance, place = line.split(" ", 1)
        name, _, offset = place.rpartition(":")
        with open(name, "rb") as archive:
            archive.seek(int(offset))
            head = archive.read(22)
        assert head[:6] == b"\0BCM2 "
        rows, columns = (int.from_bytes(head[at : at + 4], "little") for at in (14, 18))
        assert (rows, columns) == (int(frames[utterance]), 23)


def test_the_same_command_again_does_nothing_up_to_the_embeddings(run: Run) -> None:
    kept = ("exp/*/*", "exp/*/embeddings/*/*", "data/mfcc/*/*.scp", "data/[!m]*/*", "corpus/**/*")
    before = run.times(*kept)
    said = run.repeat("--stop-stage", "6")
    changed = {str(path.relative_to(run.out)) for path, time in run.times(*kept).items() if before.get(path) != time}
    # features and VAD of 6 directories, augmentation of both domains, training features of networks, i-vectors and the
    # target; embeddings of 6 directories by each system
    assert said.count("is done already") >= 2 * 6 + 2 + 3 + len(SYSTEMS) * 6
    assert not changed


# With the test above: the same command again, and results/EER is the same.
def test_stage_7_repeats_the_results_and_needs_the_embeddings_alone(run: Run) -> None:
    results = (run.out / "results/EER").read_bytes()
    hidden = [*run.out.glob("exp/*/backend"), *run.out.glob("exp/*/scores"), run.out / "results"]
    hidden += [run.out / "data/mfcc", run.out / "corpus", *run.out.glob("exp/*/final.*")]
    for number, path in enumerate(hidden):
        path.rename(run.out / f"hidden{number}")
    try:
        before = run.times("exp/*/embeddings/*/*")
        said = run.repeat("--stage", "7")
        assert re.findall(r"^=== stage (\d)", said, flags=re.M) == list("777788889")
        assert run.times("exp/*/embeddings/*/*") == before
        assert (run.out / "results/EER").read_bytes() == results
    finally:
        for number, path in enumerate(hidden):
            call("rm", "-rf", path)
            (run.out / f"hidden{number}").rename(path)


def test_cosines_are_of_embeddings_centred_on_the_training_mean_or_on_the_targets(run: Run) -> None:
    folder = run.out / "exp/danse/embeddings"

    def read(part: str, name: str = "embedding") -> dict[str, np.ndarray]:
        return dict(read_table(f"scp:{folder}/{part}/{name}.scp", "vector"))

    for domain, models, test in (("source", "enroll", "test"), ("target", "adapt_enroll", "adapt_test")):
        enrolled, tested = read(models, "spk_embedding"), read(test)
        for backend in ("cosine", "cosine_adapt"):
            own = (domain, backend) == ("target", "cosine_adapt")
            mean = np.mean([*read("adapt" if own else "train_backend").values()], 0)
            for line in (run.out / f"exp/danse/scores/{domain}/{backend}.scores").read_text().splitlines():
                model, utterance, score = line.split()
                sides = [vector - mean for vector in (enrolled[model], tested[utterance])]
                cosine = sides[0] @ sides[1] / np.linalg.norm(sides[0]) / np.linalg.norm(sides[1])
                assert float(score) == pytest.approx(cosine, abs=1e-4)


# Joined embeddings: each centred on its mean over the training data and scaled to the length sqrt(dim).
def test_a_joint_system_is_its_parts_one_behind_the_other(run: Run) -> None:
    results = (run.out / "results/EER").read_bytes()
    said = run.repeat("--stage", "5", "--systems", "asp ivector both")
    assert re.findall(r"^=== stage (\d)", said, flags=re.M) == list("56667778889")
    rows = read_results(run.out / "results/EER")
    assert {(row["system"], row["backend"]) for row in rows} >= {("both", "cosine"), ("both", "plda_adapt")}

    def read(system: str, part: str) -> dict[str, np.ndarray]:
        return dict(read_table(f"scp:{run.out}/exp/{system}/embeddings/{part}/embedding.scp", "vector"))

    joined = read("both", "adapt_test")
    parts = []
    for system in ("asp", "ivector"):
        mean = np.mean(list(read(system, "train_backend").values()), axis=0)
        centred = {key: value - mean for key, value in read(system, "adapt_test").items()}
        assert set(centred) == set(joined)
        parts.append({key: value / np.linalg.norm(value) * len(mean) ** 0.5 for key, value in centred.items()})
    for key, vector in joined.items():
        np.testing.assert_allclose(vector, np.concatenate([part[key] for part in parts]), rtol=1e-3, atol=1e-4)
    assert "is done already" in run.repeat("--stage", "6", "--stop-stage", "6", "--systems", "both")
    call("rm", "-r", run.out / "exp/both")  # the table has all that is evaluated
    run.repeat("--stage", "9")
    assert (run.out / "results/EER").read_bytes() == results


# A fused score is the weighted mean of the systems' scores, each shifted and scaled to mean 0 and variance 1.
def test_fusions_are_rows_of_the_table(run: Run) -> None:
    results = (run.out / "results/EER").read_bytes()
    run.repeat("--stage", "8", "--fusions", "ivector+asp asp:plda=0.8+ivector:cosine=0.2")
    rows = read_results(run.out / "results/EER")
    fused = {(row["system"], row["backend"]) for row in rows if row["trials"] == "target" and "+" in row["system"]}
    weighted = ("fusion:asp=0.8+ivector=0.2", "plda+cosine")
    assert fused == {*(("fusion:ivector+asp", backend) for backend in BACKENDS), weighted}

    def scores(system: str, backend: str) -> dict[str, float]:
        path = run.out / "exp" / system / "scores/source" / f"{backend}.scores"
        lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines()]
        return {trial: float(score) for trial, score in lines}

    def normalised(system: str, backend: str) -> dict[str, float]:
        found = scores(system, backend)
        values = np.array(list(found.values()))
        return {trial: (score - values.mean()) / values.std() for trial, score in found.items()}

    network, ivector = normalised("asp", "plda"), normalised("ivector", "cosine")
    for trial, score in scores(*weighted).items():
        assert score == pytest.approx(0.8 * network[trial] + 0.2 * ivector[trial], abs=1e-4)

    run.repeat("--stage", "8")
    assert (run.out / "results/EER").read_bytes() == results


def test_what_two_embeddings_hold_is_shown(run: Run) -> None:
    """A system of SEEF-ALDR, on the features that are there: probes, map and reconstructions of stage 9."""
    (run.conf / "two.yaml").write_text(
        f"base: {ROOT}/conf/mini/seef_asp.yaml\nfeatures: mfcc\n"
        "network: {embedding_dim: 16, hidden_dim: 16, backbone: {channels: 16, pooled_channels: 32}}\n"
        "objective: {decoder: {channels: 8}}\ntraining: {epochs: 1}\nbackend: {lda_dim: 8}\n"
    )
    said = run.repeat("--systems", "two", "--stage", "5")
    results, shown = run.out / "results", run.out / "exp/two/disentanglement"
    for name in ("embeddings_two.png", "reconstruction_two.png"):
        assert (results / name).read_bytes().startswith(b"\x89PNG")
    parts = {"probe_two.tsv": ("test", "adapt_test"), "probe_two_train.tsv": ("train_backend",)}
    for name, folders in parts.items():
        header, *lines = [line.split("\t") for line in (results / name).read_text().splitlines()]
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        asked = {(row["property"], row["embeddings"]) for row in rows}
        properties = {"gender", "length"} | ({"domain"} if "adapt_test" in folders else {"speaker", "augmentation"})
        assert asked >= {(name, kind) for name in properties for kind in ("purified", "eliminated")}
        assert {int(row["tested"]) for row in rows if row["property"] == "gender"} == {
            sum(len((run.out / "data/mfcc" / part / "utt2spk").read_text().splitlines()) for part in folders)
        }
    assert len(re.findall(r"LOG .*: mean squared error [0-9.]+, identity swapped [0-9.]+, zeros [0-9.]+", said)) == 2
    purified = read_table(f"scp:{shown}/test/purified.scp", "vector")
    eliminated = dict(read_table(f"scp:{shown}/test/eliminated/embedding.scp", "vector"))
    for utterance, vector in purified:
        assert vector.shape == eliminated[utterance].shape and not np.allclose(vector, eliminated[utterance])
    made = run.times("exp/two/disentanglement/*/eliminated/embedding.scp")
    run.repeat("--systems", "two", "--stage", "9")
    assert run.times("exp/two/disentanglement/*/eliminated/embedding.scp") == made
