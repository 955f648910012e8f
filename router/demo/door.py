"""Drives a world's visits through the HTTP doors, as a shop's servers would, on a simulated clock."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson

from switchpoint.analysis.simulation.shop import Floats, as_scores
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import PlatformError
from switchpoint.router.demo.plan import MODEL, START
from switchpoint.router.demo.visits import Traffic

# Predictions wait for Redis to sync its log, so many are under way at once; the server groups their events.
THREADS = 24
_BATCH = 400  # events of one POST /v1/events
_TRIES = 6
_KEPT = frozenset({"stored", "spooled", "duplicate"})


@dataclass(slots=True)
class Sent:
    """What was sent so far: visits, and events by what became of them."""

    visits: int = 0
    events: Counter[str] = field(default_factory=Counter)


class Door:
    """One keep-alive connection; not shared between threads."""

    def __init__(self, host: str, port: int) -> None:
        """Connects on first use."""
        self._connection = http.client.HTTPConnection(host, port, timeout=30)

    def post(self, path: str, body: object, *, clock: int) -> Any:
        """POST JSON at the simulated time `clock` (ms); tries again while the door is not there.

        Sending again is safe: every event carries its id.

        Raises:
            PlatformError: the door refused, or did not come back.
        """
        payload = orjson.dumps(body)
        headers = {"Content-Type": "application/json", "X-Switchpoint-Clock": str(clock)}
        for attempt in range(_TRIES):
            try:
                self._connection.request("POST", path, payload, headers)
                response = self._connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                problem = str(error)
            else:
                if response.status == http.client.OK:
                    return orjson.loads(answer)
                problem = f"{response.status} {answer[:300].decode(errors='replace')}"
                if response.status != http.client.SERVICE_UNAVAILABLE:
                    raise PlatformError(f"POST {path}: {problem}")
            time.sleep(0.1 * 2**attempt)
        raise PlatformError(f"POST {path}: {problem}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def drive(
    traffic: Traffic, address: tuple[str, int], days: Iterable[int], progress: Callable[[int, Sent], None]
) -> Sent:
    """Send the visits of these days, day by day; `progress(day, sent)` is called several times a second.

    Within a day a unit's visits keep their order: they all belong to one thread.

    Raises:
        PlatformError: an event was not kept, or the door went away for good.
    """
    sent, lock, stop = Sent(), threading.Lock(), threading.Event()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="shop") as pool:
        try:
            for day in days:
                shares = _shares(traffic, day)
                jobs = [pool.submit(_send, traffic, address, share, sent, lock, stop) for share in shares]
                while any(not job.done() for job in jobs):
                    progress(day, sent)
                    time.sleep(0.1)
                for job in jobs:
                    job.result()
                progress(day, sent)
        except BaseException:
            stop.set()
            raise
    lost = {status: n for status, n in sent.events.items() if status not in _KEPT}
    if lost:
        raise PlatformError(f"the door did not count every event: {lost}")
    return sent


def _shares(traffic: Traffic, day: int) -> list[list[int]]:
    """The day's visits, one list per thread, in time order."""
    shares: list[list[int]] = [[] for _ in range(THREADS)]
    begin, end = START + day * DAY_MS, START + (day + 1) * DAY_MS
    for visit, at in enumerate(traffic.times):
        if begin <= at < end:
            shares[traffic.units[visit] % THREADS].append(visit)
    return shares


def _send(
    traffic: Traffic,
    address: tuple[str, int],
    visits: Sequence[int],
    sent: Sent,
    lock: threading.Lock,
    stop: threading.Event,
) -> None:
    door = Door(*address)
    waiting: list[dict[str, Any]] = []
    try:
        for visit in visits:
            if stop.is_set():
                return
            answer = door.post(f"/v1/predict/{MODEL}", traffic.request(visit), clock=traffic.times[visit])
            waiting += traffic.events(visit, traffic.world.outcome(visit, _scores(answer)))
            with lock:
                sent.visits += 1
            if len(waiting) >= _BATCH:
                _report(door, waiting, sent, lock)
        _report(door, waiting, sent, lock)
    finally:
        door.close()


def _scores(answer: dict[str, Any]) -> Floats:
    if answer["recorded"] is None:
        raise PlatformError("a prediction could not be recorded")
    return as_scores(answer["prediction"])


def _report(door: Door, waiting: list[dict[str, Any]], sent: Sent, lock: threading.Lock) -> None:
    if not waiting:
        return
    items = door.post("/v1/events", {"events": waiting}, clock=max(e["at"] for e in waiting))["items"]
    waiting.clear()
    with lock:
        sent.events.update(item["status"] for item in items)
