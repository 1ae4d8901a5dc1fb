"""Tables: specifiers, ranges, options, pipes, atomic writing, messages."""

import io
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from vouch.errors import VouchError
from vouch.io.tables import (
    TableWriter,
    open_input,
    open_output,
    open_table,
    read_matrix,
    read_table,
    read_token_lines,
    read_vector,
    write_matrix,
    write_vector,
)

A = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def table(tmp_path):
    with TableWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp") as writer:
        for number, key in enumerate("abc"):
            writer.write(key, A + number)
    return tmp_path


def message(call, *args):
    with pytest.raises(VouchError) as caught:
        result = call(*args)
        list(result)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_ranges_include_their_ends(table):
    archive = f"{table}/x.ark:2"
    np.testing.assert_array_equal(read_matrix(f"{archive}[1:2]"), A[1:3])
    np.testing.assert_array_equal(read_matrix(f"{archive}[1:2,0:1]"), A[1:3, 0:2])
    np.testing.assert_array_equal(read_matrix(f"{archive}[:,2:2]"), A[:, 2:3])
    np.testing.assert_array_equal(read_matrix(f"cat {table}/x.ark | tail -c +3 |[2:3]"), A[2:4])
    write_vector(f"{table}/v", A.ravel())
    np.testing.assert_array_equal(read_vector(f"{table}/v[3:5]"), [3, 4, 5])


def test_range_past_the_end(table):
    np.testing.assert_array_equal(read_matrix(f"{table}/x.ark:2[2:6]"), A[2:4])  # Kaldi's tolerance: up to 3 rows
    assert "does not fit into 4 rows" in message(read_matrix, f"{table}/x.ark:2[2:7]")
    assert "does not fit into 4 rows" in message(read_matrix, f"{table}/x.ark:2[3:2]")
    assert "does not fit into 3 columns" in message(read_matrix, f"{table}/x.ark:2[:,0:3]")
    assert "not a range" in message(read_matrix, f"{table}/x.ark:2[1;2]")


def test_two_matrices_after_a_range_in_a_pipe(table):
    """A range on a stream that cannot seek must leave the stream at the next entry."""
    text = "".join(f"{key} {table}/x.ark:{offset}[0:0]\n" for key, offset in (("a", 2), ("b", 67), ("c", 132)))
    (table / "r.scp").write_text(text)
    assert [value[0, 0] for _, value in read_table(f"scp:{table}/r.scp")] == [0, 1, 2]


def test_text_forms(tmp_path):
    path = tmp_path / "x"
    path.write_text("k  [\n  1 2.5 3\n  4 nan inf ]\nempty  [ ]\none [ 1 2 ]\n")
    found = dict(read_table(f"ark:{path}"))
    np.testing.assert_array_equal(found["k"], np.array([[1, 2.5, 3], [4, np.nan, np.inf]], np.float32))
    assert found["empty"].shape == (0, 0) and found["one"].shape == (1, 2)
    path.write_text("v  [ 1 0 1 ]\nw [ ]\n")
    found = dict(read_table(f"ark:{path}", "vector"))
    assert found["v"].tolist() == [1, 0, 1] and found["v"].dtype == np.float32 and found["w"].shape == (0,)
    path.write_text("i 5\nj -7 \n")
    assert dict(read_table(f"ark:{path}", "int32")) == {"i": 5, "j": -7}
    path.write_text("spk u1 u2\nlonely\n")
    assert dict(read_table(f"ark:{path}", "tokens")) == {"spk": ["u1", "u2"], "lonely": []}


def test_double_precision_is_kept(tmp_path):
    write_matrix(f"{tmp_path}/m", A / 3.0 + np.float64(1e-12))
    assert read_matrix(f"{tmp_path}/m").dtype == np.float64
    write_vector(f"{tmp_path}/v", np.array([1 / 3]))
    assert read_vector(f"{tmp_path}/v")[0] == 1 / 3


def test_empty_matrix_is_written_as_kaldis(tmp_path):
    write_matrix(f"{tmp_path}/m", np.zeros((0, 23), np.float32))
    assert read_matrix(f"{tmp_path}/m").shape == (0, 0)
    with TableWriter(f"ark:{tmp_path}/c.ark", compression_method=2) as writer:
        writer.write("k", np.zeros((0, 23)))
        writer.write("l", A)
    assert [value.shape for _, value in read_table(f"ark:{tmp_path}/c.ark")] == [(0, 0), (4, 3)]


@pytest.mark.parametrize(
    ("specifier", "expected"),
    [
        ("x.ark", "not a table to read"),
        ("ark,scp:a,b", "both ark and scp"),
        ("ark,q:x", "unknown table option 'q'"),
        ("ark:/nowhere/x.ark", "cannot read /nowhere/x.ark: No such file"),
        ("scp:/nowhere/x.scp", "cannot read /nowhere/x.scp: No such file"),
        ("ark:| cat", "put the | at the end"),
    ],
)
def test_bad_read_specifiers(specifier, expected):
    assert expected in message(read_table, specifier)


@pytest.mark.parametrize(
    "specifier", ["x.ark", "scp:x.scp", "ark,scp:only.ark", "ark,scp:-,x.scp", "ark,q:x", "ark:cat |"]
)
def test_bad_write_specifiers(specifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VouchError), TableWriter(specifier) as writer:
        writer.write("k", A)
    assert os.listdir(tmp_path) == []


def test_script_errors_name_the_line(table):
    script = table / "bad.scp"
    script.write_text("a x.ark:2\njustakey\n")
    assert "bad.scp:2: want 'KEY FILE', found 'justakey'" in message(open_table, f"scp:{script}")
    script.write_text(f"a {table}/x.ark:2\na {table}/x.ark:2\n")
    assert "key 'a' is there twice" in message(open_table, f"scp:{script}")
    script.write_text(f"a {table}/gone.ark:2\n")
    assert "key 'a'" in message(read_table, f"scp:{script}") and "gone.ark" in message(read_table, f"scp:{script}")
    script.write_text(f"a {table}/x.ark:99999\n")
    assert "key 'a'" in message(read_table, f"scp:{script}")
    assert "write ark: in front" in message(read_table, f"scp:{table}/x.ark")


def test_wrong_kind_is_said(table):
    assert "'FM' where a vector should begin" in message(read_table, f"ark:{table}/x.ark", "vector")
    write_vector(f"{table}/v", A[0])
    assert "'FV' where a matrix should begin" in message(read_matrix, f"{table}/v")
    (table / "t").write_text("k [\n 1 2\n 3 ]\n")
    assert "differ in length" in message(read_table, f"ark:{table}/t")
    assert "key 'k'" in message(read_table, f"ark:{table}/t")


def test_option_p_passes_over_what_cannot_be_read(table):
    script = table / "p.scp"
    script.write_text(f"a {table}/x.ark:2\nb {table}/gone:1\nc {table}/x.ark:132\n")
    assert [key for key, _ in read_table(f"scp,p:{script}")] == ["a", "c"]
    with open_table(f"scp,p:{script}") as opened:
        assert "a" in opened and "b" not in opened


def test_sorted_options_keep_one_value(table):
    with open_table(f"ark,s,cs:{table}/x.ark") as opened:
        assert "a" in opened and "aa" not in opened and opened["c"][0, 0] == 2
        assert len(opened._loaded) == 1
        assert "asked for after a larger key" in message(opened.__getitem__, "b")
    with open_table(f"ark,o:{table}/x.ark") as opened:
        assert opened["b"][0, 0] == 1 and "b" not in opened
    with TableWriter(f"ark:{table}/u.ark") as writer:
        writer.write("b", A)
        writer.write("a", A)
    with open_table(f"ark,s:{table}/u.ark") as opened:
        assert "comes after 'b'" in message(opened.__getitem__, "c")


def test_missing_and_duplicate_keys(table):
    with open_table(f"ark:{table}/x.ark") as opened:
        assert "x.ark has no entry for 'z'" in message(opened.__getitem__, "z")
    (table / "d.ark").write_text("a [ 1 ]\na [ 2 ]\n")
    with open_table(f"ark:{table}/d.ark") as opened:
        assert "key 'a' is there twice" in message(opened.__getitem__, "z")


def test_command_pipes(table):
    assert len(list(read_table(f"ark:cat {table}/x.ark |"))) == 3
    with TableWriter(f"ark:| cat > {table}/y.ark") as writer:
        writer.write("k", A)
    assert [key for key, _ in read_table(f"ark:{table}/y.ark")] == ["k"]


@pytest.mark.parametrize("command", ["cat {0}/x.ark; exit 3", "(cat {0}/x.ark; exit 3) | cat"])
def test_a_failing_command_is_an_error_though_its_output_is_whole(table, command):
    assert "exit code 3" in message(read_table, f"ark:{command.format(table)} |")


def test_a_failing_command_is_named_when_its_output_is_short(table):
    assert "exit code 3" in message(read_table, f"ark:head -c 20 {table}/x.ark; exit 3 |")


def test_a_reader_that_stops_early_ends_the_command(table):
    pairs = read_table(f"ark:while cat {table}/x.ark; do :; done |")
    assert next(pairs)[0] == "a"
    start = time.monotonic()
    pairs.close()
    assert time.monotonic() - start < 5


def test_a_failing_writer_command(tmp_path):
    with pytest.raises(VouchError, match="exit code 4"), open_output("| cat > /dev/null; exit 4") as stream:
        stream.write(b"x")
    with pytest.raises(VouchError, match="ended"), open_output("| exit 0") as stream:
        for _ in range(100):
            stream.write(bytes(1 << 16))


def test_standard_input_and_output(table, monkeypatch):
    data = (table / "x.ark").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert len(list(read_table("ark:-"))) == 3
    out = SimpleNamespace(buffer=io.BytesIO(), flush=lambda: None)
    monkeypatch.setattr(sys, "stdout", out)
    with TableWriter("ark:-") as writer:
        for number, key in enumerate("abc"):
            writer.write(key, A + number)
    assert out.buffer.getvalue() == data


def test_nothing_is_left_of_a_failed_write(tmp_path):
    (tmp_path / "x.ark").write_text("old")
    with pytest.raises(ZeroDivisionError), TableWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp") as writer:
        writer.write("a", A)
        assert {name.split(".tmp.")[0] for name in os.listdir(tmp_path)} == {"x.ark", "x.scp"}
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["x.ark"] and (tmp_path / "x.ark").read_text() == "old"


def test_a_full_disk_names_the_file(tmp_path):
    code = (
        "import resource, signal, sys, numpy as np\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000))\n"
        "from vouch.io.tables import TableWriter\n"
        "with TableWriter(sys.argv[1]) as writer:\n"
        "    for key in 'abc': writer.write(key, np.zeros((1000, 30)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp"], capture_output=True, text=True
    )
    assert f"VouchError: cannot write {tmp_path}/x.ark: File too large" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_full_device_names_it():
    with pytest.raises(VouchError, match="cannot write /dev/full: No space left"):
        write_vector("/dev/full", A[0])


def test_writing_through_links_and_to_devices(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "x").symlink_to(tmp_path / "real" / "x")
    write_vector(f"{tmp_path}/x", A[0])
    assert (tmp_path / "x").is_symlink() and (tmp_path / "real" / "x").is_file()
    write_vector("/dev/null", A[0])
    assert not os.path.isfile("/dev/null")
    with pytest.raises(VouchError, match="check that its folder is there"):
        write_vector(f"{tmp_path}/none/x", A[0])


def test_values_that_cannot_be_written(tmp_path):
    for kind, value in (("matrix", A[0]), ("vector", A), ("int32", 2**31), ("tokens", ["a b"])):
        with pytest.raises(VouchError, match="key 'k'"), TableWriter(f"ark:{tmp_path}/x", kind) as writer:
            writer.write("k", value)
    with pytest.raises(VouchError, match="white space"), TableWriter(f"ark:{tmp_path}/x") as writer:
        writer.write("two words", A)
    with pytest.raises(VouchError, match="NaN"), TableWriter(f"ark:{tmp_path}/x", compression_method=3) as writer:
        writer.write("k", np.full((2, 2), np.nan))
    assert os.listdir(tmp_path) == []


def test_compressed_text_holds_the_decompressed_values(tmp_path):
    noisy = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    for form in ("ark", "ark,t"):
        with TableWriter(f"{form}:{tmp_path}/{form}", compression_method=5) as writer:
            writer.write("k", noisy)
    [(_, binary)], [(_, text)] = read_table(f"ark:{tmp_path}/ark"), read_table(f"ark:{tmp_path}/ark,t")
    np.testing.assert_allclose(text, binary, rtol=1e-6)
    assert np.abs(text - noisy).max() > 1e-4


def test_token_lines(tmp_path):
    path = tmp_path / "trials"
    path.write_text("m u target\nm v\n")
    assert list(read_token_lines(str(path), (2, 3))) == [["m", "u", "target"], ["m", "v"]]
    assert f"{path}:2: 2 fields, want 3" in message(read_token_lines, str(path), (3, 3))


def test_offset_input(tmp_path):
    (tmp_path / "x").write_bytes(b"0123456789")
    with open_input(f"{tmp_path}/x:4") as stream:
        assert stream.read() == b"456789"


def test_a_long_sorted_script_keeps_its_archive_open(tmp_path, monkeypatch):
    count = 3000
    with TableWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp", "vector") as writer:
        for number in range(count):
            writer.write(f"utterance-{number:07d}", A[0])
    from vouch.io import streams

    opened = []
    real = streams.open_file
    monkeypatch.setattr(streams, "open_file", lambda *a: opened.append(a[0]) or real(*a))
    assert sum(1 for _ in read_table(f"scp:{tmp_path}/x.scp", "vector")) == count
    assert len(opened) == 2  # the script and the archive
