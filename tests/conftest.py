"""Fixtures shared by all tests: where the reference data lie."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _shared(*parts: str) -> Path:
    path = ROOT.parent.joinpath("shared", *parts)
    if not path.is_dir():
        pytest.skip(f"needs ../shared/{'/'.join(parts)} beside the checkout")
    return path


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference outputs of Kaldi's tools; a test that asks for it skips where they are not."""
    return _shared("golden", "kaldi")


@pytest.fixture(scope="session")
def golden_training() -> Path:
    """A UBM and extractor training by Kaldi's tools; a test that asks for it skips where it is not."""
    return _shared("golden", "kaldi-training")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Real speech; a test that asks for it skips where it is not."""
    return _shared("corpora")


@pytest.fixture(scope="session")
def synthetic() -> Path:
    """Two made signals and Kaldi's features of them, part of the repository."""
    return ROOT / "tests" / "golden" / "synthetic"
