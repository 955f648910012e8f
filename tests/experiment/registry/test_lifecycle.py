"""Lifecycle: transitions, what freezes, epochs, ramps, and what a plan says before anything happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.assignment import assign as assignment
from switchpoint.experiment.definition.state import Change, ExperimentState, Status
from switchpoint.experiment.definition.types import BUCKETS, Segment
from switchpoint.experiment.errors import BadInput, DefinitionError, LifecycleError
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language.experiment import rule_digest
from switchpoint.experiment.registry import lifecycle
from switchpoint.experiment.registry.diff import movements, plan_change
from tests.experiment.definitions import DESIGN_EXAMPLE, digests, experiment, minimal, running

ACTIONS: dict[str, Callable[[ExperimentState], ExperimentState]] = {
    "start": lambda s: lifecycle.start(s, digests=digests(s.definition), at=9, actor="ana"),
    "pause": lambda s: lifecycle.pause(s, at=9, actor="ana"),
    "resume": lambda s: lifecycle.resume(s, at=9, actor="ana"),
    "stop": lambda s: lifecycle.stop(s, at=9, actor="ana"),
    "decide": lambda s: lifecycle.decide(s, action="keep control", at=9, actor="ana"),
    "ramp": lambda s: lifecycle.ramp(s, {"all": 5_000}, at=9, actor="ana"),
}

RESULT = {
    "start": Status.RUNNING, "pause": Status.PAUSED, "resume": Status.RUNNING, "stop": Status.STOPPED,
    "decide": Status.DECIDED,
}  # fmt: skip

ALLOWED = {
    Status.DRAFT: {"start", "ramp"},
    Status.RUNNING: {"pause", "stop", "decide", "ramp"},
    Status.PAUSED: {"resume", "stop", "decide", "ramp"},
    Status.STOPPED: {"decide"},
    Status.DECIDED: set(),
}


def state_in(status: Status) -> ExperimentState:
    draft = lifecycle.create(experiment(), ordinal=3, at=0, actor="ana")
    steps = {
        Status.DRAFT: [],
        Status.RUNNING: ["start"],
        Status.PAUSED: ["start", "pause"],
        Status.STOPPED: ["start", "stop"],
        Status.DECIDED: ["start", "stop", "decide"],
    }
    for step in steps[status]:
        draft = ACTIONS[step](draft)
    return draft


@pytest.mark.parametrize(("status", "action"), list(product(Status, ACTIONS)))
def test_transitions(status: Status, action: str) -> None:
    """Every status takes exactly its own actions; each writes history and a new revision."""
    state = state_in(status)
    if action in ALLOWED[status]:
        changed = ACTIONS[action](state)
        assert changed.revision == state.revision + 1
        assert changed.status is RESULT.get(action, status)
        assert len(changed.history) == len(state.history) + 1
        assert (changed.history[-1].at, changed.history[-1].actor, changed.history[-1].reason) == (
            9,
            "ana",
            "",
        )
    else:
        with pytest.raises(LifecycleError) as caught:
            ACTIONS[action](state)
        possible = " or ".join(each.value for each in Status if action in ALLOWED[each])
        assert str(caught.value) == (
            f"status: cannot {action} 'exp': it is {status.value}. Fix: possible while {possible}."
        )
        assert (caught.value.field, caught.value.value) == ("status", status.value)


def test_start_freezes_the_rule_and_opens_epoch_one() -> None:
    state = running(parsing.load(DESIGN_EXAMPLE))
    assert state.rule_digest == rule_digest(state.definition)
    assert (state.started_at, state.stopped_at) == (1_000, None)
    assert state.epoch is not None
    assert (state.epoch.number, state.epoch.salt, state.epoch.started_at) == (1, "home-ranker/1", 1_000)


def test_it_stops_when_enrolment_ends_and_a_decision_later_does_not_move_that() -> None:
    state = running(experiment())
    stopped = lifecycle.stop(state, at=50, actor="ana")
    assert (state.stopped_at, stopped.stopped_at) == (None, 50)
    decided = lifecycle.decide(stopped, action="keep control", at=90, actor="ana")
    assert (decided.status, decided.stopped_at) == (Status.DECIDED, 50)
    at_once = lifecycle.decide(state, action="promote treatment", at=70, actor="bo", reason="won")
    assert at_once.stopped_at == 70
    assert at_once.history[-1] == Change(at=70, actor="bo", action="promote treatment", reason="won")
    assert lifecycle.pause(state, at=60, actor="ana").stopped_at is None


def test_every_change_says_when_who_what_and_why() -> None:
    state = lifecycle.create(experiment(), ordinal=4, at=1, actor="ana")
    assert (state.revision, state.ordinal, state.key) == (1, 4, "exp")
    state = lifecycle.start(state, digests=digests(state.definition), at=2, actor="bo", reason="go")
    state = lifecycle.ramp(state, {"all": 5_000}, at=3, actor="cy", reason="slow")
    state = lifecycle.pause(state, at=4, actor="di", reason="incident")
    state = lifecycle.resume(state, at=5, actor="ed", reason="over")
    definition = experiment(
        hypothesis="Said better.", segments=[{"key": "all", "traffic": "50%", "allocation": "equal"}]
    )
    state = lifecycle.revise(state, definition, digests=digests(definition), at=6, actor="fi", reason="words")
    rebuilt = {**digests(definition), "treatment": "sha256:new"}
    state = lifecycle.revise(state, definition, digests=rebuilt, at=7, actor="gil", reason="rebuilt")
    state = lifecycle.stop(state, at=8, actor="hal", reason="end")
    assert [(c.at, c.actor, c.action, c.reason) for c in state.history] == [
        (1, "ana", "create", ""), (2, "bo", "start", "go"), (3, "cy", "ramp all 100% -> 50%", "slow"),
        (4, "di", "pause", "incident"), (5, "ed", "resume", "over"), (6, "fi", "revise", "words"),
        (7, "gil", "open epoch 2", "rebuilt"), (8, "hal", "stop", "end"),
    ]  # fmt: skip
    assert (state.revision, state.started_at) == (8, 2)
    assert [(e.number, e.salt, e.started_at) for e in state.epochs] == [(1, "exp/1", 2), (2, "exp/2", 7)]


def test_a_paused_experiment_may_be_given_another_model_and_a_draft_opens_no_epoch() -> None:
    paused = lifecycle.pause(running(experiment()), at=2, actor="ana")
    rebuilt = {**digests(paused.definition), "control": "sha256:new"}
    assert lifecycle.opens_epoch(paused, paused.definition, rebuilt)
    after = lifecycle.revise(paused, paused.definition, digests=rebuilt, at=5, actor="ana")
    assert (after.status, after.epoch.number if after.epoch else 0) == (Status.PAUSED, 2)
    draft = lifecycle.create(experiment(), ordinal=1, at=0, actor="ana")
    assert not lifecycle.opens_epoch(draft, draft.definition, rebuilt)
    stopped = lifecycle.stop(paused, at=6, actor="ana")
    assert not lifecycle.opens_epoch(stopped, stopped.definition, rebuilt)


def test_a_ramp_widens_the_current_epoch_only_and_takes_all_or_nothing_of_the_bounds() -> None:
    state = running(parsing.load(DESIGN_EXAMPLE))
    moved = replace(state.definition, segments=tuple(
        replace(s, allocation=(4_000, 6_000)) for s in state.definition.segments
    ))  # fmt: skip
    second = lifecycle.revise(state, moved, digests=digests(moved), at=5, actor="ana")
    ramped = lifecycle.ramp(second, {"us": 0, "ca": BUCKETS - 1}, at=6, actor="ana")
    assert ramped.history[-1].action == "ramp us 100% -> 0%, ca 100% -> 99.99%"
    assert [s.traffic for s in ramped.definition.segments] == [0, 9_999, 2_000]
    assert [[s.traffic for s in e.segments] for e in ramped.epochs] == [
        [10_000, 10_000, 2_000],
        [0, 9_999, 2_000],
    ]
    assert ramped.epochs[1].segments == ramped.definition.segments
    assert (
        lifecycle.ramp(ramped, {"us": BUCKETS}, at=7, actor="ana").definition.segments[0].traffic == BUCKETS
    )


def test_what_is_frozen_is_said_by_name_in_the_order_of_the_definition() -> None:
    state = running(experiment())
    other = replace(experiment(), model="other")
    with pytest.raises(LifecycleError, match="frozen since start") as caught:
        lifecycle.refuse_frozen(state, other)
    assert (caught.value.field, caught.value.value) == ("model", "other")
    with pytest.raises(LifecycleError, match="a new key is a new experiment"):
        lifecycle.refuse_frozen(
            lifecycle.create(experiment(), ordinal=1, at=0, actor="a"), experiment(key="x")
        )


def test_a_draft_is_ramped_before_it_starts() -> None:
    draft = ACTIONS["ramp"](state_in(Status.DRAFT))
    assert [segment.traffic for segment in draft.definition.segments] == [5_000]
    started = ACTIONS["start"](draft)
    assert [[segment.traffic for segment in epoch.segments] for epoch in started.epochs] == [[5_000]]


def test_start_needs_a_digest_of_every_model() -> None:
    draft = lifecycle.create(experiment(), ordinal=1, at=0, actor="ana")
    with pytest.raises(LifecycleError) as caught:
        lifecycle.start(draft, digests={"control": "sha256:1"}, at=1, actor="ana")
    assert str(caught.value) == (
        "variants.treatment.model: no digest for ranker@2. Fix: register the model version first."
    )


def revise(state: ExperimentState, **changes: Any) -> ExperimentState:
    definition = experiment(**changes)
    return lifecycle.revise(state, definition, digests=digests(definition), at=5, actor="ana")


FROZEN: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"key": "other"}, "the key was 'exp'"),
    "unit": ({"unit": "session_id"}, "frozen since start"),
    "layer": ({"layer": {"key": "l", "slice": [0, 0.5]}}, "frozen since start"),
    "dimensions": ({"dimensions": ["device"]}, "frozen since start"),
    "metrics": (
        {"metrics": [{"key": "ctr", "type": "proportion", "event": "tap", "role": "primary"}]},
        "frozen since start",
    ),
    "window": ({"window": "8d"}, "frozen since start"),
    "decision": ({"decision": {"mde": "3%"}}, "frozen since start"),
    "segments": (
        {"segments": [{"key": "us", "when": {"country": "US"}, "allocation": "equal"}]},
        "segments and their conditions are frozen since start",
    ),
    "variants": (
        {"variants": [{"key": "control", "model": "ranker@1"}, {"key": "b", "model": "ranker@2"}]},
        "the set of variants is frozen since start",
    ),
}


@pytest.mark.parametrize("field", FROZEN)
def test_frozen_parts_are_refused_while_running(field: str) -> None:
    changes, message = FROZEN[field]
    state = running(experiment())
    with pytest.raises(LifecycleError) as caught:
        revise(state, **changes)
    fix = "keep it; a different one needs a new experiment with its own key."
    if field == "key":
        fix = "a new key is a new experiment."
    assert str(caught.value) == f"{field}: {message}. Fix: {fix}"
    wanted = getattr(experiment(**changes), {"window": "window_ms"}.get(field, field))
    assert caught.value.value == (None if field in {"variants", "segments"} else wanted)
    if field != "key":
        draft = lifecycle.create(experiment(), ordinal=1, at=0, actor="ana")
        assert revise(draft, **changes).definition == experiment(**changes)


def test_words_and_traffic_change_without_an_epoch() -> None:
    state = revise(
        running(experiment()),
        hypothesis="Better said.",
        segments=[{"key": "all", "traffic": "40%", "allocation": "equal"}],
    )
    assert [epoch.number for epoch in state.epochs] == [1]
    assert state.epoch is not None
    assert state.epoch.segments[0].traffic == 4_000
    assert state.definition.hypothesis == "Better said."
    assert (state.history[-1].action, state.history[-1].reason) == ("revise", "")


def test_a_new_allocation_opens_an_epoch_with_a_new_salt() -> None:
    state = revise(
        running(experiment()), segments=[{"key": "all", "allocation": {"control": 0.2, "treatment": 0.8}}]
    )
    assert [(e.number, e.salt) for e in state.epochs] == [(1, "exp/1"), (2, "exp/2")]
    assert [e.segments[0].allocation for e in state.epochs] == [(5_000, 5_000), (2_000, 8_000)]
    assert state.rule_digest == running(experiment()).rule_digest


def test_a_changed_model_digest_opens_an_epoch() -> None:
    state = running(experiment())
    changed = {**digests(state.definition), "treatment": "sha256:rebuilt"}
    revised = lifecycle.revise(state, state.definition, digests=changed, at=5, actor="ana")
    assert revised.epoch is not None
    assert (revised.epoch.number, revised.epoch.digests) == (2, changed)


def test_applying_the_same_text_again_changes_nothing() -> None:
    state = running(experiment())
    assert revise(state) is state


def test_a_stopped_experiment_takes_no_change() -> None:
    stopped = "cannot change 'exp': it is stopped. Fix: possible while running or paused."
    with pytest.raises(LifecycleError, match=f"^status: {stopped}$"):
        revise(state_in(Status.STOPPED), hypothesis="Too late.")


@pytest.mark.parametrize(
    ("traffic", "kind", "field", "value", "message"),
    [
        ({"de": 1}, BadInput, "segment", "de", "no segment 'de'. Fix: known: us, ca, rest."),
        ({"us": BUCKETS + 1}, BadInput, "segments.us.traffic", BUCKETS + 1,
         "10001 is not a traffic share. Fix: 0 to 10000."),
        ({"us": -1}, BadInput, "segments.us.traffic", -1, "-1 is not a traffic share. Fix: 0 to 10000."),
        ({"us": BUCKETS}, LifecycleError, "traffic", None,
         "nothing to ramp. Fix: name a traffic other than today's."),
        ({"rest": 5}, BadInput, "segments.rest.traffic", 5,
         "'treatment' would get no bucket. Fix: raise the traffic."),
    ],
)  # fmt: skip
def test_ramp_names_its_mistakes(
    traffic: dict[str, int], kind: type[BadInput], field: str, value: object, message: str
) -> None:
    with pytest.raises(kind) as caught:
        lifecycle.ramp(running(parsing.load(DESIGN_EXAMPLE)), traffic, at=2, actor="ana")
    assert str(caught.value) == f"{field}: {message}"
    assert (caught.value.field, caught.value.value) == (field, value)


def test_a_segment_is_closed_by_a_ramp_to_nothing() -> None:
    state = running(parsing.load(DESIGN_EXAMPLE))
    off = lifecycle.ramp(state, {"rest": 0}, at=2, actor="ana")
    assert off.definition.segments[2].traffic == 0
    assert off.history[-1].action == "ramp rest 20% -> 0%"


@pytest.mark.parametrize("status", Status)
def test_states_survive_storage(status: Status) -> None:
    state = state_in(status)
    stored = json.loads(json.dumps(lifecycle.to_document(state)))
    assert lifecycle.from_document(stored) == state


def test_stored_states_that_do_not_fit_are_refused() -> None:
    document = lifecycle.to_document(running(experiment()))
    with pytest.raises(BadInput, match="status"):
        lifecycle.from_document({**document, "status": "asleep"})
    with pytest.raises(DefinitionError, match="window"):
        lifecycle.from_document({**document, "definition": {**document["definition"], "window": "7 days"}})


def test_a_plan_shows_the_diff_and_who_would_move() -> None:
    state = running(parsing.load(DESIGN_EXAMPLE))
    planned = plan_change(state, parsing.load(DESIGN_EXAMPLE.replace("20%,", "50%,")))
    assert (planned.action, planned.opens_epoch, planned.refused) == ("revise", False, "")
    assert planned.lines == ("~ segments[rest].traffic: 0.2 -> 0.5",)
    assert [(m.segment, m.entering, m.leaving, m.moving) for m in planned.movements] == [
        ("us", 0, 0, 0),
        ("ca", 0, 0, 0),
        ("rest", Fraction(3, 10), 0, 0),
    ]


def test_a_plan_of_a_new_allocation_counts_the_rehash() -> None:
    """50/50 → 20/80 under a new salt: 0.5·0.8 + 0.5·0.2 of the units change variant."""
    planned = plan_change(
        running(experiment()),
        experiment(segments=[{"key": "all", "allocation": {"control": 0.2, "treatment": 0.8}}]),
    )
    assert planned.opens_epoch
    assert [m.moving for m in planned.movements] == [Fraction(1, 2)]


def test_a_plan_names_the_variants_whose_evidence_would_be_history() -> None:
    three = [{"key": key, "model": f"ranker@{n}"} for n, key in enumerate(("control", "b", "c"), start=1)]
    state = running(experiment(variants=three))
    kept = digests(state.definition)
    for changed, outdated in (("b", ("b",)), ("c", ("c",)), ("control", ("b", "c"))):
        planned = plan_change(state, state.definition, digests={**kept, changed: "sha256:new"})
        assert planned.outdated == outdated
    assert plan_change(state, state.definition, digests=kept).outdated == ()
    wider = [{"key": "all", "allocation": {"control": 0.5, "b": 0.25, "c": 0.25}}]
    assert plan_change(state, experiment(variants=three, segments=wider), digests=kept).outdated == ()
    new = {**kept, "b": "sha256:new"}
    assert plan_change(state, experiment(variants=three, window="9d"), digests=new).outdated == (), "refused"
    draft = lifecycle.create(state.definition, ordinal=1, at=0, actor="ana")
    assert plan_change(draft, state.definition, digests=new).outdated == ()


def test_plans_of_new_same_and_refused_definitions() -> None:
    state = running(experiment())
    assert plan_change(None, experiment()).action == "create"
    assert plan_change(state, experiment()).action == "none"
    assert plan_change(state, experiment(), digests={"treatment": "sha256:new"}).opens_epoch
    refused = plan_change(state, experiment(window="9d"))
    assert (refused.lines, refused.movements) == (("~ window: 7d -> 9d",), ())
    assert "window: frozen since start" in refused.refused


allocations = st.lists(st.integers(0, 100), min_size=2, max_size=2).map(
    lambda cuts: tuple((b - a) * 100 for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 100], strict=True))
)
segments = st.builds(
    lambda traffic, allocation: Segment(key="s", when=None, traffic=traffic * 100, allocation=allocation),
    st.integers(0, 100),
    allocations,
)


@given(segments, segments)
def test_movements_equal_a_count_over_all_buckets(old: Segment, new: Segment) -> None:
    keys = ("control", "a", "b")
    variants = [{"key": key, "model": f"ranker@{n}"} for n, key in enumerate(keys, 1)]
    base = experiment(variants=variants)
    before, after = (replace(base, segments=(segment,)) for segment in (old, new))
    state = running(before)
    assert state.epoch is not None
    places = []
    for segment in (old, new):
        table = assignment.outcomes(state, state.epoch, segment)
        places.append([table.options[position] for position in table.position[:BUCKETS]])
    pairs = list(zip(*places, strict=True))
    counted = (
        sum(b.enrolled and not a.enrolled for a, b in pairs),
        sum(a.enrolled and not b.enrolled for a, b in pairs),
        sum(a.enrolled and b.enrolled and a.variant != b.variant for a, b in pairs),
    )
    [found] = movements(before, after, rehash=False)
    assert tuple(share * BUCKETS for share in (found.entering, found.leaving, found.moving)) == counted


def test_minimal_states_are_small() -> None:
    """The stored form holds no defaults twice: a running state of the smallest definition is under 2 kB."""
    assert len(json.dumps(lifecycle.to_document(running(parsing.from_document(minimal()))))) < 2_000
