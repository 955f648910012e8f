"""Everything needed to answer, compiled once per project revision, immutable, swapped in one assignment.

A snapshot is built from a document (the stored records as they are), which also travels to Python clients
and lies on disk as the last good copy. Looking at the store is the holder's background business; answering
never does.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from switchpoint.experiment.assignment.assign import Assignment, Compiled, Reason
from switchpoint.experiment.assignment.assign import compile as compile_state
from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import (
    AccessDenied,
    NotFound,
    PlatformError,
    StoreReverted,
    StoreUnavailable,
    SwitchpointError,
)
from switchpoint.experiment.language.document import canonical, from_body
from switchpoint.experiment.ledger.fold import LedgerPlan, ledger_plan
from switchpoint.experiment.registry import lifecycle
from switchpoint.experiment.registry.champion import Champion, compile_champion
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.experiment.store.database import Run, run_here

_log = logging.getLogger(__name__)

ChampionOf = Callable[[Mapping[str, Any]], ModelRef | None]
Document = Mapping[str, Any]


def _nobody(_attributes: Mapping[str, Any]) -> ModelRef | None:
    return None


class Entry:
    """One experiment ready to assign; whoever is not enrolled gets the champion of their segment."""

    __slots__ = ("_champion_of", "_compiled", "_error", "_replaced", "state")

    def __init__(self, state: ExperimentState, champion_of: ChampionOf) -> None:
        """Compile a state."""
        self.state, self._champion_of = state, champion_of
        self._compiled: Compiled = compile_state(state)
        self._replaced: dict[tuple[Assignment, ModelRef], Assignment] = {}
        control = state.definition.control
        self._error = Assignment(
            experiment=state.key,
            variant=control.key,
            model=control.model,
            segment=None,
            propensity=None,
            reason=Reason.ERROR,
            revision=state.revision,
            epoch=state.epoch.number if state.epoch else 0,
            enrolled=False,
        )

    def assign(self, unit: str, attributes: Mapping[str, Any]) -> Assignment:
        """The unit's assignment; control with ERROR should anything go wrong inside."""
        try:
            found = self._compiled.assign(unit, attributes)
            return found if found.enrolled else self._with_champion(found, attributes)
        except Exception:  # noqa: BLE001 - an experiment may not take the product down
            _log.exception("assignment in %s failed, control is served", self.state.key)
            return self._error

    @property
    def refused(self) -> Assignment:
        """Control with ERROR, for a call that cannot be evaluated."""
        return self._error

    def _with_champion(self, found: Assignment, attributes: Mapping[str, Any]) -> Assignment:
        champion = self._champion_of(attributes)
        if champion is None or champion == found.model:
            return found
        key = (found, champion)
        if key not in self._replaced:
            self._replaced[key] = replace(found, model=champion)
        return self._replaced[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One project revision; `running` are the keys that enrol, `by_model` those of each model.

    `live` are the versions a call may need: of running experiments' variants and of champions. `former` are
    the champions that promotions replaced, who answer while their successors cannot; `spare` their versions.
    """

    revision: int
    document: Document
    etag: str
    entries: Mapping[str, Entry]
    running: tuple[str, ...]
    by_model: Mapping[str, tuple[Entry, ...]]
    champions: Mapping[str, ChampionOf]
    former: Mapping[str, ChampionOf]
    versions: Mapping[ModelRef, ModelVersion]
    live: tuple[ModelRef, ...]
    spare: tuple[ModelRef, ...]
    plan: LedgerPlan

    @classmethod
    def build(
        cls,
        states: Sequence[ExperimentState],
        champions: Sequence[Champion],
        versions: Sequence[ModelVersion],
        revision: int,
        *,
        document: Document | None = None,
    ) -> Snapshot:
        """Compile. `document` is kept for clients and the copy on disk."""
        of_model = {champion.model: compile_champion(champion) for champion in champions}
        replaced = [champion.predecessor for champion in champions if champion.predecessor]
        entries = {s.key: Entry(s, of_model.get(s.definition.model or "", _nobody)) for s in states}
        running = [entry for entry in entries.values() if entry.state.status is Status.RUNNING]
        models = sorted({entry.state.definition.model for entry in running} - {None}, key=str)
        kept = document or {}
        return cls(
            revision=revision,
            document=kept,
            etag=f'"{revision}-{sha256(canonical(kept).encode()).hexdigest()[:16]}"',
            entries=entries,
            running=tuple(entry.state.key for entry in running),
            by_model={
                str(model): tuple(e for e in running if e.state.definition.model == model) for model in models
            },
            champions=of_model,
            former={champion.model: compile_champion(champion) for champion in replaced},
            versions={ModelRef(v.name, v.version): v for v in versions},
            live=_live(running, champions),
            spare=_live([], replaced),
            plan=ledger_plan([s for s in states if s.status is not Status.DRAFT]),
        )

    @classmethod
    def from_document(cls, document: Document) -> Snapshot:
        """Compile from `{"revision", "experiments", "champions", "models"}` with the stored bodies.

        Raises:
            BadInput: a body is not what its type says.
        """
        return cls.build(
            [lifecycle.from_document(body) for body in document["experiments"]],
            [from_body(Champion, body) for body in document["champions"]],
            [from_body(ModelVersion, body) for body in document["models"]],
            int(document["revision"]),
            document=document,
        )

    @classmethod
    def empty(cls) -> Snapshot:
        """No experiment and no model: what a process serves that has never seen its store."""
        return cls.build([], [], [], 0)

    def require(self) -> None:
        """Raise StoreUnavailable if this is the empty one: nothing can be said before the store was read."""
        if not self.document:
            raise StoreUnavailable("no snapshot yet: the store was not reached since this process started")

    def entry(self, experiment: str) -> Entry:
        """One experiment. Raises NotFound."""
        try:
            return self.entries[experiment]
        except KeyError:
            raise NotFound(
                f"no experiment {experiment[:100]!r}",
                field="experiments",
                value=experiment,
                fix="see `switchpoint list`",
            ) from None

    def route(
        self, model: str, unit: str, attributes: Mapping[str, Any]
    ) -> tuple[Assignment | None, ModelRef | None]:
        """Who answers for a model: the running experiment that enrols the unit, else the champion.

        Returns the assignment (None when no experiment runs on the model) and the model version.
        """
        last: Assignment | None = None
        for entry in self.by_model.get(model, ()):
            last = entry.assign(unit, attributes)
            if last.enrolled:
                return last, last.model
        champion_of = self.champions.get(model)
        champion = champion_of(attributes) if champion_of else None
        return last, champion or (last.model if last else None)

    def control_of(self, experiment: str) -> ModelRef | None:
        """The control's model version."""
        return self.entries[experiment].state.definition.control.model

    def live_versions(self) -> list[ModelVersion]:
        """The live versions, as far as the registry has them."""
        return [self.versions[ref] for ref in self.live if ref in self.versions]

    def kept_versions(self) -> list[ModelVersion]:
        """The live and the spare versions, as far as the registry has them: what is loaded of these stays."""
        return [self.versions[ref] for ref in dict.fromkeys(self.live + self.spare) if ref in self.versions]

    def unregistered(self) -> list[ModelRef]:
        """The live versions that the registry does not have."""
        return [ref for ref in self.live if ref not in self.versions]


def _live(running: Sequence[Entry], champions: Sequence[Champion]) -> tuple[ModelRef, ...]:
    wanted = {variant.model for entry in running for variant in entry.state.definition.variants}
    for champion in champions:
        numbers = {rule.version for rule in champion.assignments} | {champion.default}
        wanted |= {ModelRef(champion.model, number) for number in numbers if number is not None}
    return tuple(sorted(filter(None, wanted), key=str))


class SnapshotSource(Protocol):
    """Where snapshots come from: the records of a project, or a serving process over HTTP."""

    def stamp(self) -> str:
        """What changes with every revision, and only then.

        Raises:
            StoreUnavailable: it does not answer (AccessDenied: not to this process).
            StoreReverted: it is not the store whose snapshots were read before.
        """
        ...

    def document(self) -> Document:
        """The snapshot document, not older than the last stamp. Raises StoreUnavailable."""
        ...


class SnapshotHolder:
    """The current snapshot. `refresh` is called from the background about once a second."""

    def __init__(
        self,
        source: SnapshotSource,
        path: Path | None = None,
        *,
        prepare: Callable[[Snapshot], None] = lambda _: None,
        swapped: Callable[[Snapshot], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        run: Run = run_here,
    ) -> None:
        """Start from the last good copy at `path` if there is one.

        `prepare` hears of every new snapshot before it is served (models are loaded there), `swapped` after;
        `run` writes the copy.
        """
        self._source, self._path, self._clock = source, path, clock
        # By process: a child's would be locked for ever where a thread of its parent was looking at the fork.
        self._looking: dict[int, threading.Lock] = {}
        self._prepare, self._swapped, self._run = prepare, swapped, run
        self.stale_since: float | None = clock()
        self.loaded = False
        self.fault: str | None = None  # why the store's newest revision cannot be compiled
        self.refusal: str | None = None  # why a store that answers cannot be used, while that is so
        self._stamp: str | None = None  # the copy on disk has none: it may be of another store
        self.current = Snapshot.empty()
        copy = load_copy(path) if path else None
        if copy is not None:
            self._swap(copy)

    def refresh(self) -> bool:
        """Look for a new revision; False (and stale) when the source is away. Never raises."""
        # who looks at once with another might put an older snapshot in its place
        with self._looking.setdefault(os.getpid(), threading.Lock()):
            return self._look()

    def _look(self) -> bool:
        try:
            stamp = self._source.stamp()
            if stamp != self._stamp:
                document = self._source.document()
                if not self.loaded or document != self.current.document:
                    self._take(document)
                self._stamp = stamp
        except (StoreReverted, AccessDenied) as error:
            if self.refusal is None:
                _log.error("the last good snapshot stays, events go to the spool: %s", error)
            self.refusal, self._stamp = str(error), None
            self.stale_since = self.stale_since or self._clock()
            return False
        except StoreUnavailable as error:
            if self.stale_since is None:
                _log.warning("the snapshot cannot be refreshed: %s", error)
                self.stale_since = self._clock()
            return False
        except Exception as error:  # noqa: BLE001 - a thread that refreshes must outlive any answer
            if repr(error) != self.fault:  # the same fault comes back with every look
                _log.exception("a new revision cannot be compiled, the last good snapshot stays")
            self.fault = repr(error)
            self.stale_since = self.stale_since or self._clock()
            return False
        self.stale_since = self.refusal = self.fault = None
        return True

    @property
    def stale_seconds(self) -> float:
        """How long the snapshot has not been known to be current; 0 while it is."""
        return 0.0 if self.stale_since is None else self._clock() - self.stale_since

    def _take(self, document: Document) -> None:
        self._swap(Snapshot.from_document(document))
        if self._path:
            try:
                self._run(partial(save_copy, self._path, document))
            except OSError as error:
                _log.warning("the last good snapshot cannot be kept on disk: %s", error)

    def _swap(self, snapshot: Snapshot) -> None:
        self._prepare(snapshot)
        self.current, self.loaded = snapshot, True
        self._swapped(snapshot)


def save_copy(path: Path, document: Document) -> None:
    """Write document and digest beside each other in one file, replacing the old one atomically."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = canonical(document)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(f"{sha256(text.encode()).hexdigest()}\n{text}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o600)
    draft.replace(path)


def load_copy(path: Path) -> Snapshot | None:
    """The snapshot of the last good copy; None when there is none, or it is not what its digest says."""
    try:
        digest, text = path.read_text(encoding="utf-8").split("\n")[:2]
        if sha256(text.encode()).hexdigest() != digest:
            raise PlatformError("its digest differs")
        return Snapshot.from_document(json.loads(text))
    except FileNotFoundError:
        return None
    except (SwitchpointError, OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        _log.warning("the snapshot copy %s is ignored: %s", path, error)
        return None
