"""The reference set of single tools: its inputs, laid out under the names of its commands.json, and its outputs."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import replay_bars as bars
import replay_files as files
from replay_lines import Expected, Replay


def replay_tools(golden: Path, work: Path) -> Replay:
    """Replay all stages of a reference set, from its inputs, in a folder `work`; the Replay holds the comparisons.

    A stage whose line fails counts as one failed comparison, and the next one is tried.
    """
    commands = files.load_json(golden / "commands.json")
    replay = Replay(work)
    _lay_out_audio(golden, work)
    for stage, lines in commands.items():
        try:
            _STAGES[stage](replay, golden, lines)
        except AssertionError as error:
            replay.checks.append(bars.Check(stage, "runs", str(error), 0, "failed", float("inf")))
    return replay


def _arrays(path: Path, prefix: str = "") -> files.Arrays:
    with np.load(path) as stored:
        return {key.removeprefix(prefix): stored[key] for key in stored if key.startswith(prefix)}


def _variants(path: Path) -> dict[str, files.Arrays]:
    """variant -> utterance -> array, of keys `variant/utterance`."""
    found: dict[str, files.Arrays] = {}
    for key, value in _arrays(path).items():
        variant, _, utterance = key.partition("/")
        found.setdefault(variant, {})[utterance] = value
    return found


def _logarithms(arrays: files.Arrays) -> files.Arrays:
    return {key: np.log(np.maximum(value, np.finfo(np.float32).eps)) for key, value in arrays.items()}


# --- audio and features -----------------------------------------------------------------------------------------------


def _lay_out_audio(golden: Path, work: Path) -> None:
    shutil.copytree(golden / "audio", work / "wav")
    rates = {name: entry["rate"] for name, entry in files.load_json(golden / "audio" / "manifest.json").items()}
    plain = {name: rate for name, rate in rates.items() if not name.startswith("edge_")}
    of_rate = {rate: [name for name in plain if plain[name] == rate] for rate in (8000, 16000)}
    lists = {
        "wav_8k": of_rate[8000],
        "wav_16k": of_rate[16000],
        "wav_edge": [name for name in rates if name not in plain],
        "wav_8k_two": list(_arrays(golden / "mfcc" / "mfcc_sre08v1_8k.npz")),
        "wav_16k_two": list(_arrays(golden / "mfcc" / "mfcc_voxv1_16k.npz")),
        "wav_16k_one": list(next(iter(_variants(golden / "fbank" / "fbank80_16k_variants.npz").values()))),
        "wav_opt8": list(next(iter(_variants(golden / "mfcc" / "mfcc_options_8k.npz").values()))),
        "wav_opt16": list(_arrays(golden / "mfcc" / "mfcc_allow_downsample_16k_to_8k.npz")),
        "fmt": [line.split()[0] for line in (golden / "formats" / "mfcc_f32.scp").read_text().splitlines()],
    }
    for name, utterances in lists.items():
        lines = [f"{utterance} wav/{utterance}.wav\n" for utterance in sorted(utterances)]
        (work / f"{name}.scp").write_text("".join(lines))


def _table(kind: str, arrays: files.Arrays, bar: bars.Bar) -> Expected:
    read, write = files.tables(kind)
    return Expected(read, arrays, bar, write)


def _features(arrays: files.Arrays, line: str) -> Expected:
    """Of features that are not logarithms, the logarithms are compared: they reach 1e9."""
    if "--use-log-fbank=false" in line:
        read = files.tables("matrix")[0]
        return Expected(lambda path: _logarithms(read(path)), _logarithms(arrays), bars.SPECTRUM_8K)
    return _table("matrix", arrays, bars.SPECTRUM_8K if "--sample-frequency=8000" in line else bars.SPECTRUM_16K)


def _mfcc(replay: Replay, golden: Path, lines: list[str]) -> None:
    options = _variants(golden / "mfcc" / "mfcc_options_8k.npz")
    expected = {}
    for line in lines:
        name = line.rpartition("ark:")[2]
        stem = name.removesuffix(".ark")
        if stem.startswith("mfcc_o_"):
            arrays = options[stem.removeprefix("mfcc_o_")]
        elif stem == "mfcc_down":
            arrays = _arrays(golden / "mfcc" / "mfcc_allow_downsample_16k_to_8k.npz")
        else:
            arrays = _arrays(golden / "mfcc" / f"{stem}.npz")
        expected[name] = _features(arrays, line)
    replay.run_all("mfcc", lines, expected)


def _fbank(replay: Replay, golden: Path, lines: list[str]) -> None:
    options = _variants(golden / "fbank" / "fbank23_options_8k.npz")
    whole = {"hs": "hamming_snip", "pn": "povey_nosnip"}
    expected = {}
    for line in lines:
        name = line.rpartition("ark:")[2]
        _, kind, variant = name.removesuffix(".ark").split("_", 2)
        folder = {"16k": "fbank80_16k", "8k": "fbank40_8k"}.get(kind, "")
        if kind == "o":
            arrays = options[variant]
        elif variant in whole:
            arrays = _arrays(golden / "fbank" / f"{folder}_{whole[variant]}.npz")
        else:
            arrays = _variants(golden / "fbank" / f"{folder}_variants.npz")[variant]
        expected[name] = _features(arrays, line)
    replay.run_all("fbank", lines, expected)


def _vad(replay: Replay, golden: Path, lines: list[str]) -> None:
    outputs = {f"vad_{name}.ark": arrays for name, arrays in _variants(golden / "vad" / "vad.npz").items()}
    replay.run_all("vad", lines, {name: _table("vector", arrays, bars.EXACT) for name, arrays in outputs.items()})


def _cmvn(replay: Replay, golden: Path, lines: list[str]) -> None:
    outputs = {f"{path.stem}.ark": _arrays(path) for path in (golden / "cmvn").glob("*.npz")}
    outputs["cmvn_edge.ark"] = outputs.pop("cmvn_center_w300_normvars_edge.ark")
    expected = {name: _table("matrix", arrays, bars.NORMALISED) for name, arrays in outputs.items()}
    replay.run_all("cmvn", lines, expected)


def _deltas(replay: Replay, golden: Path, lines: list[str]) -> None:
    stored = {"deltas_o2_w3": "o2_w3_8k", "deltas_tool_default": "tool_default_8k", "deltas_edge": "o2_w3_edge"}
    outputs = {f"{name}.ark": _arrays(golden / "deltas" / f"deltas_{file}.npz") for name, file in stored.items()}
    expected = {name: _table("matrix", arrays, bars.NORMALISED) for name, arrays in outputs.items()}
    replay.run_all("deltas", lines, expected)


def _select_voiced(replay: Replay, golden: Path, lines: list[str]) -> None:
    *lines, lengths = lines
    sub = _variants(golden / "voiced" / "subsample.npz")
    copied = {"sub5.ark": sub["n5"], "subm2.ark": sub["n-2"]}
    copied["voiced_sre16v2_8k.ark"] = _arrays(golden / "voiced" / "voiced_sre16v2_8k.npz")
    chain = _arrays(golden / "voiced" / "voiced_sre16v1_chain_8k.npz")
    expected = {name: _table("matrix", arrays, bars.EXACT) for name, arrays in copied.items()}
    expected["voiced_sre16v1_8k.ark"] = _table("matrix", chain, bars.NORMALISED)
    replay.run_all("select_voiced", lines, expected)
    printed = dict(line.split() for line in replay.run(lengths).stdout.splitlines())
    wanted = files.load_json(golden / "voiced" / "feat_to_len.json")
    found = {key: np.array(int(value)) for key, value in printed.items()}
    replay.checks += bars.compare("select_voiced", "feat-to-len", bars.EXACT, found, _as_arrays(wanted))


def _as_arrays(values: dict[str, float]) -> files.Arrays:
    return {key: np.array(value) for key, value in values.items()}


def _formats(replay: Replay, golden: Path, lines: list[str]) -> None:
    features = files.tables("matrix")[0](str(golden / "formats" / "mfcc_f32.ark"))
    decompressed = _variants(golden / "formats" / "decompressed.npz")
    expected = {"fmt.ark": _features(features, lines[0])}
    for path in (golden / "formats").glob("*.ark"):
        expected[path.name] = Expected(files.contents, files.contents(str(path)), bars.EXACT)
    for method in range(1, 8):
        arrays = decompressed[f"method{method}"]
        expected[f"mfcc_uncompress{method}.ark"] = Expected(files.tables("matrix")[0], arrays, bars.EXACT)
    replay.run_all("formats", lines, expected)
    scp = Expected(files.contents, files.contents(str(golden / "formats" / "mfcc_f32.scp")), bars.EXACT)
    replay.check("formats", "mfcc_f32.scp", scp)


def _segments(replay: Replay, golden: Path, lines: list[str]) -> None:
    segments = files.load_json(golden / "segments" / "segments.json")
    (replay.work / "segments").write_text("".join(entry["line"] + "\n" for entry in segments.values()))
    written = {name: entry for name, entry in segments.items() if entry["written"]}
    samples = {}
    for name, entry in written.items():
        recording = files.wave(str(replay.work / "wav" / f"{entry['line'].split()[1]}.wav"))["samples"]
        samples[name] = recording[:, entry["start_sample"] : entry["start_sample"] + entry["num_samples"]]
    replay.run(lines[0])
    found = files.waves(str(replay.work / "segs.ark"))
    if list(found) != list(samples):
        raise AssertionError(f"segments: wrote {list(found)}, want {list(samples)}")
    replay.checks += bars.compare("segments", "segs.ark", bars.EXACT, found, samples)
    seconds = {name: np.float32(entry["num_samples"] / 8000) for name, entry in written.items()}
    expected = {
        "segs.dur": Expected(files.tables("float")[0], seconds, bars.Bar("7 digits", bars.SPECTRUM_8K.measure)),
        "segs_mfcc.ark": _features(_arrays(golden / "segments" / "mfcc_sre16v2.npz"), lines[2]),
    }
    replay.run_all("segments", lines[1:], expected)


def _reverb(replay: Replay, golden: Path, lines: list[str]) -> None:
    for name in ("rir.wav", "noise.wav"):
        shutil.copy(golden / "reverb" / name, replay.work)
    outputs = [line.split()[-1] for line in lines]
    expected = {name: Expected(files.wave, files.wave(str(golden / "reverb" / name)), bars.STEPS) for name in outputs}
    replay.run_all("reverb", lines, expected)


# --- back end ---------------------------------------------------------------------------------------------------------


def _backend(replay: Replay, golden: Path, lines: list[str]) -> None:
    folder, work = golden / "backend", replay.work
    lay_out_backend(folder, work)
    operations = _arrays(folder / "vector_ops.npz")

    def vectors(name: str, bar: bars.Bar) -> Expected:
        return _table("vector", dict(zip(operations[f"{name}_keys"].tolist(), operations[name], strict=True)), bar)

    names = {
        "o1.ark": "subtract_global_mean",
        "o2.ark": "subtract_given_mean",
        "o3.ark": "normalize_length",
        "o4.ark": "normalize_length_noscaleup",
        "o5.ark": "transform_vec_lda0.1",
        "o6.ark": "ivector_transform_lda0.1",
    }
    expected = {file: vectors(name, bars.MODEL) for file, name in names.items()}
    mean = {"vector": operations["global_mean"]}
    for name in ("mean.vec", "mean.bin.vec"):
        expected[name] = Expected(files.single_vector, mean, bars.MODEL)
    for name, matrix in _arrays(folder / "lda.npz").items():
        file = "lda_recipe.mat" if name.startswith("recipe") else f"lda_{name}.mat"
        expected[file] = Expected(files.single_matrix, {"matrix": matrix}, bars.ROWS, files.write_single_matrix)
    for name, arrays in _variants(folder / "plda_models.npz").items():
        expected[name] = Expected(files.plda, arrays, bars.ROWS, files.plda_write)
    text = files.plda(str(folder / "plda_text"))
    expected["plda_text"] = Expected(files.plda, text, bars.ROWS)
    for name, scores in _arrays(folder / "scores.npz").items():
        expected[f"scores_{name}"] = Expected(files.scores, {"scores": scores}, bars.SCORES)
    replay.run_all("backend", lines, expected)
    replay.check("backend", "enroll.ark", vectors("spk_mean", bars.MODEL))
    counts = Expected(files.contents, files.contents(str(folder / "num_utts.ark")), bars.EXACT)
    replay.check("backend", "num_utts.ark", counts)


def lay_out_backend(folder: Path, work: Path) -> None:
    inputs = _arrays(folder / "inputs.npz")
    for name in ("train", "adapt", "enroll_utt", "test"):
        rows = zip(inputs[f"{name}_keys"], inputs[name], strict=True)
        lines = [f"{key}  [ {' '.join(f'{value:.9g}' for value in row)} ]\n" for key, row in rows]
        (work / f"{name}.ark").write_text("".join(lines))
    for name in ("spk2utt", "spk2utt_unbalanced", "enroll_spk2utt", "trials"):
        shutil.copy(folder / name, work)
    for suffix in ("", "_unbalanced"):
        speakers = [line.split() for line in (work / f"spk2utt{suffix}").read_text().splitlines()]
        pairs = [f"{utterance} {speaker}\n" for speaker, *utterances in speakers for utterance in utterances]
        (work / f"utt2spk{suffix}").write_text("".join(pairs))
    trials = [line.split()[:2] for line in (work / "trials").read_text().splitlines()]
    (work / "trials_nolabel").write_text("".join(f"{model} {test}\n" for model, test in trials))


# --- metrics ----------------------------------------------------------------------------------------------------------


def _metrics(replay: Replay, golden: Path, lines: list[str]) -> None:
    """Reads the scores of the stage before, so they are put there from the reference."""
    work = replay.work
    if not (work / "sid").exists():
        (work / "sid").symlink_to(replay.tools)
    shutil.copy(golden / "backend" / "trials", work)
    trials = [line.split()[:2] for line in (work / "trials").read_text().splitlines()]
    for name, scores in _arrays(golden / "backend" / "scores.npz").items():
        rows = zip(trials, scores, strict=True)
        (work / f"scores_{name}").write_text("".join(f"{a} {b} {score:.7g}\n" for (a, b), score in rows))
    wanted = files.load_json(golden / "metrics" / "score_sets.json")
    edges = iter(files.load_json(golden / "metrics" / "edge_cases.json").items())
    for line in lines:
        if line == "compute-eer ev":
            name, case = next(edges)
            _edge_case(replay, name, case)
            continue
        name = next(word for word in reversed(line.replace(")", " ").split()) if word.startswith("scores_"))
        values = wanted[name.removeprefix("scores_")]
        done = replay.run(line)
        if "compute-eer" in line:
            _same(replay, name, _eer(done), [values["eer_percent"], values["eer_threshold"]])
        else:
            _same(replay, name, _cost(done), _wanted_cost(values, float(line.split("--p-target ")[1].split()[0])))


def _edge_case(replay: Replay, name: str, case: dict) -> None:
    work = replay.work
    rows = [(score, label) for label in ("target", "nontarget") for score in case[label]]
    (work / "ev").write_text("".join(f"{score:.9g} {label}\n" for score, label in rows))
    _same(replay, name, _eer(replay.run("compute-eer ev")), [case["eer_percent"], case["eer_threshold"]])
    (work / "ev_scores").write_text("".join(f"m t{i} {score:.9g}\n" for i, (score, _) in enumerate(rows)))
    (work / "ev_trials").write_text("".join(f"m t{i} {label}\n" for i, (_, label) in enumerate(rows)))
    for key in [key for key in case if key.startswith("mindcf_") and not key.endswith("stderr")]:
        target = key.removeprefix("mindcf_")
        done = replay.run(f"sid/compute_min_dcf.py --p-target {target} --c-miss 1 --c-fa 1 ev_scores ev_trials")
        _same(replay, name, _cost(done), _wanted_cost(case, float(target)))


def _eer(done: object) -> list[float]:
    log = next(line for line in done.stderr.splitlines() if "Equal error rate is" in line)
    return [float(done.stdout), float(log.rpartition(" ")[2])]


def _cost(done: object) -> list[float]:
    line = next(line for line in (done.stderr + done.stdout).splitlines() if "minDCF is" in line)
    words = line.split("minDCF is ")[1].split()
    return [float(done.stdout.split()[0]), float(words[0]), float(words[3])]


def _wanted_cost(values: dict, target: float) -> list[float]:
    words = values[f"mindcf_{target:g}_stderr"].split()
    return [values[f"mindcf_{target:g}"], float(words[2]), float(words[5])]


def _same(replay: Replay, name: str, found: list[float], wanted: list[float]) -> None:
    arrays = {"printed": np.array(found)}, {"printed": np.array(wanted)}
    replay.checks += bars.compare("metrics", name, bars.EXACT, *arrays)


# --- i-vectors --------------------------------------------------------------------------------------------------------


def _ivector(replay: Replay, golden: Path, lines: list[str]) -> None:
    """The training begins at random and has no reference here: its lines run, nothing is compared. Then the reference
    models take the place of what they made, and the last lines are compared."""
    folder, work = golden / "ivector", replay.work
    (work / "iv").mkdir()
    features = _arrays(folder / "features.npz")
    files.tables("matrix")[1](str(work / "iv" / "feats.ark"), features)
    speakers = files.load_json(folder / "speaker_utterances.json")
    (work / "iv" / "spk2utt_sel").write_text("".join(f"{key} {' '.join(utts)}\n" for key, utts in speakers.items()))
    first = next(i for i, line in enumerate(lines) if line.startswith("gmm-global-init-from-feats"))
    last = next(i for i, line in enumerate(lines) if line.startswith("cp iv/4.ubm iv/final.ubm"))
    for line in lines[first : last + 1]:
        replay.run(line)
    ubm = _arrays(folder / "full_ubm.npz")
    files.write_full(work / "iv" / "final.ubm", ubm)
    files.write_diag(work / "iv" / "final.dubm", _arrays(folder / "diag_ubm.npz"))
    diagonal = _arrays(folder / "diag_ubm_from_full.npz")
    replay.run("fgmm-global-to-gmm iv/final.ubm iv/final_from_full.dubm")
    replay.check("ivector", "iv/final_from_full.dubm", Expected(files.diag_gmm, diagonal, bars.MODEL, files.write_diag))
    stored = _variants(folder / "posteriors.npz")
    results = _arrays(folder / "ivectors.npz")
    weighted = _arrays(folder / "extractor_weights.npz")
    vectors = {
        "iv/ivec.ark": (results["keys"], results["ivectors"]),
        "iv/ivec_aw.ark": (results["keys"], results["ivectors_aw0p3_max50"]),
        "iv/ivec_spk.ark": (results["speaker_keys"], results["speaker_ivectors"]),
        "iv/ivec_w.ark": (weighted["keys"], weighted["ivectors"]),
    }
    expected = {
        name: Expected(files.tables("vector")[0], dict(zip(keys.tolist(), values, strict=True)), bars.POSTERIORS)
        for name, (keys, values) in vectors.items()
    }
    expected["iv/post.ark"] = Expected(files.posteriors(len(ubm["weights"])), stored["post"], bars.POSTERIORS)
    likelihoods = partial(files.chosen_likelihoods, diagonal, features)
    expected["iv/gsel2.ark"] = Expected(
        lambda path: likelihoods(
            {key: value for key, value in files.selections(path).items() if key in stored["gselect"]}
        ),
        likelihoods(stored["gselect"]),
        bars.POSTERIORS,
    )
    for name, key in (("iv/dl.ark", "diag_loglike"), ("iv/fl.ark", "full_loglike")):
        expected[name] = Expected(files.tables("vector")[0], stored[key], bars.POSTERIORS)
    for line in lines[last + 1 :]:
        for name, values in (("iv/final.ie", "extractor"), ("iv/w2.ie", "extractor_weights")):
            if name in line.split()[:-1]:
                files.write_extractor(work / name, _arrays(folder / f"{values}.npz"))
        wanted = [name for name in expected if line.split()[-1] == f"ark:{name}"]
        replay.run_all("ivector", [line], {name: expected.pop(name) for name in wanted})
    if expected:
        raise AssertionError(f"no line wrote {', '.join(expected)}")


_STAGES = {
    "mfcc": _mfcc,
    "fbank": _fbank,
    "vad": _vad,
    "cmvn": _cmvn,
    "deltas": _deltas,
    "select_voiced": _select_voiced,
    "formats": _formats,
    "segments": _segments,
    "reverb": _reverb,
    "backend": _backend,
    "metrics": _metrics,
    "ivector": _ivector,
}
