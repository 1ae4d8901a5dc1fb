"""The i-vector tools on files: Kaldi's training and i-vectors, and what bad input gets."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.gmm import write_full_gmm
from vouch.io.ivector_extractor import read_ivector_extractor, read_ivector_extractor_stats
from vouch.io.ragged import Posterior
from vouch.io.tables import TableWriter, read_table


@pytest.fixture(autouse=True)
def own_threads(monkeypatch):
    """The tools set the number of BLAS threads in the environment; put it back."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))


def run(*words) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def small(tmp_path):
    """A folder: a UBM, extractors 0.ie and (with weight projections) w0.ie, features, posteriors, speakers."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 6))
    inv_covars = x @ x.transpose(0, 2, 1)
    write_full_gmm(f"{tmp_path}/ubm", np.full(4, 0.25), np.zeros(4), rng.standard_normal((4, 3)) * 5, inv_covars)
    with (
        TableWriter(f"ark:{tmp_path}/feats.ark") as features,
        TableWriter(f"ark:{tmp_path}/post.ark", "posterior") as posts,
        TableWriter(f"ark:{tmp_path}/short.ark", "posterior") as short,
    ):
        for n in range(12):
            frames = 30 + n
            features.write(f"u{n:02d}", rng.standard_normal((frames, 3)).astype(np.float32))
            indices = np.sort(rng.integers(0, 4, (frames, 2))).ravel().astype(np.int32)
            weights = rng.uniform(0.2, 0.8, 2 * frames).astype(np.float32)
            posts.write(f"u{n:02d}", Posterior(np.arange(0, 2 * frames + 1, 2), indices, weights))
            if n % 3:
                cut = frames - (n == 5)
                posterior = Posterior(np.arange(0, 2 * cut + 1, 2), indices[: 2 * cut], weights[: 2 * cut])
                short.write(f"u{n:02d}", posterior)
    (tmp_path / "spk2utt").write_text("s1 u00 u01 u02\ns2 u05 nowhere\ns3 nobody\n")
    for name, use in (("0.ie", "false"), ("w0.ie", "true")):
        assert run("ivector-extractor-init", "--ivector-dim=2", f"--use-weights={use}", f"{tmp_path}/ubm",
                   f"{tmp_path}/{name}") == 0  # fmt: skip
    return tmp_path


def tables(folder, posteriors="post"):
    return f"ark:{folder}/feats.ark", f"ark:{folder}/{posteriors}.ark"


def test_training_of_kaldi(golden_training, tmp_path, capfd):
    """The commands of the reference training: models, i-vectors, and every line that the tools print."""
    model, feats = f"{golden_training}/0.ie", f"ark:{golden_training}/feats.ark"
    posts = f"ark:{golden_training}/post.ark"
    for x in range(5):
        assert run("ivector-extractor-acc-stats", "--num-threads=1", model, feats, posts, f"{tmp_path}/acc") == 0
        assert run("ivector-extractor-sum-accs", f"{tmp_path}/acc", f"{tmp_path}/sum") == 0
        assert run("ivector-extractor-est", "--num-threads=1", model, f"{tmp_path}/sum", f"{tmp_path}/{x + 1}.ie") == 0
        model = f"{tmp_path}/{x + 1}.ie"
    assert run("ivector-extract", "--num-threads=1", model, feats, posts, f"ark:{tmp_path}/ivectors.ark") == 0
    said = capfd.readouterr().err
    for name, most in (("1.ie", 1e-5), ("5.ie", 5e-3)):
        arrays = zip(
            read_ivector_extractor(f"{tmp_path}/{name}"),
            read_ivector_extractor(f"{golden_training}/{name}"),
            strict=True,
        )
        assert all(np.linalg.norm(ours - theirs) <= most * np.linalg.norm(theirs) for ours, theirs in arrays)
    ours = dict(read_table(f"ark:{tmp_path}/ivectors.ark", "vector"))
    theirs = dict(read_table(f"ark:{golden_training}/ivectors.ark", "vector"))
    assert list(ours) == list(theirs)
    assert max(np.abs(ours[key] - theirs[key]).max() for key in theirs) < 2e-2  # with our own 5.ie
    lines = (golden_training / "log_lines.txt").read_text().splitlines()
    lines = lines[next(n for n, line in enumerate(lines) if "auxf" in line) :]
    printed = [line.removeprefix("LOG ") for line in said.splitlines() if "LOG Overall" in line]
    assert len(printed) == len(lines) == 26
    for our_line, their_line in zip(printed, lines, strict=True):
        ours, theirs = our_line.split(), their_line.split()
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            if a != b:
                assert abs(float(a) - float(b)) <= 2e-4 * abs(float(b)), our_line


def test_ivectors_of_kaldis_extractor(golden_training, tmp_path, capfd):
    assert run("ivector-extract", "--verbose=2", f"{golden_training}/5.ie", f"ark:{golden_training}/feats.ark",
               f"ark:{golden_training}/post.ark", f"ark,t:{tmp_path}/ivectors") == 0  # fmt: skip
    ours = dict(read_table(f"ark:{tmp_path}/ivectors", "vector"))
    theirs = dict(read_table(f"ark:{golden_training}/ivectors.ark", "vector"))
    assert max(np.abs(ours[key] - theirs[key]).max() for key in theirs) < 1e-5
    said = capfd.readouterr().err
    for key, ivector in theirs.items():
        assert f"LOG Ivector norm for utterance {key} was {np.linalg.norm(ivector.astype(float)):.4g}"[:-1] in said
    assert said.count("LOG Auxf change for utterance") == len(theirs)
    assert "LOG Done 30 files, 0 with errors.  Total (weighted) frames 22867\n" in said


def test_copy(golden_training, tmp_path):
    assert run("ivector-extractor-copy", "--binary=false", f"{golden_training}/1.ie", f"{tmp_path}/text") == 0
    assert (tmp_path / "text").read_text().startswith("<IvectorExtractor> ")
    assert run("ivector-extractor-copy", f"{golden_training}/1.ie", f"{tmp_path}/binary") == 0
    assert (tmp_path / "binary").read_bytes() == (golden_training / "1.ie").read_bytes()


def test_init_is_repeatable_and_seeded(small):
    for name, seed in (("again", 0), ("other", 1)):
        assert run("ivector-extractor-init", "--ivector-dim=2", "--use-weights=false", f"--seed={seed}", small / "ubm",
                   small / name) == 0  # fmt: skip
    assert (small / "again").read_bytes() == (small / "0.ie").read_bytes() != (small / "other").read_bytes()


@pytest.mark.parametrize("name", ["0", "w0"])
def test_jobs_add_up(small, name):
    """The statistics of the parts of a table, summed, are those of the whole, weight samples included."""
    feats, posts = tables(small)
    halves = []
    for half in (range(5), range(5, 12)):
        keys = {f"u{n:02d}" for n in half}
        with TableWriter(f"ark:{small}/half{len(halves)}.ark") as writer:
            for key, value in read_table(feats):
                if key in keys:
                    writer.write(key, value)
        halves.append(f"{small}/acc{len(halves)}")
        part = f"ark:{small}/half{len(halves) - 1}.ark"
        options = ["--cache-size=3", "--num-samples-for-weights=4"]
        assert run("ivector-extractor-acc-stats", *options, small / f"{name}.ie", part, posts, halves[-1]) == 0
    assert run("ivector-extractor-sum-accs", "--parallel=true", f"cat {halves[0]} |", halves[1], small / "sum") == 0
    assert run("ivector-extractor-acc-stats", "--num-samples-for-weights=4", small / f"{name}.ie", feats, posts,
               small / "whole") == 0  # fmt: skip
    arrays = zip(
        read_ivector_extractor_stats(f"{small}/sum"), read_ivector_extractor_stats(f"{small}/whole"), strict=True
    )
    assert all(np.allclose(ours, theirs, rtol=1e-5) for ours, theirs in arrays)


def test_training_with_weights(small, capfd):
    """The objective function rises over iterations, and i-vectors come out of the result."""
    feats, posts = tables(small)
    for x in range(4):
        assert run("ivector-extractor-acc-stats", small / f"w{x}.ie", feats, posts, small / "acc") == 0
        assert run("ivector-extractor-est", "--gaussian-min-count=10", "--verbose=1", small / f"w{x}.ie", small / "acc",
                   small / f"w{x + 1}.ie") == 0  # fmt: skip
    assert run("ivector-extract", small / "w4.ie", feats, posts, f"ark:{small}/ivectors") == 0
    said = capfd.readouterr().err
    auxf = [float(line.split()[7]) for line in said.splitlines() if "Overall auxf/frame" in line]
    assert len(auxf) == 4 and (np.diff(auxf) > 0).all()
    assert said.count("Overall auxf impr/frame from weight update is") == 4
    assert said.count("Auxf impr/frame for Gaussian index 3 for weights is") == 4
    model = read_ivector_extractor(f"{small}/w4.ie")
    assert model.weight_projections.any() and model.weights.shape == (0,)
    assert len(list(read_table(f"ark:{small}/ivectors", "vector"))) == 12


def test_options_of_the_statistics(small):
    feats, posts = tables(small)
    assert run("ivector-extractor-acc-stats", "--update-variances=false", "--compute-auxf=false", "--binary=false",
               small / "0.ie", feats, posts, small / "acc") == 0  # fmt: skip
    stats = read_ivector_extractor_stats(f"{small}/acc")
    assert (small / "acc").read_text().startswith("<IvectorExtractorStats> <TotAuxf> 0 <gamma>")
    assert stats.scatter.size == 0 and stats.auxf == 0 and stats.num_ivectors == 12
    assert run("ivector-extractor-est", "--gaussian-min-count=1", small / "0.ie", small / "acc", small / "1.ie") == 0
    before, after = (read_ivector_extractor(f"{small}/{name}") for name in ("0.ie", "1.ie"))
    assert np.array_equal(before.inv_covars, after.inv_covars)
    assert not np.allclose(before.projections, after.projections)


def test_utterances_that_do_not_fit_are_passed_over(small, capfd):
    """No posteriors for four of twelve, another number of frames in one."""
    feats, posts = tables(small, "short")
    assert run("ivector-extractor-acc-stats", small / "0.ie", feats, posts, small / "acc") == 0
    assert run("ivector-extract", small / "0.ie", feats, posts, f"ark:{small}/ivectors") == 0
    said = capfd.readouterr().err
    assert said.count("WARNING No posteriors for utterance u03\n") == 2
    assert said.count("WARNING Size mismatch between posterior 34 and features 35 for utterance u05\n") == 2
    assert said.count("LOG Done 7 files, 5 with errors.  Total ") == 2
    assert read_ivector_extractor_stats(f"{small}/acc").num_ivectors == 7
    keys = [key for key, _ in read_table(f"ark:{small}/ivectors", "vector")]
    assert keys == [f"u{n:02d}" for n in (1, 2, 4, 7, 8, 10, 11)]


def test_nothing_fits(small, capfd):
    (small / "empty.ark").write_bytes(b"")
    feats, posts = tables(small, "empty")
    assert run("ivector-extractor-acc-stats", small / "0.ie", feats, posts, small / "acc") == 1
    assert run("ivector-extract", small / "0.ie", feats, posts, f"ark:{small}/ivectors") == 1
    assert run("ivector-extract", f"--spk2utt=ark:{small}/spk2utt", small / "0.ie", feats, posts,
               f"ark:{small}/ivectors") == 1  # fmt: skip
    assert not (small / "acc").exists() and not (small / "ivectors").exists()
    said = capfd.readouterr().err
    assert said.count("has fitting posteriors") == 2 and said.count("no speaker of") == 1


def test_scales(small, capfd):
    """--acoustic-weight as posteriors scaled before; --max-count as the scale that leaves that many frames."""
    feats, posts = tables(small)

    def ivectors(name, *options, posteriors=posts):
        assert run("ivector-extract", *options, small / "0.ie", feats, posteriors, f"ark:{small}/{name}") == 0
        return dict(read_table(f"ark:{small}/{name}", "vector"))

    with TableWriter(f"ark:{small}/scaled.ark", "posterior") as writer:
        for key, posterior in read_table(posts, "posterior"):
            writer.write(key, posterior._replace(weights=posterior.weights * np.float32(0.3)))
    given = ivectors("a", "--acoustic-weight=0.3")
    wanted = ivectors("b", posteriors=f"ark:{small}/scaled.ark")
    assert all(np.allclose(given[key], wanted[key], rtol=1e-6) for key in wanted)
    capfd.readouterr()
    limited = ivectors("c", "--max-count=12", "--acoustic-weight=0.3")
    said = capfd.readouterr().err
    sums = {key: 0.3 * float(value.weights.sum(dtype=float)) for key, value in read_table(posts, "posterior")}
    large = [key for key, value in sums.items() if value > 12]
    assert 0 < len(large) == said.count("LOG Scaling stats for utterance") and "due to --max-count=12\n" in said
    for key in sums:
        assert np.allclose(limited[key], given[key], rtol=1e-6) == (key not in large)
    one = ivectors("d", f"--acoustic-weight={0.3 * 12 / sums[large[0]]}")
    assert np.allclose(one[large[0]], limited[large[0]], rtol=1e-5)
    assert f"Total (weighted) frames {sum(min(12, value) for value in sums.values()):.6g}"[:40] in said
    assert "objective-function" in capfd.readouterr().err
    assert all(np.array_equal(a, b) for a, b in zip(ivectors("e", "--compute-objf-change=false").values(),
                                                    ivectors("f").values(), strict=True))  # fmt: skip
    assert capfd.readouterr().err.count("objective-function") == 1


def test_speakers(small, capfd):
    """A speaker's i-vector is that of one long utterance."""
    feats, posts = tables(small)
    arguments = [f"--spk2utt=ark:{small}/spk2utt", small / "0.ie", feats, posts]
    assert run("ivector-extract", *arguments, f"ark:{small}/speakers") == 0
    said = capfd.readouterr().err
    assert "WARNING No features present for utterance nowhere\n" in said
    assert "WARNING No stats accumulated for speaker s3\n" in said
    assert "LOG Done 2 speakers; 1 with errors.  4 utterances were processed, 2 with errors.\n" in said
    assert (
        said.count("LOG Auxf change for speaker") == 2 and "LOG Average iVector norm (weighted by frames) was" in said
    )
    features, posteriors = dict(read_table(feats)), dict(read_table(posts, "posterior"))
    with TableWriter(f"ark:{small}/f.ark") as f, TableWriter(f"ark:{small}/p.ark", "posterior") as p:
        for speaker, keys in {"s1": ["u00", "u01", "u02"], "s2": ["u05"]}.items():
            f.write(speaker, np.concatenate([features[key] for key in keys]))
            indices, weights = (np.concatenate([posteriors[key][part] for key in keys]) for part in (1, 2))
            p.write(speaker, Posterior(np.arange(0, len(indices) + 1, 2), indices, weights))
    assert (
        run("ivector-extract", small / "0.ie", f"ark:{small}/f.ark", f"ark:{small}/p.ark", f"ark:{small}/joined") == 0
    )
    ours, wanted = (dict(read_table(f"ark:{small}/{name}", "vector")) for name in ("speakers", "joined"))
    assert list(ours) == list(wanted) and all(np.allclose(ours[key], wanted[key], rtol=1e-5) for key in wanted)
    assert run("ivector-extract", "--max-count=20", *arguments, f"ark:{small}/limited") == 0
    said = capfd.readouterr().err
    assert "LOG Scaling stats for speaker s1 by scale" in said and " frames (weighted)\n" in said
    assert "over 40 frames (weighted)" in said  # both have more than 20
    assert not np.allclose(dict(read_table(f"ark:{small}/limited", "vector"))["s1"], ours["s1"], rtol=1e-3)


@pytest.mark.parametrize("words, text", [
    (["ivector-extractor-init", "--ivector-dim=0", "{}/ubm", "{}/out"], "--ivector-dim=0"),
    (["ivector-extractor-init", "--seed=-1", "{}/ubm", "{}/out"], "--seed=-1"),
    (["ivector-extractor-init", "{}/0.ie", "{}/out"], "/0.ie is not a full-covariance GMM"),
    (["ivector-extractor-acc-stats", "{}/ubm", "FEATS", "POSTS", "{}/out"], "/ubm is not an i-vector extractor"),
    (["ivector-extractor-acc-stats", "--cache-size=0", "{}/0.ie", "FEATS", "POSTS", "{}/out"], "--cache-size=0"),
    (["ivector-extractor-acc-stats", "--num-samples-for-weights=1", "{}/0.ie", "FEATS", "POSTS", "{}/out"], "want 2"),
    (["ivector-extractor-acc-stats", "--num-threads=0", "{}/0.ie", "FEATS", "POSTS", "{}/out"], "--num-threads=0"),
    (["ivector-extractor-acc-stats", "{}/0.ie", "FEATS", "ark:{}/nowhere", "{}/out"], "nowhere"),
    (["ivector-extractor-est", "{}/0.ie", "{}/0.ie", "{}/out"], "/0.ie is not a file of i-vector extractor statistics"),
    (["ivector-extractor-est", "--variance-floor-factor=0", "{}/0.ie", "{}/acc", "{}/out"], "floor-factor=0"),
    (["ivector-extractor-est", "{}/w0.ie", "{}/acc", "{}/out"], "acc for .*/w0.ie: the statistics are of .* without"),
    (["ivector-extractor-est", "--gaussian-min-count=1e9", "{}/0.ie", "{}/acc", "{}/out"], "no Gaussian has a count"),
    (["ivector-extractor-sum-accs", "{}/acc", "{}/ubm", "{}/out"], "/ubm is not .* found '<FullGMM>'"),
    (["ivector-extract", "--spk2utt=ark:x", "--num-threads=2", "{}/0.ie", "FEATS", "POSTS", "ark:{}/out"], "one th"),
    (["ivector-extract", "{}/0.ie", "ark:{}/post.ark", "POSTS", "ark:{}/out"], "cannot read a matrix"),
    (["ivector-extract", "{}/0.ie", "ark:{}/wide.ark", "POSTS", "ark:{}/out"], "'u00' has features of 4 dimensions"),
    (["ivector-extract", "{}/0.ie", "FEATS", "ark:{}/far.ark", "ark:{}/out"], "'u00' has posteriors of Gaussians 9"),
    (["ivector-extract", "{}/singular.ie", "FEATS", "POSTS", "ark:{}/out"], "singular.ie: .* Gaussian 2"),
])  # fmt: skip
def test_bad_input(small, capfd, words, text):
    """One line, exit code 1, no output."""
    from vouch.io.ivector_extractor import write_ivector_extractor

    feats, posts = tables(small)
    assert run("ivector-extractor-acc-stats", small / "0.ie", feats, posts, small / "acc") == 0
    with TableWriter(f"ark:{small}/wide.ark") as writer:
        writer.write("u00", np.ones((30, 4), np.float32))
    with TableWriter(f"ark:{small}/far.ark", "posterior") as writer:
        writer.write("u00", Posterior(np.arange(31), np.full(30, 9, np.int32), np.ones(30, np.float32)))
    model = read_ivector_extractor(f"{small}/0.ie")
    model.inv_covars[2] = 1.0
    write_ivector_extractor(f"{small}/singular.ie", model)
    capfd.readouterr()
    words = [{"FEATS": feats, "POSTS": posts}.get(word, word.replace("{}", str(small))) for word in words]
    assert run(*words) == 1
    errors = [line for line in capfd.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1 and re.search(text, errors[0]), errors
    assert not (small / "out").exists()


def test_threads_reach_the_environment(small):
    feats, posts = tables(small)
    assert run("ivector-extract", "--num-threads=3", small / "0.ie", feats, posts, f"ark:{small}/out") == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"] == "3"
