"""IvectorExtractor files and those of the training statistics."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.io.ivector_extractor import (
    ExtractorArrays,
    StatsArrays,
    read_ivector_extractor,
    read_ivector_extractor_stats,
    sum_ivector_extractor_stats,
    write_ivector_extractor,
    write_ivector_extractor_stats,
)
from vouch.io.objects import write_object


def symmetric(rng, *shape):
    full = rng.standard_normal((*shape, shape[-1]))
    return full + np.swapaxes(full, -1, -2)


def extractor_arrays(weights=False, seed=0):
    rng = np.random.default_rng(seed)
    return ExtractorArrays(
        rng.standard_normal((3, 2)) if weights else np.zeros((0, 0)),
        np.zeros(0) if weights else rng.random(3),
        rng.standard_normal((3, 4, 2)),
        symmetric(rng, 3, 4),
        12.5,
    )


def stats_arrays(weights=False, variances=True, seed=0):
    """What single precision holds where the file has it."""
    rng = np.random.default_rng(seed)
    quadratic = rng.standard_normal((2, 3, 3)).astype(np.float32).astype(np.float64)
    return StatsArrays(
        -1234.5678901234,
        rng.random(3),
        rng.standard_normal((3, 4, 2)),
        quadratic[0],
        quadratic[1] if weights else np.zeros((0, 0)),
        rng.standard_normal((3, 2)) if weights else np.zeros((0, 0)),
        symmetric(rng, 3, 4) if variances else np.zeros((0, 0, 0)),
        17.0,
        rng.standard_normal(2),
        symmetric(rng, 2),
    )


def assert_equal(ours, theirs, rtol=0.0):
    for name, a, b in zip(theirs._fields, ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b), name
        assert np.allclose(a, b, rtol=rtol, atol=0), name


@pytest.mark.parametrize("name", ["0.ie", "1.ie", "5.ie"])
def test_kaldis_files_byte_for_byte(golden_training, tmp_path, name):
    arrays = read_ivector_extractor(f"{golden_training}/{name}")
    write_ivector_extractor(f"{tmp_path}/copy", arrays)
    assert (tmp_path / "copy").read_bytes() == (golden_training / name).read_bytes()
    write_ivector_extractor(f"{tmp_path}/text", arrays, binary=False)
    assert_equal(read_ivector_extractor(f"{tmp_path}/text"), arrays, rtol=1e-6)
    assert (tmp_path / "text").read_text().startswith("<IvectorExtractor> <w>  [ ]\n<w_vec>  [ ")


@pytest.mark.parametrize("weights", [False, True])
def test_extractor_there_and_back(tmp_path, weights):
    arrays = extractor_arrays(weights)
    for binary, rtol in ((True, 0.0), (False, 1e-6)):
        write_ivector_extractor(f"{tmp_path}/model", arrays, binary)
        assert_equal(read_ivector_extractor(f"{tmp_path}/model"), arrays, rtol)


@pytest.mark.parametrize("weights, variances", [(False, True), (True, True), (False, False)])
def test_statistics_there_and_back(tmp_path, weights, variances):
    arrays = stats_arrays(weights, variances)
    for binary, rtol in ((True, 0.0), (False, 1e-6)):
        write_ivector_extractor_stats(f"{tmp_path}/stats", arrays, binary)
        assert_equal(read_ivector_extractor_stats(f"{tmp_path}/stats"), arrays, rtol)


def test_layout_of_the_statistics(tmp_path):
    """Tokens in Kaldi's order; R and Q in single precision, all else in double."""
    write_ivector_extractor_stats(f"{tmp_path}/stats", stats_arrays(weights=True))
    data = (tmp_path / "stats").read_bytes()
    places = [data.index(token) for token in (
        b"\0B<IvectorExtractorStats> <TotAuxf> \x08", b"<gamma> DV \x04\x03\0\0\0", b"<Y> \x04\x03\0\0\0DM ",
        b"<R> FM ", b"<Q> FM ", b"<G> DM ", b"<S> \x04\x03\0\0\0DP ", b"<NumIvectors> \x08", b"<IvectorSum> DV ",
        b"<IvectorScatter> DP ", b"</IvectorExtractorStats> ",
    )]  # fmt: skip
    assert places == sorted(places) and places[0] == 0 and data.endswith(b"</IvectorExtractorStats> ")


@pytest.mark.parametrize("at_once", [False, True])
def test_sum(tmp_path, at_once):
    parts = [stats_arrays(weights=True, seed=seed) for seed in range(3)]
    names = []
    for seed, part in enumerate(parts):
        write_ivector_extractor_stats(f"{tmp_path}/{seed}", part)
        names.append(f"{tmp_path}/{seed}" if seed else f"cat {tmp_path}/{seed} |")
    total = sum_ivector_extractor_stats(names, at_once)
    assert_equal(total, StatsArrays(*[sum(values) for values in zip(*parts, strict=True)]), rtol=1e-12)


def test_statistics_of_another_model_are_not_added(tmp_path):
    write_ivector_extractor_stats(f"{tmp_path}/a", stats_arrays())
    write_ivector_extractor_stats(f"{tmp_path}/b", stats_arrays(variances=False))
    with pytest.raises(VouchError, match=r"/b: its scatter has the shape .* one model"):
        sum_ivector_extractor_stats([f"{tmp_path}/a", f"{tmp_path}/b"])


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("what", ["extractor", "stats"])
def test_cut_off_anywhere(tmp_path, binary, what):
    path = tmp_path / "whole"
    if what == "extractor":
        write_ivector_extractor(str(path), extractor_arrays(), binary)
        read = read_ivector_extractor
    else:
        write_ivector_extractor_stats(str(path), stats_arrays(), binary)
        read = read_ivector_extractor_stats
    data = path.read_bytes()
    for size in (*range(0, len(data) - 1, 7), len(data) - 2):
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(VouchError, match="/cut"):
            read(f"{tmp_path}/cut")


def test_random_damage_is_an_error_or_other_numbers(tmp_path):
    write_ivector_extractor(f"{tmp_path}/whole", extractor_arrays())
    data = np.frombuffer((tmp_path / "whole").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(300):
        damaged = data.copy()
        damaged[rng.integers(0, len(data), 3)] = rng.integers(0, 256, 3)
        (tmp_path / "damaged").write_bytes(damaged.tobytes())
        try:
            read_ivector_extractor(f"{tmp_path}/damaged")
        except VouchError as error:
            assert "/damaged" in str(error)
            failed += 1
    assert 20 < failed < 300


def test_another_type(tmp_path):
    with write_object(f"{tmp_path}/other") as writer:
        writer.token("<DiagGMM>")
    with pytest.raises(VouchError, match="/other is not an i-vector extractor: .*<DiagGMM>"):
        read_ivector_extractor(f"{tmp_path}/other")
    write_ivector_extractor(f"{tmp_path}/model", extractor_arrays())
    with pytest.raises(VouchError, match="/model is not a file of i-vector extractor statistics: .*<IvectorExtractor>"):
        read_ivector_extractor_stats(f"{tmp_path}/model")


@pytest.mark.parametrize("change", [
    {"weights": np.ones(2)},
    {"inv_covars": np.ones((3, 5, 5))},
    {"weight_projections": np.ones((3, 3)), "weights": np.ones(0)},
    {"weight_projections": np.ones((3, 2))},
])  # fmt: skip
def test_extractor_that_does_not_fit_together(tmp_path, change):
    write_ivector_extractor(f"{tmp_path}/model", extractor_arrays()._replace(**change))
    with pytest.raises(VouchError, match="do not fit together"):
        read_ivector_extractor(f"{tmp_path}/model")


@pytest.mark.parametrize("change", [
    {"occupancy": np.ones(2)},
    {"quadratic": np.ones((3, 4))},
    {"scatter": np.ones((2, 4, 4))},
    {"weight_quadratic": np.ones((3, 3))},
    {"ivector_sum": np.ones(3)},
    {"ivector_scatter": np.ones((3, 3))},
])  # fmt: skip
def test_statistics_that_do_not_fit_together(tmp_path, change):
    write_ivector_extractor_stats(f"{tmp_path}/stats", stats_arrays()._replace(**change))
    with pytest.raises(VouchError, match="do not fit together"):
        read_ivector_extractor_stats(f"{tmp_path}/stats")


def test_matrices_of_different_shapes(tmp_path):
    with write_object(f"{tmp_path}/model") as writer:
        writer.token("<IvectorExtractor>")
        writer.token("<w>")
        writer.matrix(np.zeros((0, 0)), double=True)
        writer.token("<w_vec>")
        writer.vector(np.ones(2), double=True)
        writer.token("<M>")
        writer.integer(2)
        writer.matrix(np.ones((4, 2)), double=True)
        writer.matrix(np.ones((4, 3)), double=True)
    with pytest.raises(VouchError, match=r"matrix 1 has the shape \(4, 3\)"):
        read_ivector_extractor(f"{tmp_path}/model")
