"""A project with a server of its own, and a way between it and the service that can be disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy
from tests.router.conftest import Project, project

__all__ = ["project", "proxy"]


@pytest.fixture
def proxy(project: Project) -> Iterator[Proxy]:
    """What stands between a service under attack and the project's server."""
    with Proxy(project.server.socket) as between:
        yield between
