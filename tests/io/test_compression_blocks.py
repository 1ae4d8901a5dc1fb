"""Long matrices are coded some rows at a time; no code depends on it."""

from __future__ import annotations

import numpy as np
import pytest

from vouch.io import compression


@pytest.mark.parametrize("method", range(1, 8))
def test_codes_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    matrix = (np.random.default_rng(method).standard_normal((50, 3)) * 9).astype(np.float32)
    whole = compression.compress(matrix, method)
    monkeypatch.setattr(compression, "_BLOCK", 7)
    assert compression.compress(matrix, method) == whole
