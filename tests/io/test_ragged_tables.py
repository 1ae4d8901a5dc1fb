"""Posteriors, selections and int32 vectors: Kaldi's bytes and text spelled out, damage named."""

from __future__ import annotations

import io
import struct
import time

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.io.payloads import read_payload, write_payload
from vouch.io.ragged import Posterior, Selection
from vouch.io.tables import TableWriter, read_table

FRAMES = [[(3, 0.5), (1, 0.25)], [], [(2047, 1.0)]]
OFFSETS, INDICES = np.array([0, 2, 2, 3]), np.array([3, 1, 2047], np.int32)
POSTERIOR = Posterior(OFFSETS, INDICES, np.array([0.5, 0.25, 1], np.float32))
SELECTION = Selection(OFFSETS, INDICES)


def number(value) -> bytes:
    return b"\4" + struct.pack("<i" if isinstance(value, int) else "<f", value)


def test_binary_bytes():
    lists = [number(len(frame)) + b"".join(number(i) + number(w) for i, w in frame) for frame in FRAMES]
    assert write_payload(POSTERIOR, "posterior", False) == b"\0B" + number(3) + b"".join(lists)
    lists = [number(len(frame)) + b"".join(number(i) for i, _ in frame) for frame in FRAMES]
    assert write_payload(SELECTION, "gselect", False) == b"\0B" + number(3) + b"".join(lists)
    assert write_payload([5, -5], "int32-vector", False) == b"\0B" + number(2) + number(5) + number(-5)


def test_text_layout():
    assert write_payload(POSTERIOR, "posterior", True) == b"[ 3 0.5 1 0.25 ] [ ] [ 2047 1 ] \n"
    assert write_payload(SELECTION, "gselect", True) == b"3 1 ; ; 2047 ; \n"
    assert write_payload([5, -5], "int32-vector", True) == b"5 -5 \n"


@pytest.mark.parametrize("kind, value", [("posterior", POSTERIOR), ("gselect", SELECTION), ("int32-vector", INDICES)])
@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_tables_are_read_back_with_their_types(tmp_path, kind, value, form):
    with TableWriter(f"{form}:{tmp_path}/x", kind) as writer:
        writer.write("one", value)
        writer.write("two", value)
    for _, found in read_table(f"ark:{tmp_path}/x", kind):
        np.testing.assert_equal(tuple(found), tuple(value))
        dtypes = [part.dtype for part in found] if kind != "int32-vector" else [found.dtype]
        assert dtypes == {"posterior": [np.int64, np.int32, np.float32], "gselect": [np.int64, np.int32]}.get(
            kind, [np.int32]
        )


def test_kaldi_posteriors_are_written_again_byte_for_byte(golden_training, tmp_path):
    source = golden_training / "post.ark"
    lengths = dict(read_table(f"ark:{golden_training}/feats.ark"))
    with TableWriter(f"ark:{tmp_path}/x", "posterior") as writer:
        for key, value in read_table(f"ark:{source}", "posterior"):
            assert len(value.offsets) == len(lengths[key]) + 1
            sums = np.add.reduceat(value.weights, value.offsets[:-1])
            np.testing.assert_allclose(sums, 1, atol=1e-5)
            writer.write(key, value)
    assert (tmp_path / "x").read_bytes() == source.read_bytes()


def test_text_with_other_spaces_is_read():
    value = read_payload(io.BytesIO(b"[ 3 0.5  1 .25] [ ]\t[ 2047 1 ]\n"), "posterior")
    np.testing.assert_equal(tuple(value), tuple(POSTERIOR))
    value = read_payload(io.BytesIO(b"3  1;; 2047 ;\n"), "gselect")
    np.testing.assert_equal(tuple(value), tuple(SELECTION))


@pytest.mark.parametrize(
    "kind, text, says",
    [
        ("posterior", "3 5 7", "found '3 5 7' where \\[ … \\]"),
        ("posterior", "[ 1 0.5 2 ]", "not of the form"),
        ("posterior", "[ 1 half ]", "not a number"),
        ("posterior", "[ 0.5 1 ]", "not a whole number"),
        ("posterior", "] ]", "not of the form"),
        ("gselect", "1 2 3", "does not end with ;"),
        ("gselect", "1 x ;", "not a whole number"),
        ("gselect", "3000000000 ;", "32 bits"),
        ("int32-vector", "1 1.5", "not a whole number"),
    ],
)
def test_damaged_text_names_the_key(tmp_path, kind, text, says):
    (tmp_path / "x").write_text(f"good \nbad {text}\n")
    with pytest.raises(VouchError, match=f"x: key 'bad': cannot read a {kind}: .*{says}"):
        list(read_table(f"ark:{tmp_path}/x", kind))


def test_other_tables_are_named(tmp_path):
    with TableWriter(f"ark:{tmp_path}/x") as writer:
        writer.write("k", np.eye(2))
    for kind in ("posterior", "gselect", "int32-vector"):
        with pytest.raises(VouchError, match="another kind"):
            list(read_table(f"ark:{tmp_path}/x", kind))
    (tmp_path / "y").write_bytes(b"k " + write_payload(POSTERIOR, "posterior", False))
    with pytest.raises(VouchError):
        list(read_table(f"ark:{tmp_path}/y", "int32-vector"))


def test_sizes_and_marks_are_checked():
    for data in (number(-1), number(1) + number(-5), number(1) + number(2**31 - 1), number(1) + number(1) + b"\5abcd"):
        with pytest.raises(Exception, match="size|entries|where a number") as caught:
            read_payload(io.BytesIO(b"\0B" + data), "gselect")
        assert type(caught.value).__name__ == "PayloadError"


def test_ranges_are_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"k " + write_payload(POSTERIOR, "posterior", False))
    (tmp_path / "x.scp").write_text(f"k {tmp_path}/x:2[0:1]\n")
    with pytest.raises(VouchError, match="for matrices and vectors only"):
        list(read_table(f"scp:{tmp_path}/x.scp", "posterior"))


@pytest.mark.parametrize(
    "kind, value",
    [
        ("posterior", POSTERIOR._replace(weights=np.ones(2))),
        ("posterior", POSTERIOR._replace(offsets=np.array([0, 2, 1, 3]))),
        ("posterior", POSTERIOR._replace(offsets=np.array([0, 2]))),
        ("gselect", SELECTION._replace(offsets=np.array([1, 3]))),
        ("gselect", SELECTION._replace(indices=np.array([0.5, 1, 2]))),
        ("gselect", SELECTION._replace(indices=np.array([2**31, 1, 2]))),
        ("int32-vector", np.eye(2, dtype=int)),
    ],
)
def test_values_that_are_no_lists_are_refused(tmp_path, kind, value):
    says = f"key 'k': cannot write this {kind}"
    with pytest.raises(VouchError, match=says), TableWriter(f"ark:{tmp_path}/x", kind) as writer:
        writer.write("k", value)
    assert not list(tmp_path.iterdir())


def test_no_python_loop_over_pairs():
    """100,000 frames with 20 entries each, 2 million pairs: a loop in Python would take several seconds."""
    offsets = np.arange(0, 2_000_001, 20)
    value = Posterior(offsets, np.arange(2_000_000, dtype=np.int32), np.ones(2_000_000, np.float32))
    begin = time.process_time()
    data = write_payload(value, "posterior", False)
    back = read_payload(io.BytesIO(data), "posterior")
    assert time.process_time() - begin < 1.5
    np.testing.assert_array_equal(back.indices, value.indices)
