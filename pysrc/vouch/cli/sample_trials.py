"""`vouch sample-trials`: trials among the utterances of known speakers, to learn a calibration from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np


def sample_trials(argv: list[str]) -> None:
    """Draw target and nontarget trials of utterances."""
    options = ToolOptions(
        "sample-trials",
        "[options] <utt2spk> <trials-out>",
        "Draw pairs of utterances 'UTT1 UTT2 target|nontarget', half of them of one speaker, each pair once, sorted. A "
        "speaker, then an utterance, is drawn with equal chances, so that speakers with many utterances do not rule.",
        (2, 2),
    )
    options.add("num", 30000, "trials; fewer where speakers have few pairs")
    options.add("seed", 0, "of the draws")
    options.add("gender", "", "spk2gender: nontarget trials within a gender; empty: all")
    opt, (utt2spk_in, trials_out) = options.parse(argv)
    if opt.num < 2 or opt.seed < 0:
        raise VouchError(f"--num={opt.num} --seed={opt.seed}: want 2 or more trials, and a seed of 0 or more")

    import numpy as np

    from vouch.io.tables import open_output, read_token_lines

    utterances: dict[str, list[str]] = {}
    for utterance, speaker in read_token_lines(utt2spk_in, (2, 2)):
        utterances.setdefault(speaker, []).append(utterance)
    genders = dict(read_token_lines(opt.gender, (2, 2))) if opt.gender else {}
    lacking = next((speaker for speaker in utterances if opt.gender and speaker not in genders), None)
    if lacking is not None:
        raise VouchError(f"{opt.gender} has no gender of {lacking}, a speaker of {utt2spk_in}")
    names = [utterance for own in utterances.values() for utterance in own]
    sizes = np.array([len(own) for own in utterances.values()])
    kinds = np.unique([genders.get(speaker, "") for speaker in utterances], return_inverse=True)[1]
    generator = np.random.default_rng(opt.seed)
    drawn = {
        "target": _pairs(generator, sizes, kinds, opt.num // 2, True),
        "nontarget": _pairs(generator, sizes, kinds, opt.num - opt.num // 2, False),
    }
    for kind, pairs in drawn.items():
        if not len(pairs):
            raise VouchError(f"{utt2spk_in} has no pairs for {kind} trials; want speakers with two utterances, and two")
    lines = sorted(f"{names[a]} {names[b]} {kind}\n" for kind, pairs in drawn.items() for a, b in pairs)
    with open_output(trials_out) as stream:
        stream.write("".join(lines).encode())
    log(f"drew {len(drawn['target'])} target and {len(drawn['nontarget'])} nontarget trials of {len(sizes)} speakers")


def _pairs(generator: np.random.Generator, sizes: np.ndarray, kinds: np.ndarray, count: int, same: bool) -> np.ndarray:
    """Different pairs `(up to count, 2)` of utterances, numbered through, of one speaker or of two of one kind."""
    import numpy as np

    starts = np.cumsum(sizes) - sizes
    speakers = np.flatnonzero(sizes > 1) if same else np.arange(len(sizes))
    found = np.zeros((0, 2), int)
    for _ in range(20):  # each time some pairs come again, or are of one speaker
        if len(found) >= count or not len(speakers):
            break
        first = generator.choice(speakers, 2 * count)
        second = first if same else generator.choice(speakers, 2 * count)
        pairs = np.stack(
            [starts[s] + (generator.random(len(s)) * sizes[s]).astype(int) for s in (first, second)], axis=1
        )
        fits = (pairs[:, 0] != pairs[:, 1]) if same else (first != second) & (kinds[first] == kinds[second])
        together = np.concatenate([found, np.sort(pairs[fits], axis=1)])
        found = together[np.sort(np.unique(together, axis=0, return_index=True)[1])]
    return found[:count]
