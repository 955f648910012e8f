"""The router's project fixtures, for tests that go through real processes."""

from __future__ import annotations

from tests.router.conftest import project, shared_project

__all__ = ["project", "shared_project"]
