"""Kaldi's object files: bytes and layout spelled out, everything read back, damage named."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vouch.errors import VouchError
from vouch.io.objects import read_object, write_object

SYMMETRIC = np.array([[1.0, 2.0], [2.0, 3.0]])


def size(number: int) -> bytes:
    return b"\4" + struct.pack("<i", number)


def write_all(path, binary):
    with write_object(str(path), binary) as writer:
        writer.token("<A>")
        writer.newline()
        writer.integer(-7)
        writer.integer(15, -2)
        writer.real(0.5)
        writer.real(1 / 3, double=True)
        writer.boolean(True)
        writer.boolean(False)
        writer.vector(np.array([1.5, -2]))
        writer.matrix(np.array([[1.0, 2, 3]]), double=True)
        writer.packed(SYMMETRIC)
        writer.int_vector(np.array([7, -1]))
        writer.token("</A>")


def read_all(path):
    with read_object(str(path), "a test object", "mend it") as reader:
        reader.expect("<A>")
        numbers = [reader.integer(), reader.integer(), reader.real(), reader.real(), reader.boolean(), reader.boolean()]
        arrays = [reader.vector(), reader.matrix(), reader.packed(), reader.int_vector()]
        reader.expect("</A>")
        assert reader.at_end()
    return numbers, arrays


def test_binary_bytes(tmp_path):
    write_all(tmp_path / "x", True)
    assert (tmp_path / "x").read_bytes() == (
        b"\0B<A> " + size(-7) + b"\xfe" + struct.pack("<H", 15) + b"\4" + struct.pack("<f", 0.5)
        + b"\x08" + struct.pack("<d", 1 / 3) + b"TF"
        + b"FV " + size(2) + struct.pack("<2f", 1.5, -2)
        + b"DM " + size(1) + size(3) + struct.pack("<3d", 1, 2, 3)
        + b"FP " + size(2) + struct.pack("<3f", 1, 2, 3)
        + size(2) + struct.pack("<2i", 7, -1) + b"</A> "
    )  # fmt: skip


def test_text_layout(tmp_path):
    write_all(tmp_path / "x", False)
    assert (tmp_path / "x").read_text() == (
        "<A> \n-7 15 0.5 0.3333333 T F  [ 1.5 -2 ]\n [\n  1 2 3 ]\n[\n1 \n2 3 ]\n[ 7 -1 ]\n</A> "
    )


@pytest.mark.parametrize("binary", [True, False])
def test_both_forms_are_read_back(tmp_path, binary):
    write_all(tmp_path / "x", binary)
    numbers, arrays = read_all(tmp_path / "x")
    assert numbers == [-7, 15, 0.5, pytest.approx(1 / 3, rel=0 if binary else 1e-6), True, False]
    for array, wanted in zip(arrays, ([1.5, -2], [[1, 2, 3]], SYMMETRIC, [7, -1]), strict=True):
        np.testing.assert_array_equal(array, wanted)
    assert [array.dtype for array in arrays] == [np.float64] * 3 + [np.int32]


def test_what_kaldi_also_reads_as_text(tmp_path):
    (tmp_path / "x").write_text("<A>\n\n -7 15 .5 0.25\nT F [ 1.5 -2]\n[1 2 3; ]\n[ 1\n2 3]\n[7 -1]</A>")
    numbers, arrays = read_all(tmp_path / "x")
    assert numbers == [-7, 15, 0.5, 0.25, True, False]
    assert [array.tolist() for array in arrays] == [[1.5, -2], [[1, 2, 3]], SYMMETRIC.tolist(), [7, -1]]


@pytest.mark.parametrize("binary", [True, False])
def test_empty_arrays(tmp_path, binary):
    with write_object(str(tmp_path / "x"), binary) as writer:
        writer.vector(np.zeros(0))
        writer.matrix(np.zeros((3, 0)))
        writer.packed(np.zeros((0, 0)))
        writer.int_vector(np.zeros(0))
    with read_object(str(tmp_path / "x")) as reader:
        shapes = [reader.vector().shape, reader.matrix().shape, reader.packed().shape, reader.int_vector().shape]
        assert shapes == [(0,), (0, 0), (0, 0), (0,)] and reader.at_end()


@pytest.mark.parametrize("binary", [True, False])
def test_peek_uses_nothing_up(tmp_path, binary):
    with write_object(str(tmp_path / "x"), binary) as writer:
        writer.vector(np.array([1.0]))
        writer.newline()
        writer.token("<B>")
        writer.matrix(np.eye(2))
    with read_object(str(tmp_path / "x")) as reader:
        assert reader.peek() == reader.peek() == ("FV" if binary else "[")
        assert reader.vector().tolist() == [1]
        assert reader.peek() == "<B>" and not reader.at_end() and reader.token() == "<B>"
        assert reader.peek()
        assert reader.matrix().tolist() == np.eye(2).tolist()
        assert reader.peek() == "" and reader.at_end()


elements = st.lists(
    st.one_of(
        st.tuples(st.just("token"), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)),
        st.tuples(st.just("integer"), st.integers(-(2**31), 2**31 - 1)),
        st.tuples(st.just("real"), st.floats(width=32)),
        st.tuples(st.just("boolean"), st.booleans()),
        st.tuples(st.just("vector"), hnp.arrays(np.float32, st.integers(0, 6))),
        st.tuples(st.just("matrix"), hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2))),
        st.tuples(
            st.just("packed"),
            st.integers(1, 5).flatmap(lambda n: hnp.arrays(np.float32, (n, n))),
        ),
        st.tuples(st.just("int_vector"), hnp.arrays(np.int32, st.integers(0, 6))),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(elements, st.booleans(), st.booleans())
def test_anything_is_read_back(sequence, binary, double):
    with tempfile.TemporaryDirectory() as folder:
        with write_object(f"{folder}/x", binary) as writer:
            for name, value in sequence:
                precision = {"double": double} if name in ("real", "vector", "matrix", "packed") else {}
                getattr(writer, name)(value, **precision)
        with read_object(f"{folder}/x") as reader:
            assert reader.binary == binary
            for name, value in sequence:
                tolerance = 0 if binary else 1e-6
                wanted = np.where(np.tri(len(value), dtype=bool), value, value.T) if name == "packed" else value
                if name in ("token", "boolean", "integer"):
                    assert getattr(reader, name)() == value
                else:
                    np.testing.assert_allclose(getattr(reader, name)(), np.asarray(wanted, float), rtol=tolerance)
            assert reader.at_end()


@pytest.mark.parametrize("binary", [True, False])
def test_every_truncation_is_an_error(tmp_path, binary):
    write_all(tmp_path / "whole", binary)
    data = (tmp_path / "whole").read_bytes()
    for length in range(len(data) - 1):  # the last byte is a space
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises(VouchError, match="cut is not a test object: .*; mend it"):
            read_all(tmp_path / "cut")


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=3))
def test_damage_raises_only_vouch_errors(binary, changes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        write_all(path, binary)
        data = bytearray(path.read_bytes())
        for place, byte in changes:
            data[place % len(data)] = byte
        path.write_bytes(data)
        try:
            read_all(path)
        except VouchError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        except AssertionError:
            pass  # read_all's own, of white space that became something else


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"", b"\0B", b"\0BFV \4", b"\0BFM \4", b"[", b"1", b"\0BT"]),
    st.binary(max_size=40),
    st.sampled_from(
        ["token", "peek", "integer", "real", "boolean", "vector", "matrix", "packed", "int_vector", "at_end"]
    ),
)
def test_random_bytes_raise_only_vouch_errors(begin, rest, method):
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(begin + rest)
        try:
            with read_object(file.name) as reader:
                getattr(reader, method)()
        except VouchError as error:
            assert file.name in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    "method, kind", [("vector", b"FV "), ("matrix", b"FM "), ("packed", b"DP "), ("int_vector", b"")]
)
def test_a_damaged_size_costs_no_memory(tmp_path, method, kind):
    (tmp_path / "x").write_bytes(b"\0B" + kind + size(2**31 - 1) + size(2**31 - 1) + bytes(1000))
    tracemalloc.start()
    try:
        with pytest.raises(VouchError, match="cut off"), read_object(str(tmp_path / "x")) as reader:
            getattr(reader, method)()
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_a_long_word_is_not_read_to_its_end(tmp_path):
    (tmp_path / "x").write_bytes(b"a" * 100_000)
    with pytest.raises(VouchError, match="found 'aaaa"), read_object(str(tmp_path / "x")) as reader:
        reader.token()


@pytest.mark.parametrize(
    "content, method, says",
    [
        (b"\0x", "token", "zero byte"),
        (b"<A> ", "integer", "found '<A>' where a whole number"),
        (b"x ", "real", "found 'x' where a number"),
        (b"maybe ", "boolean", "found 'maybe' where T or F"),
        (b"[ 1 2\n3 4 ]", "vector", "found a matrix"),
        (b"[ 1 2\n3 ]", "matrix", "differ in length"),
        (b"[ 1\n2 ]", "packed", "2 numbers are not the lower triangle"),
        (b"[ 3000000000 ]", "int_vector", "32 bits"),
        (b"\0BFM " + b"\4\3\0\0\0\4\0\0\0\0", "matrix", "3 rows and 0 columns"),
        (b"\0BFM ", "vector", "found 'FM' where a vector"),
    ],
)
def test_messages(tmp_path, content, method, says):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(VouchError, match=says), read_object(str(tmp_path / "x")) as reader:
        getattr(reader, method)()


def test_nothing_is_left_of_a_failed_write(tmp_path):
    with pytest.raises(ValueError, match="token"), write_object(str(tmp_path / "x")) as writer:
        writer.token("two words")
    assert not list(tmp_path.iterdir())


def test_wrong_shapes_are_refused(tmp_path):
    with write_object(str(tmp_path / "x")) as writer:
        for call, value in ((writer.vector, np.eye(2)), (writer.matrix, np.ones(2)), (writer.packed, np.ones((2, 3)))):
            with pytest.raises(ValueError, match="shape"):
                call(value)
