"""What the tools of Gaussian mixtures share: utterances with their selections and weights, several at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from vouch.cli.log import warn
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.io.tables import RandomAccessTable

_BATCH = 1 << 15  # frames in a batch; a longer utterance is a batch of its own


class Batch(NamedTuple):
    """Some utterances, their frames one after the other."""

    keys: list[str]
    starts: np.ndarray  # (utterances + 1,): the first frame of each, and the end
    features: np.ndarray  # (T, D)
    selection: tuple[np.ndarray, np.ndarray] | None  # offsets (T + 1,), indices (N,)
    weights: np.ndarray | None  # (T,)


class _Utterance(NamedTuple):
    key: str
    features: np.ndarray
    selection: tuple[np.ndarray, np.ndarray] | None
    weights: np.ndarray | None


class FrameReader:
    """The batches of a table of features, with a selection and weights where such tables are given.

    An utterance without an entry in those tables, or with one of another length, is warned of, counted in `errors` and
    passed over. `done` is the number of utterances given. finite=True: NaN, infinity or a number whose square single
    precision cannot hold is an error, in a frame whose weight is not 0. nonempty=True: an utterance without frames is
    passed over too. one=True: one utterance a batch. Iterating raises VouchError on features or selections that do not
    fit a model of `shape` (Gaussians, dims).
    """

    def __init__(
        self,
        features: str,
        shape: tuple[int, int],
        gselect: str = "",
        weights: str = "",
        *,
        finite: bool = True,
        nonempty: bool = False,
        one: bool = False,
    ) -> None:
        self._features, self._gselect, self._weights = features, gselect, weights
        self._shape, self._finite, self._nonempty, self._one = shape, finite, nonempty, one
        self.done = self.errors = 0

    def __iter__(self) -> Iterator[Batch]:
        waiting: list[_Utterance] = []
        frames = 0
        for utterance in self._utterances():
            if waiting and frames + len(utterance.features) > _BATCH:
                yield _join(waiting)
                waiting, frames = [], 0
            waiting.append(utterance)
            frames += len(utterance.features)
            self.done += 1
            if self._one or frames >= _BATCH:
                yield _join(waiting)
                waiting, frames = [], 0
        if waiting:
            yield _join(waiting)

    def require(self) -> None:
        """Raises VouchError when no utterance was used."""
        if not self.done:
            tables = " with ".join(name for name in (self._features, self._gselect, self._weights) if name)
            raise VouchError(
                f"no utterance of {tables} could be used, {self.errors} had errors; the warnings say why, or the table "
                "is empty"
            )

    def _utterances(self) -> Iterator[_Utterance]:
        from vouch.io.tables import open_table, read_table

        with ExitStack() as stack:
            gselect = stack.enter_context(open_table(self._gselect, "gselect")) if self._gselect else None
            weights = stack.enter_context(open_table(self._weights, "vector")) if self._weights else None
            for key, features in read_table(self._features):
                if len(features) and features.shape[1] != self._shape[1]:
                    raise VouchError(
                        f"{self._features}: {key} has {features.shape[1]} dims, the model {self._shape[1]}; give the "
                        "features that the model was trained on"
                    )
                utterance = self._complete(key, features, gselect, weights)
                if utterance is None:
                    self.errors += 1
                else:
                    yield utterance

    def _complete(
        self, key: str, features: np.ndarray, gselect: RandomAccessTable | None, weights: RandomAccessTable | None
    ) -> _Utterance | None:
        """The utterance with its weights and its selection; None, after a warning, when they are not there."""
        frames = len(features)
        if self._nonempty and not frames:
            warn(f"Utterance {key} has no frames")
            return None
        frame_weights = selection = None
        if weights is not None:
            if key not in weights:
                warn(f"No per-frame weights available for utterance {key}")
                return None
            frame_weights = weights[key]
            if len(frame_weights) != frames:
                warn(f"Weights for utterance {key} have wrong dim {len(frame_weights)} vs. {frames}")
                return None
        if gselect is not None:
            if key not in gselect:
                warn(f"No gselect information for utterance {key}")
                return None
            selection = gselect[key]
            if len(selection.offsets) != frames + 1:
                warn(
                    f"gselect information for utterance {key} has wrong size {len(selection.offsets) - 1} vs. {frames}"
                )
                return None
            self._check_selection(key, selection, frames)
        if self._finite:
            self._check_numbers(key, features, frame_weights)
        return _Utterance(key, features, selection, frame_weights)

    def _check_selection(self, key: str, selection: tuple[np.ndarray, np.ndarray], frames: int) -> None:
        from vouch.gmm.ragged import check_selection

        try:
            check_selection(selection, frames, self._shape[0])
        except VouchError as error:
            raise VouchError(f"{self._gselect}: {key}: {error}") from None

    def _check_numbers(self, key: str, features: np.ndarray, weights: np.ndarray | None) -> None:
        """Raises VouchError on a weight that is no number, or a frame with such a number whose weight is not 0."""
        import numpy as np

        from vouch.gmm.models import LARGEST

        if weights is not None and not np.isfinite(weights).all():
            raise VouchError(
                f"{self._weights}: {key} has NaN or infinity for frame {np.isfinite(weights).argmin()}; make these "
                "weights again, or leave the utterance out"
            )
        if not features.size or -LARGEST <= features.min() <= features.max() <= LARGEST:  # False with NaN
            return
        bad = ~(np.abs(features) <= LARGEST).all(axis=1)
        if weights is not None:
            bad &= weights != 0
        if bad.any():
            raise VouchError(
                f"{self._features}: {key} has NaN, infinity or a number beyond {LARGEST:g} in frame {bad.argmax()}; "
                "make these features again, or leave the utterance out"
            )


def _join(utterances: list[_Utterance]) -> Batch:
    import numpy as np

    first = utterances[0]
    starts = np.concatenate([[0], np.cumsum([len(utterance.features) for utterance in utterances])])
    keys = [utterance.key for utterance in utterances]
    if len(utterances) == 1:
        return Batch(keys, starts, first.features, first.selection, first.weights)
    filled = [utterance for utterance in utterances if len(utterance.features)] or utterances[:1]
    features = np.concatenate([utterance.features for utterance in filled])
    weights = None if first.weights is None else np.concatenate([utterance.weights for utterance in filled])
    selection = None
    if first.selection is not None:
        counts = np.concatenate([np.diff(utterance.selection[0]) for utterance in filled])
        indices = np.concatenate([utterance.selection[1] for utterance in filled])
        selection = np.concatenate([[0], np.cumsum(counts)]), indices
    return Batch(keys, starts, features, selection, weights)


def per_frame(total: float, frames: float) -> str:
    """`total / frames` in six digits; "nan" when there are no frames."""
    return f"{total / frames:.6g}" if frames else "nan"
