"""The i-vector extractor: ivector-extractor-{init,acc-stats,sum-accs,est,copy} and ivector-extract."""

from __future__ import annotations

from vouch.cli.log import log, warn
from vouch.cli.options import ToolOptions
from vouch.cli.threads import add_threads, use_threads
from vouch.errors import VouchError


def extractor_init(argv: list[str]) -> None:
    """Start an extractor from a full-covariance UBM (Kaldi, ivector-extractor-init)."""
    options = ToolOptions(
        "ivector-extractor-init",
        "[options] FGMM-IN IVECTOR-EXTRACTOR-OUT",
        "Start an i-vector extractor from a full-covariance UBM, with random directions.",
        (2, 2),
    )
    options.add("binary", True, "write the extractor in binary")
    options.add("ivector-dim", 400, "dimension of the i-vectors")
    options.add("use-weights", True, "regress the log weights of the Gaussians on the i-vector; recipes pass false")
    options.add("seed", 0, "seed of the random directions; not an option of Kaldi's tool")
    opt, (ubm_in, extractor_out) = options.parse(argv)

    import numpy as np

    from vouch.cli.ivector_inputs import naming
    from vouch.gmm.extractor import init
    from vouch.io.gmm import read_full_gmm
    from vouch.io.ivector_extractor import write_ivector_extractor

    if opt.seed < 0:
        raise VouchError(f"--seed={opt.seed}: want 0 or more")
    weights, _, means_invcovars, inv_covars = read_full_gmm(ubm_in)
    with naming(ubm_in):
        rng = np.random.default_rng(opt.seed)
        extractor = init(weights, means_invcovars, inv_covars, opt.ivector_dim, opt.use_weights, rng)
    write_ivector_extractor(extractor_out, extractor, opt.binary)
    log(f"Initialized iVector extractor with iVector dimension {opt.ivector_dim} and wrote it to {extractor_out}")


def extractor_copy(argv: list[str]) -> None:
    """Copy an extractor (Kaldi, ivector-extractor-copy)."""
    options = ToolOptions(
        "ivector-extractor-copy",
        "[options] IVECTOR-EXTRACTOR-IN IVECTOR-EXTRACTOR-OUT",
        "Copy an i-vector extractor, binary to text or back.",
        (2, 2),
    )
    options.add("binary", True, "write the extractor in binary")
    opt, (extractor_in, extractor_out) = options.parse(argv)

    from vouch.io.ivector_extractor import read_ivector_extractor, write_ivector_extractor

    write_ivector_extractor(extractor_out, read_ivector_extractor(extractor_in), opt.binary)


def acc_stats(argv: list[str]) -> None:
    """Statistics of a table for an extractor (Kaldi, ivector-extractor-acc-stats)."""
    options = ToolOptions(
        "ivector-extractor-acc-stats",
        "[options] MODEL-IN FEATS-RSPECIFIER POSTERIORS-RSPECIFIER STATS-OUT",
        "Accumulate the statistics of a training iteration of an i-vector extractor, from features and the posteriors"
        " of a full-covariance UBM. Each utterance counts as one i-vector.",
        (4, 4),
    )
    options.add("binary", True, "write the statistics in binary")
    options.add("update-variances", True, "keep what the update of the variances needs")
    options.add("compute-auxf", True, "compute the auxiliary function, to watch the convergence")
    options.add("num-samples-for-weights", 10, "samples of each i-vector for the weight projections; 2 or more")
    options.add("cache-size", 100, "utterances worked on at once; touches only speed and memory")
    options.add("seed", 0, "seed of these samples, beside the utterance's key; not an option of Kaldi's tool")
    add_threads(options)
    opt, (model_in, feats, posteriors, stats_out) = options.parse(argv)
    use_threads(opt.num_threads)
    for name, least in (("num-samples-for-weights", 2), ("cache-size", 1), ("seed", 0)):
        value = getattr(opt, name.replace("-", "_"))
        if value < least:
            raise VouchError(f"--{name}={value}: want {least} or more")

    from vouch.cli.ivector_inputs import Utterances, load_extractor, naming
    from vouch.gmm.extractor_statistics import Accumulator
    from vouch.io.ivector_extractor import write_ivector_extractor_stats

    accumulator = Accumulator(
        *load_extractor(model_in),
        opt.update_variances,
        opt.compute_auxf,
        opt.num_samples_for_weights,
        opt.cache_size,
        opt.seed,
    )
    done = frames = 0
    utterances = Utterances(feats, posteriors)
    inputs = f"{feats} with {posteriors} for {model_in}"
    for utterance in utterances:
        with naming(inputs):
            accumulator.add(*utterance.key_and_arrays())
        done += 1
        frames += len(utterance.features)
    utterances.require(done)
    with naming(inputs):
        stats = accumulator.finish()
    log(f"Done {done} files, {utterances.errors} with errors.  Total frames {frames}")
    write_ivector_extractor_stats(stats_out, stats, opt.binary)
    log(f"Wrote stats to {stats_out}")


def sum_accs(argv: list[str]) -> None:
    """Sum statistics (Kaldi, ivector-extractor-sum-accs)."""
    options = ToolOptions(
        "ivector-extractor-sum-accs",
        "[options] STATS-IN1 STATS-IN2 ... STATS-OUT",
        "Sum the statistics that several jobs made for one i-vector extractor.",
        (2, None),
    )
    options.add("binary", True, "write the statistics in binary")
    options.add("parallel", False, "open all inputs (start all commands) before reading any")
    opt, args = options.parse(argv)

    from vouch.io.ivector_extractor import sum_ivector_extractor_stats, write_ivector_extractor_stats

    write_ivector_extractor_stats(args[-1], sum_ivector_extractor_stats(args[:-1], opt.parallel), opt.binary)
    log(f"Wrote summed stats to {args[-1]}")


def est(argv: list[str]) -> None:
    """Estimate an extractor from statistics (Kaldi, ivector-extractor-est)."""
    options = ToolOptions(
        "ivector-extractor-est",
        "[options] MODEL-IN STATS-IN MODEL-OUT",
        "Re-estimate an i-vector extractor from the statistics of a training iteration. --verbose=1 says more.",
        (3, 3),
    )
    options.add("binary", True, "write the extractor in binary")
    options.add("variance-floor-factor", 0.1, "least variance, relative to the average covariance")
    options.add("gaussian-min-count", 100.0, "a Gaussian with a smaller count stays as it is")
    options.add("diagonalize", True, "order the dimensions from the most to the least important")
    add_threads(options)
    opt, (model_in, stats_in, model_out) = options.parse(argv)
    use_threads(opt.num_threads)
    if not 0 < opt.variance_floor_factor <= 1:
        raise VouchError(f"--variance-floor-factor={opt.variance_floor_factor:g}: want more than 0 and at most 1")

    from vouch.cli.ivector_inputs import naming
    from vouch.gmm.extractor import ExtractorStats, IvectorExtractor
    from vouch.gmm.extractor_estimation import EstimationOptions, estimate, explained_variance
    from vouch.io.ivector_extractor import read_ivector_extractor, read_ivector_extractor_stats, write_ivector_extractor

    extractor = IvectorExtractor(*read_ivector_extractor(model_in))
    stats = ExtractorStats(*read_ivector_extractor_stats(stats_in))
    wanted = EstimationOptions(opt.variance_floor_factor, opt.gaussian_min_count, opt.diagonalize)
    with naming(f"{stats_in} for {model_in}"):
        estimated = estimate(extractor, stats, wanted)
        explained = explained_variance(estimated.extractor, stats)
    for kind, text in estimated.notes:
        if kind != "detail" or opt.verbose >= 1:
            (warn if kind == "warn" else log)(text)
    write_ivector_extractor(model_out, estimated.extractor, opt.binary)
    log(f"The proportion of within-Gaussian variance explained by the iVectors is {explained:.6g}.")
    log(f"Updated model and wrote it to {model_out}")


def extract(argv: list[str]) -> None:
    """I-vectors of utterances, or of speakers (Kaldi, ivector-extract)."""
    options = ToolOptions(
        "ivector-extract",
        "[options] MODEL-IN FEATS-RSPECIFIER POSTERIORS-RSPECIFIER IVECTOR-WSPECIFIER",
        "Extract the i-vector of each utterance, the prior's offset subtracted, from features and the posteriors of a"
        " full-covariance UBM. --verbose=2 says more about each.",
        (4, 4),
    )
    options.add("compute-objf-change", True, "compute what the i-vector gains in the objective function")
    options.add("spk2utt", "", "table of speakers with their utterances: one i-vector a speaker; one thread only")
    options.add("acoustic-weight", 1.0, "weight of the data, against the prior")
    options.add("max-count", 0.0, "scale the data down to this count of weighted frames where there are more; 0: never")
    add_threads(options)
    opt, (model_in, feats, posteriors, ivectors_out) = options.parse(argv)
    if opt.spk2utt and opt.num_threads != 1:
        raise VouchError(f"--spk2utt works with one thread only, not --num-threads={opt.num_threads}: leave one out")
    if not opt.acoustic_weight >= 0:
        raise VouchError(f"--acoustic-weight={opt.acoustic_weight:g}: want 0 or more")
    use_threads(opt.num_threads)

    from vouch.cli.ivector_extraction import Extraction, per_speaker, per_utterance
    from vouch.cli.ivector_inputs import load_extractor

    inputs = f"{feats} with {posteriors} for {model_in}"
    settings = opt.acoustic_weight, opt.max_count, opt.compute_objf_change
    extraction = Extraction(*load_extractor(model_in), *settings, inputs)
    if opt.spk2utt:
        per_speaker(extraction, opt.spk2utt, feats, posteriors, ivectors_out)
    else:
        per_utterance(extraction, feats, posteriors, ivectors_out, opt.verbose >= 2)
