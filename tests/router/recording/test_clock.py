"""What time a gateway takes it to be when its own clock, the store's, or both are wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from switchpoint.experiment.errors import StoreUnavailable
from switchpoint.router.http.body import BodyReader
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.recording import clock as module
from switchpoint.router.recording.clock import CLOCK_HEADER, Clock, ClockMemory
from switchpoint.router.serving.app import Services, create_app

DAY = 86_400.0
TRUTH = 1_800_000_000.0


@dataclass
class Machines:
    """A gateway and its authority, each with a clock that may be wrong by some seconds; `later` passes time."""

    gateway: float = 0.0
    store: float = 0.0
    passed: float = 0.0
    memory: ClockMemory | None = None
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.away, self.seconds = False, 0.0
        self.clock = Clock(
            self._answer,
            wall=lambda: TRUTH + self.passed + self.gateway,
            steady=lambda: 5.0 + self.passed,
            memory=self.memory,
        )

    def _answer(self) -> float:
        if self.away:
            raise StoreUnavailable("away")
        self.passed += self.seconds / 2
        said = TRUTH + self.passed + self.store
        self.passed += self.seconds / 2
        return said

    def look(self, *, seconds: float = 0.0) -> None:
        """Ask the authority, which is `seconds` away and back."""
        self.seconds = seconds
        self.clock.look()

    @property
    def wrong(self) -> float:
        """Seconds by which the clock in use is wrong."""
        return round(self.clock.now() / 1000 - TRUTH - self.passed, 3)


@pytest.mark.parametrize("gateway", [0, 1.5, -1.5])
def test_the_own_clock_counts_while_it_agrees(gateway: float) -> None:
    machines = Machines(gateway=gateway)
    machines.look()
    assert machines.wrong == gateway
    assert machines.clock.drift == gateway


@pytest.mark.parametrize("gateway", [600, -600, 30 * DAY, -4 * DAY, 2.5])
def test_a_gateway_with_a_wrong_clock_takes_the_stores(gateway: float) -> None:
    machines = Machines(gateway=gateway)
    assert machines.wrong == gateway  # before it has seen its store it knows no better
    machines.look(seconds=0.4)
    assert machines.wrong == 0
    machines.passed += 3600
    assert machines.wrong == 0
    assert machines.clock.drift == pytest.approx(gateway)


def test_a_gateway_that_jumps_between_two_looks_notices_nothing() -> None:
    machines = Machines()
    machines.look()
    for jump in (30 * DAY, -4 * DAY, 0.0):
        machines.gateway = jump
        assert machines.wrong == 0
        machines.look()
        assert (machines.wrong, machines.clock.drift) == (0, jump)


@pytest.mark.parametrize("jump", [2 * DAY, -4 * DAY])
def test_a_store_that_jumps_alone_is_not_followed_and_the_drift_is_shown(jump: float) -> None:
    machines = Machines()
    machines.look()
    machines.store = jump
    for _ in range(3):
        machines.passed += 1
        machines.look()
        assert (machines.wrong, machines.clock.drift) == (0, -jump)
    machines.store = 0
    machines.look()
    assert machines.wrong == 0


def test_a_store_that_was_wrong_and_is_set_right_is_followed() -> None:
    machines = Machines(store=3 * DAY)
    machines.look()
    assert machines.wrong == 3 * DAY
    machines.store = 0
    machines.look()
    assert machines.wrong == 0


def test_a_machine_whose_steady_clock_slept_trusts_the_store() -> None:
    machines = Machines(gateway=-600)
    machines.look()
    machines.clock._steady = lambda: machines.passed - 8 * 3600  # as if it had stood still for 8 hours
    assert machines.wrong < -8 * 3600
    machines.look()
    assert machines.wrong == 0


def test_a_slow_answer_or_none_changes_nothing() -> None:
    machines = Machines(gateway=600)
    machines.look()
    machines.store = -30
    machines.look(seconds=1.5)
    assert machines.wrong == 0

    machines.away = True
    with pytest.raises(StoreUnavailable):
        machines.look()
    assert machines.wrong == 0


def test_a_worker_that_starts_without_its_store_knows_what_others_knew(tmp_path: Path) -> None:
    """Also a second later and where the machine's own clock was set meanwhile."""
    path = tmp_path / "clock.json"
    first = Machines(memory=ClockMemory(path))
    assert not first.clock.settled
    first.look()
    second = Machines(gateway=-600, passed=1.0, memory=ClockMemory(path))
    second.away = True
    assert second.clock.settled
    assert second.wrong == 0
    second.away = False
    second.look()
    assert (second.wrong, second.clock.drift) == (0, -600)
    second.store = second.gateway = 3 * DAY  # both were set: the next one hears of it
    second.look()
    assert Machines(gateway=3 * DAY, passed=1.0, memory=ClockMemory(path)).wrong == 3 * DAY


def test_what_was_known_before_the_machine_started_counts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, boot = tmp_path / "clock.json", tmp_path / "boot"
    monkeypatch.setattr(module, "_BOOT_ID", boot)
    for start, known in (("one", False), ("one", True), ("two", False)):
        boot.write_text(start)
        assert (ClockMemory(path).base() is not None) is known
        ClockMemory(path).keep(7.0)
    path.write_text("{")
    assert ClockMemory(path).base() is None
    boot.unlink()
    ClockMemory(path).keep(8.0)
    assert path.read_text() == "{"


def test_a_clock_that_cannot_be_kept_is_done_without(tmp_path: Path) -> None:
    memory = ClockMemory(tmp_path / "nowhere" / "clock.json")
    memory.keep(7.0)
    assert memory.base() is None
    (tmp_path / "nowhere").mkdir()
    memory.keep(7.0)
    assert memory.base() == 7.0


def test_a_small_change_is_not_written(tmp_path: Path) -> None:
    memory = ClockMemory(tmp_path / "clock.json")
    for base, kept in ((7.0, 7.0), (7.4, 7.0), (6.6, 7.0), (7.5, 7.5)):
        memory.keep(base)
        assert memory.base() == kept


def test_the_doors_take_the_time_of_the_clock() -> None:
    """A gateway that is behind refuses no good event; one that is ahead dates its exposures rightly."""
    asked: list[int | None] = []

    class Recorder:
        def submit(self, _raws: object, *, now: int | None) -> list[Any]:
            asked.append(now)
            return []

    class Predictor:
        def predict(self, *_: object, at: int, **__: object) -> object:
            asked.append(at)
            raise StoreUnavailable("enough")

    machines = Machines(gateway=30 * DAY)
    services = cast("Any", Services)(
        holder=None, predictor=Predictor(), recorder=Recorder(), metrics=Metrics(), readiness=dict,
        body=BodyReader(), clock=machines.clock,
    )  # fmt: skip
    client = create_app(services).test_client()
    before = client.post("/v1/events", data=b"[]")
    assert (asked.pop(), before.headers.get(CLOCK_HEADER)) == (None, None)  # nobody is wrong yet
    machines.look()
    client.post("/v1/events", data=b"[]")
    client.post("/v1/predict/ranker", data=b'{"unit": "u", "inputs": []}')
    assert asked == [int(TRUTH * 1000)] * 2
