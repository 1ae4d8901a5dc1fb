"""kaldi-path: what is in the folder, where it lies, who may call it at once, and a recipe's scoring run through it."""

import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vouch.cli import TOOLS
from vouch.cli.kaldi_path import FAMILIES, executables, make_folder
from vouch.errors import VouchError
from vouch.io.tables import TableWriter

# The names of Kaldi's binaries that a speaker verification recipe calls; nothing else may be in the folder.
KALDI = set(
    """
    add-deltas apply-cmvn-sliding compute-eer compute-fbank-feats compute-mfcc-feats compute-vad
    compute-vad-from-frame-likes copy-feats copy-gselect copy-post copy-vector extract-segments feat-to-dim feat-to-len
    fgmm-global-acc-stats fgmm-global-copy fgmm-global-est fgmm-global-get-frame-likes fgmm-global-gselect-to-post
    fgmm-global-info fgmm-global-sum-accs fgmm-global-to-gmm fgmm-gselect gmm-global-acc-stats gmm-global-copy
    gmm-global-est gmm-global-get-frame-likes gmm-global-info gmm-global-init-from-feats gmm-global-sum-accs
    gmm-global-to-fgmm gmm-gselect ivector-adapt-plda ivector-compute-dot-products ivector-compute-lda
    ivector-compute-plda ivector-copy-plda ivector-extract ivector-extractor-acc-stats ivector-extractor-copy
    ivector-extractor-est ivector-extractor-init ivector-extractor-sum-accs ivector-mean ivector-normalize-length
    ivector-plda-scoring ivector-subtract-global-mean ivector-transform logistic-regression-copy
    logistic-regression-eval logistic-regression-train merge-vads scale-post select-voiced-frames subsample-feats
    transform-vec wav-copy wav-reverberate wav-to-duration
    """.split()  # noqa: SIM905
)
OURS = {"compute-min-dcf", "compute_min_dcf.py"}  # Kaldi's script, and the name of its tool here


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch) -> Path:
    """The places for the folder are under a fresh one; the virtual environment cannot be written."""
    base = tmp_path / "a place"
    (base / "tmp").mkdir(parents=True)
    (base / "venv").write_text("a file is no folder")
    monkeypatch.setattr(sys, "prefix", str(base / "venv"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "cache"))
    monkeypatch.setenv("TMPDIR", str(base / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    return base


def call(folder: Path, *words: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run([str(folder / words[0]), *words[1:]], capture_output=True, text=True, **more)


def test_names() -> None:
    names = set(executables())
    assert names <= KALDI | OURS and names >= OURS
    kaldis = {tool for tools in TOOLS.values() for tool in tools} & KALDI
    assert kaldis <= names
    assert not any(shutil.which(name, path="/bin:/usr/bin") for name in names)


def test_one_shell_line_each(elsewhere: Path) -> None:
    folder = make_folder(executables())
    assert sorted(os.listdir(folder)) == sorted(executables())
    assert folder.parent == elsewhere / "cache" / "vouch"
    for name in os.listdir(folder):
        assert os.access(folder / name, os.X_OK)
    done = call(folder, "feat-to-dim", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: vouch feat-to-dim")
    assert call(folder, "feat-to-dim", "--nothing").returncode == 1
    assert call(folder, "compute_min_dcf.py", "--help").stdout.startswith("usage: vouch compute-min-dcf")


def test_nothing_of_the_current_folder_or_the_environment_is_taken(elsewhere: Path, tmp_path: Path) -> None:
    folder = make_folder(executables())
    for name in ("vouch.py", "numpy.py", "queue.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')\n")
    (tmp_path / "f").write_text("a  [ 1 2\n  3 4 ]\n")
    bare = {"PATH": "/usr/bin:/bin"}
    done = call(folder, "feat-to-len", "ark:f", "ark,t:-", cwd=tmp_path, env=bare)
    assert (done.returncode, done.stdout) == (0, "a 2 \n"), done.stderr


def test_arguments_arrive_as_they_are(elsewhere: Path, tmp_path: Path) -> None:
    folder = make_folder(executables())
    (tmp_path / "a 'b\" $c").write_text("a  [ 1 2\n  3 4 ]\n")
    done = call(folder, "feat-to-dim", "ark:a 'b\" $c", "-", cwd=tmp_path)
    assert done.stdout == "2\n", done.stderr


def test_the_folder_stays_and_another_content_has_another(elsewhere: Path) -> None:
    folder = make_folder({"one": "#!/bin/sh\n"})
    before = (folder / "one").stat()
    assert make_folder({"one": "#!/bin/sh\n"}) == folder
    assert (folder / "one").stat().st_ino == before.st_ino
    assert make_folder({"one": "#!/bin/sh\n", "two": "#!/bin/sh\n"}) != folder
    assert make_folder({"one": "#!/bin/sh\n:\n"}) != folder
    assert sorted(p.name for p in folder.parent.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize("damage", ["removed", "changed", "not executable", "more"])
def test_a_damaged_folder_is_made_again(elsewhere: Path, damage: str) -> None:
    texts = {"one": "#!/bin/sh\necho 1\n", "two": "#!/bin/sh\necho 2\n"}
    folder = make_folder(texts)
    match damage:
        case "removed":
            (folder / "one").unlink()
        case "changed":
            (folder / "one").write_text("#!/bin/sh\necho 7\n")
        case "not executable":
            (folder / "one").chmod(0o644)
        case "more":
            (folder / "ls").write_text("")
    assert make_folder(texts) == folder
    assert sorted(os.listdir(folder)) == ["one", "two"] and call(folder, "one").stdout == "1\n"


def test_the_temporary_folder_is_the_last_place_and_only_ours(elsewhere: Path) -> None:
    (elsewhere / "cache").write_text("a file is no folder")
    folder = make_folder({"one": "#!/bin/sh\n"})
    own = elsewhere / "tmp" / f"vouch-{os.getuid()}"
    assert folder.parent == own and stat.S_IMODE(own.stat().st_mode) == 0o700
    own.chmod(0o777)  # someone else may have put things there
    with pytest.raises(VouchError, match="XDG_CACHE_HOME"):
        make_folder({"one": "#!/bin/sh\n"})


def test_a_place_with_a_colon_is_no_place(elsewhere: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere / "a:b"))
    assert make_folder({"one": "#!/bin/sh\n"}).is_relative_to(elsewhere / "tmp")


def test_many_at_once(elsewhere: Path) -> None:
    texts = {f"tool{number}": f"#!/bin/sh\necho {number}\n" for number in range(40)}
    with ThreadPoolExecutor(16) as pool:
        folders = set(pool.map(lambda _: make_folder(texts), range(64)))
    (folder,) = folders
    assert sorted(os.listdir(folder)) == sorted(texts) and os.listdir(folder.parent) == [folder.name]


def test_the_command_prints_the_folder_only(elsewhere: Path) -> None:
    environment = os.environ | {"HOME": str(elsewhere)}
    done = subprocess.run(
        [sys.executable, "-m", "vouch", "kaldi-path"], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    folder = Path(done.stdout.rstrip("\n"))
    assert set(os.listdir(folder)) == set(executables())


def test_families_are_there() -> None:
    assert set(FAMILIES) <= set(TOOLS)


# --- a recipe ---------------------------------------------------------------------------------------------------------

# The backend of egs/sre16, stages 8 and 9, with its pipes in tables; the names are those of the reference set.
RECIPE = r"""
set -euo pipefail
ivector-mean --binary=true scp:train.scp mean.vec
ivector-compute-lda --total-covariance-factor=0.0 --dim=10 \
  "ark:ivector-subtract-global-mean scp:train.scp ark:- |" ark:utt2spk transform.mat
ivector-compute-plda ark:spk2utt \
  "ark:ivector-subtract-global-mean scp:train.scp ark:- | transform-vec transform.mat ark:- ark:- | ivector-normalize-length ark:-  ark:- |" \
  plda
ivector-mean ark:enroll_spk2utt scp:enroll_utt.scp ark,scp:spk.ark,spk.scp ark,t:num_utts.ark
ivector-plda-scoring --normalize-length=true --num-utts=ark:num_utts.ark \
  "ivector-copy-plda --smoothing=0.0 plda - |" \
  "ark:ivector-mean ark:enroll_spk2utt scp:enroll_utt.scp ark:- | ivector-subtract-global-mean mean.vec ark:- ark:- | transform-vec transform.mat ark:- ark:- | ivector-normalize-length ark:- ark:- |" \
  "ark:ivector-subtract-global-mean mean.vec scp:test.scp ark:- | transform-vec transform.mat ark:- ark:- | ivector-normalize-length ark:- ark:- |" \
  "cat 'the trials' | cut -d\  --fields=1,2 |" scores
eer=$(paste 'the trials' scores | awk '{print $6, $3}' | compute-eer - 2>/dev/null)
mindcf=$(compute_min_dcf.py --p-target 0.01 scores 'the trials' 2>/dev/null)
echo "EER $eer minDCF $mindcf"
"""  # noqa: E501


def test_the_scoring_of_a_recipe(golden, elsewhere: Path, tmp_path: Path) -> None:
    import json

    inputs = np.load(golden / "backend" / "inputs.npz")
    for name in ("train", "test", "enroll_utt"):
        with TableWriter(f"ark,scp:{tmp_path}/{name}.ark,{tmp_path}/{name}.scp", "vector") as writer:
            for key, vector in zip(inputs[f"{name}_keys"], inputs[name], strict=True):
                writer.write(str(key), vector)
    for name in ("spk2utt", "enroll_spk2utt"):
        shutil.copy(golden / "backend" / name, tmp_path)
    shutil.copy(golden / "backend" / "trials", tmp_path / "the trials")
    lines = (tmp_path / "spk2utt").read_text().splitlines()
    pairs = sorted((utterance, line.split()[0]) for line in lines for utterance in line.split()[1:])
    (tmp_path / "utt2spk").write_text("".join(f"{utterance} {speaker}\n" for utterance, speaker in pairs))
    environment = {"PATH": f"{make_folder(executables())}:/usr/bin:/bin", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", RECIPE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.array([float(line.split()[2]) for line in (tmp_path / "scores").read_text().splitlines()])
    np.testing.assert_allclose(found, np.load(golden / "backend" / "scores.npz")["recipe"], atol=2e-4, rtol=0)
    expected = json.loads((golden / "metrics" / "score_sets.json").read_text())["recipe"]
    assert done.stdout == f"EER {expected['eer_percent']:g} minDCF {expected['mindcf_0.01']:.4f}\n"
