"""What is written is read back equal, in every form; and no bytes, however broken, raise anything but VouchError."""

import contextlib
import io
import tempfile
import tracemalloc
from pathlib import Path

import kaldiio
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vouch.errors import VouchError
from vouch.io.audio import read_waves
from vouch.io.payloads import write_payload
from vouch.io.ragged import Posterior, Selection
from vouch.io.tables import TableWriter, open_input, open_table, read_table

keys = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
sizes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
int32s = st.integers(-(2**31), 2**31 - 1)
any_float = st.floats(width=32)  # NaN, infinities, zeros of both signs, subnormal numbers
frames = st.lists(st.lists(st.tuples(int32s, any_float), max_size=4), max_size=5)


def posterior(lists):
    pairs = [pair for frame in lists for pair in frame]
    offsets = np.cumsum([0, *map(len, lists)])
    return Posterior(offsets, np.array([i for i, _ in pairs], np.int32), np.array([w for _, w in pairs], np.float32))


def array_of(shapes):
    return st.sampled_from([np.float32, np.float64]).flatmap(lambda dtype: hnp.arrays(dtype, shapes))


values = {
    "matrix": st.one_of(array_of(sizes), st.just(np.zeros((0, 0), np.float32))),
    "vector": array_of(st.integers(0, 9)),
    "int32": int32s,
    "float": any_float,
    "tokens": st.lists(keys, max_size=4),
    "int32-vector": hnp.arrays(np.int32, st.integers(0, 9)),
    "gselect": frames.map(posterior).map(lambda value: Selection(value.offsets, value.indices)),
    "posterior": frames.map(posterior),
}
a_table = st.sampled_from(sorted(values)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.dictionaries(keys, values[kind], max_size=4))
)


def write(wspecifier, kind, table, method=0):
    with TableWriter(wspecifier, kind, method) as writer:
        for key, value in table.items():
            writer.write(key, value)


@settings(max_examples=150, deadline=None)
@given(a_table, st.sampled_from(["", ",t", ",t,f"]))
@pytest.mark.filterwarnings("error")
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
    """What 7 digits keep of a value; arrays are read as float32 from a text."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, Posterior):
        return value._replace(weights=_as_text(value.weights))
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        rounded = np.array([float(f"{x:.7g}") for x in value.ravel().tolist()]).reshape(value.shape)
        with np.errstate(over="ignore"):
            return rounded.astype(np.float32)
    return value


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.floats(-1e6, 1e6, width=32)
    ),
    st.integers(1, 7),
)
def test_compression_loses_at_most_one_step(matrix, method):
    low, high = {4: (-32768, 32767), 6: (0, 255), 7: (0, 1)}.get(method, (float(matrix.min()), float(matrix.max())))
    width = (high - low) or 1 + abs(low)
    two_bytes = method in (3, 4) or (method == 1 and len(matrix) <= 8)
    with tempfile.TemporaryDirectory() as folder:
        write(f"ark,scp:{folder}/x.ark,{folder}/x.scp", "matrix", {"k": matrix}, method)
        write(f"ark,t:{folder}/x.txt", "matrix", {"k": matrix}, method)
        [(_, back)], [(_, by_script)], [(_, text)] = (
            read_table(f"{name}:{folder}/x.{name if name == 'scp' else end}")
            for name, end in (("ark", "ark"), ("scp", "scp"), ("ark", "txt"))
        )
    np.testing.assert_array_equal(back, by_script)
    np.testing.assert_allclose(text, back, rtol=1e-6, atol=1e-30)
    # One byte a value between quartiles of a column (methods 1 and 2): a step is at most 1/63 of the whole range.
    step = width / (65535 if two_bytes else 255 if method in (5, 6, 7) else 63)
    wanted = np.clip(matrix.astype(float), low, high)
    assert np.abs(back - wanted).max() <= 0.51 * step + 1e-6 * max(abs(low), abs(high)) + 1e-40 + width * 4e-5


@settings(max_examples=30, deadline=None)
@given(array_of(sizes), array_of(st.integers(0, 9)))
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
    st.sampled_from(
        [b"", b"k \0B", b"k \0BFM ", b"k \0BCM ", b"k \0BCM2 ", b"k [", b"k RIFF\0\0\0\0WAVEfmt "]
        + [b"k \0B\4\1\0\0\0\4", b"k \0B\4\xff\xff\xff\x7f\4\1\0\0\0\4", b"k 1 2 ; 3", b"k [ 1 0.5 ] ["]
    ),
    st.binary(max_size=60),
)
def test_random_bytes_raise_only_vouch_errors(begin, rest):
    assume(b"|" not in rest)  # read as a script file, it would be a command, and be run
    _only_vouch_errors(begin + rest)


def test_a_command_with_a_zero_byte_is_an_error():
    _only_vouch_errors(b"k \0B|")
    with pytest.raises(VouchError, match="zero byte"), open_input("echo \0 |"):
        pass


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


LISTS = Posterior(np.array([0, 2, 2, 3]), np.array([3, 1, 700], np.int32), np.array([0.25, 0.75, 1], np.float32))
EXAMPLES = {
    "matrix": np.arange(36, dtype=np.float32).reshape(12, 3),
    "vector": np.arange(4.0),
    "int32": 77,
    "float": 0.25,
    "tokens": ["one", "two"],
    "int32-vector": np.array([1, -2, 3], np.int32),
    "gselect": Selection(*LISTS[:2]),
    "posterior": LISTS,
}


@pytest.mark.parametrize("kind", ["int32-vector", "gselect", "posterior", "vector", "int32", "float"])
def test_every_truncation_of_a_binary_value_is_an_error(tmp_path, kind):
    data = b"key " + write_payload(EXAMPLES[kind], kind, False)
    for size in range(1, len(data)):
        (tmp_path / "x.ark").write_bytes(data[:size])
        with pytest.raises(VouchError, match="x.ark"):
            list(read_table(f"ark:{tmp_path}/x.ark", kind))


@pytest.mark.parametrize("kind", ["gselect", "posterior"])
def test_truncations_of_a_text_of_lists(tmp_path, kind):
    """Frames at the begin could be whole posteriors: the end of the line alone says that none is missing."""
    data = b"key " + write_payload(EXAMPLES[kind], kind, True)
    for size in range(5, len(data)):
        (tmp_path / "x.ark").write_bytes(data[:size])
        with pytest.raises(VouchError, match="x.ark"):
            list(read_table(f"ark:{tmp_path}/x.ark", kind))


@pytest.mark.parametrize("kind", values)
def test_a_damaged_size_costs_no_memory(tmp_path, kind):
    huge, header = b"\4\xff\xff\xff\x7f", {"matrix": b"FM ", "vector": b"FV "}.get(kind, b"")
    for data in (header + huge * 3 + bytes(50), header + b"\4\1\0\0\0" + huge + bytes(50), b"CM2 " + huge * 4):
        (tmp_path / "x.ark").write_bytes(b"key \0B" + data)
        tracemalloc.start()
        try:
            with contextlib.suppress(VouchError):
                list(read_table(f"ark:{tmp_path}/x.ark", kind))
            assert tracemalloc.get_traced_memory()[1] < 40 << 20
        finally:
            tracemalloc.stop()


@settings(max_examples=120, deadline=None)
@given(st.data())
@pytest.mark.filterwarnings("error")
def test_damaged_archives_raise_only_vouch_errors(data):
    kind = data.draw(st.sampled_from(sorted(EXAMPLES)))
    method = data.draw(st.integers(0, 7)) if kind == "matrix" else 0
    whole = bytearray(b"key " + write_payload(EXAMPLES[kind], kind, data.draw(st.booleans()), method))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    _only_vouch_errors(bytes(whole))
