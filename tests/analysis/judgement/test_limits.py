"""Every design, direction and number of variants on real sums, and every limit from both sides.

Tables go the whole way from rows to the verdict; the same rows are read by the columnar rule of simulations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.frame import analyze, evidence_of
from switchpoint.analysis.judgement import verdicts
from switchpoint.analysis.judgement.measure import n_star
from switchpoint.analysis.judgement.rule import KINDS, apply
from switchpoint.analysis.judgement.verdict import decide
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.results.numbers import Finding
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import gates, unit_checks
from switchpoint.analysis.validity.unit_checks import Difference
from switchpoint.experiment.definition.types import Design, Grade, Role, Size
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.judgement.table import (
    CONTINUE,
    FROZEN,
    INVALID,
    KEEP,
    NAMES,
    PROMOTE,
    ROLLBACK,
    case,
    line,
)

DAYS, UNITS = 14, 42_000
"""Exposure days, and units of a variant over all of them."""
DESIGN = {
    Design.FIXED: "design: fixed",
    Design.SEQUENTIAL: "design: sequential",
    Design.GROUP_SEQUENTIAL: "design: group_sequential, looks_every: 7d",
    Design.BAYESIAN: "design: bayesian, prior: {sd: 0.2}, loss: 0.5%",
}


def spec(design: Design, direction: str = "increase", *, guard: str = "decrease") -> str:
    return f"""
metrics:
  - {{key: buy, type: proportion, role: primary, direction: {direction}}}
  - {{key: wrong, type: proportion, role: guardrail, direction: {guard}, margin: 10%}}
decision: {{{DESIGN[design]}, alpha: 0.05, power: 0.8, mde: 5%, min_runtime: 14d, max_runtime: 42d, evidence: randomised}}
source:
  shape: counts
  assignment: randomised
  variant: variant
  control: control
  weights: equal
  day: day
  columns: {{buy: {{n: units, sum: buys}}, wrong: {{n: units, sum: errors}}}}
"""


def table(
    rates: dict[str, float], wrong: dict[str, float] | None = None, *, days: int = DAYS
) -> pd.DataFrame:
    """A row per day and variant with exactly these rates; `wrong` of the guardrail, 0.1 where not given."""
    n = UNITS // DAYS
    return pd.DataFrame(
        [
            {
                "day": f"2026-01-{5 + day:02}", "variant": variant, "units": n, "buys": round(n * rate),
                "errors": round(n * (wrong or {}).get(variant, 0.1)),
            }
            for day in range(days)
            for variant, rate in rates.items()
        ]
    )  # fmt: skip


def report(frame: pd.DataFrame, text: str, margin: Size | None = None) -> Report:
    """The report of a table; with the `margin` of the guardrail where the text's is not fine enough."""
    read = load_spec(text)
    if margin is not None:
        read = replace(
            read, metrics=tuple(replace(m, margin=margin) if m.margin else m for m in read.metrics)
        )
    found = analyze(frame, read)
    assert isinstance(found, Report)
    return found


def simulated(frame: pd.DataFrame, text: str) -> tuple[VerdictKind, int]:
    """What the rule of simulations says at the last day of the same rows."""
    evidence = evidence_of(frame, load_spec(text))
    rule, looks = evidence.rule, evidence.by_day(evidence.clean())
    days = looks.days - looks.days[0] + 1
    found = [
        estimates.pairs(metric, evidence.running_totals(place, looks))
        for place, metric in enumerate(evidence.metrics)
    ]
    first = next(place for place, metric in enumerate(evidence.metrics) if metric.role is Role.PRIMARY)
    metric, pairs = evidence.metrics[first], found[first]
    enough = verdicts.units_needed(metric, pairs, rule)
    reading = verdicts.reading(metric, pairs, enough, rule, days[None, :])
    judged = verdicts.judged(metric, pairs, reading, enough, rule, 1)
    tuned = n_star(enough)
    guards = [
        verdicts.guarded(m, p, tuned, rule, 1)
        for m, p in zip(evidence.metrics, found, strict=True)
        if m.role is Role.GUARDRAIL
    ]
    facts = verdicts.facts(judged, guards, rule, days[None, :], DEFAULT)
    ruling = apply(facts)
    return KINDS[int(ruling.kind[0, -1])], int(ruling.variant[0, -1])


def mirrored(rates: dict[str, float], direction: str) -> dict[str, float]:
    """Rates that are as much better in the other direction."""
    base = rates["control"]
    return rates if direction == "increase" else {key: 2 * base - rate for key, rate in rates.items()}


SHOPS: list[tuple[str, dict[str, float], dict[str, float], VerdictKind, str | None]] = [
    ("one better", {"treatment": 0.22}, {}, PROMOTE, "treatment"),
    ("one worse", {"treatment": 0.18}, {}, KEEP, "control"),
    ("one better, harmed", {"treatment": 0.22}, {"treatment": 0.14}, ROLLBACK, "treatment"),
    ("one better, not shown to be safe", {"treatment": 0.22}, {"treatment": 0.108}, CONTINUE, None),
    ("one worse, harmed", {"treatment": 0.18}, {"treatment": 0.14}, ROLLBACK, "treatment"),
    ("the second of three is best", {"treatment": 0.22, "third": 0.24, "fourth": 0.23}, {}, PROMOTE, "third"),
    ("the last of three is best", {"treatment": 0.22, "third": 0.18, "fourth": 0.25}, {}, PROMOTE, "fourth"),
    ("the first of three is best", {"treatment": 0.25, "third": 0.22, "fourth": 0.18}, {}, PROMOTE, "treatment"),
    ("the best is not safe", {"treatment": 0.22, "third": 0.25, "fourth": 0.23}, {"third": 0.108}, PROMOTE, "fourth"),
    ("the best is harmed", {"treatment": 0.22, "third": 0.25, "fourth": 0.18}, {"third": 0.14}, PROMOTE, "treatment"),
    ("a loser is harmed", {"treatment": 0.18, "third": 0.24, "fourth": 0.23}, {"treatment": 0.14}, PROMOTE, "third"),
    ("losers, one harmed", {"treatment": 0.18, "third": 0.17, "fourth": 0.18}, {"third": 0.14}, ROLLBACK, "third"),
    ("three losers", {"treatment": 0.18, "third": 0.17, "fourth": 0.16}, {}, KEEP, "control"),
]  # fmt: skip


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize(
    ("rates", "wrong", "kind", "variant"), [shop[1:] for shop in SHOPS], ids=[s[0] for s in SHOPS]
)
def test_rows_reach_the_verdict_in_both_directions(
    design: Design, rates: dict[str, float], wrong: dict[str, float], kind: VerdictKind, variant: str | None
) -> None:
    for direction, guard in (("increase", "decrease"), ("decrease", "increase")):
        shop = table(
            mirrored({"control": 0.2, **rates}, direction), mirrored({"control": 0.1, **wrong}, _other(guard))
        )
        text = spec(design, direction, guard=guard)
        verdict = report(shop, text).verdict
        assert (verdict.kind, verdict.variant) == (kind, variant), (direction, guard, verdict)
        found, place = simulated(shop, text)
        assert found is kind, (direction, guard)
        assert place == ([*rates].index(variant) if kind is PROMOTE and variant is not None else -1)


def _other(direction: str) -> str:
    return "increase" if direction == "decrease" else "decrease"


@pytest.mark.parametrize(("days", "kind"), [(6, CONTINUE), (7, CONTINUE), (13, CONTINUE), (14, PROMOTE)])
def test_the_minimum_runtime_from_both_sides(days: int, kind: VerdictKind) -> None:
    shop = table({"control": 0.2, "treatment": 0.3}, days=days)
    text = spec(Design.SEQUENTIAL)
    assert report(shop, text).verdict.kind is kind
    assert simulated(shop, text)[0] is kind
    week = text.replace("min_runtime: 14d", "min_runtime: 1d")
    assert report(shop, week).verdict.kind is (CONTINUE if days < 7 else PROMOTE)
    assert simulated(shop, week)[0] is (CONTINUE if days < 7 else PROMOTE)


# guardrails: the margin just inside and just outside what is shown


def guard_of(found: Report) -> Any:
    return found.matured.metrics[1].comparisons[0]


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize(("guard", "level"), [("decrease", 0.102), ("increase", 0.098)])
@pytest.mark.parametrize("relative", [False, True])
def test_a_guardrail_is_safe_exactly_within_its_bound(
    design: Design, guard: str, level: float, relative: bool
) -> None:
    shop = table({"control": 0.2, "treatment": 0.22}, {"treatment": level})

    def judged(margin: float) -> Report:
        return report(shop, spec(design, guard=guard), Size(value=margin, relative=relative))

    first = guard_of(judged(0.05))
    base = 0.1 if relative else 1.0
    bound = first.guard.loss_bound / base
    # the loss is turned so that positive is worse in either direction
    assert first.guard.loss == pytest.approx(0.002, abs=1e-9)
    inside, outside = judged(bound * 1.0001), judged(bound * 0.9999)
    assert (guard_of(inside).finding, inside.verdict.kind) == (Finding.SAFE, PROMOTE)
    assert (guard_of(outside).finding, outside.verdict.kind) == (Finding.NOT_SAFE, CONTINUE)
    assert guard_of(inside).guard.margin == pytest.approx(bound * 1.0001 * base, rel=1e-6)


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize(("guard", "level"), [("decrease", 0.13), ("increase", 0.07)])
@pytest.mark.parametrize("relative", [False, True])
def test_a_guardrail_is_harmed_exactly_beyond_its_margin(
    design: Design, guard: str, level: float, relative: bool
) -> None:
    """The largest margin that is still shown to be passed lies between no loss and the loss that was seen."""
    shop = table({"control": 0.2, "treatment": 0.22}, {"treatment": level})

    def judged(margin: float) -> Report:
        return report(shop, spec(design, guard=guard), Size(value=margin, relative=relative))

    low, high = 0.001, (0.3 if relative else 0.03)
    assert guard_of(judged(low)).finding is Finding.HARMED
    assert guard_of(judged(high)).finding is Finding.NOT_SAFE
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (middle, high) if guard_of(judged(middle)).finding is Finding.HARMED else (low, middle)
    assert judged(low).verdict.kind is ROLLBACK
    assert judged(high).verdict.kind is CONTINUE
    # an anytime-valid one-sided bound at 5 % lies beyond the fixed one, and not far beyond it
    loss, error = 0.03, np.sqrt(0.1 * 0.9 / UNITS + level * (1 - level) / UNITS)
    away = (loss - low * (0.1 if relative else 1)) / error
    assert 1.645 < away < 4.5


def test_units_that_no_projection_brings_stop_like_those_that_come_too_late() -> None:
    """An MDE of 0.2 % takes years at this pace, one of 0.005 % more than a century: no date is told, but late it is."""
    shop = table({"control": 0.2, "treatment": 0.2})
    for mde, dated in (("0.2%", True), ("0.005%", False)):
        found = report(shop, spec(Design.FIXED).replace("mde: 5%", f"mde: {mde}"))
        enough = found.matured.metrics[0].comparisons[0].sufficiency
        assert enough is not None
        assert (enough.within_deadline, enough.weeks_left is not None) == (False, dated)
        assert found.verdict.kind is VerdictKind.STOP


# gates and checks: the limit from both sides, before a promotion that everything else allows


def with_check(*found: Check) -> VerdictKind:
    allowed = case(line("win", "", PROMOTE, 1), FROZEN, "increase")
    return decide(replace(allowed, checks=(*allowed.checks, *found))).kind


def test_a_check_that_only_warns_holds_nothing() -> None:
    warned = Check(name="mix", severity=Severity.WARN, message="Mixed.", numbers={})
    assert with_check(warned) is PROMOTE


def differing(p: float) -> Difference:
    return Difference(metric="revenue", what="the covariate of revenue", variant="treatment", control="control", control_value=1.0, variant_value=2.0, p=p)  # fmt: skip


@pytest.mark.parametrize(
    ("inside", "outside", "held"),
    [
        (gates.runtime(14, FROZEN, DEFAULT), gates.runtime(13, FROZEN, DEFAULT), CONTINUE),
        (gates.runtime(7, replace(FROZEN, min_runtime_days=1), DEFAULT),
         gates.runtime(6, replace(FROZEN, min_runtime_days=1), DEFAULT), CONTINUE),
        (gates.runtime(None, FROZEN, DEFAULT), gates.runtime(0, FROZEN, DEFAULT), CONTINUE),
        (gates.matured(1, 7.0), gates.matured(0, 7.0), CONTINUE),
        (gates.clusters([10, 11], ["a", "b"], DEFAULT), gates.clusters([9, 11], ["a", "b"], DEFAULT), CONTINUE),
        (gates.evidence(Grade.RANDOMISED, Grade.RANDOMISED, "Units were randomised."),
         gates.evidence(Grade.CLUSTERED, Grade.RANDOMISED, "Clusters were randomised."), CONTINUE),
        (gates.evidence(Grade.QUASI, Grade.QUASI, "Quasi."), gates.evidence(Grade.DESCRIPTIVE, Grade.QUASI, "Described."), CONTINUE),
        (gates.variants(["a", "b"]), gates.variants(["a"]), INVALID),
        (unit_checks.contamination(10_000, 100, DEFAULT, ("", "")),
         unit_checks.contamination(10_000, 101, DEFAULT, ("", "")), INVALID),
        (unit_checks.served((100, 10_000), (0, 9000), DEFAULT, ("", "")),
         unit_checks.served((101, 10_000), (0, 9000), DEFAULT, ("", "")), INVALID),
        (unit_checks.before_exposure([differing(0.00101)], DEFAULT, randomised=True),
         unit_checks.before_exposure([differing(0.00099)], DEFAULT, randomised=True), INVALID),
    ],
    ids=["minimum runtime", "whole week", "days not recorded", "matured", "clusters", "evidence", "weak evidence",
         "variants", "contamination", "served", "before exposure"],
)  # fmt: skip
def test_a_limit_from_both_sides(inside: Check, outside: Check, held: VerdictKind) -> None:
    assert with_check(inside) is PROMOTE
    assert with_check(outside) is held


def counted(variants: dict[str, tuple[int, int]]) -> pd.DataFrame:
    return pd.DataFrame([{"variant": key, "units": n, "buys": x} for key, (n, x) in variants.items()])


def counts_spec(weights: str = "equal", design: Design = Design.SEQUENTIAL) -> str:
    text = spec(design).replace("  day: day\n", "").replace(", wrong: {n: units, sum: errors}", "")
    text = text.replace("weights: equal", f"weights: {weights}" if weights else "dimensions: []")
    return "\n".join(row for row in text.splitlines() if "wrong" not in row)


def test_the_sample_ratio_from_both_sides() -> None:
    """p = 0.001 at |z| = 3.2905: 100,000 units, 50,520 or 50,521 of them in one variant."""
    inside = counted({"control": (50_520, 10_104), "treatment": (49_480, 11_876)})
    outside = counted({"control": (50_521, 10_104), "treatment": (49_479, 11_876)})
    assert report(inside, counts_spec()).verdict.kind is PROMOTE
    assert report(outside, counts_spec()).verdict.kind is INVALID
    unknown = report(inside, counts_spec(weights=""))
    assert unknown.verdict.kind is CONTINUE
    assert "intended weights are not known" in unknown.verdict.headline


@pytest.mark.parametrize(
    ("buys", "word", "kind"), [(19, Finding.FEW_EVENTS, CONTINUE), (20, Finding.BETTER, PROMOTE)]
)
def test_the_gate_of_events_from_both_sides(buys: int, word: Finding, kind: VerdictKind) -> None:
    """Events of both variants, shared out by units: 20 per variant are needed of a proportion watched daily."""
    found = report(counted({"control": (5_000, 4), "treatment": (5_000, 2 * buys - 4)}), few_spec())
    assert found.matured.metrics[0].comparisons[0].finding is word
    assert found.verdict.kind is kind
    assert simulated_counts(buys) is kind


def few_spec() -> str:
    """A rule for an effect so large that few units show it."""
    return counts_spec().replace("mde: 5%", "mde: 0.005")


def simulated_counts(buys: int) -> VerdictKind:
    days = pd.DataFrame(
        [
            {
                "day": f"2026-01-{5 + day:02}",
                "variant": variant,
                "units": 500,
                "buys": events if day == 0 else 0,
            }
            for day in range(14)
            for variant, events in (("control", 4), ("treatment", 2 * buys - 4))
        ]
    )
    text = few_spec().replace("  weights: equal", "  weights: equal\n  day: day")
    return simulated(days, text)[0]


@pytest.mark.parametrize("design", [Design.FIXED, Design.SEQUENTIAL])
def test_one_variant_with_too_few_events_is_held_back_alone(design: Design) -> None:
    shop = counted({"control": (60_000, 6_000), "treatment": (60_000, 7_200), "third": (60, 30)})
    text = counts_spec("{control: 0.4998, treatment: 0.4997, third: 0.0005}", design)
    found = report(shop, text)
    words = [c.finding for c in found.matured.metrics[0].comparisons]
    assert words == [Finding.BETTER, Finding.FEW_EVENTS]
    assert (found.verdict.kind, found.verdict.variant) == (PROMOTE, "treatment")


def test_the_fixed_design_waits_for_the_units_it_asked_for() -> None:
    """The same significant difference before and after the units for an MDE of 5 % have come."""
    few = {"control": (8_000, 1_600), "treatment": (8_000, 1_840)}
    enough = {key: (5 * n, 5 * x) for key, (n, x) in few.items()}
    for shop, word, kind in ((few, Finding.FEW_UNITS, CONTINUE), (enough, Finding.BETTER, PROMOTE)):
        found = report(counted(shop), counts_spec(design=Design.FIXED))
        assert found.matured.metrics[0].comparisons[0].significant
        assert (found.matured.metrics[0].comparisons[0].finding, found.verdict.kind) == (word, kind)
    assert NAMES[0] == "treatment"
