"""Kaldi's own files: read to the bit, and written again byte for byte."""

import numpy as np
import pytest

from vouch.io.payloads import write_payload
from vouch.io.tables import TableWriter, read_table


@pytest.fixture
def formats(golden):
    return golden / "formats"


@pytest.mark.parametrize("method", range(1, 8))
def test_compressed_forms(formats, tmp_path, method):
    expected = np.load(formats / "decompressed.npz")
    file = formats / f"mfcc_compress{method}.ark"
    [(key, matrix)] = read_table(f"ark:{file}")
    assert key == "fsdd_george"
    np.testing.assert_array_equal(matrix, expected[f"method{method}/fsdd_george"])
    with TableWriter(f"ark:{tmp_path}/again.ark", compression_method=method) as writer:
        writer.write(key, expected["original/fsdd_george"])
    assert (tmp_path / "again.ark").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("method", [3, 5, 2])
def test_range_of_a_compressed_matrix(formats, tmp_path, method):
    whole = np.load(formats / "decompressed.npz")[f"method{method}/fsdd_george"]
    script = tmp_path / "some.scp"
    script.write_text(f"a {formats}/mfcc_compress{method}.ark:12[10:19,2:4]\n")
    [(_, part)] = read_table(f"scp:{script}")
    np.testing.assert_array_equal(part, whole[10:20, 2:5])


def test_plain_forms_and_script(formats, tmp_path, monkeypatch):
    original = np.load(formats / "decompressed.npz")["original/fsdd_george"]
    monkeypatch.chdir(tmp_path)
    with TableWriter("ark,scp:mfcc_f32.ark,mfcc_f32.scp") as writer:
        writer.write("fsdd_george", original)
    with TableWriter("ark,t:mfcc_text.ark") as writer:
        writer.write("fsdd_george", original)
    for name in ("mfcc_f32.ark", "mfcc_f32.scp", "mfcc_text.ark"):
        assert (tmp_path / name).read_bytes() == (formats / name).read_bytes(), name
    [(_, text)] = read_table(f"ark:{formats}/mfcc_text.ark")
    np.testing.assert_allclose(text, original, rtol=1e-6)  # Kaldi prints 7 digits
    [(_, binary)] = read_table("scp:mfcc_f32.scp")
    np.testing.assert_array_equal(binary, original)


def test_vad_vectors(formats):
    for name, text in (("vad_f32.ark", False), ("vad_text.ark", True)):
        [(key, vector)] = read_table(f"ark:{formats}/{name}", "vector")
        assert vector.dtype == np.float32 and set(vector) <= {0.0, 1.0} and len(vector) == 167
        assert key.encode() + b" " + write_payload(vector, "vector", text) == (formats / name).read_bytes()


def test_integer_table(golden, tmp_path):
    file = golden / "backend" / "num_utts.ark"
    pairs = list(read_table(f"ark:{file}", "int32"))
    assert pairs[0] == ("enr00", 2) and len(pairs) == 40
    with TableWriter(f"ark,t:{tmp_path}/n.ark", "int32") as writer:
        for key, value in pairs:
            writer.write(key, value)
    assert (tmp_path / "n.ark").read_bytes() == file.read_bytes()
