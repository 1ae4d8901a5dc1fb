"""Tools of full-covariance Gaussian mixtures: fgmm-global-acc-stats, -sum-accs, -est, -copy, -to-gmm, -get-frame-likes
and -gselect-to-post."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vouch.cli.gmm_common import (
    accumulate_table,
    parse_accumulate,
    parse_copy,
    parse_estimate,
    parse_frame_likelihoods,
    report_estimate,
    sum_statistics,
    write_frame_likelihoods,
)
from vouch.cli.gmm_frames import FrameReader, per_frame
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.gmm.full import FullGmm


def _read(rxfilename: str) -> FullGmm:
    from vouch.gmm.full import FullGmm
    from vouch.io.gmm import read_full_gmm

    return FullGmm(*read_full_gmm(rxfilename))


def acc_stats(argv: list[str]) -> None:
    """Statistics of a table (Kaldi, fgmm-global-acc-stats)."""
    opt, (model_in, features, stats_out) = parse_accumulate("fgmm-global-acc-stats", "a full-covariance", argv)

    from vouch.gmm.full import accumulate, scorer
    from vouch.gmm.models import accumulated_flags, parse_flags
    from vouch.io.gmm import write_full_stats

    flags = accumulated_flags(parse_flags(opt.update_flags))
    gmm = _read(model_in)
    model = scorer(gmm)
    occupancy, means, covariances = accumulate_table(
        opt,
        features,
        gmm.means_invcovars.shape,
        lambda *frames: accumulate(model, *frames, second_order="v" in flags),
    )
    dims = gmm.means_invcovars.shape[1]
    write_full_stats(stats_out, flags, occupancy, means if "m" in flags else None, covariances, opt.binary, dims=dims)
    log(f"Written accs to {stats_out}")


def sum_accs(argv: list[str]) -> None:
    """Sum statistics (Kaldi, fgmm-global-sum-accs)."""

    def read(name: str) -> tuple:
        from vouch.io.gmm import read_full_stats

        return read_full_stats(name)

    def write(*arguments: object, **options: object) -> None:
        from vouch.io.gmm import write_full_stats

        write_full_stats(*arguments, **options)

    sum_statistics("fgmm-global-sum-accs", argv, read, write)


def est(argv: list[str]) -> None:
    """Estimate from statistics (Kaldi, fgmm-global-est)."""
    opt, (model_in, stats_in, model_out) = parse_estimate(
        "fgmm-global-est", "a full-covariance", argv, _add_floors, occupancy=100.0
    )

    import numpy as np

    from vouch.gmm.full import EstimateOptions, FullStats, estimate, split
    from vouch.io.gmm import read_full_stats, write_full_gmm

    gmm = _read(model_in)
    _, occupancy, means, covariances, _ = read_full_stats(stats_in)
    options = EstimateOptions(
        opt.update_flags,
        opt.min_gaussian_weight,
        opt.min_gaussian_occupancy,
        opt.variance_floor,
        opt.max_condition,
        opt.remove_low_count_gaussians,
    )
    try:
        result = estimate(gmm, FullStats(occupancy, means, covariances, 0.0, float(occupancy.sum())), options)
    except VouchError as error:
        raise VouchError(f"{stats_in} for {model_in}: {error}") from None
    report_estimate(result)
    gmm = result.gmm
    if opt.mix_up:
        if opt.mix_up <= len(gmm.weights):
            warn(f"Cannot split from {len(gmm.weights)} to {opt.mix_up} components")
        else:
            gmm = split(gmm, opt.mix_up, opt.perturb_factor, np.random.default_rng(0))
    write_full_gmm(model_out, *gmm, binary=opt.binary)
    log(f"Written model to {model_out}")


def _add_floors(options: ToolOptions) -> None:
    options.add("variance-floor", 0.001, "least eigenvalue of a covariance: smaller are raised to it", single=True)
    options.add("max-condition", 1e4, "greatest ratio of two eigenvalues of a covariance: as a floor", single=True)


def copy(argv: list[str]) -> None:
    """Copy or convert a model (Kaldi, fgmm-global-copy)."""
    binary, model_in, model_out = parse_copy(
        "fgmm-global-copy", "Copy a full-covariance GMM; the binary and the text form are read alike.", argv
    )

    from vouch.io.gmm import write_full_gmm

    write_full_gmm(model_out, *_read(model_in), binary=binary)
    log(f"Written model to {model_out}")


def to_gmm(argv: list[str]) -> None:
    """Make a diagonal GMM of a full-covariance one (Kaldi, fgmm-global-to-gmm)."""
    binary, model_in, model_out = parse_copy(
        "fgmm-global-to-gmm", "Turn a full-covariance GMM into a diagonal one with its means and variances.", argv
    )

    from vouch.gmm.full import to_diag
    from vouch.io.gmm import write_diag_gmm

    write_diag_gmm(model_out, *to_diag(_read(model_in)), binary=binary)
    log(f"Written diagonal GMM to {model_out}")


def get_frame_likes(argv: list[str]) -> None:
    """Log likelihoods of frames (Kaldi, fgmm-global-get-frame-likes)."""
    opt, (model_in, features, likes_out) = parse_frame_likelihoods("fgmm-global-get-frame-likes", argv)

    from vouch.gmm.full import frame_log_likelihoods, scorer

    gmm = _read(model_in)
    model = scorer(gmm)
    write_frame_likelihoods(
        opt, features, likes_out, gmm.means_invcovars.shape, lambda *frames: frame_log_likelihoods(model, *frames)
    )


def gselect_to_post(argv: list[str]) -> None:
    """Posteriors of selected Gaussians (Kaldi, fgmm-global-gselect-to-post)."""
    options = ToolOptions(
        "fgmm-global-gselect-to-post",
        "[options] <model-in> <feature-rspecifier> <gselect-rspecifier> <post-wspecifier>",
        "Write the posteriors of the selected Gaussians of every frame under a full-covariance GMM, small ones left "
        "out. Utterances without a selection, or with NaN or infinity in a frame, are warned of, counted and left out.",
        (4, 4),
    )
    options.add("min-post", 0.0, "posteriors under this are dropped and the others scaled to sum to one", single=True)
    opt, (model_in, features, gselect_in, post_out) = options.parse(argv)

    import numpy as np

    from vouch.gmm.full import posteriors, scorer
    from vouch.io.ragged import Posterior
    from vouch.io.tables import TableWriter

    if not 0 <= opt.min_post < 1:
        raise VouchError(f"--min-post={opt.min_post:g}: want 0 to less than 1")
    gmm = _read(model_in)
    model = scorer(gmm)
    reader = FrameReader(features, gmm.means_invcovars.shape, gselect_in, finite=False)
    done = frames = entries = bad = 0
    total = 0.0
    with TableWriter(post_out, "posterior") as writer:
        for batch in reader:
            offsets, indices, weights, likelihoods = posteriors(model, batch.features, batch.selection, opt.min_post)
            for key, start, end in zip(batch.keys, batch.starts[:-1].tolist(), batch.starts[1:].tolist(), strict=True):
                likelihood = float(likelihoods[start:end].sum())
                if not np.isfinite(likelihood):
                    warn(f"Skipping utterance {key} because bad posterior-sum encountered (NaN?)")
                    bad += 1
                    continue
                mine = offsets[start : end + 1]
                pairs = slice(mine[0], mine[-1])
                writer.write(key, Posterior(mine - mine[0], indices[pairs], weights[pairs]))
                if opt.verbose >= 2:
                    average = per_frame(likelihood, end - start)
                    log(f"Like/frame for utt {key} was {average} per frame over {end - start} frames.")
                done, frames, total = done + 1, frames + end - start, total + likelihood
                entries += int(mine[-1] - mine[0])
        log(f"Done {done} files; {reader.errors + bad} had errors.")
        if not done:
            raise VouchError(
                f"no utterance of {features} with {gselect_in} got posteriors; the warnings say why, or the table is "
                "empty"
            )
    log(
        f"Overall loglike per frame is {per_frame(total, frames)} with {per_frame(entries, frames)} entries per frame, "
        f" over {frames:.6g} frames"
    )
