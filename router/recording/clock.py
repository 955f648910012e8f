"""What time it is where several machines count together: the authority's time, as far as it can be believed.

A gateway's authority is its store, a client's is its service. Wall clocks are set by people and protocols and
may jump; the authority's time is carried on a clock that nobody sets, so that a jump of the machine's own
changes nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from switchpoint.experiment.ledger.codec import DRIFT_SECONDS

CLOCK_HEADER = "X-Switchpoint-Clock"
"""What a service says of its time: ms since 1970, or `simulated` where requests set it in the same header."""
_SLOW_SECONDS = 1.0
_WORTH_KEEPING_SECONDS = 0.5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _wall() -> float:
    return time.time()


def _steady() -> float:
    """Seconds that go on while the machine sleeps, where it has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ClockMemory:
    """What other processes learned of the authority's time since the machine was started.

    A worker that starts while the store is away would else have nothing but a clock that may be wrong.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet. It serves nothing where the system does not name its starts."""
        self._path, self._kept = path, float("-inf")
        self._boot = ""
        with suppress(OSError):
            self._boot = _BOOT_ID.read_text(encoding="ascii").strip()

    def base(self) -> float | None:
        """What the steady clock lacks to the authority's time, in seconds."""
        try:
            known = json.loads(self._path.read_bytes())
            return float(known["base"]) if self._boot and known["boot"] == self._boot else None
        except (OSError, ValueError, TypeError, KeyError):
            return None  # none yet, or cut short

    def keep(self, base: float) -> None:
        """Write it down where it has changed; a file that cannot be written is done without."""
        if not self._boot or abs(base - self._kept) < _WORTH_KEEPING_SECONDS:
            return
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with suppress(OSError):
            draft.write_text(json.dumps({"boot": self._boot, "base": base}), encoding="ascii")
            draft.replace(self._path)
            self._kept = base


class Clock:
    """The machine's own clock while it agrees with the authority's (or that is not known yet), else that one.

    An authority whose clock jumps alone is not followed: two against one.
    """

    def __init__(
        self,
        ask: Callable[[], float] | None = None,
        *,
        wall: Callable[[], float] = _wall,
        steady: Callable[[], float] = _steady,
        memory: ClockMemory | None = None,
    ) -> None:
        """Only `memory` knows of the authority yet, whose time `ask` asks for (by default `wall` itself).

        All clocks are in seconds, `wall` and the authority's since 1970.
        """
        self._ask, self._wall, self._steady, self._memory = ask or wall, wall, steady, memory
        self._base = memory.base() if memory else None  # what `steady` lacks to the time
        self.drift: float | None = None
        """Seconds by which the machine's own clock was ahead of the authority's when last measured."""

    @property
    def settled(self) -> bool:
        """Whether the authority's time is known; until then nobody can say that another is wrong."""
        return self._base is not None

    def now(self) -> int:
        """The time in ms since 1970."""
        own = self._wall()
        if self._base is None:
            return int(own * 1000)
        carried = self._base + self._steady()
        return int((own if abs(own - carried) <= DRIFT_SECONDS else carried) * 1000)

    def look(self) -> None:
        """Ask the authority. Raises what `ask` raises."""
        asked = self._steady()
        said = self._ask()
        self.hear(said, seconds=self._steady() - asked)

    def hear(self, said: float, *, seconds: float) -> None:
        """Take the authority's time from an answer that took `seconds`; half the way is its age."""
        if self._base is not None and seconds > _SLOW_SECONDS:
            return
        answered = self._steady()
        base, own = said + seconds / 2 - answered, self._wall() - answered
        self.drift = own - base
        jumped = self._base is not None and abs(base - self._base) > DRIFT_SECONDS
        alone = jumped and self._base is not None and abs(own - self._base) <= DRIFT_SECONDS
        self._base = own if alone else base
        if self._memory is not None:
            self._memory.keep(self._base)
