"""How the files of VoxCeleb are named, and the utterances that they are here: Kaldi's, SPEAKER-VIDEO-NUMBER."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

ID = re.compile(r"id\d{5}")
ENDINGS = (".wav", ".flac", ".m4a")  # the first of these is taken where an utterance has several files
# PERSON/VIDEO/00001.wav, and PERSON/VIDEO_0000001.wav of VoxCeleb1's first release; a video has 11 characters.
_FILE = re.compile(r"(?:.*/)?([^/\s]+)/(?:([^/\s]+)/|([\w-]{11})_)(\d+)\.\w+", re.ASCII | re.DOTALL)
_UTTERANCE = re.compile(r"id\d{5}-\S+-\d+")


class Place(NamedTuple):
    """What the path of a file says: an id or, in the first release, a name; a video; a number of five digits."""

    person: str
    video: str
    number: str

    def utterance(self, speaker: str) -> str:
        return f"{speaker}-{self.video}-{self.number}"


def place_of(path: str) -> Place | None:
    """Of a path that ends as those of the releases do, else None. The first release's seven digits become five."""
    found = _FILE.fullmatch(path)
    if found is None:
        return None
    person, video, flat, number = found.groups()
    return Place(person, video or flat, f"{int(number):05d}")


def utterance_of(word: str, ids: Mapping[str, str]) -> str | None:
    """The utterance that a trial list means: by its path or by its name. ids: of the people of the first release.

    None for what is no utterance; raises KeyError(name) on a person whose id is not known.
    """
    place = place_of(word)
    if place is None:
        return word if _UTTERANCE.fullmatch(word) else None
    return place.utterance(place.person if ID.fullmatch(place.person) else ids[place.person])


def speaker_of(utterance: str) -> str:
    return utterance[:7]
