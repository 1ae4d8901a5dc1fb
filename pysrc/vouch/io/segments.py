"""Pieces of recordings by the lines of a segments file: `segment recording start end [channel]`, times in seconds.

Source of the rules, in single precision where it is: Kaldi's featbin/extract-segments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vouch.errors import VouchError
from vouch.io.decoding import Wave

MIN_SEGMENT_SECONDS = 0.1
MAX_OVERSHOOT_SECONDS = 0.5


class Segment(NamedTuple):
    """A line of a segments file: times in seconds, end -1 = to the end of the recording, channel None = all."""

    name: str
    recording: str
    start: float
    end: float
    channel: int | None


def parse_segment(fields: Sequence[str], where: str) -> Segment:
    """The segment of a line's fields; `where` names the line in the VouchError for a line that is none."""
    if len(fields) not in (4, 5):
        raise VouchError(f"{where}: {len(fields)} fields, want SEGMENT RECORDING START END [CHANNEL]; mend the line")
    try:
        start, end = float(fields[2]), float(fields[3])
        channel = int(fields[4]) if len(fields) == 5 else None
    except ValueError:
        start, end, channel = math.nan, math.nan, None
    if not (abs(start) < 1e9 and abs(end) < 1e9) or (channel or 0) < 0:
        raise VouchError(f"{where}: '{' '.join(fields[2:])}' is not START END [CHANNEL]; mend the line")
    return Segment(fields[0], fields[1], start, end, channel)


def is_empty(segment: Segment) -> bool:
    """Does it begin before 0, or not before its end?"""
    return segment.start < 0 or (segment.end != -1 and segment.end <= max(segment.start, 0))


def cut_segment(
    wave: Wave,
    segment: Segment,
    min_length: float = MIN_SEGMENT_SECONDS,
    max_overshoot: float = MAX_OVERSHOOT_SECONDS,
) -> Wave | str:
    """The segment of its recording, or in words why there is none.

    An end up to max_overshoot seconds after the recording's is brought back to it; segments shorter than min_length
    seconds are refused.
    """
    channels, samples = wave.samples.shape
    rate = np.float32(wave.rate)
    length = np.float32(samples) / rate
    if segment.start > float(length):
        return f"begins at {segment.start:g} s, after the recording's end ({length:g} s)"
    if segment.end > float(length + np.float32(max_overshoot)):
        return f"ends at {segment.end:g} s, too far after the recording's end ({length:g} s)"
    end = segment.end if 0 <= segment.end <= float(length) else float(length)
    first, stop = (int(time * float(rate) + 0.5) for time in (segment.start, end))
    stop = min(stop, samples)
    if end - segment.start < float(np.float32(min_length)) or first >= stop:
        return f"is shorter than {min_length:g} s"
    if segment.channel is not None and segment.channel >= channels:
        return f"wants channel {segment.channel} of a recording with {channels}"
    chosen = slice(None) if segment.channel is None else slice(segment.channel, segment.channel + 1)
    return Wave(wave.samples[chosen, first:stop].copy(), wave.rate)
