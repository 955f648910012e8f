"""Only what was measured of the models in force is evidence: laws over random lives of an experiment.

The oracle keeps no epochs and no digests: it writes down, for every unit that was exposed, which models stood
behind control and behind every other variant at that moment, and compares these names with the last ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchpoint.analysis.analyze import Project, analyze_ledger
from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.evidence.ledger import from_ledger
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.simulation.units import unit_log
from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import Design, Experiment, LookPlan, ModelRef, Segment
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.ledger.fold import fold, fold_unit
from switchpoint.experiment.ledger.plan import ledger_plan
from switchpoint.experiment.registry.decision import VerdictKind
from switchpoint.experiment.registry.lifecycle import pause, ramp, resume, revise
from tests.analysis.cases import BUYERS, DAY, ERRORS, RULE, counts, definition, running
from tests.analysis.cases import segment as segment_of

KEYS = ("control", "treatment", "third")
LATER = 1000 * DAY


@dataclass
class Life:
    """An experiment as it goes on, and the oracle's notes: (unit, day, epoch, variant, models then)."""

    state: ExperimentState
    models: dict[str, int]
    day: int = 0
    units: int = 0
    notes: list[tuple[str, int, int, str, dict[str, int]]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    back: set[str] = field(default_factory=set)
    mixed: set[str] = field(default_factory=set)

    def revise(self, **changed: Any) -> None:
        """Take a new definition, as `apply` would, with the digests of its models."""
        after = replace(self.state.definition, **changed)
        digests = {v.key: f"sha256:{v.model}" for v in after.variants}
        self.state = revise(self.state, after, digests=digests, at=self.day * DAY, actor="a")

    def expose(self, variant: str, segment: str, size: int) -> None:
        """So many new units meet a variant today."""
        for _ in range(size):
            self.units += 1
            unit = f"u{self.units}"
            self.notes.append((unit, self.day, self._epoch, variant, dict(self.models)))
            self._event(unit, variant, segment)

    def again(self, place: int, variant: str, segment: str) -> None:
        """A unit that was exposed before comes back."""
        unit, _, epoch, first, _ = self.notes[place % len(self.notes)]
        if epoch < self._epoch:
            self.back.add(unit)
        elif first != variant:
            self.mixed.add(unit)
        self._event(unit, variant, segment)

    @property
    def _epoch(self) -> int:
        return self.state.epochs[-1].number

    def _event(self, unit: str, variant: str, segment: str) -> None:
        shown = Exposure(
            experiment="shop", variant=variant, segment=segment, epoch=self._epoch,
            revision=self.state.revision, propensity=0.5, served=variant,
        )  # fmt: skip
        number = len(self.events)
        self.events.append(
            Event(id=f"e{number:05}", type="exposure", unit=unit, at=self.day * DAY + number, exposure=shown)
        )
        if number % 3 == 0:
            self.events.append(
                Event(id=f"o{number:05}", type="purchase", unit=unit, at=self.day * DAY + number + 1)
            )


def segment(key: str, traffic: int, *allocation: int) -> Segment:
    return Segment(
        key=key, when={"country": "US"} if key == "us" else None, traffic=traffic, allocation=allocation
    )


def three(models: dict[str, int]) -> Experiment:
    """An experiment of three variants in two segments."""
    base = definition(segment("us", 10_000, 4000, 3000, 3000), segment("rest", 5000, 4000, 3000, 3000))
    return replace(base, variants=variants(models))


def variants(models: dict[str, int]) -> Any:
    names = definition(segment("us", 10_000, 4000, 3000, 3000)).variants
    return tuple(replace(v, model=ModelRef("ranker", models[v.key])) for v in names)


ALLOCATIONS = [(4000, 3000, 3000), (5000, 5000, 0), (5000, 0, 5000), (2000, 4000, 4000)]
"""The second and third drop a variant; leaving them adds it again."""


def live_a_day(draw: st.DrawFn, life: Life, allocation: tuple[int, ...]) -> None:
    """A few units in each variant that has a weight, and one of those before in a variant at random."""
    for where in ("us", "rest"):
        for key, weight in zip(KEYS, allocation, strict=True):
            life.expose(key, where, draw(st.sampled_from([0, 3, 5])) if weight else 0)
    if draw(st.booleans()) and life.notes:
        life.again(draw(st.integers(0, 99)), draw(st.sampled_from(KEYS)), "us")
    life.day += 1


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Days of exposures between ramps, pauses, new allocations, new models and models that come back."""
    models = {"control": 1, "treatment": 2, "third": 3}
    life = Life(running(three(models)), models)
    # the first digests are those of the names, as `revise` writes them
    epoch = replace(life.state.epochs[0], digests={k: f"sha256:ranker@{m}" for k, m in models.items()})
    life.state = replace(life.state, epochs=(epoch,))
    allocation = ALLOCATIONS[0]
    for _ in range(draw(st.integers(1, 6))):
        step = draw(st.sampled_from(["days", "days", "model", "control", "allocation", "ramp", "pause"]))
        if step in {"model", "control"}:
            key = "control" if step == "control" else draw(st.sampled_from(KEYS[1:]))
            life.models[key] = draw(st.integers(1, 6))
            life.revise(variants=variants(life.models))
        elif step == "allocation":
            allocation = draw(st.sampled_from(ALLOCATIONS))
            life.revise(
                segments=tuple(replace(s, allocation=allocation) for s in life.state.definition.segments)
            )
        elif step == "ramp":
            traffic = 5000 + 100 * draw(st.integers(1, 40))
            if traffic != life.state.definition.segments[1].traffic:
                life.state = ramp(life.state, {"rest": traffic}, at=life.day * DAY, actor="a")
        elif step == "pause":
            paused = pause(life.state, at=life.day * DAY, actor="a")
            life.day += draw(st.integers(0, 2))
            life.state = resume(paused, at=life.day * DAY, actor="a")
        for _ in range(draw(st.integers(0, 2))):
            live_a_day(draw, life, allocation)
    return life


def counted(life: Life, variant: str) -> tuple[list[int], set[str]]:
    """The oracle: units of control and of `variant` that were exposed while both had today's models."""
    sides: list[set[str]] = [set(), set()]
    for unit, _, _, key, models in life.notes:
        same = all(models[k] == life.models[k] for k in ("control", variant))
        if same and unit not in life.mixed and key in {"control", variant}:
            sides[key == variant].add(unit)
    return [len(side) for side in sides], sides[0] | sides[1]


def moments_of(life: Life) -> Any:
    return fold(life.events, ledger_plan([life.state]))


def compared_units(evidence: Evidence) -> list[list[int]]:
    """Units of control and each other variant where they are compared."""
    units, compared = evidence.counts(evidence.clean())[0, ..., 0], evidence.compared()[0]
    return [[int(units[compared[:, v], side].sum()) for side in (0, v)] for v in range(1, len(KEYS))]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=lives())
def test_units_count_where_they_met_the_models_in_force(life: Life) -> None:
    evidence = from_ledger(life.state, moments_of(life), at=LATER)
    wanted = [counted(life, key) for key in KEYS[1:]]
    assert compared_units(evidence) == [units for units, _ in wanted]
    mine = set().union(*(units for _, units in wanted))
    everybody = {note[0] for note in life.notes} - life.mixed
    assert evidence.counts(evidence.clean())[..., 0].sum() == len(mine)
    past = evidence.history
    assert (0 if past is None else past.units) == len(everybody - mine)
    assert (0 if past is None else past.carried) == len(life.back - mine - life.mixed)
    _former_pairs_hold(life, evidence)
    _weights_are_of_the_variants_counted(evidence)
    _days_are_those_with_evidence(life, evidence, mine)


def _former_pairs_hold(life: Life, evidence: Evidence) -> None:
    """Every pair of models that is no longer in force, with the units that met it."""
    found: Counter[tuple[str, int, int, bool]] = Counter()
    for unit, _, _, key, models in life.notes:
        for other in KEYS[1:]:
            pair = (models["control"], models[other])
            former = pair != (life.models["control"], life.models[other])
            if former and unit not in life.mixed and key in {"control", other}:
                found[other, *pair, key == other] += 1
    pairs = evidence.history.pairs.subjects if evidence.history is not None else ()
    shown = {}
    for place, subject in enumerate(pairs):
        assert evidence.history is not None
        cells = evidence.history.pairs.cells
        mine = (cells.subject == place) & ~cells.contaminated
        one, two = (int(str(digest).removeprefix("sha256:ranker@")) for digest in subject.digests)
        for side in (0, 1):
            shown[subject.variants[1], one, two, bool(side)] = int(
                cells.counts[mine & (cells.variant == side), 0].sum()
            )
    # a pair is shown where its variant has units
    told = {key[:3] for key, size in found.items() if key[3] and size}
    assert {k: v for k, v in shown.items() if v} == {k: v for k, v in found.items() if k[:3] in told and v}


def _weights_are_of_the_variants_counted(evidence: Evidence) -> None:
    """In every stratum the weights of the variants that count there sum to one, all others have none."""
    compared = evidence.compared()[0]
    for place, stratum in enumerate(evidence.subjects[0].strata):
        weights = np.array(stratum.weights)
        assert weights.sum() == pytest.approx(1)
        assert not weights[~compared[place]].any()
        assert compared[place].any()


def _days_are_those_with_evidence(life: Life, evidence: Evidence, mine: set[str]) -> None:
    """Runtime runs from the first day with evidence to the last, without the days that only history has."""
    held = {day for unit, day, *_ in life.notes if unit in mine}
    only = {day for unit, day, *_ in life.notes if unit not in life.mixed} - held
    if held:
        first, last = min(held), max(held)
        span = evidence.running(np.array([first, last]))
        assert span[1] - span[0] == last - first - sum(first < day < last for day in only)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=lives())
def test_every_number_of_a_report_and_of_an_aa_check_is_of_the_models_in_force(life: Life) -> None:
    found = analyze_ledger(life.state, moments_of(life), at=LATER)
    wanted = [counted(life, key) for key in KEYS[1:]]
    mine = set().union(*(units for _, units in wanted))
    assert found.live.n == found.matured.n == len(mine)
    for reading in (found.live, found.matured):
        assert sum(v.n for v in reading.variants) == sum(reading.sample_ratio[0].observed) == len(mine)
        for c, (units, _) in zip(reading.metrics[0].comparisons, wanted, strict=True):
            if c.estimate is not None:
                assert c.estimate.n_control <= units[0]
                assert c.estimate.n_variant <= units[1]
            if c.daily:
                assert [c.daily[-1].n_control, c.daily[-1].n_variant] == units
    _naive_reading_is_of_the_pair(life, found)
    plan = ledger_plan([life.state])
    by_unit: dict[str, list[Event]] = {}
    for event in life.events:
        by_unit.setdefault(event.unit, []).append(event)
    records = [(unit, fold_unit(own, plan)) for unit, own in by_unit.items()]
    log = unit_log(records, life.state, plan.experiments[0], at=LATER)
    assert len(log) == len(mine)
    everybody = {note[0] for note in life.notes} - life.mixed
    assert log.left_out.history == len(everybody | life.mixed) - len(mine) - log.left_out.contaminated
    assert all(sum(segment.allocation) == 10_000 for segment in log.segments)


def _naive_reading_is_of_the_pair(life: Life, found: Report) -> None:
    """The pooled effect by hand: buyers over units, of the units that met the pair in force."""
    first: dict[str, int] = {}
    for event in sorted(life.events, key=lambda event: event.at):
        if event.type == "exposure":
            first.setdefault(event.unit, event.at)
    # who came back buys after the window of the first exposure
    window = life.state.definition.window_ms
    bought = {e.unit for e in life.events if e.type == "purchase" and e.at < first[e.unit] + window}
    for key, c in zip(KEYS[1:], found.live.metrics[0].comparisons, strict=True):
        _, units = counted(life, key)
        sides = {unit: note for unit, _, _, note, _ in life.notes if unit in units}
        groups = [[unit for unit, side in sides.items() if side == name] for name in ("control", key)]
        if c.pooled is not None:
            rates = [sum(unit in bought for unit in group) / len(group) for group in groups]
            assert c.pooled.effect == pytest.approx(rates[1] - rates[0], abs=1e-12)


EVEN = replace(segment_of("all", 0.4, 0.3, 0.3), allocation=(3334, 3333, 3333))


def later(moments: Any, days: int) -> Any:
    """The same cells on later days."""
    return {key._replace(day=key.day + days): cell for key, cell in moments.items()}


def changed(state: ExperimentState, day: int, **models: int) -> ExperimentState:
    """New models behind some variants, by `apply`."""
    after = tuple(
        replace(v, model=ModelRef("ranker", models[v.key])) if v.key in models else v
        for v in state.definition.variants
    )
    assert state.epoch is not None
    digests = {**state.epoch.digests, **{key: f"sha256:{version}" for key, version in models.items()}}
    return revise(state, replace(state.definition, variants=after), digests=digests, at=day * DAY, actor="a")


def several(days: int, epoch: int, **buyers: int) -> Any:
    """1,000 units of every variant a day, so many of them buyers."""
    table = {("all", key): (1000 * days, size * days) for key, size in buyers.items()}
    return counts(table, days=days, epoch=epoch)


def test_ranker_3_is_not_promoted_on_the_days_of_ranker_2() -> None:
    state = changed(running(definition()), 14, treatment=3)
    first = several(14, 1, control=100, treatment=150)
    second = later(several(2, 2, control=100, treatment=100), 14)
    before = analyze_ledger(running(definition()), first, at=LATER)
    assert (before.verdict.kind, before.verdict.variant) == (VerdictKind.PROMOTE, "treatment")
    found = analyze_ledger(
        state, first | second, at=LATER, project=Project(models={"sha256:treatment": "ranker@2"})
    )
    assert found.verdict.kind is VerdictKind.CONTINUE
    assert (found.matured.n, found.matured.days) == (4000, 2)
    alone = analyze_ledger(state, second, at=LATER)
    assert found.matured == alone.matured
    assert found.checks == alone.checks
    assert found.verdict == alone.verdict
    past = found.history
    assert past is not None
    assert past.sentence in found.warnings
    assert [(p.variant_model, p.control_model, p.n_variant) for p in past.pairs] == [
        ("ranker@2", "sha256:control", 14_000)
    ]
    told = before.matured.metrics[0].comparisons[0].estimate
    assert past.pairs[0].estimate is not None
    assert told is not None
    assert past.pairs[0].estimate.effect == told.effect
    assert past.pairs[0].estimate.interval == told.interval


def test_a_new_control_leaves_no_earlier_evidence_for_anybody() -> None:
    three = running(definition(EVEN))
    first = several(14, 1, control=100, treatment=150, third=150)
    found = analyze_ledger(changed(three, 14, control=9), first, at=LATER)
    assert found.live.n == 0
    assert found.history is not None
    assert found.history.units == 42_000
    assert [pair.variant for pair in found.history.pairs] == ["treatment", "third"]


def test_a_new_allocation_and_a_ramp_keep_the_evidence() -> None:
    state = running(definition(segment_of("all", 0.5, 0.5)))
    state = ramp(state, {"all": 5000}, at=3 * DAY, actor="a")
    wider = replace(state.definition, segments=(segment_of("all", 0.8, 0.2),))
    assert state.epoch is not None
    state = revise(state, wider, digests=dict(state.epoch.digests), at=7 * DAY, actor="a")
    found = analyze_ledger(state, several(7, 1, control=100, treatment=120), at=LATER)
    assert (found.live.n, found.history) == (14_000, None)


def test_a_variant_with_a_new_model_waits_and_does_not_hold_the_other_back() -> None:
    """`third` is by far the best, in the two days since it got its model; `treatment` has run sixteen."""
    state = changed(running(definition(EVEN, metrics=(BUYERS, ERRORS))), 14, third=9)
    moments = several(14, 1, control=100, treatment=130, third=100)
    moments |= later(several(2, 2, control=100, treatment=130, third=400), 14)
    found = analyze_ledger(state, moments, at=LATER)
    treatment, third = found.matured.metrics[0].comparisons
    assert (third.finding, third.days, third.significant) == ("too few days", 2, True)
    guardrail = found.matured.metrics[1].comparisons[1]
    assert (guardrail.finding, guardrail.days, guardrail.complete) == ("safe", None, True)
    assert (treatment.finding, treatment.days) == ("better", None)
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.PROMOTE, "treatment")
    assert third.estimate is not None
    assert (third.estimate.n_control, third.estimate.n_variant) == (2000, 2000)
    assert treatment.estimate is not None
    assert (treatment.estimate.n_control, treatment.estimate.n_variant) == (16_000, 16_000)
    strata = next(check for check in found.checks if check.name == "strata")
    assert strata.severity == "ok", "what is history for a variant is not missed"


def test_the_last_variant_left_gets_its_minimum_runtime_before_anything_is_kept_or_stopped() -> None:
    state = changed(running(definition(EVEN)), 42, third=9)
    moments = several(42, 1, control=100, treatment=100, third=100)
    moments |= later(several(2, 2, control=100, treatment=100, third=400), 42)
    found = analyze_ledger(state, moments, at=LATER)
    assert found.matured.days == 44, "the others are beyond the maximum runtime of 42 days"
    assert found.verdict.kind is VerdictKind.CONTINUE
    told = " ".join(found.verdict.what_would_change)
    assert "third: the minimum runtime with its present model (2 days so far)." in told


def test_a_variant_that_gets_no_more_units_holds_back_nothing_that_is_overdue() -> None:
    """`third` got a new model, ran two days and was dropped: the others' time is up."""
    state = changed(running(definition(EVEN)), 40, third=9)
    dropped = replace(state.definition, segments=(replace(EVEN, allocation=(5000, 5000, 0)),))
    assert state.epoch is not None
    state = revise(state, dropped, digests=dict(state.epoch.digests), at=42 * DAY, actor="a")
    moments = several(40, 1, control=100, treatment=100, third=100)
    moments |= later(several(2, 2, control=100, treatment=100, third=400), 40)
    moments |= later(several(2, 3, control=100, treatment=100), 42)
    found = analyze_ledger(state, moments, at=LATER)
    third = found.matured.metrics[0].comparisons[1]
    assert (third.finding, third.days) == ("too few days", 4)
    assert (found.verdict.kind, found.matured.days) == (VerdictKind.KEEP, 44)


def test_a_plan_of_a_variant_looks_by_the_days_of_its_own_evidence() -> None:
    """`third` got its model on day 10 of a plan that looks every 7 days from day 14 on."""
    rule = replace(RULE, design=Design.GROUP_SEQUENTIAL, looks=LookPlan(every_days=7, units=400_000))
    state = changed(running(definition(EVEN, decision=rule)), 10, third=9)
    moments = several(10, 1, control=100, treatment=101, third=100)
    moments |= later(several(18, 2, control=100, treatment=101, third=101), 10)
    found = analyze_ledger(state, moments, at=LATER)
    treatment, third = (c.planned for c in found.matured.metrics[0].comparisons)
    assert treatment is not None
    assert third is not None
    assert [look.day for look in treatment.looks] == [14, 21, 28]
    assert [(look.day, look.date, look.units) for look in third.looks] == [(14, "1970-01-24", 28_000)]
    assert (treatment.next_day, treatment.next_date) == (35, "1970-02-04")
    assert (third.next_day, third.next_date) == (21, "1970-01-31")


def test_days_that_only_history_has_are_no_runtime_and_move_no_date() -> None:
    """Control and treatment, ten days of another treatment, then the first one again."""
    rule = replace(RULE, design=Design.GROUP_SEQUENTIAL, looks=LookPlan(every_days=7, units=400_000))
    state = changed(running(definition(decision=rule, window_ms=0)), 0, treatment=2)
    state = changed(changed(state, 10, treatment=9), 20, treatment=2)
    moments = several(10, 2, control=100, treatment=101)
    moments |= later(several(10, 3, control=100, treatment=300), 10)
    moments |= later(several(6, 4, control=100, treatment=101), 20)
    found = analyze_ledger(state, moments, at=26 * DAY)
    assert (found.matured.n, found.matured.days) == (32_000, 16)
    plan = found.matured.metrics[0].comparisons[0].planned
    assert plan is not None
    assert [(look.day, look.date) for look in plan.looks] == [(14, "1970-01-24")]
    assert (plan.next_day, plan.next_date) == (21, "1970-01-31")
    enough = found.matured.metrics[0].comparisons[0].sufficiency
    assert enough is not None
    assert enough.units_per_day == pytest.approx(2000)
    assert found.history is not None
    assert (found.history.units, found.history.pairs[0].epochs) == (20_000, (3,))


def test_unknown_weights_stay_unknown_and_an_imported_log_of_another_model_is_history_too() -> None:
    source = Source(shape=Shape.UNITS, variant="v", day="d", weights=None)
    state = changed(running(definition(source=source)), 14, treatment=9)
    moments = several(14, 1, control=100, treatment=150) | later(several(2, 2, control=9, treatment=9), 14)
    evidence = from_ledger(state, moments, at=0)
    assert [stratum.weights for stratum in evidence.subjects[0].strata] == [None]
    assert evidence.counts(evidence.clean())[..., 0].sum() == 4000
    assert evidence.history is not None
    assert [stratum.weights for stratum in evidence.history.pairs.subjects[0].strata] == [None]


def test_cells_of_an_epoch_that_nobody_opened_are_history() -> None:
    state = running(definition())
    evidence = from_ledger(state, several(2, 7, control=100, treatment=100), at=0)
    assert evidence.counts(evidence.clean())[..., 0].sum() == 0
    assert evidence.history is not None
    assert evidence.history.pairs.subjects[0].digests == (None, None)


@pytest.mark.parametrize(("days", "left", "chosen"), [(13, 13, "treatment"), (14, None, "third")])
def test_the_minimum_runtime_of_a_new_model_ends_with_its_last_day(
    days: int, left: int | None, chosen: str
) -> None:
    """The rule asks for 14 days; from then on the better variant is promoted."""
    state = changed(running(definition(EVEN)), 14, third=9)
    moments = several(14, 1, control=100, treatment=130, third=100)
    moments |= later(several(days, 2, control=100, treatment=130, third=200), 14)
    found = analyze_ledger(state, moments, at=LATER)
    assert found.matured.metrics[0].comparisons[1].days == left
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.PROMOTE, chosen)


def test_two_variants_are_compared_where_both_had_the_models_in_force() -> None:
    """`treatment` got its model on day 14: what `third` did before is no evidence between the two."""
    state = changed(running(definition(EVEN)), 14, treatment=9)
    moments = several(14, 1, control=100, treatment=10, third=900)
    moments |= later(several(15, 2, control=100, treatment=150, third=100), 14)
    ways = [("treatment", "third"), ("third", "treatment")]
    for way, sign in zip(ways, (-1, 1), strict=True):
        (found,) = analyze_ledger(state, moments, at=LATER, compare=[way]).pairs[0].comparisons
        assert found.estimate is not None
        assert found.pooled is not None
        assert (found.estimate.n_control, found.estimate.n_variant) == (15_000, 15_000)
        assert found.estimate.effect == pytest.approx(sign * 0.05)
        assert found.pooled.effect == pytest.approx(sign * 0.05)


def test_many_units_in_two_days_are_not_the_whole_of_what_the_rule_asks_for() -> None:
    """Nothing differs; every variant has the units, `third` has them of two days with its present model."""
    state = changed(running(definition(EVEN)), 14, third=9)
    table = {("all", key): (140_000, 14_000) for key in KEYS}
    late = {("all", key): (60_000, 6_000) for key in KEYS}
    moments = counts(table, days=14) | later(counts(late, days=2, epoch=2), 14)
    found = analyze_ledger(state, moments, at=LATER)
    treatment, third = found.matured.metrics[0].comparisons
    assert (treatment.complete, third.complete) == (True, False)
    assert third.sufficiency is not None
    assert third.sufficiency.enough
    assert found.verdict.kind is VerdictKind.CONTINUE
