"""`vouch train-ivector-system`, and the embeddings of an i-vector system (`vouch extract-embeddings`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from vouch.cli.log import log, warn
from vouch.cli.model_dir import check_configuration, find_device
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch

    from vouch.io.feature_archive import FeatureArchive
    from vouch.training.ivector import IvectorTraining, Speech

_FINAL = ("final.dubm", "final.ubm", "final.ie")
_BATCH_FRAMES = 1 << 16


def train_ivector_system(argv: list[str]) -> int:
    """Train the UBM and the extractor of an i-vector system."""
    options = ToolOptions(
        "train-ivector-system",
        "[options] <system.yaml> <train-data-dir> <model-dir>",
        "Train an i-vector system on a data directory with feats.scp (of steps/prepare_feats_for_training.sh) and "
        "utt2num_frames. Writes config.yaml, train.jsonl, final.dubm, final.ubm and final.ie (Kaldi's files) into the "
        "model directory. Called again, it continues after the last finished pass. In this process by default; or pass "
        "by pass with the statistics made by several jobs, as steps/train_ivector.sh does: --do=begin prints what "
        "remains, --do=accumulate --pass=P --job=J --num-jobs=N makes the statistics of a share of the utterances, "
        "--do=estimate --pass=P --num-jobs=N sums them and writes the model.",
        (3, 3),
    )
    options.add("do", "all", "what to do", choices=("all", "begin", "accumulate", "estimate"))
    options.add("pass", "", "the pass to work on")
    options.add("job", 1, "number of this job, from 1")
    options.add("num-jobs", 1, "number of jobs that the utterances are shared by")
    options.add("device", "auto", "where to compute; auto takes a GPU if there is one", choices=("auto", "cpu", "cuda"))
    options.add("num-threads", 2, "threads of the computation on the CPU")
    options.add("ubm-data", "", "data directory that the UBM is trained on; empty: that of the extractor")
    options.add("force", False, "train again from the start, whatever is there")
    opts, (config_path, data, model) = options.parse(argv)
    if not 1 <= opts.job <= opts.num_jobs:
        raise VouchError(f"--job={opts.job} of --num-jobs={opts.num_jobs}: want 1 to {opts.num_jobs}")
    if opts.num_threads < 1:
        raise VouchError(f"--num-threads={opts.num_threads}: want 1 or more")
    # The E-steps share out batches among threads, the M-steps are many small products: NumPy's own threads only wait
    # for each other.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    import torch

    from vouch.io.checkpoints import one_at_a_time
    from vouch.io.config import read_config
    from vouch.system import resolve

    config = resolve(read_config(config_path), config_path)
    if config["kind"] != "ivector":
        raise VouchError(f"{config_path} is no i-vector system (kind: ivector); train it with vouch train")
    torch.set_num_threads(1)
    folder = Path(model)
    training = _training(config, data, opts.ubm_data or data, folder, find_device(opts.device), opts.num_threads)
    if opts.do in ("accumulate", "estimate"):
        return _one_pass(training, opts, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder / ".lock", lambda: warn(f"another process is training in {folder}; waiting for it")):
        _begin(training, config, opts, folder, data)
        remaining = training.remaining()
        if opts.do == "begin":
            sys.stdout.write("".join(f"{one.name}\n" for one in remaining))
            return 0
        for one in remaining:
            log(f"pass {one.name}")
            training.estimate(one, [training.accumulate(one)])
        log(f"wrote {folder}/final.ubm and final.ie" if remaining else f"{folder}/final.ie is there already")
    return 0


def _training(
    config: dict, data: str, ubm_data: str, folder: Path, device: torch.device, num_threads: int
) -> IvectorTraining:
    from vouch.system import ivector_options
    from vouch.training.ivector import IvectorTraining

    speech = _speech(config, data)
    ubm_speech = speech if ubm_data == data else _speech(config, ubm_data)
    options, report = ivector_options(config), {"log": log, "warn": warn}
    return IvectorTraining(
        speech, ubm_speech, *options, folder, device, num_threads, lambda kind, line: report[kind](line)
    )


def _speech(config: dict, data: str) -> Speech:
    from vouch.cli.training_data import frame_counts
    from vouch.io.feature_archive import FeatureArchive
    from vouch.training.ivector import Speech

    archive = FeatureArchive(Path(data) / "feats.scp")
    _check_dim(config, archive)
    return Speech(archive, frame_counts(Path(data) / "utt2num_frames", archive))


def _check_dim(config: dict, archive: FeatureArchive) -> None:
    front = config["frontend"]
    dim, wanted = archive.shape(0)[1], front["num_ceps"] * (front["delta_order"] + 1)
    if front["num_ceps"] and dim != wanted:
        raise VouchError(
            f"{archive.path} has {dim} dims a frame, the configuration's frontend makes {wanted}; make them "
            f"with steps/prepare_feats_for_training.sh --num-ceps {front['num_ceps']} "
            f"--delta-order {front['delta_order']}"
        )


def _begin(training: IvectorTraining, config: dict, opts: SimpleNamespace, folder: Path, data: str) -> None:
    """Make the folder ready, or check that it was begun with the same configuration and features."""
    from vouch.io.config import write_config
    from vouch.io.streams import open_output

    if opts.force:
        training.clean()
        for old in (*_FINAL, "config.yaml", "features.sha256", "train.jsonl"):
            (folder / old).unlink(missing_ok=True)
    check_configuration(folder, config)
    kinds = {id(speech): speech for speech in (training.speech, training.ubm_speech)}.values()
    features = " ".join(speech.source.fingerprint(speech.num_frames) for speech in kinds)
    note = folder / "features.sha256"
    if note.exists() and note.read_text().strip() != features:
        raise VouchError(
            f"{folder} was begun on other features than {data} has now; --force=true trains again "
            f"(run.sh --force true, from its stage on), or choose another model directory"
        )
    if not training.remaining():
        training.clean()  # where it was killed before it could
        return
    with open_output(str(note)) as file:
        file.write(f"{features}\n".encode())
    write_config(folder / "config.yaml", config)
    ubm, extractor, speech = config["ubm"], config["extractor"], training.speech
    if len(kinds) > 1:
        log(f"the UBM is trained on {len(training.ubm_speech.source)} utterances of {opts.ubm_data}")
    log(
        f"{len(speech.source)} utterances, {speech.num_frames.sum()} frames of {speech.source.shape(0)[1]} dims; "
        f"{ubm['gaussians']} Gaussians, i-vectors of {extractor['dim']} dims; on {training.device.type}"
    )


def _one_pass(training: IvectorTraining, opts: SimpleNamespace, folder: Path) -> int:
    from vouch.io.arrays import read_arrays, write_arrays

    one = training.find(getattr(opts, "pass"))
    names = [folder / f"{one.name}.{job}.npz" for job in range(1, opts.num_jobs + 1)]
    if opts.do == "accumulate":
        write_arrays(names[opts.job - 1], training.accumulate(one, opts.job, opts.num_jobs))
        return 0
    parts = [read_arrays(name, "run its job again (--do=accumulate)") for name in names] if one.kind != "start" else []
    training.estimate(one, parts)
    for name in names:
        name.unlink(missing_ok=True)
    return 0


def extract_ivectors(opts: SimpleNamespace, model: Path, rspecifier: str, wspecifier: str) -> int:
    """The i-vectors of a feature table, the prior's offset taken off, as Kaldi's ivector-extract gives them."""
    import numpy as np
    import torch

    from vouch.gmm import batched, batched_ivector
    from vouch.gmm.extractor import IvectorExtractor
    from vouch.gmm.full import to_diag
    from vouch.gmm.models import FullGmm
    from vouch.io.config import read_config
    from vouch.io.gmm import read_full_gmm
    from vouch.io.ivector_extractor import read_ivector_extractor
    from vouch.io.tables import TableWriter

    torch.set_num_threads(1)  # a job is a process: their number is the user's --nj
    ubm_options = read_config(model / "config.yaml")["ubm"]
    ubm = FullGmm(*read_full_gmm(str(model / "final.ubm")))
    extractor = IvectorExtractor(*read_ivector_extractor(str(model / "final.ie")))
    if ubm.means_invcovars.shape != extractor.projections.shape[:2]:
        raise VouchError(
            f"{model}: final.ubm has {'{} Gaussians of {} dims'.format(*ubm.means_invcovars.shape)}, final.ie "
            f"{'{} of {}'.format(*extractor.projections.shape[:2])}; they are of two trainings: train again"
        )
    device = find_device(opts.device)
    posteriors = batched.Posteriors(
        ubm, to_diag(ubm), ubm_options["selected"], ubm_options["minimum_posterior"], device
    )
    inference = batched_ivector.IvectorPosterior(extractor, device)
    most = batched_ivector.batch_utterances(extractor.projections.shape, device)
    done = 0
    with TableWriter(wspecifier, "vector") as writer:
        for keys, features, lengths in _batches(rspecifier, opts.min_frames or 25, extractor.dim, model):
            found = posteriors.of(features)
            means = [
                inference.means(*batched_ivector.utterance_statistics(*part, extractor.num_gauss, device)).cpu().numpy()
                for part in batched_ivector.utterance_batches(features, lengths, found, most)
            ]
            vectors = np.concatenate(means)
            vectors[:, 0] -= extractor.prior_offset
            for key, vector in zip(keys, vectors.astype(np.float32), strict=True):
                writer.write(key, vector)
            done += len(keys)
    log(f"wrote {done} i-vectors of {extractor.ivector_dim} dims")
    return 0 if done else 1


def _batches(
    rspecifier: str, min_frames: int, dim: int, model: Path
) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
    """(utterances, their frames one after the other, numbers of frames) of a table, those that are long enough."""
    import numpy as np

    from vouch.io.tables import read_table

    keys: list[str] = []
    parts: list[np.ndarray] = []
    frames = 0

    def batch() -> tuple[list[str], np.ndarray, np.ndarray]:
        return list(keys), np.concatenate(parts), np.array([len(part) for part in parts])

    for utterance, features in read_table(rspecifier, "matrix"):
        if len(features) < min_frames:
            warn(f"{utterance} has {len(features)} frames, fewer than --min-frames={min_frames}: left out")
            continue
        if features.shape[1] != dim:
            raise VouchError(
                f"{utterance} has {features.shape[1]} dims a frame, {model}/final.ie was trained on {dim}; give "
                f"features made with the configuration of the training"
            )
        if not np.isfinite(features).all():
            raise VouchError(f"{utterance} has features that are not numbers; make them again")
        keys.append(utterance)
        parts.append(features)
        frames += len(features)
        if frames >= _BATCH_FRAMES:
            yield batch()
            keys, parts, frames = [], [], 0
    if keys:
        yield batch()
