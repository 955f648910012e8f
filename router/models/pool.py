"""Bounded calls with a deadline: a slow model costs its own callers, never the event loop or its neighbours.

For models that wait for the network: under gevent the threads of an ordinary executor are greenlets.
"""

from __future__ import annotations

import queue
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar, cast

from switchpoint.router.models.model import Cause, ModelFailure

T = TypeVar("T")
Outcome = tuple[T | None, Exception | None]


class _Slots:
    """A counting semaphore whose release never blocks.

    `threading.BoundedSemaphore` guards itself with a lock; gevent runs a future's callbacks in its event
    loop, which must not wait for it, so a contended release raised there and the slot was lost.
    """

    def __init__(self, count: int) -> None:
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def acquire(self, timeout: float) -> bool:
        try:
            self._free.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def release(self) -> None:
        self._free.put(None)


class CallPool:
    """At most `size` calls under way, at most size − 1 of one key: no model can take every slot.

    A call whose deadline passed keeps its slot until it really ends: threads cannot be stopped.
    """

    def __init__(self, executor: Executor, size: int) -> None:
        """Wrap an executor of `size` workers."""
        self._executor = executor
        self._slots = _Slots(size)
        per_key = max(1, size - 1)
        self._by_key: defaultdict[str, _Slots] = defaultdict(lambda: _Slots(per_key))

    def call(self, key: str, work: Callable[[], T], deadline: float) -> T:
        """Run `work` in the pool and wait at most `deadline` seconds for it, queueing included.

        Raises:
            ModelFailure: BUSY when no slot came free, or too late to leave `work` half of the deadline,
                TIMEOUT when the answer did not come; whatever `work` raises is raised here.
        """
        end = time.monotonic() + deadline
        own = self._by_key[key]
        if not own.acquire(timeout=deadline):
            raise ModelFailure(Cause.BUSY, f"{key}: every slot of this model is taken")
        if not self._slots.acquire(timeout=max(0.0, end - time.monotonic())):
            own.release()
            raise ModelFailure(Cause.BUSY, f"{key}: every slot of the pool is taken")
        left = max(0.0, end - time.monotonic())

        def release(_: Future[Outcome[T]]) -> None:
            self._slots.release()
            own.release()

        future = self._submit(work, release)
        try:
            value, error = future.result(timeout=left)
        except FutureTimeout:
            if left < deadline / 2:  # most of the deadline went by in the queue
                raise ModelFailure(Cause.BUSY, f"{key}: a slot came free too late") from None
            raise ModelFailure(Cause.TIMEOUT, f"{key}: no answer within {deadline * 1000:.0f} ms") from None
        if error is not None:
            raise error
        return cast("T", value)

    def start(self, work: Callable[[], T]) -> Future[Outcome[T]]:
        """Run `work` in the background (loading a model); the future carries (value, error), never raises."""
        return self._executor.submit(outcome_of, work)

    def _submit(
        self, work: Callable[[], T], release: Callable[[Future[Outcome[T]]], None]
    ) -> Future[Outcome[T]]:
        try:
            future = self._executor.submit(outcome_of, work)
        except BaseException:
            release(Future())
            raise
        future.add_done_callback(release)
        return future


def outcome_of(work: Callable[[], T]) -> Outcome[T]:
    """Carry an exception as a value: gevent's thread pool would print it as unhandled."""
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
        return None, error
