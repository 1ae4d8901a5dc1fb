"""Training of an i-vector system, pass by pass: diagonal UBM, full-covariance UBM, posteriors, extractor.

Every pass is statistics of all utterances and one estimate from them; the statistics may be made by several jobs, each
of its share of the utterances. The folder's files say which passes are over. Source: Kaldi's sid/train_diag_ubm.sh,
train_full_ubm.sh and train_ivector_extractor.sh; the model files are Kaldi's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from vouch.errors import VouchError
from vouch.gmm import batched, batched_ivector, diagonal_update, full_update
from vouch.gmm.diagonal import to_full
from vouch.gmm.extractor import ExtractorStats, IvectorExtractor, Note
from vouch.gmm.extractor import init as init_extractor
from vouch.gmm.extractor_estimation import estimate as estimate_extractor
from vouch.gmm.full import to_diag
from vouch.gmm.initialise import FRAMES_PER_GAUSSIAN, grow, random_start
from vouch.gmm.models import DiagGmm, DiagStats, FullGmm, FullStats
from vouch.io.arrays import read_arrays, read_records, write_arrays, write_records
from vouch.io.checkpoints import TrainingLog
from vouch.io.gmm import read_diag_gmm, read_full_gmm, write_diag_gmm, write_full_gmm
from vouch.io.ivector_extractor import read_ivector_extractor, write_ivector_extractor
from vouch.training.ivector_options import ExtractorOptions, UbmOptions

_BATCH_FRAMES = {"cpu": 1 << 14, "cuda": 1 << 18}  # read and computed at a time
_AGAIN = "train again with --force=true"


class Pass(NamedTuple):
    """One pass over the data: its name, its kind, the number of the iteration (from 1)."""

    name: str
    kind: str
    iteration: int


class Source(Protocol):
    """Utterances to read frames from: io.feature_archive.FeatureArchive."""

    def __len__(self) -> int: ...
    def read(self, index: int, start: int = 0, frames: int | None = None) -> np.ndarray: ...


class Speech(NamedTuple):
    """Utterances to train on: where their frames are read, and how many each has `(utterances,)`."""

    source: Source
    num_frames: np.ndarray


class IvectorTraining:
    """Trains in a folder: start.dubm, N.dubm, N.ubm, N.ie, then final.dubm, final.ubm, final.ie and train.jsonl.

    Arguments: speech (of the extractor); ubm_speech (of the UBM); ubm, extractor (options); folder; device;
    num_threads; report (takes a kind, "log" or "warn", and a line).
    """

    def __init__(
        self,
        speech: Speech,
        ubm_speech: Speech,
        ubm: UbmOptions,
        extractor: ExtractorOptions,
        folder: Path,
        device: torch.device,
        num_threads: int,
        report: Callable[[str, str], None],
    ) -> None:
        self.speech, self.ubm_speech, self.folder = speech, ubm_speech, folder
        self.ubm, self.extractor, self.device, self.report = ubm, extractor, device, report
        self.num_threads = num_threads
        kinds = ("start", 1), ("diagonal", ubm.diagonal_iterations), ("full", ubm.full_iterations)
        kinds += ("posteriors", 1), ("extractor", extractor.iterations)
        self.passes = [Pass(f"{kind}-{i}", kind, i) for kind, count in kinds for i in range(1, count + 1)]

    # --- which passes there are ---------------------------------------------------------------------------------------

    def remaining(self) -> list[Pass]:
        """The passes whose outcome is not there yet."""
        done = [i for i, one in enumerate(self.passes) if self._outcome(one).exists()]
        return self.passes[max(done, default=-1) + 1 :]

    def find(self, name: str) -> Pass:
        """The pass of this name."""
        for one in self.passes:
            if one.name == name:
                return one
        raise VouchError(f"--pass={name}: there is none; there are {', '.join(one.name for one in self.passes)}")

    def _outcome(self, one: Pass) -> Path:
        """The file that a pass writes last."""
        last = one == self.passes[-1]
        names = {
            "start": "start.dubm",
            "diagonal": f"{one.iteration}.dubm",
            "full": f"{one.iteration}.ubm",
            "posteriors": "second_order.npz",
            "extractor": "final.ie" if last else f"{one.iteration}.ie",
        }
        return self.folder / names[one.kind]

    # --- statistics ---------------------------------------------------------------------------------------------------

    def accumulate(self, one: Pass, job: int = 1, num_jobs: int = 1) -> dict[str, np.ndarray]:
        """The statistics of a pass, of one job's share of the utterances (job counts from 1)."""
        speech = self.speech if one.kind in ("posteriors", "extractor") else self.ubm_speech
        bounds = np.linspace(0, len(speech.source), num_jobs + 1).astype(int)
        share = range(bounds[job - 1], bounds[job])
        if one.kind == "start":
            return {}
        if one.kind == "posteriors":
            return self._accumulate_posteriors(share, job)
        if one.kind == "extractor":
            return self._accumulate_extractor(one, share, job)
        if one.kind == "diagonal":
            step: Any = batched.DiagonalEStep(self._diagonal_before(one), self.device)
        else:
            full = self._full_before(one)
            step = batched.FullEStep(full, to_diag(full), self.ubm.selected, self.device)
        features = (features for features, _ in self._batches(speech, share, self.ubm.subsample))
        total = self._sum(step.of, features)
        return {name: np.asarray(value) for name, value in total._asdict().items()}

    def _sum(self, e_step: Callable[[np.ndarray], Any], batches: Iterable[np.ndarray]) -> Any:
        """The sum of the statistics of all batches, always in their order."""
        total: list[Any] = []
        for part in self._map(e_step, batches):
            if not total:
                kind, total = type(part), list(part)
                continue
            for i, value in enumerate(part):
                total[i] += value
        return kind(*total)

    def _map(self, function: Callable[[Any], Any], batches: Iterable[Any]) -> Iterator[Any]:
        """function of every batch in order, computed by num_threads threads of one processor core each: the many
        small products of an E-step gain more from it than from products that several cores share."""
        waiting: deque[Future] = deque()
        threads = self.num_threads if self.device.type == "cpu" else 1
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for batch in batches:
                waiting.append(pool.submit(function, batch))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _accumulate_posteriors(self, share: range, job: int) -> dict[str, np.ndarray]:
        ubm = self._final_ubm()
        model = batched.Posteriors(ubm, to_diag(ubm), self.ubm.selected, self.ubm.minimum_posterior, self.device)
        num_gauss, dim = ubm.means_invcovars.shape
        scatter = np.zeros((num_gauss, dim, dim))
        total = np.zeros(3)

        def records() -> Iterator[tuple[np.ndarray, ...]]:
            def statistics(batch: tuple[np.ndarray, np.ndarray]) -> tuple:
                features, found = batch[0], model.of(batch[0])
                return features, found, batched_ivector.second_order(features, found, num_gauss, self.device)

            for features, found, products in self._map(statistics, self._batches(self.speech, share)):
                scatter[:] += products
                total[:] += found.log_likelihood, len(features), len(found.indices)
                yield found.counts, found.indices, found.weights

        write_records(self._posteriors(job), records())
        return {"scatter": scatter, "log_likelihood": total[0], "frames": total[1], "entries": total[2]}

    def _accumulate_extractor(self, one: Pass, share: range, job: int) -> dict[str, np.ndarray]:
        model = self._extractor_before(one)
        step = batched_ivector.ExtractorEStep(model, self.device)
        most = batched_ivector.batch_utterances(model.projections.shape, self.device)
        batches = self._batches(self.speech, share)
        records = read_records(self._posteriors(job), 3, _AGAIN)
        parts = (
            part
            for (features, lengths), record in zip(batches, records, strict=True)
            for part in batched_ivector.utterance_batches(
                features, lengths, batched.FramePosteriors(*record, 0.0), most
            )
        )

        def expect(part: tuple) -> batched_ivector.Expectation:
            return step.expect(*batched_ivector.utterance_statistics(*part, model.num_gauss, self.device))

        for found in self._map(expect, parts):
            step.add(found)
        stats = step.stats()
        return {name: np.asarray(value) for name, value in zip(_EXTRACTOR_NAMES, stats, strict=True)}

    def _batches(self, speech: Speech, share: range, every: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(frames of some utterances one after the other, their numbers of frames): every n-th frame."""
        waiting: list[np.ndarray] = []
        frames, reported = 0, time.monotonic()
        for index in share:
            waiting.append(speech.source.read(index)[::every])
            frames += len(waiting[-1])
            if frames >= _BATCH_FRAMES[self.device.type] or index == share[-1]:
                yield np.concatenate(waiting), np.array([len(part) for part in waiting])
                waiting, frames = [], 0
                if time.monotonic() - reported > 15:
                    reported = time.monotonic()
                    self.report("log", f"utterance {index - share[0] + 1} of {len(share)}")

    # --- estimates ----------------------------------------------------------------------------------------------------

    def estimate(self, one: Pass, parts: list[dict[str, np.ndarray]]) -> None:
        """Write the outcome of a pass from the statistics of all jobs."""
        stats = {name: sum(part[name] for part in parts) for name in parts[0]} if parts else {}
        getattr(self, f"_estimate_{one.kind}")(one, stats)
        if one == self.passes[-1]:
            self.clean()

    def _estimate_start(self, one: Pass, _: dict) -> None:
        options, rng = self.ubm, np.random.default_rng([self.ubm.seed, 1])
        frames = self._random_frames(rng)
        if len(frames) < FRAMES_PER_GAUSSIAN * options.gaussians:
            raise VouchError(
                f"ubm.gaussians {options.gaussians} are too many for {len(frames)} frames, want "
                f"{FRAMES_PER_GAUSSIAN} for each: write fewer, train on more data, or raise ubm.start_frames"
            )
        last = {}

        def e_step(gmm: DiagGmm) -> DiagStats:
            size = _BATCH_FRAMES[self.device.type]
            parts = (frames[at : at + size] for at in range(0, len(frames), size))
            stats = self._sum(batched.DiagonalEStep(gmm, self.device).of, parts)
            last["log_likelihood"] = stats.log_likelihood / stats.frames
            return stats

        start = random_start(frames, options.start_gaussians, rng)
        numbers = options.gaussians, options.start_iterations
        gmm = grow(start, e_step, *numbers, self._diagonal_options(False), rng, self._say, self._warn)
        self._log(one, {**last, "frames": len(frames)})
        write_diag_gmm(str(self._outcome(one)), *gmm)

    def _estimate_diagonal(self, one: Pass, stats: dict) -> None:
        stats = _scalars(DiagStats, stats)
        last = one.iteration == self.ubm.diagonal_iterations
        made = diagonal_update.estimate(self._diagonal_before(one), stats, self._diagonal_options(last))
        self._log(one, self._tell(stats, made))
        write_diag_gmm(str(self._outcome(one)), *made.gmm)

    def _estimate_full(self, one: Pass, stats: dict) -> None:
        stats = _scalars(FullStats, stats)
        options = full_update.EstimateOptions(
            min_gaussian_weight=self.ubm.minimum_weight, remove_low_count_gaussians=False
        )
        made = full_update.estimate(self._full_before(one), stats, options)
        if one.iteration == self.ubm.full_iterations:
            write_full_gmm(str(self.folder / "final.ubm"), *made.gmm)
            write_diag_gmm(str(self.folder / "final.dubm"), *to_diag(made.gmm))
            self._write_first_extractor()
        self._log(one, self._tell(stats, made))
        write_full_gmm(str(self._outcome(one)), *made.gmm)

    def _write_first_extractor(self) -> None:
        ubm, rng = self._final_ubm(), np.random.default_rng([self.extractor.seed, 2])
        arrays = ubm.weights, ubm.means_invcovars, ubm.inv_covars
        write_ivector_extractor(str(self.folder / "0.ie"), init_extractor(*arrays, self.extractor.dim, False, rng))

    def _estimate_posteriors(self, one: Pass, stats: dict) -> None:
        frames = float(stats["frames"])
        figures = {"log_likelihood": float(stats["log_likelihood"]) / frames, "frames": frames}
        figures["entries"] = float(stats["entries"]) / frames
        self._say(
            f"Overall loglike per frame is {figures['log_likelihood']:.6g} with {figures['entries']:.6g} entries per "
            f"frame,  over {frames:.6g} frames"
        )
        self._log(one, figures)
        write_arrays(self._outcome(one), {"scatter": stats["scatter"]})

    def _estimate_extractor(self, one: Pass, stats: dict) -> None:
        before = self._extractor_before(one)
        scatter = read_arrays(self.folder / "second_order.npz", _AGAIN)["scatter"]
        whole = ExtractorStats(**{n: float(v) if v.ndim == 0 else v for n, v in stats.items()})
        whole = batched_ivector.with_second_order(before, whole, scatter)
        made = estimate_extractor(before, whole)
        for note in made.notes:
            self._note(note)
        frames = float(whole.occupancy.sum())
        self._log(one, {"auxf": whole.auxf / frames, "improvement": made.improvement, "frames": frames})
        write_ivector_extractor(str(self._outcome(one)), made.extractor)

    # --- files --------------------------------------------------------------------------------------------------------

    def _diagonal_before(self, one: Pass) -> DiagGmm:
        name = f"{one.iteration - 1}.dubm" if one.iteration > 1 else "start.dubm"
        return DiagGmm(*read_diag_gmm(str(self.folder / name)))

    def _full_before(self, one: Pass) -> FullGmm:
        if one.iteration > 1:
            return FullGmm(*read_full_gmm(str(self.folder / f"{one.iteration - 1}.ubm")))
        last = self.ubm.diagonal_iterations
        name = f"{last}.dubm" if last else "start.dubm"
        return to_full(DiagGmm(*read_diag_gmm(str(self.folder / name))))

    def _final_ubm(self) -> FullGmm:
        return FullGmm(*read_full_gmm(str(self.folder / "final.ubm")))

    def _extractor_before(self, one: Pass) -> IvectorExtractor:
        return IvectorExtractor(*read_ivector_extractor(str(self.folder / f"{one.iteration - 1}.ie")))

    def _posteriors(self, job: int) -> Path:
        return self.folder / f"posteriors.{job}"

    def clean(self) -> None:
        """Remove what only the training needed."""
        for pattern in ("posteriors.*", "second_order.npz", "start.dubm", "[0-9]*.dubm", "[0-9]*.ubm", "[0-9]*.ie"):
            for path in self.folder.glob(pattern):
                path.unlink()

    def _random_frames(self, rng: np.random.Generator) -> np.ndarray:
        """start_frames of all frames, in their order; all where there are fewer."""
        source, num_frames = self.ubm_speech
        ends = np.cumsum(num_frames)
        wanted = min(self.ubm.start_frames, int(ends[-1]))
        chosen = np.sort(rng.choice(int(ends[-1]), wanted, replace=False))
        owner = np.searchsorted(ends, chosen, side="right")
        first = np.searchsorted(owner, np.arange(len(ends) + 1))
        starts = ends - num_frames
        parts = [
            source.read(int(i))[chosen[first[i] : first[i + 1]] - starts[i]] for i in np.flatnonzero(np.diff(first))
        ]
        return np.concatenate(parts)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _diagonal_options(self, remove: bool) -> diagonal_update.EstimateOptions:
        return diagonal_update.EstimateOptions(
            min_gaussian_weight=self.ubm.minimum_weight, remove_low_count_gaussians=remove
        )

    def _tell(self, stats: DiagStats | FullStats, made: Any) -> dict[str, float]:
        per_frame = stats.log_likelihood / stats.frames
        for note in made.notes:
            self._warn(note)
        change = made.objective_change / made.count
        self._say(f"Overall likelihood per frame = {per_frame:.6g} over {stats.frames:.6g} (weighted) frames.")
        self._say(f"Overall objective function improvement is {change:.6g} per frame over {made.count:.6g} frames.")
        return {"log_likelihood": per_frame, "improvement": change, "frames": stats.frames}

    def _log(self, one: Pass, figures: dict[str, float]) -> None:
        step = self.passes.index(one) + 1
        log = TrainingLog(self.folder / "train.jsonl", step - 1)
        log.write({"step": step, "pass": one.name, **figures})
        log.close()

    def _note(self, note: Note) -> None:
        if note.kind != "detail" and not note.text.startswith("For Gaussian index"):  # the sum of them comes after
            self.report(note.kind, note.text)

    def _say(self, line: str) -> None:
        self.report("log", line)

    def _warn(self, line: str) -> None:
        self.report("warn", line)


_EXTRACTOR_NAMES = tuple(field.name for field in fields(ExtractorStats))


def _scalars(kind: type, stats: dict[str, np.ndarray]) -> Any:
    return kind(**{name: float(value) if np.ndim(value) == 0 else value for name, value in stats.items()})
