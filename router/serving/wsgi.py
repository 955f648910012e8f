"""Composition root of a serving process: reads the environment, wires everything, returns the WSGI callable.

This is the one place that knows Redis and the model runtimes at once; under gevent it runs in a
worker after monkey-patching, so that ordinary threads are greenlets. Models compute in their own processes.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from gevent import monkey
from gevent.threadpool import ThreadPool

from switchpoint.experiment.errors import Conflict, StoreReverted, StoreUnavailable
from switchpoint.experiment.registry.records import Kind, Records
from switchpoint.experiment.store.database import Run, run_here
from switchpoint.experiment.store.known import StoreMemory, serving_folder
from switchpoint.experiment.store.redis.connection import ServerFinding, check_server, connect, server_time
from switchpoint.experiment.store.redis.days import newest_finding
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.http import problem
from switchpoint.router.http.body import BodyReader
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.models.fork_server import INHERITED, ForkServer
from switchpoint.router.models.isolated import IsolatedLoader
from switchpoint.router.models.model import Loader
from switchpoint.router.models.pool import CallPool, T, outcome_of
from switchpoint.router.models.runtime import Models
from switchpoint.router.models.trust import DEFAULT_PROFILES
from switchpoint.router.models.upstream import UpstreamLoader
from switchpoint.router.recording.clock import Clock, ClockMemory
from switchpoint.router.recording.drain import Drainer
from switchpoint.router.recording.gate import StoreGate
from switchpoint.router.recording.recorder import Recorder
from switchpoint.router.serving.app import Services, create_app
from switchpoint.router.serving.background import Background
from switchpoint.router.serving.doors.assign import PATH, AssignDoor
from switchpoint.router.serving.doors.predict import Predictor
from switchpoint.router.serving.settings import Settings
from switchpoint.router.snapshot import Document, SnapshotHolder

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

CLOCK_FILE = "clock.json"
SNAPSHOT_FILE = "snapshot.json"
SPOOL_FILE = "spool.sqlite"
_WAITING_CALLS = 64
# The rest of a load goes on beside serving. A pause reaches every worker within 2 s, a look is one a second.
_WARM_SECONDS = 0.5
_READ_ATTEMPTS = 5


class RecordsSource:
    """Snapshot documents from a project's records, as long as they are those that the directory knows."""

    def __init__(
        self,
        records: Records,
        memory: StoreMemory | None = None,
        *,
        exchanged: Callable[[], object] = lambda: None,
    ) -> None:
        """Read from `records`; `memory` is asked, and told, whenever they changed.

        `exchanged` hears of a store that has another identity than before, or was refused before.
        """
        self._records, self._memory, self._exchanged = records, memory, exchanged
        self._checked = ""
        self.store: str | None = None
        """Identity of the store seen last; "" without records, None where it is not the known one."""

    def stamp(self) -> str:
        """The store's identity, number and hash of its last audit entry. Raises as `SnapshotSource.stamp`."""
        head = self._records.head()
        identity = self._records.identity()
        stamp = f"{identity}:{head.seq}:{head.hash}"
        if stamp != self._checked:
            self._checked = ""
            if self._memory is not None:
                self._require(self._memory)
                self._kept(partial(self._memory.remember, self._records))
            if self.store != (identity or ""):
                self._exchanged()
            self._checked, self.store = stamp, identity or ""
        return stamp

    def _require(self, memory: StoreMemory) -> None:
        try:
            memory.require(self._records)
        except StoreReverted:
            self.store = None
            raise

    def remember_ledger(self, settings: Mapping[str, int]) -> None:
        """Keep the settings of the ledger, unless the store is not the known one."""
        if self._memory is not None and self.store is not None:
            self._kept(partial(self._memory.remember_ledger, settings))

    def _kept(self, keep: Callable[[], object]) -> None:
        try:
            keep()
        except OSError as error:
            _log.warning("what is known of the store cannot be kept on disk: %s", error)

    def document(self) -> Document:
        """All records of one revision; read again when a commit came in between."""
        for _ in range(_READ_ATTEMPTS):
            head = self._records.head()
            document = {
                "revision": head.seq,
                "experiments": [dict(d.body) for d in self._records.list(Kind.EXPERIMENT)],
                "champions": [dict(d.body) for d in self._records.list(Kind.CHAMPION)],
                "models": [dict(d.body) for d in self._records.list(Kind.MODEL)],
            }
            if self._records.head() == head:
                return document
        raise StoreUnavailable("the records change faster than they can be read")


class Application:
    """The WSGI callable of a worker: the one hot path goes to its door, everything else to `rest`.

    All answers get the security headers. The worker asks it whether it could take requests (`ready`), and
    says when it does (`open`).
    """

    def __init__(self, door: AssignDoor, rest: WSGIApplication, background: Background) -> None:
        """Answer by these; `background` knows what is missing."""
        self._door, self._rest = door, rest
        self.ready, self.open = background.ready, background.open

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, *problem.SECURITY_HEADERS], *error)

        return (self._door if environ["PATH_INFO"] == PATH else self._rest)(environ, start)


def create(settings: Settings | None = None) -> Application:
    """The application of one worker. Redis may be away: the last good snapshot is served then.

    Raises:
        BadInput: an environment variable is missing or wrong.
    """
    chosen = settings or Settings.read()
    client = connect(chosen.redis_url)
    ledger = RedisLedger(client, project=chosen.project, shards=chosen.shards, store=lambda: source.store)
    folder = serving_folder(chosen.data, chosen.project)
    clock = Clock(lambda: server_time(client), memory=ClockMemory(folder / CLOCK_FILE))
    metrics, gate = Metrics(), StoreGate()
    models = _models(chosen, metrics)
    # a full disk is no reason not to answer: /readyz says it, and the spool opens when there is room
    run = _beside_the_loop()
    spool = Spool(folder / SPOOL_FILE, chosen.spool_bytes, eager=False, run=run)

    def forget() -> None:
        """What is kept of the store in this process; it may be another store now."""
        ledger.forget()
        predictor.forget()

    source = RecordsSource(
        RedisRecords(client, project=chosen.project),
        StoreMemory(chosen.data, chosen.project, run=run),
        exchanged=forget,
    )
    holder = SnapshotHolder(
        source,
        folder / SNAPSHOT_FILE,
        prepare=lambda snapshot: models.warm(snapshot.live_versions(), seconds=_WARM_SECONDS),
        swapped=lambda snapshot: models.keep(snapshot.kept_versions()),
        run=run,
    )

    def renew() -> bool:
        return background.refresh()

    def inspect() -> list[ServerFinding]:
        found = check_server(client)
        with suppress(Conflict):  # a ledger in another form; recording says so
            found.append(newest_finding(ledger.days_ahead()))
            source.remember_ledger(ledger.settings())
        return found

    drainer = Drainer(
        ledger,
        spool,
        lambda: holder.current.plan,
        gate=gate,
        renew=renew,
        returned=forget,
        now=lambda: None if chosen.simulated_clock else clock.now(),
    )
    background = Background(
        holder,
        drainer,
        spool,
        gate,
        metrics,
        models,
        inspect=inspect,
        clock=clock,
    )
    recorder = Recorder(ledger, spool, lambda: holder.current.plan, gate=gate, renew=background.renew)
    predictor = Predictor(
        lambda: holder.current, models, recorder, metrics, deadline=chosen.deadline_ms / 1000
    )
    body = BodyReader()
    services = Services(
        holder=holder,
        predictor=predictor,
        recorder=recorder,
        metrics=metrics,
        readiness=background.readiness,
        body=body,
        clock=clock,
        simulated=chosen.simulated_clock,
    )
    recorder.start()
    background.start()
    atexit.register(recorder.stop)
    door = AssignDoor(lambda: holder.current, body, metrics)
    return Application(door, cast("WSGIApplication", create_app(services)), background)


def _beside_the_loop() -> Run:
    """How a file's work is done: under gevent by a thread of the system, for a slow disk would stop all."""
    if not monkey.is_module_patched("threading"):
        return run_here
    threads = ThreadPool(1)

    def run(work: Callable[[], T]) -> T:
        value, error = threads.apply(outcome_of, (work,))
        if error is not None:
            raise error
        return cast("T", value)

    return run


def _models(settings: Settings, metrics: Metrics) -> Models:
    control = os.environ.get(INHERITED)
    fork_server = ForkServer(int(control) if control else None)
    loaders: dict[str, Loader] = {
        "skops": IsolatedLoader(
            settings.data / "models", settings.profiles or DEFAULT_PROFILES, fork_server=fork_server
        ),
        "http": UpstreamLoader(private=settings.private_upstreams),
    }
    return Models(
        loaders,
        calls=CallPool(concurrent.futures.ThreadPoolExecutor(_WAITING_CALLS), _WAITING_CALLS),
        crashed=lambda version: metrics.crashes.labels(version.name, str(version.version)).inc(),
    )
