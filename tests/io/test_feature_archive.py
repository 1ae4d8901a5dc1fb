"""Chunks of memory-mapped archives against the whole matrices."""

import pickle

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.io.archive_index import ArchiveIndex
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


def test_chunks_of_a_batch_are_the_slices_and_short_utterances_are_repeated(scp):
    archive = FeatureArchive(scp)
    indices, starts = np.array([1, 2, 0, 1]), np.array([340, 0, 0, 7])
    chunks = archive.read_chunks(indices, starts, 60)
    assert chunks.shape == (4, 60, 7) and chunks.dtype == np.float32
    for chunk, index, start in zip(chunks, indices, starts, strict=True):
        whole = archive.read(int(index))
        np.testing.assert_array_equal(chunk, whole[(start + np.arange(60)) % len(whole)])


def test_chunks_beyond_an_utterance_or_of_other_dims(tmp_path, scp):
    archive = FeatureArchive(scp)
    for start, frames in ((341, 60), (-1, 5), (400, 1)):
        with pytest.raises(VouchError, match="utterance b in .*x.ark has 400 frames, not .* up to date"):
            archive.read_chunks(np.array([0, 1]), np.array([0, start]), frames)
    with TableWriter(f"ark,scp:{tmp_path}/y.ark,{tmp_path}/y.scp", "matrix", 3) as writer:
        writer.write("a", np.ones((20, 3), np.float32))
        writer.write("b", np.ones((20, 4), np.float32))
    with pytest.raises(VouchError, match="utterance b in .*y.ark has 4 dims a frame, others 3"):
        FeatureArchive(tmp_path / "y.scp").read_chunks(np.array([0, 1]), np.array([0, 0]), 5)


def test_a_worker_process_gets_a_copy_that_maps_the_archives_anew(scp):
    archive = FeatureArchive(scp)
    before = archive.read_chunks(np.array([1, 2]), np.array([5, 6]), 40)
    again = pickle.loads(pickle.dumps(archive))
    np.testing.assert_array_equal(again.read_chunks(np.array([1, 2]), np.array([5, 6]), 40), before)


def test_keys_are_a_sequence_of_strings(tmp_path):
    names = sorted(f"sprecher{i:06d}-ä{'x' * (i % 7)}" for i in range(40_000))
    (tmp_path / "x.scp").write_text("".join(f"{name} x.ark:{i}\n" for i, name in enumerate(names)), encoding="utf-8")
    keys = ArchiveIndex(tmp_path / "x.scp", "").keys
    assert len(keys) == len(names) and list(keys) == names
    assert keys[0] == names[0] and keys[39_999] == keys[-1] == names[-1] and keys[5:9] == names[5:9]
    assert keys.blob == "\n".join(names).encode()
    with pytest.raises(IndexError):
        keys[40_000]


def test_no_more_than_some_archives_are_mapped_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("vouch.io.archive_index._MAX_OPEN", 3)
    lines = []
    for i in range(8):
        with TableWriter(f"ark,scp:{tmp_path}/{i}.ark,{tmp_path}/{i}.scp", "matrix", 3) as writer:
            writer.write(f"u{i}", np.full((5, 2), i, np.float32))
        lines.append((tmp_path / f"{i}.scp").read_text())
    (tmp_path / "all.scp").write_text("".join(lines))
    archive = FeatureArchive(tmp_path / "all.scp")
    for _ in range(2):
        chunks = archive.read_chunks(np.arange(8), np.zeros(8, int), 5)
        assert chunks[:, 0, 0].tolist() == list(range(8))
        assert len(archive._index._maps) == 3


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
    [
        ("", "is empty"),
        ("a x.ark\n", "x.scp:1: 'a x.ark' is not 'utterance archive:offset'"),
        ("a x.ark:5\nb x.ark:-7\n", "x.scp:2: 'b x.ark:-7' is not"),
        ("b x.ark:5\na x.ark:7\n", "x.scp:2: 'a' comes after 'b', which is not sorted; run utils/fix_data_dir.sh"),
        ("a x.ark:5\na x.ark:7\n", "x.scp:2: 'a' is there twice; run utils/fix_data_dir.sh"),
        (b"a\xff x.ark:5\n", "x.scp is not UTF-8 text"),
        (None, "cannot read"),
    ],
)
def test_broken_lists(tmp_path, text, message):
    if text is not None:
        (tmp_path / "x.scp").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(VouchError, match=message):
        FeatureArchive(tmp_path / "x.scp")
