"""What is written is read back equal, in every form; and no bytes, however broken, raise anything but VouchError."""

import contextlib
import io
import tempfile
from pathlib import Path

import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vouch.errors import VouchError
from vouch.io.audio import read_waves
from vouch.io.payloads import write_payload
from vouch.io.tables import TableWriter, open_table, read_table

keys = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
sizes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
numbers = {"min_value": -(2.0**100), "max_value": 2.0**100}
values = {
    "matrix": hnp.arrays(np.float32, sizes, elements=numbers),
    "vector": hnp.arrays(np.float32, st.integers(0, 9), elements=numbers),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "tokens": st.lists(keys, max_size=4),
}
a_table = st.sampled_from(sorted(values)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.dictionaries(keys, values[kind], max_size=4))
)


def write(wspecifier, kind, table, method=0):
    with TableWriter(wspecifier, kind, method) as writer:
        for key, value in table.items():
            writer.write(key, value)


@settings(max_examples=60, deadline=None)
@given(a_table, st.sampled_from(["", ",t", ",t,f"]))
def test_written_is_read_back(kind_and_table, flags):
    kind, table = kind_and_table
    with tempfile.TemporaryDirectory() as folder:
        write(f"ark,scp{flags}:{folder}/a b.ark,{folder}/a.scp", kind, table)
        for name in (f"ark:{folder}/a b.ark", f"scp:{folder}/a.scp", f"ark,bg:cat '{folder}/a b.ark' |"):
            found = dict(read_table(name, kind))
            assert list(found) == list(table)
            for key, value in table.items():
                np.testing.assert_equal(found[key], _as_text(value) if flags else value)
        with open_table(f"scp:{folder}/a.scp", kind) as by_script, open_table(f"ark:{folder}/a b.ark", kind) as by_ark:
            for key in reversed(table):
                assert key in by_script and key in by_ark
                np.testing.assert_equal(by_script[key], by_ark[key])
            assert "not there" not in by_script and "not there" not in by_ark


def _as_text(value):
    """What 7 digits keep of a value."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, np.ndarray):
        return np.array([float(f"{x:.7g}") for x in value.ravel()], np.float32).reshape(value.shape)
    return value


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float32, sizes, elements={"min_value": -1e6, "max_value": 1e6}))
def test_compression_loses_at_most_one_step(matrix):
    width = float(matrix.max()) - float(matrix.min()) or 1 + abs(float(matrix.min()))
    for method, steps in ((3, 65535), (5, 255)):
        packed = b"k " + write_payload(matrix, "matrix", False, method)
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(packed)
            [(_, back)] = read_table(f"ark:{file.name}")
        assert np.abs(back.astype(float) - matrix).max() <= 0.51 * width / steps + 1e-6 * np.abs(matrix).max() + 1e-40


@settings(max_examples=30, deadline=None)
@given(values["matrix"], values["vector"])
def test_kaldiio_reads_what_we_write_and_the_reverse(matrix, vector):
    for value, kind in ((matrix, "matrix"), (vector, "vector")):
        ours = write_payload(value, kind, False)
        np.testing.assert_array_equal(kaldiio.matio.read_kaldi(io.BytesIO(ours)), value)
        theirs = io.BytesIO()
        kaldiio.matio.write_array(theirs, value)
        assert theirs.getvalue() == ours


def _only_vouch_errors(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(data)
        Path(folder, "x.scp").write_text(f"k {path}:2\n")
        for kind in values:
            for name in (f"ark:{path}", f"scp:{folder}/x.scp", f"scp:{path}", f"ark,p:{path}"):
                with contextlib.suppress(VouchError):
                    list(read_table(name, kind))
        for name in (f"ark:{path}", f"scp:{folder}/x.scp"):
            with contextlib.suppress(VouchError):
                list(read_waves(name, allow_pipes=False))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([b"", b"k \0B", b"k \0BFM ", b"k \0BCM ", b"k \0BCM2 ", b"k [", b"k RIFF\0\0\0\0WAVEfmt "]),
    st.binary(max_size=60),
)
def test_random_bytes_raise_only_vouch_errors(begin, rest):
    _only_vouch_errors(begin + rest)


@pytest.mark.parametrize("method", [0, 1, 3, 5])
@pytest.mark.parametrize("text", [False, True])
def test_every_truncation_is_an_error(tmp_path, method, text):
    matrix = np.arange(36, dtype=np.float32).reshape(12, 3)
    write(f"ark{',t' if text else ''}:{tmp_path}/x.ark", "matrix", {"first": matrix}, method)
    data = (tmp_path / "x.ark").read_bytes()
    end = len(data) - 1 if text else len(data)  # a text is whole with its ], without the newline
    for size in range(1, end):
        (tmp_path / "x.ark").write_bytes(data[:size])
        with pytest.raises(VouchError, match="x.ark"):
            list(read_table(f"ark:{tmp_path}/x.ark"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_archives_raise_only_vouch_errors(data):
    matrix = np.arange(36, dtype=np.float32).reshape(12, 3)
    whole = bytearray(b"key " + write_payload(matrix, "matrix", data.draw(st.booleans()), data.draw(st.integers(0, 7))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    _only_vouch_errors(bytes(whole))
