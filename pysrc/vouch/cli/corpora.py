"""`vouch make-mini-corpus` and `vouch make-trials`: the embedded corpus, and the protocol of all corpora."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.synthesis.corpus import Item
    from vouch.synthesis.speaker import Spread

SETTINGS, DONE = "corpus.json", ".done"
UTTERANCES_A_TASK = 8


def make_mini_corpus(argv: list[str]) -> int | None:
    """vouch make-mini-corpus [options] OUT_DIR"""
    options = ToolOptions(
        "make-mini-corpus",
        "[options] OUT_DIR",
        "Synthesise the embedded two-domain corpus: OUT_DIR/wav/PART/SPEAKER/UTTERANCE.wav (8 kHz, 16 bit, mono) and "
        "OUT_DIR/PART/{wav.scp,utt2spk,spk2gender} for the parts train, eval (language A), adapt (unlabelled) and "
        "adapt_eval (language B by telephone). Paths in wav.scp are relative to OUT_DIR. The bytes depend "
        "on --seed and --scale alone. Run again after an interruption, it goes on; finished, it does nothing.",
        (1, 1),
    )
    options.add("seed", 0, "of all random draws, 0 or more")
    options.add("scale", 1.0, "share of the full size in (0, 1]: speakers and utterances a speaker shrink by its root")
    options.add("num-jobs", 2, "processes")
    opts, (name,) = options.parse(argv)
    if opts.num_jobs < 1:
        raise VouchError(f"--num-jobs={opts.num_jobs} must be at least 1")
    if opts.seed < 0:
        raise VouchError(f"--seed={opts.seed} must not be negative")
    if not 0 < opts.scale <= 1:
        raise VouchError(f"--scale={opts.scale} must be above 0 and at most 1")

    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"  # before numpy is loaded here or in a worker: the processes are the parallelism
    from vouch.synthesis.corpus import fingerprint, plan
    from vouch.synthesis.speaker import Spread

    out, spread = Path(name), Spread()
    if _claim(out, fingerprint(opts.seed, opts.scale, spread)):
        log(f"{out} is complete")
        return
    items = plan(opts.seed, opts.scale)
    _write_waves(out, items, opts.seed, spread, opts.num_jobs)
    _write_lists(out, items)
    (out / DONE).touch()
    log(f"made {len(items)} utterances in {out}")


def _claim(out: Path, settings: dict[str, int | float | str]) -> bool:
    """Note the settings in the folder; True when it already holds the finished corpus of these settings."""
    import json

    from vouch.io.datadir import write_bytes

    path = out / SETTINGS
    if path.exists():
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            raise VouchError(f"{path}: is not JSON; remove {out} and run again") from None
        if found != settings:
            names = sorted({*found, *settings}) if isinstance(found, dict) else []
            other = [name for name in names if found.get(name) != settings.get(name)]
            raise VouchError(
                f"{out} holds a corpus made with "
                + ", ".join(f"{name} {found.get(name)} (now {settings.get(name)})" for name in other)
                + "; give its options (run.sh: --prepare-options), remove it, or name another folder"
            )
        return (out / DONE).exists()
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(settings).encode() + b"\n")
    return False


def _wave_path(item: Item) -> Path:
    """Of an utterance, relative to the corpus."""
    from vouch.synthesis.corpus import PARTS

    part = PARTS[item.part]
    folder = Path("wav", part.name, item.speaker_id) if part.labelled else Path("wav", part.name)
    return folder / f"{item.utterance_id}.wav"


def _write_waves(out: Path, items: list[Item], seed: int, spread: Spread, jobs: int) -> None:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from tqdm import tqdm

    for left_by_a_kill in list(out.rglob("*.tmp.*")):
        left_by_a_kill.unlink()
    missing = [item for item in items if not (out / _wave_path(item)).exists()]
    for folder in sorted({(out / _wave_path(item)).parent for item in missing}):
        folder.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=len(items), initial=len(items) - len(missing), desc="utterances", unit="utt", disable=None)
    with bar:
        if jobs == 1:
            for item in missing:
                bar.update(_write_task(out, [item], seed, spread))
            return
        tasks = [missing[i : i + UTTERANCES_A_TASK] for i in range(0, len(missing), UTTERANCES_A_TASK)]
        with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_end_with_parent) as pool:
            futures = [pool.submit(_write_task, out, task, seed, spread) for task in tasks]
            try:
                for future in as_completed(futures):
                    bar.update(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _end_with_parent() -> None:
    """Have this worker end when the process that started it was killed, instead of waiting for ever."""
    import threading
    from multiprocessing import parent_process

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_task(out: Path, items: list[Item], seed: int, spread: Spread) -> int:
    """Synthesise and write some utterances; returns how many."""
    from vouch.io.audio import Wave, write_wave
    from vouch.synthesis.corpus import synthesise
    from vouch.synthesis.tract import RATE

    for item in items:
        samples = synthesise(item, seed, spread).astype("float32")
        write_wave(str(out / _wave_path(item)), Wave(samples[None], RATE))
    return len(items)


def _write_lists(out: Path, items: list[Item]) -> None:
    from vouch.io.datadir import staged_directory, write_lines
    from vouch.synthesis.corpus import PARTS, gender

    for index, part in enumerate(PARTS):
        mine = [item for item in items if item.part == index]
        genders = {item.speaker_id: gender(item.speaker) for item in mine} if part.labelled else {}
        with staged_directory(out / part.name) as folder:
            write_lines(folder / "wav.scp", [f"{i.utterance_id} {_wave_path(i)}".encode() for i in mine])
            write_lines(folder / "utt2spk", [f"{i.utterance_id} {i.speaker_id}".encode() for i in mine])
            if genders:
                write_lines(folder / "spk2gender", [f"{s} {g}".encode() for s, g in sorted(genders.items())])


def make_trials(argv: list[str]) -> int | None:
    """vouch make-trials [options] EVAL_DIR ENROLL_DIR TEST_DIR"""
    options = ToolOptions(
        "make-trials",
        "[options] EVAL_DIR ENROLL_DIR TEST_DIR",
        "Divide the evaluation speakers of EVAL_DIR into enrollment and test. Of each speaker's utterances in sorted "
        "order, model SPK-1 is enrolled with the first and model SPK-3 with the first three (--models); the utterances "
        "behind the largest model's are test segments. Trials are all models against all test segments of speakers of "
        "the same gender (where spk2gender is there) and the same age group (where spk2age is there). In ENROLL_DIR "
        "the speakers are the models and utterances are named MODEL-UTTERANCE; TEST_DIR has the file trials and, of "
        "each size of model, its part trials_1, trials_3.",
        (3, 3),
    )
    options.add("models", "1,3", "utterances that each model of a speaker is enrolled with, separated by commas")
    options.add("same-gender", True, "only trials within a gender")
    options.add("age-limit", 15, "oldest child: only trials among children or among adults; 0: age does not matter")
    opts, paths = options.parse(argv)
    source, enroll, test = (Path(path) for path in paths)
    if len({path.resolve() for path in (source, enroll, test)}) < 3:
        raise VouchError("EVAL_DIR, ENROLL_DIR and TEST_DIR must be three folders; name another output")
    sizes = _parse_models(opts.models)

    from vouch.io.datadir import merge_lines, present_files, read_utt2spk, staged_directory

    utterances_of: dict[bytes, list[bytes]] = {}
    for utterance, speaker in sorted(zip(*read_utt2spk(source), strict=True)):
        utterances_of.setdefault(speaker, []).append(utterance)
    utterances_of = _drop_short(source, utterances_of, sizes[-1])
    names = [name for name in present_files(source) if name != "trials"]
    tables = {name: dict(zip(*merge_lines([source / name], name), strict=True)) for name in names}
    groups = _groups(source, utterances_of, tables, opts.same_gender, opts.age_limit)

    models = {b"%s-%d" % (spk, size): (spk, utts[:size]) for spk, utts in utterances_of.items() for size in sizes}
    enrolled = [(b"%s-%s" % (m, u), m, u, spk) for m, (spk, utts) in models.items() for u in utts]
    tested = [(utt, spk, utt, spk) for spk, utts in utterances_of.items() for utt in utts[sizes[-1] :]]
    with staged_directory(enroll) as enroll_stage, staged_directory(test) as test_stage:
        _write_part(enroll_stage, enroll, enrolled, source, tables)
        _write_part(test_stage, test, tested, source, tables)
        counts = _write_trials(test_stage / "trials", models, tested, groups)
        for size in sizes if len(sizes) > 1 else []:
            part = {model: of for model, of in models.items() if len(of[1]) == size}
            _write_trials(test_stage / f"trials_{size}", part, tested, groups)
    log(
        f"{len(utterances_of)} speakers, {len(models)} models, {len(tested)} test segments; "
        f"{counts[0]} target and {counts[1]} nontarget trials in {test}/trials"
    )


def _parse_models(text: str) -> list[int]:
    try:
        sizes = sorted({int(word) for word in text.split(",")})
    except ValueError:
        sizes = [0]
    if sizes[0] < 1:
        raise VouchError(f"--models={text} must be numbers of utterances of at least 1, as in --models=1,3")
    return sizes


def _drop_short(source: Path, utterances_of: dict[bytes, list[bytes]], most: int) -> dict[bytes, list[bytes]]:
    """Leave out the speakers who have nothing left to be tested with."""
    from vouch.io.datadir import show

    kept = {spk: utts for spk, utts in utterances_of.items() if len(utts) > most}
    short = [show(spk) for spk in sorted(utterances_of.keys() - kept.keys())]
    if short:
        more = f" and {len(short) - 10} more" if len(short) > 10 else ""
        warn(
            f"{source}: left out {len(short)} of {len(utterances_of)} speakers, who have fewer than {most + 1} "
            f"utterances: {' '.join(short[:10])}{more}"
        )
    if len(kept) < 2:
        raise VouchError(
            f"{source}/utt2spk: only {len(kept)} speakers have {most + 1} utterances or more, want at least 2; "
            "add utterances or enroll with fewer (--models)"
        )
    return kept


def _groups(
    source: Path,
    speakers: dict[bytes, list[bytes]],
    tables: dict[str, dict[bytes, bytes]],
    same_gender: bool,
    limit: int,
) -> dict[bytes, tuple]:
    """Of each speaker what a trial's two sides must share."""
    from vouch.io.datadir import show

    def of(name: str, speaker: bytes) -> bytes:
        if speaker not in tables[name]:
            raise VouchError(
                f"{source}/{name}: speaker '{show(speaker)}' of utt2spk is missing; add the speaker's line"
            )
        return tables[name][speaker].split()[1]

    def is_child(speaker: bytes) -> bool:
        try:
            return float(of("spk2age", speaker)) <= limit
        except ValueError:
            raise VouchError(f"{source}/spk2age: the age of '{show(speaker)}' is not a number; mend the line") from None

    by_gender = same_gender and "spk2gender" in tables
    by_age = limit > 0 and "spk2age" in tables
    log(
        f"{source}: trials {'within' if by_gender else 'across'} genders, {'within' if by_age else 'across'} age groups"
    )
    return {s: (of("spk2gender", s) if by_gender else b"", is_child(s) if by_age else False) for s in speakers}


def _write_part(
    stage: Path,
    final: Path,
    rows: list[tuple[bytes, bytes, bytes, bytes]],
    source: Path,
    tables: dict[str, dict[bytes, bytes]],
) -> None:
    """Write a data directory of the utterances in rows: (new utterance, new speaker, old utterance, old speaker)."""
    from vouch.io.datadir import KINDS, RECORDING, SPEAKER, show, spk2utt_lines, write_lines

    rows = sorted(rows)
    speakers = [row[1] for row in rows]
    if speakers != sorted(speakers):
        odd = next(b for a, b in zip(speakers, speakers[1:], strict=False) if b < a)
        raise VouchError(
            f"{final}: sorted by utterance, '{show(odd)}' comes too late; an utterance's id must begin with its "
            f"speaker's: rename the speakers in {source}/utt2spk"
        )
    utterances = [(new, old) for new, _, old, _ in rows]
    recordings = utterances
    if "segments" in tables:
        recordings = sorted(
            {(r, r) for r in (_find(tables, "segments", old, source).split()[1] for _, old in utterances)}
        )
    kinds = {SPEAKER: sorted({(new, old) for _, new, _, old in rows}), RECORDING: recordings}
    write_lines(stage / "utt2spk", [b"%s %s" % row[:2] for row in rows])
    write_lines(stage / "spk2utt", spk2utt_lines([row[0] for row in rows], speakers))
    for name in tables.keys() - {"utt2spk"}:
        lines = [
            b" ".join((new, *_find(tables, name, old, source).split(b" ", 1)[1:]))
            for new, old in kinds.get(KINDS[name].index, utterances)
        ]
        write_lines(stage / name, lines)


def _find(tables: dict[str, dict[bytes, bytes]], name: str, key: bytes, source: Path) -> bytes:
    from vouch.io.datadir import show

    if key not in tables[name]:
        raise VouchError(f"{source}/{name}: no line for '{show(key)}'; run utils/fix_data_dir.sh {source}")
    return tables[name][key]


def _write_trials(
    path: Path,
    models: dict[bytes, tuple[bytes, list[bytes]]],
    tested: list[tuple[bytes, bytes, bytes, bytes]],
    groups: dict[bytes, tuple],
) -> tuple[int, int]:
    """Write `MODEL UTTERANCE target|nontarget` lines in C order; returns the number of each."""
    members: dict[tuple, list[tuple[bytes, bytes]]] = {}
    for utterance, speaker, _, _ in sorted(tested):
        members.setdefault(groups[speaker], []).append((utterance, speaker))
    targets = total = 0
    with path.open("wb") as file:
        for model in sorted(models, key=lambda model: model + b" "):
            speaker = models[model][0]
            for utterance, other in members.get(groups[speaker], []):
                file.write(b"%s %s %s\n" % (model, utterance, b"target" if other == speaker else b"nontarget"))
                targets += other == speaker
                total += 1
    return targets, total - targets
