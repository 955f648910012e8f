"""The project behind the console: its records and ledger, the worker's board, and what time it is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from switchpoint.experiment.errors import StoreUnavailable, SwitchpointError
from switchpoint.experiment.registry.audit import AuditEntry
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.store.accounts import Accounts, accounts_path
from switchpoint.experiment.store.board import HEARTBEAT, WORKER, Board, board_path
from switchpoint.experiment.store.journal import export, journal_path
from switchpoint.experiment.store.known import StoreMemory
from switchpoint.experiment.store.redis.connection import connect
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 5.0


class Project:
    """One project as the console uses it; threads may share it."""

    def __init__(self, *, redis_url: str, data: Path, name: str, simulated: bool = False) -> None:
        """Nothing is read before it is asked for; `simulated`: the time is that of the newest event."""
        self.name, self.data, self._url, self._simulated = name, data, redis_url, simulated
        self._ledger_lock = threading.Lock()

    @cached_property
    def board(self) -> Board:
        """What the worker wrote: the last known state of everything."""
        return Board(board_path(self.data, self.name))

    @property
    def catalog(self) -> Catalog:
        """What is on record.

        Raises:
            StoreUnavailable: the store is away.
            StoreReverted: it is not the one the data directory knows.
        """
        return Catalog(self.records)

    @property
    def records(self) -> RedisRecords:
        """The documents behind the catalog; raises the same."""
        self._memory.require(self._records)
        return self._records

    def entry(self, number: str | None) -> AuditEntry | None:
        """The audit entry of this number, of what was just done; None where the text is no number of one."""
        if not number or not number.isdecimal() or len(number) > 12 or int(number) < 1:
            return None
        return next(self.records.audit(int(number) - 1), None)

    @contextmanager
    def ledger(self) -> Iterator[RedisLedger]:
        """The ledger, for one caller at a time, and without what it read of a store that may have been
        exchanged since."""
        with self._ledger_lock:
            self._ledger.forget()
            yield self._ledger

    def now(self) -> int:
        """The time in ms UTC; of a simulated project that of its newest event, as the worker told."""
        heartbeat = self.board.get(WORKER, HEARTBEAT) if self._simulated else None
        clock = None if heartbeat is None else heartbeat.body["clock"]
        return self.wall_clock() if clock is None else int(clock)

    @staticmethod
    def wall_clock() -> int:
        """The time of this machine in ms UTC: of sessions, and of how old something is."""
        return time.time_ns() // 1_000_000

    def export(self) -> None:
        """Write new records to the journal. A journal that cannot be written is logged and changes nothing:
        the records are the truth, the next change exports again."""
        try:
            export(self._records, journal_path(self.data, self.name))
            self._memory.remember(self._records)
        except StoreUnavailable:
            return
        except (SwitchpointError, OSError) as error:
            _log.warning("the journal was not written: %s", error)

    @cached_property
    def accounts(self) -> Accounts:
        """Who may use the console."""
        return Accounts(accounts_path(self.data, self.name))

    @cached_property
    def _client(self) -> Any:
        return connect(self._url, timeout=_TIMEOUT_SECONDS)

    @cached_property
    def _records(self) -> RedisRecords:
        return RedisRecords(self._client, self.name)

    @cached_property
    def _ledger(self) -> RedisLedger:
        return RedisLedger(self._client, self.name)

    @cached_property
    def _memory(self) -> StoreMemory:
        return StoreMemory(self.data, self.name)
