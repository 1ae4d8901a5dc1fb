"""The backend tools on files: Kaldi's outputs, the recipe's chain, what bad input gets."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.plda import read_plda, write_plda
from vouch.io.tables import TableWriter, read_matrix, read_table


def write_vectors(path, keys, vectors) -> str:
    with TableWriter(f"ark:{path}", "vector") as writer:
        for key, vector in zip(keys, vectors, strict=True):
            writer.write(str(key), np.asarray(vector))
    return f"ark:{path}"


@pytest.fixture(scope="module")
def kaldi(golden, tmp_path_factory):
    """(folder of the golden backend, folder with its vectors as archives and its lists as text)."""
    folder, work = golden / "backend", tmp_path_factory.mktemp("kaldi")
    inputs = np.load(folder / "inputs.npz")
    for name in ("train", "adapt", "enroll_utt", "test"):
        write_vectors(work / f"{name}.ark", inputs[f"{name}_keys"], inputs[name])
    for name in ("spk2utt", "spk2utt_unbalanced"):
        lines = [line.split() for line in (folder / name).read_text().splitlines()]
        text = "".join(f"{utterance} {line[0]}\n" for line in lines for utterance in line[1:])
        (work / name.replace("spk2utt", "utt2spk")).write_text(text)
    trials = [line.split() for line in (folder / "trials").read_text().splitlines()]
    (work / "trials").write_text("".join(f"{model} {test}\n" for model, test, _ in trials))
    assert main(["ivector-mean", f"ark:{folder}/enroll_spk2utt", f"ark:{work}/enroll_utt.ark",
                 f"ark:{work}/enroll.ark", f"ark,t:{work}/num_utts.ark"]) == 0  # fmt: skip
    return folder, work


def scores_of(path) -> np.ndarray:
    return np.array([float(line.split()[2]) for line in path.read_text().splitlines()])


@pytest.mark.parametrize("name, options, utt2spk", [
    ("tcf0.1", ["--total-covariance-factor=0.1", "--dim=10"], "utt2spk"),
    ("tcf0.0_unbalanced", ["--dim=10"], "utt2spk_unbalanced"),
])  # fmt: skip
def test_lda_file(kaldi, tmp_path, name, options, utt2spk):
    folder, work = kaldi
    assert main(["ivector-compute-lda", *options, f"ark:{work}/train.ark", f"ark:{work}/{utt2spk}",
                 f"{tmp_path}/lda.mat"]) == 0  # fmt: skip
    got, wanted = read_matrix(f"{tmp_path}/lda.mat"), np.load(folder / "lda.npz")[name]
    assert got.dtype == np.float32
    signs = np.sign(np.sum(got * wanted, axis=1))[:, None]
    assert np.abs(got * signs - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_plda_scores_of_kaldi(kaldi, tmp_path):
    folder, work = kaldi
    wanted = np.load(folder / "scores.npz")
    tables = [f"ark:{work}/enroll.ark", f"ark:{work}/test.ark", f"{work}/trials", f"{tmp_path}/scores"]
    for name, options in {
        "nlen": [],
        "nonlen": ["--normalize-length=false"],
        "nlen_simple": ["--simple-length-normalization=true"],
        "nlen_numutts": [f"--num-utts=ark:{work}/num_utts.ark"],
    }.items():
        assert main(["ivector-plda-scoring", *options, f"{folder}/plda", *tables]) == 0
        assert np.abs(scores_of(tmp_path / "scores") - wanted[name]).max() < 2e-4, name
    lines = (tmp_path / "scores").read_text().splitlines()
    reference = (folder / "scores_nlen_numutts.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [line.split()[:2] for line in reference]
    assert sum(a == b for a, b in zip(lines, reference, strict=True)) > 0.8 * len(lines)  # the same 7 digits


def test_whole_backend_chain_of_the_recipes(kaldi, tmp_path):
    """Mean, LDA, length normalisation, PLDA, scores: every file made here, the scores Kaldi's."""
    folder, work = kaldi
    t = tmp_path

    def tool(*words):
        assert main([str(word) for word in words]) == 0, words

    tool("ivector-subtract-global-mean", f"ark:{work}/train.ark", f"ark:{t}/centred.ark")
    tool("ivector-compute-lda", "--dim=10", f"ark:{t}/centred.ark", f"ark:{work}/utt2spk", f"{t}/lda.mat")
    tool("ivector-mean", f"ark:{work}/train.ark", f"{t}/mean.vec")
    for name, source in (("train", "train"), ("enroll", "enroll"), ("test", "test")):
        tool("ivector-subtract-global-mean", f"{t}/mean.vec", f"ark:{work}/{source}.ark", f"ark:{t}/1.ark")
        tool("transform-vec", f"{t}/lda.mat", f"ark:{t}/1.ark", f"ark:{t}/2.ark")
        tool("ivector-normalize-length", f"ark:{t}/2.ark", f"ark:{t}/{name}.ark")
    tool("ivector-compute-plda", f"ark:{folder}/spk2utt", f"ark:{t}/train.ark", f"{t}/plda")
    tool("ivector-copy-plda", "--smoothing=0.0", f"{t}/plda", f"{t}/plda0")
    tool("ivector-plda-scoring", f"--num-utts=ark:{work}/num_utts.ark", f"{t}/plda0", f"ark:{t}/enroll.ark",
         f"ark:{t}/test.ark", f"{work}/trials", f"{t}/scores")  # fmt: skip
    assert np.abs(scores_of(t / "scores") - np.load(folder / "scores.npz")["recipe"]).max() < 2e-4


def test_adapt_and_copy_tools_match_kaldi(kaldi, tmp_path):
    folder, work = kaldi
    models = np.load(folder / "plda_models.npz")
    assert main(["ivector-adapt-plda", "--within-covar-scale=0.75", "--between-covar-scale=0.25", f"{folder}/plda",
                 f"ark:{work}/adapt.ark", f"{tmp_path}/adapted"]) == 0  # fmt: skip
    assert main(["ivector-copy-plda", "--smoothing=0.1", f"{folder}/plda", f"{tmp_path}/smooth"]) == 0
    for name, wanted in (("adapted", "plda_adapt_sre16"), ("smooth", "plda_smooth0.1")):
        mean, transform, psi = read_plda(f"{tmp_path}/{name}")
        np.testing.assert_allclose(psi, models[f"{wanted}/psi"], rtol=1e-6)
        np.testing.assert_allclose(mean, models[f"{wanted}/mean"], rtol=1e-6)
        signs = np.sign(np.sum(transform * models[f"{wanted}/transform"], axis=1))[:, None]
        np.testing.assert_allclose(transform * signs, models[f"{wanted}/transform"], atol=1e-6)
    assert main(["ivector-copy-plda", "--binary=false", f"{folder}/plda", f"{tmp_path}/text"]) == 0
    assert (tmp_path / "text").read_bytes() == (folder / "plda_text").read_bytes()


def test_dot_products_of_kaldi(kaldi, tmp_path):
    folder, work = kaldi
    wanted = np.load(folder / "scores.npz")
    for name in ("enroll", "test"):
        assert main(["ivector-normalize-length", "--scaleup=false", f"ark:{work}/{name}.ark",
                     f"ark:{tmp_path}/{name}.ark"]) == 0  # fmt: skip
    for name, source in (("dot", work), ("cosine", tmp_path)):
        assert main(["ivector-compute-dot-products", f"{work}/trials", f"ark:{source}/enroll.ark",
                     f"ark:{source}/test.ark", f"{tmp_path}/scores"]) == 0  # fmt: skip
        assert np.abs(scores_of(tmp_path / "scores") - wanted[name]).max() < 2e-4


# --- small tables made here -------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """Tables in tmp_path: 12 training speakers x 4, models a b c, tests x y z of 5 dimensions, a PLDA model, trials."""
    generator = np.random.default_rng(0)
    speakers = [f"s{row // 4:02d}" for row in range(48)]
    keys = [f"{speaker}-{row % 4}" for row, speaker in enumerate(speakers)]
    vectors = 2 * np.repeat(generator.normal(size=(12, 5)), 4, axis=0) + generator.normal(size=(48, 5))
    write_vectors(tmp_path / "train.ark", keys, vectors)
    write_vectors(tmp_path / "enroll.ark", "abc", generator.normal(size=(3, 5)))
    write_vectors(tmp_path / "test.ark", "xyz", generator.normal(size=(3, 5)))
    (tmp_path / "utt2spk").write_text("".join(f"{k} {s}\n" for k, s in zip(keys, speakers, strict=True)))
    (tmp_path / "spk2utt").write_text(
        "".join(f"s{s:02d} " + " ".join(f"s{s:02d}-{u}" for u in range(4)) + "\n" for s in range(12))
    )
    (tmp_path / "trials").write_text("a x\nb z\nc y\n")
    write_plda(f"{tmp_path}/plda", np.zeros(5), np.eye(5), np.ones(5))
    return tmp_path


def run(capsys, *words) -> tuple[int, str]:
    code = main([str(word) for word in words])
    return code, capsys.readouterr().err


def assert_refused(capsys, out, *words, says):
    """Exit 1, one error line with these words, and no output file."""
    code, err = run(capsys, *words)
    error = [line for line in err.splitlines() if ": error: " in line]
    assert code == 1 and len(error) == 1, err
    for part in says:
        assert part in error[0]
    assert not out.exists()


def test_missing_keys_are_warned_of_and_counted(small, capsys):
    (small / "trials").write_text("a x\nq x\na w\nq y\nb y\n")
    code, err = run(capsys, "ivector-compute-dot-products", small / "trials", f"ark:{small}/enroll.ark",
                    f"ark:{small}/test.ark", small / "scores")  # fmt: skip
    assert code == 0
    assert "Key q not present" in err and "Key w not present" in err
    assert "Processed 2 trials, 3 had errors." in err
    assert [line.split()[:2] for line in (small / "scores").read_text().splitlines()] == [["a", "x"], ["b", "y"]]


def test_no_scored_trial_is_an_error(small, capsys):
    (small / "trials").write_text("x a\ny b\n")
    assert_refused(capsys, small / "scores", "ivector-plda-scoring", small / "plda", f"ark:{small}/enroll.ark",
                   f"ark:{small}/test.ark", small / "trials", small / "scores",
                   says=["none of the 2 trials"])  # fmt: skip


def test_malformed_trial_names_its_line(small, capsys):
    (small / "trials").write_text("a x\nb y target\n")
    assert_refused(capsys, small / "scores", "ivector-plda-scoring", small / "plda", f"ark:{small}/enroll.ark",
                   f"ark:{small}/test.ark", small / "trials", small / "scores", says=["trials:2"])  # fmt: skip


def test_models_without_a_count_are_left_out(small, capsys):
    (small / "num_utts.ark").write_text("a 3\nb 1\n")
    code, err = run(capsys, "ivector-plda-scoring", f"--num-utts=ark:{small}/num_utts.ark", small / "plda",
                    f"ark:{small}/enroll.ark", f"ark:{small}/test.ark", small / "trials", small / "scores")  # fmt: skip
    assert code == 0
    assert "Number of utterances not given for speaker c" in err
    assert [line.split()[0] for line in (small / "scores").read_text().splitlines()] == ["a", "b"]
    (small / "num_utts.ark").write_text("a 0\n")
    (small / "scores").unlink()
    assert_refused(capsys, small / "scores", "ivector-plda-scoring", f"--num-utts=ark:{small}/num_utts.ark",
                   small / "plda", f"ark:{small}/enroll.ark", f"ark:{small}/test.ark", small / "trials",
                   small / "scores", says=["0 utterances for a"])  # fmt: skip


def test_bad_vectors_are_named(small, capsys):
    out = small / "out"
    bad = {
        "nan": np.array([1, np.nan, 0, 0, 0.0]),
        "short": np.ones(4),
        "mean": np.zeros(5),
    }
    for name, vector in bad.items():
        write_vectors(small / f"{name}.ark", ["x", "bad"], [np.ones(5), vector])
    scoring = ["ivector-plda-scoring", small / "plda", f"ark:{small}/enroll.ark"]
    for name, says in (("nan", "NaN"), ("short", "4 dimensions, want 5"), ("mean", "no length")):
        assert_refused(capsys, out, *scoring, f"ark:{small}/{name}.ark", small / "trials", out, says=["bad", says])
    for name, says in (("nan", "NaN"), ("short", "4 dimensions, want 5")):
        assert_refused(capsys, out, "ivector-adapt-plda", small / "plda", f"ark:{small}/{name}.ark", out,
                       says=["bad", says])  # fmt: skip
    write_vectors(small / "twice.ark", ["x", "x"], np.ones((2, 5)))
    assert_refused(capsys, out, *scoring, f"ark:{small}/twice.ark", small / "trials", out, says=["x comes twice"])


def test_train_tools_say_what_they_left_out(small, capsys):
    with (small / "spk2utt").open("a") as file:
        file.write("s99 gone-1 gone-2\n")
    code, err = run(capsys, "ivector-compute-plda", "--verbose=2", f"ark:{small}/spk2utt", f"ark:{small}/train.ark",
                    small / "model")  # fmt: skip
    assert code == 0
    assert "No vector present in input for utterance gone-2" in err
    assert "12 speakers (1 with no utterances), consisting of 48 utterances (2 absent from input)" in err
    assert err.count("Objective function is") == 10
    (small / "utt2spk").write_text("".join((small / "utt2spk").read_text().splitlines(keepends=True)[:40]))
    code, err = run(capsys, "ivector-compute-lda", "--dim=5", f"ark:{small}/train.ark", f"ark:{small}/utt2spk",
                    small / "lda")  # fmt: skip
    assert code == 0
    assert "8 utterances of" in err
    assert "do not separate speakers" not in err


def test_lda_beyond_the_rank_is_warned_of(small, capsys):
    (small / "utt2spk").write_text("".join((small / "utt2spk").read_text().splitlines(keepends=True)[:12]))
    code, err = run(capsys, "ivector-compute-lda", "--dim=4", f"ark:{small}/train.ark", f"ark:{small}/utt2spk",
                    small / "lda")  # fmt: skip
    assert code == 0
    assert "3 speakers span 2 dimensions: the last 2 of --dim=4" in err


@pytest.mark.parametrize("spk2utt, says", [
    ("s1 a b\ns2 b c\n", "utterance b is listed under s1 and s2"),
    ("s1 a a\n", "speaker s1 lists an utterance twice"),
    ("s1 a\ns1 b\n", "speaker s1 comes twice"),
    ("s1 nowhere\n", "no utterance of"),
    ("s00 s00-0 s00-1\ns01 s01-0\n", "3 utterances are too few"),
])  # fmt: skip
def test_bad_spk2utt(small, capsys, spk2utt, says):
    (small / "spk2utt").write_text(spk2utt)
    assert_refused(capsys, small / "model", "ivector-compute-plda", f"ark:{small}/spk2utt", f"ark:{small}/train.ark",
                   small / "model", says=[says])  # fmt: skip


def test_a_file_that_is_no_model_is_named(small, capsys):
    assert_refused(capsys, small / "out", "ivector-copy-plda", small / "trials", small / "out", says=["trials is not"])


def test_scores_over_many_chunks_keep_the_order_of_the_trials(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vouch.io.trials._BLOCK", 97)
    generator = np.random.default_rng(0)
    models, tests = generator.normal(size=(30, 4)).astype("f4"), generator.normal(size=(50, 4)).astype("f4")
    write_vectors(tmp_path / "m.ark", range(30), models)
    write_vectors(tmp_path / "t.ark", range(50), tests)
    pairs = np.column_stack([generator.integers(0, 30, 1000), generator.integers(0, 50, 1000)])
    (tmp_path / "trials").write_text("".join(f"{m} {t}\n" for m, t in pairs))
    code, err = run(capsys, "ivector-compute-dot-products", tmp_path / "trials", f"ark:{tmp_path}/m.ark",
                    f"ark:{tmp_path}/t.ark", tmp_path / "scores")  # fmt: skip
    assert code == 0
    wanted = np.sum(models[pairs[:, 0]].astype(float) * tests[pairs[:, 1]], axis=1)
    np.testing.assert_allclose(scores_of(tmp_path / "scores"), wanted, rtol=1e-5, atol=1e-6)
    assert f"Mean score was {wanted.mean():.4g}"[:18] in err


def test_compute_eer(tmp_path, capsys):
    (tmp_path / "scores").write_text("1 target\n3 target\n0 nontarget\n2 nontarget\n")
    assert main(["compute-eer", f"{tmp_path}/scores"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "50"
    assert "Equal error rate is 50%, at threshold 3" in captured.err
    for text, says in (
        ("1 target\n2 maybe\n", "scores:2: the label is 'maybe'"),
        ("1 target\nx nontarget\n", "scores:2: the score 'x' is not a number"),
        ("nan target\n", "scores:1: the score is NaN"),
        ("1 target\n", "no nontarget scores"),
        ("1 2 target\n", "scores:1"),
    ):
        (tmp_path / "scores").write_text(text)
        assert main(["compute-eer", f"{tmp_path}/scores"]) == 1
        captured = capsys.readouterr()
        assert says in captured.err
        assert captured.out == ""


def test_plda_of_all_golden_vectors_equals_its_table(kaldi, tmp_path):
    folder, work = kaldi
    assert main(["ivector-compute-plda", f"ark:{folder}/spk2utt_unbalanced", f"ark:{work}/train.ark",
                 f"{tmp_path}/plda"]) == 0  # fmt: skip
    _, _, psi = read_plda(f"{tmp_path}/plda")
    np.testing.assert_allclose(psi, np.load(folder / "plda_models.npz")["plda_unbalanced/psi"], rtol=1e-6)
    counts = dict(read_table(f"ark:{work}/num_utts.ark", "int32"))
    assert counts == dict(read_table(f"ark:{folder}/num_utts.ark", "int32"))
