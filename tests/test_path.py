"""path.sh: the environment, and what it says when it cannot make one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def _bash(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("VOUCH_", "PYTHON"))}
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; {script}"],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def copy(root, tmp_path):
    """A folder with a space in its name that has what path.sh needs, and no environment yet."""
    folder = tmp_path / "a copy"
    (folder / "utils").mkdir(parents=True)
    for name in ("path.sh", "pyproject.toml", "requirements.txt"):
        shutil.copy(root / name, folder / name)
    shutil.copytree(root / "utils" / "bin", folder / "utils" / "bin")
    (folder / "pysrc").symlink_to(root / "pysrc")
    return folder


def test_a_package_that_cannot_be_installed_is_named(copy):
    (copy / "requirements.txt").write_text("# pinned\nno-such-package-of-vouch==1.0\n")
    result = _bash(". ./path.sh; echo went on", copy, PIP_NO_INDEX="1")
    assert result.returncode != 0 and "went on" not in result.stdout
    assert "path.sh: error: cannot install no-such-package-of-vouch==1.0" in result.stderr
    again = _bash(". ./path.sh", copy, PIP_NO_INDEX="1")  # a half-made environment is not taken for a whole one
    assert again.returncode != 0 and "cannot install no-such-package" in again.stderr


def test_an_interpreter_of_the_user(copy):
    script = ". ./path.sh; vouch --version; command -v vouch; python3 -c 'import sys; print(sys.prefix)'"
    result = _bash(script, copy, VOUCH_PYTHON=sys.executable)
    assert result.returncode == 0, result.stderr
    version, where, prefix = result.stdout.splitlines()
    assert version.startswith("vouch ") and where == f"{copy}/utils/bin/vouch" and prefix == sys.prefix
    assert not (copy / ".venv").exists()


def test_an_interpreter_without_the_packages(copy, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    result = _bash(". ./path.sh", copy, VOUCH_PYTHON=str(tmp_path / "bare" / "bin" / "python"))
    assert result.returncode != 0
    assert "lacks numpy, scipy, torch, kaldiio, soundfile, yaml, tqdm, matplotlib" in result.stderr
    result = _bash(". ./path.sh", copy, VOUCH_PYTHON="/no/such/python")
    assert result.returncode != 0 and "VOUCH_PYTHON=/no/such/python is not a program" in result.stderr
