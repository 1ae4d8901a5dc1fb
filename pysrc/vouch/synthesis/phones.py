"""Phones, and how a phone becomes acoustic segments.

Vowel formants of language A are the male means of Peterson and Barney, "Control methods used in a study of the
vowels", JASA 24 (1952), table II; those of language B follow Lee and Zee, "Standard Chinese (Beijing)", JIPA 33
(2003), rounded. Consonant loci, frication centres and durations follow Klatt (1980), tables II and III, and
Stevens, "Acoustic Phonetics" (1998), chapters 7 to 9, rounded. Neither language is meant to be understood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FORMANTS = 4  # with targets of their own; the higher ones are the speaker's and do not move
REGIONS = ("close front", "open front", "open", "back", "central", "consonant")
_FREE = (np.nan,) * FORMANTS  # takes its neighbour's formants


@dataclass(frozen=True)
class Phone:
    """One phone of an adult man: frequencies in Hz, durations in seconds, amplitudes relative to a vowel's source."""

    manner: str  # vowel, approximant, nasal, fricative, stop, affricate or aspirate
    formants: tuple[float, ...] = _FREE  # targets, or locus of a consonant
    glide: tuple[float, ...] | None = None  # a diphthong's second targets
    region: str = "consonant"  # which of a speaker's formant offsets applies
    seconds: float = 0.08
    voiced: bool = False
    noise: float = 0.0  # amplitude of frication
    noise_centre: float = 3000.0
    noise_width: float = 1500.0
    aspiration: float = 0.0  # seconds of breath after the burst


@dataclass
class Segment:
    """A stretch of constant targets: what the synthesiser's tracks are made from."""

    seconds: float
    formants: np.ndarray  # (FORMANTS,) Hz, NaN where the neighbour decides
    region: int = REGIONS.index("consonant")
    voice: float = 0.0
    breath: float = 0.0
    noise: float = 0.0
    noise_centre: float = 3000.0
    noise_width: float = 1500.0
    nasal: float = 0.0  # 1: the velum is open


def segments(phone: Phone) -> list[Segment]:
    """The segments of a phone: a stop is closure, burst and aspiration; a diphthong two targets."""
    at = np.array(phone.formants, dtype=np.float64)
    buzz = 1.0 if phone.voiced else 0.0
    fric = {"noise": phone.noise, "noise_centre": phone.noise_centre, "noise_width": phone.noise_width}
    if phone.manner == "vowel":
        region = REGIONS.index(phone.region)
        if phone.glide is None:
            return [Segment(phone.seconds, at, region, voice=1.0)]
        end = np.array(phone.glide, dtype=np.float64)
        return [Segment(s * phone.seconds, f, region, voice=1.0) for s, f in ((0.55, at), (0.45, end))]
    if phone.manner == "approximant":
        return [Segment(phone.seconds, at, voice=0.6)]
    if phone.manner == "nasal":
        return [Segment(phone.seconds, at, voice=0.6, nasal=1.0)]
    if phone.manner == "fricative":
        return [Segment(phone.seconds, at, voice=0.35 * buzz, breath=0.03, **fric)]
    if phone.manner == "aspirate":
        return [Segment(phone.seconds, at, breath=0.3)]
    closure = Segment(phone.seconds, at, voice=0.06 * buzz)
    if phone.manner == "affricate":
        parts = [closure, Segment(0.07, at, **fric)]
    else:
        parts = [closure, Segment(0.012, at, voice=0.2 * buzz, **fric)]
    if phone.aspiration:
        parts.append(
            Segment(
                phone.aspiration,
                at,
                breath=0.25,
                noise=0.1 * phone.noise,
                noise_centre=phone.noise_centre,
                noise_width=phone.noise_width,
            )
        )
    return parts


def _vowel(region: str, seconds: float, *targets: tuple[float, ...]) -> Phone:
    return Phone("vowel", targets[0], targets[1] if len(targets) > 1 else None, region, seconds, voiced=True)


_LABIAL = (250, 1000, 2250, 3300)
_DENTAL = (250, 1400, 2550, 3400)
_ALVEOLAR = (250, 1750, 2650, 3500)
_PALATAL = (250, 2000, 2650, 3550)
_RETROFLEX = (270, 1600, 2100, 3200)
_VELAR = (250, 1850, 2250, 3300)

_ENGLISH_VOWELS = {
    "i": _vowel("close front", 0.11, (270, 2290, 3010, 3600)),
    "I": _vowel("close front", 0.09, (390, 1990, 2550, 3550)),
    "E": _vowel("open front", 0.11, (530, 1840, 2480, 3500)),
    "ae": _vowel("open front", 0.14, (660, 1720, 2410, 3450)),
    "A": _vowel("open", 0.14, (730, 1090, 2440, 3400)),
    "O": _vowel("back", 0.13, (570, 840, 2410, 3350)),
    "U": _vowel("back", 0.09, (440, 1020, 2240, 3300)),
    "u": _vowel("back", 0.11, (300, 870, 2240, 3300)),
    "V": _vowel("central", 0.09, (640, 1190, 2390, 3400)),
    "3": _vowel("central", 0.13, (490, 1350, 1690, 3200)),
    "@": _vowel("central", 0.06, (500, 1400, 2400, 3450)),
    "aI": _vowel("open", 0.17, (730, 1200, 2400, 3400), (400, 1950, 2550, 3500)),
    "eI": _vowel("open front", 0.15, (500, 1850, 2500, 3500), (330, 2150, 2800, 3550)),
    "oU": _vowel("back", 0.15, (540, 1100, 2300, 3350), (400, 900, 2250, 3300)),
    "aU": _vowel("open", 0.17, (730, 1250, 2450, 3400), (450, 950, 2250, 3300)),
}
_CHINESE_VOWELS = {
    "a": _vowel("open", 0.17, (850, 1250, 2600, 3500)),
    "o": _vowel("back", 0.15, (520, 820, 2500, 3350)),
    "7": _vowel("back", 0.15, (450, 1150, 2500, 3400), (560, 1200, 2550, 3400)),
    "i": _vowel("close front", 0.15, (280, 2350, 3200, 3650)),
    "u": _vowel("back", 0.15, (330, 650, 2400, 3350)),
    "y": _vowel("close front", 0.15, (280, 2000, 2350, 3400)),
    "z=": _vowel("central", 0.14, (380, 1350, 2650, 3500)),
    "r=": _vowel("central", 0.14, (390, 1700, 2100, 3200)),
    "ai": _vowel("open", 0.19, (800, 1300, 2550, 3450), (420, 2000, 2700, 3500)),
    "ei": _vowel("open front", 0.18, (520, 1950, 2650, 3500), (350, 2250, 2900, 3600)),
    "au": _vowel("open", 0.19, (800, 1150, 2550, 3400), (480, 850, 2450, 3350)),
    "ou": _vowel("back", 0.18, (540, 950, 2450, 3400), (390, 750, 2400, 3350)),
    "ia": _vowel("open front", 0.20, (300, 2250, 2950, 3550), (800, 1350, 2600, 3500)),
    "ua": _vowel("open", 0.20, (350, 720, 2400, 3350), (800, 1200, 2600, 3450)),
    "ie": _vowel("open front", 0.19, (300, 2250, 2950, 3550), (520, 2000, 2650, 3500)),
}


def _stop(locus: tuple[float, ...], centre: float, width: float, noise: float, **more: float | bool) -> Phone:
    return Phone("stop", locus, seconds=0.055, noise=noise, noise_centre=centre, noise_width=width, **more)


def _fricative(locus: tuple[float, ...], centre: float, width: float, noise: float, **more: float | bool) -> Phone:
    more = {"seconds": 0.1, **more}
    return Phone("fricative", locus, noise=noise, noise_centre=centre, noise_width=width, **more)


_ENGLISH_CONSONANTS = {
    "p": _stop(_LABIAL, 1200, 2500, 0.25, aspiration=0.045),
    "t": _stop(_ALVEOLAR, 4200, 2500, 0.50, aspiration=0.055),
    "k": _stop(_VELAR, 2000, 700, 0.50, aspiration=0.060),
    "b": _stop(_LABIAL, 900, 2000, 0.20, voiced=True),
    "d": _stop(_ALVEOLAR, 4000, 2500, 0.35, voiced=True),
    "g": _stop(_VELAR, 1900, 700, 0.35, voiced=True),
    "f": _fricative(_LABIAL, 5000, 9000, 0.10),
    "T": _fricative(_DENTAL, 5500, 6000, 0.09),
    "s": _fricative(_ALVEOLAR, 5200, 1800, 0.55),
    "S": _fricative(_PALATAL, 2800, 1200, 0.45),
    "v": _fricative(_LABIAL, 5000, 9000, 0.06, voiced=True, seconds=0.06),
    "z": _fricative(_ALVEOLAR, 5200, 1800, 0.35, voiced=True, seconds=0.07),
    "h": Phone("aspirate", seconds=0.06),
    "m": Phone("nasal", _LABIAL, seconds=0.07, voiced=True),
    "n": Phone("nasal", _ALVEOLAR, seconds=0.065, voiced=True),
    "N": Phone("nasal", _VELAR, seconds=0.075, voiced=True),
    "l": Phone("approximant", (360, 1000, 2700, 3400), seconds=0.065, voiced=True),
    "r": Phone("approximant", (330, 1150, 1550, 3100), seconds=0.065, voiced=True),
    "w": Phone("approximant", (290, 650, 2200, 3250), seconds=0.065, voiced=True),
    "j": Phone("approximant", (270, 2200, 2950, 3600), seconds=0.065, voiced=True),
}
_CHINESE_CONSONANTS = {
    "p": _stop(_LABIAL, 1100, 2500, 0.20, aspiration=0.012),
    "ph": _stop(_LABIAL, 1300, 2500, 0.25, aspiration=0.085),
    "t": _stop(_DENTAL, 3700, 2500, 0.35, aspiration=0.012),
    "th": _stop(_DENTAL, 3900, 2500, 0.40, aspiration=0.090),
    "k": _stop(_VELAR, 1800, 700, 0.35, aspiration=0.020),
    "kh": _stop(_VELAR, 2000, 700, 0.40, aspiration=0.095),
    "ts": Phone("affricate", _DENTAL, seconds=0.04, noise=0.45, noise_centre=5600, noise_width=2000),
    "tsh": Phone("affricate", _DENTAL, seconds=0.04, noise=0.50, noise_centre=5600, noise_width=2000, aspiration=0.06),
    "ts`": Phone("affricate", _RETROFLEX, seconds=0.04, noise=0.45, noise_centre=3100, noise_width=1100),
    "ts`h": Phone(
        "affricate", _RETROFLEX, seconds=0.04, noise=0.45, noise_centre=3100, noise_width=1100, aspiration=0.06
    ),
    "tC": Phone("affricate", _PALATAL, seconds=0.04, noise=0.40, noise_centre=4300, noise_width=1500),
    "tCh": Phone("affricate", _PALATAL, seconds=0.04, noise=0.45, noise_centre=4300, noise_width=1500, aspiration=0.06),
    "f": _fricative(_LABIAL, 4700, 9000, 0.10),
    "s": _fricative(_DENTAL, 5800, 2000, 0.50),
    "s`": _fricative(_RETROFLEX, 3100, 1100, 0.45),
    "C": _fricative(_PALATAL, 4300, 1500, 0.40),
    "x": _fricative(_VELAR, 1700, 1200, 0.15),
    "m": Phone("nasal", _LABIAL, seconds=0.07, voiced=True),
    "n": Phone("nasal", _ALVEOLAR, seconds=0.07, voiced=True),
    "N": Phone("nasal", _VELAR, seconds=0.085, voiced=True),
    "l": Phone("approximant", (340, 1300, 2800, 3450), seconds=0.065, voiced=True),
    "r`": Phone("approximant", (340, 1550, 2050, 3200), seconds=0.07, voiced=True),
}


@dataclass(frozen=True)
class Language:
    """A phone inventory with its syllables and melody.

    onsets and codas may hold "" for none; a melody is a line of pitch targets over one syllable, in units of the
    speaker's pitch range.
    """

    phones: dict[str, Phone]
    onsets: tuple[str, ...]
    nuclei: tuple[str, ...]
    codas: tuple[str, ...]
    coda_share: float  # of syllables closed by a consonant
    word_syllables: tuple[int, int]  # fewest and most
    stressed: tuple[tuple[float, ...], ...]  # melodies of a word's stressed syllable, or lexical tones
    unstressed: tuple[tuple[float, ...], ...]
    tonal: bool  # every syllable bears a tone; otherwise one of a word is stressed

    def word(self, rng: np.random.Generator) -> list[Syllable]:
        """Draw a word."""
        count = int(rng.integers(self.word_syllables[0], self.word_syllables[1] + 1))
        accent = int(rng.integers(count))
        return [self._syllable(self.tonal or k == accent, rng) for k in range(count)]

    def _syllable(self, stressed: bool, rng: np.random.Generator) -> Syllable:
        def pick(items: tuple) -> object:
            return items[int(rng.integers(len(items)))]

        names = [pick(self.onsets), pick(self.nuclei)]
        names += [pick(self.codas)] if rng.random() < self.coda_share else []
        spoken = [name for name in names if name]
        melody = pick(self.stressed if stressed else self.unstressed)
        return Syllable([self.phones[name] for name in spoken], melody, stressed)


@dataclass(frozen=True)
class Syllable:
    """Phones under one piece of melody."""

    phones: list[Phone]
    melody: tuple[float, ...]
    stressed: bool


LANGUAGE_A = Language(
    phones=_ENGLISH_VOWELS | _ENGLISH_CONSONANTS,
    onsets=("", "", *(name for name in _ENGLISH_CONSONANTS if name != "N")),
    nuclei=tuple(_ENGLISH_VOWELS),
    codas=("p", "t", "k", "d", "g", "f", "s", "S", "z", "m", "n", "N", "l"),
    coda_share=0.4,
    word_syllables=(1, 3),
    stressed=((0.0, 1.0, 0.3), (0.2, 0.8, 0.6), (-0.2, 0.6, -0.2)),
    unstressed=((0.0, -0.1), (-0.2, -0.3), (0.1, 0.0)),
    tonal=False,
)
LANGUAGE_B = Language(
    phones=_CHINESE_VOWELS | _CHINESE_CONSONANTS,
    onsets=("", *(name for name in _CHINESE_CONSONANTS if name != "N")),
    nuclei=tuple(_CHINESE_VOWELS),
    codas=("n", "N"),
    coda_share=0.3,
    word_syllables=(1, 2),
    stressed=((0.9, 0.9), (-0.1, 0.0, 0.9), (-0.4, -1.0, -0.9, -0.2), (1.1, 0.6, -0.8)),  # tones 1 to 4
    unstressed=((0.0,),),
    tonal=True,
)
