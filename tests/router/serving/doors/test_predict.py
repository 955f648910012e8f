"""Predicting: routing, fallback with its cause, one exposure per unit, answers without recording."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from switchpoint.experiment.assignment.assign import Reason
from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import NotFound
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.recording.gate import StoreGate
from switchpoint.router.recording.recorder import Recorder
from switchpoint.router.serving.doors.predict import Predictor
from switchpoint.router.serving.wsgi import RecordsSource
from switchpoint.router.snapshot import Snapshot
from tests.router import world

US = {"country": "US", "device": "ios", "unused": 3}


class FakeModels:
    """Answers the version's name, or fails as told."""

    def __init__(self) -> None:
        self.broken: dict[str, Exception] = {}
        self.asked: list[str] = []

    def call(self, version: ModelVersion, inputs: object, deadline: float) -> object:
        self.asked.append(str(version.ref))
        if str(version.ref) in self.broken:
            raise self.broken[str(version.ref)]
        return f"{version.ref}:{inputs}"


class Rig:
    def __init__(self, folder: Path) -> None:
        self.records = MemoryRecords()
        self.catalog: Catalog = world.build(self.records, folder)
        self.models, self.ledger, self.gate = FakeModels(), MemoryLedger(), StoreGate()
        self.metrics = Metrics()
        self.reload()
        self.spool = Spool(folder / "spool.sqlite", 0)
        recorder = Recorder(self.ledger, self.spool, lambda: self.snapshot.plan, gate=self.gate)
        self.predictor = Predictor(lambda: self.snapshot, self.models, recorder, self.metrics, deadline=0.1)

    def reload(self) -> None:
        self.snapshot = Snapshot.from_document(RecordsSource(self.records).document())

    def unit(self, accept: Callable[[str, bool], bool]) -> str:
        """A unit in the United States whose variant and enrolment fit."""
        entry = self.snapshot.entry(world.EXPERIMENT)
        found = ((f"u{i}", entry.assign(f"u{i}", US)) for i in range(1000))
        return next(unit for unit, a in found if accept(a.variant, a.enrolled))

    def events(self) -> list[Event]:
        return list(self.ledger.events())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close()


def treated(variant: str, enrolled: bool) -> bool:
    return enrolled and variant == "treatment"


def test_treated_unit_meets_its_variant_and_is_exposed_once(rig: Rig) -> None:
    """Three calls: three prediction events, one exposure with dimensions, propensity and revision."""
    unit = rig.unit(treated)
    for _ in range(3):
        found = rig.predictor.predict("ranker", unit, US, "x", at=world.now_ms())
        assert (found.prediction, found.served, found.cause) == ("ranker@2:x", "treatment", None)
        assert found.reason is Reason.SPLIT
        assert found.recorded == "stored"
    exposures = [e.exposure for e in rig.events() if e.exposure]
    assert len(exposures) == 1
    assert (exposures[0].variant, exposures[0].served, exposures[0].propensity) == (
        "treatment",
        "treatment",
        0.5,
    )
    assert exposures[0].dimensions == {"device": "ios"}
    predictions = [e for e in rig.events() if e.type == "prediction"]
    assert len(predictions) == len({e.id for e in predictions}) == 3
    assert predictions[0].properties["digest"] == rig.snapshot.versions[found.model].digest
    assert isinstance(predictions[0].properties["latency_ms"], float)


def test_the_exposure_carries_what_was_known_of_the_unit_before(rig: Rig) -> None:
    """From the attributes by the names the metrics read, and what the caller says beside them."""
    unit = rig.unit(treated)
    facts = US | {"past_spend": 12.5, "age": 40}
    rig.predictor.predict("ranker", unit, facts, "x", at=world.now_ms(), covariates={"score": 0.25})
    [exposure] = [e.exposure for e in rig.events() if e.exposure]
    assert exposure.covariates == {"past_spend": 12.5, "score": 0.25}
    cells = rig.ledger.moments(world.EXPERIMENT, rig.snapshot.plan)
    assert {c.covariates for k, c in cells.items() if not k.dimension} == {((1250, 1250**2, 0),)}


def test_failing_variant_falls_back_to_control_with_the_cause(rig: Rig) -> None:
    """The exposure keeps the assigned variant, names the served one and why."""
    rig.models.broken["ranker@2"] = ModelFailure(Cause.TIMEOUT, "slow")
    found = rig.predictor.predict("ranker", rig.unit(treated), US, "x", at=world.now_ms())
    assert (found.prediction, found.served, found.cause) == ("ranker@1:x", "control", "timeout")
    assert found.reason is Reason.FALLBACK
    [exposure] = [e.exposure for e in rig.events() if e.exposure]
    assert (exposure.variant, exposure.served, exposure.cause) == ("treatment", "control", "timeout")


def test_nobody_answers_and_nothing_is_logged(rig: Rig) -> None:
    rig.models.broken = {f"ranker@{i}": ModelFailure(Cause.ERROR, "down") for i in (1, 2)}
    with pytest.raises(ModelFailure, match="down"):
        rig.predictor.predict("ranker", rig.unit(treated), US, "x", at=world.now_ms())
    assert rig.events() == []
    assert rig.models.asked == ["ranker@2", "ranker@1"]


def test_inputs_that_every_model_refuses_are_the_callers_fault(rig: Rig) -> None:
    rig.models.broken = {f"ranker@{i}": InputsRefused("wrong shape", field="inputs") for i in (1, 2)}
    with pytest.raises(InputsRefused):
        rig.predictor.predict("ranker", rig.unit(treated), US, "x", at=world.now_ms())


def test_refused_inputs_are_counted_and_not_warned_about(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A caller's mistake may come with every request; it must not fill the log."""
    rig.models.broken = {f"ranker@{i}": InputsRefused("wrong shape", field="inputs") for i in (1, 2)}
    with caplog.at_level("INFO"), pytest.raises(InputsRefused):
        rig.predictor.predict("ranker", rig.unit(treated), US, "x", at=world.now_ms())
    assert caplog.records == []
    exposition = rig.metrics.exposition("")[0].decode()
    assert 'model="ranker",outcome="refused",version="2"} 1.0' in exposition


def test_inputs_that_only_the_challenger_refuses_fall_back(rig: Rig) -> None:
    rig.models.broken["ranker@2"] = InputsRefused("wrong shape", field="inputs")
    found = rig.predictor.predict("ranker", rig.unit(treated), US, "x", at=world.now_ms())
    assert (found.served, found.cause) == ("control", "bad_inputs")


def test_unit_left_out_gets_the_champion_without_exposure(rig: Rig) -> None:
    rest = {"country": "FR"}
    entry = rig.snapshot.entry(world.EXPERIMENT)
    unit = next(f"u{i}" for i in range(100) if not entry.assign(f"u{i}", rest).enrolled)
    found = rig.predictor.predict("ranker", unit, rest, "x", at=world.now_ms())
    assert str(found.model) == "ranker@1"
    assert found.reason is Reason.TRAFFIC
    assert [e.type for e in rig.events()] == ["prediction"]


def test_champion_answers_when_no_experiment_runs(rig: Rig) -> None:
    rig.catalog.stop(world.EXPERIMENT, at=world.now_ms(), actor="t")
    rig.reload()
    found = rig.predictor.predict("ranker", "u1", US, "x", at=world.now_ms())
    assert (str(found.model), found.assignment, found.served, found.reason) == (
        "ranker@1",
        None,
        None,
        "DEFAULT",
    )


def test_the_champion_of_before_answers_until_the_new_one_can(rig: Rig) -> None:
    """Not after a rollback: whoever was taken back was no good."""
    rig.catalog.stop(world.EXPERIMENT, at=world.now_ms(), actor="t")

    def asked() -> list[str]:
        rig.reload()
        rig.models.asked.clear()
        with suppress(ModelFailure):
            found = rig.predictor.predict("ranker", "u1", US, "x", at=world.now_ms())
            assert (str(found.model), found.cause, found.reason) == ("ranker@1", "loading", "FALLBACK")
        return rig.models.asked

    rig.models.broken = {"ranker@2": ModelFailure(Cause.LOADING, "is being loaded")}
    rig.catalog.crown(ModelRef("ranker", 2), reason="new", at=world.now_ms(), actor="t")
    assert asked() == ["ranker@2", "ranker@1"]
    assert [str(version.ref) for version in rig.snapshot.live_versions()] == ["ranker@2"]
    assert [str(version.ref) for version in rig.snapshot.kept_versions()] == ["ranker@2", "ranker@1"]
    rig.models.broken = {"ranker@1": ModelFailure(Cause.ERROR, "fails")}
    rig.catalog.rollback("ranker", reason="worse", at=world.now_ms(), actor="t")
    assert asked() == ["ranker@1"]
    assert rig.snapshot.kept_versions() == rig.snapshot.live_versions()


def test_unknown_model_is_named(rig: Rig) -> None:
    with pytest.raises(NotFound, match="no champion"):
        rig.predictor.predict("nope", "u1", {}, "x", at=world.now_ms())


def test_prediction_is_answered_although_nothing_can_be_recorded(rig: Rig) -> None:
    """No store and no room in the spool: the caller still gets the answer, and is told."""
    rig.gate.answering = False
    unit = rig.unit(treated)
    found = rig.predictor.predict("ranker", unit, US, "x", at=world.now_ms())
    assert (found.prediction, found.recorded) == ("ranker@2:x", None)
    rig.gate.answering = True
    again = rig.predictor.predict("ranker", unit, US, "x", at=world.now_ms())
    assert again.exposure_id is not None  # what was not recorded is sent again


class Inputs(list[object]):
    """What can be watched."""


@pytest.mark.parametrize("broken", [["ranker@1", "ranker@2"], ["ranker@2"]])
@pytest.mark.parametrize("refused", [True, False])
def test_inputs_of_a_failed_call_are_gone_with_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, broken: list[str], refused: bool
) -> None:
    """An error refers to the frames it passed; kept in one of them it would hold a request of 1 MB."""

    def call(version: ModelVersion, inputs: object, deadline: float) -> object:
        if str(version.ref) in broken:
            raise InputsRefused("not these", field="inputs") if refused else ModelFailure(Cause.BREAKER, "no")
        return 1

    monkeypatch.setattr(rig.models, "call", call)
    inputs = Inputs()
    watched = weakref.ref(inputs)
    with suppress(InputsRefused, ModelFailure):
        rig.predictor.predict("ranker", rig.unit(treated), US, inputs, at=world.now_ms())
    del inputs
    assert watched() is None
