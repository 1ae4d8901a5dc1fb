"""copy-gselect, copy-post and scale-post: what they write, their log lines and messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.tables import read_table

POSTERIORS = "a [ 3 0.5 1 0.25 ] [ ] [ 7 1 ] \nb [ 2 0.1 ] \n"
SELECTIONS = "a 3 1 2 ; ; 7 8 ; \nb 2 ; \n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("post").write_text(POSTERIORS)
    Path("gselect").write_text(SELECTIONS)
    return tmp_path


def test_copies_are_the_same_in_both_forms(folder, capfd):
    assert main(["copy-post", "ark:post", "ark:post.ark"]) == 0
    assert "LOG Done copying 2 posteriors.\n" in capfd.readouterr().err
    assert main(["copy-post", "ark:post.ark", "ark,t:post.txt"]) == 0
    assert Path("post.txt").read_text() == POSTERIORS
    assert main(["copy-gselect", "ark:gselect", "ark,scp:gselect.ark,gselect.scp"]) == 0
    assert "LOG Copied 2 gselect objects\n" in capfd.readouterr().err
    assert main(["copy-gselect", "scp:gselect.scp", "ark,t:gselect.txt"]) == 0
    assert Path("gselect.txt").read_text() == SELECTIONS


def test_kaldi_posteriors_are_copied_byte_for_byte(golden_training, folder):
    assert main(["copy-post", f"ark:{golden_training}/post.ark", "ark:x"]) == 0
    assert Path("x").read_bytes() == (golden_training / "post.ark").read_bytes()


@pytest.mark.parametrize("count, kept", [(1, "3 ; ; 7 ;"), (2, "3 1 ; ; 7 8 ;"), (5, "3 1 2 ; ; 7 8 ;")])
def test_the_first_of_each_frame_are_kept(folder, capfd, count, kept):
    assert main(["copy-gselect", f"--n={count}", "ark:gselect", "ark,t:x"]) == 0
    assert Path("x").read_text() == f"a {kept} \nb 2 ; \n"
    assert f"LOG Copied 2 gselect objects, limiting sizes to {count}\n" in capfd.readouterr().err


def test_one_scale_for_all(folder, capfd):
    assert main(["scale-post", "ark:post", "0.5", "ark,t:x"]) == 0
    assert Path("x").read_text() == "a [ 3 0.25 1 0.125 ] [ ] [ 7 0.5 ] \nb [ 2 0.05 ] \n"
    assert "LOG Done 2 posteriors;  0 had no scales.\n" in capfd.readouterr().err
    assert main(["copy-post", "--scale=0.5", "ark:post", "ark,t:y"]) == 0
    assert Path("y").read_text() == Path("x").read_text()


def test_scaling_is_in_single_precision(folder):
    assert main(["scale-post", "ark:post", "0.3", "ark:x"]) == 0
    weights = dict(read_table("ark:x", "posterior"))["b"].weights
    assert weights.dtype == np.float32 and weights[0] == np.float32(0.1) * np.float32(0.3)


def test_the_scale_0_takes_every_entry_out(folder):
    assert main(["scale-post", "ark:post", "0", "ark,t:x"]) == 0
    assert Path("x").read_text() == "a [ ] [ ] [ ] \nb [ ] \n"


def test_a_table_of_scales(folder, capfd):
    Path("scales").write_text("b 10\n")
    assert main(["scale-post", "ark:post", "ark:scales", "ark,t:x"]) == 0
    assert Path("x").read_text() == "b [ 2 1 ] \n"
    err = capfd.readouterr().err
    assert "WARNING ark:scales has no scale for a\n" in err and "LOG Done 1 posteriors;  1 had no scales.\n" in err


@pytest.mark.parametrize(
    "argv, says",
    [
        (["copy-gselect", "--n=-1", "ark:gselect", "ark:x"], "--n=-1: give the number"),
        (["copy-gselect", "ark:none", "ark:x"], "ark:none has no selections"),
        (["copy-gselect", "ark:post", "ark:x"], "post: key 'a': cannot read a gselect"),
        (["copy-post", "ark:none", "ark:x"], "ark:none has no posteriors"),
        (["copy-post", "ark:gselect", "ark:x"], "gselect: key 'a': cannot read a posterior"),
        (["scale-post", "ark:post", "scales", "ark:x"], "'scales' is neither a number nor a table"),
        (["scale-post", "ark:post", "ark:none", "ark:x"], "no utterance of ark:post"),
    ],
)
def test_errors_leave_no_output(folder, capfd, argv, says):
    Path("none").touch()
    assert main(argv) == 1
    [error] = [line for line in capfd.readouterr().err.splitlines() if ": error: " in line]
    assert says in error and not Path("x").exists()
