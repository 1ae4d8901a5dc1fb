"""Whether an m4a file is whole, by the boxes that it is made of, without decoding it (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

import os
import struct


def m4a_problem(path: str) -> str:
    """What is wrong with the file: empty, cut off, without its index or no MPEG-4 at all; empty where nothing is."""
    boxes: list[bytes] = []
    try:
        with open(path, "rb") as file:
            size, place = os.fstat(file.fileno()).st_size, 0
            while place + 8 <= size:
                file.seek(place)
                length, kind = struct.unpack(">I4s", file.read(8))
                if length == 1:  # the length is in the next eight bytes
                    (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
                elif length == 0:  # to the end of the file
                    length = size - place
                if not boxes and kind != b"ftyp":
                    return f"{path} is no m4a; copy it again"
                if length < 8 or place + length > size:
                    return f"{path} was cut off or is damaged after {place} bytes; copy it again"
                boxes.append(kind)
                place += length
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    if not size:
        return f"{path} is empty; copy it again"
    if b"moov" not in boxes or b"mdat" not in boxes:
        return f"{path} was cut off: it has no {'index' if b'mdat' in boxes else 'audio'}; copy it again"
    return ""
