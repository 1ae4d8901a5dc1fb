"""The steps that the tools of diagonal and of full-covariance mixtures have in common; only the model differs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from vouch.cli.gmm_frames import FrameReader, per_frame
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

_GSELECT = "table of the Gaussians to look at on each frame (gmm-gselect); else all are"


def add_binary(options: ToolOptions) -> None:
    options.add("binary", True, "write the binary form, else text")


def add_update_flags(options: ToolOptions) -> None:
    options.add("update-flags", "mvw", "what is updated: a subset of m (means), v (variances), w (weights)")


def parse_accumulate(tool: str, what: str, argv: list[str]) -> tuple[SimpleNamespace, list[str]]:
    """Options of gmm-global-acc-stats and fgmm-global-acc-stats."""
    options = ToolOptions(
        tool,
        "[options] <model-in> <feature-rspecifier> <stats-out>",
        f"Write the statistics of all frames that {what} GMM is estimated from. Utterances without an entry in the "
        "tables of --gselect or --weights are warned of, counted and left out.",
        (3, 3),
    )
    add_binary(options)
    add_update_flags(options)
    options.add("gselect", "", _GSELECT)
    options.add("weights", "", "table of vectors: the weight of each frame")
    return options.parse(argv)


def accumulate_table(
    opt: SimpleNamespace, features: str, shape: tuple[int, int], accumulate: Callable[..., Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The sums over a table of what `accumulate(features, selection, weights)` gives: counts, first, second order."""
    reader = FrameReader(features, shape, opt.gselect, opt.weights, one=opt.verbose >= 2)
    sums: list[np.ndarray] = []
    likelihood = frames = 0.0
    for batch in reader:
        *arrays, batch_likelihood, batch_frames = accumulate(batch.features, batch.selection, batch.weights)
        likelihood, frames = likelihood + batch_likelihood, frames + batch_frames
        if opt.verbose >= 2:
            average = per_frame(batch_likelihood, batch_frames)
            log(f"File '{batch.keys[0]}': Average likelihood = {average} over {batch_frames:.6g} frames.")
        if sums:
            for total, array in zip(sums, arrays, strict=True):
                if array is not None:
                    total += array
        else:
            sums = arrays
    log(f"Done {reader.done} files; {reader.errors} with errors.")
    reader.require()
    log(f"Overall likelihood per frame = {per_frame(likelihood, frames)} over {frames:.6g} (weighted) frames.")
    return tuple(sums)


def sum_statistics(
    tool: str,
    argv: list[str],
    read: Callable[[str], tuple],
    write: Callable[..., None],
) -> None:
    """gmm-global-sum-accs and fgmm-global-sum-accs: one file in memory beside the sum."""
    options = ToolOptions(
        tool, "[options] <stats-out> <stats-in1> <stats-in2> ...", "Write the sum of statistics.", (2, None)
    )
    add_binary(options)
    opt, (stats_out, *inputs) = options.parse(argv)

    flags, *sums, dims = read(inputs[0])
    form = f"{len(sums[0])} Gaussians, {dims} dims, for '{flags}'"
    for name in inputs[1:]:
        its_flags, *arrays, its_dims = read(name)
        its_form = f"{len(arrays[0])} Gaussians, {its_dims} dims, for '{its_flags}'"
        if its_form != form:
            raise VouchError(
                f"{name} has statistics of {its_form}, {inputs[0]} of {form}: sum only statistics of one model and the "
                "same --update-flags"
            )
        for total, array in zip(sums, arrays, strict=True):
            if total is not None:
                total += array
    write(stats_out, flags, *sums, binary=opt.binary, dims=dims)
    log(f"Written stats to {stats_out}")


def parse_estimate(
    tool: str, what: str, argv: list[str], add: Callable[[ToolOptions], None], occupancy: float
) -> tuple[SimpleNamespace, list[str]]:
    """Options of gmm-global-est and fgmm-global-est; `add` registers those that only one has."""
    options = ToolOptions(
        tool,
        "[options] <model-in> <stats-in> <model-out>",
        f"Estimate {what} GMM from the statistics that were accumulated with the model, and optionally split "
        "Gaussians to have more of them.",
        (3, 3),
    )
    add_binary(options)
    add_update_flags(options)
    options.add("mix-up", 0, "split Gaussians until there are so many; 0 for none")
    options.add("perturb-factor", 0.01, "standard deviations that the means move by on a split", single=True)
    add_low_counts(options, occupancy)
    add(options)
    return options.parse(argv)


def add_low_counts(options: ToolOptions, occupancy: float) -> None:
    options.add("min-gaussian-weight", 1e-5, "weight under which a Gaussian is not updated, or removed", single=True)
    options.add("min-gaussian-occupancy", occupancy, "count under which a Gaussian is not updated", single=True)
    options.add("remove-low-count-gaussians", True, "remove the Gaussians under these limits")


def report_estimate(estimate: Any) -> None:
    for note in estimate.notes:
        warn(note)
    improvement = per_frame(estimate.objective_change, estimate.count)
    log(f"Overall objective function improvement is {improvement} per frame over {estimate.count:.6g} frames.")


def parse_copy(tool: str, about: str, argv: list[str]) -> tuple[bool, str, str]:
    """(binary, input, output) of a tool that reads one model and writes one."""
    options = ToolOptions(tool, "[options] <model-in> <model-out>", about, (2, 2))
    add_binary(options)
    opt, (model_in, model_out) = options.parse(argv)
    return opt.binary, model_in, model_out


def parse_frame_likelihoods(tool: str, argv: list[str]) -> tuple[SimpleNamespace, list[str]]:
    """Options of gmm-global-get-frame-likes and fgmm-global-get-frame-likes."""
    options = ToolOptions(
        tool,
        "[options] <model-in> <feature-rspecifier> <likes-out-wspecifier>",
        "Write the log likelihood of every frame, a vector an utterance, or with --average its mean, a number an "
        "utterance. Utterances without an entry in the table of --gselect are warned of, counted and left out.",
        (3, 3),
    )
    options.add("gselect", "", _GSELECT)
    options.add("average", False, "write the average over the frames of each utterance")
    return options.parse(argv)


def write_frame_likelihoods(
    opt: SimpleNamespace,
    features: str,
    likes_out: str,
    shape: tuple[int, int],
    likelihoods: Callable[[np.ndarray, tuple | None], np.ndarray],
) -> None:
    """The likelihoods of a table; `likelihoods(features, selection)` gives those of its frames `(T,)`."""
    import numpy as np

    from vouch.io.tables import TableWriter

    reader = FrameReader(features, shape, opt.gselect, nonempty=opt.average)
    total = frames = 0.0
    with ExitStack() as stack:
        writer = stack.enter_context(TableWriter(likes_out, "float" if opt.average else "vector"))
        for batch in reader:
            values = likelihoods(batch.features, batch.selection)
            for key, start, end in zip(batch.keys, batch.starts[:-1], batch.starts[1:], strict=True):
                mine = values[start:end]
                bad = ~(np.abs(mine) <= np.finfo(np.float32).max)
                if bad.any():
                    raise VouchError(
                        f"{features}: the likelihood of frame {bad.argmax()} of {key} is {mine[bad][0]:g}, not a "
                        "finite number of single precision; make these features again, or leave the utterance out"
                    )
                writer.write(key, float(mine.mean()) if opt.average else mine.astype(np.float32))
            total, frames = total + float(values.sum()), frames + len(values)
        log(f"Done {reader.done} files; {reader.errors} with errors.")
        reader.require()
    log(f"Overall likelihood per frame = {per_frame(total, frames)} over {frames:.6g} frames.")
