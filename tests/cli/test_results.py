"""check-trials, evaluate and make-results: pairs, not lines; the same bytes; one error line."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.tables import TableWriter

COLUMNS = ["system", "backend", "trials", "targets", "nontargets"]
COLUMNS += ["EER", "EER_low", "EER_high", "minDCF01", "minDCF001"]


@pytest.fixture
def scored(tmp_path):
    """trials and scores of 8 models x 24 tests, three tests a speaker, in two different orders."""
    generator = np.random.default_rng(0)
    trials, scores = [], []
    for model in range(8):
        for test in range(24):
            target = test // 3 == model
            trials.append(f"m{model} t{test:02d} {'target' if target else 'nontarget'}\n")
            scores.append(f"m{model} t{test:02d} {generator.normal() + 2 * target:.5f}\n")
    (tmp_path / "trials").write_text("".join(trials))
    (tmp_path / "scores").write_text("".join(generator.permutation(scores)))
    return tmp_path


def evaluate(folder, *options, row="row.tsv") -> int:
    return main(["evaluate", *options, f"{folder}/trials", f"{folder}/scores", f"{folder}/{row}"])


def error_of(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1
    return lines[0]


# --- check-trials -----------------------------------------------------------------------------------------------------


def write_table(path, keys) -> str:
    with TableWriter(f"ark,scp:{path}.ark,{path}.scp", "vector") as writer:
        for key in keys:
            writer.write(key, np.ones(2, dtype=np.float32))
    return f"scp:{path}.scp"


def test_check_trials_lists_every_missing_key_once(tmp_path, capsys):
    enroll, test = write_table(tmp_path / "enroll", ["m1", "m2"]), write_table(tmp_path / "test", ["t1"])
    (tmp_path / "trials").write_text("m1 t1 target\nm2 t9 nontarget\nm3 t8 target\nm3 t9 target\n")
    assert main(["check-trials", f"{tmp_path}/trials", enroll, test]) == 1
    captured = capsys.readouterr()
    assert captured.out == "enrollment m3\ntest t8\ntest t9\n"
    assert "1 of 3 enrollment keys (m3 in" in captured.err and "trials:3) are not in" in captured.err
    assert "2 of 3 test keys (t8 in" in captured.err
    assert main(["check-trials", "--num-listed=1", f"{tmp_path}/trials", enroll, test]) == 1
    assert capsys.readouterr().out == "enrollment m3\ntest t8\n# and 1 more test keys\n"
    (tmp_path / "trials").write_text("m1 t1\nm2 t1\n")
    for tables in ((enroll, test), (f"ark:{tmp_path}/enroll.ark", f"ark:{tmp_path}/test.ark")):
        assert main(["check-trials", f"{tmp_path}/trials", *tables]) == 0


def test_check_trials_reads_only_the_keys_of_a_script_file(tmp_path):
    (tmp_path / "enroll.scp").write_text("m1 /nowhere/embedding.ark:5\n")
    (tmp_path / "trials").write_text("m1 m1 target\n")
    table = f"scp:{tmp_path}/enroll.scp"
    assert main(["check-trials", f"{tmp_path}/trials", table, table]) == 0


@pytest.mark.parametrize(
    "trials, says", [("m1 t1 yes\n", "trials:1: the label is 'yes'"), ("m1\n", "trials:1"), ("", "no trials")]
)
def test_check_trials_refuses_malformed_lists(tmp_path, capsys, trials, says):
    table = write_table(tmp_path / "table", ["m1", "t1"])
    (tmp_path / "trials").write_text(trials)
    assert main(["check-trials", f"{tmp_path}/trials", table, table]) == 1
    assert says in error_of(capsys)


# --- evaluate ---------------------------------------------------------------------------------------------------------


def test_row_agrees_with_compute_eer_whatever_the_order(scored, capsys):
    assert evaluate(scored, "--system=xvector", "--backend=plda", "--trials-name=source") == 0
    header, row = (scored / "row.tsv").read_text().splitlines()
    assert header.split("\t") == COLUMNS
    cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert row.split("\t")[:5] == ["xvector", "plda", "source", "24", "168"]
    label_of = {tuple(line.split()[:2]): line.split()[2] for line in (scored / "trials").read_text().splitlines()}
    lines = [line.split() for line in (scored / "scores").read_text().splitlines()]
    (scored / "labelled").write_text("".join(f"{s} {label_of[m, t]}\n" for m, t, s in lines))
    capsys.readouterr()
    assert main(["compute-eer", f"{scored}/labelled"]) == 0
    assert float(cells["EER"]) == pytest.approx(float(capsys.readouterr().out), abs=0.005)
    assert float(cells["EER_low"]) <= float(cells["EER"]) <= float(cells["EER_high"])
    assert float(cells["EER_low"]) < float(cells["EER_high"])
    with np.load(scored / "row.det.npz") as points:
        assert points["p_fa"][0] == 1 and points["p_miss"][0] == 0
        assert points["p_fa"][-1] == 0 and points["p_miss"][-1] == 1


def test_evaluation_is_repeatable(scored):
    assert evaluate(scored, row="a.tsv") == evaluate(scored, row="b.tsv") == 0
    assert (scored / "a.tsv").read_bytes() == (scored / "b.tsv").read_bytes()
    assert (scored / "a.det.npz").read_bytes() == (scored / "b.det.npz").read_bytes()
    assert evaluate(scored, "--seed=1", "--num-samples=50", row="c.tsv") == 0
    assert (scored / "c.tsv").read_text() != (scored / "a.tsv").read_text()


@pytest.mark.parametrize("change, says", [
    (lambda t, s: (t, s[1:]), "has the trial '"),
    (lambda t, s: (t[1:], s), "has a score of 'm0 t00', which is no trial"),
    (lambda t, s: (t, [*s, "m9 t00 1\n"]), "scores:193: no trial 'm9 t00'"),
    (lambda t, s: (t, [*s, s[0]]), "comes twice"),
    (lambda t, s: ([*t, t[5]], s), "trials: the pair 'm0 t05' comes twice"),
    (lambda t, s: (t, [s[0].rsplit(" ", 1)[0] + " nan\n", *s[1:]]), "scores:1: the score is NaN"),
    (lambda t, s: (t, [s[0].rsplit(" ", 1)[0] + " high\n", *s[1:]]), "scores:1: the score 'high' is not a number"),
    (lambda t, s: ([line.replace("nontarget", "target") for line in t], s), "192 target and 0 nontarget trials"),
    (lambda t, s: (["m0 t00\n", *t[1:]], s), "trials:1"),
])  # fmt: skip
def test_lists_that_do_not_agree_are_refused(scored, capsys, change, says):
    lists = [(scored / name).read_text().splitlines(keepends=True) for name in ("trials", "scores")]
    for name, lines in zip(("trials", "scores"), change(*lists), strict=True):
        (scored / name).write_text("".join(lines))
    assert evaluate(scored) == 1
    assert says in error_of(capsys)
    assert not (scored / "row.tsv").exists() and not (scored / "row.det.npz").exists()


def test_names_must_fit_in_a_table(scored, capsys):
    assert evaluate(scored, "--system=my system") == 1
    assert "--system='my system'" in error_of(capsys)
    assert evaluate(scored, row="row.txt") == 1
    assert "ends in .tsv" in error_of(capsys)


# --- make-results -----------------------------------------------------------------------------------------------------


def rows_of(scored) -> list[str]:
    paths = []
    for system in ("xvector", "asp"):
        for trials in ("target", "source"):
            path = f"{system}.{trials}.tsv"
            assert evaluate(scored, f"--system={system}", "--backend=cosine", f"--trials-name={trials}", row=path) == 0
            paths.append(str(scored / path))
    return paths


def test_results_are_sorted_and_the_same_twice(scored, capsys):
    paths = rows_of(scored)
    first, second = scored / "results", scored / "again" / "results"
    assert main(["make-results", str(first), *paths]) == 0
    printed = capsys.readouterr().out
    assert main(["make-results", str(second), *paths[::-1]]) == 0
    names = sorted(path.name for path in first.iterdir())
    assert names == ["EER", "det_source.png", "det_target.png", "results.tsv"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    table = (first / "EER").read_text()
    assert printed == table
    lines = table.splitlines()
    assert lines[0].split() == ["#", *COLUMNS]
    assert [line.split()[:5] for line in lines[1:]] == [
        ["asp", "cosine", "source", "24", "168"],
        ["xvector", "cosine", "source", "24", "168"],
        ["asp", "cosine", "target", "24", "168"],
        ["xvector", "cosine", "target", "24", "168"],
    ]
    tsv = [line.split("\t") for line in (first / "results.tsv").read_text().splitlines()]
    assert [row[:5] for row in tsv[1:]] == [line.split()[:5] for line in lines[1:]]
    assert float(tsv[1][5]) == pytest.approx(float(lines[1].split()[5]), abs=0.005)


def test_columns_that_a_recipe_adds_are_kept(scored):
    paths = rows_of(scored)
    header, row = (scored / "asp.source.tsv").read_text().splitlines()
    (scored / "asp.source.tsv").write_text(f"{header}\tactDCF\n{row}\t0.5\n")
    assert main(["make-results", f"{scored}/results", *paths]) == 0
    lines = [line.split() for line in (scored / "results" / "EER").read_text().splitlines()]
    assert [line[-1] for line in lines] == ["actDCF", "0.5", "-", "-", "-"]


def test_bad_rows_are_refused_and_nothing_is_written(scored, capsys):
    paths = rows_of(scored)
    capsys.readouterr()
    assert main(["make-results", f"{scored}/results", paths[0], paths[0]]) == 1
    assert "are both of target xvector cosine" in error_of(capsys)
    (scored / "bad.tsv").write_text("system\tEER\nasp\t3\n")
    assert main(["make-results", f"{scored}/results", paths[0], f"{scored}/bad.tsv"]) == 1
    assert "bad.tsv is not a row" in error_of(capsys)
    (scored / "asp.source.det.npz").write_bytes(b"PK\3\4 damaged")
    assert main(["make-results", f"{scored}/results", *paths]) == 1
    assert "asp.source.det.npz does not hold DET points" in error_of(capsys)
    assert not (scored / "results").exists()


def test_further_priors(scored, capsys):
    assert evaluate(scored, "--p-targets=0.05,.2") == 0
    header, row = [line.split("\t") for line in (scored / "row.tsv").read_text().splitlines()]
    assert header == [*COLUMNS, "minDCF05", "minDCF2"]
    capsys.readouterr()
    for name, p_target in (("minDCF05", "0.05"), ("minDCF2", "0.2")):
        words = [f"--p-target={p_target}", "--c-miss=1", "--c-fa=1", f"{scored}/scores", f"{scored}/trials"]
        assert main(["compute-min-dcf", *words]) == 0
        assert float(row[header.index(name)]) == pytest.approx(float(capsys.readouterr().out.split()[0]), abs=1e-4)
    assert main(["make-results", f"{scored}/results", f"{scored}/row.tsv"]) == 0
    assert (scored / "results" / "EER").read_text().splitlines()[0].split()[-2:] == ["minDCF05", "minDCF2"]


@pytest.mark.parametrize("priors", ["0.01", "1.5", "0", "x", "0.05,0.05"])
def test_further_priors_that_are_none(scored, capsys, priors):
    assert evaluate(scored, f"--p-targets={priors}") == 1
    assert "want numbers between 0 and 1" in error_of(capsys)
