"""Use of a trained network on recordings: embed, verify."""

from __future__ import annotations

from vouch.cli.log import log
from vouch.cli.model_backend import BACKENDS, ModelBackend
from vouch.cli.options import ToolOptions
from vouch.cli.trained_model import RecordingModel, add_recording_options
from vouch.errors import VouchError


def embed(argv: list[str]) -> int:
    """Embeddings of recordings."""
    options = ToolOptions(
        "embed",
        "[options] --model=DIR (<recording> ... | scp:<list>)",
        "Print or write the embedding of every recording (wav, flac, NIST sphere, command), in Kaldi's form 'RECORDING "
        "[ 0.1 ... ]', or of every line 'KEY RECORDING' of a list as 'KEY [ 0.1 ... ]'. Features, voice activity "
        "decisions and normalisation are those of the recipe, by the settings in the model's folder. A recording at "
        "another sample rate is resampled, and a line says so. One that cannot be read, has several channels, is "
        "silent or too short is named, and nothing is written.",
        (1, None),
    )
    add_recording_options(options)
    options.add("out", "ark,t:-", "where to write: ark:FILE, ark,t:FILE (text), ark,scp:FILE,FILE")
    opts, names = options.parse(argv)
    embeddings = list(RecordingModel(opts).embed(_recordings(names)))
    from vouch.io.tables import TableWriter

    with TableWriter(opts.out, "vector") as writer:
        for name, embedding in embeddings:
            writer.write(name, embedding)
    log(f"{len(embeddings)} embeddings of {len(embeddings[0][1])} dims")
    return 0


def _recordings(names: list[str]) -> list[tuple[str, str]]:
    """(key, recording) of the arguments of embed. Raises VouchError on what makes no key, and on a key twice."""
    if names[0].startswith("scp:"):
        if len(names) > 1:
            raise VouchError(f"{names[0]} is a list; give nothing beside it")
        from vouch.io.audio import recordings_by_name

        listed = recordings_by_name(names[0].removeprefix("scp:"))
        if not listed:
            raise VouchError(f"{names[0]} has no recordings; want lines KEY FILE")
        return list(listed.items())
    for name in names:
        if len(name.split()) != 1:
            raise VouchError(
                f"'{name}' has a space, which no key can have; put it into a list, KEY FILE, and give scp:LIST"
            )
        if names.count(name) > 1:
            raise VouchError(f"'{name}' is given twice; name every recording once")
    return [(name, name) for name in names]


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
    backend = ModelBackend(model.folder, opts.backend, opts.domain, model.embedding_dim)
    log(f"scores by {opts.backend}, centred on {backend.mean_file}")
    if backend.calibration is None:
        log(f"no {backend.calibration_file}: a score only, no llr; vouch train-calibration makes that file")
    import numpy as np

    *enrollment, test = (embedding for _, embedding in model.embed((name, name) for name in names))
    score = backend.score(np.stack(enrollment), test)
    print(f"score {score:.7g}")
    if backend.calibration is not None:
        print(f"llr {backend.calibration.apply(score):.7g}")
    return 0
