"""Tools of diagonal Gaussian mixtures: gmm-global-acc-stats, -sum-accs, -est, -copy, -to-fgmm, -get-frame-likes."""

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
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    from vouch.gmm.diagonal import DiagGmm


def _read(rxfilename: str) -> DiagGmm:
    from vouch.gmm.diagonal import DiagGmm
    from vouch.io.gmm import read_diag_gmm

    return DiagGmm(*read_diag_gmm(rxfilename))


def acc_stats(argv: list[str]) -> None:
    """Statistics of a table (Kaldi, gmm-global-acc-stats)."""
    opt, (model_in, features, stats_out) = parse_accumulate("gmm-global-acc-stats", "a diagonal", argv)

    from vouch.gmm.diagonal import accumulate
    from vouch.gmm.models import accumulated_flags, parse_flags
    from vouch.io.gmm import write_diag_stats

    flags = accumulated_flags(parse_flags(opt.update_flags))
    gmm = _read(model_in)
    occupancy, means, variances = accumulate_table(
        opt, features, gmm.inv_vars.shape, lambda *frames: accumulate(gmm, *frames)
    )
    write_diag_stats(
        stats_out,
        flags,
        occupancy,
        means if "m" in flags else None,
        variances if "v" in flags else None,
        opt.binary,
        dims=gmm.inv_vars.shape[1],
    )
    log(f"Written accs to {stats_out}")


def sum_accs(argv: list[str]) -> None:
    """Sum statistics (Kaldi, gmm-global-sum-accs)."""

    def read(name: str) -> tuple:
        from vouch.io.gmm import read_diag_stats

        return read_diag_stats(name)

    def write(*arguments: object, **options: object) -> None:
        from vouch.io.gmm import write_diag_stats

        write_diag_stats(*arguments, **options)

    sum_statistics("gmm-global-sum-accs", argv, read, write)


def est(argv: list[str]) -> None:
    """Estimate from statistics (Kaldi, gmm-global-est)."""
    opt, (model_in, stats_in, model_out) = parse_estimate(
        "gmm-global-est", "a diagonal", argv, add_min_variance, occupancy=10.0
    )

    import numpy as np

    from vouch.gmm.diagonal import DiagStats, EstimateOptions, estimate, split
    from vouch.io.gmm import read_diag_stats, write_diag_gmm

    gmm = _read(model_in)
    _, occupancy, means, variances, _ = read_diag_stats(stats_in)
    options = EstimateOptions(
        opt.update_flags,
        opt.min_gaussian_weight,
        opt.min_gaussian_occupancy,
        opt.min_variance,
        opt.remove_low_count_gaussians,
    )
    try:
        result = estimate(gmm, DiagStats(occupancy, means, variances, 0.0, float(occupancy.sum())), options)
    except VouchError as error:
        raise VouchError(f"{stats_in} for {model_in}: {error}") from None
    report_estimate(result)
    gmm = result.gmm
    if opt.mix_up:
        if opt.mix_up == len(gmm.weights):
            warn("Already have the target # of Gaussians. Doing nothing.")
        gmm = split(gmm, opt.mix_up, opt.perturb_factor, np.random.default_rng(0))
    write_diag_gmm(model_out, *gmm, binary=opt.binary)
    log(f"Written model to {model_out}")


def add_min_variance(options: ToolOptions) -> None:
    """The option that only diagonal mixtures have."""
    options.add("min-variance", 0.001, "least variance: smaller ones are raised to it")


def copy(argv: list[str]) -> None:
    """Copy or convert a model (Kaldi, gmm-global-copy)."""
    binary, model_in, model_out = parse_copy(
        "gmm-global-copy", "Copy a diagonal GMM; the binary and the text form are read alike.", argv
    )

    from vouch.io.gmm import write_diag_gmm

    write_diag_gmm(model_out, *_read(model_in), binary=binary)
    log(f"Written model to {model_out}")


def to_fgmm(argv: list[str]) -> None:
    """Make a full-covariance GMM of a diagonal one (Kaldi, gmm-global-to-fgmm)."""
    binary, model_in, model_out = parse_copy(
        "gmm-global-to-fgmm", "Turn a diagonal GMM into a full-covariance one with the same densities.", argv
    )

    from vouch.gmm.diagonal import to_full
    from vouch.io.gmm import write_full_gmm

    write_full_gmm(model_out, *to_full(_read(model_in)), binary=binary)
    log(f"Written full GMM to {model_out}")


def get_frame_likes(argv: list[str]) -> None:
    """Log likelihoods of frames (Kaldi, gmm-global-get-frame-likes)."""
    opt, (model_in, features, likes_out) = parse_frame_likelihoods("gmm-global-get-frame-likes", argv)

    from vouch.gmm.diagonal import frame_log_likelihoods

    gmm = _read(model_in)
    write_frame_likelihoods(
        opt, features, likes_out, gmm.inv_vars.shape, lambda *frames: frame_log_likelihoods(gmm, *frames)
    )
