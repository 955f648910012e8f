"""Model calls: deadlines, bounded pools, breakers, loading in the background."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from switchpoint.experiment.registry.model import Format, ModelVersion
from switchpoint.router.models.breaker import Breaker
from switchpoint.router.models.model import Cause, InputsRefused, LoadedModel, ModelFailure
from switchpoint.router.models.pool import CallPool, _Slots
from switchpoint.router.models.runtime import Models
from tests.waiting import HUNG, until


class Scripted:
    """A loaded model that runs a function."""

    def __init__(self, work: Callable[[object], object]) -> None:
        self.work = work

    def predict(self, inputs: object, deadline: float) -> object:
        return self.work(inputs)

    def ended(self) -> bool:
        return False


class ScriptedLoader:
    keeps_deadlines = False

    def __init__(self) -> None:
        self.works: dict[str, Callable[[object], object]] = {}
        self.loads: list[str] = []
        self.loading: Callable[[], object] = lambda: None

    def load(self, version: ModelVersion) -> LoadedModel:
        self.loads.append(version.digest)
        self.loading()
        return Scripted(self.works[version.digest])


def version(digest: str) -> ModelVersion:
    return ModelVersion(
        name=digest, version=1, digest=digest, format=Format.SKOPS, created_at=0, created_by="t"
    )


class Rig:
    def __init__(self, size: int = 3) -> None:
        self.loader = ScriptedLoader()
        self.executor = ThreadPoolExecutor(16)  # more threads than slots: loads run beside calls
        self.models = Models({"skops": self.loader}, calls=CallPool(self.executor, size))

    def add(self, digest: str, work: Callable[[object], object]) -> ModelVersion:
        self.loader.works[digest] = work
        return version(digest)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.executor.shutdown()


def cause(call: Callable[[], object]) -> Cause:
    with pytest.raises(ModelFailure) as caught:
        call()
    return caught.value.cause


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still: a busy machine uses up no deadline before the model is called."""
    for module in ("pool", "runtime"):
        monkeypatch.setattr(
            f"switchpoint.router.models.{module}.time", SimpleNamespace(monotonic=lambda: 0.0)
        )


def test_answer_comes_back(rig: Rig) -> None:
    assert rig.models.call(rig.add("a", lambda x: [x, 1]), 5, HUNG) == [5, 1]
    assert rig.models.call(version("a"), 6, HUNG) == [6, 1]
    assert rig.loader.loads == ["a"]


def test_a_load_that_outlasts_the_warm_up_is_seen_without_a_call(rig: Rig) -> None:
    """Readiness says `loaded` as soon as it is, not when somebody happens to ask for a prediction."""
    slow, go_on = rig.add("slow", lambda x: x), threading.Event()
    rig.loader.loading = lambda: go_on.wait(HUNG)
    rig.models.warm([slow], seconds=0.01)
    assert rig.models.facts()["not_loaded"] == ["slow@1"]
    go_on.set()
    until(lambda: not rig.models.facts()["not_loaded"])
    assert rig.models.facts() == {"loaded": ["slow@1"], "not_loaded": [], "quarantined": [], "held_back": []}


def test_slow_model_costs_its_caller_the_deadline_and_no_more(rig: Rig, still: None) -> None:
    """The caller is told while the model still computes."""
    go_on, ended = threading.Event(), threading.Event()

    def compute(_: object) -> None:
        go_on.wait(HUNG)
        ended.set()

    slow = rig.add("slow", compute)
    rig.models.warm([slow], seconds=HUNG)
    assert cause(lambda: rig.models.call(slow, 1, 0.05)) is Cause.TIMEOUT
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(HUNG)


def test_stuck_model_cannot_take_every_slot(rig: Rig, still: None) -> None:
    """With all its slots stuck, other models still answer."""
    release = threading.Event()
    stuck, good = rig.add("stuck", lambda _: release.wait(HUNG)), rig.add("good", lambda x: x)
    rig.models.warm([stuck, good], seconds=HUNG)
    for expected in (Cause.TIMEOUT, Cause.TIMEOUT, Cause.BUSY):
        assert cause(lambda: rig.models.call(stuck, 1, 0.05)) is expected
    assert rig.models.call(good, 7, HUNG) == 7
    assert not release.is_set()
    release.set()


def test_slots_come_back_when_late_calls_end(rig: Rig, still: None) -> None:
    release = threading.Event()
    slow = rig.add("slow", lambda _: release.wait(HUNG))
    rig.models.warm([slow], seconds=HUNG)
    for expected in (Cause.TIMEOUT, Cause.TIMEOUT, Cause.BUSY):
        assert cause(lambda: rig.models.call(slow, 1, 0.01)) is expected
    release.set()
    assert rig.models.call(slow, 1, HUNG) is True


def test_slots_survive_contention_under_gevent() -> None:
    """Callbacks run in gevent's loop there: 400 greenlets on 3 native threads must lose no slot."""
    script = """
from gevent import monkey; monkey.patch_all()
import gevent, gevent.threadpool
from switchpoint.router.models.model import ModelFailure
from switchpoint.router.models.pool import CallPool, _Slots
nap = monkey.get_original("time", "sleep")
pool = CallPool(gevent.threadpool.ThreadPoolExecutor(3), 3)
def one(i):
    try:
        return pool.call(f"k{i % 3}", lambda: nap(0.001) or 1, 0.002 if i % 2 else 5)
    except ModelFailure:
        return 0
for _ in range(2):
    gevent.joinall([gevent.spawn(one, i) for i in range(400)])
free = lambda: (pool._slots._free.qsize(), sorted(own._free.qsize() for own in pool._by_key.values()))
with gevent.Timeout(60, False):
    while free() != (3, [2, 2, 2]):  # late calls end when they end
        gevent.sleep(0.01)
print(*free())
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=HUNG
    )
    assert (said.stdout.strip(), said.stderr) == ("3 [2, 2, 2]", "")


def test_breaker_opens_after_repeated_failures_and_probes(rig: Rig) -> None:
    state = {"down": True}

    def work(x: object) -> object:
        if state["down"]:
            raise RuntimeError("down")
        return x

    model = rig.add("m", work)
    rig.models.warm([model], seconds=HUNG)
    rig.models._slots["m"].breaker.cool_off = HUNG
    causes = [cause(lambda: rig.models.call(model, 1, HUNG)) for _ in range(6)]
    assert causes == [Cause.ERROR] * 5 + [Cause.BREAKER]
    assert rig.models.facts() == {
        "loaded": ["m@1"],
        "not_loaded": [],
        "quarantined": [],
        "held_back": ["m@1"],
    }
    state["down"] = False
    rig.models._slots["m"].breaker.cool_off = 0.0
    assert rig.models.call(model, 1, HUNG) == 1
    assert rig.models.facts()["held_back"] == []


def test_what_callers_send_does_not_open_the_breaker(rig: Rig) -> None:
    """A hundred inputs on which the model breaks: it still answers what it answered before."""

    def work(x: object) -> object:
        if x == "poison":
            raise RuntimeError("broken by its inputs")
        return x

    model = rig.add("m", work)
    assert rig.models.call(model, "good", HUNG) == "good"
    assert {cause(lambda: rig.models.call(model, "poison", HUNG)) for _ in range(100)} == {Cause.ERROR}
    assert rig.models.facts()["held_back"] == []
    assert rig.models.call(model, "good", HUNG) == "good"


def test_callers_cannot_keep_a_breaker_open(rig: Rig) -> None:
    """The probe is what the model answered before, whoever comes along when it is due."""
    state = {"down": False}

    def work(x: object) -> object:
        if state["down"] or x == "poison":
            raise RuntimeError("down")
        return x

    model = rig.add("m", work)
    rig.models.call(model, "good", HUNG)
    rig.models._slots["m"].breaker.cool_off = HUNG
    state["down"] = True
    causes = [cause(lambda: rig.models.call(model, "good", HUNG)) for _ in range(6)]
    assert causes == [Cause.ERROR] * 5 + [Cause.BREAKER]
    rig.models._slots["m"].breaker.cool_off = 0.0
    assert cause(lambda: rig.models.call(model, "poison", HUNG)) is Cause.BREAKER
    state["down"] = False
    assert cause(lambda: rig.models.call(model, "poison", HUNG)) is Cause.ERROR
    assert rig.models.facts()["held_back"] == []


@pytest.mark.parametrize("answer", [{1, 2}, 1 << 70, "\ud800", {1: 2}])
def test_an_answer_that_cannot_be_written_is_a_failure_of_the_model(rig: Rig, answer: object) -> None:
    """It is known before anything is recorded, so that control can answer."""
    assert cause(lambda: rig.models.call(rig.add("m", lambda _: answer), 1, HUNG)) is Cause.ANSWER


def test_loading_does_not_open_the_breaker(rig: Rig) -> None:
    """Twenty calls while the model loads: none is its failure, and the first one after it is answered."""
    loaded = threading.Event()
    model = rig.add("m", lambda x: x)
    rig.loader.loading = lambda: loaded.wait(HUNG)
    assert {cause(lambda: rig.models.call(model, 1, 0.01)) for _ in range(20)} == {Cause.LOADING}
    assert rig.models.not_ready([model]) == ["loading m@1"]
    assert rig.models.facts()["held_back"] == []
    loaded.set()
    rig.models.warm([model], seconds=HUNG)
    assert rig.models.call(model, 1, HUNG) == 1
    assert rig.models.not_ready([model]) == []


def test_a_busy_pool_does_not_open_the_breaker(rig: Rig) -> None:
    """All slots of the model are taken by calls that are under way: twenty more are busy, not failures."""
    go_on = threading.Event()
    model = rig.add("m", lambda x: go_on.wait(HUNG) and x)
    rig.models.warm([model], seconds=HUNG)
    with ThreadPoolExecutor(2) as pool:
        under_way = [pool.submit(rig.models.call, model, 1, HUNG) for _ in range(2)]
        until(lambda: rig.models._calls._by_key["m"]._free.qsize() == 0)
        assert {cause(lambda: rig.models.call(model, 1, 0.01)) for _ in range(20)} == {Cause.BUSY}
        assert rig.models.facts()["held_back"] == []
        go_on.set()
        assert [future.result() for future in under_way] == [1, 1]
    assert rig.models.call(model, 1, HUNG) == 1


@pytest.mark.parametrize(
    ("waited", "expected", "held_back"), [(0.021, Cause.BUSY, []), (0.019, Cause.TIMEOUT, ["m@1"])]
)
def test_a_deadline_spent_in_the_queue_is_no_timeout_of_the_model(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, waited: float, expected: Cause, held_back: list[str]
) -> None:
    """The slot comes free when more than half of the deadline has gone: the rest was no fair chance."""
    clock, go_on = [0.0], threading.Event()
    model = rig.add("m", lambda _: go_on.wait(HUNG))
    rig.models.warm([model], seconds=HUNG)
    rig.models._slots["m"].breaker._threshold = 1

    class Late(_Slots):
        def acquire(self, timeout: float) -> bool:
            clock[0] += waited
            return True

    rig.models._calls._by_key["m"] = Late(1)
    monkeypatch.setattr("switchpoint.router.models.pool.time", SimpleNamespace(monotonic=lambda: clock[0]))
    assert cause(lambda: rig.models.call(model, 1, 0.04)) is expected
    go_on.set()
    assert rig.models.facts()["held_back"] == held_back


@pytest.mark.parametrize(
    ("took", "expected", "held_back"), [(0.021, Cause.LOADING, []), (0.019, Cause.TIMEOUT, ["m@1"])]
)
def test_a_deadline_spent_on_loading_is_no_timeout_of_the_model(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, took: float, expected: Cause, held_back: list[str]
) -> None:
    """The load has ended; the caller learns of it at `took` of its deadline."""
    go_on = threading.Event()
    model = rig.add("m", lambda _: go_on.wait(HUNG))
    [slot] = rig.models.load([model])
    slot.breaker._threshold = 1
    until(lambda: slot.loading is not None and slot.loading.done())
    moments = iter([0.0])  # when the call came
    monkeypatch.setattr(
        "switchpoint.router.models.runtime.time", SimpleNamespace(monotonic=lambda: next(moments, took))
    )
    assert cause(lambda: rig.models.call(model, 1, 0.04)) is expected
    go_on.set()
    assert rig.models.facts()["held_back"] == held_back


def test_bad_inputs_do_not_open_the_breaker(rig: Rig) -> None:
    """A caller with wrong inputs must not switch a model off for everybody."""

    def work(_: object) -> object:
        raise InputsRefused("wrong", field="inputs")

    model = rig.add("m", work)
    for _ in range(10):
        with pytest.raises(InputsRefused):
            rig.models.call(model, 1, HUNG)


def test_call_waits_for_loading_until_its_deadline(rig: Rig) -> None:
    loaded = threading.Event()
    rig.loader.loading = lambda: loaded.wait(HUNG)
    model = rig.add("m", lambda x: x)
    assert cause(lambda: rig.models.call(model, 1, 0.05)) is Cause.LOADING
    loaded.set()
    assert rig.models.call(model, 1, HUNG) == 1
    assert rig.loader.loads == ["m"]


def test_failed_load_is_named_and_not_repeated_at_once(rig: Rig, still: None) -> None:
    missing = version("nothing")
    assert cause(lambda: rig.models.call(missing, 1, HUNG)) is Cause.LOAD
    assert cause(lambda: rig.models.call(missing, 1, HUNG)) is Cause.LOAD
    assert rig.loader.loads == ["nothing"]


def test_a_failed_load_is_said_once_and_tried_again_without_a_call(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody may ask a worker that is not ready: the next attempt is the background's."""
    model = version("nothing")
    for _ in range(2):
        rig.models.warm([model], seconds=HUNG)
        assert rig.models.not_ready([model]) == ["nothing@1 cannot be loaded: KeyError('nothing')"]
        rig.models._slots["nothing"].failed_at = float("-inf")
    assert rig.loader.loads == ["nothing"] * 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    rig.add("nothing", lambda x: x)
    rig.models.load([model])
    until(lambda: rig.models.not_ready([model]) == [])
    assert rig.models.call(model, 1, HUNG) == 1


def test_a_start_whose_models_take_long_logs_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    loaded = threading.Event()
    rig.loader.loading = lambda: loaded.wait(HUNG)
    rig.models.warm([rig.add("m", lambda x: x)], seconds=0.01)
    loaded.set()
    assert caplog.records == []


def test_a_load_under_way_delays_nobody_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow model comes with one revision; the next one, a pause perhaps, is served without waiting for it."""
    loaded = threading.Event()
    rig.loader.loading = lambda: loaded.wait(HUNG)
    slow = rig.add("slow", lambda x: x)
    rig.models.warm([slow], seconds=0.01)
    monkeypatch.setattr(rig.models, "_loaded", lambda *_: pytest.fail("waited again"))
    rig.models.warm([slow], seconds=HUNG)
    loaded.set()


def test_warm_loads_and_keep_forgets(rig: Rig) -> None:
    a, b = rig.add("a", lambda x: x), rig.add("b", lambda x: x)
    rig.models.warm([a, b, version("missing")], seconds=HUNG)
    assert sorted(rig.loader.loads) == ["a", "b", "missing"]
    rig.models.keep([b])
    rig.models.call(b, 1, HUNG)
    assert sorted(rig.loader.loads) == ["a", "b", "missing"]
    rig.models.call(a, 1, HUNG)
    assert rig.loader.loads.count("a") == 2


def test_format_nobody_loads_is_a_failure(rig: Rig) -> None:
    other = ModelVersion(name="h", version=1, digest="h", format=Format.HTTP, created_at=0, created_by="t")
    assert cause(lambda: rig.models.call(other, 1, HUNG)) is Cause.LOAD


def test_breaker_lets_one_probe_through_per_period() -> None:
    now = [0.0]
    breaker = Breaker(threshold=2, cool_off=1.0, clock=lambda: now[0])
    breaker.failure()
    assert breaker.allow()
    breaker.failure()
    assert not breaker.allow()
    now[0] = 1.5
    assert [breaker.allow(), breaker.allow()] == [True, False]
    breaker.success()
    assert breaker.allow()
    breaker.failure()
    assert not breaker.is_open
