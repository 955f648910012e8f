"""Models in processes of their own: what crashes or never ends takes itself down, and is left alone in the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from switchpoint.experiment.registry.model import Format, ModelVersion
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.router.models import fork_server
from switchpoint.router.models.fork_server import ForkServer
from switchpoint.router.models.isolated import IsolatedLoader, IsolatedModel
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.models.pool import CallPool
from switchpoint.router.models.runtime import CRASHES, Models
from tests.router.models import bad_trees
from tests.router.models.bad_trees import FAR, ITSELF
from tests.router.world import model_bytes
from tests.waiting import HUNG, until

ROW = [1.0, 2.0]


@contextmanager
def server_of(module: str) -> Iterator[ForkServer]:
    with pytest.MonkeyPatch.context() as patch, closing(ForkServer()) as server:
        patch.setattr(fork_server, "RUNNER", module)
        server.runner().close()
        yield server


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with server_of("switchpoint.router.models.runner") as server:
        yield server


@pytest.fixture(scope="module")
def unchecked() -> Iterator[ForkServer]:
    """Bad models get as far as a call."""
    with server_of("tests.router.models.unchecked_runner") as server:
        yield server


def version(folder: Path, content: bytes, name: str = "m") -> ModelVersion:
    digest = Artifacts(folder).put_bytes(content)
    return ModelVersion(
        name=name, version=1, digest=digest, format=Format.SKOPS, artifact={"m.skops": digest}, created_at=0,
        created_by="t",
    )  # fmt: skip


def load(folder: Path, forks: ForkServer, content: bytes) -> IsolatedModel:
    return IsolatedLoader(folder, fork_server=forks).load(version(folder, content))


def failure(call: Callable[[], object]) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        call()
    return caught.value


def descendants(pid: int) -> list[int]:
    """The children of a process, on Linux."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runners(forks: ForkServer) -> set[int]:
    assert forks._process is not None
    return {*descendants(forks._process.pid)}


def alone(folder: Path, forks: ForkServer, content: bytes) -> tuple[IsolatedModel, int]:
    """A loaded model and the pid of its process."""
    before = runners(forks)
    model = load(folder, forks, content)
    [pid] = runners(forks) - before
    return model, pid


def test_it_answers_as_the_model_does(tmp_path: Path, forks: ForkServer) -> None:
    """The logistic regression of `model_bytes`: sign 1 scores rise with the first column."""
    model = load(tmp_path, forks, model_bytes(1))
    low, high = cast("list[float]", model.predict([[-1.0, 0.0], [1.0, 0.0]], HUNG))
    assert 0 < low < 0.5 < high < 1
    assert isinstance(model.predict(ROW, HUNG), float)


def test_a_refusal_keeps_its_field_and_its_fix(tmp_path: Path, forks: ForkServer) -> None:
    model = load(tmp_path, forks, model_bytes(1))
    with pytest.raises(InputsRefused, match="must be a number or a string") as caught:
        model.predict([[1.0, [2.0]]], HUNG)
    assert (caught.value.field, caught.value.value) == ("inputs[0][1]", "list")
    with pytest.raises(InputsRefused, match="Fix: send the columns it was fitted with"):
        model.predict([1.0], HUNG)


def test_what_cannot_be_loaded_is_named(tmp_path: Path, forks: ForkServer) -> None:
    said = failure(lambda: load(tmp_path, forks, b"not a zip at all"))
    assert (said.cause, "not a loadable skops file" in said.message) == (Cause.LOAD, True)


@pytest.mark.parametrize("child", [FAR, ITSELF], ids=["far", "itself"])
def test_a_bad_tree_is_refused_before_anything_walks_it(
    tmp_path: Path, forks: ForkServer, child: int
) -> None:
    said = failure(lambda: load(tmp_path, forks, bad_trees.content(child)))
    assert (said.cause, "points outside of itself or back" in said.message) == (Cause.LOAD, True)


def test_a_model_that_crashes_in_its_rehearsal_is_refused(
    tmp_path: Path,
) -> None:
    """Without the look at its tree: the process that rehearsed is gone, the next one is not."""
    with server_of("tests.router.models.rehearsing_runner") as forks:
        assert failure(lambda: load(tmp_path, forks, bad_trees.content(FAR))).cause is Cause.CRASHED
        assert 0 <= load(tmp_path, forks, bad_trees.content()).predict(ROW, HUNG) <= 1  # type: ignore[operator]


def test_a_crash_takes_only_its_own_process(tmp_path: Path, unchecked: ForkServer) -> None:
    good, bad = load(tmp_path, unchecked, model_bytes(1)), load(tmp_path, unchecked, bad_trees.content(FAR))
    assert failure(lambda: bad.predict(ROW, HUNG)).cause is Cause.CRASHED
    assert bad.ended()
    assert good.predict(ROW, HUNG) == good.predict(ROW, HUNG)
    assert not good.ended()


def test_a_call_that_never_ends_costs_the_deadline_and_then_its_process(
    tmp_path: Path, unchecked: ForkServer
) -> None:
    """The caller leaves at the deadline; the kernel ends the process a little later, whoever asks or not."""
    bad = load(tmp_path, unchecked, bad_trees.content(ITSELF))
    assert failure(lambda: bad.predict(ROW, 0.05)).cause is Cause.TIMEOUT
    assert failure(lambda: bad.predict(ROW, 0.05)).cause is Cause.BUSY
    until(bad.ended)
    assert failure(lambda: bad.predict(ROW, HUNG)).cause is Cause.CRASHED


def test_a_late_answer_is_not_given_to_the_next_caller(tmp_path: Path, forks: ForkServer) -> None:
    model, pid = alone(tmp_path, forks, model_bytes(1))
    expected = model.predict([9.0, 9.0], HUNG)
    os.kill(pid, signal.SIGSTOP)
    assert failure(lambda: model.predict(ROW, 0.05)).cause is Cause.TIMEOUT
    os.kill(pid, signal.SIGCONT)
    assert model.predict([9.0, 9.0], HUNG) == expected


def test_calls_of_many_threads_get_each_its_own_answer(tmp_path: Path, forks: ForkServer) -> None:
    model = load(tmp_path, forks, model_bytes(1))
    expected = {i: model.predict([float(i), 0.0], HUNG) for i in range(8)}
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda i: (i, model.predict([float(i % 8), 0.0], HUNG)), range(80))
    assert {(i % 8, answer) for i, answer in answers} == set(expected.items())


def test_a_runner_ends_when_nobody_refers_to_its_model(tmp_path: Path, forks: ForkServer) -> None:
    model, pid = alone(tmp_path, forks, model_bytes(1))
    del model
    until(lambda: pid not in runners(forks))


def test_the_services_secrets_are_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHPOINT_REDIS_URL", "redis://:secret-of-the-store@localhost")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-cloud")
    with closing(ForkServer()) as forks:
        model = load(tmp_path, forks, model_bytes(1))
        assert forks._process is not None
        for pid in (forks._process.pid, *runners(forks)):
            known = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"PATH=" in known
            assert b"secret" not in known.lower()
        assert model.predict(ROW, HUNG)


def test_a_killed_fork_server_is_replaced(tmp_path: Path) -> None:
    """What it forked goes on meanwhile."""
    with closing(ForkServer()) as forks:
        before = load(tmp_path, forks, model_bytes(1))
        assert forks._process is not None
        forks._process.kill()
        forks._process.wait()
        after = load(tmp_path, forks, model_bytes(1))
        assert before.predict(ROW, HUNG) == after.predict(ROW, HUNG)


class Rig:
    def __init__(self, folder: Path, forks: ForkServer) -> None:
        self.crashed: list[str] = []
        self.executor = ThreadPoolExecutor(4)
        self.models = Models(
            {"skops": IsolatedLoader(folder, fork_server=forks)},
            calls=CallPool(self.executor, 4),
            crashed=lambda version: self.crashed.append(version.name),
        )

    def cause(self, version: ModelVersion) -> Cause:
        return failure(lambda: self.models.call(version, ROW, HUNG)).cause


@pytest.fixture
def rig(tmp_path: Path, forks: ForkServer) -> Iterator[Rig]:
    rig = Rig(tmp_path, forks)
    yield rig
    rig.executor.shutdown()


@pytest.fixture
def unchecked_rig(tmp_path: Path, unchecked: ForkServer) -> Iterator[Rig]:
    rig = Rig(tmp_path, unchecked)
    yield rig
    rig.executor.shutdown()


def test_a_version_that_crashes_again_and_again_is_quarantined(tmp_path: Path, unchecked_rig: Rig) -> None:
    """Counted once a process, loaded anew in between, then not asked; others answer, and the worker is ready."""
    good = version(tmp_path, model_bytes(1), "good")
    bad = version(tmp_path, bad_trees.content(FAR), "bad")
    for _ in range(CRASHES):
        assert unchecked_rig.cause(bad) is Cause.CRASHED
    assert unchecked_rig.cause(bad) is Cause.QUARANTINED
    assert unchecked_rig.crashed == ["bad"] * CRASHES
    assert isinstance(unchecked_rig.models.call(good, ROW, HUNG), float)
    assert unchecked_rig.models.facts()["quarantined"] == ["bad@1"]
    assert unchecked_rig.models.not_ready([good, bad]) == []


def test_a_quarantine_ends_and_one_more_crash_begins_it_again(
    tmp_path: Path, unchecked_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = version(tmp_path, bad_trees.content(FAR), "bad")
    for _ in range(CRASHES):
        unchecked_rig.cause(bad)
    assert unchecked_rig.cause(bad) is Cause.QUARANTINED
    monkeypatch.setattr("switchpoint.router.models.runtime.QUARANTINE_SECONDS", 0.0)
    assert unchecked_rig.cause(bad) is Cause.CRASHED
    monkeypatch.setattr("switchpoint.router.models.runtime.QUARANTINE_SECONDS", HUNG)
    assert unchecked_rig.cause(bad) is Cause.QUARANTINED


def test_several_callers_of_one_crash_count_it_once(tmp_path: Path, rig: Rig, forks: ForkServer) -> None:
    shared = version(tmp_path, model_bytes(1), "shared")
    before = runners(forks)
    rig.models.warm([shared], seconds=HUNG)
    [pid] = runners(forks) - before
    os.kill(pid, signal.SIGSTOP)
    causes: list[Cause] = []
    callers = [threading.Thread(target=lambda: causes.append(rig.cause(shared))) for _ in range(4)]
    for caller in callers:
        caller.start()
    slot = rig.models._slots[shared.digest]
    until(lambda: isinstance(slot.model, IsolatedModel) and slot.model._owes)
    os.kill(pid, signal.SIGKILL)
    for caller in callers:
        caller.join()
    assert set(causes) == {Cause.CRASHED}
    assert rig.crashed == ["shared"]


def test_a_process_that_ended_unasked_is_replaced_in_the_background(
    tmp_path: Path, rig: Rig, forks: ForkServer
) -> None:
    idle = version(tmp_path, model_bytes(1), "idle")
    before = runners(forks)
    rig.models.warm([idle], seconds=HUNG)
    [pid] = runners(forks) - before
    os.kill(pid, signal.SIGKILL)
    until(lambda: rig.models.load([idle]) and rig.crashed)
    assert isinstance(rig.models.call(idle, ROW, HUNG), float)
