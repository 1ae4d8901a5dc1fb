"""Tools on feature tables: extraction, VAD, sliding CMVN, selection, copying, lengths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vouch.cli.extraction import checked_device, extract, feature_options, shared_options, side_writer
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.threads import default_to_one_thread
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np


def compute_mfcc_feats(argv: list[str]) -> None:
    """MFCC of every utterance (Kaldi, compute-mfcc-feats)."""
    parser = feature_options("compute-mfcc-feats", "MFCC", use_energy=True)
    parser.add("num-ceps", 13, "number of cepstra, C0 included")
    parser.add("cepstral-lifter", 22.0, "scaling of the cepstra; 0 for none", single=True)
    options, (wav_rspecifier, feats_wspecifier) = parser.parse(argv)
    default_to_one_thread()
    from vouch.signal.features import Mfcc, MfccOptions

    mfcc = MfccOptions(**shared_options(options), num_ceps=options.num_ceps, cepstral_lifter=options.cepstral_lifter)
    extract(Mfcc(mfcc, checked_device(options.device), options.seed), options, wav_rspecifier, feats_wspecifier)


def compute_fbank_feats(argv: list[str]) -> None:
    """Log mel filter banks of every utterance (Kaldi, compute-fbank-feats)."""
    parser = feature_options("compute-fbank-feats", "mel filter-bank", use_energy=False)
    parser.add("use-log-fbank", True, "write the logarithm of the mel energies")
    parser.add("use-power", True, "filter the power spectrum, else the magnitude")
    options, (wav_rspecifier, feats_wspecifier) = parser.parse(argv)
    default_to_one_thread()
    from vouch.signal.features import Fbank, FbankOptions

    fbank = FbankOptions(**shared_options(options), use_log_fbank=options.use_log_fbank, use_power=options.use_power)
    extract(Fbank(fbank, checked_device(options.device), options.seed), options, wav_rspecifier, feats_wspecifier)


def compute_vad(argv: list[str]) -> None:
    """Energy VAD (Kaldi, compute-vad)."""
    parser = ToolOptions(
        "compute-vad",
        "[options] FEATS_RSPECIFIER VAD_WSPECIFIER",
        "Decides for each frame whether it is voiced (1) or not (0), from the log energy in column 0 of MFCCs.",
        (2, 2),
    )
    parser.add("vad-energy-threshold", 5.0, "constant part of the threshold", single=True)
    parser.add("vad-energy-mean-scale", 0.5, "part of the threshold that is this times the mean energy", single=True)
    parser.add("vad-frames-context", 0, "frames on each side that vote")
    parser.add("vad-proportion-threshold", 0.6, "part of the votes that makes a frame voiced", single=True)
    parser.add("omit-unvoiced-utts", False, "leave out utterances without a voiced frame")
    options, (feats_rspecifier, vad_wspecifier) = parser.parse(argv)
    from vouch.io.tables import TableWriter
    from vouch.signal import vad

    done = unvoiced = empty = frames = voiced_frames = 0
    with TableWriter(vad_wspecifier, "vector") as writer:
        for utterance, features in _nonempty(feats_rspecifier):
            if features is None:
                empty += 1
                continue
            voiced = vad.compute_vad(
                features[:, 0],
                options.vad_energy_threshold,
                options.vad_energy_mean_scale,
                options.vad_frames_context,
                options.vad_proportion_threshold,
            )
            count = int(voiced.sum())
            frames, voiced_frames = frames + len(voiced), voiced_frames + count
            if count:
                done += 1
            else:
                warn(f"no frame of {utterance} was judged voiced")
                unvoiced += 1
            if count or not options.omit_unvoiced_utts:
                writer.write(utterance, voiced)
        _require(done, f"no utterance of {feats_rspecifier} has a voiced frame; look at --vad-energy-threshold")
    log(
        f"Applied energy based voice activity detection; processed {done} utterances successfully; {empty} had empty "
        f"features, and {unvoiced} were completely unvoiced."
    )
    log(f"Proportion of voiced frames was {voiced_frames / frames:.6g} over {frames} frames.")


def apply_cmvn_sliding(argv: list[str]) -> None:
    """Sliding-window cepstral normalisation (Kaldi, apply-cmvn-sliding)."""
    parser = ToolOptions(
        "apply-cmvn-sliding",
        "[options] FEATS_RSPECIFIER FEATS_WSPECIFIER",
        "Subtracts from each frame the mean of a window around or before it, and may divide by its deviation.",
        (2, 2),
    )
    parser.add("cmn-window", 600, "frames in the window")
    parser.add("min-cmn-window", 100, "frames in the window at the start; only without --center")
    parser.add("max-warnings", 5, "warnings of floored variances for an utterance; 0 for none, -1 for all")
    parser.add("norm-vars", False, "divide by the standard deviation too")
    parser.add("center", False, "a window around the frame, else before it")
    options, (feats_rspecifier, feats_wspecifier) = parser.parse(argv)
    from vouch.io.tables import TableWriter
    from vouch.signal.cmvn import sliding_cmvn

    done = empty = 0
    with TableWriter(feats_wspecifier) as writer:
        for utterance, features in _nonempty(feats_rspecifier):
            if features is None:
                empty += 1
                continue
            result = sliding_cmvn(
                features, options.cmn_window, options.min_cmn_window, options.norm_vars, options.center
            )
            _warn_floored(utterance, result.floored, options.max_warnings)
            writer.write(utterance, result.features)
            done += 1
        _require(done, f"no utterance of {feats_rspecifier} has features")
    what = "mean and variance" if options.norm_vars else "mean"
    log(f"Applied sliding-window cepstral {what} normalization to {done} utterances, {empty} had errors.")


def _warn_floored(utterance: str, floored: np.ndarray, most: int) -> None:
    frames = floored.nonzero()[0]
    for frame in frames if most < 0 else frames[:most]:
        warn(f"{utterance}: floored {floored[frame]} variances at frame {frame}")
    if 0 < most < len(frames):
        warn(f"{utterance}: floored variances at {len(frames) - most} more frames (--max-warnings=-1 shows all)")


def select_voiced_frames(argv: list[str]) -> None:
    """The frames whose VAD decision is 1 (Kaldi, select-voiced-frames)."""
    parser = ToolOptions(
        "select-voiced-frames",
        "[options] FEATS_RSPECIFIER VAD_RSPECIFIER FEATS_WSPECIFIER",
        "Keeps the frames whose VAD decision is 1. Utterances without VAD, with another number of frames, or without "
        "a voiced frame are reported and left out.",
        (3, 3),
    )
    _, (feats_rspecifier, vad_rspecifier, feats_wspecifier) = parser.parse(argv)
    from vouch.io.tables import TableWriter, open_table
    from vouch.signal.vad import select_voiced

    done = failed = 0
    with open_table(vad_rspecifier, "vector") as vad, TableWriter(feats_wspecifier) as writer:
        for utterance, features in _nonempty(feats_rspecifier):
            if features is None:
                failed += 1
                continue
            try:
                selected = select_voiced(features, vad[utterance])
            except VouchError as error:
                warn(f"{utterance}: {error}")
                failed += 1
                continue
            if not len(selected):
                warn(f"no frame of {utterance} is voiced")
                failed += 1
                continue
            writer.write(utterance, selected)
            done += 1
        _require(done, f"no utterance of {feats_rspecifier} has voiced frames in {vad_rspecifier}")
    log(f"Done selecting voiced frames; processed {done} utterances, {failed} had errors.")


def copy_feats(argv: list[str]) -> None:
    """Copy features (Kaldi, copy-feats)."""
    parser = ToolOptions(
        "copy-feats",
        "[options] FEATS_RSPECIFIER FEATS_WSPECIFIER\n   or: vouch copy-feats [options] RXFILENAME WXFILENAME",
        "Copies feature matrices, and converts or compresses them on the way.",
        (2, 2),
    )
    parser.add("binary", True, "write a single matrix in binary; for tables say ark or ark,t")
    parser.add("compress", False, "compress the matrices of a table")
    parser.add("compression-method", 1, "1 to 7, Kaldi's; 3 is two bytes a value, row by row")
    parser.add("write-num-frames", "", "wspecifier for numbers of frames, e.g. ark,t:utt2num_frames")
    options, (source, target) = parser.parse(argv)
    import numpy as np

    from vouch.io.specifiers import is_table
    from vouch.io.tables import TableWriter, read_matrix, read_table, write_matrix

    if not is_table(source):
        if options.compress or options.write_num_frames:
            raise VouchError(f"--compress and --write-num-frames want tables; write ark:{source} or scp:{source}")
        write_matrix(target, read_matrix(source).astype(np.float32), options.binary)
        log(f"Copied features from {source} to {target}")
        return
    done = 0
    with ExitStack() as stack:
        method = options.compression_method if options.compress else 0
        writer = stack.enter_context(TableWriter(target, compression_method=method))
        lengths = side_writer(stack, options.write_num_frames, "int32")
        for key, features in read_table(source):
            writer.write(key, features.astype(np.float32, copy=False))
            if lengths:
                lengths.write(key, len(features))
            done += 1
        _require(done, f"{source} has no matrices")
    log(f"Copied {done} feature matrices.")


def feat_to_len(argv: list[str]) -> None:
    """Lengths of features in frames (Kaldi, feat-to-len)."""
    parser = ToolOptions(
        "feat-to-len",
        "[options] FEATS_RSPECIFIER [LENGTHS_WSPECIFIER]",
        "Writes the number of frames of each utterance, or without a wspecifier prints their sum.",
        (1, 2),
    )
    _, args = parser.parse(argv)
    from vouch.io.tables import TableWriter, read_table

    lengths = ((key, len(features)) for key, features in read_table(args[0]))
    if len(args) == 1:
        print(sum(length for _, length in lengths))
        return
    with TableWriter(args[1], "int32") as writer:
        for key, length in lengths:
            writer.write(key, length)


def _nonempty(rspecifier: str) -> Iterator[tuple[str, np.ndarray | None]]:
    """(utterance, features) of a table; features are None, after a warning, where there is no frame."""
    from vouch.io.tables import read_table

    for utterance, features in read_table(rspecifier):
        if not len(features):
            warn(f"the features of {utterance} are empty")
        yield utterance, features if len(features) else None


def _require(done: int, otherwise: str) -> None:
    if not done:
        raise VouchError(otherwise)
