"""The `vouch` commands: `vouch TOOL [--option=value …] ARGUMENT…`, in Kaldi's calling form.

A tool is one entry in TOOLS. Its module is imported only when the tool is called, and imports numpy or torch
only inside the function that works, so that `vouch TOOL --help` answers at once.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from contextlib import suppress

from vouch.errors import VouchError

# family -> {tool: (module in vouch.cli, function, one line)}
TOOLS: dict[str, dict[str, tuple[str, str, str]]] = {
    "features": {
        "compute-mfcc-feats": ("features", "compute_mfcc_feats", "MFCC of every utterance of a wav table"),
        "compute-fbank-feats": ("features", "compute_fbank_feats", "log mel filter banks of a wav table"),
        "compute-vad": ("features", "compute_vad", "energy voice activity decisions, a 0/1 vector an utterance"),
        "apply-cmvn-sliding": ("features", "apply_cmvn_sliding", "sliding-window cepstral mean (variance) norm"),
        "select-voiced-frames": ("features", "select_voiced_frames", "keep the frames whose VAD decision is 1"),
        "compute-vad-from-frame-likes": (
            "frame_labels",
            "compute_vad_from_frame_likes",
            "the likeliest of several classes for every frame",
        ),
        "merge-vads": ("frame_labels", "merge_vads", "one frame label from two"),
        "copy-feats": ("features", "copy_feats", "copy, convert or compress feature matrices"),
        "feat-to-len": ("features", "feat_to_len", "number of frames of every matrix, or of all"),
        "feat-to-dim": ("frames", "feat_to_dim", "number of columns of every matrix, or of the first"),
        "add-deltas": ("frames", "add_deltas", "append differences over time to features"),
        "subsample-feats": ("frames", "subsample_feats", "keep every n-th frame, or repeat frames"),
    },
    "audio": {
        "extract-segments": ("audio", "extract_segments", "cut recordings into segments"),
        "wav-to-duration": ("audio", "wav_to_duration", "duration in seconds of every recording"),
        "wav-copy": ("audio", "wav_copy", "copy recordings, or tables of them"),
        "wav-reverberate": ("audio", "wav_reverberate", "add reverberation and noises to one recording"),
    },
    "augmentation": {
        "wav-speed": ("audio", "wav_speed", "play one recording faster or slower (pitch moves with it)"),
        "make-rooms": ("audio", "make_rooms", "room impulse responses of random shoebox rooms"),
        "make-noises": ("audio", "make_noises", "folders of generated noises and music"),
        "augment-data-dir": ("audio", "augment_data_dir", "an augmented copy of a data directory (wav.scp of pipes)"),
    },
    "vectors": {
        "copy-vector": ("vectors", "copy_vector", "copy or convert vectors, or tables of them"),
        "ivector-mean": ("vectors", "ivector_mean", "mean vector of each speaker, or of all"),
        "ivector-subtract-global-mean": ("vectors", "ivector_subtract_global_mean", "subtract a mean vector"),
        "ivector-normalize-length": ("vectors", "ivector_normalize_length", "scale vectors to length sqrt(dim) or 1"),
        "transform-vec": ("vector_transforms", "transform_vec", "apply a linear or affine transform to vectors"),
        "ivector-transform": ("vector_transforms", "ivector_transform", "transform-vec, with a report of the lengths"),
    },
    "UBM": {
        "gmm-global-init-from-feats": ("gmm_init", "init_from_feats", "train a first diagonal GMM on frames in memory"),
        "gmm-global-acc-stats": ("gmm_diagonal", "acc_stats", "statistics of a table for a diagonal GMM"),
        "gmm-global-sum-accs": ("gmm_diagonal", "sum_accs", "sum such statistics"),
        "gmm-global-est": ("gmm_diagonal", "est", "estimate a diagonal GMM from statistics"),
        "gmm-global-copy": ("gmm_diagonal", "copy", "copy or convert a diagonal GMM"),
        "gmm-global-to-fgmm": ("gmm_diagonal", "to_fgmm", "turn a diagonal GMM into a full-covariance one"),
        "gmm-global-get-frame-likes": ("gmm_diagonal", "get_frame_likes", "log likelihood of every frame"),
        "gmm-global-info": (
            "gmm_selection",
            "gmm_global_info",
            "numbers of Gaussians and dimensions of a diagonal GMM",
        ),
        "gmm-gselect": ("gmm_selection", "gmm_gselect", "the n best Gaussians of every frame"),
        "fgmm-global-acc-stats": ("gmm_full", "acc_stats", "statistics of a table for a full-covariance GMM"),
        "fgmm-global-sum-accs": ("gmm_full", "sum_accs", "sum such statistics"),
        "fgmm-global-est": ("gmm_full", "est", "estimate a full-covariance GMM from statistics"),
        "fgmm-global-copy": ("gmm_full", "copy", "copy or convert a full-covariance GMM"),
        "fgmm-global-to-gmm": ("gmm_full", "to_gmm", "take the diagonal of a full-covariance GMM"),
        "fgmm-global-get-frame-likes": ("gmm_full", "get_frame_likes", "log likelihood of every frame"),
        "fgmm-global-info": ("gmm_selection", "fgmm_global_info", "the same of a full-covariance GMM"),
        "fgmm-gselect": ("gmm_selection", "fgmm_gselect", "the n best Gaussians, by a full-covariance GMM"),
        "fgmm-global-gselect-to-post": ("gmm_full", "gselect_to_post", "posteriors of the selected Gaussians"),
        "copy-gselect": ("posteriors", "copy_gselect", "copy or cut selections of Gaussians"),
        "copy-post": ("posteriors", "copy_post", "copy or convert posteriors"),
        "scale-post": ("posteriors", "scale_post", "scale posteriors"),
    },
    "i-vectors": {
        "ivector-extractor-init": ("ivector", "extractor_init", "start an i-vector extractor from a UBM"),
        "ivector-extractor-acc-stats": ("ivector", "acc_stats", "statistics of a table for an extractor"),
        "ivector-extractor-sum-accs": ("ivector", "sum_accs", "sum such statistics"),
        "ivector-extractor-est": ("ivector", "est", "estimate an extractor from statistics"),
        "ivector-extractor-copy": ("ivector", "extractor_copy", "copy or convert an extractor"),
        "ivector-extract": ("ivector", "extract", "i-vectors of utterances or speakers"),
    },
    "backend": {
        "ivector-compute-lda": ("plda", "ivector_compute_lda", "estimate an LDA transform"),
        "ivector-compute-plda": ("plda", "ivector_compute_plda", "train a PLDA model"),
        "ivector-copy-plda": ("plda", "ivector_copy_plda", "copy, convert or smooth a PLDA model"),
        "ivector-adapt-plda": ("plda", "ivector_adapt_plda", "adapt a PLDA model to unlabelled vectors"),
        "ivector-plda-scoring": ("scoring", "ivector_plda_scoring", "PLDA log likelihood ratio of each trial"),
        "ivector-compute-dot-products": ("scoring", "ivector_compute_dot_products", "dot product of each trial"),
    },
    "scores": {
        "logistic-regression-train": ("logistic", "train", "train a (mixture of) logistic regression on vectors"),
        "logistic-regression-eval": ("logistic", "evaluate", "log posteriors or scores by logistic regression"),
        "logistic-regression-copy": ("logistic", "copy", "copy a logistic regression, or scale its priors"),
        "compute-eer": ("scoring", "compute_eer", "equal error rate of a list of scores with labels"),
        "compute-min-dcf": ("detection_cost", "compute_min_dcf", "minimum detection cost of a score file"),
    },
    "fusion": {
        "paste-vectors": ("vectors", "paste_vectors", "join the vectors of several tables"),
        "fuse-scores": ("fusion", "fuse_scores", "the mean of several systems' normalised scores"),
    },
    "calibration": {
        "normalise-scores": ("score_norm", "normalise_scores", "adaptive s-norm of scores by a cohort"),
        "measure-quality": ("quality", "measure_quality", "duration, magnitude and cohort scores, for calibration"),
        "train-calibration": ("calibration", "train_calibration", "learn to turn scores into log likelihood ratios"),
        "calibrate-scores": ("calibration", "calibrate_scores", "turn scores into log likelihood ratios"),
    },
    "domains": {
        "adapt-plda-coral": ("plda", "adapt_plda_coral", "adapt a PLDA model by CORAL or CORAL+"),
        "plot-embeddings": ("domains", "plot_embeddings", "a map of source and target embeddings"),
        "probe-domain": ("domains", "probe_domain", "how well a linear classifier tells the domain of embeddings"),
    },
    "embeddings": {
        "probe": ("probe", "probe", "what linear classifiers find in embeddings: speaker, gender, length, domain ..."),
        "map-embeddings": (
            "embedding_sets",
            "map_embeddings",
            "several embeddings of the same utterances as maps",
        ),
    },
    "results": {
        "check-trials": ("results", "check_trials", "list every trial key that has no embedding"),
        "evaluate": ("results", "evaluate", "EER with its interval, minimum costs and DET points of a score file"),
        "evaluate-sre16": ("sre16", "evaluate_sre16", "SRE16's equalised costs and EER, pooled and by language"),
        "make-results": ("results", "make_results", "results.tsv, the EER table and DET plots of all evaluations"),
    },
    "training": {
        "train": ("training", "train", "train a system from its YAML and a training data directory"),
        "train-ivector-system": (
            "ivector_system",
            "train_ivector_system",
            "train UBM and extractor of an i-vector system",
        ),
        "extract-embeddings": ("embeddings", "extract_embeddings", "embeddings of every utterance of a feature table"),
        "show-config": ("training", "show_config", "check a system's YAML and print it resolved"),
    },
    "use of a model": {
        "embed": ("use", "embed", "embeddings of recordings"),
        "verify": ("use", "verify", "the score of two recordings: is it the same speaker?"),
        "export-model": ("model_export", "export_model", "a folder of all that the use of a trained network needs"),
        "export-onnx": ("model_export", "export_onnx", "a trained network as an ONNX file"),
        "plot-reconstruction": (
            "reconstruction",
            "plot_reconstruction",
            "what a decoder makes of disentangled embeddings",
        ),
    },
    "data directories": {
        "validate-data-dir": ("datadir", "validate", "check a Kaldi data directory"),
        "fix-data-dir": ("datadir", "fix", "sort a data directory, keep what all its files share"),
        "combine-data": ("datadir", "combine", "merge data directories"),
        "copy-data-dir": ("datadir", "copy", "copy a data directory, with prefixes or suffixes"),
        "subset-data-dir": ("datadir", "subset", "keep a part of a data directory"),
        "split-data": ("datadir", "split", "split a data directory into N parts"),
        "filter-scp": ("datadir", "filter_scp", "keep the lines whose field is in a list"),
        "utt2spk-to-spk2utt": ("datadir", "utt2spk_to_spk2utt", "turn utt2spk into spk2utt"),
        "spk2utt-to-utt2spk": ("datadir", "spk2utt_to_utt2spk", "turn spk2utt into utt2spk"),
        "get-utt2dur": ("datadir", "get_utt2dur", "duration in seconds of every utterance"),
    },
    "Kaldi": {
        "kaldi-path": ("kaldi_path", "kaldi_path", "print a folder of executables named like Kaldi's tools"),
    },
    "corpora": {
        "wav-cut": ("audio", "wav_cut", "take a channel and a stretch of one recording, and resample it"),
        "make-mini-corpus": ("corpora", "make_mini_corpus", "synthesise the embedded two-domain corpus"),
        "make-trials": ("corpora", "make_trials", "enrollment and test directories and trials by the 1/3 protocol"),
        "sample-trials": ("sample_trials", "sample_trials", "random trials of known speakers, for a calibration"),
    },
}


def _overview() -> str:
    lines = ["usage: vouch TOOL [--option=value ...] ARGUMENT...", "       vouch TOOL --help", ""]
    for family, tools in TOOLS.items():
        lines.append(f"{family}:")
        lines += [f"  {name:30s} {summary}" for name, (_, _, summary) in tools.items()]
    return "\n".join(lines)


def _buffer_stdout() -> None:
    """With PYTHONUNBUFFERED standard output is a raw stream, whose write() may take a part only after a signal (a
    job that is suspended and continued): archives in pipes would lose bytes."""
    if sys.stdout is sys.__stdout__ and isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.buffer), encoding=sys.stdout.encoding)


def main(argv: list[str] | None = None) -> int:
    """Run `vouch TOOL …`; returns the exit code: 0, or 1 after one `vouch TOOL: error: …` line on stderr."""
    argv = sys.argv[1:] if argv is None else argv
    _buffer_stdout()
    if not argv or argv[0] in ("-h", "--help", "help"):
        with suppress(BrokenPipeError):
            print(_overview(), flush=True)
        return 0 if argv else 1
    if argv[0] == "--version":
        from vouch import __version__

        print(f"vouch {__version__}")
        return 0
    name = argv[0]
    known = {tool: entry for tools in TOOLS.values() for tool, entry in tools.items()}
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`vouch --help` lists the tools"
        print(f"vouch: error: there is no tool '{name}'; {hint}", file=sys.stderr)
        return 1
    module, function, _ = known[name]
    try:
        code = getattr(importlib.import_module(f"vouch.cli.{module}"), function)(argv[1:])
        if sys.stdout is not None:  # None: it was closed by who started us
            sys.stdout.flush()
        return int(code or 0)
    except VouchError as error:
        print(f"vouch {name}: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our stdout went away, as in `vouch copy-feats … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # full disk, permission, missing file that no reader named better
        where = f" ({error.filename})" if error.filename else ""
        print(f"vouch {name}: error: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"vouch {name}: interrupted", file=sys.stderr)
        return 130
