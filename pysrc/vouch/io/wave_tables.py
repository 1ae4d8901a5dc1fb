"""Tables of recordings: writing archives of wav, access by key, and durations from the headers alone.

Reading them in their order is `vouch.io.audio.read_waves`. Source of the forms: Kaldi's feat/wave-reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from vouch.errors import VouchError
from vouch.io.audio import Command, Wave, read_wave, read_waves, recordings_by_name, wave_bytes
from vouch.io.decoding import promised_length
from vouch.io.payloads import PayloadError
from vouch.io.sequential import read_archive, read_script
from vouch.io.specifiers import parse_rspecifier
from vouch.io.streams import is_pipe, open_input
from vouch.io.tables import ArchiveTable, RandomAccessTable, ScriptTable, TableWriter

_AUDIO = (".wav", ".flac", ".sph")


def list_recordings(place: str, option: str) -> dict[str, str]:
    """Key -> file of a list of recordings, a data directory, or a folder of recordings at any depth.

    Raises VouchError, which calls what was asked for `option`, when there is none.
    """
    if not place:
        raise VouchError(f"{option} is needed: a list of lines KEY FILE, or a folder of recordings")
    path = Path(place)
    if path.is_dir() and not (path / "wav.scp").is_file():
        found = {str(file): str(file) for file in sorted(path.rglob("*")) if file.suffix.lower() in _AUDIO}
    else:
        found = dict(read_script(str(path / "wav.scp" if path.is_dir() else path)))
    if not found:
        raise VouchError(f"{option}={place} has no recordings ({', '.join(_AUDIO)}); check the path")
    return found


class WaveWriter(TableWriter):
    """Write a table of waves: 16-bit PCM wav files one after the other, each after its key; see `TableWriter`.

    Raises VouchError for the table option t, since waves have no text form.
    """

    def __init__(self, wspecifier: str) -> None:
        super().__init__(wspecifier)
        if self._text:
            raise VouchError(f"'{wspecifier}': waves have no text form; leave out the option t")
        self._kind = "wave"

    def _encode(self, value: Wave) -> bytes:
        return wave_bytes(value)


class _WaveScript(ScriptTable):
    """The recordings of a script file; the one asked for last is kept."""

    def __init__(self, rspecifier: str, commands: Mapping[str, Command]) -> None:
        super().__init__(rspecifier, "wave")
        self._names = recordings_by_name(self._specifier.rxfilename)
        self._commands = commands
        self._last, self._wave = "", None

    def __getitem__(self, key: str) -> Wave:
        if key not in self._names:
            raise self._missing(key)
        if key != self._last or self._wave is None:
            self._last, self._wave = key, None  # the old one is let go before the new one is read
            try:
                self._wave = read_wave(self._names[key], commands=self._commands)
            except VouchError as error:
                raise VouchError(f"recording '{key}': {error}") from None
        return self._wave

    def close(self) -> None:
        self._wave = None


def open_waves(rspecifier: str, commands: Mapping[str, Command] | None = None) -> RandomAccessTable:
    """Recordings by key, of a script file or an archive; `commands` as in `vouch.io.audio.read_wave`.

    Of a script file one recording is held; of an archive all that were read, or with the options `s,cs` one.
    """
    if parse_rspecifier(rspecifier).is_scp:
        return _WaveScript(rspecifier, commands or {})
    return ArchiveTable(rspecifier, "wave", read_waves(rspecifier))


def read_wave_lengths(rspecifier: str, warn: Callable[[str], None]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every (key, (samples, rate in Hz)) of a table of waves, from the headers of wav files; others are decoded.

    A command is left once its header is there; how it then ends goes to `warn`, no more. With the option `p`,
    recordings that cannot be read are passed over, and told to `warn`. Raises VouchError as `read_waves` does.
    """
    specifier = parse_rspecifier(rspecifier)
    if not specifier.is_scp:
        yield from read_archive(specifier, lambda stream, where: _length(stream, where, in_archive=True))
        return
    for key, name in read_script(specifier.rxfilename):
        try:
            length = wave_length(name.strip(), warn)
        except VouchError as error:
            if not specifier.permissive:
                raise VouchError(f"utterance '{key}': {error}") from None
            warn(f"utterance '{key}': {error}")
            continue
        yield key, length


def wave_length(name: str, warn: Callable[[str], None]) -> tuple[int, int]:
    """(samples, rate in Hz) of a recording, as read_wave_lengths has them."""
    length = None
    try:
        with open_input(name) as stream:
            length = _length(stream, name)
    except VouchError as error:
        if length is None or not is_pipe(name):
            raise
        warn(str(error))
    return length


def _length(stream: BinaryIO, where: str, in_archive: bool = False) -> tuple[int, int]:
    try:
        return promised_length(stream, in_archive)
    except PayloadError as error:
        raise VouchError(f"{where}: cannot read the audio: {error}") from None
    except OSError as error:
        raise VouchError(f"{where}: cannot read the audio: {error.strerror or error}; check the disk") from None
