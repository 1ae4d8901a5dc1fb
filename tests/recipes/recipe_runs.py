"""What the tests of the recipe share: small settings, a small corpus, calls of the scripts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["system", "backend", "trials", "targets", "nontargets", "EER", "EER_low", "EER_high"]
COLUMNS += ["minDCF01", "minDCF001"]
SMALL_IVECTOR = (
    "ubm: {gaussians: 8, start_gaussians: 4, start_iterations: 4, diagonal_iterations: 1, full_iterations: 1}\n"
    "extractor: {dim: 16, iterations: 1}\nbackend: {lda_dim: 8}\n"
)
SMALL = "network: {embedding_dim: 32, hidden_dim: 32, backbone: {channels: 32, pooled_channels: 64}}\n"
SMALL_ADVERSARIAL = (
    "network: {embedding_dim: 16, backbone: {channels: 16}}\nobjective: {discriminator: {hidden_dim: 16}}\n"
)


def environment() -> dict[str, str]:
    """Of every call: one thread a process, and the tools on PATH, as path.sh puts them there for the scripts."""
    programs = ROOT / ("utils/bin" if "VOUCH_PYTHON" in os.environ else ".venv/bin")
    path = f"{programs}:{ROOT / 'utils'}:{os.environ['PATH']}"
    return {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}


def call(*command: object, cwd: Path = ROOT, limit: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, whatever it says."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=limit, check=False)


def succeed(*command: object, limit: float = 600) -> str:
    """Run a script that must succeed; what it said."""
    done = call(*command, limit=limit)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    return said


def refused(*command: object, cwd: Path = ROOT) -> str:
    """Run a script that must fail with one line of error; that line."""
    done = call(*command, cwd=cwd)
    assert done.returncode != 0, done.stdout[-4000:]
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert errors, done.stdout[-2000:] + done.stderr[-2000:]
    return errors[0]


def write_preparation(folder: Path, scale: float, then: str = "") -> Path:
    """A data-preparation script: the mini corpus, reduced; `then` is shell code that finds the data in $out."""
    script = folder / "prepare_reduced.sh"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        f'bash "{ROOT}/local/prepare_mini.sh" --scale {scale} --nj 1 "$@"\nout=$2\n{then}\n'
    )
    return script


def write_settings(folder: Path, systems: tuple[str, ...], epochs: int, augment: str) -> Path:
    """A settings folder: the mini systems, smaller still, with few epochs."""
    conf = folder / "conf"
    conf.mkdir()
    for system in systems:
        small = {"ivector": SMALL_IVECTOR, "danse": SMALL_ADVERSARIAL}.get(system, SMALL)
        if system != "ivector":
            small += f"training: {{epochs: {epochs}, held_out: {{share: 0}}}}\nbackend: {{lda_dim: 8}}\n"
        (conf / f"{system}.yaml").write_text(f"base: {ROOT}/conf/mini/{system}.yaml\n{small}")
    (conf / "augment.conf").write_text(augment)
    (conf / "training_feats.conf").write_bytes((ROOT / "conf/mini/training_feats.conf").read_bytes())
    return conf


def read_results(path: Path) -> list[dict[str, str]]:
    """The rows of results/EER."""
    header, *rows = path.read_text().splitlines()
    assert header.split() == ["#", *COLUMNS]
    return [dict(zip(COLUMNS, row.split(), strict=True)) for row in rows]
