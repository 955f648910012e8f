"""One suite for every ledger: what is counted, once, whatever the order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import EventError, NotFound
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import OTHER, VALUES_PER_DIMENSION, LedgerPlan, fold
from switchpoint.experiment.ledger.moments import CellKey, Sums
from switchpoint.experiment.ledger.protocol import DEAD_LETTERS, DeadLetter, Ledger
from switchpoint.experiment.ledger.verify import verify
from tests.experiment.store.ledgers import (
    ADJUSTED,
    HOUR,
    ONE,
    START,
    THREE,
    WINDOW,
    a_plan,
    exposure,
    outcome,
    purchase,
    traffic,
)

Make = Callable[[], Ledger]


@pytest.fixture
def ledger(make_ledger: Make) -> Ledger:
    """One ledger."""
    return make_ledger()


def settled(ledger: Ledger, plan: LedgerPlan) -> dict[CellKey, Any]:
    """All moments after refolding; nothing may stay pending."""
    ledger.refold(plan)
    assert ledger.pending() == 0
    return {key: cell for name in plan.by_key for key, cell in ledger.moments(name, plan).items()}


def totals(ledger: Ledger, plan: LedgerPlan = ONE) -> list[Any]:
    """The all-units cells of the first experiment."""
    return [cell for key, cell in settled(ledger, plan).items() if not key.dimension]


def test_an_exposed_unit_is_counted_in_all_units_and_in_each_dimension(ledger: Ledger) -> None:
    assert ledger.record([exposure("x", "u", START)], ONE) == [Status.STORED]
    places = {(key.dimension, key.value) for key in settled(ledger, ONE)}
    assert places == {("", ""), ("device", "ios"), ("returning", "true")}
    assert {cell.n for cell in settled(ledger, ONE).values()} == {1}


def test_outcomes_count_from_the_first_exposure_to_the_end_of_the_window(ledger: Ledger) -> None:
    events = [outcome(f"o{at}", "u", START + at) for at in (-1, 0, WINDOW - 1, WINDOW)]
    ledger.record([exposure("x", "u", START), *events], ONE)
    assert totals(ledger)[0].metrics[0] == Sums(x=2, xx=4, y=0, yy=0, xy=0)


def test_amounts_are_exact_minor_units_and_refunds_are_negative(ledger: Ledger) -> None:
    bought = [
        purchase("p1", "u", START + 1, 19.99),
        purchase("p2", "u", START + 2, -0.995),
        purchase("p3", "u", START, 5),
    ]
    ledger.record([exposure("x", "u", START), *bought], ONE)
    assert totals(ledger)[0].metrics[1:3] == (Sums(x=1, xx=1), Sums(x=2399, xx=2399**2))


@pytest.mark.parametrize("sign", [1, -1])
def test_event_values_and_unit_totals_are_capped(ledger: Ledger, sign: int) -> None:
    events = [
        purchase("p", "u", START, sign * 4e6),
        outcome("q", "u", START, "prediction", latency_ms=sign * 1e9),
    ]
    ledger.record([exposure("x", "u", START), *events], ONE)
    _, _, revenue, latency = totals(ledger)[0].metrics
    assert revenue == Sums(x=sign * 50_000, xx=50_000**2)
    assert latency == Sums(x=sign * 2000, xx=2000**2, y=1, yy=1, xy=sign * 2000)


BEFORE = LedgerPlan((a_plan("home", 1, metrics=ADJUSTED[:3], dimensions=()),))


def test_covariates_are_summed_with_the_outcomes_they_explain(ledger: Ledger) -> None:
    known = {"past_clicks": 2, "past_impressions": 5, "score": 0.1234, "past_spend": 7.5}
    sent = [
        exposure("x", "u", START, covariates=known),
        *(outcome(f"c{at}", "u", START + at) for at in range(3)),
        outcome("i", "u", START, "impression"),
        purchase("p", "u", START + 1, 20),
    ]
    ledger.record(sent, BEFORE)
    (cell,) = totals(ledger, BEFORE)
    ctr, buyers, revenue = cell.covariates
    assert ctr == (2, 5, 4, 10, 25, 3 * 2, 3 * 5, 1 * 2, 1 * 5)
    assert buyers == (123, 123**2, 123)
    assert revenue == (750, 750**2, 2000 * 750)


def test_covariates_are_rounded_half_to_even_on_their_decimal_digits(ledger: Ledger) -> None:
    numbers = {"a": 2.675, "b": 0.125, "c": 0.135, "d": -2.675}
    ledger.record(
        [exposure("x", unit, START, covariates={"past_spend": z}) for unit, z in numbers.items()], BEFORE
    )
    assert totals(ledger, BEFORE)[0].covariates[2][0] == 268 + 12 + 14 - 268


def test_a_unit_of_which_nothing_is_known_counts_with_a_covariate_of_zero(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START), purchase("p", "u", START, 9)], BEFORE)
    (cell,) = totals(ledger, BEFORE)
    assert (cell.n, cell.metrics[2].x, cell.covariates[2]) == (1, 900, (0, 0, 0))


def test_the_first_exposure_says_what_was_known_before_it(ledger: Ledger) -> None:
    late = exposure("y", "u", START + HOUR, covariates={"past_spend": 99})
    ledger.record([late, exposure("z", "u", START + 2 * HOUR, covariates={"past_spend": 7})], BEFORE)
    assert totals(ledger, BEFORE)[0].covariates[2][0] == 9900
    ledger.record([exposure("x", "u", START, covariates={"past_spend": 3})], BEFORE)
    assert totals(ledger, BEFORE)[0].covariates[2][0] == 300
    assert verify(ledger, BEFORE) == []


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**41, 1.1e10, "7", True])
def test_an_exposure_with_a_covariate_that_is_no_number_is_rejected_alone(
    ledger: Ledger, number: object
) -> None:
    bad = exposure("x", "u", START, covariates={"past_spend": number})
    assert ledger.record([bad, exposure("x", "v", START)], BEFORE) == [Status.REJECTED, Status.STORED]
    assert totals(ledger, BEFORE)[0].n == 1
    with pytest.raises(EventError, match=r"covariates\.past_spend.*within 2\^40"):
        BEFORE.check(bad)


def test_a_second_event_with_the_same_id_and_day_is_a_duplicate(ledger: Ledger) -> None:
    event = outcome("o", "u", START)
    assert ledger.record([event, event], ONE) == [Status.STORED, Status.DUPLICATE]
    others = [replace(event, at=START + 1), replace(event, at=START + DAY_MS), replace(event, unit="v")]
    assert ledger.record(others, ONE) == [Status.DUPLICATE, Status.STORED, Status.STORED]
    assert len(list(ledger.events())) == 3


def test_events_behind_the_dedupe_days_are_late_counted_and_not_summed(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    old = exposure("y", "v", START - 8 * DAY_MS)
    within = exposure("z", "w", START - 7 * DAY_MS)
    assert ledger.record([old], ONE) == [Status.LATE]
    assert ledger.record([within], ONE) == [Status.STORED]
    assert (ledger.late(), len(list(ledger.events()))) == (1, 2)
    assert ledger.record([old], ONE, history=True) == [Status.STORED]


def test_history_does_not_make_live_events_late(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START + 400 * DAY_MS)], ONE, history=True)
    assert ledger.record([exposure("y", "v", START)], ONE) == [Status.STORED]


def test_events_ahead_of_the_stores_clock_count_and_make_nothing_late(ledger: Ledger) -> None:
    """A gateway 30 days ahead, for one event: the newest day waits until the store's clock is there too."""
    today = int(time.time()) * 1000
    ahead = [exposure(f"a{days}", f"a{days}", today + days * DAY_MS) for days in (2, 30, 3000)]
    assert ledger.record([exposure("x", "u", today - 20 * DAY_MS), *ahead], ONE) == [Status.STORED] * 4
    behind = exposure("y", "v", today - 27 * DAY_MS)
    assert ledger.record([behind, exposure("z", "w", today)], ONE) == [Status.STORED] * 2
    old, within = (exposure(f"o{days}", "n", today - days * DAY_MS) for days in (8, 6))
    assert ledger.record([old, within], ONE) == [Status.LATE, Status.STORED]
    assert ledger.record(ahead, ONE) == [Status.DUPLICATE] * 3
    assert verify(ledger, ONE) == []


def test_an_older_event_leaves_the_newest_day_where_it_is(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    ledger.record([exposure("y", "u", START - 5 * DAY_MS)], ONE)
    assert ledger.record([exposure("z", "u", START - 8 * DAY_MS)], ONE) == [Status.LATE]


def test_a_unit_seen_in_two_variants_moves_to_contaminated_cells_of_its_first(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START), purchase("p", "u", START + 1, 2)], ONE)
    ledger.record([exposure("y", "u", START + HOUR, "treatment")], ONE)
    keys = list(settled(ledger, ONE))
    assert {(key.variant, key.contaminated) for key in keys} == {("control", True)}
    assert totals(ledger)[0].metrics[2].x == 200


def test_a_unit_of_an_earlier_epoch_stays_there_and_is_counted_as_carried(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START), exposure("y", "u", START + DAY_MS, "treatment", epoch=2)], ONE)
    (key,) = {key._replace(dimension="", value="") for key in settled(ledger, ONE)}
    assert (key.epoch, key.variant, key.contaminated) == (1, "control", False)
    assert totals(ledger)[0].carried == 1


def test_of_two_exposures_at_the_same_time_the_smaller_id_is_first(ledger: Ledger) -> None:
    ledger.record([exposure("b", "u", START)], ONE)
    ledger.record([exposure("a", "u", START, "treatment")], ONE)
    assert {(key.variant, key.contaminated) for key in settled(ledger, ONE)} == {("treatment", True)}


def test_fallbacks_have_a_cause_and_mismatches_have_none(ledger: Ledger) -> None:
    seen = [exposure("x", "u", START), exposure("y", "u", START + 1, served="treatment", cause="timeout"),
            exposure("z", "u", START + 2, served="treatment")]  # fmt: skip
    ledger.record(seen, ONE)
    cell = totals(ledger)[0]
    assert (cell.exposures, cell.fallbacks, cell.mismatches) == (3, 1, 1)


def test_dimension_values_beyond_the_limit_are_counted_as_other(ledger: Ledger) -> None:
    many = VALUES_PER_DIMENSION + 20
    ledger.record([exposure("x", f"u{i}", START, dimensions={"device": f"d{i}"}) for i in range(many)], ONE)
    cells = {key.value: cell.n for key, cell in settled(ledger, ONE).items() if key.dimension == "device"}
    assert len(cells) == VALUES_PER_DIMENSION + 1
    assert cells[OTHER] == 20
    assert {key.value for key in settled(ledger, ONE) if key.dimension == "returning"} == {""}
    assert verify(ledger, ONE) == []


def test_what_cannot_be_counted_is_rejected_alone(ledger: Ledger) -> None:
    bad = [exposure("a", "u", START, "unheard"), exposure("b", "u", START, experiment="unheard"),
           exposure("c", "u", START, epoch=3), outcome("d", "u", START, "purchase"),
           outcome("e", "u", START, "purchase", amount="12"), purchase("f", "u", START, 1e15)]  # fmt: skip
    statuses = ledger.record([exposure("x", "u", START), *bad, outcome("o", "u", START)], ONE)
    assert statuses == [Status.STORED, *[Status.REJECTED] * 6, Status.STORED]
    assert totals(ledger)[0].metrics[0].x == 1
    assert len(list(ledger.events())) == 2


def test_a_rejected_event_counts_once_corrected(ledger: Ledger) -> None:
    assert ledger.record([outcome("p", "u", START, "purchase")], ONE) == [Status.REJECTED]
    assert ledger.record([purchase("p", "u", START, 3)], ONE) == [Status.STORED]


def test_an_experiment_started_later_counts_its_own_outcomes_only(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START), outcome("o1", "u", START + 1)], ONE)
    grown = LedgerPlan((*ONE.experiments, a_plan("late", 2)))
    ledger.record([exposure("y", "u", START + 5, experiment="late"), outcome("o2", "u", START + 9)], grown)
    settled(ledger, grown)
    assert [c.metrics[0].x for c in ledger.moments("late", grown).values()] == [1, 1, 1]
    assert [c.metrics[0].x for c in ledger.moments("home", grown).values()] == [2, 2, 2]
    assert verify(ledger, grown) == []


def test_an_exposure_older_than_outcomes_stored_before_the_experiment_is_refolded(ledger: Ledger) -> None:
    ledger.record([outcome("o1", "u", START + 1, "rating"), outcome("o2", "u", START + 3)], LedgerPlan(()))
    ledger.record([exposure("x", "u", START + 2)], ONE)
    assert totals(ledger)[0].metrics[0].x == 1
    assert verify(ledger, ONE) == []


def test_a_process_with_an_older_plan_does_not_lose_outcomes(make_ledger: Make) -> None:
    newer, older = make_ledger(), make_ledger()
    newer.record([exposure("x", "u", START, experiment="checkout")], THREE)
    older.record([purchase("p", "u", START + 1, 7), outcome("o", "u", START + 2)], ONE)
    assert {cell.metrics[0].x for cell in settled(newer, THREE).values()} == {700}
    assert verify(newer, THREE) == []


def test_moments_of_an_unknown_experiment_are_refused(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.moments("nope", ONE)


def test_an_empty_ledger_has_nothing(ledger: Ledger) -> None:
    assert (ledger.moments("home", ONE), ledger.pending(), ledger.late(), ledger.position()) == ({}, 0, 0, {})
    assert ledger.record([], ONE) == []
    assert verify(ledger, ONE) == []


def test_the_log_can_be_read_on_from_a_position(ledger: Ledger) -> None:
    first, second = traffic(1, 20), traffic(2, 5)
    ledger.record(first, ONE)
    position = ledger.position()
    ledger.record(second, ONE)
    assert len(list(ledger.events())) == len(list(ledger.events(position))) + len(first)
    assert 0 < len(list(ledger.events(position))) <= len(second)


def letter(number: int, cause: str = "unit") -> DeadLetter:
    return DeadLetter(raw=f'{{"id": {number}}}', reason=f"{cause}: wrong", cause=cause)


def test_refused_events_are_kept_newest_first_and_counted_by_cause(ledger: Ledger) -> None:
    assert (ledger.refusals(), ledger.dead_letters()) == ({}, [])
    ledger.refuse([letter(0), letter(1, "at")], token="a")
    ledger.refuse([letter(2)], token="b", uncounted={"unit": 5, "bound": 1})
    assert ledger.dead_letters(2) == [letter(2), letter(1, "at")]
    assert ledger.refusals() == {"unit": 7, "at": 1, "bound": 1}


def test_refused_events_of_a_repeated_call_are_counted_once(ledger: Ledger) -> None:
    """The answer of the first call may be lost; the caller sends it again under its token."""
    for _ in range(3):
        ledger.refuse([letter(1)], token="a", uncounted={"at": 2})
    assert ledger.refusals() == {"unit": 1, "at": 2}
    assert len(ledger.dead_letters()) == 1


def test_the_list_of_refused_events_is_bounded_and_their_count_is_not(ledger: Ledger) -> None:
    for start in range(0, DEAD_LETTERS + 1000, 1000):
        ledger.refuse([letter(number) for number in range(start, start + 1000)], token=str(start))
    kept = ledger.dead_letters(2 * DEAD_LETTERS)
    assert DEAD_LETTERS <= len(kept) <= DEAD_LETTERS + 200
    assert kept[0] == letter(DEAD_LETTERS + 999)
    assert ledger.refusals() == {"unit": DEAD_LETTERS + 1000}


@pytest.mark.parametrize("seed", range(3))
def test_any_order_repeats_and_splits_give_the_moments_of_the_reference_fold(
    ledger: Ledger, seed: int
) -> None:
    rng = random.Random(seed)
    events = traffic(seed, 60, list(THREE.by_key))
    sent = events + rng.choices(events, k=len(events) // 3)
    rng.shuffle(sent)
    while sent:
        cut = rng.choice([1, 2, 30, 300])
        ledger.record(sent[:cut], THREE)
        if rng.random() < 0.3:
            ledger.record(sent[:cut], THREE)
        if rng.random() < 0.1:
            ledger.refold(THREE)
        sent = sent[cut:]
    assert settled(ledger, THREE) == fold(events, THREE, ledger.dimension_values(THREE))
    assert verify(ledger, THREE) == []


def test_events_in_order_of_time_need_no_refold(ledger: Ledger) -> None:
    events = sorted(traffic(4, 200, list(THREE.by_key)), key=lambda event: (event.at, event.exposure is None))
    exposed: set[str] = set()
    in_order: list[Event] = []
    for event in events:  # outcomes before the first exposure of any experiment are what a refold is for
        exposed |= {event.unit} if event.exposure else set()
        if event.exposure or event.unit in exposed:
            in_order.append(event)
    for start in range(0, len(in_order), 50):
        ledger.record(in_order[start : start + 50], THREE)
    assert ledger.pending() == 0
    assert verify(ledger, THREE) == []


def test_a_refold_may_change_a_dimension_alone(ledger: Ledger) -> None:
    """The exposure that was first is of the same day and variant, from another device."""
    ledger.record([exposure("x", "u", START + 9), purchase("p", "u", START + 10, 2)], ONE)
    earlier = exposure("y", "u", START + 5, dimensions={"device": "web", "returning": "true"})
    ledger.record([earlier], ONE)
    cells = settled(ledger, ONE)
    assert {(k.dimension, k.value) for k in cells} == {("", ""), ("device", "web"), ("returning", "true")}
    assert {(cell.n, cell.exposures, cell.metrics[2].x) for cell in cells.values()} == {(1, 2, 200)}
    assert verify(ledger, ONE) == []


def test_a_refold_may_change_a_covariate_alone(ledger: Ledger) -> None:
    ledger.record([exposure("x", "u", START + 9, covariates={"past_spend": 4})], BEFORE)
    ledger.record([exposure("y", "u", START + 5, covariates={"past_spend": -3})], BEFORE)
    assert totals(ledger, BEFORE)[0].covariates[2] == (-300, 300**2, 0)
    assert verify(ledger, BEFORE) == []


@pytest.mark.parametrize("changed", ["past_clicks", "past_impressions"])
def test_a_refold_may_change_one_of_two_covariates(ledger: Ledger, changed: str) -> None:
    known = {"past_clicks": 4, "past_impressions": 3}
    ledger.record([exposure("x", "u", START + 9, covariates=known), outcome("o", "u", START + 9)], BEFORE)
    known[changed] = 7
    ledger.record([exposure("y", "u", START + 5, covariates=known)], BEFORE)
    z1, z2 = known.values()
    expected = (z1, z2, z1 * z1, z1 * z2, z2 * z2, z1, z2, 0, 0)
    assert totals(ledger, BEFORE)[0].covariates[0] == expected
    assert verify(ledger, BEFORE) == []


# --- what arrived and does not count -----------------------------------------------------------------------


def counted(ledger: Ledger, plan: LedgerPlan = ONE) -> dict[tuple[str, ...], int]:
    """What arrived, after refolding, proved against the log."""
    ledger.refold(plan)
    assert verify(ledger, plan) == []
    return ledger.arrivals(plan)


def test_a_clock_five_seconds_behind_is_counted_as_early_whatever_comes_first(make_ledger: Make) -> None:
    """120 purchases, each dated before its unit's exposure: none counts, all are said to be early."""
    ledger = make_ledger()
    shown = [exposure("x", f"u{i}", START + 2 * HOUR) for i in range(120)]
    bought = [purchase("p", f"u{i}", START + 2 * HOUR - 3000, 5) for i in range(120)]
    ledger.record([*shown[:60], *bought[60:]], ONE)
    ledger.record([*shown[60:], *bought[:60]], ONE)
    assert ledger.pending() == 0, "no refold is needed to know it"
    assert counted(ledger) == {
        ("exposures",): 120, ("outcomes", "purchase"): 120, ("early", "home", "control"): 120,
    }  # fmt: skip
    assert totals(ledger)[0].metrics[2].x == 0


def test_early_is_the_clock_hour_of_the_first_exposure_and_the_one_before(ledger: Ledger) -> None:
    first = START + 5 * HOUR + 30 * 60_000
    times = {"two hours before": -5_400_001, "the hour before": -5_400_000, "just before": -1, "at once": 0,
             "last": WINDOW - 1, "after": WINDOW}  # fmt: skip
    for unit, order in (("u", 1), ("v", -1)):
        sent = [outcome(name, unit, first + at) for name, at in times.items()]
        for event in [exposure("x", unit, first), *sent][::order]:
            ledger.record([event], ONE)
    arrived = counted(ledger)
    assert (arrived["early", "home", "control"], arrived["counted", "home", "control"]) == (2 * 2, 2 * 2)


@pytest.mark.parametrize("order", [1, -1])
def test_outcomes_two_clock_hours_back_are_not_early(ledger: Ledger, order: int) -> None:
    """Also where the unit's latest outcome lies in the hour between."""
    hours = {"three": 3, "four": 4}
    sent = [outcome(name, "u", START + hour * HOUR + 5) for name, hour in hours.items()]
    for event in [*sent, exposure("x", "u", START + 5 * HOUR + 5)][::order]:
        ledger.record([event], ONE)
    assert counted(ledger)["early", "home", "control"] == 1


def test_outcomes_of_nobody_become_somebodys_with_the_first_exposure(ledger: Ledger) -> None:
    old = [
        outcome(f"o{i}", "u", START + i * DAY_MS // 2, kind) for i, kind in enumerate(["click", "rating"] * 3)
    ]
    ledger.record([*old, outcome("o", "v", START)], THREE)
    assert counted(ledger, THREE) == {
        ("outcomes", "click"): 4, ("outcomes", "rating"): 3, ("unexposed", "click"): 4, ("unexposed", "rating"): 3,
    }  # fmt: skip
    ledger.record([exposure("x", "u", START + 9 * DAY_MS, experiment="search")], THREE)
    arrived = counted(ledger, THREE)
    assert (arrived["unexposed", "click"], ("unexposed", "rating") in arrived) == (1, False)


def test_the_early_outcomes_of_a_later_experiment_are_those_it_reads(ledger: Ledger) -> None:
    """`search` reads purchases alone; the unit was in `home` before."""
    at = START + 3 * HOUR
    sent = [exposure("x", "u", START), outcome("c", "u", at - 10), purchase("p", "u", at - 9, 2),
            exposure("y", "u", at, "treatment", "search"), purchase("q", "u", at + 1, 2)]  # fmt: skip
    for event in sent:
        ledger.record([event], THREE)
    assert ledger.pending() == 0
    arrived = counted(ledger, THREE)
    assert arrived["counted", "home", "control"] == 3
    assert arrived["early", "search", "treatment"] == arrived["counted", "search", "treatment"] == 1


def test_more_early_outcomes_than_a_record_counts_are_refolded(ledger: Ledger) -> None:
    """In the hour of the latest outcome, and in the hour before it."""
    many = [outcome(f"o{i}", unit, START + i) for unit in "uv" for i in range(300)]
    ledger.record([*many, outcome("o", "v", START + HOUR)], ONE)
    ledger.record([exposure("x", unit, START + HOUR + 1) for unit in "uv"], ONE)
    assert counted(ledger)["early", "home", "control"] == 601


def test_a_second_exposure_that_was_first_moves_early_and_counted_outcomes(ledger: Ledger) -> None:
    at = START + 4 * HOUR
    ledger.record([exposure("x", "u", at), outcome("a", "u", at - 1), outcome("b", "u", at + 1)], ONE)
    assert counted(ledger)["early", "home", "control"] == 1
    ledger.record([exposure("y", "u", at - 2, "treatment")], ONE)
    arrived = counted(ledger)
    assert arrived == {
        ("exposures",): 2, ("outcomes", "click"): 2, ("counted", "home", "treatment"): 2,
    }  # fmt: skip


def test_types_beyond_the_limit_are_counted_together(ledger: Ledger) -> None:
    many = VALUES_PER_DIMENSION + 20
    ledger.record([outcome("o", f"u{i}", START, f"type{i}") for i in range(many)], ONE)
    ledger.record([exposure("x", f"u{i}", START + HOUR) for i in range(many)], ONE)
    arrived = counted(ledger)
    own = len(ONE.experiments[0].events)
    assert len([key for key in arrived if key[0] == "outcomes"]) == VALUES_PER_DIMENSION + 1 - own
    assert arrived["outcomes", ""] == many - (VALUES_PER_DIMENSION - own)
    assert not [key for key in arrived if key[0] == "unexposed"]


def test_a_metric_whose_type_came_after_the_limit_counts_all_the_same(ledger: Ledger) -> None:
    """Only how many of its outcomes are early or counted is not known any more."""
    many = range(VALUES_PER_DIMENSION + 1)
    ledger.record([outcome("o", f"u{i}", START, f"type{i}") for i in many], LedgerPlan(()))
    ledger.record([exposure("x", "u", START), outcome("o", "u", START - 1), outcome("p", "u", START)], ONE)
    arrived = counted(ledger)
    assert not [key for key in arrived if key[0] in ("early", "counted")]
    assert arrived["outcomes", ""] == 3
    assert totals(ledger)[0].metrics[0].x == 1


@pytest.mark.parametrize(
    ("unit", "damage"),
    [
        ("undefined", "placeholders"), ("null", "placeholders"), ("[object Object]", "placeholders"),
        (" ", "placeholders"), ("\u00a0", "placeholders"), ("NaN", "placeholders"), ("None ", "placeholders"),
        ("00000000-0000-0000-0000-000000000000", "placeholders"), ("1.5E+15", "scientific notation"),
        ("12.0", "numbers as decimals"), ("u1 ", "spaces around them"), ("u1", None), ("1e52", None),
        ("undefined-1", None), ("nullable", None), ("0", None), ("1.5", None),
    ],
)  # fmt: skip
def test_events_of_damaged_ids_are_counted_by_what_is_wrong(
    ledger: Ledger, unit: str, damage: str | None
) -> None:
    ledger.record([exposure("x", unit, START), outcome("o", unit, START), outcome("o", "fine", START)], ONE)
    ledger.record([outcome("o", unit, START)], ONE)  # a duplicate
    assert {key[1]: n for key, n in counted(ledger).items() if key[0] == "ids"} == (
        {damage: 2} if damage else {}
    )


def test_one_units_record_and_events_are_read_by_themselves(ledger: Ledger) -> None:
    """The record is the one that all units' reading gives; of many events the last accepted are given."""
    events = traffic(5, units=20, experiments=("home", "search"))
    for start in range(0, len(events), 7):
        ledger.record(events[start : start + 7], THREE)
    ledger.refold(THREE)
    for unit, record in ledger.units(THREE):
        assert record is not None
        found = ledger.unit(unit, THREE)
        assert found.record == record
        assert found.pending is False
        assert len(found.events) == record.events
        assert [(e.at, e.id) for e in found.events] == sorted(
            ((e.at, e.id) for e in found.events), reverse=True
        )
        assert {e.unit for e in found.events} == {unit}
        assert ledger.unit(unit, THREE, limit=1).events[0] in found.events


def test_a_unit_of_which_nothing_is_known_has_no_record(ledger: Ledger) -> None:
    found = ledger.unit("nobody", ONE)
    assert (found.record, found.events, found.pending) == (None, (), False)
    ledger.record([exposure("x", "u", START)], ONE)
    assert ledger.unit("nobody", ONE).record is None
    assert ledger.unit('u"', ONE).record is None


def test_the_newest_events_come_last_one_first(ledger: Ledger) -> None:
    assert ledger.newest() == []
    for number in range(30):
        ledger.record([outcome(f"o{number}", f"u{number % 4}", START + number)], ONE)
        time.sleep(0.002)  # shards are merged by the store's clock, which counts milliseconds
    assert [event.id for event in ledger.newest(3)] == ["o29", "o28", "o27"]
    assert len(ledger.newest(1000)) == 30
    ledger.record([outcome(f"b{number}", "u", START + 100 + number) for number in range(5)], ONE)
    assert [event.id for event in ledger.newest(2)] == ["b4", "b3"]
