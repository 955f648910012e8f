"""The gate the verdict reads: blind to what is added to amounts, and named wherever it holds something back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.event_gate import NEEDED, Counted, counted, expected, rarer
from switchpoint.analysis.evidence.moments import Centred
from switchpoint.analysis.evidence.pairs import pairs
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.judgement import Check, Comparison, Severity
from switchpoint.experiment.definition.types import Measure, Metric, MetricType, Role, Size
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.cases import BUYERS
from tests.analysis.evidence.test_moments import REVENUE, exact

UNITS = """
metrics:
  - {key: sale, type: proportion, role: primary}
  - {key: revenue, type: mean, value: amount, decimals: 2, role: %s}
decision: {design: %s, mde: 10%%, min_runtime: 7d, max_runtime: 14d}
source:
  shape: units
  assignment: randomised
  variant: group
  control: control
  weights: {control: 0.95, treatment: 0.05}
  columns: {sale: sale, revenue: revenue}
"""
MOMENTS = """
metrics:
  - {key: speed, type: mean, value: ms, role: primary}
  - {key: spent, type: mean, value: euro, role: secondary}
  - {key: net, type: mean, value: euro, role: guardrail, margin: %r}
decision: {design: %s, mde: %r}
source:
  shape: moments
  assignment: randomised
  variant: arm
  control: a
  weights: %s
  columns:
    speed: {n: n, mean: mean_0, variance: variance_0}
    spent: {n: n, mean: mean_1, variance: variance_1}
    net: {n: n, mean: mean_2, variance: variance_2}
"""


def report(table: pl.DataFrame, spec: str) -> Report:
    found = analyze(table, load_spec(spec))
    assert isinstance(found, Report)
    return found


def events(found: Report) -> Check:
    return next(check for check in found.checks if check.name == "events")


def comparison(found: Report, key: str) -> Comparison:
    return next(m for m in found.matured.metrics if m.key == key).comparisons[0]


def test_a_harmed_guardrail_rolls_back_whatever_is_added_to_its_amounts(shared: Path) -> None:
    folder = shared / "cases" / "guardrail-of-an-amount"
    spec = load_spec((folder / "guard.yaml").read_text())
    table = pl.read_csv(folder / "guard.csv")
    for added in (0.0, 0.15, -0.15, 1000.0):
        moved = table.with_columns(pl.col("net_mean") + added)
        found = analyze(moved, spec)
        assert isinstance(found, Report)
        assert found.verdict.kind is VerdictKind.ROLLBACK, added
    shifted = analyze(pl.read_csv(folder / "guard_shifted.csv"), spec)
    assert isinstance(shifted, Report)
    assert shifted.verdict.kind is VerdictKind.ROLLBACK


moments = st.tuples(st.floats(-0.5, 0.5), st.sampled_from([0.0, 1e-3, 0.3, 1.0, 4.0]))
SPLITS = [(50, 50), (95, 5), (99, 1), (10, 90), (70, 20, 10)]


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(SPLITS),
    st.integers(2, 60),
    st.lists(moments, min_size=9, max_size=9),
    st.sampled_from(["fixed", "sequential", "group_sequential"]),
    st.integers(-8, 8).map(lambda k: 2.0**k),
    st.sampled_from([-64.0, -1.0, 0.25, 512.0]),
)
def test_adding_a_constant_and_changing_the_unit_change_nothing(
    split: tuple[int, ...],
    units: int,
    given_moments: list[tuple[float, float]],
    design: str,
    unit: float,
    added: float,
) -> None:
    """Powers of two, so that a float holds what was added; the effects looked for are absolute."""
    names = [chr(ord("a") + i) for i in range(len(split))]

    def read(scale: float, constant: float) -> Report:
        columns: dict[str, list[object]] = {"arm": list(names), "n": [units * part for part in split]}
        for place in range(3):
            own = given_moments[place::3][: len(split)]
            columns[f"mean_{place}"] = [scale * (round(m * 2**20) / 2**20 + constant) for m, _ in own]
            columns[f"variance_{place}"] = [scale**2 * v for _, v in own]
        weights = {name: part / 100 for name, part in zip(names, split, strict=True)}
        return report(pl.DataFrame(columns), MOMENTS % (0.125 * scale, design, 0.25 * scale, weights))

    plain, moved = read(1.0, 0.0), read(unit, added)
    assert moved.verdict.kind is plain.verdict.kind
    assert (events(moved).severity, events(moved).numbers) == (events(plain).severity, events(plain).numbers)
    for one, two in zip(plain.matured.metrics, moved.matured.metrics, strict=True):
        for a, b in zip(one.comparisons, two.comparisons, strict=True):
            assert (a.finding, a.enough_events, a.events) == (b.finding, b.enough_events, b.events)


def canary(*, role: str, design: str, seed: int = 1) -> Report:
    """3 % payers of log-normal amounts in 95 / 5; the canary met three of the smallest, as it will at times."""
    rng = np.random.default_rng(seed)
    units = 3_000
    treated = np.arange(units) % 20 == 0
    pays = (rng.random(units) < 0.03) & ~treated
    pays[[0, 20, 40]] = True
    amount = np.where(pays, rng.lognormal(3, 1.5, units), 0.0).round(2)
    amount[[0, 20, 40]] = 1.5
    sale = (rng.random(units) < 0.5).astype(int)
    group = np.where(treated, "treatment", "control")
    table = pl.DataFrame({"group": group, "revenue": amount, "sale": sale})
    return report(table, UNITS % (role, design))


@pytest.mark.parametrize("design", ["sequential", "fixed"])
def test_an_unlucky_canary_is_not_judged_however_sure_its_interval_looks(design: str) -> None:
    role = "guardrail, margin: 1%"
    found = canary(role=role, design=design)
    guard = comparison(found, "revenue")
    assert guard.estimate is not None
    assert guard.guard is not None
    assert guard.estimate.p < 1e-3
    assert guard.events == 150
    assert not guard.enough_events
    assert not guard.guard.safe
    assert not guard.guard.harmed
    assert events(found).severity is Severity.WARN
    assert "revenue, guardrail: treatment against control" in events(found).message
    assert "more units" in events(found).message
    assert "`cap`" in events(found).message
    assert found.verdict.kind is not VerdictKind.ROLLBACK


def test_a_secondary_metric_is_named_only_where_it_would_say_something() -> None:
    assert (
        "revenue, secondary: treatment against control"
        in events(canary(role="secondary", design="fixed")).message
    )


def test_a_primary_metric_that_only_its_own_variance_supports_holds_the_verdict() -> None:
    spec = (UNITS % ("primary", "fixed")).replace("proportion, role: primary", "proportion, role: secondary")
    rng = np.random.default_rng(3)
    treated = np.arange(3_000) % 20 == 0
    amount = np.where((rng.random(3_000) < 0.02) & ~treated, 20.0, 0.0)
    amount[[20, 40]] = 0.5
    table = pl.DataFrame(
        {"group": np.where(treated, "treatment", "control"), "revenue": amount, "sale": treated * 1}
    )
    found = report(table, spec)
    assert comparison(found, "revenue").significant
    assert events(found).severity is Severity.GATE
    assert events(found).message in found.verdict.reasons
    assert found.verdict.kind is VerdictKind.CONTINUE
    assert "more units in the smaller variant." in found.verdict.what_would_change


@pytest.mark.parametrize("design", ["fixed", "sequential"])
@pytest.mark.parametrize("stores", [24, 137])
def test_few_stores_can_pass(design: str, stores: int) -> None:
    """Orders per visit of whole stores that differ in size: no number of visits is asked for."""
    rng = np.random.default_rng(7)
    visits = rng.lognormal(5, 1.2, stores).astype(int) + 30
    rate = np.where(np.arange(stores) % 2 == 0, 0.2, 0.3)
    table = pl.DataFrame({
        "arm": np.where(np.arange(stores) % 2 == 0, "old", "new"), "visits": visits,
        "orders": rng.binomial(visits, rate), "takings": rng.lognormal(8, 0.5, stores).round(2),
    })  # fmt: skip
    spec = f"""
    metrics:
      - {{key: rate, type: ratio, role: primary}}
      - {{key: takings, type: mean, value: euro, decimals: 2, role: guardrail, margin: 50%}}
    decision: {{design: {design}, mde: 20%}}
    source:
      shape: units
      assignment: randomised
      variant: arm
      control: old
      weights: equal
      columns: {{rate: {{numerator: orders, denominator: visits}}, takings: takings}}
    """
    found = report(table, spec)
    assert events(found).severity is Severity.OK, events(found).message
    assert all(c.enough_events for m in found.matured.metrics for c in m.comparisons)
    assert comparison(found, "takings").events == stores // 2


def centred(n: list[int], mean: list[float], variance: list[float]) -> Centred:
    size = np.array(n, float)
    return Centred(
        n=size.reshape(1, 1, -1),
        x=np.array(mean).reshape(1, 1, -1),
        xx=((size - 1) * variance).reshape(1, 1, -1),
    )


def test_the_wider_error_is_students_where_the_small_variant_varies_less() -> None:
    """Student's t of two samples from their moments, as scipy has it."""
    from scipy import stats

    n, mean, variance = [950, 50], [0.5, 0.2], [4.0, 0.5]
    found = pairs(REVENUE, centred(n, mean, variance))
    effect, _ = estimates.fixed_effect(found, 0.05)
    (mc, sc, nc), (mt, st, nt) = ((mean[i], variance[i] ** 0.5, n[i]) for i in (0, 1))
    student, welch = (
        stats.ttest_ind_from_stats(mt, st, nt, mc, sc, nc, equal_var=same) for same in (True, False)
    )
    assert effect.statistic[0, 0] == pytest.approx(welch.statistic, rel=1e-12)
    assert effect.statistic[0, 0] / found.widening[0, 0] == pytest.approx(student.statistic, rel=1e-12)
    assert estimates.confirmed_fixed(found, effect)[0, 0] > effect.p_value[0, 0]
    other = pairs(REVENUE, centred(n, mean, variance[::-1]))
    assert other.widening[0, 0] == 1
    even = pairs(REVENUE, centred([500, 500], mean, variance))
    assert even.widening[0, 0] == pytest.approx(1, abs=1e-12)


def test_a_guardrail_counts_only_what_both_errors_show() -> None:
    """Harm of 0.3 on a small variant that varies less than control: sure by its own variance only."""
    rail = replace(BUYERS, role=Role.GUARDRAIL)
    margin, star = Size(value=0.01, relative=False), np.array([1000.0])
    lucky = pairs(rail, centred([950, 50], [0.5, 0.2], [1.0, 0.01]))
    sure = pairs(rail, centred([950, 50], [0.5, -0.5], [1.0, 0.01]))
    for once in (False, True):
        held, shown = (estimates.guards(p, rail, margin, star, 0.05, once=once) for p in (lucky, sure))
        assert (held.harmed[0, 0], held.unconfirmed[0, 0]) == (False, True)
        assert (shown.harmed[0, 0], shown.unconfirmed[0, 0]) == (True, False)
    better = pairs(rail, centred([950, 50], [0.3, 0.5], [1.0, 0.01]))
    for once in (False, True):
        found = estimates.guards(better, rail, margin, star, 0.05, once=once)
        assert (found.safe[0, 0], found.unconfirmed[0, 0]) == (False, True)


@pytest.mark.parametrize(
    ("metric", "what"),
    [
        ({"type": MetricType.PROPORTION, "cap": 1}, Counted.OUTCOMES),
        ({"type": MetricType.MEAN, "cap": 1}, Counted.OUTCOMES),
        ({"type": MetricType.MEAN, "cap": 1, "value": "amount"}, Counted.UNITS),
        ({"type": MetricType.MEAN, "cap": 50_000, "value": "amount"}, Counted.UNITS),
        ({"type": MetricType.MEAN, "cap": 2**40}, Counted.UNITS),
        ({"type": MetricType.RATIO, "cap": 2**40}, Counted.EVENTS),
        ({"type": MetricType.RATIO, "cap": 2**40, "value": "ms"}, Counted.UNITS),
    ],
)
def test_what_is_counted_follows_from_the_metric(metric: dict[str, object], what: Counted) -> None:
    kind, cap, value = metric["type"], metric["cap"], metric.get("value")
    assert isinstance(kind, MetricType)
    assert isinstance(cap, int)
    found = Metric(
        key="m", type=kind, numerator=Measure(event="buy", value=None if value is None else str(value)),
        cap=cap, denominator=Measure(event="visit") if kind is MetricType.RATIO else None,
    )  # fmt: skip
    assert counted(found) is what
    assert NEEDED[what] == (10 if what is Counted.UNITS else 20)


def test_events_of_the_smaller_variant_are_expected_from_both() -> None:
    units, hits = np.array([[99_000, 1000], [0, 0]]), np.array([[4990, 10], [0, 0]])
    assert rarer(units, hits, None).tolist() == [pytest.approx([4950, 50]), [0, 0]]
    assert rarer(units, hits, units).tolist() == [pytest.approx([4950, 50]), [0, 0]]
    units, hits = np.array([[300, 100], [1, 0]]), np.array([[290, 90], [1, 0]])
    assert rarer(units, hits, units).tolist() == [pytest.approx([15, 5]), [0, 0]]
    assert rarer(units, hits, None)[1].tolist() == [1, 0]


VISITS = Metric(
    key="rate", type=MetricType.RATIO, numerator=Measure(event="buy"), denominator=Measure(event="visit"), cap=2**40,
)  # fmt: skip
# (buys, visits) of the units of control and of the other variant
PART = [[(3, 4), (2, 2), (4, 4)], [(5, 5), (1, 2)]]
BEYOND = [[(3, 1), (0, 2), (4, 4)], [(5, 5), (1, 2)]]
ALWAYS = [[(1, 1), (2, 2), (4, 4)], [(5, 5), (1, 1)]]
LARGER = [[(3, 4), (2, 2), (4, 4)], [(9, 5), (8, 2)]]


def by_units(groups: list[list[tuple[int, int]]]) -> Centred:
    """The same units as measured moments."""

    def column(read: Callable[[np.ndarray], float]) -> np.ndarray:
        return np.array([read(np.array(group, float)) for group in groups])

    return Centred(
        n=column(len), x=column(lambda g: g[:, 0].mean()), y=column(lambda g: g[:, 1].mean()),
        xx=column(lambda g: ((g[:, 0] - g[:, 0].mean()) ** 2).sum()),
        yy=column(lambda g: ((g[:, 1] - g[:, 1].mean()) ** 2).sum()),
        xy=column(lambda g: ((g[:, 0] - g[:, 0].mean()) * (g[:, 1] - g[:, 1].mean())).sum()),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("groups", "events"),
    [
        # 15 of 17 visits bought: 2 did not, shared out by units 3 to 2
        (PART, [1.2, 0.8]),
        # every visit bought: nothing else happened
        (ALWAYS, [0.0, 0.0]),
        # a unit bought more often than it came: buys are no part of its visits, so all 13 count
        (BEYOND, [7.8, 5.2]),
        # more buys than visits in one variant
        (LARGER, [15.6, 10.4]),
    ],
)
def test_the_rarer_outcome_of_a_ratio_is_counted_where_events_are_a_part_of_chances(
    groups: list[list[tuple[int, int]]], events: list[float]
) -> None:
    for totals in (exact(VISITS, groups), by_units(groups)):
        found = expected(VISITS, totals, lambda part: np.asarray(part, float))
        assert found == pytest.approx(events)


def test_every_place_is_judged_by_its_own_units() -> None:
    totals = exact(VISITS, PART + BEYOND)
    found = expected(VISITS, totals, lambda part: np.asarray(part, float).reshape(2, 2))
    assert found.tolist() == [pytest.approx([1.2, 0.8]), pytest.approx([7.8, 5.2])]


def test_a_ratio_of_a_count_to_an_amount_has_no_other_outcome() -> None:
    metric = replace(VISITS, denominator=Measure(event="visit", value="minutes"))
    found = expected(metric, exact(metric, PART), lambda part: np.asarray(part, float))
    assert found == pytest.approx([9.0, 6.0])


def test_events_are_summed_over_the_strata_of_the_pair() -> None:
    """Two strata, each a part; together too: 4 + 5 rarer outcomes, by units."""
    totals = exact(BUYERS, [[(1, 0)] * 4 + [(0, 0)] * 6, [(1, 0)] * 5 + [(0, 0)] * 15])
    found = expected(BUYERS, totals, lambda part: np.asarray(part, float))
    assert found == pytest.approx([3.0, 6.0])
    units = expected(
        REVENUE, exact(REVENUE, [[(5, 0)] * 3, [(7, 0)] * 8]), lambda part: np.asarray(part, float)
    )
    assert units.tolist() == [3.0, 8.0]
