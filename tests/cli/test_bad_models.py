"""Damaged and unfitting models, statistics and tables: one line that names them, no output, no numpy warning."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.gmm import read_diag_gmm, read_diag_stats, read_full_stats, write_diag_gmm, write_full_gmm
from vouch.io.ivector_extractor import read_ivector_extractor, write_ivector_extractor
from vouch.io.plda import read_plda, write_plda
from vouch.io.ragged import Posterior, Selection
from vouch.io.tables import TableWriter, read_table

G, D = 3, 4


def run(*words: str) -> int:
    return main([words[0], "--print-args=false", *words[1:]])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features, a selection, posteriors, a model of each kind and the statistics of each."""
    folder = tmp_path_factory.mktemp("models")
    before = os.getcwd()
    os.chdir(folder)
    rng = np.random.default_rng(0)
    try:
        with (
            TableWriter("ark:feats") as feats,
            TableWriter("ark:gselect", "gselect") as gselect,
            TableWriter("ark:post", "posterior") as posts,
        ):
            for n in range(8):
                frames = 60 + n
                feats.write(f"u{n}", rng.standard_normal((frames, D)).astype(np.float32))
                offsets = np.arange(0, 2 * frames + 1, 2)
                pairs = np.stack([rng.permutation(G)[:2] for _ in range(frames)]).ravel()
                gselect.write(f"u{n}", Selection(offsets, pairs))
                posts.write(f"u{n}", Posterior(offsets, pairs, np.full(2 * frames, 0.5, np.float32)))
        write_diag_gmm("diag", np.full(G, 1 / G), np.zeros(G), rng.standard_normal((G, D)), np.ones((G, D)))
        assert run("gmm-global-to-fgmm", "diag", "full") == 0
        assert run("gmm-global-acc-stats", "diag", "ark:feats", "diag.acc") == 0
        assert run("fgmm-global-acc-stats", "full", "ark:feats", "full.acc") == 0
        for name, use in (("ie", "false"), ("wie", "true")):
            assert run("ivector-extractor-init", "--ivector-dim=2", f"--use-weights={use}", "full", name) == 0
            assert run("ivector-extractor-acc-stats", name, "ark:feats", "ark:post", f"{name}.acc") == 0
        write_plda("plda", rng.standard_normal(3), np.eye(3) + rng.standard_normal((3, 3)) / 9, np.array([3.0, 2, 1]))
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # the tools set them
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a tool that must fail, and leave no file named out."""
    capsys.readouterr()
    assert run(*words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"vouch {words[0]}: error: ")
    assert not Path("out").exists()
    return lines[-1]


# (command line, the input to damage)
TOOLS = [
    ("gmm-global-acc-stats bad ark:feats out", "diag"),
    ("gmm-global-est bad diag.acc out", "diag"),
    ("gmm-global-est diag bad out", "diag.acc"),
    ("gmm-global-get-frame-likes bad ark:feats ark:out", "diag"),
    ("gmm-global-get-frame-likes diag ark:bad ark:out", "feats"),
    ("gmm-gselect --n=2 diag ark:bad ark:out", "feats"),
    ("fgmm-global-acc-stats --gselect=ark:bad full ark:feats out", "gselect"),
    ("fgmm-global-est full bad out", "full.acc"),
    ("fgmm-global-est bad full.acc out", "full"),
    ("fgmm-global-gselect-to-post bad ark:feats ark:gselect ark:out", "full"),
    ("ivector-extractor-init --ivector-dim=2 bad out", "full"),
    ("ivector-extractor-acc-stats bad ark:feats ark:post out", "ie"),
    ("ivector-extractor-acc-stats bad ark:feats ark:post out", "wie"),
    ("ivector-extractor-acc-stats ie ark:feats ark:bad out", "post"),
    ("ivector-extractor-est bad ie.acc out", "ie"),
    ("ivector-extractor-est ie bad out", "ie.acc"),
    ("ivector-extractor-est wie bad out", "wie.acc"),
    ("ivector-extract bad ark:feats ark:post ark:out", "ie"),
    ("ivector-extract bad ark:feats ark:post ark:out", "wie"),
    ("scale-post ark:bad 0.5 ark:out", "post"),
    ("copy-gselect ark:bad ark:out", "gselect"),
    ("ivector-copy-plda --smoothing=0 bad out", "plda"),
]


@pytest.mark.parametrize(("line", "good"), TOOLS)
def test_damage_is_an_error_or_an_answer(here: Path, line: str, good: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut off anywhere before its last byte, a file is an error; with changed bytes it is that, or read."""
    data = Path(good).read_bytes()
    numbers = random.Random(line)
    cuts = [0, 1, 2, 6, *(numbers.randrange(len(data) - 1) for _ in range(6))]
    damaged = [(data[:cut], False) for cut in cuts]
    for changes in [1, 1, 1, 1, 2, 5, 20] * 3:
        mine = bytearray(data)
        for _ in range(changes):
            mine[numbers.randrange(len(mine))] = numbers.choice([0x7F, 0xFF, 0, numbers.randrange(256)])
        damaged.append((bytes(mine), True))
    spaces = [place for place in range(len(data) - 10) if data[place : place + 1] == b" "]
    for place in spaces[:: max(1, len(spaces) // 12)]:  # a large exponent among the numbers behind a word
        damaged.append((data[: place + 9] + b"\x7e" + data[place + 10 :], True))
    for content, answers in damaged:
        Path("bad").write_bytes(content)
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            code = run(*line.split())
        error = capsys.readouterr().err
        if code == 0:
            assert answers or good in ("post", "gselect", "feats") and not content.strip(), line
            Path("out").unlink()
        else:
            last = error.splitlines()[-1]
            assert code == 1 and ": error: " in last and "bad" in last
        assert not [name for name in os.listdir() if name.startswith("out")]


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e200])
def test_numbers_no_model_has_are_named(here: Path, number: float, capsys: pytest.CaptureFixture[str]) -> None:
    extractor = read_ivector_extractor("ie")
    extractor.projections[1, 2, 0] = number
    write_ivector_extractor("bad", extractor)
    last = fails(capsys, "ivector-extract", "bad", "ark:feats", "ark:post", "ark:out")
    assert f"bad is not an i-vector extractor: its projections hold the number {number:g}" in last
    mean, transform, psi = read_plda("plda")
    transform[0, 0] = number
    write_plda("bad", mean, transform, psi)
    last = fails(capsys, "ivector-copy-plda", "bad", "out")
    assert f"bad is not a PLDA model: its transform hold the number {number:g}" in last


def test_a_negative_variance_between_speakers_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mean, transform, _ = read_plda("plda")
    write_plda("bad", mean, transform, np.array([1.0, 2, -3]))
    assert "its psi, variances between speakers, hold the number -3" in fails(capsys, "ivector-copy-plda", "bad", "out")


def test_infinite_means_are_no_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, gconsts, means, inv_vars = read_diag_gmm("diag")
    means[1, 0] = np.inf
    write_diag_gmm("bad", weights, gconsts, means, inv_vars)
    assert "bad is not a diagonal GMM: its means hold the number inf" in fails(capsys, "gmm-global-copy", "bad", "out")
    write_full_gmm("bad", weights, gconsts, means, np.stack([np.eye(D)] * G))
    assert "bad is not a full-covariance GMM: Gaussian 1 has a likelihood that is not a number" in fails(
        capsys, "fgmm-global-copy", "bad", "out"
    )


@pytest.mark.parametrize("kind", ["gmm", "fgmm"])
def test_statistics_of_no_frame_give_no_model(here: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with TableWriter("ark:zeros", "vector") as writer:
        for key, features in read_table("ark:feats"):
            writer.write(key, np.zeros(len(features), np.float32))
    model = "diag" if kind == "gmm" else "full"
    assert run(f"{kind}-global-acc-stats", "--weights=ark:zeros", model, "ark:feats", "acc") == 0
    assert "acc for " + model + ": the statistics are of no frame at all" in fails(
        capsys, f"{kind}-global-est", model, "acc", "out"
    )


@pytest.mark.parametrize("kind", ["gmm", "fgmm"])
def test_sums_without_means_keep_the_dimension(here: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Kaldi writes the dimension of the features in any case; statistics of other features are not summed."""
    model = "diag" if kind == "gmm" else "full"
    read = read_diag_stats if kind == "gmm" else read_full_stats
    assert run(f"{kind}-global-acc-stats", "--update-flags=w", model, "ark:feats", "w.acc") == 0
    assert run(f"{kind}-global-sum-accs", "sum.acc", "w.acc", "w.acc") == 0
    summed, one = read("sum.acc"), read("w.acc")
    assert (summed.dims, summed.means, summed.second_order) == (D, None, None)
    np.testing.assert_allclose(summed.occupancy, 2 * one.occupancy, rtol=1e-6)
    other = Path("w.acc").read_bytes().replace(b"<VECSIZE> \4\4", b"<VECSIZE> \4\5")
    Path("other.acc").write_bytes(other)
    assert f"{G} Gaussians, 5 dims" in fails(capsys, f"{kind}-global-sum-accs", "out", "w.acc", "other.acc")


def test_frames_beyond_single_precision_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Likelihoods of such frames are infinite in Kaldi; here they would be numbers of no use."""
    with TableWriter("ark:large") as writer:
        for key, features in read_table("ark:feats"):
            features = features.copy()
            features[7, 1] = 1e25 if key == "u5" else features[7, 1]
            writer.write(key, features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for line in (
            "gmm-gselect --n=2 diag ark:large ark:out",
            "gmm-global-acc-stats diag ark:large out",
            "fgmm-global-acc-stats full ark:large out",
            "gmm-global-get-frame-likes diag ark:large ark:out",
        ):
            assert "ark:large: u5 has NaN, infinity or a number beyond 1.8e+19 in frame 7" in fails(
                capsys, *line.split()
            )
        for line in (
            "gmm-global-init-from-feats --num-gauss=2 ark:large out",
            "ivector-extract ie ark:large ark:post ark:out",
            "ivector-extractor-acc-stats ie ark:large ark:post out",
        ):
            last = fails(capsys, *line.split())
            assert "ark:large" in last and "u5" in last and "1.8e+19" in last


def test_posteriors_of_another_model_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TableWriter("ark:others", "posterior") as writer:
        for key, posterior in read_table("ark:post", "posterior"):
            writer.write(key, posterior._replace(indices=posterior.indices + (key == "u3")))
    for words in (
        ("ivector-extract", "ie", "ark:feats", "ark:others", "ark:out"),
        ("ivector-extractor-acc-stats", "ie", "ark:feats", "ark:others", "out"),
    ):
        last = fails(capsys, *words)
        assert "ark:feats with ark:others for ie: utterance 'u3' has posteriors of Gaussians 1 to 3" in last


def test_weights_that_are_not_numbers_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TableWriter("ark:weights", "vector") as writer:
        for key, features in read_table("ark:feats"):
            writer.write(key, np.where(np.arange(len(features)) == 5, np.nan, 1).astype(np.float32))
    last = fails(capsys, "gmm-global-acc-stats", "--weights=ark:weights", "diag", "ark:feats", "out")
    assert "ark:weights: u0 has NaN or infinity for frame 5" in last


def test_a_scale_that_is_no_number_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nan: the scale of u0 is nan" in fails(capsys, "scale-post", "ark:post", "nan", "ark:out")


def test_a_failing_command_inside_a_table_fails_the_tool(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where it fails before, in the midst of and after its data."""
    for line in (
        ("gmm-gselect", "--n=2", "diag", "ark:exit 3 |", "ark:out"),
        ("gmm-gselect", "--n=2", "diag", "ark:head -c 700 feats; exit 3 |", "ark:out"),
        ("gmm-gselect", "--n=2", "diag", "ark:cat feats; exit 3 |", "ark:out"),
        ("gmm-gselect", "--n=2", "cat diag; exit 3 |", "ark:feats", "ark:out"),
        ("gmm-gselect", "--n=2", "diag", "ark:cat feats | (cat; exit 3) | cat |", "ark:out"),
        ("gmm-gselect", "--n=2", "diag", "ark:feats", "ark:| cat >/dev/null; exit 3"),
        ("ivector-extract", "ie", "ark:feats", "ark:head -c 5000 post; exit 3 |", "ark:out"),
        ("ivector-extractor-sum-accs", "--parallel=true", "ie.acc", "cat ie.acc; exit 3 |", "out"),
    ):
        assert "exit code 3" in fails(capfd, *line)


@pytest.mark.parametrize(("line", "closed"), [("diag - >&-", "output"), ("- out <&-", "input")])
def test_closed_standard_streams_are_named(here: Path, root: Path, line: str, closed: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m vouch gmm-global-copy {line}"
    environment = {**os.environ, "PYTHONPATH": str(root / "pysrc")}
    ended = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"vouch gmm-global-copy: error: standard {closed} is closed" in ended.stderr.splitlines()[-1]
    printed = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m vouch gmm-global-copy 'cat diag |' out >&-"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (printed.returncode, Path("out").exists()) == (0, True), printed.stderr


def test_a_variance_of_zero_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TableWriter("ark:flat") as writer:
        for key, features in read_table("ark:feats"):
            writer.write(key, features * 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run("gmm-global-acc-stats", "diag", "ark:flat", "flat.acc") == 0
        last = fails(capsys, "gmm-global-est", "--min-variance=0", "diag", "flat.acc", "out")
        assert "flat.acc for diag: the constant of Gaussian 0 is not a number: a variance of 0" in last
        assert run("fgmm-global-acc-stats", "full", "ark:flat", "flat.acc") == 0
        last = fails(capsys, "fgmm-global-est", "--variance-floor=0", "full", "flat.acc", "out")
        assert "the covariance of Gaussian 0 is singular" in last and "--variance-floor" in last


def test_signalling_nan_is_passed_over_by_gselect_to_post(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = np.array(dict(read_table("ark:feats"))["u1"])
    features.view(np.uint32)[3, 2] = 0x7FA00000
    data = Path("feats").read_bytes()
    Path("bad").write_bytes(data.replace(dict(read_table("ark:feats"))["u1"].tobytes(), features.tobytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run("fgmm-global-gselect-to-post", "full", "ark:bad", "ark:gselect", "ark:out") == 0
    assert "WARNING Skipping utterance u1 because bad posterior-sum" in capsys.readouterr().err
    assert [key for key, _ in read_table("ark:out", "posterior")] == ["u0", *(f"u{n}" for n in range(2, 8))]


@pytest.mark.parametrize("change", [b"\r\n", b"\n\n"])
def test_text_models_with_other_line_ends_are_read(here: Path, change: bytes) -> None:
    """Text that went through another system, or an editor, gives the model it gave before."""
    for tool, name in (
        ("gmm-global-copy", "diag"),
        ("fgmm-global-copy", "full"),
        ("ivector-extractor-copy", "ie"),
        ("ivector-extractor-copy", "wie"),
        ("ivector-copy-plda", "plda"),
    ):
        assert run(tool, "--binary=false", name, "text") == 0
        text = Path("text").read_bytes()
        assert run(tool, "text", "wanted") == 0
        Path("text").write_bytes(text.replace(b"\n", change))
        assert run(tool, "text", "found") == 0
        assert Path("found").read_bytes() == Path("wanted").read_bytes()


@pytest.mark.parametrize("change", [b"\r\n", b"\n\n"])
@pytest.mark.parametrize(
    ("kind", "tool", "name"), [("posterior", "copy-post", "post"), ("gselect", "copy-gselect", "gselect")]
)
def test_text_tables_with_other_line_ends_are_read(here: Path, kind: str, tool: str, name: str, change: bytes) -> None:
    assert run(tool, f"ark:{name}", "ark,t:text") == 0
    Path("text").write_bytes(Path("text").read_bytes().replace(b"\n", change))
    assert run(tool, "ark:text", "ark:found") == 0
    assert Path("found").read_bytes() == Path(name).read_bytes()


def test_a_text_table_cut_off_between_frames_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tool, name, end in (("copy-post", "post", b"] "), ("copy-gselect", "gselect", b"; ")):
        assert run(tool, f"ark:{name}", "ark,t:text") == 0
        text = Path("text").read_bytes()
        Path("bad").write_bytes(text[: text.rindex(end, 0, -10) + 2])
        assert "the line does not end with a newline" in fails(capsys, tool, "ark:bad", "ark:out")
