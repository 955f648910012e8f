"""Reading variables, and the limits of a worker, which is made before anything else may be imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from switchpoint.experiment.errors import BadInput

_SWITCHES = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker takes; of too many connections those go that have kept it waiting longest."""

    connections: int = 1000  # SWITCHPOINT_CONNECTIONS
    peer_connections: int = 500  # SWITCHPOINT_PEER_CONNECTIONS: of them from one address
    peer_rate: int = 0  # SWITCHPOINT_PEER_RATE: requests a second of one address, 0 for no limit

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Limits:
        """Read and check the variables. Raises BadInput."""
        connections = number(environ, "SWITCHPOINT_CONNECTIONS", 1000, low=2)
        return cls(
            connections=connections,
            peer_connections=number(environ, "SWITCHPOINT_PEER_CONNECTIONS", connections // 2, low=1),
            peer_rate=number(environ, "SWITCHPOINT_PEER_RATE", 0, low=0),
        )


def number(environ: Mapping[str, str], name: str, default: int, *, low: int) -> int:
    """A whole number of at least `low`. Raises BadInput."""
    text = environ.get(name, "").strip() or str(default)
    if not text.isdecimal() or int(text) < low:
        raise BadInput("must be a whole number", field=name, value=text, fix=f"use {low} or more")
    return int(text)


def switch(environ: Mapping[str, str], name: str) -> bool:
    """1 or 0, in words too. Raises BadInput."""
    text = environ.get(name, "").strip().lower()
    if text not in _SWITCHES:
        raise BadInput("must be 1 or 0", field=name, value=text, fix="set it to 1 to switch it on")
    return _SWITCHES[text]
