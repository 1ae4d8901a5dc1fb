"""`vouch plot-reconstruction`: what a decoder makes of both embeddings of an utterance, and of another's identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vouch.cli.log import log
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

if TYPE_CHECKING:
    import numpy as np

    from vouch.objectives.seef_aldr import SeefAldr
    from vouch.plots.reconstruction import Panel


def plot_reconstruction(argv: list[str]) -> None:
    """Reconstructed features, with identities swapped."""
    options = ToolOptions(
        "plot-reconstruction",
        "[options] <model-dir> <features-rspecifier> <png>",
        "Draw, for two utterances, the features that went in, those that the decoder of a system of objective "
        "seef_aldr makes of both their embeddings, and those that it makes of the other's purified embedding and their "
        "own eliminated one: the identity swapped. The features must be as in training: mean-normalised, without "
        "silence. Mean squared errors are printed, beside those of zeros.",
        (3, 3),
    )
    options.add("utterances", "", "two of the table, separated by a comma; empty: its first two")
    options.add("frames", 300, "the first so many of each")
    opts, (model, features_in, png) = options.parse(argv)
    import torch

    from vouch.io.streams import open_output
    from vouch.plots.reconstruction import panels_png

    objective, dim = _open(Path(model))
    least = objective.network.backbone.context + 1
    if opts.frames < least:
        raise VouchError(f"--frames={opts.frames}: the network takes {least} or more")
    chosen = _two(features_in, opts.utterances, opts.frames, dim, least)
    torch.set_num_threads(1)
    with torch.inference_mode():
        rows = list(_rows(objective, chosen))
    with open_output(png) as stream:
        stream.write(panels_png(rows))
    log(f"drew {' and '.join(chosen)} in {png}")


def _open(folder: Path) -> tuple[SeefAldr, int]:
    """The trained objective, for evaluation, and the dims of its features."""
    from vouch.io import checkpoints
    from vouch.objectives.seef_aldr import SeefAldr
    from vouch.system import build_objective

    saved = checkpoints.load(folder / "final.pt", "networks", "config", "feature_dim")
    if saved["config"].get("objective", {}).get("type") != "seef_aldr" or "speakers" not in saved:
        raise VouchError(f"{folder} has no decoder: only a trained system of objective seef_aldr has one")
    objective = build_objective(saved["config"], saved["feature_dim"], len(saved["speakers"]))
    assert isinstance(objective, SeefAldr)
    if objective.eliminating is None:
        raise VouchError(f"{folder} has no eliminated embedding (rest: {saved['config']['objective']['rest']})")
    checkpoints.load_networks(objective, saved["networks"], folder / "final.pt")
    return objective.eval(), saved["feature_dim"]


def _two(features_in: str, names: str, frames: int, dim: int, least: int) -> dict[str, np.ndarray]:
    """Two utterances and their features."""
    import numpy as np

    from vouch.io.sequential import read_table

    wanted = [name for name in names.split(",") if name]
    if wanted and (len(wanted) != 2 or wanted[0] == wanted[1]):
        raise VouchError(f"--utterances={names}: want two different ones, separated by a comma")
    found: dict[str, np.ndarray] = {}
    for utterance, features in read_table(features_in):
        if wanted and utterance not in wanted:
            continue
        if features.shape[1] != dim or len(features) < least:
            raise VouchError(
                f"{utterance} of {features_in} has {len(features)} frames of {features.shape[1]} dims; the network "
                f"takes {least} or more of {dim}"
            )
        if not np.isfinite(features).all():
            raise VouchError(f"{utterance} of {features_in} has NaN or infinite values; make its features again")
        found[utterance] = features[:frames].astype(np.float32, copy=False)
        if len(found) == 2:
            break
    if len(found) < 2:
        lacking = ", ".join(name for name in wanted if name not in found) or "two utterances"
        raise VouchError(f"{features_in} lacks {lacking}")
    return {name: found[name] for name in wanted or found}


def _rows(objective: SeefAldr, chosen: dict[str, np.ndarray]) -> Iterator[list[Panel]]:
    import torch

    from vouch.plots.reconstruction import Panel

    embeddings = {}
    for utterance, features in chosen.items():
        embeddings[utterance] = objective.encode(torch.from_numpy(features)[None], torch.tensor([len(features)]))
    for utterance, features in chosen.items():
        (other,) = (name for name in chosen if name != utterance)
        own, rest = embeddings[utterance]
        rebuilt, swapped = (
            objective.reconstruct(identity, rest, len(features))[0].numpy() for identity in (own, embeddings[other][0])
        )
        errors = [float(((made - features) ** 2).mean()) for made in (rebuilt, swapped, 0 * features)]
        log(f"{utterance}: mean squared error {errors[0]:.3f}, identity swapped {errors[1]:.3f}, zeros {errors[2]:.3f}")
        yield [
            Panel(utterance, features),
            Panel("reconstructed", rebuilt),
            Panel(f"with the identity of {other}", swapped),
        ]
