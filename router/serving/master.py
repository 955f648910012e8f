"""The gunicorn master: a reload replaces the workers without a moment in which nobody serves.

gunicorn's own ends the old workers when it forks the new ones, which then still have to import, to read the
store and to load models. Here the elder ones serve until as many younger ones do, and where these do not get
ready, or end, the elder ones stay.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from switchpoint.experiment.store.embedded.process import alive

RELOAD_SECONDS = 60.0
"""Younger workers that are not ready by then are given up."""
JOIN_SECONDS = 10.0
"""A worker beside others that is not ready by then serves as it is."""
_ORPHANED_SECONDS = 2


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no annotations
    """What gunicorn runs (`python -m switchpoint.router.serving.master`)."""

    def __init__(self, app: Any) -> None:
        """As gunicorn makes it."""
        super().__init__(app)
        self._owner = os.getppid()
        self._elders: set[int] = set()  # serve until the younger ones do
        self._leaving: set[int] = set()  # finish what is under way
        self._until = 0.0

    def handle_hup(self) -> None:
        """Begin a reload; one that is under way begins anew with what is on disk now."""
        self.log.info("reloading")
        self.app.reload()
        self.setup(self.app)
        self.log.reopen_files()
        staying = self.WORKERS.keys() - self._leaving
        self._elders = self._elders or staying
        self._leave(staying - self._elders)
        self._until = time.monotonic() + RELOAD_SECONDS

    def manage_workers(self) -> None:
        """Fork workers that are missing, end those that are too many; called once a second at least."""
        self._elders &= self.WORKERS.keys()
        self._leave(self._leaving & self.WORKERS.keys())  # a worker just forked does not hear it yet
        young = sorted(self.WORKERS.keys() - self._leaving - self._elders, key=self._age)
        for _ in range(self.num_workers - len(young)):
            young.append(self.spawn_worker())
        if self._elders and all(self.WORKERS[pid].serves() for pid in young):
            self._leave(self._elders)
            self._elders = set()
        elif self._elders and time.monotonic() > self._until:
            self._give_up(f"the younger workers were not ready within {RELOAD_SECONDS:g} s")
        elif not self._elders:
            self._leave(set(young[: -self.num_workers]))

    def patience(self) -> float:
        """How long the next worker waits until it is ready. One serves at once: somebody has to answer."""
        if any(other.serves() or other.patience == 0 for other in self.WORKERS.values()):
            return RELOAD_SECONDS if self._elders else JOIN_SECONDS
        return 0.0

    def reap_workers(self) -> None:
        """Bury the dead; one that could not start ends the service, unless elder ones serve."""
        before = dict(self.WORKERS)
        try:
            super().reap_workers()
        except HaltServer as halt:
            dead = before.keys() - self.WORKERS.keys()
            if not dead <= self._leaving:
                if not self._elders & self.WORKERS.keys():
                    raise
                self._give_up(f"a younger worker did not start: {halt.reason}")
            for pid in dead:
                self.cfg.child_exit(self, before[pid])
            self.reap_workers()  # there may be more of them

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """End all workers; quickly where whoever started us was killed, for he is started again."""
        if os.getppid() != self._owner or not alive(self._owner):  # it dies thread by thread
            self.cfg.set("graceful_timeout", _ORPHANED_SECONDS)
        super().stop(graceful)

    def _give_up(self, why: str) -> None:
        self.log.error("the reload is given up, the workers stay: %s", why)
        self._leave(self.WORKERS.keys() - self._leaving - self._elders)
        self._elders = set()

    def _leave(self, pids: set[int]) -> None:
        self._leaving = pids | self._leaving & self.WORKERS.keys()
        for pid in pids:
            self.kill_worker(pid, signal.SIGTERM)

    def _age(self, pid: int) -> int:
        return int(self.WORKERS[pid].age)


class _Application(WSGIApplication):  # type: ignore[misc]  # gunicorn has no annotations
    def run(self) -> None:
        Master(self).run()


if __name__ == "__main__":
    _Application("%(prog)s [OPTIONS] [APP_MODULE]").run()
