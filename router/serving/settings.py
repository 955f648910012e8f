"""The environment of a serving process, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store.embedded.server import data_directory
from switchpoint.router.serving.environment import number, switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may set; every field names its variable."""

    redis_url: str  # SWITCHPOINT_REDIS_URL
    data: Path  # SWITCHPOINT_DATA: snapshot copy, spool, model files
    project: str = "default"  # SWITCHPOINT_PROJECT
    shards: int | None = None  # SWITCHPOINT_SHARDS of a new project; None: 1, or what the project has
    deadline_ms: int = 250  # SWITCHPOINT_DEADLINE_MS: per model call
    profiles: tuple[str, ...] | None = None  # SWITCHPOINT_MODEL_PROFILES: None = the loader's default
    private_upstreams: bool = False  # SWITCHPOINT_UPSTREAM_PRIVATE
    simulated_clock: bool = False  # SWITCHPOINT_SIMULATED_CLOCK
    spool_bytes: int = 256 * 1024 * 1024  # SWITCHPOINT_SPOOL_BYTES

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read and check the variables.

        Raises:
            BadInput: one is missing or not what it should be; names it.
        """
        url = environ.get("SWITCHPOINT_REDIS_URL", "")
        if not url:
            raise BadInput(
                "is not set",
                field="SWITCHPOINT_REDIS_URL",
                fix="set it, or let `switchpoint serve` start the embedded server and set it",
            )
        profiles = environ.get("SWITCHPOINT_MODEL_PROFILES")
        return cls(
            redis_url=url,
            data=data_directory(environ.get("SWITCHPOINT_DATA")),
            project=environ.get("SWITCHPOINT_PROJECT", "default"),
            shards=number(environ, "SWITCHPOINT_SHARDS", 0, low=0) or None,
            deadline_ms=number(environ, "SWITCHPOINT_DEADLINE_MS", 250, low=1),
            profiles=None if profiles is None else tuple(filter(None, profiles.split(","))),
            private_upstreams=switch(environ, "SWITCHPOINT_UPSTREAM_PRIVATE"),
            simulated_clock=switch(environ, "SWITCHPOINT_SIMULATED_CLOCK"),
            spool_bytes=number(environ, "SWITCHPOINT_SPOOL_BYTES", 256 * 1024 * 1024, low=0),
        )
