"""SRE04 to SRE10. Tables, columns and names of utterances are those that Kaldi's make_sre.pl, make_sre08.pl and
make_sre10.pl (egs/sre16/v1/local) read and write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from corpora.catalogue import YEARS
from corpora.recordings import Collection, Recording
from corpora.tree import Tree, stem_of
from vouch.corpora.report import Report
from vouch.corpora.tables import Row, first_rows, read_table
from vouch.errors import VouchError


def read_sre04_to_06(trees: dict[str, Tree], speaker_list: Path, collection: Collection, report: Report) -> None:
    """Rows `speaker gender source utterance channel` of OpenSLR 15's speaker_list, for the releases that are given."""
    for row in read_table(_list_file(speaker_list), None, 5, "speaker_list", report):
        speaker, sex, source, stem, side = row.fields[:5]
        year, numbers = YEARS.get(source.lower(), ("", ()))
        given = [trees[number] for number in numbers if number in trees]
        if not given:
            continue
        found = collection.find_audio(given, stem, row.where, len(given) == len(numbers))
        if found is None:
            continue
        corpus = found[0].corpus
        channel = collection.channel(side, corpus, row.where)
        gender = collection.gender(sex, corpus, row.where, speaker)
        if channel and gender:
            name = f"{speaker}-{year}-{stem}-{'ab'[channel - 1]}"
            collection.add(Recording(name, speaker, gender, found[1], channel, corpus, row.where))


def _list_file(path: Path) -> Path:
    if path.is_dir():
        path = path / "speaker_list"
    if not path.is_file():
        raise VouchError(f"speaker_list: there is no file {path}; unpack speaker_list.tgz of OpenSLR 15 there")
    return path


def read_sre08(test: Tree, train: Tree | None, collection: Collection, report: Report) -> None:
    """Segments of the models of short2 (model, gender, segment:channel, speaker) and of the target trials of
    short2-short3 (model, segment, channel, target or nontarget), whose keys are in the test release."""
    keys = "data/keys/NIST_SRE08_KEYS.v0.1"
    models: dict[str, tuple[str, str, str]] = {}
    trees = [test] if train is None else [test, train]
    table = test.need(f"{keys}/model-keys/NIST_SRE08_short2.model.key")
    rows = list(read_table(table, ",", 4, test.corpus, report))
    speakers = _speakers(rows, 3, test.corpus, report)
    for row in rows:
        speaker, (stem, _, side) = speakers[row[0]], row[2].partition(":")
        gender = collection.gender(row[1], test.corpus, row.where, row[3]) if speaker else ""
        if gender:
            model = models.setdefault(row[0], (speaker, gender, row.where))
            _add(collection, trees, "SRE08", (speaker, gender, model[2]), stem, side, row.where, train is not None)
    trials = test.need(f"{keys}/trial-keys/NIST_SRE08_short2-short3.trial.key")
    _read_target_trials(collection, trees, "SRE08", models, speakers, trials, report, train is not None)


def read_sre10(tree: Tree, collection: Collection, report: Report) -> None:
    """Training segments (model gender path:channel) of scored models (model, speaker) and segments of target trials."""
    rows = read_table(tree.need("keys/coreext.modelkey.csv"), ",", 2, tree.corpus, report)
    speakers = _speakers(rows, 1, tree.corpus, report)
    models: dict[str, tuple[str, str, str]] = {}
    for row in read_table(tree.need("train/coreext.trn"), None, 3, tree.corpus, report):
        speaker = speakers.get(row[0])
        if speaker is None:
            report.warn(tree.corpus, "models without a speaker", f"{row.where}: {row[0]} is not in the model key")
        if not speaker or speaker == "NOT_SCORED":
            continue
        path, _, side = row[2].rpartition(":")
        gender = collection.gender(row[1], tree.corpus, row.where, speaker)
        if gender:
            model = models.setdefault(row[0], (speaker, gender, row.where))
            _add(collection, [tree], "SRE10", (speaker, gender, model[2]), stem_of(path), side, row.where)
    trials = tree.need("keys/coreext-coreext.trialkey.csv")
    _read_target_trials(collection, [tree], "SRE10", models, speakers, trials, report)


def _speakers(rows: Iterable[Row], column: int, corpus: str, report: Report) -> dict[str, str]:
    """The speaker of every model (column 0); empty for a model of two speakers, which is warned of."""
    two: set[str] = set()

    def differ(model: str, first: Row, row: Row) -> None:
        two.add(model)
        message = (
            f"{row.where}: model {model} is of speaker {row[column]} here, and of {first[column]} at {first.where}; "
            "the model is skipped"
        )
        report.warn(corpus, "models of two speakers", message)

    found = first_rows(rows, lambda row: row[0], lambda row: row[column], differ)
    return {model: "" if model in two else row[column] for model, row in found.items()}


def _read_target_trials(
    collection: Collection,
    trees: list[Tree],
    evaluation: str,
    models: dict[str, tuple[str, str, str]],
    speakers: dict[str, str],
    path: Path,
    report: Report,
    all_given: bool = True,
) -> None:
    """Rows model, segment, channel, target or nontarget. A segment is of the speaker of the models it is a target of;
    rows of models that are not scored, or were skipped above, are passed over; `speakers` has all models."""
    seen: set[tuple[str, str, str]] = set()
    told: set[str] = set()  # models and labels
    for row in read_table(path, ",", 4, trees[0].corpus, report):
        label = row[3].lower()
        for known, what in ((label in ("target", "nontarget"), row[3]), (row[0] in speakers, row[0])):
            if not known and what not in told:
                told.add(what)
                kind = "trials that are not understood"
                report.warn(trees[0].corpus, kind, f"{row.where}: {what!r} is no model or label that is known; skipped")
        if label != "target" or row[0] not in models:
            continue
        trial = models[row[0]][0], row[1], row[2]
        if trial not in seen:  # the same segment against each model of its speaker
            seen.add(trial)
            _add(collection, trees, evaluation, models[row[0]], row[1], row[2], row.where, all_given)


def _add(
    collection: Collection,
    trees: list[Tree],
    evaluation: str,
    model: tuple[str, str, str],
    stem: str,
    side: str,
    where: str,
    all_given: bool = True,
) -> None:
    """model: speaker, gender and where the gender is told."""
    speaker, gender, gender_where = model
    stem = stem.strip()
    found = collection.find_audio(trees, stem, where, all_given)
    channel = collection.channel(side, trees[0].corpus, where) if found else 0
    if found and channel:
        name = f"{speaker}_{evaluation}_{stem}_{'AB'[channel - 1]}"
        recording = Recording(name, speaker, gender, found[1], channel, found[0].corpus, where)
        collection.add(recording, gender_where, again_is_usual=True)
