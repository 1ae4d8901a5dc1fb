"""Speech, speakers, sessions and the plan of the embedded corpus."""

from dataclasses import replace

import numpy as np
import pytest

from vouch.synthesis.channel import (
    SOURCE_NOISES,
    TARGET_NOISES,
    make_noise,
    mu_law,
    random_response,
    record,
    speech_level,
)
from vouch.synthesis.corpus import PARTS, fingerprint, gender, plan, speaker_of, synthesise
from vouch.synthesis.phones import LANGUAGE_A, LANGUAGE_B, REGIONS, segments
from vouch.synthesis.speaker import Spread, draw_manner, draw_speaker
from vouch.synthesis.tract import FRAME_SECONDS, RATE
from vouch.synthesis.utterance import compose, make_tracks, render, smooth, speak

SPREAD = Spread()
STILL = replace(SPREAD, **{name: 0.0 for name in SPREAD.values() if name.startswith(("between", "within"))})


def spoken(spread, seed, seconds=3.0, language=LANGUAGE_A):
    rng = np.random.default_rng(seed)
    speaker, manner = draw_speaker("m", spread, rng), draw_manner(spread, rng)
    return speak(speaker, manner, language, seconds, spread, rng)


@pytest.mark.parametrize("language", [LANGUAGE_A, LANGUAGE_B])
def test_every_phone_of_a_language_is_defined_and_used_somewhere(language):
    used = {name for names in (language.onsets, language.nuclei, language.codas) for name in names if name}
    assert used == set(language.phones)
    for phone in language.phones.values():
        parts = segments(phone)
        assert phone.region in REGIONS
        assert all(part.seconds > 0 for part in parts)
        assert any(part.voice or part.breath or part.noise for part in parts)
        finite = [part.formants for part in parts if not np.isnan(part.formants).any()]
        assert all((np.diff(formants) > 0).all() for formants in finite)


@pytest.mark.parametrize("language", [LANGUAGE_A, LANGUAGE_B])
def test_composition_fills_the_time_and_has_edges_of_silence(language):
    for seed in range(5):
        pieces, _ = compose(language, 3.0, 1.0, 0.2, np.random.default_rng(seed))
        assert sum(piece.frames for piece in pieces) == round(3.0 / FRAME_SECONDS)
        assert pieces[0].syllable < 0 and pieces[-1].syllable < 0
        speech = sum(piece.frames for piece in pieces if piece.syllable >= 0)
        assert speech > 0.5 * 3.0 / FRAME_SECONDS


def test_tones_are_on_every_syllable_of_language_b_and_accents_on_one_of_a_word():
    rng = np.random.default_rng(0)
    assert all(syllable.stressed for _ in range(20) for syllable in LANGUAGE_B.word(rng))
    assert all(sum(syllable.stressed for syllable in LANGUAGE_A.word(rng)) == 1 for _ in range(20))


def test_smooth_keeps_constants_and_removes_fast_changes():
    np.testing.assert_allclose(smooth(np.full((50, 2), 3.0), 0.06), 3.0)
    fast = np.tile([0.0, 1.0], 100)
    assert smooth(fast, 0.06)[10:-10].std() < 0.01


def test_tracks_are_finite_and_formants_in_order():
    rng = np.random.default_rng(3)
    speaker, manner = draw_speaker("f", SPREAD, rng), draw_manner(SPREAD, rng)
    pieces, syllables = compose(LANGUAGE_B, 4.0, 1.0, 0.2, rng)
    tracks = make_tracks(pieces, syllables, speaker, manner, SPREAD, rng)
    assert np.isfinite(tracks.formants).all() and (np.diff(tracks.formants, axis=1) >= 0).all()
    assert tracks.pitch.min() > 80 and tracks.pitch.max() < 500
    assert len(render(tracks, speaker, manner, rng)) == 4 * RATE


def test_a_longer_tract_lowers_formants_in_the_sound():
    """Spectral centroid of the same utterance by two speakers who differ in tract length alone."""

    def centroid(scale):
        rng = np.random.default_rng(0)
        speaker, manner = draw_speaker("m", STILL, rng), draw_manner(STILL, rng)
        longer = replace(
            speaker, formant_scale=speaker.formant_scale * scale, upper_formants=speaker.upper_formants * scale
        )
        power = np.abs(np.fft.rfft(speak(longer, manner, LANGUAGE_A, 4.0, STILL, rng))) ** 2
        frequency = np.fft.rfftfreq(4 * RATE, 1 / RATE)
        band = (frequency > 300) & (frequency < 1600)
        return (power[band] * frequency[band]).sum() / power[band].sum()

    assert centroid(1.15) > 1.05 * centroid(1.0)


def test_all_sliders_change_the_sound_and_zero_spread_gives_one_voice():
    for name, value in SPREAD.values().items():
        other = tuple(v + 5 for v in value) if isinstance(value, tuple) else value * 1.5
        changed = replace(SPREAD, **{name: other})
        items = [plan(0)[0], plan(0)[-1]]
        assert any((synthesise(i, 0, SPREAD) != synthesise(i, 0, changed)).any() for i in items), name
    a, b = (draw_speaker("f", STILL, np.random.default_rng(seed)) for seed in (1, 2))
    assert a.pitch == b.pitch and a.breath == b.breath and (a.formant_scale == b.formant_scale).all()


def test_mu_law_is_eight_bits_and_near_its_input():
    x = np.linspace(-1, 1, 20001)
    y = mu_law(x)
    assert len(np.unique(y)) <= 256
    assert (np.abs(y - x) <= 0.03 * np.abs(x) + 1e-4).all()
    np.testing.assert_allclose(mu_law(y), y, atol=1e-12)


@pytest.mark.parametrize("kind", SOURCE_NOISES + TARGET_NOISES)
def test_noises_have_unit_power(kind):
    noise = make_noise(kind, 16000, np.random.default_rng(0))
    assert np.mean(noise**2) == pytest.approx(1)
    assert np.isfinite(noise).all()


def test_random_response_has_the_deviation_asked_for():
    responses = [20 * np.log10(random_response(800, 3.0, np.random.default_rng(seed))) for seed in range(300)]
    assert np.mean(np.std(responses, axis=0)) == pytest.approx(3.0, rel=0.25)


def test_telephone_removes_what_is_outside_its_band():
    speech = spoken(SPREAD, 5)
    clean = replace(SPREAD, target_snr=(60.0, 60.0), source_snr=(60.0, 60.0))
    frequency = np.fft.rfftfreq(len(speech), 1 / RATE)

    def low_share(telephone):
        power = np.abs(np.fft.rfft(record(speech, telephone, clean, np.random.default_rng(1)) / 32768)) ** 2
        return power[frequency < 180].sum() / power[(frequency > 300) & (frequency < 3400)].sum()

    assert low_share(True) < 0.1 * low_share(False)


@pytest.mark.parametrize("snr", [5.0, 25.0])
def test_noise_is_at_the_ratio_asked_for(snr):
    speech = spoken(SPREAD, 6)
    silent = np.concatenate([np.zeros(RATE), speech])
    spread = replace(SPREAD, source_snr=(snr, snr), source_equaliser=0.0)
    ratios = []
    for seed in range(12):
        mixed = record(silent, False, spread, np.random.default_rng(seed)) / 32768
        noise = mixed[: RATE - 200].std()
        ratios.append(20 * np.log10(speech_level(mixed) / noise))
    assert np.median(ratios) == pytest.approx(snr, abs=2.0)


def test_plan_has_the_sizes_genders_and_ids_of_the_corpus():
    items = plan(0)
    counts = [sum(item.part == k for item in items) for k in range(len(PARTS))]
    assert counts == [480, 160, 120, 160]
    ids = [item.utterance_id for item in items]
    assert len(set(ids)) == len(ids)
    assert all(item.utterance_id.startswith(item.speaker_id) for item in items)
    train, evaluation = ({i.speaker for i in items if i.part == k} for k in (0, 1))
    adapt, target = ({i.speaker for i in items if i.part == k} for k in (2, 3))
    assert not train & evaluation and not adapt & target
    assert all(sum(gender(s) == "m" for s in group) * 2 == len(group) for group in (train, evaluation, adapt, target))


def test_names_of_the_unlabelled_part_do_not_tell_the_speaker():
    unlabelled = [item for item in plan(0) if item.part == 2]
    assert all(item.utterance_id == item.speaker_id for item in unlabelled)
    speakers = np.array([item.speaker for item in unlabelled])
    neighbours = np.mean(speakers[1:] == speakers[:-1])
    assert neighbours < 0.15  # 0.75 when speakers lie side by side


def test_scale_keeps_enough_of_every_part():
    small = plan(0, 0.05)
    assert len(small) < 0.2 * len(plan(0))
    for k, part in enumerate(PARTS):
        mine = [item for item in small if item.part == k]
        assert len({item.speaker for item in mine}) >= 4
        assert len(mine) / len({item.speaker for item in mine}) >= (4 if part.labelled else 2)
    with pytest.raises(ValueError, match="scale"):
        plan(0, 0.0)


def test_an_utterance_depends_on_its_own_numbers_alone():
    item = plan(0)[3]
    first = synthesise(item, 0, SPREAD)
    synthesise(plan(0)[700], 0, SPREAD)
    np.testing.assert_array_equal(synthesise(item, 0, SPREAD), first)
    assert first.dtype == np.int16 and 2 * RATE <= len(first) <= 6 * RATE + 1
    other_seed = synthesise(item, 1, SPREAD)
    assert len(other_seed) != len(first) or (other_seed != first).any()
    assert speaker_of(item, 0, SPREAD).pitch == speaker_of(plan(0)[4], 0, SPREAD).pitch
    assert fingerprint(0, 1.0, SPREAD) != fingerprint(0, 1.0, STILL)
