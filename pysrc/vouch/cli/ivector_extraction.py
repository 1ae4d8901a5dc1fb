"""The work of ivector-extract: i-vectors of utterances, in batches, and of speakers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vouch.cli.ivector_inputs import Utterance, Utterances, check_lengths, naming
from vouch.cli.log import log, warn
from vouch.errors import VouchError
from vouch.gmm.extractor import Derived, IvectorExtractor, auxf_changes, infer
from vouch.gmm.extractor_statistics import Collector
from vouch.io.tables import RandomAccessTable, TableWriter, open_table, read_table

_BATCH = 100  # utterances, or speakers' utterances, whose statistics are held at once


class Extraction(NamedTuple):
    """A model, and how to use it; the options are those of ivector-extract."""

    extractor: IvectorExtractor
    derived: Derived
    acoustic_weight: float
    max_count: float
    compute_objf_change: bool
    inputs: str  # the names of the tables and the model, for messages

    def collector(self) -> Collector:
        return Collector(self.extractor.num_gauss, self.extractor.dim)

    def ivectors(self, zeroth: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(i-vectors `(B, R)` without the prior's offset, gain in the auxiliary function of each or zeros `(B,)`)."""
        with naming(self.inputs):
            found = infer(self.extractor, self.derived, zeroth, first, with_covars=False)
            gains = auxf_changes(self.extractor, zeroth, found) if self.compute_objf_change else np.zeros(len(zeroth))
            found.means[:, 0] -= self.extractor.prior_offset
            return found.means, gains

    def collect(self, collector: Collector, utterance: Utterance, scale: float) -> None:
        """Add an utterance, its posteriors times a scale of single precision."""
        key, features, posterior = utterance
        with naming(self.inputs):
            collector.add(key, features, *posterior._replace(weights=posterior.weights * np.float32(scale)))


def per_utterance(extraction: Extraction, feats: str, posteriors: str, ivectors_out: str, verbose: bool) -> None:
    """One i-vector for each utterance."""
    utterances, collector = Utterances(feats, posteriors), extraction.collector()
    total_gain = total = 0.0
    done = 0
    with TableWriter(ivectors_out, "vector") as writer:

        def flush() -> None:
            nonlocal total_gain, done
            keys, zeroth, first = collector.take()
            if not keys:
                return
            ivectors, gains = extraction.ivectors(zeroth, first)
            for key, ivector, gain, count in zip(keys, ivectors, gains, zeroth.sum(axis=1), strict=True):
                if verbose:
                    _say_more(key, ivector, gain if extraction.compute_objf_change else None, count)
                writer.write(key, ivector.astype(np.float32))
            total_gain += float(gains.sum())
            done += len(keys)

        for utterance in utterances:
            scale, count = _utterance_scale(extraction, utterance)
            total += count
            extraction.collect(collector, utterance, scale)
            if len(collector) == _BATCH:
                flush()
        flush()
        utterances.require(done)
    log(f"Done {done} files, {utterances.errors} with errors.  Total (weighted) frames {total:.6g}")
    if extraction.compute_objf_change:
        log(
            f"Overall average objective-function change from estimating ivector was {_over(total_gain, total):.6g} per"
            f" frame  over {total:.6g} (weighted) frames."
        )


def _utterance_scale(extraction: Extraction, utterance: Utterance) -> tuple[float, float]:
    """(scale of the posteriors, their sum after it), by --acoustic-weight and --max-count."""
    weights = utterance.posterior.weights
    count = extraction.acoustic_weight * float(np.float32(weights.sum(dtype=np.float64)))
    if not 0 < extraction.max_count < count:
        return extraction.acoustic_weight, count
    scale = extraction.max_count / count
    log(
        f"Scaling stats for utterance {utterance.key} by scale {scale:.6g} due to"
        f" --max-count={extraction.max_count:.6g}"
    )
    return extraction.acoustic_weight * scale, extraction.max_count


def _say_more(key: str, ivector: np.ndarray, gain: float | None, count: float) -> None:
    if gain is not None:
        log(
            f"Auxf change for utterance {key} was {_over(gain, count):.6g} per frame over {count:.6g} frames (weighted)"
        )
    log(f"Ivector norm for utterance {key} was {np.linalg.norm(ivector):.6g}")


def per_speaker(extraction: Extraction, spk2utt: str, feats: str, posteriors: str, ivectors_out: str) -> None:
    """One i-vector for each speaker, from the statistics of all utterances."""
    speakers = _Speakers(extraction)
    total_gain = total = total_norm = 0.0
    done = errors = 0
    with (
        open_table(feats, "matrix") as features,
        open_table(posteriors, "posterior") as posterior_table,
        TableWriter(ivectors_out, "vector") as writer,
    ):
        for speaker, utterances in read_table(spk2utt, "tokens"):
            zeroth, first = speakers.statistics(utterances, features, posterior_table)
            count = float(zeroth.sum())
            if count == 0.0:
                warn(f"No stats accumulated for speaker {speaker}")
                errors += 1
                continue
            if 0 < extraction.max_count < count:
                scale = extraction.max_count / count
                zeroth, first = zeroth * scale, first * scale
                count = float(zeroth.sum())
                log(
                    f"Scaling stats for speaker {speaker} by scale {scale:.6g} due to"
                    f" --max-count={extraction.max_count:.6g}"
                )
            ivectors, gains = extraction.ivectors(zeroth[None], first[None])
            if extraction.compute_objf_change:
                log(
                    f"Auxf change for speaker {speaker} was {gains[0] / count:.6g} per frame, over {count:.6g} frames"
                    " (weighted)."
                )
            norm = float(np.linalg.norm(ivectors[0]))
            log(f"Ivector norm for speaker {speaker} was {norm:.6g}")
            total_gain += float(gains[0])
            total_norm += norm * count
            total += count
            done += 1
            writer.write(speaker, ivectors[0].astype(np.float32))
        if not done:
            raise VouchError(
                f"no speaker of {spk2utt} has utterances with features in {feats} and posteriors in {posteriors}; see"
                " the warnings above"
            )
    log(
        f"Done {done} speakers; {errors} with errors.  {speakers.done} utterances were processed, "
        f"{speakers.errors} with errors."
    )
    if extraction.compute_objf_change:
        log(
            f"Overall weighted-average objective function improvement was {total_gain / total:.6g} over {total:.6g}"
            " frames (weighted)"
        )
    log(f"Average iVector norm (weighted by frames) was {total_norm / total:.6g} over {total:.6g} frames (weighted)")


class _Speakers:
    """Sums the statistics of speakers' utterances, and counts the utterances."""

    def __init__(self, extraction: Extraction) -> None:
        self._extraction, self._collector = extraction, extraction.collector()
        self.done = self.errors = 0

    def statistics(
        self, utterances: list[str], features: RandomAccessTable, posteriors: RandomAccessTable
    ) -> tuple[np.ndarray, np.ndarray]:
        """Zeroth `(G,)` and first-order `(G, D)` statistics of these utterances together."""
        extractor, collector = self._extraction.extractor, self._collector
        zeroth, first = np.zeros(extractor.num_gauss), np.zeros((extractor.num_gauss, extractor.dim))
        for place, key in enumerate(utterances, 1):
            if self._add(key, features, posteriors):
                self.done += 1
            else:
                self.errors += 1
            if len(collector) == _BATCH or place == len(utterances):
                batch = collector.take()
                zeroth += batch.zeroth.sum(axis=0)
                first += batch.first.sum(axis=0)
        return zeroth, first

    def _add(self, key: str, features: RandomAccessTable, posteriors: RandomAccessTable) -> bool:
        for table, what in ((features, "features"), (posteriors, "posteriors")):
            if key not in table:
                warn(f"No {what} present for utterance {key}")
                return False
        utterance = Utterance(key, features[key], posteriors[key])
        if not check_lengths(utterance):
            return False
        self._extraction.collect(self._collector, utterance, self._extraction.acoustic_weight)
        return True


def _over(gain: float, count: float) -> float:
    """Gain per frame; not a number where no frame has a posterior, as Kaldi prints it."""
    return gain / count if count else float("nan")
