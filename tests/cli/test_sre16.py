"""evaluate-sre16: rows of all trials and of each language, what is refused; the table with published rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vouch.cli import main
from vouch.cli.result_rows import COLUMNS
from vouch.metrics.cllr import cllr, minimum_cllr
from vouch.metrics.equalised import (
    actual_primary_cost,
    equalised_eer,
    equalised_error_rates,
    minimum_primary_cost,
)

HEADER = "model\tsegment\ttarget\tgender\tlanguage\tenrollment_segments\tphone_match"
MORE = ["eqEER", "minCprimary", "actCprimary", "actCprimary_uneq", "Cllr", "minCllr"]


@pytest.fixture
def scored(tmp_path):
    """info.tsv and scores of 12 models (half of them women, half of them tgl, a third of 3 segments) x 36 segments, in
    two orders; (folder, list of (model, segment, target, the four properties, score))."""
    generator = np.random.default_rng(0)
    trials = []
    for model, segment in itertools.product(range(12), range(36)):
        target = segment // 3 == model
        if model % 2 != segment // 3 % 2 or model // 6 != segment // 18:
            continue  # within gender and language only
        phone = "same" if target and segment % 3 == 0 else "different"
        properties = ("mf"[model % 2], ("tgl", "yue")[model // 6], "13"[model % 3 == 0], phone)
        score = generator.normal() * 3 + (5 if target else -5) + 3 * (model // 6)
        trials.append((f"m{model}", f"s{segment}", target, *properties, round(score, 4)))
    write(tmp_path, trials)
    return tmp_path, trials


def write(folder, trials):
    lines = ["\t".join([m, s, "target" if t else "nontarget", *rest]) for m, s, t, *rest, _ in trials]
    (folder / "info.tsv").write_text("\n".join([HEADER, *lines]) + "\n")
    scores = [f"{trial[0]} {trial[1]} {trial[-1]}\n" for trial in trials]
    (folder / "scores").write_text("".join(np.random.default_rng(1).permutation(scores)))


def evaluate(folder, *options, row="row.tsv") -> int:
    return main(["evaluate-sre16", "--trials-name=sre16", "--num-samples=100", *options,
                 f"{folder}/info.tsv", f"{folder}/scores", f"{folder}/{row}"])  # fmt: skip


def rows_in(path) -> list[dict[str, str]]:
    header, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


def error_of(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1
    return lines[0]


def test_rows_of_all_and_of_each_language(scored):
    folder, trials = scored
    assert evaluate(folder, "--system=xvector", "--backend=plda") == 0
    rows = rows_in(folder / "row.tsv")
    assert list(rows[0]) == [*COLUMNS, *MORE]
    assert [row["trials"] for row in rows] == ["sre16", "sre16_tgl", "sre16_yue"]
    for row, language in zip(rows, (None, "tgl", "yue"), strict=True):
        own = [trial for trial in trials if language in (None, trial[4])]
        is_target, scores = np.array([trial[2] for trial in own]), np.array([trial[-1] for trial in own])
        partitions = [" ".join(trial[3:7]) for trial in own]
        partition = np.array([sorted(set(partitions)).index(name) for name in partitions])
        rates = equalised_error_rates(scores, is_target, partition)
        wanted = {
            "targets": is_target.sum(),
            "nontargets": (~is_target).sum(),
            "eqEER": 100 * equalised_eer(rates),
            "minCprimary": minimum_primary_cost(rates),
            "actCprimary": actual_primary_cost(scores, is_target, partition),
            "actCprimary_uneq": actual_primary_cost(scores, is_target, np.zeros(len(own))),
            "Cllr": cllr(scores[is_target], scores[~is_target]),
            "minCllr": minimum_cllr(scores[is_target], scores[~is_target]),
        }
        assert {name: float(row[name]) for name in wanted} == pytest.approx(wanted, abs=5.1e-5)
        assert wanted["actCprimary"] != pytest.approx(wanted["actCprimary_uneq"], rel=0.01)
        # what evaluate says of the same trials
        lines = [f"{m} {s} {'target' if t else 'nontarget'}\n" for m, s, t, *_ in own]
        (folder / "trials").write_text("".join(lines))
        (folder / "own").write_text("".join(f"{trial[0]} {trial[1]} {trial[-1]}\n" for trial in own))
        options = ["--num-samples=100", "--system=xvector", "--backend=plda", f"--trials-name={row['trials']}"]
        assert main(["evaluate", *options, *(f"{folder}/{name}" for name in ("trials", "own", "p.tsv"))]) == 0
        assert rows_in(folder / "p.tsv") == [{name: row[name] for name in COLUMNS}]


def test_unknown_phones_are_partitions_too(scored):
    folder, trials = scored
    write(folder, [(*trial[:6], trial[6] if trial[2] else "-", trial[7]) for trial in trials])
    assert evaluate(folder) == 0


@pytest.mark.parametrize("change, says", [
    (lambda info, s: (info, s[1:]), "has the trial '"),
    (lambda info, s: ([info[0], *info[2:]], s), "has a score of 'm0 s0', which is no trial"),
    (lambda info, s: (info, [*s, "m0 s99 1\n"]), "no trial 'm0 s99'"),
    (lambda info, s: ([*info, info[3]], s), "comes twice"),
    (lambda info, s: (info[1:], s), "info.tsv:1: want the tab-separated header"),
    (lambda info, s: ([], s), "info.tsv:1: want the tab-separated header"),
    (lambda info, s: (info[:1], s), "has no trials"),
    (lambda info, s: ([info[0], info[1].replace("\t", " "), *info[2:]], s), "info.tsv:2: 1 cells, want 7"),
    (lambda info, s: ([info[0], info[1].replace("\ttarget", "\tyes"), *info[2:]], s), "info.tsv:2: the label is 'yes'"),
    (lambda info, s: ([x.replace("\tm\t", "\tmale\t") for x in info], s), "gender is 'male', want m or f"),
    (lambda info, s: ([x.replace("\t3\t", "\tx\t") for x in info], s), "enrollment_segments is 'x', want a number"),
    (lambda info, s: ([x.replace("\tsame", "\t") for x in info], s), "phone_match is '', want same or different or -"),
    (lambda info, s: ([x.replace("\ttgl\t", "\t\t") for x in info], s), "the language is ''"),
    (lambda info, s: ([x.replace("\ttarget\tm\ttgl", "\tnontarget\tm\ttgl")
                       .replace("\ttarget\tf\ttgl", "\tnontarget\tf\ttgl") for x in info], s),
     "sre16_tgl: 0 target and 54 nontarget trials"),
])  # fmt: skip
def test_lists_that_do_not_agree_are_refused(scored, capsys, change, says):
    folder, _ = scored
    lists = [(folder / name).read_text().splitlines(keepends=True) for name in ("info.tsv", "scores")]
    for name, lines in zip(("info.tsv", "scores"), change(*lists), strict=True):
        (folder / name).write_text("".join(lines))
    assert evaluate(folder) == 1
    assert says in error_of(capsys)
    assert not (folder / "row.tsv").exists() and not (folder / "row.det.npz").exists()


# --- the table --------------------------------------------------------------------------------------------------------

PUBLISHED = """system\tbackend\ttrials\tEER\tminCprimary\tsource
xvector_kaldi\tplda\tsre16\t8.57\t0.61\tpublished, Kaldi
xvector_kaldi\tplda\tsre16_tgl\t12.29\t-\tpublished, Kaldi
"""


def make_results(folder, *options) -> int:
    return main(["make-results", *options, f"{folder}/results", f"{folder}/plda.tsv", f"{folder}/cosine.tsv"])


@pytest.fixture
def evaluated(scored):
    folder, _ = scored
    for backend in ("cosine", "plda"):
        assert evaluate(folder, "--system=xvector", f"--backend={backend}", row=f"{backend}.tsv") == 0
    (folder / "published.tsv").write_text(PUBLISHED)
    return folder


def test_table_with_published_rows(evaluated):
    folder = evaluated
    with open(folder / "published.tsv", "a") as out:
        out.write("xvector_kaldi\tplda\tsre12\t1.58\t-\tpublished, Kaldi\n")  # of a list that is not measured: left out
    assert make_results(folder, f"--reference={folder}/published.tsv") == 0
    results = folder / "results"
    names = ["EER", "det_sre16.png", "det_sre16_tgl.png", "det_sre16_yue.png", "results.tsv"]
    assert sorted(path.name for path in results.iterdir()) == names
    rows = rows_in(results / "results.tsv")
    assert list(rows[0]) == [*COLUMNS, *MORE, "source"]
    assert [(row["trials"], row["system"], row["backend"], row["source"]) for row in rows] == [
        ("sre16", "xvector", "cosine", "-"),
        ("sre16", "xvector", "plda", "-"),
        ("sre16", "xvector_kaldi", "plda", "published, Kaldi"),
        ("sre16_tgl", "xvector", "cosine", "-"),
        ("sre16_tgl", "xvector", "plda", "-"),
        ("sre16_tgl", "xvector_kaldi", "plda", "published, Kaldi"),
        ("sre16_yue", "xvector", "cosine", "-"),
        ("sre16_yue", "xvector", "plda", "-"),
    ]
    lines = (results / "EER").read_text().splitlines()
    assert lines[3].split() == ["xvector_kaldi", "plda", "sre16", "-", "-", "8.57", "-", "-", "-", "-", "-", "0.610",
                                "-", "-", "-", "-", "published,", "Kaldi"]  # fmt: skip
    measured = rows_in(folder / "plda.tsv")[0]
    words = lines[2].split()
    assert words[:6] == [*(measured[name] for name in COLUMNS[:5]), f"{float(measured['EER']):.2f}"]
    assert words[-2] == f"{float(measured['minCllr']):.3f}" and words[-1] == "-"


def test_blocks_of_pooled_and_languages(evaluated, capsys):
    folder = evaluated
    assert make_results(folder, f"--reference={folder}/published.tsv", "--blocks=sre16") == 0
    text = (folder / "results" / "EER").read_text()
    assert capsys.readouterr().out == text
    head, ours, published = [block.splitlines() for block in text.split("\n\n")]
    assert head[0].split()[5:] == ["EER", "eqEER", "minCprimary", "actCprimary"]
    assert head[1].split() == ["#", "backend", *["pooled", "tgl", "yue"] * 4]
    assert ours[0] == "# xvector" and [line.split()[0] for line in ours[1:]] == ["cosine", "plda"]
    rows = rows_in(folder / "plda.tsv")
    rates = [
        f"{float(r['EER']):.2f} ({float(r['EER_low']):.1f}-{float(r['EER_high']):.1f})"
        for r in rows  # in the order of the columns
    ]
    more = [
        f"{float(r[n]):.{2 if n == 'eqEER' else 3}f}" for n in ("eqEER", "minCprimary", "actCprimary") for r in rows
    ]
    assert ours[2].split() == ["plda", *" ".join(rates).split(), *more]
    assert published[0] == "# xvector_kaldi (published, Kaldi)"
    assert published[1].split() == ["plda", "8.57", "12.29", "-", "-", "-", "-", "0.610", *["-"] * 5]
    assert (
        len({line.index("minCprimary") + 11 for line in head[:1]} | {line.index("0.610") + 5 for line in published[1:]})
        == 1
    )
    assert make_results(folder, "--blocks=sre12") == 1
    assert "--blocks=sre12: no row is of this trial list; it has sre16, sre16_tgl" in error_of(capsys)


@pytest.mark.parametrize("old, new, says", [
    ("\tsource", "\tfrom", "want tab-separated rows under a header"),
    (PUBLISHED.split("\n", 1)[1], "", "want tab-separated rows under a header"),
    ("minCprimary\tsource", "EER\tsource", "want tab-separated rows under a header"),
    ("\t8.57", "", "published.tsv:2: 5 cells, want 6"),
    ("12.29", "12,29", "published.tsv:3: EER is '12,29'"),
    ("12.29", "nan", "published.tsv:3: EER is 'nan'"),
    ("sre16_tgl", "sre16 tgl", "published.tsv:3: the trials is 'sre16 tgl'"),
    ("0.61\tpublished, Kaldi", "0.61\t-", "published.tsv:2: the source is empty"),
    ("xvector_kaldi", "xvector", "are both of sre16 xvector plda"),
])  # fmt: skip
def test_bad_published_rows_are_refused(evaluated, capsys, old, new, says):
    folder = evaluated
    (folder / "published.tsv").write_text(PUBLISHED.replace(old, new))
    capsys.readouterr()
    assert make_results(folder, f"--reference={folder}/published.tsv") == 1
    assert says in error_of(capsys)
    assert not (folder / "results").exists()


def test_damaged_points_of_a_later_row_are_refused(evaluated, capsys):
    folder = evaluated
    with np.load(folder / "plda.det.npz") as arrays:
        np.savez(folder / "plda.det.npz", p_fa=arrays["p_fa"], p_miss=arrays["p_miss"])
    capsys.readouterr()
    assert make_results(folder) == 1
    assert "plda.det.npz does not hold DET points" in error_of(capsys)
