"""Waiting for a state, however long a busy machine takes to reach it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import TypeVarTuple, Unpack

import pytest
import redis

from switchpoint.experiment.store.redis.connection import connect

Arguments = TypeVarTuple("Arguments")

HUNG = 240.0
"""Seconds after which a state is taken to be never reached. Not a measurement: nothing comes near it."""


def until(
    condition: Callable[[Unpack[Arguments]], object],
    *arguments: *Arguments,
    seconds: float = HUNG,
    every: float = 0.01,
) -> None:
    """Return as soon as the condition is true of the arguments. Raises AssertionError where it never is."""
    end = time.monotonic() + seconds
    while not condition(*arguments):
        assert time.monotonic() < end, f"not reached within {seconds:g} s"
        time.sleep(every)


def patient(url: str) -> redis.Redis:
    """A store's client that waits for its answers: a sync of a busy disk takes longer than serving waits."""
    return connect(url, timeout=HUNG)


def replace_time(monkeypatch: pytest.MonkeyPatch, module: ModuleType, **functions: object) -> None:
    """Replace functions of `time` in one module: threads of other modules keep the real ones."""
    monkeypatch.setattr(module, "time", SimpleNamespace(**vars(time) | functions))
