"""The files that the command lines read and write, as dictionaries of arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vouch.gmm.diagonal import DiagGmm, log_likelihoods
from vouch.io.audio import read_wave, read_waves
from vouch.io.gmm import read_diag_gmm, read_full_gmm, write_diag_gmm, write_full_gmm
from vouch.io.ivector_extractor import ExtractorArrays, read_ivector_extractor, write_ivector_extractor
from vouch.io.plda import read_plda, write_plda
from vouch.io.tables import TableWriter, read_matrix, read_table, read_vector, write_matrix

Arrays = dict[str, np.ndarray]


def tables(kind: str) -> tuple[Callable[[str], Arrays], Callable[[str, Arrays], None]]:
    """(reader, writer) of an archive of this kind."""

    def write(path: str, arrays: Arrays) -> None:
        with TableWriter(f"ark:{path}", kind) as writer:
            for key, value in arrays.items():
                writer.write(key, value)

    return (lambda path: dict(read_table(f"ark:{path}", kind))), write


def posteriors(gaussians: int) -> Callable[[str], Arrays]:
    """Reads an archive of posteriors as matrices (frames, gaussians)."""

    def read(path: str) -> Arrays:
        dense = {}
        for key, (offsets, indices, weights) in read_table(f"ark:{path}", "posterior"):
            frames = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
            dense[key] = np.zeros((len(offsets) - 1, gaussians))
            dense[key][frames, indices] = weights
        return dense

    return read


def selections(path: str) -> Arrays:
    """Reads an archive of selections of the same number for each frame, as matrices (frames, n)."""
    return {
        key: indices.reshape(len(offsets) - 1, -1) for key, (offsets, indices) in read_table(f"ark:{path}", "gselect")
    }


def chosen_likelihoods(model: Arrays, features: Arrays, chosen: Arrays) -> Arrays:
    """The log likelihood of each chosen Gaussian `(frames, n)`: of two that are equal to the last digits of Kaldi's
    single precision, either may come first."""
    gmm = DiagGmm(*(model[name].astype(np.float64) for name in DiagGmm._fields))
    return {
        key: np.take_along_axis(log_likelihoods(gmm, features[key].astype(np.float64)), values.astype(int), axis=1)
        for key, values in chosen.items()
    }


def single_matrix(path: str) -> Arrays:
    return {"matrix": read_matrix(path)}


def write_single_matrix(path: str, arrays: Arrays) -> None:
    write_matrix(path, arrays["matrix"])


def single_vector(path: str) -> Arrays:
    return {"vector": read_vector(path)}


def plda(path: str) -> Arrays:
    return dict(zip(("mean", "transform", "psi"), read_plda(path), strict=True))


def plda_write(path: str, arrays: Arrays) -> None:
    write_plda(path, arrays["mean"], arrays["transform"], arrays["psi"])


def diag_gmm(path: str) -> Arrays:
    return dict(zip(("weights", "gconsts", "means_invvars", "inv_vars"), read_diag_gmm(path), strict=True))


def full_gmm(path: str) -> Arrays:
    return dict(zip(("weights", "gconsts", "means_invcovars", "inv_covars"), read_full_gmm(path), strict=True))


def write_diag(path: str | Path, arrays: Arrays) -> None:
    write_diag_gmm(str(path), *(arrays[name] for name in ("weights", "gconsts", "means_invvars", "inv_vars")))


def write_full(path: str | Path, arrays: Arrays) -> None:
    names = ("weights", "gconsts", "means_invcovars")
    write_full_gmm(str(path), *(arrays[name] for name in names), symmetric(arrays["inv_covars_packed"]))


def symmetric(packed: np.ndarray) -> np.ndarray:
    """Symmetric matrices `(n, dims, dims)` of their lower triangles by rows `(n, dims (dims + 1) / 2)`."""
    dims = int((2 * packed.shape[-1]) ** 0.5)
    rows, cols = np.tril_indices(dims)
    full = np.zeros((*packed.shape[:-1], dims, dims))
    full[..., rows, cols] = packed
    full[..., cols, rows] = packed
    return full


def extractor(path: str) -> Arrays:
    found = read_ivector_extractor(path)
    return {name: np.asarray(value) for name, value in found._asdict().items()}


def write_extractor(path: str | Path, arrays: Arrays) -> None:
    """Of the arrays of a set: `w`, `w_vec`, `M`, `Sigma_inv_packed`, `prior_offset`."""
    covars = symmetric(arrays["Sigma_inv_packed"])
    write_ivector_extractor(
        str(path), ExtractorArrays(arrays["w"], arrays["w_vec"], arrays["M"], covars, float(arrays["prior_offset"]))
    )


def scores(path: str) -> Arrays:
    return {"scores": np.array([float(line.split()[2]) for line in Path(path).read_text().splitlines()])}


def waves(path: str) -> Arrays:
    return {key: found.samples for key, found in read_waves(f"ark:{path}")}


def wave(path: str) -> Arrays:
    return {"samples": read_wave(path).samples}


def contents(path: str) -> Arrays:
    return {"bytes": np.frombuffer(Path(path).read_bytes(), np.uint8)}


def load_json(path: Path) -> dict:
    return json.loads(path.read_text())
