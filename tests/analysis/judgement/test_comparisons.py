"""Every number of a comparison, from sums that were written down: recomputed by hand and by scipy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from math import log10, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.inference.random_effects import pool_effects
from switchpoint.analysis.judgement import comparisons
from switchpoint.analysis.numerics.arrays import finite
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.header import iso_day
from switchpoint.analysis.results.judgement import Comparison, MetricReading
from switchpoint.analysis.results.numbers import Finding
from switchpoint.experiment.definition.types import Design, Direction
from switchpoint.experiment.language.experiment import load_spec
from tests.analysis.cases import BUYERS, DAY, RULE, counts, definition, running, segment

SPEC = """
metrics:
  - {key: speed, type: mean, value: ms, role: primary, direction: %(direction)s}
  - {key: spent, type: mean, value: euro, role: secondary}
  - {key: seen, type: mean, value: pages, role: secondary, direction: decrease}
  - {key: net, type: mean, value: euro, role: guardrail, direction: increase, margin: 10%%}
  - {key: wait, type: mean, value: s, role: guardrail, direction: decrease, margin: 0.5}
decision: {%(design)s, mde: 10%%, evidence: randomised}
source:
  shape: moments
  assignment: randomised
  variant: arm
  control: a
  weights: equal
%(segment)s
  columns:
    speed: {n: n, mean: speed, variance: speed_v}
    spent: {n: n, mean: spent, variance: spent_v}
    seen: {n: n, mean: seen, variance: seen_v}
    net: {n: n, mean: net, variance: net_v}
    wait: {n: n, mean: wait, variance: wait_v}
"""
KEYS = ("speed", "spent", "seen", "net", "wait")
ARMS = ("a", "b", "c")
# (mean, variance) of every metric in the arms a, b and c
WHOLE = {
    "speed": ((10.0, 9.0), (10.6, 12.0), (10.1, 8.0)),
    "spent": ((5.0, 16.0), (5.0, 15.0), (5.9, 20.0)),
    "seen": ((3.0, 4.0), (2.8, 4.0), (3.02, 5.0)),
    "net": ((20.0, 100.0), (19.8, 90.0), (15.0, 80.0)),
    "wait": ((4.0, 6.0), (4.1, 6.0), (5.5, 7.0)),
}
N = 800
"""Units of every arm."""


def moments(found: dict[str, Any], n: int = N, **more: str) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {
        "arm": list(ARMS),
        "n": [n] * 3,
        **{key: [value] * 3 for key, value in more.items()},
    }
    for key in KEYS:
        rows[key] = [mean for mean, _ in found[key]]
        rows[f"{key}_v"] = [variance for _, variance in found[key]]
    return rows


def report(
    rows: dict[str, list[Any]], design: str = "design: fixed", direction: str = "increase", by: str = ""
) -> Report:
    text = SPEC % {"design": design, "direction": direction, "segment": by}
    found = analyze(pl.DataFrame(rows), load_spec(text))
    assert isinstance(found, Report)
    return found


def metrics(found: Report) -> dict[str, MetricReading]:
    return {m.key: m for m in found.matured.metrics}


def of(found: Report, key: str, arm: str) -> Comparison:
    return next(c for c in metrics(found)[key].comparisons if c.variant == arm)


def welch(key: str, arm: str) -> Any:
    (m0, v0), (m1, v1) = WHOLE[key][0], WHOLE[key][ARMS.index(arm)]
    return stats.ttest_ind_from_stats(m1, sqrt(v1), N, m0, sqrt(v0), N, equal_var=False)


def error(key: str, arm: str) -> float:
    return sqrt((WHOLE[key][0][1] + WHOLE[key][ARMS.index(arm)][1]) / N)


def df(key: str, arm: str) -> float:
    return freedom(WHOLE[key][0][1] / N, WHOLE[key][ARMS.index(arm)][1] / N, N)


def freedom(a: float, b: float, n: float) -> float:
    """Welch's and Satterthwaite's, of two samples of n with these squared errors."""
    return (a + b) ** 2 / (a * a / (n - 1) + b * b / (n - 1))


def interval_of(key: str, arm: str, alpha: float = 0.05) -> tuple[float, float]:
    effect = WHOLE[key][ARMS.index(arm)][0] - WHOLE[key][0][0]
    reach = float(stats.t.ppf(1 - alpha / 2, df(key, arm))) * error(key, arm)
    return effect - reach, effect + reach


# of each test, not of the module: which tests ran a line is how those that can judge its faults are known
@pytest.fixture
def plain() -> Report:
    return report(moments(WHOLE))


COMPARED = [(key, arm) for key in KEYS for arm in ARMS[1:]]


def test_the_values_of_every_variant(plain: Report) -> None:
    for key, found in metrics(plain).items():
        assert [v.variant for v in found.values] == list(ARMS)
        for place, value in enumerate(found.values):
            mean = WHOLE[key][place][0]
            assert (value.n, value.denominator) == (N, N)
            assert value.numerator == pytest.approx(N * mean)
            assert value.value == pytest.approx(mean)


def test_what_a_metric_is(plain: Report) -> None:
    found = metrics(plain)
    assert [(m.key, m.role, m.direction, m.type, m.decimals) for m in found.values()] == [
        ("speed", "primary", "increase", "mean", 0), ("spent", "secondary", "increase", "mean", 0),
        ("seen", "secondary", "decrease", "mean", 0), ("net", "guardrail", "increase", "mean", 0),
        ("wait", "guardrail", "decrease", "mean", 0),
    ]  # fmt: skip
    assert [(c.variant, c.control) for c in found["speed"].comparisons] == [("b", "a"), ("c", "a")]


@pytest.mark.parametrize(("key", "arm"), COMPARED)
def test_an_estimate_is_welchs(plain: Report, key: str, arm: str) -> None:
    found, test = of(plain, key, arm), welch(key, arm)
    e, place = found.estimate, ARMS.index(arm)
    assert e is not None
    assert found.missing is None
    assert (e.n_control, e.n_variant, e.method) == (N, N, "welch")
    effect = WHOLE[key][place][0] - WHOLE[key][0][0]
    assert (e.control_value, e.variant_value) == pytest.approx((WHOLE[key][0][0], WHOLE[key][place][0]))
    assert e.effect == pytest.approx(effect)
    assert e.lift == pytest.approx(effect / WHOLE[key][0][0])
    assert e.standard_error == pytest.approx(error(key, arm))
    assert e.p == pytest.approx(test.pvalue, rel=1e-6)
    assert (e.interval.lower, e.interval.upper) == pytest.approx(interval_of(key, arm))
    assert (e.log10_p, e.log10_anytime_p) == (None, None)
    # a lift of zero and an effect of zero are one question; a sequence is wider than one look
    assert e.interval is not None
    assert e.lift_interval is not None
    assert e.interval.lower is not None
    assert e.lift_interval.lower is not None
    assert (e.lift_interval.lower > 0) == (e.interval.lower > 0)
    for wide, once in ((e.sequence, e.interval), (e.lift_sequence, e.lift_interval)):
        assert wide is not None
        assert wide.lower < once.lower < once.upper < wide.upper  # type: ignore[operator]
    assert e.anytime_p is not None
    assert e.anytime_p > e.p or e.effect == 0
    assert (e.sequence_missing, e.lift_missing) == (None, None)


def test_the_families_of_the_roles(plain: Report) -> None:
    p = {(key, arm): welch(key, arm).pvalue for key, arm in COMPARED}
    holm = stats_holm([p["speed", arm] for arm in "bc"])
    assert [of(plain, "speed", arm).adjusted_p for arm in "bc"] == pytest.approx(holm)
    secondary = [(key, arm) for key in ("spent", "seen") for arm in "bc"]
    hochberg = stats.false_discovery_control([p[one] for one in secondary])
    assert [of(plain, *one).adjusted_p for one in secondary] == pytest.approx(hochberg.tolist())
    for one in ((key, arm) for key in ("net", "wait") for arm in "bc"):
        assert of(plain, *one).adjusted_p == pytest.approx(p[one])
    # the interval of what was selected, at its share of alpha: two of four
    for key, arm in secondary:
        found = of(plain, key, arm)
        assert found.significant is bool(found.adjusted_p is not None and found.adjusted_p < 0.05)
        chosen = sum(of(plain, *one).significant for one in secondary)
        if not found.significant:
            assert found.selected_interval is None
            continue
        assert found.selected_interval is not None
        expected = interval_of(key, arm, 0.05 * chosen / 4)
        assert (found.selected_interval.lower, found.selected_interval.upper) == pytest.approx(expected)
    assert {of(plain, *one).significant for one in secondary} == {True, False}
    assert all(
        of(plain, key, arm).selected_interval is None for key in ("speed", "net", "wait") for arm in "bc"
    )


def stats_holm(p: list[float]) -> list[float]:
    """Of two: the smaller one doubled, the larger one at least that."""
    low = min(1.0, 2 * min(p))
    return [low if one == min(p) else max(low, one) for one in p]


@pytest.mark.parametrize(
    ("key", "arm", "better", "finding"),
    [
        ("speed", "b", True, Finding.BETTER), ("speed", "c", None, Finding.FEW_UNITS),
        ("spent", "b", None, Finding.UNDECIDED), ("spent", "c", True, Finding.BETTER),
        ("seen", "b", None, Finding.UNDECIDED), ("seen", "c", None, Finding.UNDECIDED),
        ("net", "b", None, Finding.SAFE), ("net", "c", False, Finding.HARMED),
        ("wait", "b", None, Finding.SAFE), ("wait", "c", False, Finding.HARMED),
    ],
)  # fmt: skip
def test_what_is_shown(plain: Report, key: str, arm: str, better: bool | None, finding: Finding) -> None:
    found = of(plain, key, arm)
    enough = found.sufficiency
    if key == "speed":
        assert enough is not None
        assert found.complete is enough.enough
        finding = Finding.UNDECIDED if enough.enough and better is None else finding
    else:
        assert found.complete
    assert (found.better, found.significant, found.finding) == (better, better is not None, finding)
    assert (found.headline, found.counted, found.events, found.events_needed) == ("interval", "units", N, 10)
    assert found.enough_events
    assert found.days is None
    assert found.planned is None
    assert (found.unadjusted, found.heterogeneity, found.segments, found.daily) == (None, None, (), ())


def test_the_direction_of_the_metric_turns_what_is_better() -> None:
    turned = report(moments(WHOLE), direction="decrease")
    assert of(turned, "speed", "b").better is False
    assert of(turned, "speed", "b").finding is Finding.WORSE
    rows = moments(WHOLE | {"seen": ((3.0, 4.0), (2.5, 4.0), (3.5, 5.0))})
    found = report(rows)
    assert [of(found, "seen", arm).better for arm in "bc"] == [True, False]


@pytest.mark.parametrize("arm", ["b", "c"])
def test_guardrails_lose_in_their_own_direction_by_their_own_scale(plain: Report, arm: str) -> None:
    """A file under the fixed design: the one-sided bound of Welch's test at alpha."""
    net, wait = of(plain, "net", arm), of(plain, "wait", arm)
    assert net.guard is not None
    assert wait.guard is not None
    assert (net.guard.margin_relative, wait.guard.margin_relative) == (0.1, None)
    assert (net.guard.margin, wait.guard.margin) == pytest.approx((0.1 * 20.0, 0.5))
    effects = {key: WHOLE[key][ARMS.index(arm)][0] - WHOLE[key][0][0] for key in ("net", "wait")}
    assert (net.guard.loss, wait.guard.loss) == pytest.approx((-effects["net"], effects["wait"]))
    bound = effects["wait"] + stats.t.ppf(0.95, df("wait", arm)) * error("wait", arm)
    assert wait.guard.loss_bound == pytest.approx(bound)
    assert wait.guard.safe is bool(bound < 0.5)
    # relative: of control's value; its own error makes the bound of the lift a little different
    about = -effects["net"] + 1.645 * error("net", arm)
    assert net.guard.loss_bound == pytest.approx(about, rel=0.05)
    assert (net.guard.safe, net.guard.harmed) == ((True, False) if arm == "b" else (False, True))
    assert (wait.guard.safe, wait.guard.harmed) == ((True, False) if arm == "b" else (False, True))
    assert of(plain, "speed", arm).guard is None
    assert of(plain, "spent", arm).guard is None


def test_a_guardrail_of_negative_values_has_a_margin_of_their_size() -> None:
    found = report(moments(WHOLE | {"net": ((-20.0, 100.0), (-20.1, 90.0), (-30.0, 80.0))}))
    guard = of(found, "net", "b").guard
    assert guard is None or guard.margin == pytest.approx(2.0)


def test_a_closed_file_that_is_watched_has_wider_bounds(plain: Report) -> None:
    found = report(moments(WHOLE), "design: sequential")
    for key in ("net", "wait"):
        once, watched = of(plain, key, "b").guard, of(found, key, "b").guard
        assert once is not None
        assert watched is not None
        assert once.loss_bound is not None
        assert watched.loss_bound is not None
        assert watched.loss_bound > once.loss_bound
    assert {m.comparisons[0].headline for m in found.matured.metrics} == {"sequence"}
    speed = of(found, "speed", "b")
    assert speed.estimate is not None
    assert speed.adjusted_p == pytest.approx(min(1, 2 * (speed.estimate.anytime_p or 1)))


@pytest.mark.parametrize(("direction", "sign"), [("increase", 1.0), ("decrease", -1.0)])
def test_a_belief_is_the_normal_one_from_the_prior(plain: Report, direction: str, sign: float) -> None:
    """Precision-weighted mean of the prior and of the lift by the delta method; losses by Raiffa's integral."""
    found = report(moments(WHOLE), "design: bayesian, prior: {mean: 0.01, sd: 0.1}", direction)
    for arm in "bc":
        c = of(found, "speed", arm)
        (m0, v0), (m1, v1) = WHOLE["speed"][0], WHOLE["speed"][ARMS.index(arm)]
        # both variants share one variance or have their own: the wider error counts
        pooled = (v0 + v1) / 2
        spread = max(sqrt((v1 + (m1 / m0) ** 2 * v0) / N), sqrt((pooled + (m1 / m0) ** 2 * pooled) / N)) / m0
        weight = 1 / spread**2 + 1 / 0.1**2
        mean = ((m1 / m0 - 1) / spread**2 + 0.01 / 0.1**2) / weight
        sd = 1 / sqrt(weight)
        z = mean / sd
        assert c.posterior is not None
        belief = c.posterior
        assert (belief.prior_mean, belief.prior_sd, belief.method) == (0.01, 0.1, "normal")
        assert belief.mean == pytest.approx(mean, rel=0.01)
        assert belief.better == pytest.approx(stats.norm.cdf(sign * z), rel=0.1)
        up, down = (
            sd * stats.norm.pdf(z) - mean * stats.norm.sf(z),
            sd * stats.norm.pdf(z) + mean * stats.norm.cdf(z),
        )
        expected = (up, down) if direction == "increase" else (down, up)
        assert (belief.loss_variant, belief.loss_control) == pytest.approx(expected, rel=0.1)
        assert belief.interval.lower == pytest.approx(mean - 1.96 * sd, abs=0.001)
        assert belief.interval.upper == pytest.approx(mean + 1.96 * sd, abs=0.001)
        assert c.adjusted_p is None
        assert c.headline == "posterior"
        assert c.significant is bool(2 * min(belief.better, 1 - belief.better) < 0.05)
        assert c.better is ((sign > 0) if c.significant else None)
    # beside the primary metric sequences decide, and the belief is shown by the same prior
    assert {m.comparisons[0].headline for m in found.matured.metrics[1:]} == {"sequence"}
    assert of(found, "spent", "b").adjusted_p is not None
    assert of(plain, "speed", "b").posterior is not None


# several segments


PARTS = {
    "x": (500, {**WHOLE, "speed": ((10.0, 9.0), (11.5, 12.0), (9.0, 8.0))}),
    "y": (300, {**WHOLE, "speed": ((20.0, 9.0), (20.1, 12.0), (20.0, 8.0))}),
    "z": (400, {**WHOLE, "speed": ((30.0, 16.0), (30.9, 16.0), (29.0, 9.0))}),
}  # fmt: skip


def split() -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {}
    for country, (n, found) in PARTS.items():
        for key, column in moments(found, n, country=country).items():
            rows.setdefault(key, []).extend(column)
    return rows


@pytest.fixture
def by() -> Report:
    return report(split(), by="  segment: country")


@pytest.mark.parametrize("arm", ["b", "c"])
def test_segments_are_compared_one_by_one_and_drawn_together(by: Report, arm: str) -> None:
    found, place = of(by, "speed", arm), ARMS.index(arm)
    assert [s.segment for s in found.segments] == list(PARTS)
    effects, errors, p = [], [], []
    for one, (n, part) in zip(found.segments, PARTS.values(), strict=True):
        (m0, v0), (m1, v1) = part["speed"][0], part["speed"][place]
        test = stats.ttest_ind_from_stats(m1, sqrt(v1), n, m0, sqrt(v0), n, equal_var=False)
        assert one.estimate is not None
        assert one.missing is None
        assert (one.estimate.effect, one.estimate.p) == pytest.approx((m1 - m0, test.pvalue))
        assert (one.control.variant, one.value.variant) == ("a", arm)
        assert (one.control.n, one.value.n) == (n, n)
        assert (one.control.value, one.value.value) == pytest.approx((m0, m1))
        assert one.sufficiency is not None
        assert one.sufficiency.n_now == 2 * n
        effects.append(m1 - m0)
        errors.append(sqrt((v0 + v1) / n))
        p.append(test.pvalue)
    drawn = pool_effects(np.array([effects]), np.square([errors]), alpha=0.05)
    shrunk = [one.shrunk for one in found.segments]
    assert shrunk == pytest.approx(drawn.shrunk[0].tolist())
    for one, mean, reach in zip(
        found.segments, drawn.shrunk[0], 1.959964 * drawn.shrunk_error[0], strict=True
    ):
        assert one.shrunk_interval is not None
        assert (one.shrunk_interval.lower, one.shrunk_interval.upper) == pytest.approx(
            (mean - reach, mean + reach)
        )
    told = found.heterogeneity
    assert told is not None
    weights = 1 / np.square(errors)
    q = float((weights * np.square(np.subtract(effects, np.average(effects, weights=weights)))).sum())
    assert told.segments == 3
    assert told.p == pytest.approx(stats.chi2.sf(q, 2), rel=1e-6)
    assert told.mean == pytest.approx(drawn.mean[0])
    assert (told.interval.lower, told.interval.upper) == pytest.approx((drawn.low[0], drawn.high[0]))
    assert told.tau == pytest.approx(sqrt(drawn.tau2[0]))
    assert told.i2 == pytest.approx(drawn.i2[0])


def test_a_segment_with_too_few_units_says_so() -> None:
    """One unit cannot be compared and is not drawn to the others; twenty can, and are too few for a word."""
    rows = split()
    far = {**PARTS["x"][1], "speed": ((10.0, 9.0), (30.0, 9.0), (10.0, 9.0))}
    for country, n in (("one", 1), ("few", 20)):
        for key, column in moments(far, n, country=country).items():
            rows[key].extend([0.0] * 3 if n == 1 and key.endswith("_v") else column)
    *_, one, few = of(report(rows, by="  segment: country"), "speed", "b").segments
    assert one.missing is not None
    assert one.missing.code == "not_comparable"
    assert (one.estimate, one.shrunk, one.shrunk_interval, one.adjusted_p) == (None, None, None, None)
    assert few.adjusted_p is not None
    assert few.adjusted_p < 0.05
    assert [one.finding, few.finding] == ["too little data"] * 2


def test_a_lift_without_a_control_to_compare_with_says_why() -> None:
    found = report(moments({**WHOLE, "spent": ((0.0, 16.0), (5.0, 15.0), (5.9, 20.0))}))
    e = of(found, "spent", "b").estimate
    assert e is not None
    assert e.lift_missing is not None
    assert (e.lift, e.lift_interval, e.lift_missing.code) == (None, None, "zero_control")


def test_segments_and_variants_are_one_family(by: Report) -> None:
    raw, told = [], []
    for place in range(3):
        for arm in "bc":
            n, part = list(PARTS.values())[place]
            (m0, v0), (m1, v1) = part["speed"][0], part["speed"][ARMS.index(arm)]
            raw.append(stats.ttest_ind_from_stats(m1, sqrt(v1), n, m0, sqrt(v0), n, equal_var=False).pvalue)
            told.append(of(by, "speed", arm).segments[place].adjusted_p)
    assert told == pytest.approx(stats.false_discovery_control(raw).tolist(), rel=1e-6)
    words = [one.finding for one in of(by, "speed", "b").segments]
    assert words[0] == "better than control"
    assert [one.finding for one in of(by, "speed", "c").segments][2] == "worse than control"


@pytest.mark.parametrize(("units", "complete"), [(N, True), (20, False)])
def test_a_reading_is_complete_with_the_units_the_rule_asked_for(units: int, *, complete: bool) -> None:
    found = report(moments(WHOLE, units))
    assert of(found, "speed", "b").complete is complete
    assert of(found, "spent", "b").complete


@pytest.mark.parametrize("arm", ["b", "c"])
def test_the_pooled_effect_is_that_of_one_sample(by: Report, arm: str) -> None:
    found, place = of(by, "speed", arm), ARMS.index(arm)
    assert found.pooled is not None
    assert found.estimate is not None
    sides = []
    for side in (0, place):
        n = np.array([size for size, _ in PARTS.values()], dtype=float)
        mean = np.array([part["speed"][side][0] for _, part in PARTS.values()])
        variance = np.array([part["speed"][side][1] for _, part in PARTS.values()])
        total = float(np.average(mean, weights=n))
        squares = float(((n - 1) * variance + n * np.square(mean - total)).sum())
        sides.append((total, sqrt(squares / (n.sum() - 1)), n.sum()))
    test = stats.ttest_ind_from_stats(*sides[1], *sides[0], equal_var=False)
    effect, errors = sides[1][0] - sides[0][0], [deviation**2 / n for _, deviation, n in sides]
    reach = stats.t.ppf(0.975, freedom(errors[0], errors[1], sides[0][2])) * sqrt(sum(errors))
    assert found.pooled.effect == pytest.approx(sides[1][0] - sides[0][0])
    assert (found.pooled.interval.lower, found.pooled.interval.upper) == pytest.approx(
        (effect - reach, effect + reach), rel=1e-6
    )
    assert found.pooled.p == pytest.approx(test.pvalue, rel=1e-6)
    assert found.pooled.between == pytest.approx(found.pooled.effect - found.estimate.effect, abs=1e-12)
    assert not found.pooled.simpson
    # alike shares of the segments in the variants: the mix adds nothing
    assert sum(row.contribution or 0 for row in found.pooled.mix) == pytest.approx(0, abs=1e-9)
    assert [row.stratum for row in found.pooled.mix] == list(PARTS)
    assert of(by, "spent", arm).pooled is not None
    assert of(by, "spent", arm).pooled.mix == ()  # type: ignore[union-attr]


def test_only_several_strata_can_contradict_the_pooled_effect(plain: Report) -> None:
    """The same effect in the strata and a mix that turns it round; the effect in one stratum turns nothing."""
    table = {
        ("us", "control"): (10_000, 1000), ("us", "treatment"): (10_000, 1100), ("rest", "control"): (18_000, 9000),
        ("rest", "treatment"): (2_000, 1060),
    }  # fmt: skip
    mixed = analyze_ledger(
        running(definition(segment("us", 0.5, 0.5), segment("rest", 0.9, 0.1))), counts(table), at=100 * DAY
    )
    pooled = mixed.matured.metrics[0].comparisons[0].pooled
    estimate = mixed.matured.metrics[0].comparisons[0].estimate
    assert pooled is not None
    assert estimate is not None
    assert pooled.simpson
    assert pooled.effect < 0 < estimate.effect
    assert pooled.between == pytest.approx(pooled.effect - estimate.effect)
    assert [row.stratum for row in pooled.mix] == ["us", "rest"]
    assert sum(row.contribution or 0 for row in pooled.mix) == pytest.approx(pooled.between, abs=1e-9)
    alone = of(plain, "speed", "b").pooled
    assert alone is not None
    assert not alone.simpson
    assert alone.mix == ()


# covariates


COVARIATE = """
metrics: [{key: spend, type: mean, value: euro, decimals: 2, role: primary}]
decision: {design: fixed, mde: 20%, evidence: randomised}
source: {shape: units, assignment: randomised, variant: arm, control: a, weights: equal, columns: {spend: spend}, covariate: {spend: past}}
"""


@pytest.mark.parametrize("shift", [0.0, 8.0])
def test_the_plain_result_stands_beside_the_adjusted_one(shift: float) -> None:
    rng = np.random.default_rng(11)
    t = np.arange(1000) % 2 == 1
    past = (rng.gamma(4, 10, 1000) + shift * t).round(2)
    spend = (past + rng.normal(100, 5, 1000) - 3 * t).round(2)
    found = analyze(
        pl.DataFrame({"arm": np.where(t, "b", "a"), "spend": spend, "past": past}), load_spec(COVARIATE)
    )
    assert isinstance(found, Report)
    c = found.matured.metrics[0].comparisons[0]
    plain = stats.ttest_ind(spend[t], spend[~t], equal_var=False)
    interval = plain.confidence_interval()
    assert c.unadjusted is not None
    assert c.estimate is not None
    assert c.unadjusted.effect == pytest.approx(spend[t].mean() - spend[~t].mean())
    assert c.unadjusted.standard_error == pytest.approx(
        sqrt(spend[t].var(ddof=1) / 500 + spend[~t].var(ddof=1) / 500)
    )
    assert (c.unadjusted.interval.lower, c.unadjusted.interval.upper) == pytest.approx(
        (interval.low, interval.high)
    )
    assert c.unadjusted.p == pytest.approx(plain.pvalue)
    assert c.estimate.effect == pytest.approx(-3, abs=1.0)
    # variants that differed before turn the sign of the plain effect
    assert c.unadjusted.flips is bool(c.unadjusted.effect * c.estimate.effect < 0) is (shift > 0)
    expected = 1 - (c.estimate.standard_error / c.unadjusted.standard_error) ** 2
    assert c.unadjusted.reduction == pytest.approx(expected, abs=0.02)


def test_a_covariate_of_no_use_is_not_shown(plain: Report) -> None:
    assert of(plain, "speed", "b").unadjusted is None


# the looks of a plan


def by_days(direction: Direction, at: int, last: int = 840) -> Report:
    """A group sequential rule whose first look is on day 14: 1000 units of each variant a day, of which 100 of
    control and 120 of treatment buy; in the third week `last` of treatment."""
    metric = replace(BUYERS, direction=direction)
    experiment = definition(metrics=(metric,), decision=replace(RULE, design=Design.GROUP_SEQUENTIAL))
    first = counts({("all", "control"): (14_000, 1400), ("all", "treatment"): (14_000, 1680)}, days=14)
    third = counts({("all", "control"): (7000, 700), ("all", "treatment"): (7000, last)}, days=7)
    cells = first | {key._replace(day=key.day + 14): cell for key, cell in third.items()}
    return analyze_ledger(running(experiment), cells, at=at * DAY)


@pytest.mark.parametrize(
    ("direction", "better", "finding"),
    [(Direction.INCREASE, True, Finding.BETTER), (Direction.DECREASE, False, Finding.WORSE)],
)
def test_a_plan_is_judged_by_its_look_whatever_came_later(
    direction: Direction, better: bool, finding: Finding
) -> None:
    """The first look passes (z = 5.3); the third week turns the effect to 1960 of 21,000 against 2100."""
    found = by_days(direction, 100, last=280)
    (c,) = found.matured.metrics[0].comparisons
    assert c.planned is not None
    assert c.estimate is not None
    assert c.estimate.effect == pytest.approx((1960 - 2100) / 21_000)
    assert (c.planned.effect, c.planned.counted, c.planned.ended) == (pytest.approx(0.02), 1, True)
    assert [(look.day, look.date, look.units, look.passed) for look in c.planned.looks] == [
        (14, "1970-01-14", 28_000, True)
    ]
    assert (c.headline, c.significant, c.better, c.finding) == ("planned", True, better, finding)
    assert c.complete
    assert c.adjusted_p == c.planned.p
    assert (c.days, c.missing, c.counted) == (None, None, "outcomes")


def test_before_its_first_look_a_plan_says_nothing() -> None:
    """On day 9 two days have matured; the units that came since are read by the confidence sequence."""
    found = by_days(Direction.INCREASE, 9)
    (c,), (live,) = (reading.metrics[0].comparisons for reading in (found.matured, found.live))
    assert c.planned is not None
    assert c.estimate is not None
    assert (c.planned.looks, c.planned.effect, c.planned.ended, c.planned.next_day) == ((), None, False, 14)
    assert (c.headline, c.significant, c.better, c.finding) == ("planned", False, None, Finding.UNDECIDED)
    assert not c.complete
    assert c.adjusted_p is None
    assert (live.headline, live.planned, live.significant, live.better) == ("sequence", None, True, True)
    assert live.estimate is not None
    assert live.adjusted_p == live.estimate.anytime_p


@pytest.mark.parametrize(("at", "matured"), [(9, 2), (24, 17), (100, 21)])
def test_every_reading_has_the_points_of_its_own_days(at: int, matured: int) -> None:
    """A unit's window of seven days has to be over before its day has matured."""
    found = by_days(Direction.INCREASE, at)
    for reading, days in ((found.matured, matured), (found.live, 21)):
        (c,) = reading.metrics[0].comparisons
        assert c.estimate is not None
        assert [point.day for point in c.daily] == [iso_day(day) for day in range(days)]
        assert (c.estimate.n_control, c.estimate.n_variant) == (1000 * days, 1000 * days)
        assert c.estimate.effect == pytest.approx(0.02)


# what cannot be estimated, and p-values beyond a float


@pytest.mark.parametrize(
    "design", ["design: fixed", "design: sequential", "design: bayesian, prior: {sd: 0.1}"]
)
def test_what_cannot_be_estimated_says_why_and_shows_nothing(design: str) -> None:
    found = report(moments(dict.fromkeys(KEYS, ((1.0, 0.0),) * 3)), design)
    for key, arm in COMPARED:
        c = of(found, key, arm)
        assert c.estimate is None
        assert c.missing is not None
        assert c.finding in {Finding.NO_ESTIMATE, Finding.FEW_EVENTS}
        assert (c.significant, c.better, c.guard, c.unadjusted) == (False, None, None, None)
        assert c.selected_interval is None


def test_a_p_beyond_a_float_is_told_by_its_logarithm() -> None:
    """z = 100 with a large sample: log10 of 2·(1 − Φ(100)) by the tail of Student's density."""
    far = ((10.0, 1.0), (10.0 + 100 * sqrt(2 / 50_000), 1.0), (10.0, 1.0))
    found = report(moments(WHOLE | {"speed": far}, n=50_000))
    e = of(found, "speed", "b").estimate
    assert e is not None
    # the density over its own rate of decay
    tail = (stats.t.logpdf(100.0, 99_998) + np.log((99_998 + 100**2) / (99_999 * 100))) / np.log(10) + log10(
        2
    )
    assert e.p == 0
    assert e.log10_p == pytest.approx(tail, rel=1e-4)
    assert e.anytime_p == 0
    assert e.log10_anytime_p is not None
    assert e.log10_p is not None
    # at every look no surer than at this one
    assert e.log10_p <= e.log10_anytime_p < -300


def test_a_p_beyond_a_float_is_told_in_its_segment() -> None:
    far = {**WHOLE, "speed": ((10.0, 9.0), (1000.0, 9.0), (10.0, 9.0))}
    rows = moments(far, 500, country="far")
    for country, n in (("x", 500), ("y", 300)):
        for key, column in moments(PARTS[country][1], n, country=country).items():
            rows[key] = column + rows[key]
    *_, last = of(report(rows, by="  segment: country"), "speed", "b").segments
    alone = of(report(moments(far, 500)), "speed", "b").estimate
    assert last.estimate is not None
    assert alone is not None
    assert (last.segment, last.estimate.p) == ("far", 0)
    assert last.estimate.log10_p == pytest.approx(alone.log10_p)


def test_variants_that_never_met_have_a_pooled_effect_alone() -> None:
    """Control in one country, the others in another: nothing within a stratum to compare it with."""
    rows = split()
    kept = [
        (arm == "a") == (country == "x") for arm, country in zip(rows["arm"], rows["country"], strict=True)
    ]
    apart = {
        key: [value for value, keep in zip(column, kept, strict=True) if keep] for key, column in rows.items()
    }
    found = of(report(apart, by="  segment: country"), "speed", "b")
    assert found.estimate is None
    assert found.pooled is not None
    assert (found.pooled.between, found.pooled.simpson) == (None, False)


@pytest.mark.parametrize(
    ("events", "safe", "harmed", "confirmed", "unconfirmed", "enough"),
    [
        (20.0, None, None, True, None, True), (19.9, None, None, True, None, False),
        (20.0, None, None, False, None, False), (None, None, None, True, None, False),
        (20.0, True, False, False, True, True), (20.0, False, True, False, True, True),
        (20.0, False, False, True, False, True), (20.0, False, False, True, True, False),
        (20.0, False, False, False, False, False), (19.9, True, False, True, False, False),
    ],
)  # fmt: skip
def test_enough_is_a_floor_and_a_reading_that_both_errors_show(
    *, events: float | None, safe: bool | None, harmed: bool, confirmed: bool, unconfirmed: bool, enough: bool
) -> None:
    guard = None if safe is None else SimpleNamespace(
        safe=np.array([[safe]]), harmed=np.array([[harmed]]), unconfirmed=np.array([[unconfirmed]])
    )  # fmt: skip
    sheet = SimpleNamespace(events=[[events]], needed=[[20]], m=SimpleNamespace(guard=guard))
    at = SimpleNamespace(v=0, confirmed=confirmed)
    assert comparisons._enough_events(sheet, 0, at) is enough  # type: ignore[arg-type]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own day is not UTC's."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_days_and_numbers_are_plain() -> None:
    assert [iso_day(day) for day in (0, 1, 59, 20_500, -1)] == [
        "1970-01-01",
        "1970-01-02",
        "1970-03-01",
        "2026-02-16",
        "1969-12-31",
    ]
    assert [finite(value) for value in (1.5, 0.0, float("inf"), float("-inf"), float("nan"))] == [
        1.5,
        0.0,
        None,
        None,
        None,
    ]
