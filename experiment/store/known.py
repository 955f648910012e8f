"""Whether a store is the one its data directory knows: a store that comes back empty or older looks healthy.

The directory keeps the store's identity and the last audit entry it has seen, beside the snapshot of the
serving processes. The audit chain makes that enough: a store that continues it has every record there was.
It keeps the settings of the ledger too, which are in no record, for the ledger that is counted anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from switchpoint.experiment.errors import Corrupt, StoreReverted
from switchpoint.experiment.registry.records import Records
from switchpoint.experiment.store.database import Run, run_here
from switchpoint.experiment.store.journal import journal_head, journal_path

KNOWN_FILE = "store.json"


def serving_folder(data: Path, project: str) -> Path:
    """Where a project's serving processes keep their files: snapshot, spool, what is known of the store."""
    return data / "serving" / project


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownStore:
    """A store as it was last seen: its identity (None before its first commit) and its last audit entry.

    `ledger` are the settings of its ledger by name, none where no event was seen.
    """

    identity: str | None
    revision: int
    hash: str
    ledger: Mapping[str, int] = field(default_factory=dict)


class StoreMemory:
    """What a data directory knows of the store of one project."""

    def __init__(self, data: Path, project: str, *, run: Run = run_here) -> None:
        """Nothing is read or written before the first call; `run` writes the file."""
        self._run = run
        self._path = serving_folder(data, project) / KNOWN_FILE
        self._journal = journal_path(data, project)

    def known(self) -> KnownStore | None:
        """The store as last seen, else as far as the exported journal goes; None where there is neither."""
        try:
            return KnownStore(**json.loads(self._path.read_bytes()))
        except (OSError, ValueError, TypeError):
            pass  # none yet, or cut short by a crash: the journal knows nearly as much
        try:
            head = journal_head(self._journal)
        except (OSError, Corrupt):
            return None
        return KnownStore(identity=None, revision=head.seq, hash=head.hash) if head.seq else None

    def contradiction(self, records: Records) -> str | None:
        """Why these records cannot be those of the known store, with the fix; None when they continue them.

        A store of another identity that has the known entries was restored: that is no contradiction.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        known = self.known()
        if known is None or known.revision == 0:
            return None
        head = records.head()
        seen = f"this data directory has seen it at revision {known.revision}"
        if head.seq < known.revision:
            state = f"at revision {head.seq}" if head.seq else "empty"
            return f"the store is {state}, but {seen}: it was emptied, replaced or rolled back. {self._fix()}"
        there = head.hash if head.seq == known.revision else _hash_of(records, known.revision)
        if there != known.hash:
            return f"the store has another history: {seen}, with other records. {self._fix()}"
        return None

    def require(self, records: Records) -> None:
        """Raise StoreReverted where `contradiction` finds one."""
        found = self.contradiction(records)
        if found is not None:
            raise StoreReverted(found)

    def remember(self, records: Records) -> None:
        """Keep what the store is now. For a store that was checked, or that is wanted as it is (`restore`).

        Raises:
            OSError: the file cannot be written.
            StoreUnavailable: the store does not answer.
        """
        head, known = records.head(), self.known()
        ledger = known.ledger if known else {}
        now = KnownStore(identity=records.identity(), revision=head.seq, hash=head.hash, ledger=ledger)
        if head.seq and now != known:
            self._run(partial(self._keep, now))

    def remember_ledger(self, settings: Mapping[str, int]) -> None:
        """Keep the settings of the known store's ledger. Of its records nothing is said, nor asked: they may
        have been replaced since they were looked at.

        Raises:
            OSError: the file cannot be written.
        """
        known = self.known()
        if known is not None and settings not in ({}, known.ledger):
            self._run(partial(self._keep, replace(known, ledger=settings)))

    def _keep(self, now: KnownStore) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with draft.open("w", encoding="ascii") as file:
            json.dump(asdict(now), file)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o600)
        draft.replace(self._path)

    def _fix(self) -> str:
        journal = self._journal if self._journal.exists() else "JOURNAL"
        return (
            f"Fix: connect the right store; where its records are lost, `switchpoint restore {journal}` "
            "rebuilds them; a new store on purpose needs a data directory of its own (--data)"
        )


def _hash_of(records: Records, seq: int) -> str | None:
    entry = next(records.audit(seq - 1), None)
    return entry.hash if entry else None
