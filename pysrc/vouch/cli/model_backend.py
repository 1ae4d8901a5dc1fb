"""The backend of a model's folder, which scores trials one by one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

BACKENDS = ("cosine", "plda", "cosine_adapt", "plda_adapt", "plda_coral", "plda_coral_plus")  # of steps/score.sh


class ModelBackend:
    """What scores the trials: `backend` and `calibration` of a model's folder. Raises VouchError on what is missing,
    damaged, or of other dimensions.

    mean_file: what embeddings are centred on; calibration_file, and calibration: what it has, None where there is none.

    Arguments: folder of the model, name of the backend, domain (source, target, or auto: target where the folder has
    its mean; cosine is always centred on the source), dim of the embeddings.
    """

    def __init__(self, folder: Path, name: str, domain: str, dim: int) -> None:
        from vouch.backend.calibration import Calibration
        from vouch.cli.plda import read_model
        from vouch.io.calibration import read_calibration
        from vouch.io.tables import read_matrix, read_vector

        there, self._name = folder / "backend", name
        adapted = there / "mean_adapt.vec"
        if domain == "auto":
            domain = "target" if adapted.exists() or name == "cosine_adapt" else "source"
        self.mean_file = adapted if domain == "target" and name != "cosine" else there / "mean.vec"
        self._mean = read_vector(_needed(self.mean_file, folder))
        if len(self._mean) != dim:
            raise VouchError(
                f"{self.mean_file} has {len(self._mean)} values, the embeddings of this model {dim}; train it again"
            )
        if not name.startswith("cosine"):
            self._lda, self._plda = (
                read_matrix(_needed(there / "lda.mat", folder)),
                read_model(_needed(there / name, folder)),
            )
            rows, columns = self._lda.shape
            if columns not in (dim, dim + 1) or rows != self._plda.dim:
                raise VouchError(
                    f"{there}: lda.mat is {rows} x {columns}, {name} has {self._plda.dim} dims, the embeddings {dim}: "
                    f"they do not belong together; run.sh --stage 7 makes them"
                )
        self.calibration_file = folder / "calibration" / name
        self.calibration = None
        if self.calibration_file.exists():
            *numbers, weights = read_calibration(str(self.calibration_file))
            if weights:
                raise VouchError(
                    f"{self.calibration_file} wants the quality of recordings by a cohort, which a folder has not; "
                    f"learn one on scores alone (vouch train-calibration), or remove it"
                )
            self.calibration = Calibration(*numbers)

    def score(self, enrollment: np.ndarray, test: np.ndarray) -> float:
        """enrollment `(recordings, dims)`, test `(dims,)`."""
        from vouch.backend.verification import cosine_score, plda_score

        if self._name.startswith("cosine"):
            return cosine_score(enrollment, test, self._mean)
        return plda_score(enrollment, test, self._mean, self._lda, self._plda)


def _needed(path: Path, folder: Path) -> str:
    if not path.exists():
        raise VouchError(f"there is no {path}: the backend is made by run.sh --stage 7 --systems {folder.name}")
    return str(path)
