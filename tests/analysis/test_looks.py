"""Group sequential rules in reports: looks without a history, one story at each of them, and an end."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.inference.group_sequential import Looks
from switchpoint.analysis.judgement.looks import Watched, course, follow
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.numbers import Comparison, Planned
from switchpoint.experiment.definition.types import Belief, DecisionRule, Design, LookPlan, Segment, Spending
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.ledger.moments import CellKey, Moments, Sums
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.cases import BUYERS, DAY, ERRORS, RULE, cell, definition, running, segment

PLAN = replace(RULE, design=Design.GROUP_SEQUENTIAL, min_runtime_days=7, max_runtime_days=42)


def daily(rates: dict[str, float], *, days: int, per_day: int = 1_000, seed: int = 1) -> Moments:
    """Cells of `BUYERS` and `ERRORS`: `per_day` units of every variant on every day."""
    rng, found = np.random.default_rng(seed), {}
    for day in range(days):
        for variant, rate in rates.items():
            x, wrong = int(rng.binomial(per_day, rate)), int(rng.binomial(per_day, 0.01))
            found[CellKey("shop", 1, "all", variant, day)] = cell(per_day, Sums(x, x), Sums(wrong, wrong))
    return found


def judge(moments: Moments, day: int, rule: DecisionRule = PLAN, **changed: object) -> Report:
    """The report on the day that `day` exposure days have matured."""
    state = running(definition(decision=rule, window_ms=0, **changed))  # type: ignore[arg-type]
    held = {key: one for key, one in moments.items() if key.day < day}
    return analyze_ledger(state, held, at=day * DAY)


def plan_of(report: Report, place: int = 0) -> Planned:
    found = report.matured.metrics[0].comparisons[place].planned
    assert found is not None
    return found


def comparison(report: Report) -> Comparison:
    return report.matured.metrics[0].comparisons[0]


def test_before_the_first_look_the_report_says_when_it_is() -> None:
    found = judge(daily({"control": 0.1, "treatment": 0.13}, days=5), 5)
    assert found.verdict.kind is VerdictKind.CONTINUE
    plan = plan_of(found)
    assert (plan.looks, plan.counted, plan.p, plan.next_day, plan.next_date) == (
        (),
        None,
        None,
        7,
        "1970-01-07",
    )
    assert "the first is on day 7" in plan.sentence
    assert comparison(found).significant is False
    estimate = comparison(found).estimate
    assert estimate is not None
    assert estimate.sequence is not None


def test_between_looks_the_last_one_counts_and_the_next_one_is_named() -> None:
    moments = daily({"control": 0.1, "treatment": 0.101}, days=12)
    then, now = (plan_of(judge(moments, day)) for day in (7, 12))
    assert then.looks == now.looks
    assert (now.p, now.interval, now.effect) == (then.p, then.interval, then.effect)
    assert (now.next_day, now.looks[0].day) == (14, 7)
    assert "day 14" in judge(moments, 12).verdict.what_would_change[0]


def test_every_report_finds_the_looks_of_the_reports_before_it() -> None:
    """Nothing is remembered: made on day 30 or on day 14, a report knows the same look of day 14."""
    moments = daily({"control": 0.1, "treatment": 0.1005}, days=31, per_day=450)
    seen = [plan_of(judge(moments, day)).looks for day in range(7, 32)]
    for before, after in pairwise(seen):
        assert after[: len(before)] == before
    assert [one.day for one in seen[-1]][:3] == [7, 14, 21]


def test_a_look_that_passed_stays_the_reading_and_promotes() -> None:
    moments = daily({"control": 0.1, "treatment": 0.14}, days=30)
    found = judge(moments, 7)
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.PROMOTE, "treatment")
    later = judge(moments, 30)
    assert plan_of(later).looks == plan_of(found).looks
    assert plan_of(later).p == plan_of(found).p
    assert later.verdict.kind is VerdictKind.PROMOTE
    assert "later units are shown but do not decide" in later.verdict.reasons[0]


def test_the_plan_ends_on_the_day_that_brings_its_units() -> None:
    moments = daily({"control": 0.1, "treatment": 0.1}, days=40)
    ends = [day for day in range(7, 40) if plan_of(judge(moments, day)).ended]
    found = judge(moments, ends[0])
    last = plan_of(found).looks[-1]
    assert (last.day, last.spent) == (ends[0], pytest.approx(0.05))
    assert 1 <= last.share < 1.08
    assert ends[0] % 7 != 0  # between two planned days
    assert found.verdict.kind is VerdictKind.KEEP
    overrun = judge(moments, 40)
    assert plan_of(overrun).looks == plan_of(found).looks
    assert "cannot decide" in plan_of(overrun).sentence
    assert overrun.verdict.kind is VerdictKind.KEEP


def test_the_deadline_is_the_last_look_and_spends_what_is_left() -> None:
    rule = replace(PLAN, max_runtime_days=21)
    moments = daily({"control": 0.1, "treatment": 0.102}, days=25, per_day=450)
    plan = plan_of(judge(moments, 21, rule))
    assert [one.day for one in plan.looks] == [7, 14, 21]
    assert plan.looks[-1].spent == pytest.approx(0.05)
    assert plan.looks[-1].share < 1
    assert plan.ended
    assert plan_of(judge(moments, 25, rule)).looks == plan.looks


def test_stated_units_are_the_plan() -> None:
    rule = replace(PLAN, looks=LookPlan(units=20_000))
    plan = plan_of(judge(daily({"control": 0.1, "treatment": 0.1}, days=10), 10, rule))
    assert [(one.day, one.units, one.share) for one in plan.looks] == [(7, 14_000, 0.7), (10, 20_000, 1.0)]


def test_a_look_with_too_few_events_is_not_taken() -> None:
    moments = daily({"control": 0.1, "treatment": 0.1}, days=14, per_day=25)
    assert plan_of(judge(moments, 7)).looks == ()
    assert [one.day for one in plan_of(judge(moments, 14)).looks] == [14]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.floats(0.06, 0.16), st.integers(7, 30), st.sampled_from(list(Spending)),
    st.booleans(),
)  # fmt: skip
def test_p_interval_and_bound_tell_one_story(
    seed: int, rate: float, day: int, spending: Spending, strata: bool
) -> None:
    """p < alpha, the interval without 0, the lift without 0 and |Z| beyond the bound: all or none."""
    rule = replace(PLAN, looks=LookPlan(spending=spending))
    moments = daily({"control": 0.1, "treatment": rate}, days=day, per_day=300, seed=seed)
    segments: tuple[Segment, ...] = (segment("all", 0.5, 0.5),)
    if strata:  # a second stratum with another rate: Welch on the stratified effect instead of the score test
        extra = daily({"control": 0.3, "treatment": min(rate * 3, 0.9)}, days=day, per_day=200, seed=seed + 1)
        moments = moments | {replace_segment(key, "more"): one for key, one in extra.items()}
        segments = (segment("all", 0.5, 0.5), segment("more", 0.5, 0.5))
    found = judge(moments, day, rule, segments=segments)
    plan = plan_of(found)
    if plan.p is None:
        return
    assert plan.counted is not None
    assert plan.interval is not None
    assert plan.lift_interval is not None
    look = plan.looks[plan.counted - 1]
    told = plan.p < rule.alpha
    assert told == comparison(found).significant == look.passed
    for interval in (plan.interval, plan.lift_interval):
        assert interval.lower is not None
        assert interval.upper is not None
        assert told == (interval.lower > 0 or interval.upper < 0)
    assert look.bound is not None
    assert told == (abs(look.z) > look.bound)


def replace_segment(key: CellKey, name: str) -> CellKey:
    return CellKey(key.experiment, key.epoch, name, key.variant, key.day)


def test_guardrails_and_live_days_are_read_by_the_sequence() -> None:
    moments = daily({"control": 0.1, "treatment": 0.14}, days=20)
    state = running(definition(decision=PLAN, metrics=(BUYERS, ERRORS)))
    found = analyze_ledger(state, moments, at=20 * DAY)
    assert found.matured.metrics[1].comparisons[0].headline == "sequence"
    assert found.live.metrics[0].comparisons[0].headline == "sequence"
    assert found.live.metrics[0].comparisons[0].planned is None
    assert found.matured.metrics[0].comparisons[0].headline == "planned"


def test_several_variants_share_alpha_after_holm() -> None:
    """A look of one of two variants counts for good only beyond the bound of alpha / 2."""
    rows = np.arange(3)
    z = np.zeros((1, 3, 2))
    share = np.tile((rows + 1) / 3, (1, 1))[..., None].repeat(2, axis=-1)
    bounds = Looks(times=tuple(share[0, :, 0].tolist())).bounds(0.05).z
    half = Looks(times=tuple(share[0, :, 0].tolist())).bounds(0.025).z
    z[0, 1, 0], z[0, 1, 1] = (bounds[1] + half[1]) / 2, half[1] + 0.01
    watched = Watched(
        days=np.array([7, 14, 21])[None, :, None].repeat(2, axis=2), variants=(2,), z=z, share=share, information=share * 1e5,
        ready=np.ones((1, 3, 2), dtype=bool),
    )  # fmt: skip
    found = follow(watched, PLAN)
    assert found.counted[0, :, 0].tolist() == [0, 1, 2]
    assert found.counted[0, :, 1].tolist() == [0, 1, 1]
    assert 0.025 < found.p[0, 1, 0] < 0.05
    assert found.p[0, 2, 0] == 1
    assert found.p[0, 2, 1] < 0.025


def test_the_share_of_the_plan_never_falls_and_looks_are_never_more_alike_than_they_are() -> None:
    """The estimate of the planned units rises by half after the first look; information hardly grows."""
    share = np.array([0.6, 0.45, 0.9])[None, :, None]
    watched = Watched(
        days=np.array([7, 14, 21])[None, :, None], variants=(1,), z=np.zeros((1, 3, 1)), share=share,
        information=np.array([100.0, 100.5, 240.0])[None, :, None], ready=np.ones((1, 3, 1), dtype=bool),
    )  # fmt: skip
    plan = course(watched, PLAN, 0, 0).plan
    assert plan is not None
    assert plan.shares == (0.6, 0.6, 0.9)
    assert plan.times == pytest.approx((0.6, 0.606, 1.44))
    bounds = plan.bounds(0.05)
    assert bounds.spent[1] == bounds.spent[0]
    assert np.isinf(bounds.z[1])


COUNTS = """
decision: {design: %s, mde: 10%%, min_runtime: 1d, max_runtime: 60d}
metrics: [{key: ctr, type: proportion, role: primary}]
source:
  shape: counts
  assignment: randomised
  variant: group
  weights: equal
  columns: {ctr: {n: users, sum: clicks}}
"""


def counts_report(design: str, *, units: int, rates: tuple[float, float]) -> Report:
    table = {"group": ["a", "b"], "users": [units // 2] * 2, "clicks": [round(units // 2 * r) for r in rates]}
    found = analyze(pa.table(table), load_spec(COUNTS % design))
    assert isinstance(found, Report)
    return found


def test_one_look_at_a_table_without_days() -> None:
    """Counts without days are one look at their share of the plan: not the end of it, unless it is full."""
    little = counts_report("group_sequential", units=12_000, rates=(0.1, 0.113))
    plan = plan_of(little)
    assert [(one.day, one.date) for one in plan.looks] == [(None, None)]
    assert plan.looks[0].share < 0.5
    assert plan.looks[0].spent < 0.005
    assert (plan.next_day, plan.ended) == (None, False)
    assert little.verdict.kind is VerdictKind.CONTINUE
    full = counts_report("group_sequential", units=40_000, rates=(0.1, 0.113))
    assert plan_of(full).looks[0].spent == pytest.approx(0.05)
    fixed = counts_report("fixed", units=40_000, rates=(0.1, 0.113))
    estimate = comparison(fixed).estimate
    assert estimate is not None
    assert plan_of(full).p == pytest.approx(estimate.p, rel=1e-6)


def test_many_experiments_of_a_table_are_one_look_each() -> None:
    text = COUNTS % "group_sequential" + "  experiment: test\n"
    table = {
        "test": ["x", "x", "y", "y"], "group": ["a", "b"] * 2, "users": [20_000, 20_000, 2_000, 2_000],
        "clicks": [2_000, 2_300, 200, 230],
    }  # fmt: skip
    rows = {row.experiment: row for row in analyze(pa.table(table), load_spec(text)).rows}  # type: ignore[union-attr]
    assert rows["x"].verdict is VerdictKind.PROMOTE
    assert "repeated interval" in rows["x"].reason
    assert rows["y"].verdict is VerdictKind.CONTINUE


# Bayesian rules


BELIEF = replace(RULE, design=Design.BAYESIAN, min_runtime_days=7, belief=Belief(sd=0.2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.07, 0.14), st.sampled_from([0.02, 0.3]))
def test_a_bayesian_verdict_is_its_probability_and_its_credible_interval(
    seed: int, rate: float, sd: float
) -> None:
    rule = replace(BELIEF, belief=Belief(sd=sd))
    found = judge(daily({"control": 0.1, "treatment": rate}, days=10, seed=seed), 10, rule)
    one = comparison(found)
    assert one.posterior is not None
    assert one.posterior.interval.lower is not None
    assert one.posterior.interval.upper is not None
    better, worse = one.posterior.better > 0.975, one.posterior.better < 0.025
    assert (one.posterior.interval.lower > 0, one.posterior.interval.upper < 0) == (better, worse)
    assert one.significant == (better or worse)
    assert (found.verdict.kind is VerdictKind.PROMOTE) == better
    assert (one.adjusted_p, one.posterior.method) == (None, "binomial")


def test_a_bayesian_promotion_has_to_cost_little_where_the_rule_says_so() -> None:
    moments = daily({"control": 0.1, "treatment": 0.11}, days=8)
    free = judge(moments, 8, BELIEF)
    assert free.verdict.kind is VerdictKind.PROMOTE
    loss = comparison(free).posterior.loss_variant  # type: ignore[union-attr]
    strict = replace(BELIEF, belief=replace(BELIEF.belief, loss=loss / 2))
    assert judge(moments, 8, strict).verdict.kind is VerdictKind.CONTINUE
    lenient = replace(BELIEF, belief=replace(BELIEF.belief, loss=loss * 2))
    assert judge(moments, 8, lenient).verdict.kind is VerdictKind.PROMOTE


def test_a_bayesian_report_says_that_errors_are_not_held() -> None:
    found = judge(daily({"control": 0.1, "treatment": 0.1}, days=10), 10, BELIEF)
    assert "false promotions are not held at alpha" in found.family[0]
    assert "not held at alpha when it is watched" in found.header.plan


def test_a_narrow_prior_draws_the_lift_towards_it() -> None:
    moments = daily({"control": 0.1, "treatment": 0.115}, days=10)
    wide, narrow = (
        comparison(judge(moments, 10, replace(BELIEF, belief=Belief(sd=sd)))).posterior for sd in (0.3, 0.02)
    )
    assert wide is not None
    assert narrow is not None
    assert 0 < narrow.mean < wide.mean / 2


@pytest.mark.parametrize("design", list(Design))
def test_every_verdict_has_the_expected_loss_beside_it(design: Design) -> None:
    rule = replace(PLAN, design=design)
    found = judge(daily({"control": 0.1, "treatment": 0.101}, days=20), 20, rule)
    posterior = comparison(found).posterior
    assert posterior is not None
    assert posterior.loss_control - posterior.loss_variant == pytest.approx(posterior.mean, abs=1e-9)
    assert "Expected loss of choosing treatment" in " ".join(found.verdict.reasons)
