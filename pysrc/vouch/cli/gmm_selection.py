"""Gaussian selection and the sizes of models: gmm-gselect, fgmm-gselect, gmm-global-info, fgmm-global-info."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from vouch.cli.gmm_frames import Batch, FrameReader, per_frame
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from vouch.gmm.models import DiagGmm, FullGmm

_LOG_EVERY = 10  # utterances


def gmm_gselect(argv: list[str]) -> None:
    """The n best Gaussians of every frame (Kaldi, gmm-gselect)."""
    _gselect("gmm-gselect", "a diagonal", _read_diag, argv)


def fgmm_gselect(argv: list[str]) -> None:
    """The n best Gaussians of every frame (Kaldi, fgmm-gselect)."""
    _gselect("fgmm-gselect", "a full-covariance", _read_full, argv)


def gmm_global_info(argv: list[str]) -> None:
    """The size of a diagonal GMM (Kaldi, gmm-global-info)."""
    _info("gmm-global-info", "a diagonal", _read_diag, argv)


def fgmm_global_info(argv: list[str]) -> None:
    """The size of a full-covariance GMM (Kaldi, fgmm-global-info)."""
    _info("fgmm-global-info", "a full-covariance", _read_full, argv)


def _read_diag(rxfilename: str) -> DiagGmm:
    from vouch.gmm.models import DiagGmm
    from vouch.io.gmm import read_diag_gmm

    return DiagGmm(*read_diag_gmm(rxfilename))


def _read_full(rxfilename: str) -> FullGmm:
    from vouch.gmm.models import FullGmm
    from vouch.io.gmm import read_full_gmm

    return FullGmm(*read_full_gmm(rxfilename))


def _info(tool: str, what: str, read: Callable, argv: list[str]) -> None:
    options = ToolOptions(
        tool, "[options] <model>", f"Print the number of Gaussians and of dimensions of {what} GMM.", (1, 1)
    )
    _, (model_in,) = options.parse(argv)
    means = read(model_in)[2]
    print(f"number of gaussians {means.shape[0]}\nfeature dimension {means.shape[1]}")


def _gselect(tool: str, what: str, read: Callable, argv: list[str]) -> None:
    options = ToolOptions(
        tool,
        "[options] <model-in> <feature-rspecifier> <gselect-wspecifier>",
        f"Write for every frame the n Gaussians of {what} GMM that are likeliest to have made it, best first, to save "
        "later steps the others.",
        (3, 3),
    )
    options.add("n", 50, "Gaussians to keep for each frame")
    options.add("write-likes", "", "table to write the log likelihood of each utterance to, over the kept Gaussians")
    options.add("gselect", "", "table of Gaussians to choose from, of an earlier selection; else all")
    opt, (model_in, features, gselect_out) = options.parse(argv)

    from vouch.gmm.full import FullGmm, scorer
    from vouch.gmm.selection import select
    from vouch.io.tables import TableWriter

    if opt.n < 1:
        raise VouchError(f"--n={opt.n}: want 1 Gaussian or more")
    gmm = read(model_in)
    gaussians, dims = gmm[2].shape
    if opt.n > gaussians:
        warn(
            f"You asked for {opt.n} Gaussians but GMM only has {gaussians}, returning this many. Note: this means the "
            "Gaussian selection is pointless."
        )
    reader = FrameReader(features, (gaussians, dims), opt.gselect, nonempty=True)
    model = scorer(gmm) if isinstance(gmm, FullGmm) else gmm
    done = frames = 0
    total = 0.0
    with ExitStack() as stack:
        writer = stack.enter_context(TableWriter(gselect_out, "gselect"))
        likes = stack.enter_context(TableWriter(opt.write_likes, "float")) if opt.write_likes else None
        warned = False
        for batch in reader:
            if batch.selection is not None and not warned:
                warned = _warn_small(batch.selection[0], opt.n)
            offsets, indices, values = select(model, batch.features, opt.n, batch.selection)
            for key, count, likelihood, selection in _utterances(batch, offsets, indices, values):
                writer.write(key, selection)
                if likes is not None:
                    likes.write(key, likelihood)
                if done % _LOG_EVERY == 0:
                    average = per_frame(likelihood, count)
                    log(f"For {done}'th file, average UBM likelihood over {count} frames is {average}")
                done, frames, total = done + 1, frames + count, total + likelihood
        reader.require()
    log(
        f"Done {done} files, {reader.errors} with errors, average UBM log-likelihood is {per_frame(total, frames)} "
        f"over {frames} frames."
    )


def _warn_small(offsets: np.ndarray, best: int) -> bool:
    """Warn when the selection to choose from has no more Gaussians than are wanted."""
    import numpy as np

    least = int(np.diff(offsets).min())
    if least <= best:
        warn(f"Preselect size is less or equal to than final size, doing nothing: {least} < {best} [won't warn again]")
    return least <= best


def _utterances(batch: Batch, offsets: np.ndarray, indices: np.ndarray, values: np.ndarray) -> list[tuple]:
    """(key, frames, log likelihood, selection) of each utterance of the batch."""
    from vouch.io.ragged import Selection

    result = []
    for key, start, end in zip(batch.keys, batch.starts[:-1].tolist(), batch.starts[1:].tolist(), strict=True):
        mine = offsets[start : end + 1]
        selection = Selection(mine - mine[0], indices[mine[0] : mine[-1]])
        result.append((key, end - start, float(values[start:end].sum()), selection))
    return result
