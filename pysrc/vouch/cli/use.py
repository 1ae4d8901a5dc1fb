"""Use of a trained network on recordings: embed, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.cli.trained_model import RecordingModel, add_recording_options
from vouch.errors import VouchError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

BACKENDS = ("cosine", "plda", "cosine_adapt", "plda_adapt", "plda_coral", "plda_coral_plus")


def embed(argv: list[str]) -> int:
    """Embeddings of recordings."""
    options = ToolOptions(
        "embed",
        "[options] --model=DIR <recording> ...",
        "Print or write the embedding of every recording (wav, flac, NIST sphere), in Kaldi's form 'RECORDING [ 0.1 "
        "... ]': features, voice activity decisions and normalisation by the settings in the model's folder, as in the "
        "recipe. A recording at another sample rate is resampled, and a line says so. One that cannot be read, has "
        "several channels, is silent or too short is named, and nothing is written.",
        (1, None),
    )
    add_recording_options(options)
    options.add("out", "ark,t:-", "where to write: ark:FILE, ark,t:FILE (text), ark,scp:FILE,FILE")
    opts, names = options.parse(argv)
    for name in names:
        if len(name.split()) != 1:
            raise VouchError(f"'{name}' has a space, which the key of an archive cannot have; rename it or make a link")
        if names.count(name) > 1:
            raise VouchError(f"'{name}' is given twice; name every recording once")
    embeddings = list(RecordingModel(opts).embed(names))
    from vouch.io.tables import TableWriter

    with TableWriter(opts.out, "vector") as writer:
        for name, embedding in embeddings:
            writer.write(name, embedding)
    log(f"{len(embeddings)} embeddings of {len(embeddings[0][1])} dims")
    return 0


def verify(argv: list[str]) -> int:
    """Do two recordings have the same speaker?"""
    options = ToolOptions(
        "verify",
        "[options] --model=DIR <enrollment-recording> ... <test-recording>",
        "Print the score of the last recording against the speaker of those before it, whose embeddings are averaged: "
        "a line 'score NUMBER', the higher the more the same. Where the model has a calibration of this backend "
        "(DIR/calibration/BACKEND, of train-calibration), a line 'llr NUMBER' follows, the natural logarithm of how "
        "many times likelier the recordings are if the speaker is the same. Recordings as in `vouch embed`.",
        (2, None),
    )
    add_recording_options(options)
    options.add("backend", "cosine", "how to score", choices=BACKENDS)
    options.add(
        "domain",
        "auto",
        "whose mean is subtracted (by cosine always that of source): that of the training data, or of the unlabelled "
        "data that the backend was adapted to; auto: target where there is one",
        choices=("auto", "source", "target"),
    )
    opts, names = options.parse(argv)
    model = RecordingModel(opts)
    backend = _Backend(model.folder, opts.backend, opts.domain, model.embedding_dim)
    import numpy as np

    *enrollment, test = (embedding for _, embedding in model.embed(names))
    score = backend.score(np.stack(enrollment), test)
    print(f"score {score:.7g}")
    if backend.calibration is not None:
        print(f"llr {backend.calibration.apply(score):.7g}")
    return 0


class _Backend:
    """What scores the trials: `backend` and `calibration` of a model's folder. Raises VouchError on what is missing,
    damaged, or of other dimensions.

    calibration: None where there is none of this backend.
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
        mean = adapted if domain == "target" and name != "cosine" else there / "mean.vec"
        self._mean = read_vector(_needed(mean, folder))
        if len(self._mean) != dim:
            raise VouchError(f"{mean} has {len(self._mean)} values, the embeddings of this model {dim}; train it again")
        log(f"scores by {name}, centred on {mean}")
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
        calibration = folder / "calibration" / name
        self.calibration = Calibration(*read_calibration(str(calibration))) if calibration.exists() else None
        if self.calibration is None:
            log(f"no {calibration}: a score only, no log likelihood ratio; vouch train-calibration makes it")

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
