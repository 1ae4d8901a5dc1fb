"""What the i-vector tools read: an extractor, and the features and posteriors of utterances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from vouch.cli.log import warn
from vouch.errors import VouchError
from vouch.gmm.extractor import Derived, IvectorExtractor, derive
from vouch.io.ivector_extractor import read_ivector_extractor
from vouch.io.ragged import Posterior
from vouch.io.tables import open_table, read_table


class Utterance(NamedTuple):
    """Features `(frames, dims)` of an utterance and the posteriors of each frame."""

    key: str
    features: np.ndarray
    posterior: Posterior

    def key_and_arrays(self) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What `vouch.gmm.extractor_statistics` takes."""
        return self.key, self.features, *self.posterior


class Utterances:
    """The utterances of a feature table that have fitting posteriors; warns of the others and counts them."""

    def __init__(self, feats: str, posteriors: str) -> None:
        self._feats, self._posteriors = feats, posteriors
        self.errors = 0

    def __iter__(self) -> Iterator[Utterance]:
        with open_table(self._posteriors, "posterior") as table:
            for key, features in read_table(self._feats, "matrix"):
                if key not in table:
                    warn(f"No posteriors for utterance {key}")
                    self.errors += 1
                    continue
                utterance = Utterance(key, features, table[key])
                if check_lengths(utterance):
                    yield utterance
                else:
                    self.errors += 1

    def require(self, done: int) -> None:
        """Raises VouchError where nothing was done."""
        if not done:
            raise VouchError(
                f"no utterance of {self._feats} has fitting posteriors in {self._posteriors}; make these from the same"
                " features, see the warnings above"
            )


def check_lengths(utterance: Utterance) -> bool:
    """Has this utterance frames, and each of them posteriors? Warns where not."""
    key, features, posterior = utterance
    frames = len(posterior.offsets) - 1
    if frames != len(features):
        warn(f"Size mismatch between posterior {frames} and features {len(features)} for utterance {key}")
    elif not frames:
        warn(f"No frames in utterance {key}")
    return 0 < frames == len(features)


def load_extractor(model_in: str) -> tuple[IvectorExtractor, Derived]:
    """The extractor in a file, with its derived values."""
    extractor = IvectorExtractor(*read_ivector_extractor(model_in))
    with naming(model_in):
        return extractor, derive(extractor)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the names of files in front of an error of arrays; numbers too large to compute with are such an error."""
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what comes of them is looked for
            yield
    except VouchError as error:
        raise VouchError(f"{name}: {error}") from None
    except np.linalg.LinAlgError as error:
        raise VouchError(
            f"{name}: cannot compute with these numbers ({error}); one of the files is damaged or does not belong to "
            "the other: make them again"
        ) from None
