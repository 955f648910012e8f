"""Every server of this machine in turn, in an environment of its own."""

from __future__ import annotations

import pytest

from switchpoint.experiment.store.embedded import binary as binary_module
from switchpoint.experiment.store.embedded.binary import ServerBinary


def installed() -> list[ServerBinary]:
    found = [binary_module._probe(path, origin) for path, origin in binary_module._candidates()]
    return [binary for binary in found if binary]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SWITCHPOINT_REDIS_URL", "SWITCHPOINT_REDIS_SERVER", "SWITCHPOINT_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=installed(), ids=lambda found: f"{found.engine}-{found.origin}")
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ServerBinary:
    """Each server of this machine in turn, named as an operator would."""
    found: ServerBinary = request.param
    monkeypatch.setenv("SWITCHPOINT_REDIS_SERVER", str(found.path))
    return found
