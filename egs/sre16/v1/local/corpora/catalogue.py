"""What the recipe can read: releases, what each is, and what is lost without it."""

from __future__ import annotations

from typing import NamedTuple

SRE, SWITCHBOARD, EVALUATION, UNLABELLED, OTHER = "sre", "swbd", "evaluation", "unlabelled", "other"


class Corpus(NamedTuple):
    """A release: its size as published (empty: we know none), and what the recipe lacks without it.

    recordings and minutes (of each) are for plans made before a release is there. They come from the published numbers
    of calls (Switchboard: two sides of five minutes; Mixer 6: 4,410 calls, 1,425 interviews of 15 minutes and 2,000
    more microphones) or, for the SRE releases, are our share of what Snyder et al. 2018 (X-vectors) count, 63,000
    recordings of SRE04 to SRE10 with Mixer 6; the evaluation's are those of its plan.
    """

    number: str  # the LDC's, or our word for what the LDC does not release
    name: str
    size: str
    lost: str
    part: str  # what its recordings become
    recordings: int = 0
    minutes: float = 5.0


_LABELLED = "labelled speech of its speakers"
CATALOGUE = {
    corpus.number: corpus
    for corpus in (
        Corpus("LDC2006S44", "SRE04", "", _LABELLED, SRE, 6000),
        Corpus("LDC2011S01", "SRE05 train", "392 h", _LABELLED, SRE, 4700),
        Corpus("LDC2011S04", "SRE05 test", "", _LABELLED, SRE, 5000),
        Corpus("LDC2011S09", "SRE06 train", "595 h", _LABELLED, SRE, 7100),
        Corpus("LDC2011S10", "SRE06 test 1", "437 h", _LABELLED, SRE, 5200),
        Corpus("LDC2012S01", "SRE06 test 2", "", _LABELLED, SRE, 5000),
        Corpus("LDC2011S08", "SRE08 test", "", "SRE08 altogether: its keys are here", SRE, 7000),
        Corpus("LDC2011S05", "SRE08 train", "", "the audio of SRE08's models", SRE, 4000),
        Corpus("LDC2017S06", "SRE10", "", _LABELLED, SRE, 7000),
        Corpus(
            "LDC2013S03", "Mixer 6", "4,410 calls, 1,425 interviews", "labelled speech of 594 speakers", SRE, 12245, 7.0
        ),
        Corpus("LDC98S75", "Switchboard-2 phase 1", "3,638 calls", "657 speakers for the network", SWITCHBOARD, 7276),
        Corpus("LDC99S79", "Switchboard-2 phase 2", "", "speakers for the network", SWITCHBOARD, 8944),
        Corpus("LDC2002S06", "Switchboard-2 phase 3", "2,728 calls", "640 speakers for the network", SWITCHBOARD, 5456),
        Corpus("LDC2001S13", "Switchboard Cellular 1", "109 h", "speakers for the network", SWITCHBOARD, 2618),
        Corpus(
            "LDC2004S07", "Switchboard Cellular 2", "202 h, 11 GB", "419 speakers for the network", SWITCHBOARD, 4040
        ),
        Corpus("R149_0_1", "SRE16 evaluation", "", "the evaluation: training data only", EVALUATION, 10496, 1.0),
        Corpus("LDC2016E46", "SRE16 unlabelled", "", "adaptation to Cantonese and Tagalog", UNLABELLED, 2472, 1.0),
        Corpus("speaker_list", "OpenSLR 15", "", "SRE04, 05 and 06 altogether: their speakers are here", OTHER),
        Corpus("musan", "MUSAN, OpenSLR 17", "11 GB", "recorded noises for augmentation", OTHER),
        Corpus("rirs", "RIRS_NOISES, OpenSLR 28", "1.3 GB", "its room impulse responses for augmentation", OTHER),
    )
}
ALIASES = {"LDC2019S20": "R149_0_1", "RIRS_NOISES": "rirs"}  # release that holds it: what it is here
YEARS = {  # source in the speaker list: what the names of its utterances say, and the releases
    "sre2004": ("sre04", ("LDC2006S44",)),
    "sre2005": ("sre05", ("LDC2011S01", "LDC2011S04")),
    "sre2006": ("sre06", ("LDC2011S09", "LDC2011S10", "LDC2012S01")),
}
