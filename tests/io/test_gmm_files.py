"""Files of GMMs and their statistics: Kaldi's bytes, every form read back, other files named."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from vouch.errors import VouchError
from vouch.io import gmm
from vouch.io.objects import read_object, write_object
from vouch.io.plda import read_plda

DIAGONAL, FULL = (gmm.read_diag_gmm, gmm.write_diag_gmm), (gmm.read_full_gmm, gmm.write_full_gmm)
DIAG_STATS, FULL_STATS = (gmm.read_diag_stats, gmm.write_diag_stats), (gmm.read_full_stats, gmm.write_full_stats)


def parameters(gaussians=3, dims=4, seed=0):
    """(weights, means, covariances), as the files can hold them: precisions and precisions · means in float32."""
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(gaussians)).astype(np.float32).astype(float)
    means = generator.normal(size=(gaussians, dims))
    factors = generator.normal(size=(gaussians, dims, dims + 2))
    return weights, means, factors @ factors.swapaxes(1, 2) / dims


def single(array):
    return array.astype(np.float32).astype(float)


def diagonal_model(**sizes):
    weights, means, covariances = parameters(**sizes)
    inv_vars = single(1 / np.diagonal(covariances, axis1=1, axis2=2))
    return weights, np.zeros(len(weights)), single(means * inv_vars), inv_vars


def full_model(**sizes):
    weights, means, covariances = parameters(**sizes)
    inv_covars = single(np.linalg.inv(covariances))
    inv_covars = np.tril(inv_covars) + np.tril(inv_covars, -1).swapaxes(1, 2)
    return weights, np.zeros(len(weights)), single(np.einsum("gij,gj->gi", inv_covars, means)), inv_covars


def statistics(full, gaussians=3, dims=4, seed=0):
    """(flags, occupancy, sums of x, sums of x² or x x')."""
    generator = np.random.default_rng(seed)
    data, posteriors = generator.normal(1, 2, (50, dims)), generator.random((50, gaussians))
    posteriors[:, 0] = 0  # a Gaussian that nothing belongs to
    second = np.einsum("tg,ti,tj->gij", posteriors, data, data) if full else posteriors.T @ data**2
    return "mvw", posteriors.sum(0), posteriors.T @ data, second


WHOLE = {DIAGONAL: diagonal_model, FULL: full_model}


@pytest.mark.parametrize("name", ["0", "1", "4", "final"])
def test_kaldi_diagonal_models_are_written_again_byte_for_byte(golden_training, tmp_path, name):
    source = golden_training / f"{name}.dubm"
    gmm.write_diag_gmm(f"{tmp_path}/x", *gmm.read_diag_gmm(str(source)))
    assert (tmp_path / "x").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", ["0", "1", "4"])
def test_kaldi_full_models_are_written_again(golden_training, tmp_path, name):
    source = golden_training / f"{name}.ubm"
    gmm.write_full_gmm(f"{tmp_path}/x", *gmm.read_full_gmm(str(source)))
    ours, kaldis = (tmp_path / "x").read_bytes(), source.read_bytes()
    begin = kaldis.index(b"<WEIGHTS>")
    assert ours[begin:] == kaldis[begin:]
    with read_object(str(source)) as reader:
        reader.expect("<FullGMM>")
        reader.expect("<GCONSTS>")
        np.testing.assert_allclose(gmm.read_full_gmm(str(source))[1], reader.vector(), rtol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("files", WHOLE)
def test_models_are_read_back(tmp_path, files, binary):
    read, write = files
    weights, _, means, precisions = WHOLE[files]()
    write(f"{tmp_path}/x", weights, np.zeros(3), means, precisions, binary)
    back = read(f"{tmp_path}/x")
    for array, wanted in zip((back[0], *back[2:]), (weights, means, precisions), strict=True):
        assert array.dtype == np.float64
        np.testing.assert_allclose(array, wanted, rtol=0 if binary else 1e-6)
    covariances = [np.diag(1 / row) if row.ndim == 1 else np.linalg.inv(row) for row in precisions]
    for weight, gconst, mean, covariance in zip(back[0], back[1], means, covariances, strict=True):
        at_zero = multivariate_normal.logpdf(np.zeros(4), covariance @ mean, covariance)
        assert gconst == pytest.approx(np.log(weight) + at_zero, abs=1e-5)


@pytest.mark.parametrize("files, kind", [(DIAGONAL, "Diag"), (FULL, "Full")])
def test_old_tokens_and_files_without_constants(tmp_path, files, kind):
    read, write = files
    model = WHOLE[files]()
    write(f"{tmp_path}/x", *model)
    data = (tmp_path / "x").read_bytes()
    old = data.replace(f"<{kind}GMM>".encode(), f"<{kind}GMMBegin>".encode())
    old = old.replace(f"</{kind}GMM>".encode(), f"<{kind}GMMEnd>".encode())
    begin, end = old.index(b"<GCONSTS>"), old.index(b"<WEIGHTS>")
    for part in (old, old[:begin] + old[end:]):
        (tmp_path / "old").write_bytes(part)
        for array, wanted in zip(read(f"{tmp_path}/old"), read(f"{tmp_path}/x"), strict=True):
            np.testing.assert_array_equal(array, wanted)


def test_text_layout(tmp_path):
    one = np.ones((1, 1))
    gmm.write_diag_gmm(f"{tmp_path}/d", one[0], -one[0], one, one, binary=False)
    assert (tmp_path / "d").read_text() == (
        "<DiagGMM> \n<GCONSTS>  [ -1 ]\n<WEIGHTS>  [ 1 ]\n"
        "<MEANS_INVVARS>  [\n  1 ]\n<INV_VARS>  [\n  1 ]\n</DiagGMM> \n"
    )
    gmm.write_full_gmm(f"{tmp_path}/f", one[0], -one[0], one, one[None], binary=False)
    assert (tmp_path / "f").read_text() == (
        "<FullGMM> \n<GCONSTS>  [ -1 ]\n<WEIGHTS>  [ 1 ]\n"
        "<MEANS_INVCOVARS>  [\n  1 ]\n<INV_COVARS> [\n1 ]\n</FullGMM> \n"
    )
    gmm.write_diag_stats(f"{tmp_path}/s", "mvw", one[0], one, one, binary=False)
    assert (tmp_path / "s").read_text() == (
        "<GMMACCS> <VECSIZE> 1 <NUMCOMPONENTS> 1 <FLAGS> 7 <OCCUPANCY>  [ 1 ]\n<MEANACCS>  [\n  1 ]\n"
        "<DIAGVARACCS>  [\n  1 ]\n</GMMACCS> "
    )


def test_full_statistics_are_centred_in_the_file(tmp_path):
    """Two frames, 1 and 3: their sum of squares is 10, without the part of the mean 2."""
    one = np.ones((1, 1))
    gmm.write_full_stats(f"{tmp_path}/x", "mvwt", 2 * one[0], 4 * one, 10 * one[None])
    size, number = (lambda n: b"\4" + struct.pack("<i", n)), (lambda x: struct.pack("<f", x))
    assert (tmp_path / "x").read_bytes() == (
        b"\0B<GMMACCS> <VECSIZE> " + size(1) + b"<NUMCOMPONENTS> " + size(1) + b"<FLAGS> \xfe\x0f\0<OCCUPANCY> FV "
        + size(1) + number(2) + b"<MEANACCS> FM " + size(1) + size(1) + number(4) + b"<FULLVARACCS> FP " + size(1)
        + number(2) + b"</GMMACCS> "
    )  # fmt: skip
    assert gmm.read_full_stats(f"{tmp_path}/x")[3].tolist() == [[[10]]]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("files", [DIAG_STATS, FULL_STATS])
@pytest.mark.parametrize("flags", ["mvw", "mvwt", "mw", "w"])
def test_statistics_are_read_back(tmp_path, files, flags, binary):
    read, write = files
    _, occupancy, means, second = statistics(files is FULL_STATS)
    wanted = (occupancy, means if "m" in flags else None, second if "v" in flags else None)
    write(f"{tmp_path}/x", flags, *wanted, binary, dims=4)
    found, *arrays, dims = read(f"{tmp_path}/x")
    assert (found, dims) == (flags, 4)
    for array, expected in zip(arrays, wanted, strict=True):
        if expected is None:
            assert array is None
        else:
            np.testing.assert_allclose(array, expected, rtol=2e-6, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99), st.booleans())
def test_models_of_any_size_are_read_back(gaussians, dims, seed, binary):
    for (read, write), model in WHOLE.items():
        weights, gconsts, *arrays = model(gaussians=gaussians, dims=dims, seed=seed)
        with tempfile.NamedTemporaryFile() as file:
            write(file.name, weights, gconsts, *arrays, binary)
            back = read(file.name)
        for array, wanted in zip((back[0], *back[2:]), (weights, *arrays), strict=True):
            np.testing.assert_allclose(array, wanted, rtol=0 if binary else 1e-6)


def all_files(folder: Path, binary: bool) -> dict[str, bytes]:
    gmm.write_diag_gmm(f"{folder}/d", *diagonal_model(gaussians=2, dims=2), binary)
    gmm.write_full_gmm(f"{folder}/f", *full_model(gaussians=2, dims=2), binary)
    gmm.write_diag_stats(f"{folder}/ds", *statistics(False, 2, 2), binary)
    gmm.write_full_stats(f"{folder}/fs", *statistics(True, 2, 2), binary)
    return {name: (folder / name).read_bytes() for name in ("d", "f", "ds", "fs")}


READERS = {"d": gmm.read_diag_gmm, "f": gmm.read_full_gmm, "ds": gmm.read_diag_stats, "fs": gmm.read_full_stats}


@pytest.mark.parametrize("binary", [True, False])
def test_every_truncation_is_an_error(tmp_path, binary):
    for name, data in all_files(tmp_path, binary).items():
        for length in range(len(data.rstrip())):
            (tmp_path / "cut").write_bytes(data[:length])
            with pytest.raises(VouchError, match="cut is not a"):
                READERS[name](f"{tmp_path}/cut")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(READERS)),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
    st.binary(max_size=20),
)
@pytest.mark.filterwarnings("error")
def test_damage_raises_only_vouch_errors(name, binary, changes, more):
    with tempfile.TemporaryDirectory() as folder:
        data = bytearray(all_files(Path(folder), binary)[name])
        for place, byte in changes:
            data[place % len(data)] = byte
        (Path(folder) / "x").write_bytes(data + more)
        for read in (*READERS.values(), read_plda):
            try:
                read(f"{folder}/x")
            except VouchError as error:
                assert f"{folder}/x" in str(error) and "\n" not in str(error)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([b"", b"\0B", b"\0B<DiagGMM> <WEIGHTS> FV \4", b"<GMMACCS> ", b"\0B<Plda> DV \4"]), st.binary())
def test_random_bytes_raise_only_vouch_errors(begin, rest):
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(begin + rest)
        for read in (*READERS.values(), read_plda):
            with pytest.raises(VouchError, match=file.name):
                read(file.name)


def test_other_files_are_named(tmp_path):
    all_files(tmp_path, True)
    for read, name, says in (
        (gmm.read_diag_gmm, "f", "f is not a diagonal GMM: it is a full-covariance GMM; .*vouch fgmm-global-to-gmm"),
        (gmm.read_full_gmm, "d", "d is not a full-covariance GMM: it is a diagonal GMM; .*vouch gmm-global-to-fgmm"),
        (gmm.read_diag_gmm, "ds", "it is a file of statistics; estimate a model"),
        (gmm.read_diag_stats, "fs", "they are for a full-covariance GMM; give them to the fgmm-global tools"),
        (gmm.read_full_stats, "ds", "they are for a diagonal GMM; give them to the gmm-global tools"),
        (gmm.read_full_stats, "f", "it is a full-covariance GMM; make them with fgmm-global-acc-stats"),
        (read_plda, "d", "d is not a PLDA model: found '<DiagGMM>'"),
    ):
        with pytest.raises(VouchError, match=says):
            read(f"{tmp_path}/{name}")
    (tmp_path / "x").write_text("utt1 utt2\n")
    with pytest.raises(VouchError, match="it begins with 'utt1', not with <DiagGMM>"):
        gmm.read_diag_gmm(f"{tmp_path}/x")


def broken_diagonal(part, value):
    model = [array.copy() for array in diagonal_model()]
    model[part][1] = value
    return DIAGONAL, model


def broken_full(change):
    model = [array.copy() for array in full_model()]
    change(model)
    return FULL, model


def singular(model):
    model[3][1] = np.ones((4, 4))


def short(model):
    model[3] = model[3][:, :3, :3]


def nothing(model):
    model[0], model[2] = np.zeros(0), np.zeros((0, 0))


@pytest.mark.parametrize(
    "broken, says",
    [
        (broken_diagonal(0, -0.5), "the weight of Gaussian 1 is -0.5"),
        (broken_diagonal(0, np.nan), "the weight of Gaussian 1 is nan"),
        (broken_diagonal(3, -1), "Gaussian 1 has a likelihood that is not a number"),
        (broken_diagonal(2, np.nan), "Gaussian 1 has a likelihood that is not a number"),
        (broken_full(singular), "covariance of Gaussian 1 is not positive definite; make it again"),
        (broken_full(short), "covariance of Gaussian 0 has dimension 3, its mean 4"),
        (broken_full(nothing), "0 weights and means"),
    ],
)
def test_models_that_cannot_be_used(tmp_path, broken, says):
    (read, write), model = broken
    write(f"{tmp_path}/x", *model)
    with pytest.raises(VouchError, match=says):
        read(f"{tmp_path}/x")


def test_a_gaussian_without_weight_never_wins(tmp_path):
    for files, model in WHOLE.items():
        read, write = files
        weights, *rest = model()
        write(f"{tmp_path}/x", np.array([0.5, 0, 0.5]), *rest)
        assert read(f"{tmp_path}/x")[1][1] == -np.inf


def test_statistics_must_have_what_their_flags_say(tmp_path):
    with write_object(f"{tmp_path}/x") as writer:
        writer.token("<GMMACCS>")
        for token, number in (("<VECSIZE>", 2), ("<NUMCOMPONENTS>", 2)):
            writer.token(token)
            writer.integer(number)
        writer.token("<FLAGS>")
        writer.integer(7, -2)
        writer.token("<OCCUPANCY>")
        writer.vector(np.ones(2))
        writer.token("</GMMACCS>")
    for read in (gmm.read_diag_stats, gmm.read_full_stats):
        with pytest.raises(VouchError, match="flags are 'mvw', but the sums"):
            read(f"{tmp_path}/x")
