"""What changed, told as it happens (server-sent events), and how old that is which the pages show."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import BoundedSemaphore

from switchpoint.experiment.store.board import HEARTBEAT, WORKER, Board
from switchpoint.router.console.project import Project
from switchpoint.router.console.site import ago

LOOK_SECONDS = 1.0
TOLD_SECONDS = 15.0
LIFE_SECONDS = 600.0
"""A page connects again by itself; a tab that was forgotten does not keep a thread for ever."""
STREAMS = 150
"""Pages that are told at once, of the threads that the console has; others look by themselves."""
STALE_MS = 90_000
_streams = BoundedSemaphore(STREAMS)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the state is that pages show, in words, with the tone of a warning where it is too old."""

    says: str
    tone: str


def freshness(project: Project) -> Freshness:
    """What every page says first."""
    heartbeat = project.board.get(WORKER, HEARTBEAT)
    if heartbeat is None:
        return Freshness("The worker has not reported yet: `switchpoint worker` fills these pages.", "warn")
    age = project.wall_clock() - heartbeat.at
    if age > STALE_MS:
        return Freshness(
            f"The worker has not reported for {ago(age)}: what you see is the last known state, not that of "
            "now. Start `switchpoint worker` again.",
            "bad",
        )
    problems = heartbeat.body["problems"]
    if problems:
        return Freshness(f"Last known state, from before a fault: {problems[0]}", "bad")
    return Freshness("Kept fresh by the worker; nothing is older than a minute.", "muted")


def changes(
    board: Board,
    *,
    also: Callable[[], object] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[str, None, None]:
    """The stream of one page: `changed` whenever the board did, and a word now and then that it is there.

    `also`: of a page that shows more than the board, what is another value whenever that changed.
    """

    def look() -> tuple[int, object]:
        return board.changed(), None if also is None else also()

    if not _streams.acquire(blocking=False):
        yield f"retry: {TOLD_SECONDS * 1000:.0f}\n\n"  # the page looks for itself, and asks again
        return
    try:
        begun = told = clock()
        seen = look()
        yield "retry: 2000\n\n"
        while clock() - begun < LIFE_SECONDS:
            sleep(LOOK_SECONDS)
            now = look()
            if now != seen:
                seen, told = now, clock()
                yield f"event: changed\ndata: {now[0]}\n\n"
            elif clock() - told > TOLD_SECONDS:
                told = clock()
                yield ": here\n\n"
    finally:
        _streams.release()
