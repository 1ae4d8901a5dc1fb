"""Chunks of memory-mapped archives against the whole matrices."""

import pickle

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.io.feature_archive import FeatureArchive
from vouch.io.tables import TableWriter, read_table

LENGTHS = {"a": 3, "b": 400, "c": 57}


@pytest.fixture(params=[0, 3, 5])
def scp(request, tmp_path):
    """An archive in each row-major form: float32, two bytes and one byte a value."""
    generator = np.random.default_rng(0)
    with TableWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp", "matrix", request.param) as writer:
        for key, frames in LENGTHS.items():
            writer.write(key, generator.normal(size=(frames, 7)).astype(np.float32) * 10)
    return tmp_path / "x.scp"


def test_a_chunk_is_the_slice_of_the_matrix(scp):
    archive = FeatureArchive(scp)
    assert list(archive.keys) == list(LENGTHS) and len(archive) == 3
    for index, (key, matrix) in enumerate(read_table(f"scp:{scp}")):
        assert archive.shape(index) == matrix.shape == (LENGTHS[key], 7)
        np.testing.assert_allclose(archive.read(index), matrix, atol=2e-5)
        np.testing.assert_allclose(archive.read(index, 1, 2), matrix[1:3], atol=2e-5)
    again = pickle.loads(pickle.dumps(archive))  # as a data-loading worker gets it
    np.testing.assert_array_equal(again.read(1, 100, 50), archive.read(1, 100, 50))


@pytest.mark.parametrize(("start", "frames"), [(0, 58), (57, 1), (-1, 2), (3, 0)])
def test_frames_outside_the_utterance(scp, start, frames):
    with pytest.raises(VouchError, match="utterance c in .*x.ark has 57 frames"):
        FeatureArchive(scp).read(2, start, frames)


def test_a_truncated_archive(scp):
    archive = scp.with_name("x.ark")
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(VouchError, match="utterance c in .*x.ark is truncated"):
        FeatureArchive(scp).read(2, 0, 10)
    archive.write_bytes(b"")
    with pytest.raises(VouchError, match="cannot read the archive .*x.ark named in .*x.scp: it is empty"):
        FeatureArchive(scp).read(2, 0, 10)


def test_forms_that_cannot_be_sliced(tmp_path):
    with TableWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp", "matrix", 2) as writer:
        writer.write("a", np.zeros((20, 3), np.float32) + np.arange(3))
    with pytest.raises(VouchError, match="a 'CM' matrix has no row-major form; make it with steps/prepare_feats"):
        FeatureArchive(tmp_path / "x.scp").read(0, 0, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("a x.ark\n", "x.scp:1: 'a x.ark' is not 'utterance archive:offset'"), (None, "cannot read")],
)
def test_broken_lists(tmp_path, text, message):
    if text is not None:
        (tmp_path / "x.scp").write_text(text)
    with pytest.raises(VouchError, match=message):
        FeatureArchive(tmp_path / "x.scp")
