"""Headers of a million audio files in parallel: the threads mostly wait for a disk or a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeVar

from vouch.errors import VouchError
from vouch.io.audio_header import AudioHeader, read_header

THREADS = 16
BATCH = 4096  # items that are waiting or done and not yet taken
Item, Result = TypeVar("Item"), TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """function(item) of every item, in their order; of millions of items, only BATCH are in memory."""
    items = iter(items)
    with ThreadPool(threads) as pool:
        while batch := list(islice(items, BATCH)):
            yield from pool.imap(function, batch)


def try_header(path: str | Path) -> AudioHeader | str:
    """The header of a file, or what is wrong with the file."""
    try:
        return read_header(path)
    except VouchError as error:
        return str(error)
