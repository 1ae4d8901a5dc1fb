"""The miniature, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import miniature
import pytest


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all corpora in small and corpora.yaml; tests that change something take `damaged`."""
    folder = tmp_path_factory.mktemp("sre16") / "all corpora"
    miniature.make(folder, speakers=10, seconds=1.0, spoken=False)
    return folder


@pytest.fixture
def damaged(corpora: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(corpora, tmp_path / "it's a copy"))
