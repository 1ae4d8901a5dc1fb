"""gmm-global-init-from-feats: a first diagonal Gaussian mixture from frames in memory."""

from __future__ import annotations

from vouch.cli.gmm_common import add_binary, add_low_counts
from vouch.cli.gmm_diagonal import add_min_variance
from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError


def init_from_feats(argv: list[str]) -> None:
    """Train a diagonal GMM from nothing (Kaldi, gmm-global-init-from-feats)."""
    options = ToolOptions(
        "gmm-global-init-from-feats",
        "[options] <feature-rspecifier> <model-out>",
        "Train a diagonal GMM on a random part of the frames, kept in memory: it starts with means on random frames, "
        "then does EM iterations and splits Gaussians in the first half of them.",
        (2, 2),
    )
    add_binary(options)
    options.add("num-gauss", 100, "Gaussians of the model")
    options.add("num-gauss-init", 0, "Gaussians to start with; 0 or more than --num-gauss: as many as in the end")
    options.add("num-iters", 50, "EM iterations")
    options.add("num-frames", 200000, "frames to keep in memory, picked at random from all")
    options.add("srand", 0, "seed of the random numbers")
    options.add("num-threads", 4, "threads that accumulate; let none use more cores: OMP_NUM_THREADS=1")
    add_low_counts(options, occupancy=10.0)
    add_min_variance(options)
    opt, (features, model_out) = options.parse(argv)

    import numpy as np

    from vouch.gmm.diagonal import EstimateOptions
    from vouch.gmm.initialise import FrameReservoir, init_diag_gmm
    from vouch.io.gmm import write_diag_gmm
    from vouch.io.tables import read_table

    for name in ("num_gauss", "num_frames", "num_threads"):
        if getattr(opt, name) < 1:
            raise VouchError(f"--{name.replace('_', '-')}={getattr(opt, name)}: want 1 or more")
    rng = np.random.default_rng(opt.srand)
    log(f"Reading features (will keep {opt.num_frames} frames.)")
    reservoir = FrameReservoir(opt.num_frames, rng)
    for key, matrix in read_table(features):
        try:
            reservoir.add(matrix)
        except VouchError as error:
            raise VouchError(f"{features}: {key}: {error}") from None
    _report(reservoir.seen, opt.num_frames)
    updates = EstimateOptions(
        "mvw",
        opt.min_gaussian_weight,
        opt.min_gaussian_occupancy,
        opt.min_variance,
        opt.remove_low_count_gaussians,
    )
    numbers = opt.num_gauss, opt.num_gauss_init, opt.num_iters
    try:
        gmm = init_diag_gmm(reservoir.frames, *numbers, updates, rng, log, warn, opt.num_threads)
    except VouchError as error:
        raise VouchError(f"{features}: {error}") from None
    write_diag_gmm(model_out, *gmm, binary=opt.binary)
    log(f"Wrote model to {model_out}")


def _report(seen: int, wanted: int) -> None:
    if seen < wanted:
        warn(f"Number of frames read {seen} was less than target number {wanted}, using all we read.")
    else:
        log(f"Kept {wanted} out of {seen} input frames = {100 * wanted / seen:.6g}%.")
