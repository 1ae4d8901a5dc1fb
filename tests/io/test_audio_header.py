"""Headers of audio files against what libsndfile says of them, and damaged ones."""

import numpy as np
import pytest
import soundfile

from vouch.errors import VouchError
from vouch.io.audio_header import AudioHeader, read_header

X = np.random.default_rng(5).integers(-9000, 9000, (4321, 2)).astype(np.int16)
FORMS = [("wav", "WAV", "PCM_16"), ("wav", "WAV", "ULAW"), ("wav", "WAVEX", "PCM_24"), ("flac", "FLAC", "PCM_16")]
SPHERE = [("sph", "NIST", "PCM_16"), ("sph", "NIST", "ULAW"), ("sph", "NIST", "ALAW")]


def store(path, ending, format, subtype, samples=X, rate=16000):
    path = path / f"x.{ending}"
    soundfile.write(path, samples, rate, format=format, subtype=subtype)
    return path


@pytest.mark.parametrize(("ending", "format", "subtype"), FORMS + SPHERE)
@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 16000)])
def test_what_libsndfile_says(tmp_path, ending, format, subtype, channels, rate):
    path = store(tmp_path, ending, format, subtype, X[:, :channels], rate)
    info = soundfile.info(path)
    assert read_header(path) == AudioHeader(info.channels, info.samplerate, info.frames)
    assert read_header(path)[:3] == (channels, rate, len(X))


@pytest.mark.parametrize(("ending", "format", "subtype"), [FORMS[0], FORMS[1], *SPHERE])
def test_a_file_that_was_cut_off_is_named(tmp_path, ending, format, subtype):
    path = store(tmp_path, ending, format, subtype)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(VouchError, match=rf"x\.{ending}: .*cut off: 4321 samples promised"):
        read_header(path)


def test_a_compressed_sphere_file_is_shorter_and_right(tmp_path):
    path = store(tmp_path, *SPHERE[1])
    data = path.read_bytes().replace(b"-s4 ulaw", b"-s29 ulaw,embedded-shorten-v2.00")[:2000]
    path.write_bytes(data)
    assert read_header(path) == AudioHeader(2, 16000, 4321, True)


NO_AUDIO = [
    b"",
    b"NI",
    b"NIST_1A\n",
    b"NIST_1A\n   x024\nsample_count",
    b"NIST_1A\n   1024\nend_head\n",
    b"NIST_1A\n   1024\nsample_count -i 0\nsample_rate -i 8000\nend_head\n",
    b"RIFFxxxx",
    b"fLaC",
    b"some text that is no audio",
]


@pytest.mark.parametrize("data", NO_AUDIO)
def test_what_is_no_audio_is_one_line(tmp_path, data):
    (tmp_path / "x.sph").write_bytes(data)
    with pytest.raises(VouchError, match=r"x\.sph: cannot read the audio: ") as caught:
        read_header(tmp_path / "x.sph")
    assert "\n" not in str(caught.value)
    with pytest.raises(VouchError, match="No such file"):
        read_header(tmp_path / "none.sph")
