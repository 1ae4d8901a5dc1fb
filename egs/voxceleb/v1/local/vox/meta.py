"""vox1_meta.csv and vox2_meta.csv: genders of the speakers, the names of the first release, the sets of VoxCeleb2."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vouch.corpora.report import Report
from vouch.corpora.tables import read_table
from vox.names import ID


@dataclass
class Meta:
    """Of one table: m or f of a speaker, the id of a name (of VGGFace), and dev or test of a speaker where it is told.

    path: the table; None where there is none.
    """

    path: Path | None = None
    genders: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)


def read_meta(path: Path, corpus: str, report: Report) -> Meta:
    """The table, whose columns are id, name, gender, (nationality,) set, divided by tabs or commas.

    Of two rows that contradict each other the first counts; the other is warned of. Raises VouchError on a file that
    cannot be read.
    """
    meta = Meta(path)
    for row in read_table(path, ",", 3, corpus, report):
        speaker, name, gender = row[0], row[1], row[2].lower()
        if speaker.lower().startswith("voxceleb"):  # the header
            continue
        if not ID.fullmatch(speaker):
            message = f"{row.where}: '{speaker}' is no speaker's id (id10001); the row is skipped"
            report.warn(corpus, "rows without an id", message)
            continue
        known = meta.ids.setdefault(name, speaker)
        if known != speaker:
            message = f"{row.where}: {name} is {speaker} here, and {known} further up; {known} is taken for this name"
            report.warn(corpus, "people with two ids", message)
        if gender not in ("m", "f"):
            message = f"{row.where}: the gender of {speaker} is '{row[2]}', not m or f; it counts as not told"
            report.warn(corpus, "unknown genders", message)
        elif meta.genders.setdefault(speaker, gender) != gender:
            message = f"{row.where}: {speaker} is {gender} here, and {meta.genders[speaker]} further up, which counts"
            report.warn(corpus, "speakers with two genders", message)
        if row.fields[-1].lower() in ("dev", "test"):
            meta.sets.setdefault(speaker, row.fields[-1].lower())
    return meta
