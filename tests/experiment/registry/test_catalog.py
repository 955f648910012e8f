"""The use cases over records, in memory and on a real server: rules that span several records, and races."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.definition.state import Status
from switchpoint.experiment.definition.types import Experiment, ModelRef
from switchpoint.experiment.errors import (
    BadInput,
    Conflict,
    Corrupt,
    DefinitionError,
    LifecycleError,
    NotFound,
    Refused,
    Superseded,
)
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language.document import to_body
from switchpoint.experiment.registry.audit import Note
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.champion import Move, champion_at, compile_champion
from switchpoint.experiment.registry.decision import DecisionRecord, Finding, VerdictKind
from switchpoint.experiment.registry.model import Content, Format, State
from switchpoint.experiment.registry.promotion import Promotion
from switchpoint.experiment.registry.records import Kind, Put, Records, check
from switchpoint.experiment.store.memory import MemoryRecords
from tests.experiment.definitions import DESIGN_EXAMPLE, experiment

SEGMENTS = [
    {"key": "us", "when": {"country": "US"}, "allocation": "equal"},
    {"key": "ca", "when": {"country": "CA"}, "allocation": "equal"},
    {"key": "rest", "traffic": "20%", "allocation": {"control": 0.9, "treatment": 0.1}},
]


def content(letter: str) -> Content:
    return Content(format=Format.SKOPS, artifact={"model.skops": "sha256:" + letter * 64})


@pytest.fixture
def catalog(records: Records) -> Catalog:
    """Three versions of ranker, nothing else."""
    made = Catalog(records)
    for letter in "abc":
        made.register_model("ranker", content(letter), at=1, actor="ana")
    return made


def ranker(**changes: Any) -> Experiment:
    return experiment(**{"key": "home", "segments": SEGMENTS, **changes})


def started(catalog: Catalog, definition: Experiment | None = None, at: int = 10) -> Experiment:
    definition = definition or ranker()
    catalog.apply(definition, at=at, actor="ana")
    catalog.start(definition.key, at=at + 1, actor="ana")
    return definition


def decided(
    catalog: Catalog,
    key: str = "home",
    kind: VerdictKind = VerdictKind.PROMOTE,
    segments: dict[str, Finding] | None = None,
    at: int = 100,
) -> DecisionRecord:
    state = catalog.experiment(key)
    return catalog.record_decision(
        DecisionRecord(
            experiment=key,
            number=0,
            definition_digest=parsing.digest(state.definition),
            rule_digest=state.rule_digest or "",
            code_version="0.1.0",
            position={"0": "1-0"},
            moments_digest="sha256:m",
            finding=Finding(kind=kind, variant="treatment" if kind is VerdictKind.PROMOTE else None),
            segments=segments or {},
            digests=state.epoch.digests if state.epoch else {},
            at=at,
            actor="ana",
        )
    )


def ask(*segments: str, **changes: Any) -> Promotion:
    return Promotion(**{"variant": "treatment", "segments": segments, "at": 200, "actor": "ana", **changes})


def versions(catalog: Catalog) -> list[int | None]:
    """Who serves us, ca and the rest now."""
    choose = compile_champion(catalog.champion("ranker"))
    found = [choose({"country": country}) for country in ("US", "CA", "DE")]
    return [ref.version if ref else None for ref in found]


# models


def test_registering_the_same_content_again_writes_nothing(catalog: Catalog) -> None:
    revision = catalog.revision()
    again = catalog.register_model("ranker", content("b"), at=99, actor="bo")
    assert (again.version, again.created_by) == (2, "ana")
    assert catalog.revision() == revision
    assert [str(version.ref) for version in catalog.models("ranker")] == ["ranker@1", "ranker@2", "ranker@3"]
    assert catalog.models("other") == []


def test_versions_are_listed_by_number_not_by_text(catalog: Catalog) -> None:
    for letter in "def0123456":
        catalog.register_model("ranker", content(letter), at=1, actor="ana")
    assert [version.version for version in catalog.models("ranker")] == list(range(1, 14))


def test_racing_registrations_get_consecutive_numbers(catalog: Catalog) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(
            pool.map(
                lambda c: catalog.register_model("racer", content(c), at=1, actor="ana"), "0123456789ab01"
            )
        )
    assert sorted({version.version for version in made}) == list(range(1, 13))
    assert len(catalog.models("racer")) == 12


def test_an_unknown_version_is_not_found(catalog: Catalog) -> None:
    assert catalog.model(ModelRef("ranker", 2)).digest == content("b").digest
    with pytest.raises(NotFound, match="ranker@9"):
        catalog.model(ModelRef("ranker", 9))


def test_a_quarantined_version_gets_no_experiment_and_no_promotion(catalog: Catalog) -> None:
    started(catalog)
    decided(catalog)
    catalog.mark_model(ModelRef("ranker", 2), State.QUARANTINED, at=1, actor="ana", reason="leaks")
    with pytest.raises(Refused, match="ranker@2 is quarantined"):
        catalog.promote("home", ask())
    with pytest.raises(Refused, match="quarantined"):
        catalog.apply(ranker(key="second"), at=1, actor="ana")
    catalog.mark_model(ModelRef("ranker", 2), State.REGISTERED, at=2, actor="ana", reason="fixed")
    catalog.promote("home", ask())


# apply


def test_apply_creates_a_draft_and_applying_it_again_does_nothing(catalog: Catalog) -> None:
    definition = parsing.load(DESIGN_EXAMPLE)
    state = catalog.apply(definition, at=5, actor="ana")
    assert (state.status, state.ordinal, state.revision) == (Status.DRAFT, 1, 1)
    revision = catalog.revision()
    assert catalog.apply(definition, at=6, actor="bo") == state == catalog.experiment("home-ranker")
    assert catalog.revision() == revision


def test_apply_names_an_unknown_model_and_the_command_that_registers_it(catalog: Catalog) -> None:
    variants = [{"key": "control", "model": "ranker@1"}, {"key": "treatment", "model": "ranker@7"}]
    for attempt in (catalog.plan_change, lambda d: catalog.apply(d, at=1, actor="ana")):
        with pytest.raises(
            NotFound, match=r"variants\[1\].model: unknown model ranker@7.*switchpoint model register"
        ):
            attempt(ranker(variants=variants))
    assert catalog.experiments() == []


def test_a_project_has_one_unit_type(catalog: Catalog) -> None:
    catalog.apply(ranker(), at=1, actor="ana")
    with pytest.raises(DefinitionError, match="unit: this project randomises user_id"):
        catalog.apply(ranker(key="other", unit="session_id"), at=2, actor="ana")
    catalog.apply(ranker(unit="device_id"), at=3, actor="ana")  # a draft may still change its own


@pytest.mark.parametrize(
    ("mine", "free"), [([0.0, 0.5], False), ([0.4, 0.6], False), ([0.5, 1.0], True), ([0.2, 0.3], False)]
)
def test_slices_of_one_layer_do_not_overlap_while_an_experiment_lives(
    catalog: Catalog, mine: list[float], free: bool
) -> None:
    catalog.apply(ranker(layer={"key": "home", "slice": [0.0, 0.5]}), at=1, actor="ana")
    other = ranker(key="other", layer={"key": "home", "slice": mine})
    if free:
        catalog.apply(other, at=2, actor="ana")
        return
    with pytest.raises(
        DefinitionError, match=r"layer.slice: overlaps home \(draft\).*Fix: choose a free slice"
    ):
        catalog.apply(other, at=2, actor="ana")
    catalog.apply(ranker(key="elsewhere", layer={"key": "cart", "slice": mine}), at=2, actor="ana")
    catalog.start("home", at=3, actor="ana")
    catalog.stop("home", at=4, actor="ana")
    catalog.apply(other, at=5, actor="ana")


def test_racing_applies_never_take_one_slice_twice(catalog: Catalog) -> None:
    def attempt(number: int) -> bool:
        definition = ranker(key=f"e{number}", layer={"key": "home", "slice": [0.0, 0.5]})
        try:
            catalog.apply(definition, at=1, actor="ana")
        except DefinitionError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1
    assert [state.ordinal for state in catalog.experiments()] == [1]


def test_what_is_frozen_stays(catalog: Catalog) -> None:
    started(catalog)
    with pytest.raises(LifecycleError, match="window"):
        catalog.apply(ranker(window="14d"), at=20, actor="ana")
    assert catalog.plan_change(ranker(window="14d")).refused


def test_a_new_allocation_opens_an_epoch_and_a_ramp_does_not(catalog: Catalog) -> None:
    started(catalog)
    catalog.ramp("home", {"rest": 5000}, at=20, actor="ana", reason="looks fine")
    assert len(catalog.experiment("home").epochs) == 1
    changed = [dict(SEGMENTS[0]), dict(SEGMENTS[1]), {"key": "rest", "traffic": "50%", "allocation": "equal"}]
    assert catalog.plan_change(ranker(segments=changed)).opens_epoch
    state = catalog.apply(ranker(segments=changed), at=30, actor="ana")
    assert [epoch.number for epoch in state.epochs] == [1, 2]
    assert state.epochs[1].digests == {"control": content("a").digest, "treatment": content("b").digest}


# start and the rest of life


def test_a_model_is_routed_by_one_running_experiment(catalog: Catalog) -> None:
    started(catalog)
    catalog.apply(ranker(key="second"), at=20, actor="ana")
    with pytest.raises(LifecycleError, match="home already runs on model ranker"):
        catalog.start("second", at=21, actor="ana")
    catalog.pause("home", at=22, actor="ana")
    catalog.start("second", at=23, actor="ana")
    with pytest.raises(LifecycleError, match="second already runs"):
        catalog.resume("home", at=24, actor="ana")
    catalog.stop("second", at=25, actor="ana")
    assert catalog.resume("home", at=26, actor="ana").status is Status.RUNNING


def test_disjoint_slices_of_one_layer_may_share_a_model(catalog: Catalog) -> None:
    started(catalog, ranker(layer={"key": "home", "slice": [0.0, 0.5]}))
    started(catalog, ranker(key="second", layer={"key": "home", "slice": [0.5, 1.0]}))
    third = ranker(key="third", layer={"key": "other", "slice": [0.5, 1.0]})
    catalog.apply(third, at=20, actor="ana")
    with pytest.raises(LifecycleError, match="already runs on model ranker"):
        catalog.start("third", at=21, actor="ana")


def test_racing_starts_leave_one_running(catalog: Catalog) -> None:
    for number in range(5):
        catalog.apply(ranker(key=f"e{number}"), at=1, actor="ana")

    def attempt(number: int) -> bool:
        try:
            catalog.start(f"e{number}", at=2, actor="ana")
        except LifecycleError:
            return False
        return True

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(attempt, range(5))) == 1
    assert [state.status for state in catalog.experiments()].count(Status.RUNNING) == 1


def test_the_first_start_makes_control_the_champion(catalog: Catalog) -> None:
    started(catalog)
    champion = catalog.champion("ranker")
    assert versions(catalog) == [1, 1, 1]
    assert [change.move for change in champion.history] == [Move.START]
    catalog.stop("home", at=20, actor="ana")
    started(catalog, ranker(key="second"), at=30)
    assert catalog.champion("ranker") == champion


def test_the_ledgers_plan_holds_what_was_ever_started(catalog: Catalog) -> None:
    started(catalog)
    catalog.apply(ranker(key="draft"), at=20, actor="ana")
    assert list(catalog.plan().by_key) == ["home"]
    catalog.stop("home", at=21, actor="ana")
    assert list(catalog.plan().by_key) == ["home"]


def test_an_unknown_experiment_is_not_found(catalog: Catalog) -> None:
    for attempt in (catalog.start, catalog.pause, catalog.stop):
        with pytest.raises(NotFound, match="unknown experiment nothing"):
            attempt("nothing", at=1, actor="ana")


# decisions


def test_decisions_are_numbered_and_a_stopped_experiment_becomes_decided(catalog: Catalog) -> None:
    started(catalog)
    assert decided(catalog, kind=VerdictKind.CONTINUE).id == "home/1"
    assert catalog.experiment("home").status is Status.RUNNING
    catalog.stop("home", at=20, actor="ana")
    decided(catalog, kind=VerdictKind.CONTINUE)
    assert catalog.experiment("home").status is Status.STOPPED
    assert decided(catalog).number == 3
    assert catalog.experiment("home").status is Status.DECIDED
    assert catalog.experiment("home").history[-1].action == "promote treatment"
    assert [decision.number for decision in catalog.decisions("home")] == [1, 2, 3]
    assert catalog.decisions("hom") == []


def test_a_decision_on_an_outdated_definition_is_a_conflict(catalog: Catalog) -> None:
    started(catalog)
    old = decided(catalog)
    catalog.ramp("home", {"rest": 5000}, at=20, actor="ana")
    with pytest.raises(Superseded, match="home was revised"):
        catalog.record_decision(old)


def test_a_decision_on_a_model_that_changed_is_a_conflict(catalog: Catalog) -> None:
    started(catalog)
    record = decided(catalog)
    with pytest.raises(Superseded, match="a model of home changed"):
        catalog.record_decision(replace(record, digests={**record.digests, "treatment": "sha256:other"}))


# promotion and rollback


def test_a_decision_on_one_model_never_promotes_another(catalog: Catalog) -> None:
    """Decided on ranker@2; then ranker@3 takes the variant's place, in a new epoch."""
    started(catalog)
    decided(catalog)
    three = [{"key": "control", "model": "ranker@1"}, {"key": "treatment", "model": "ranker@3"}]
    state = catalog.apply(ranker(variants=three), at=150, actor="bo")
    assert state.epoch is not None
    with pytest.raises(Superseded, match=r"treatment was sha256:\w+, it is sha256:\w+ \(ranker@3\) now"):
        catalog.promote("home", ask())
    with pytest.raises(Superseded, match="not about the models in force"):
        catalog.promote("home", ask("us"))
    assert versions(catalog) == [1, 1, 1]
    catalog.promote("home", ask(override="model 2 is withdrawn"))
    assert versions(catalog) == [3, 3, 3]


def test_a_decision_against_one_control_never_promotes_against_another(catalog: Catalog) -> None:
    started(catalog)
    decided(catalog)
    other = [{"key": "control", "model": "ranker@3"}, {"key": "treatment", "model": "ranker@2"}]
    catalog.apply(ranker(variants=other), at=150, actor="bo")
    with pytest.raises(Superseded, match=r"control was .*\(ranker@3\) now"):
        catalog.promote("home", ask(expected=1))


def test_a_version_that_is_not_what_was_registered_is_not_promoted(
    catalog: Catalog, records: Records
) -> None:
    """The same name and number, other content: a store put together from two others."""
    started(catalog)
    decided(catalog)
    known = records.get(Kind.MODEL, "ranker@2")
    assert known is not None
    body = {**known.body, **to_body(content("d")), "digest": content("d").digest}
    swapped = Put(kind=Kind.MODEL, key="ranker@2", body=body, expected_version=known.version)
    note = Note(at=150, actor="bo", action="swap", subject="ranker@2", reason="")
    records.commit([swapped], note, revision=records.revision())
    with pytest.raises(Superseded, match="treatment was"):
        catalog.promote("home", ask())


def test_promotion_follows_the_decision(catalog: Catalog) -> None:
    started(catalog)
    with pytest.raises(Refused, match="no decision is on record"):
        catalog.promote("home", ask())
    decided(catalog, kind=VerdictKind.CONTINUE)
    with pytest.raises(Refused, match="home/1 says continue"):
        catalog.promote("home", ask())
    decided(catalog)
    champion = catalog.promote("home", ask())
    assert versions(catalog) == [2, 2, 2]
    assert champion.history[-1].grounds.decision == "home/2"
    decided(catalog, kind=VerdictKind.KEEP)
    with pytest.raises(Refused, match="home/3 says keep"):
        catalog.promote("home", ask())


def test_a_segment_is_promoted_alone_and_the_rest_later(catalog: Catalog) -> None:
    started(catalog)
    decided(
        catalog,
        kind=VerdictKind.CONTINUE,
        segments={"us": Finding(kind=VerdictKind.PROMOTE, variant="treatment")},
    )
    catalog.promote("home", ask("us"))
    assert versions(catalog) == [2, 1, 1]
    with pytest.raises(Refused, match="for segment ca"):
        catalog.promote("home", ask("ca"))
    decided(catalog)
    assert catalog.promote("home", ask()).history[-1].segments == ("ca", "rest")
    assert versions(catalog) == [2, 2, 2]
    revision = catalog.revision()
    with pytest.raises(Refused, match="ranker@2 is already champion of us, ca, rest"):
        catalog.promote("home", ask())
    assert catalog.revision() == revision


def test_an_override_needs_a_reason_and_is_on_record(catalog: Catalog, records: Records) -> None:
    started(catalog)
    with pytest.raises(Refused, match="needs a reason"):
        catalog.promote("home", ask(override=" "))
    champion = catalog.promote("home", ask("us", override="contract ends today"))
    assert champion.history[-1].grounds.override == "contract ends today"
    assert champion.history[-1].grounds.decision is None
    last = list(records.audit())[-1]
    assert (last.action, last.subject, last.reason) == ("promote", "ranker@2 in us", "contract ends today")


def test_evidence_against_another_champion_does_not_promote(catalog: Catalog) -> None:
    """The experiment compared with ranker@1; in `us` somebody made ranker@3 champion meanwhile."""
    started(catalog)
    decided(catalog)
    catalog.crown(ModelRef("ranker", 3), reason="hot fix", at=150, actor="bo")
    with pytest.raises(Superseded, match="us is at version 3, expected 1"):
        catalog.promote("home", ask())
    catalog.promote("home", ask(expected=3))
    assert versions(catalog) == [2, 2, 2]


@pytest.mark.parametrize("variants", [("treatment", "treatment"), ("treatment", "third")])
def test_of_two_racing_promoters_one_gets_a_conflict(catalog: Catalog, variants: tuple[str, str]) -> None:
    three = [
        {"key": "control", "model": "ranker@1"},
        {"key": "treatment", "model": "ranker@2"},
        {"key": "third", "model": "ranker@3"},
    ]
    started(catalog, experiment(key="home", variants=three))
    together = Barrier(2)

    def attempt(variant: str) -> str:
        together.wait()
        try:
            catalog.promote("home", ask(variant=variant, override="race"))
        except (Conflict, Refused) as lost:
            return str(lost)
        return "promoted"

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(attempt, variants))
    assert answers.count("promoted") == 1
    assert len(catalog.champion("ranker").history) == 2


def test_racing_promoters_of_different_segments_both_succeed(catalog: Catalog) -> None:
    started(catalog)
    decided(catalog)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda segment: catalog.promote("home", ask(segment)), ["us", "ca", "rest"]))
    assert versions(catalog) == [2, 2, 2]


def test_rollback_is_one_call_for_all_or_for_a_segment(catalog: Catalog) -> None:
    started(catalog)
    decided(catalog)
    catalog.promote("home", ask())
    catalog.rollback("ranker", segments=["us"], reason="complaints", at=300, actor="bo")
    assert versions(catalog) == [1, 2, 2]
    champion = catalog.rollback("ranker", reason="more complaints", at=400, actor="bo")
    assert versions(catalog) == [1, 1, 1]
    assert [champion_at(champion.history, "ca", at) for at in (0, 11, 200, 399, 400)] == [None, 1, 2, 2, 1]
    with pytest.raises(Refused, match="no earlier version"):
        catalog.rollback("ranker", at=500, actor="bo")


def test_rollback_of_a_model_nobody_knows_says_so(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match=r"unknown model rankr.*known: ranker"):
        catalog.rollback("rankr", at=1, actor="ana")
    with pytest.raises(Refused, match="no earlier version"):
        catalog.rollback("ranker", at=1, actor="ana")


def test_two_hands_on_the_rollback_take_one_step_back(catalog: Catalog) -> None:
    started(catalog)
    decided(catalog)
    catalog.promote("home", ask("us"))
    catalog.promote("home", ask("ca"))
    together = Barrier(2)

    class Slow(Catalog):
        """Both read before either writes."""

        def champion(self, name: str) -> Any:
            found = super().champion(name)
            if len(found.history) == 3:
                together.wait(timeout=5)
            return found

    def attempt(_: int) -> bool:
        try:
            Slow(catalog._records).rollback("ranker", at=300, actor="ana")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(attempt, range(2)))
    assert sorted(answers) == [False, True]
    assert versions(catalog) == [2, 1, 1]


def test_a_champion_without_an_experiment_needs_a_reason(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="reason"):
        catalog.crown(ModelRef("ranker", 1), reason="", at=1, actor="ana")
    with pytest.raises(NotFound):
        catalog.crown(ModelRef("ranker", 9), reason="first", at=1, actor="ana")
    catalog.crown(ModelRef("ranker", 1), reason="first version", at=1, actor="ana")
    assert versions(catalog) == [1, 1, 1]
    assert [champion.model for champion in catalog.champions()] == ["ranker"]


def test_what_cannot_be_promoted_is_said(catalog: Catalog) -> None:
    catalog.apply(ranker(), at=1, actor="ana")
    with pytest.raises(LifecycleError, match="never started"):
        catalog.promote("home", ask(override="now"))
    catalog.start("home", at=2, actor="ana")
    with pytest.raises(NotFound, match=r"no such variant.*control, treatment"):
        catalog.promote("home", ask(variant="other", override="now"))
    with pytest.raises(NotFound, match="no such segment"):
        catalog.promote("home", ask("eu", override="now"))


# the record as a whole


def test_every_change_is_in_the_audit_log_and_the_log_explains_the_records(
    catalog: Catalog, records: Records
) -> None:
    started(catalog)
    catalog.ramp("home", {"rest": 5000}, at=20, actor="bo")
    decided(catalog)
    catalog.promote("home", ask())
    catalog.rollback("ranker", reason="slow", at=300, actor="cy")
    log = [(entry.actor, entry.action, entry.subject) for entry in records.audit()]
    assert log[3:] == [
        ("ana", "apply", "home"),
        ("ana", "start", "home"),
        ("bo", "ramp", "home"),
        ("ana", "decide", "home/1"),
        ("ana", "promote", "ranker@2 in us, ca, rest"),
        ("cy", "rollback", "ranker in everywhere"),
    ]
    assert next(e.reason for e in records.audit() if e.action == "ramp") == "ramp rest 20% -> 50%"
    assert check(records) == []
    assert catalog.revision() == len(log)


def test_a_record_that_cannot_be_read_is_corrupt_not_the_callers_fault(
    catalog: Catalog, records: Records
) -> None:
    broken = Put(kind=Kind.EXPERIMENT, key="odd", body={"definition": 7}, expected_version=0)
    records.commit([broken], next(records.audit()).note)
    with pytest.raises(Corrupt, match="stored experiment odd"):
        catalog.experiments()


def test_a_refused_change_writes_nothing(catalog: Catalog, records: Records) -> None:
    started(catalog)
    before = records.head()
    attempts: list[Callable[[], object]] = [
        lambda: catalog.promote("home", ask()),
        lambda: catalog.start("home", at=1, actor="ana"),
        lambda: catalog.apply(ranker(window="1d"), at=1, actor="ana"),
        lambda: catalog.ramp("home", {"eu": 1}, at=1, actor="ana"),
        lambda: catalog.register_model("ranker", Content(format=Format.SKOPS), at=1, actor="ana"),
    ]
    for attempt in attempts:
        with pytest.raises(BadInput):
            attempt()
    assert records.head() == before


def test_a_variant_whose_units_are_assigned_elsewhere_has_nothing_to_promote(catalog: Catalog) -> None:
    source = {"shape": "units", "variant": "arm", "day": "day", "columns": {"ctr": "clicked"}}
    imported = experiment(
        key="home", model=None, variants=[{"key": "control"}, {"key": "treatment"}], segments=None,
        source=source,
    )  # fmt: skip
    started(catalog, imported)
    assert decided(catalog).digests == {}
    with pytest.raises(Refused, match="this variant has no model"):
        catalog.promote("home", ask())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("control"), st.sampled_from([1, 4])),
        st.tuples(st.just("treatment"), st.sampled_from([2, 3])),
        st.tuples(st.just("ramp"), st.sampled_from([2000, 5000])),
        st.tuples(st.just("decide"), st.sampled_from([VerdictKind.PROMOTE, VerdictKind.KEEP])),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(steps=STEPS)
def test_a_promotion_is_of_the_models_that_the_latest_decision_compared(
    steps: list[tuple[str, Any]],
) -> None:
    """The oracle writes down what stood behind the variants when it was decided, by version and traffic."""
    catalog = Catalog(MemoryRecords())
    for letter in "abcd":
        catalog.register_model("ranker", content(letter), at=1, actor="ana")
    now = {"control": 1, "treatment": 2, "ramp": 2000}
    started(catalog)
    noted: tuple[VerdictKind, dict[str, int]] | None = None
    for at, (step, value) in enumerate(steps, start=20):
        if step == "decide":
            decided(catalog, kind=value, at=at)
            noted = value, dict(now)
        elif now[step] != value:
            now[step] = value
            pair = [{"key": key, "model": f"ranker@{now[key]}"} for key in ("control", "treatment")]
            rest = {**SEGMENTS[2], "traffic": f"{now['ramp'] / 100:g}%"}
            catalog.apply(ranker(variants=pair, segments=[*SEGMENTS[:2], rest]), at=at, actor="ana")
    pair_kept = noted is not None and all(noted[1][key] == now[key] for key in ("control", "treatment"))
    allowed = noted == (VerdictKind.PROMOTE, now) and now["control"] == 1
    if allowed:
        catalog.promote("home", ask())
    else:
        # against a champion that is not control's, or about other models: a conflict; else the rule says no
        said = noted == (VerdictKind.PROMOTE, now) or (noted is not None and not pair_kept)
        with pytest.raises(Superseded if said else Refused):
            catalog.promote("home", ask())
    assert versions(catalog) == [now["treatment"] if allowed else 1] * 3
