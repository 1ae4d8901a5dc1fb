"""The reference set of a whole UBM and extractor training: from its random starts every step must come out the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import replay_bars as bars
import replay_files as files
from replay_lines import Expected, Replay

_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def replay_training(golden: Path, work: Path, recordings: Path | None = None) -> Replay:
    """Replay commands.txt of a training set in a folder `work`.

    recordings: folder of the corpus that has the set's utterances; without it the features are taken from the set.
    """
    replay = Replay(work)
    lines = (golden / "commands.txt").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("gmm-global-init-from-feats"))
    if recordings is not None:
        _features(replay, golden, lines[:first], recordings)
    for name in ("feats.ark", "vad.ark"):
        shutil.copy(golden / name, work)
    said = [replay.run(lines[first]).stderr]
    expected = _expected(golden)
    for line in lines[first + 1 :]:
        for name in ("0.dubm", "0.ie"):  # random starts
            if name in line.split():
                shutil.copy(golden / name, work)
        outputs = {name: expected.pop(name) for name in list(expected) if _last(line) == name}
        said.append(replay.run(line).stderr)
        for name, output in outputs.items():
            replay.check("training", name, output)
            if name in ("4.dubm", "4.ubm", "5.ie"):  # the next part starts from the reference
                shutil.copy(golden / name, work)
    if expected:
        raise AssertionError(f"no line wrote {', '.join(expected)}")
    replay.checks += _log_lines("\n".join(said[1:]), (golden / "log_lines.txt").read_text())
    return replay


def _features(replay: Replay, golden: Path, lines: list[str], recordings: Path) -> None:
    listed = (recordings / "unlabelled" / "wav.scp").read_text().splitlines()
    paths = dict(line.split(None, 1) for line in listed)
    utterances = (golden / "utterances").read_text().split()
    scp = [f"{utterance} {recordings / paths[utterance]}\n" for utterance in utterances]
    (replay.work / "wav.scp").write_text("".join(scp))
    expected = {}
    for name, kind, bar in (("vad.ark", "vector", bars.EXACT), ("feats.ark", "matrix", bars.SPECTRUM_16K)):
        read = files.tables(kind)[0]
        expected[name] = Expected(read, read(str(golden / name)), bar)
    replay.run_all("training feats", lines, expected)


def _expected(golden: Path) -> dict[str, Expected]:
    models = {
        "1.dubm": (files.diag_gmm, bars.ITERATION_1),
        "4.dubm": (files.diag_gmm, bars.ITERATION_4),
        "0.ubm": (files.full_gmm, bars.MODEL),
        "1.ubm": (files.full_gmm, bars.ITERATION_1),
        "4.ubm": (files.full_gmm, bars.ITERATION_4),
        "final.dubm": (files.diag_gmm, bars.MODEL),
        "1.ie": (files.extractor, bars.ITERATION_1),
        "5.ie": (files.extractor, bars.ITERATION_5),
        "ivectors.ark": (files.tables("vector")[0], bars.POSTERIORS),
    }
    gaussians = len(files.full_gmm(str(golden / "4.ubm"))["weights"])
    models["post.ark"] = (files.posteriors(gaussians), bars.POSTERIORS)
    return {name: Expected(read, read(str(golden / name)), bar) for name, (read, bar) in models.items()}


def _last(line: str) -> str:
    return line.split()[-1].removeprefix("ark:")


def _log_lines(said: str, wanted: str) -> list[bars.Check]:
    """Every line of the reference's log, in order, with its numbers; the random start's own lines are left out."""
    lines = [line for line in wanted.splitlines() if not line.startswith("Likelihood per frame on iteration")]
    heads = {_NUMBER.sub("#", line) for line in lines}
    found = [_message(line) for line in said.splitlines()]
    found = [line for line in found if _NUMBER.sub("#", line) in heads]
    arrays = [
        {f"line {i}": np.array(_NUMBER.findall(line), dtype=float) for i, line in enumerate(texts)}
        for texts in (found, lines)
    ]
    return bars.compare("training log", "log_lines.txt", bars.LOGGED, *arrays)


def _message(line: str) -> str:
    """What a log line says, without who says it in front."""
    return re.sub(r"^LOG (\(.*?\) )?", "", line)
