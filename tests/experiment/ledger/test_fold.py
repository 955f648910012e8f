"""What events mean, as worked examples and as laws."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.definition.state import Epoch, ExperimentState, Status
from switchpoint.experiment.definition.types import DAY_MS, TOTAL_BOUND, Measure, Metric, MetricType
from switchpoint.experiment.errors import DefinitionError, EventError
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.fold import (
    OTHER,
    LedgerPlan,
    Slot,
    add,
    arrivals,
    fold,
    fold_unit,
    ledger_plan,
    narrow,
)
from switchpoint.experiment.ledger.moments import Moments, Sums
from switchpoint.experiment.ledger.plan import ExperimentPlan
from tests.experiment.store.ledgers import (
    ADJUSTED,
    HOUR,
    METRICS,
    ONE,
    START,
    THREE,
    WINDOW,
    a_definition,
    a_plan,
    exposure,
    outcome,
    purchase,
    traffic,
)


def test_the_first_exposure_is_the_earliest_and_ties_go_to_the_smaller_id() -> None:
    late, tie_b = exposure("a", "u", START + 9, "treatment"), exposure("b", "u", START, "treatment")
    tie_a = exposure("a2", "u", START)
    record = fold_unit([late, tie_b, tie_a], ONE).standings["home"]
    assert (record.first_at, record.variant, record.contaminated) == (START, "control", True)


def test_a_later_epoch_carries_over_and_does_not_contaminate() -> None:
    record = fold_unit([exposure("a", "u", START), exposure("b", "u", START + 1, "treatment", epoch=2)], ONE)
    assert (record.standings["home"].carried, record.standings["home"].contaminated) == (True, False)
    earlier = fold_unit([exposure("a", "u", START, epoch=2), exposure("b", "u", START + 1)], ONE)
    assert not earlier.standings["home"].carried


def test_a_unit_without_exposure_contributes_nothing() -> None:
    record = fold_unit([outcome("o", "u", START)], ONE)
    assert (record.events, record.latest, record.standings) == (1, START, {})
    assert fold([outcome("o", "u", START)], ONE) == {}


def test_one_id_counts_once_a_day() -> None:
    again = [outcome("o", "u", START + HOUR), outcome("o", "u", START + DAY_MS)]
    record = fold_unit([exposure("x", "u", START), outcome("o", "u", START), *again], ONE)
    assert record.standings["home"].totals[0] == 2


def test_an_exposure_of_an_unknown_experiment_is_kept_and_ignored() -> None:
    record = fold_unit([exposure("x", "u", START, experiment="gone")], ONE)
    assert (record.events, record.standings) == (1, {})


def test_an_event_accepted_before_a_metric_needed_its_property_adds_nothing_to_it() -> None:
    record = fold_unit([exposure("x", "u", START), outcome("p", "u", START, "purchase")], ONE)
    assert record.standings["home"].totals[2:4] == (1, 0)


def test_a_covariate_accepted_before_a_metric_needed_it_counts_as_nothing_known() -> None:
    plan = LedgerPlan((a_plan("home", 1, metrics=ADJUSTED[1:2]),))
    record = fold_unit([exposure("x", "u", START, covariates={"score": 2**41})], plan)
    assert record.standings["home"].covariates == (0,)


def test_early_and_counted_outcomes_are_of_the_types_that_its_metrics_read() -> None:
    at = START + 3 * HOUR
    kinds = ("click", "rating", "purchase")
    sent = [outcome(f"{kind}{ms}", "u", at + ms, kind, amount=1) for kind in kinds for ms in (-HOUR, -1, 0)]
    standing = fold_unit([exposure("x", "u", at), *sent], ONE).standings["home"]
    assert (standing.early, standing.counted) == (4, 2)
    known = fold_unit([exposure("x", "u", at), *sent], ONE, {"click", "rating"}).standings["home"]
    assert (known.early, known.counted, known.totals) == (2, 1, standing.totals)


def test_a_unit_remembers_its_recent_outcomes_by_type_and_all_of_them_while_nobody_saw_it() -> None:
    late = START + 5 * HOUR
    sent = [outcome(f"c{i}", "u", late - i, "click") for i in range(300)]
    sent += [outcome(f"r{i}", "u", START + i, "rating") for i in range(2)]
    assert fold_unit(sent, ONE).types == {"click": (1, 255, 300), "rating": (0, 0, 2)}
    assert fold_unit([*sent, exposure("x", "u", START)], ONE).types == {"click": (1, 255, 0)}
    assert fold_unit(sent, ONE, {"rating"}).types == {"": (0, 0, 300), "rating": (0, 0, 2)}


def test_what_arrived_does_not_depend_on_order_or_repeats() -> None:
    by_unit: dict[str, list[Event]] = {}
    for event in traffic(9, 40, list(THREE.by_key)):
        by_unit.setdefault(event.unit, []).append(event)
    expected = arrivals(by_unit, THREE)
    again = {unit: [*events[::-1], *events] for unit, events in by_unit.items()}
    assert arrivals(again, THREE) == expected
    assert {key[0] for key in expected} == {"exposures", "outcomes", "early", "counted"}


def test_ratios_clip_both_sides_and_keep_their_product() -> None:
    clicks = [outcome(f"c{i}", "u", START) for i in range(3)]
    seen = [outcome(f"i{i}", "u", START, "impression") for i in range(7)]
    (cell,) = {
        fold([exposure("x", "u", START), *clicks, *seen], ONE)[key]
        for key in fold([exposure("x", "u", START), *clicks, *seen], ONE)
    }
    assert cell.metrics[0] == Sums(x=3, xx=9, y=7, yy=49, xy=21)


def test_a_proportion_counts_units_and_not_events() -> None:
    events = [exposure("x", "u", START), purchase("p", "u", START, 1), purchase("q", "u", START, -1)]
    assert {cell.metrics[1] for cell in fold(events, ONE).values()} == {Sums(x=1, xx=1)}


def test_values_not_kept_apart_become_other() -> None:
    record = narrow(fold_unit([exposure("x", "u", START)], ONE), ONE, {("home", "device"): ["ios"]})
    assert record.standings["home"].values == ("ios", OTHER)


def test_a_fold_that_knows_few_values_counts_the_others_together() -> None:
    events = [exposure("x", "u", START), exposure("x", "v", START, dimensions={"device": "web"})]
    known = {("home", "device"): ["ios"]}
    places = {(key.dimension, key.value): cell.n for key, cell in fold(events, ONE, known).items()}
    assert places == {("", ""): 2, ("device", "ios"): 1, ("device", OTHER): 1, ("returning", OTHER): 2}


def test_a_record_of_another_plan_is_not_read_as_one_of_this() -> None:
    record = fold_unit([exposure("x", "u", START)], ONE)
    shorter = LedgerPlan((a_plan("home", 1, dimensions=("device",)),))
    with pytest.raises(ValueError, match="is longer than argument 1"):
        narrow(record, shorter, {})
    with pytest.raises(ValueError, match="is longer than argument 1"):
        add({}, record, shorter)


def test_events_of_all_units_with_one_kind_of_damage_are_added_up() -> None:
    sent = {
        unit: [outcome(name, unit, START) for name in "ab"] for unit in ("undefined", "null", "12.0", "u")
    }
    found = {key: count for key, count in arrivals(sent, ONE).items() if key[0] == "ids"}
    assert found == {("ids", "placeholders"): 4, ("ids", "numbers as decimals"): 2}


@given(st.permutations(traffic(9, 4, list(THREE.by_key))), st.randoms(use_true_random=False))
def test_the_fold_does_not_depend_on_order_or_repeats(events: list[Event], rng: random.Random) -> None:
    assert fold([*events, *rng.choices(events, k=9)], THREE) == fold(traffic(9, 4, list(THREE.by_key)), THREE)


def test_folds_of_different_units_add_up() -> None:
    events = traffic(5, 80, list(THREE.by_key))
    parts = [[e for e in events if int(e.unit[1:]) % 3 == part] for part in range(3)]
    total: Moments = {}
    for part in parts:
        for key, cell in fold(part, THREE).items():
            total[key] = total[key] + cell if key in total else cell
    assert total == fold(events, THREE)


def test_dimension_cells_sum_to_all_units() -> None:
    moments = fold(traffic(6, 80), ONE)
    for place, cell in moments.items():
        if not place.dimension:
            for name in ("device", "returning"):
                parts = [
                    c for k, c in moments.items() if k._replace(value="") == place._replace(dimension=name)
                ]
                total = parts[0]
                for part in parts[1:]:
                    total += part
                assert total == cell


@given(st.floats(-1e6, 1e6), st.integers(0, 4))
def test_amounts_round_half_even_on_their_decimal_digits(number: float, decimals: int) -> None:
    event = purchase("p", "u", START, number)
    expected = Decimal(repr(number)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    assert Slot("purchase", "amount", decimals).amount(event) == int(expected.scaleb(decimals))


@pytest.mark.parametrize(
    ("number", "cents"), [(0.005, 0), (0.015, 2), (1.005, 100), (2.675, 268), (-0.025, -2), (7, 700)]
)
def test_half_cents_go_to_the_even_neighbour(number: float, cents: int) -> None:
    assert Slot("purchase", "amount", 2).amount(purchase("p", "u", START, number)) == cents


@pytest.mark.parametrize("value", [None, "12", True, [1], 2e10])
def test_amounts_that_are_no_numbers_or_too_large_are_refused(value: object) -> None:
    with pytest.raises(EventError) as refused:
        ONE.check(outcome("p", "u", START, "purchase", amount=value))
    assert refused.value.field == "properties.amount"
    assert Slot("purchase", "amount", 2, cap=5).amount(purchase("p", "u", START, 2e10)) == 5


def test_equal_slots_of_several_experiments_are_computed_once() -> None:
    bought = purchase("p", "u", START, 2)
    assert len(THREE.slots) == len(ONE.slots)
    assert THREE.check(bought).amounts == ONE.check(bought).amounts == (2, 1, 3, 200)
    assert THREE.check(exposure("x", "u", START)).amounts == ()
    assert THREE.check(outcome("o", "u", START, "rating")).amounts == ()


def test_what_a_plan_checked_is_not_checked_again_by_it_and_is_by_another() -> None:
    checked = ONE.check(purchase("p", "u", START, 2))
    assert ONE.check(checked) is checked
    again = THREE.check(checked)
    assert (again.plan, again.event) == (THREE, checked.event)
    gone = LedgerPlan(ONE.experiments).check(exposure("x", "u", START))
    with pytest.raises(EventError, match="unknown experiment"):
        LedgerPlan(THREE.experiments[1:]).check(gone)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (exposure("x", "u", START, experiment="nope"), "experiment"),
        (exposure("x", "u", START, "nope"), "variant"),
        (exposure("x", "u", START, segment="nope"), "segment"),
        (exposure("x", "u", START, epoch=3), "epoch"),
    ],
)
def test_exposures_of_unknown_things_are_refused_with_what_is_known(event: Event, field: str) -> None:
    with pytest.raises(EventError) as refused:
        ONE.check(event)
    assert refused.value.field == field
    assert refused.value.fix


@pytest.mark.parametrize("cap", [0, TOTAL_BOUND + 1])
def test_caps_beyond_the_bound_are_refused(cap: int) -> None:
    metric = Metric(key="m", type=MetricType.MEAN, numerator=Measure(event="purchase"), cap=cap)
    with pytest.raises(DefinitionError) as refused:
        a_plan("home", 1, metrics=(metric,))
    assert refused.value.field == "metrics.m.cap"


def test_an_outcome_at_the_end_of_the_window_no_longer_counts() -> None:
    record = fold_unit([exposure("x", "u", START), outcome("a", "u", START + WINDOW)], ONE)
    assert record.standings["home"].totals[0] == 0


def test_plans_of_different_windows_read_the_same_events_apart() -> None:
    plan = LedgerPlan((a_plan("home", 1), replace_window(a_plan("short", 2), HOUR)))
    events = [
        exposure("x", "u", START),
        exposure("y", "u", START, experiment="short"),
        outcome("o", "u", START + HOUR),
    ]
    record = fold_unit(events, plan)
    assert [record.standings[key].totals[0] for key in ("home", "short")] == [1, 0]


def replace_window(plan: ExperimentPlan, window_ms: int) -> ExperimentPlan:
    """The plan with another window."""
    return replace(plan, window_ms=window_ms)


def test_the_plan_holds_every_experiment_that_was_started_by_ordinal() -> None:
    def state(key: str, ordinal: int, epochs: int) -> ExperimentState:
        periods = tuple(
            Epoch(number=number, salt="", started_at=START, segments=(), digests={})
            for number in range(1, epochs + 1)
        )
        definition = a_definition(key)
        status = Status.STOPPED if epochs else Status.DRAFT
        return ExperimentState(
            definition=definition, status=status, revision=1, ordinal=ordinal, epochs=periods
        )

    plan = ledger_plan([state("b", 2, 1), state("draft", 3, 0), state("a", 1, 2)])
    assert [(e.key, e.ordinal, e.epochs) for e in plan.experiments] == [("a", 1, 2), ("b", 2, 1)]


def test_moments_of_no_events_are_empty() -> None:
    moments: Moments = {}
    add(moments, fold_unit([], ONE), ONE)
    assert moments == {}
    assert len(METRICS) == len(ONE.experiments[0].metrics)
