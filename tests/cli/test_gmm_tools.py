"""The tools of Gaussian mixtures: a whole UBM training as Kaldi's tools did it, and what each says to bad input."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.gmm import diagonal, full
from vouch.io.gmm import read_diag_gmm, read_diag_stats, read_full_gmm, read_full_stats, write_diag_gmm, write_full_gmm
from vouch.io.ragged import Selection
from vouch.io.tables import TableWriter, read_table

G, D = 5, 3


# --- Kaldi's training, step by step -----------------------------------------------------------------------------------


class Replay:
    """Runs command lines with pipes inside tables in this process: each pipe becomes a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pipes = folder, 0

    def run(self, line: str) -> None:
        tool, *arguments = shlex.split(line)
        arguments = [self._file(argument) for argument in arguments]
        assert main([tool, "--print-args=false", *arguments]) == 0, line

    def _file(self, argument: str) -> str:
        if not argument.endswith("|"):
            return argument
        table, command = ("ark:", argument[4:-1]) if argument.startswith("ark:") else ("", argument[:-1])
        self.pipes += 1
        if command.startswith("subsample-feats --n=2 ark:feats.ark"):
            with TableWriter(f"ark:pipe{self.pipes}") as writer:
                for key, features in read_table("ark:feats.ark"):
                    writer.write(key, features[::2])
        else:
            self.run(re.sub(r" -(?= |$)", f" pipe{self.pipes}", command.strip()))
        return f"{table}pipe{self.pipes}"


@pytest.fixture(scope="module")
def replayed(golden_training: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(folder of all files made from 0.dubm to post.ark, the log)."""
    import contextlib
    import io
    import os

    folder = tmp_path_factory.mktemp("replay")
    for name in ("feats.ark", "0.dubm"):
        shutil.copy(golden_training / name, folder)
    log = io.StringIO()
    before = os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(log):
            replay = Replay(folder)
            for line in (golden_training / "commands.txt").read_text().splitlines():
                if line.startswith("cp 4.ubm final.ubm; "):
                    shutil.copy("4.ubm", "final.ubm")
                    line = line.partition("; ")[2]
                if re.match("f?gmm-(?!global-init)", line):
                    replay.run(line)
    finally:
        os.chdir(before)
    return folder, log.getvalue()


def relative(arrays: tuple, expected: tuple) -> float:
    return max(
        float(np.linalg.norm(array - wanted) / np.linalg.norm(wanted))
        for array, wanted in zip(arrays, expected, strict=True)
    )


# asked are 1e-3 after one iteration and 5e-3 after four
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("1.dubm", read_diag_gmm),
        ("4.dubm", read_diag_gmm),
        ("0.ubm", read_full_gmm),
        ("1.ubm", read_full_gmm),
        ("4.ubm", read_full_gmm),
        ("final.dubm", read_diag_gmm),
    ],
)
def test_training_gives_kaldis_models(
    replayed: tuple[Path, str], golden_training: Path, name: str, read: object
) -> None:
    assert relative(read(str(replayed[0] / name)), read(str(golden_training / name))) < 1e-4


def dense(posterior: tuple, gaussians: int) -> np.ndarray:
    offsets, indices, weights = posterior
    matrix = np.zeros((len(offsets) - 1, gaussians))
    matrix[np.repeat(np.arange(len(matrix)), np.diff(offsets)), indices] = weights
    return matrix


def test_training_gives_kaldis_posteriors(replayed: tuple[Path, str], golden_training: Path, tmp_path: Path) -> None:
    """With Kaldi's models; and with those trained here, which are 2e-6 away from them."""
    ours, kaldi = replayed[0], golden_training
    feats, gselect, post = (f"ark:{path}" for path in (kaldi / "feats.ark", tmp_path / "gselect", tmp_path / "post"))
    assert main(["gmm-gselect", "--n=20", str(kaldi / "final.dubm"), feats, gselect]) == 0
    assert main(["fgmm-global-gselect-to-post", "--min-post=0.025", str(kaldi / "4.ubm"), feats, gselect, post]) == 0
    for table, most in ((post, 2e-5), (f"ark:{ours / 'post.ark'}", 5e-4)):
        pairs = zip(read_table(table, "posterior"), read_table(f"ark:{kaldi / 'post.ark'}", "posterior"), strict=True)
        compared = 0
        for (key, mine), (expected_key, expected) in pairs:
            assert key == expected_key
            np.testing.assert_allclose(dense(mine, 32), dense(expected, 32), rtol=0, atol=most)
            compared += 1
        assert compared == 30


def test_training_logs_kaldis_lines(replayed: tuple[Path, str], golden_training: Path) -> None:
    """Same text, likelihoods equal to five digits; Kaldi takes improvements from sums of seven digits."""
    ours = re.findall(r"^LOG (Overall .*)$", replayed[1], re.MULTILINE)
    kaldi = re.findall(r"^(Overall (?:lik|loglike|objective function improvement is).*)$", _log(golden_training), re.M)
    assert len(ours) == len(kaldi) == 17
    number = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?(?=\s|$)")
    for mine, expected in zip(ours, kaldi, strict=True):
        assert number.sub("#", mine) == number.sub("#", expected)
        values, wanted = (np.array(number.findall(line), dtype=float) for line in (mine, expected))
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=3e-5 if "improvement" in mine else 0)


def _log(golden_training: Path) -> str:
    return (golden_training / "log_lines.txt").read_text()


def test_random_start_is_as_good_as_kaldis(
    golden_training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """gmm-global-init-from-feats draws its own numbers: the likelihood that it reaches is compared."""
    command = next(
        line for line in (golden_training / "commands.txt").read_text().splitlines() if "init-from-feats" in line
    )
    tool, *options = shlex.split(command)[:-2]
    feats, model = f"ark:{golden_training / 'feats.ark'}", tmp_path / "0.dubm"
    assert main([tool, *options, feats, str(model)]) == 0
    pattern = r"Likelihood per frame on iteration (\d) was (\S+) over (\d+) frames\."
    ours, kaldi = (re.findall(pattern, text) for text in (capsys.readouterr().err, _log(golden_training)))
    assert [(number, frames) for number, _, frames in ours] == [(number, frames) for number, _, frames in kaldi]
    assert abs(float(ours[-1][1]) - float(kaldi[-1][1])) < 0.5
    assert len(read_diag_gmm(str(model))[0]) == 32


# --- made data --------------------------------------------------------------------------------------------------------


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.fixture
def here(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models `diag` and `full`, and the table feats.ark of the utterances a (40 frames), b (25)."""
    monkeypatch.chdir(tmp_path)
    inv_vars = rng.uniform(0.5, 2, (G, D))
    gmm = diagonal.make(np.full(G, 1 / G), rng.normal(0, 1.5, (G, D)) * inv_vars, inv_vars)
    write_diag_gmm("diag", *gmm)
    write_full_gmm("full", *diagonal.to_full(gmm))
    write_table("feats.ark", a=rng.normal(0, 2, (40, D)), b=rng.normal(0, 2, (25, D)))
    return tmp_path


def write_table(path: str, **matrices: np.ndarray) -> None:
    with TableWriter(f"ark:{path}") as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix.astype(np.float32))


def write_vectors(path: str, **vectors: np.ndarray) -> None:
    with TableWriter(f"ark:{path}", "vector") as writer:
        for key, vector in vectors.items():
            writer.write(key, vector.astype(np.float32))


def write_gselect(path: str, **lists: np.ndarray) -> None:
    with TableWriter(f"ark:{path}", "gselect") as writer:
        for key, array in lists.items():
            writer.write(key, Selection(np.arange(len(array) + 1) * array.shape[1], array.reshape(-1)))


def frames() -> np.ndarray:
    return np.concatenate([matrix for _, matrix in read_table("ark:feats.ark")])


def fails(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that the failing tool says last."""
    capsys.readouterr()
    assert main(list(argv)) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"vouch {argv[0]}: error: ")
    return last


def test_statistics_update_and_sums_through_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two halves, summed, give the statistics of the whole; the estimate is the library's, in single precision."""
    for kind, tool in (("diag", "gmm-global"), ("full", "fgmm-global")):
        parts = []
        for number, (key, matrix) in enumerate(read_table("ark:feats.ark")):
            write_table(f"part{number}", **{key: matrix})
            assert main([f"{tool}-acc-stats", kind, f"ark:part{number}", f"{number}.acc"]) == 0
            parts.append(f"{number}.acc")
        assert main([f"{tool}-acc-stats", kind, "ark:feats.ark", "whole.acc"]) == 0
        assert main([f"{tool}-sum-accs", "--binary=false", "sum.acc", *parts]) == 0
        read = read_diag_stats if kind == "diag" else read_full_stats
        for summed, whole in zip(read("sum.acc")[1:], read("whole.acc")[1:], strict=True):
            np.testing.assert_allclose(summed, whole, rtol=1e-5, atol=1e-4)
        options = ["--min-gaussian-occupancy=1", "--min-gaussian-weight=0.001"]
        assert main([f"{tool}-est", *options, kind, "sum.acc", "new"]) == 0
        library = diagonal if kind == "diag" else full
        model = (diagonal.DiagGmm if kind == "diag" else full.FullGmm)(
            *(read_diag_gmm if kind == "diag" else read_full_gmm)(kind)
        )
        wanted = library.estimate(
            model, library.accumulate(model, frames()), library.EstimateOptions(min_gaussian_occupancy=1)
        )
        new = (read_diag_gmm if kind == "diag" else read_full_gmm)("new")
        np.testing.assert_allclose(new[0], wanted.gmm.weights, rtol=1e-4)
        np.testing.assert_allclose(new[3], wanted.gmm[3], rtol=2e-3, atol=1e-3)
        text = capsys.readouterr().err
        assert "LOG Done 2 files; 0 with errors." in text
        assert "over 65 (weighted) frames." in text
        assert re.search(r"LOG Overall objective function improvement is \S+ per frame over 65 frames\.", text)


@pytest.mark.parametrize("tool", ["gmm-global", "fgmm-global"])
def test_frame_weights_are_counts(here: Path, tool: str) -> None:
    """A frame of weight 2 is a frame twice, of weight 0 none, even where it is NaN."""
    data = dict(read_table("ark:feats.ark"))
    repeats = {key: np.arange(len(matrix)) % 3 for key, matrix in data.items()}
    write_vectors("weights", **repeats)
    bad = {key: np.where(repeats[key][:, None] == 0, np.nan, matrix) for key, matrix in data.items()}
    write_table("bad.ark", **bad)
    write_table("repeated.ark", **{key: np.repeat(matrix, repeats[key], axis=0) for key, matrix in data.items()})
    model = "diag" if tool == "gmm-global" else "full"
    assert main([f"{tool}-acc-stats", "--weights=ark:weights", model, "ark:bad.ark", "weighted.acc"]) == 0
    assert main([f"{tool}-acc-stats", model, "ark:repeated.ark", "repeated.acc"]) == 0
    read = read_diag_stats if tool == "gmm-global" else read_full_stats
    for mine, wanted in zip(read("weighted.acc")[1:], read("repeated.acc")[1:], strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("tool", ["gmm-global", "fgmm-global"])
def test_update_flags_limit_statistics_and_update(here: Path, tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, read_stats, read = (
        ("diag", read_diag_stats, read_diag_gmm) if tool == "gmm-global" else ("full", read_full_stats, read_full_gmm)
    )
    assert main([f"{tool}-acc-stats", "--update-flags=m", model, "ark:feats.ark", "m.acc"]) == 0
    flags, occupancy, means, second, dims = read_stats("m.acc")
    assert (set(flags), second, dims) == ({"m", "w"}, None, D)
    assert means.shape == (G, D)
    assert occupancy.sum() == pytest.approx(65, rel=1e-5)
    estimate = [f"{tool}-est", "--min-gaussian-occupancy=1"]
    assert main([*estimate, "--update-flags=m", model, "m.acc", "new"]) == 0
    np.testing.assert_allclose(read("new")[3], read(model)[3])
    np.testing.assert_allclose(read("new")[0], read(model)[0])
    assert not np.allclose(read("new")[2], read(model)[2])
    assert "m.acc for " in fails(capsys, *estimate, model, "m.acc", "never")
    assert "'q' is none of m" in fails(capsys, f"{tool}-acc-stats", "--update-flags=q", model, "ark:feats.ark", "never")
    assert main([f"{tool}-acc-stats", "--update-flags=w", model, "ark:feats.ark", "w.acc"]) == 0
    assert main([*estimate, "--update-flags=w", model, "w.acc", "new"]) == 0
    np.testing.assert_allclose(read("new")[0], occupancy / 65, rtol=1e-5)
    assert not Path("never").exists()


def test_mixing_up_splits_gaussians(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tool, model, read in (("gmm-global", "diag", read_diag_gmm), ("fgmm-global", "full", read_full_gmm)):
        assert main([f"{tool}-acc-stats", model, "ark:feats.ark", "acc"]) == 0
        options = ["--min-gaussian-occupancy=1", "--perturb-factor=0.1"]
        assert main([f"{tool}-est", *options, "--mix-up=9", model, "acc", "nine"]) == 0
        assert main([f"{tool}-est", *options, "--mix-up=9", model, "acc", "again"]) == 0
        assert Path("nine").read_bytes() == Path("again").read_bytes()
        weights = read("nine")[0]
        assert len(weights) == 9
        assert weights.sum() == pytest.approx(1, rel=1e-5)
        capsys.readouterr()
        assert main([f"{tool}-est", *options, f"--mix-up={G}", model, "acc", "same"]) == 0
        assert re.search("WARNING (Already have|Cannot split)", capsys.readouterr().err)
        assert len(read("same")[0]) == G


def test_low_count_gaussians_are_warned_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gmm-global-acc-stats", "diag", "ark:feats.ark", "acc"]) == 0
    assert main(["gmm-global-est", "--min-gaussian-occupancy=12", "diag", "acc", "fewer"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING Too little data")]
    assert len(read_diag_gmm("fewer")[0]) == G - len(lines) < G


def test_copies_and_conversions(here: Path) -> None:
    for tool, model in (("gmm-global-copy", "diag"), ("fgmm-global-copy", "full")):
        assert main([tool, "--binary=false", model, "text"]) == 0
        assert Path("text").read_text().startswith("<DiagGMM>" if model == "diag" else "<FullGMM>")
        assert main([tool, "text", "back"]) == 0
        read = read_diag_gmm if model == "diag" else read_full_gmm
        assert relative(read("back"), read(model)) < 1e-6
    assert main(["gmm-global-to-fgmm", "diag", "full2"]) == 0
    assert relative(read_full_gmm("full2"), read_full_gmm("full")) < 1e-6
    assert main(["fgmm-global-to-gmm", "full", "diag2"]) == 0
    assert relative(read_diag_gmm("diag2"), read_diag_gmm("diag")) < 1e-6


@pytest.mark.parametrize("tool", ["gmm-global", "fgmm-global"])
def test_frame_likelihoods(here: Path, tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = "diag" if tool == "gmm-global" else "full"
    gmm = diagonal.DiagGmm(*read_diag_gmm("diag"))
    assert main([f"{tool}-get-frame-likes", model, "ark:feats.ark", "ark:likes"]) == 0
    assert main([f"{tool}-get-frame-likes", "--average=true", model, "ark:feats.ark", "ark:means"]) == 0
    averages = dict(read_table("ark:means", "float"))
    for (key, mine), (_, features) in zip(read_table("ark:likes", "vector"), read_table("ark:feats.ark"), strict=True):
        expected = diagonal.frame_log_likelihoods(gmm, features)
        np.testing.assert_allclose(mine, expected, rtol=1e-5)
        assert averages[key] == pytest.approx(expected.mean(), rel=1e-5)
    assert re.search(r"LOG Overall likelihood per frame = -\S+ over 65 frames\.", capsys.readouterr().err)
    write_gselect("one", a=np.full((40, 1), 2), b=np.full((25, 1), 2))
    assert main([f"{tool}-get-frame-likes", "--gselect=ark:one", model, "ark:feats.ark", "ark:likes"]) == 0
    likes = np.concatenate([vector for _, vector in read_table("ark:likes", "vector")])
    np.testing.assert_allclose(likes, diagonal.log_likelihoods(gmm, frames())[:, 2], rtol=1e-5)


def test_selection_among_a_selection(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Choosing 2 of the 4 best gives the 2 best (lists that do not seem to count upwards)."""
    assert main(["gmm-gselect", "--n=4", "diag", "ark:feats.ark", "ark:four"]) == 0
    assert main(["gmm-gselect", "--n=2", "--write-likes=ark:likes", "diag", "ark:feats.ark", "ark:two"]) == 0
    assert main(["gmm-gselect", "--n=2", "--gselect=ark:four", "diag", "ark:feats.ark", "ark,t:among"]) == 0
    compared = 0
    four, two, among = (dict(read_table(f"ark:{name}", "gselect")) for name in ("four", "two", "among"))
    for key, selection in four.items():
        lists = selection.indices.reshape(-1, 4)
        plain = lists[:, 3] - lists[:, 0] != 3
        for table in (two, among):
            np.testing.assert_array_equal(table[key].indices.reshape(-1, 2)[plain], lists[plain, :2])
        compared += plain.sum()
    assert compared > 50
    likes = dict(read_table("ark:likes", "float"))
    scores = np.sort(diagonal.log_likelihoods(diagonal.DiagGmm(*read_diag_gmm("diag")), frames()[:40]), axis=1)
    assert likes["a"] == pytest.approx(np.logaddexp(scores[:, -1], scores[:, -2]).sum(), rel=1e-5)
    text = capsys.readouterr().err
    assert re.search(r"LOG For 0'th file, average UBM likelihood over 40 frames is -\S+\n", text)
    assert re.search(r"Done 2 files, 0 with errors, average UBM log-likelihood is -\S+ over 65 frames\.", text)
    assert main(["gmm-gselect", "--n=9", "diag", "ark:feats.ark", "ark:all"]) == 0
    assert "WARNING You asked for 9 Gaussians but GMM only has 5" in capsys.readouterr().err
    assert main(["gmm-gselect", "--n=4", "--gselect=ark:two", "diag", "ark:feats.ark", "ark:all"]) == 0
    assert "WARNING Preselect size is less or equal to than final size" in capsys.readouterr().err


def test_verbose_names_each_utterance(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gmm-global-acc-stats", "--verbose=2", "diag", "ark:feats.ark", "acc"]) == 0
    assert re.findall(r"File '(\w)': Average likelihood = -\S+ over (\d+) frames", capsys.readouterr().err) == [
        ("a", "40"),
        ("b", "25"),
    ]


# --- utterances that are passed over ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["gmm-global-acc-stats", "fgmm-global-acc-stats", "gmm-global-get-frame-likes"])
def test_utterances_without_a_selection_are_passed_over(
    here: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = "full" if tool.startswith("f") else "diag"
    out = "ark:out" if "likes" in tool else "out"
    write_gselect("gs", a=np.zeros((40, 1), int), b=np.zeros((24, 1), int))
    assert main([tool, "--gselect=ark:gs", model, "ark:feats.ark", out]) == 0
    text = capsys.readouterr().err
    assert "WARNING gselect information for utterance b has wrong size 24 vs. 25" in text
    assert "LOG Done 1 files; 1 with errors." in text
    Path("out").unlink()
    write_gselect("gs", c=np.zeros((40, 1), int))
    assert "no utterance of ark:feats.ark with ark:gs could be used, 2 had errors" in fails(
        capsys, tool, "--gselect=ark:gs", model, "ark:feats.ark", out
    )
    assert not Path("out").exists()


def test_utterances_without_weights_are_passed_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_vectors("weights", b=np.ones(25))
    assert main(["gmm-global-acc-stats", "--weights=ark:weights", "diag", "ark:feats.ark", "acc"]) == 0
    assert "WARNING No per-frame weights available for utterance a" in capsys.readouterr().err
    write_vectors("weights", a=np.ones(40), b=np.ones(20))
    assert main(["gmm-global-acc-stats", "--weights=ark:weights", "diag", "ark:feats.ark", "acc"]) == 0
    assert "WARNING Weights for utterance b have wrong dim 20 vs. 25" in capsys.readouterr().err


def test_posteriors_of_bad_utterances_are_passed_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dict(read_table("ark:feats.ark"))
    data["b"] = data["b"].copy()
    data["b"][7, 1] = np.nan
    write_table("feats.ark", **data, c=data["a"][:5], d=data["a"][:5])
    write_gselect("gs", a=np.tile([4, 1, 0], (40, 1)), b=np.tile([4, 1, 0], (25, 1)), c=np.tile([4, 1, 0], (5, 1)))
    command = ["fgmm-global-gselect-to-post", "--verbose=2", "full", "ark:feats.ark", "ark:gs"]
    assert main([*command, "ark:post"]) == 0
    text = capsys.readouterr().err
    assert "WARNING Skipping utterance b because bad posterior-sum encountered (NaN?)" in text
    assert "WARNING No gselect information for utterance d" in text
    assert "LOG Done 2 files; 2 had errors." in text
    assert re.search(r"Overall loglike per frame is -\S+ with \S+ entries per frame,  over 45 frames", text)
    assert re.search(r"Like/frame for utt c was -\S+ per frame over 5 frames\.", text)
    posts = dict(read_table("ark:post", "posterior"))
    assert list(posts) == ["a", "c"]
    np.testing.assert_allclose(dense(posts["a"], G).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(posts["c"].weights, posts["a"].weights[: len(posts["c"].weights)])


def test_utterances_without_frames(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dict(read_table("ark:feats.ark"))
    write_table("feats.ark", empty=np.zeros((0, 0)), **data)
    assert main(["gmm-gselect", "--n=2", "diag", "ark:feats.ark", "ark:gs"]) == 0
    assert "WARNING Utterance empty has no frames" in capsys.readouterr().err
    assert [key for key, _ in read_table("ark:gs", "gselect")] == ["a", "b"]
    assert main(["gmm-global-acc-stats", "diag", "ark:feats.ark", "acc"]) == 0
    assert "LOG Done 3 files; 0 with errors." in capsys.readouterr().err
    assert main(["gmm-global-get-frame-likes", "diag", "ark:feats.ark", "ark:likes"]) == 0
    assert [len(vector) for _, vector in read_table("ark:likes", "vector")] == [0, 40, 25]
    assert main(["gmm-global-get-frame-likes", "--average", "diag", "ark:feats.ark", "ark:likes"]) == 0
    assert [key for key, _ in read_table("ark:likes", "float")] == ["a", "b"]
    write_table("feats.ark", empty=np.zeros((0, 0)))
    write_gselect("gs", empty=np.zeros((0, 2), int))
    assert main(["fgmm-global-gselect-to-post", "full", "ark:feats.ark", "ark:gs", "ark:post"]) == 0
    assert len(next(read_table("ark:post", "posterior"))[1].offsets) == 1


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_bad_frames_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dict(read_table("ark:feats.ark"))
    data["b"] = data["b"].copy()
    data["b"][7, 1] = np.inf
    write_table("feats.ark", **data)
    for tool, model in (
        ("gmm-global-acc-stats", "diag"),
        ("fgmm-global-acc-stats", "full"),
        ("gmm-gselect", "diag"),
        ("gmm-global-get-frame-likes", "diag"),
    ):
        out = "out" if tool.endswith("stats") else "ark:out"
        last = fails(capsys, tool, model, "ark:feats.ark", out)
        assert "ark:feats.ark: b has NaN, infinity or a number beyond 1.8e+19 in frame 7" in last
        assert not Path("out").exists()


def test_models_and_features_that_do_not_fit_are_named(
    here: Path, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    write_table("wide.ark", x=rng.normal(size=(9, D + 1)))
    for tool, model in (("gmm-gselect", "diag"), ("fgmm-global-acc-stats", "full")):
        out = "out" if tool.endswith("stats") else "ark:out"
        assert "ark:wide.ark: x has 4 dims, the model 3" in fails(capsys, tool, model, "ark:wide.ark", out)
    assert "full" in fails(capsys, "gmm-gselect", "full", "ark:feats.ark", "ark:out")
    assert "diag" in fails(capsys, "fgmm-global-copy", "diag", "out")
    assert "none" in fails(capsys, "gmm-global-copy", "none", "out")
    Path("cut").write_bytes(Path("full").read_bytes()[:-30])
    assert "cut" in fails(capsys, "fgmm-global-copy", "cut", "out")
    assert not Path("out").exists()


def test_selection_of_another_model_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_gselect("gs", a=np.full((40, 1), G), b=np.zeros((25, 1), int))
    message = fails(capsys, "fgmm-global-gselect-to-post", "full", "ark:feats.ark", "ark:gs", "ark:out")
    assert "ark:gs: a: the selection names Gaussian 5, the model has 0 to 4" in message
    assert not Path("out").exists()


def test_statistics_that_do_not_fit_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gmm-global-acc-stats", "diag", "ark:feats.ark", "one.acc"]) == 0
    assert main(["gmm-global-acc-stats", "--update-flags=m", "diag", "ark:feats.ark", "two.acc"]) == 0
    assert "two.acc has statistics of 5 Gaussians, 3 dims, for 'mw', one.acc of" in fails(
        capsys, "gmm-global-sum-accs", "out", "one.acc", "two.acc"
    )
    inv_vars = np.ones((2, D))
    write_diag_gmm("small", *diagonal.make(np.full(2, 0.5), inv_vars, inv_vars))
    assert "one.acc for small: the statistics are of 5 Gaussians and 3 dims" in fails(
        capsys, "gmm-global-est", "small", "one.acc", "out"
    )
    assert "cannot split 5 Gaussians to 2" in fails(
        capsys, "gmm-global-est", "--min-gaussian-occupancy=0", "--mix-up=2", "diag", "one.acc", "out"
    )
    assert not Path("out").exists()


def test_numbers_out_of_range_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feats = "ark:feats.ark"
    assert "--n=0: want 1 Gaussian or more" in fails(capsys, "gmm-gselect", "--n=0", "diag", feats, "ark:out")
    assert "--min-post=1: want 0 to less than 1" in fails(
        capsys, "fgmm-global-gselect-to-post", "--min-post=1", "full", feats, "ark:gs", "ark:out"
    )
    init = "gmm-global-init-from-feats"
    for option in ("num-gauss", "num-frames", "num-threads"):
        assert f"--{option}=0: want 1 or more" in fails(capsys, init, f"--{option}=0", feats, "out")
    assert "65 frames are too few for 7 Gaussians" in fails(capsys, init, "--num-gauss=7", feats, "out")
    assert not Path("out").exists()


def test_start_keeps_a_random_part_of_the_frames(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init = ["gmm-global-init-from-feats", "--num-gauss=3", "--num-frames=50", "--num-iters=3"]
    for seed, name in ((1, "x"), (1, "y"), (2, "z")):
        assert main([*init, f"--srand={seed}", "--num-threads=2", "ark:feats.ark", name]) == 0
    assert Path("x").read_bytes() == Path("y").read_bytes() != Path("z").read_bytes()
    text = capsys.readouterr().err
    assert "LOG Kept 50 out of 65 input frames = 76.9231%." in text
    assert "LOG Initializing GMM means from random frames to 3 Gaussians." in text
    assert main([*init[:2], "ark:feats.ark", "x"]) == 0
    assert "WARNING Number of frames read 65 was less than target number 200000" in capsys.readouterr().err
    write_table("wide.ark", a=np.ones((9, 2)), b=np.ones((9, 3)))
    assert "ark:wide.ark: b: 3 dims where the features before have 2" in fails(capsys, init[0], "ark:wide.ark", "no")
