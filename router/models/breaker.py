"""A circuit breaker: after repeated failures stop asking for a moment, then let one probe through."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Closed, open, or half open (one probe under way). A lost race costs one extra call."""

    __slots__ = ("_clock", "_failures", "_opened_at", "_threshold", "cool_off")

    def __init__(
        self, *, threshold: int = 5, cool_off: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open after `threshold` failures in a row; probe every `cool_off` seconds."""
        self._threshold, self.cool_off, self._clock = threshold, cool_off, clock
        self._failures = 0
        self._opened_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether ordinary calls are held back."""
        return self._opened_at is not None

    def allow(self) -> bool:
        """Whether a call may go through; while open, one per `cool_off` does, as the probe."""
        if self._opened_at is None:
            return True
        now = self._clock()
        if now - self._opened_at < self.cool_off:
            return False
        self._opened_at = now  # the probe is this caller's; the next one waits a full period again
        return True

    def success(self) -> None:
        """The call answered: close."""
        self._failures = 0
        self._opened_at = None

    def failure(self) -> None:
        """The call failed: count it, open at the threshold, stay open while the probe fails."""
        self._failures += 1
        if self._failures >= self._threshold:
            self._opened_at = self._clock()
