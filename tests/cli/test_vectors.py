"""The tools on vectors against Kaldi's outputs, and their messages."""

from pathlib import Path

import numpy as np
import pytest

from vouch.cli import main
from vouch.io.tables import TableWriter, read_table, read_vector, write_matrix, write_vector


@pytest.fixture
def backend(golden, tmp_path, monkeypatch):
    """Kaldi's inputs as archives in the current folder; gives the folder of the reference."""
    monkeypatch.chdir(tmp_path)
    inputs = np.load(golden / "backend" / "inputs.npz")
    for name in ("train", "test", "enroll_utt"):
        with TableWriter(f"ark,scp:{name}.ark,{name}.scp", "vector") as writer:
            for key, vector in zip(inputs[f"{name}_keys"], inputs[name], strict=True):
                writer.write(str(key), vector)
    return golden / "backend"


def compare(file, backend, name, **tolerance):
    expected = np.load(backend / "vector_ops.npz")
    found = dict(read_table(f"ark:{file}", "vector"))
    assert list(found) == expected[f"{name}_keys"].tolist()
    matrix = np.stack(list(found.values()))
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, expected[name], **({"rtol": 0, "atol": 0} | tolerance))


def test_means(backend):
    assert main(["ivector-mean", "--binary=true", "ark:train.ark", "mean.vec"]) == 0
    np.testing.assert_allclose(read_vector("mean.vec"), np.load(backend / "vector_ops.npz")["global_mean"], atol=1e-12)
    assert main(["ivector-mean", "ark:train.ark", "mean.txt"]) == 0
    assert Path("mean.txt").read_text().startswith(" [ ")
    spk2utt = f"ark:{backend}/enroll_spk2utt"
    assert main(["ivector-mean", spk2utt, "scp:enroll_utt.scp", "ark:spk.ark", "ark,t:n.ark"]) == 0
    compare("spk.ark", backend, "spk_mean")
    assert Path("n.ark").read_text() == (backend / "num_utts.ark").read_text()


def test_subtract_mean(backend):
    main(["ivector-mean", "--binary=true", "ark:train.ark", "mean.vec"])
    for source in ("ark:test.ark", "scp:test.scp", "ark:cat test.ark |"):
        assert main(["ivector-subtract-global-mean", source, "ark:own.ark"]) == 0
        compare("own.ark", backend, "subtract_global_mean")
    assert main(["ivector-subtract-global-mean", "mean.vec", "ark:test.ark", "ark:given.ark"]) == 0
    compare("given.ark", backend, "subtract_given_mean")
    assert main(["ivector-subtract-global-mean", "--subtract-mean=false", "ark:test.ark", "ark:same.ark"]) == 0
    assert Path("same.ark").read_bytes() == Path("test.ark").read_bytes()


def test_normalize_length(backend):
    assert main(["ivector-normalize-length", "ark:test.ark", "ark:n.ark"]) == 0
    compare("n.ark", backend, "normalize_length")
    assert main(["ivector-normalize-length", "--scaleup=false", "ark:test.ark", "ark:u.ark"]) == 0
    compare("u.ark", backend, "normalize_length_noscaleup")
    assert main(["ivector-normalize-length", "--normalize=false", "ark:test.ark", "ark:same.ark"]) == 0
    assert Path("same.ark").read_bytes() == Path("test.ark").read_bytes()


def test_transform(backend):
    assert main(["transform-vec", f"{backend}/lda_tcf0.1.mat", "ark:test.ark", "ark:t.ark"]) == 0
    compare("t.ark", backend, "transform_vec_lda0.1", atol=1e-6)
    linear = np.eye(30, dtype=np.float32)[::-1]
    write_matrix("flip.mat", linear)
    assert main(["transform-vec", "flip.mat", "ark:test.ark", "ark:f.ark"]) == 0
    for (_, flipped), (_, vector) in zip(
        read_table("ark:f.ark", "vector"), read_table("ark:test.ark", "vector"), strict=True
    ):
        np.testing.assert_array_equal(flipped, vector[::-1])


def test_ivector_transform(backend, capfd):
    assert main(["ivector-transform", f"{backend}/lda_tcf0.1.mat", "ark:test.ark", "ark:t.ark"]) == 0
    compare("t.ark", backend, "ivector_transform_lda0.1", atol=1e-6)
    matrix = np.stack([vector for _, vector in read_table("ark:t.ark", "vector")]).astype(np.float64)
    mean = np.linalg.norm(matrix.mean(axis=0))
    length = np.sqrt(matrix.var(axis=0).sum() / 10)
    said = capfd.readouterr().err
    assert "Processed 120 iVectors." in said
    assert f"Norm of mean was {mean:.6g} " in said and f"length divided by sqrt(dim) was {length:.6g} " in said
    Path("none").touch()
    assert main(["ivector-transform", f"{backend}/lda_tcf0.1.mat", "ark:none", "ark:t.ark"]) == 1


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with TableWriter("ark:x.ark", "vector") as writer:
        writer.write("a", np.float32([3, 4]))
        writer.write("b", np.float32([0, 0]))
    return tmp_path


def test_copy_vector(small, capfdbinary):
    assert main(["copy-vector", "ark:x.ark", "ark,t:-"]) == 0
    assert capfdbinary.readouterr().out == b"a  [ 3 4 ]\nb  [ 0 0 ]\n"
    assert main(["copy-vector", "--change-dim=3", "ark:x.ark", "ark,t:y.ark"]) == 0
    assert Path("y.ark").read_text() == "a  [ 3 4 0 ]\nb  [ 0 0 0 ]\n"
    assert main(["copy-vector", "--scale=0.5", "--change_dim=1", "ark:x.ark", "ark,t:y.ark"]) == 0
    assert Path("y.ark").read_text() == "a  [ 1.5 ]\nb  [ 0 ]\n"
    write_vector("v", np.float32([1, 2, 3]))
    assert main(["copy-vector", "--scale=2", "v", "w"]) == 1
    assert main(["copy-vector", "--binary=false", "--change-dim=2", "v", "w"]) == 0
    assert Path("w").read_text() == " [ 1 2 ]\n"
    assert main(["copy-vector", "v", "ark:w.ark"]) == 1
    assert b"both must be tables" in capfdbinary.readouterr().err


def test_zero_vectors_are_copied_with_a_warning(small, capfd):
    assert main(["ivector-normalize-length", "--scaleup=false", "ark:x.ark", "ark,t:y.ark"]) == 0
    assert "vector of b is zero" in capfd.readouterr().err
    assert Path("y.ark").read_text() == "a  [ 0.6 0.8 ]\nb  [ 0 0 ]\n"


def test_speakers_without_vectors(small, capfd):
    with open("spk2utt", "w") as file:
        file.write("s1 a missing b\ns2 gone\n")
    assert main(["ivector-mean", "ark:spk2utt", "ark:x.ark", "ark,t:y.ark", "ark,t:n.ark"]) == 0
    err = capfd.readouterr().err
    assert "utterance missing of speaker s1" in err and "No output for speaker s2" in err
    assert Path("y.ark").read_text() == "s1  [ 1.5 2 ]\n" and Path("n.ark").read_text() == "s1 2 \n"
    with open("spk2utt", "w") as file:
        file.write("s2 gone\n")
    assert main(["ivector-mean", "ark:spk2utt", "ark:x.ark", "ark:y.ark"]) == 1


def test_nothing_in_is_exit_1(small):
    Path("none.ark").touch()
    assert main(["copy-vector", "ark:none.ark", "ark:y.ark"]) == 1
    assert main(["ivector-mean", "ark:none.ark", "mean"]) == 1
    assert main(["ivector-subtract-global-mean", "ark:none.ark", "ark:y.ark"]) == 1
    assert main(["ivector-normalize-length", "ark:none.ark", "ark:y.ark"]) == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["ivector-mean", "ark:bad.ark", "y"],
        ["ivector-subtract-global-mean", "ark:bad.ark", "ark:y"],
        ["ivector-subtract-global-mean", "mean", "ark:bad.ark", "ark:y"],
        ["transform-vec", "matrix", "ark:bad.ark", "ark:y"],
        ["ivector-mean", "ark:spk2utt", "ark:bad.ark", "ark:y", "ark:z"],
    ],
)
def test_sizes_that_do_not_fit_name_the_vector(small, capfd, argv):
    with TableWriter("ark:bad.ark", "vector") as writer:
        writer.write("good", np.zeros(4, np.float32))
        writer.write("odd", np.zeros(7, np.float32))
    write_vector("mean", np.zeros(4))
    write_matrix("matrix", np.zeros((2, 4)))
    with open("spk2utt", "w") as file:
        file.write("s good odd\n")
    assert main(argv) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and "'odd' has 7 values" in lines[0]
    assert not {"y", "z"} & {path.name for path in small.iterdir()}


def test_vectors_one_behind_the_other(tmp_path, capfd):
    vectors = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    for number, keys in enumerate(("abcd", "dcba")):
        with TableWriter(f"ark,scp:{tmp_path}/{number}.ark,{tmp_path}/{number}.scp", "vector") as writer:
            for key, vector in zip(keys, vectors[number][:, : 3 - number], strict=True):
                if (number, key) != (1, "c"):
                    writer.write(key, vector)
    words = ["paste-vectors", f"ark:{tmp_path}/0.ark", f"scp:{tmp_path}/1.scp", f"ark:{tmp_path}/out.ark"]
    assert main(words) == 0
    found = dict(read_table(f"ark:{tmp_path}/out.ark", "vector"))
    assert list(found) == ["a", "b", "d"]
    for key, row, other in (("a", 0, 3), ("b", 1, 2), ("d", 3, 0)):
        np.testing.assert_array_equal(found[key], [*vectors[0][row], *vectors[1][other][:2]])
    assert "c is not in scp:" in capfd.readouterr().err
    (tmp_path / "1.scp").write_text("z x.ark:2\n")
    assert main([*words[:3], f"ark:{tmp_path}/none.ark"]) == 1 and not (tmp_path / "none.ark").exists()
