"""Fixtures every room uses: the shared real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory with real data and oracle cases; tests that need it skip loudly without it."""
    path = Path(os.environ.get("SWITCHPOINT_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"SHARED DATA ABSENT: {path} is not there; set SWITCHPOINT_SHARED to run this test")
    return path
