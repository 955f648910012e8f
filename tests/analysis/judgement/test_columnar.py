"""The rule's facts of simulated runs are those of a report: the same rows, day by day, in every design."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.moments import Totals
from switchpoint.analysis.evidence.pairs import Pairs
from switchpoint.analysis.frame import analyze, evidence_of
from switchpoint.analysis.judgement import looks as deciding
from switchpoint.analysis.judgement import verdict, verdicts
from switchpoint.analysis.judgement.measure import UNPLANNED_UNITS, n_star
from switchpoint.analysis.judgement.rule import Facts
from switchpoint.analysis.judgement.verdict import Case
from switchpoint.analysis.judgement.verdicts import Guarded, Judged, Reading
from switchpoint.analysis.planning.accrual import constant_accrual
from switchpoint.analysis.planning.sufficiency import Sufficiency
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.judgement import Comparison
from switchpoint.analysis.results.numbers import Finding
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.experiment.definition.types import DecisionRule, Design, Metric, Role, Spec
from switchpoint.experiment.language.experiment import load_spec

DAYS = 16
DESIGN = {
    Design.FIXED: "design: fixed",
    Design.SEQUENTIAL: "design: sequential",
    Design.GROUP_SEQUENTIAL: "design: group_sequential, looks_every: 3d",
    Design.BAYESIAN: "design: bayesian, prior: {sd: 0.3}, loss: 0.2%",
}
UNITS = {"control": 660, "new": 660, "old": 660, "tiny": 20}
"""A day's units: the last variant is a canary."""
OTHERS = ("new", "old", "tiny")
WEIGHTS = "{control: 0.33, new: 0.33, old: 0.33, tiny: 0.01}"
SPEC = """
metrics:
  - {key: buy, type: proportion, role: primary, direction: %(direction)s}
  - {key: wrong, type: proportion, role: guardrail, direction: decrease, margin: 20%%}
  - {key: kept, type: proportion, role: guardrail, direction: increase, margin: 0.02}
decision:
  {%(design)s, alpha: 0.05, power: 0.8, mde: 15%%, min_runtime: %(least)sd, max_runtime: 42d, evidence: randomised}
source:
  shape: counts
  assignment: randomised
  variant: variant
  control: control
  weights: """ + WEIGHTS + """
  day: day
  columns: {buy: {n: units, sum: buy}, wrong: {n: units, sum: wrong}, kept: {n: units, sum: kept}}
"""  # fmt: skip
RATES = {
    # buy, wrong, kept
    "control": (0.20, 0.10, 0.30),
    "new": (0.24, 0.10, 0.30),
    "old": (0.17, 0.14, 0.26),
    "tiny": (0.28, 0.10, 0.10),
}


@cache
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    found = []
    for day in range(DAYS):
        for variant, rates in RATES.items():
            n = UNITS[variant]
            buy, wrong, kept = (int(rng.binomial(n, rate)) for rate in rates)
            found.append(
                {"day": f"2026-01-{5 + day:02}", "variant": variant, "units": n, "buy": buy, "wrong": wrong, "kept": kept}
            )  # fmt: skip
    return pd.DataFrame(found)


def spec(design: Design, direction: str, least: int = 5) -> Spec:
    return load_spec(SPEC % {"design": DESIGN[design], "direction": direction, "least": least})


@cache
def report(design: Design, direction: str, days: int, least: int = 5) -> Report:
    """What a report of the first days says."""
    frame = rows()
    found = analyze(frame[frame["day"] < f"2026-01-{5 + days:02}"], spec(design, direction, least))
    assert isinstance(found, Report)
    return found


class Simulated:
    """The same rows at every day, as simulated runs are read."""

    def __init__(self, design: Design, direction: str, least: int = 5) -> None:
        evidence = evidence_of(rows(), spec(design, direction, least))
        looks = evidence.by_day(evidence.clean())
        self.rule: DecisionRule = evidence.rule
        self.days = looks.days - looks.days[0] + 1
        self.metrics: tuple[Metric, ...] = evidence.metrics
        self.totals: list[Totals] = [
            evidence.running_totals(place, looks) for place in range(len(self.metrics))
        ]
        self.pairs: list[Pairs] = [
            estimates.pairs(metric, totals) for metric, totals in zip(self.metrics, self.totals, strict=True)
        ]
        self.enough: Sufficiency = verdicts.units_needed(self.metrics[0], self.pairs[0], self.rule)
        self.reading: Reading = verdicts.reading(
            self.metrics[0], self.pairs[0], self.enough, self.rule, self.days[None, :]
        )
        self.judged: Judged = verdicts.judged(
            self.metrics[0], self.pairs[0], self.reading, self.enough, self.rule, 1
        )
        tuned = n_star(self.enough)
        self.guards: list[Guarded] = [
            verdicts.guarded(metric, pairs, tuned, self.rule, 1)
            for metric, pairs in zip(self.metrics, self.pairs, strict=True)
            if metric.role is Role.GUARDRAIL
        ]
        self.facts: Facts = verdicts.facts(self.judged, self.guards, self.rule, self.days[None, :], DEFAULT)


def known(found: Report, rule: DecisionRule, days: int) -> Facts:
    return verdict.facts(Case(rule=rule, metrics=found.matured.metrics, checks=found.checks, days=days))


EVERY = [(design, direction) for design in Design for direction in ("increase", "decrease")]


@pytest.mark.parametrize(("design", "direction"), EVERY)
def test_the_facts_of_a_run_are_those_of_its_report(design: Design, direction: str) -> None:
    run = Simulated(design, direction)
    spoke = set()
    for days in (4, 6, 8, DAYS):
        found = report(design, direction, days)
        expected, look = known(found, run.rule, days), days - 1
        if design is Design.BAYESIAN and days < 5:
            # nothing is read before the minimum runtime, which holds the report too
            assert run.facts.held[0, look]
            assert expected.held
            continue
        for name in ("better", "worse", "complete", "harmed"):
            assert getattr(run.facts, name)[0, look].tolist() == getattr(expected, name).tolist(), (
                name,
                days,
            )
        # a file that is read once under the fixed design is safe by its fixed test, a run by the sequence
        if design is not Design.FIXED:
            assert run.facts.safe[0, look].tolist() == expected.safe.tolist()
        for name in ("few", "held", "overdue"):
            assert bool(getattr(run.facts, name)[0, look]) == bool(getattr(expected, name)), (name, days)
        decided = expected.better | expected.worse
        if design is not Design.BAYESIAN:
            np.testing.assert_allclose(run.facts.gain[0, look][decided], expected.gain[decided], rtol=1e-9)
        else:
            # a run reads the side that is probably better; the posterior is integrated from the minimum on
            assert (np.sign(run.facts.gain[0, look][decided]) == np.sign(expected.gain[decided])).all()
            assert run.facts.cheap[0, look].tolist() == expected.cheap.tolist()
        spoke |= {c.finding for c in found.matured.metrics[0].comparisons}
    assert {Finding.BETTER, Finding.WORSE} <= spoke


def test_the_rows_of_these_tests_reach_every_fact() -> None:
    """Otherwise the comparison above would be of nothing."""
    read = [Simulated(design, direction).facts for design, direction in EVERY]
    for name in ("better", "worse", "complete", "harmed", "safe", "held", "cheap", "winners"):
        assert {bool(value) for one in read for value in np.ravel(getattr(one, name))} == {True, False}, name


def test_without_guardrails_every_variant_is_safe_and_none_harmed() -> None:
    run = Simulated(Design.SEQUENTIAL, "increase")
    read = verdicts.facts(run.judged, [], run.rule, run.days[None, :], DEFAULT)
    assert read.safe.tolist() == [[[True] * 3] * DAYS]
    assert read.harmed.tolist() == [[[False] * 3] * DAYS]


def primary(found: Report) -> tuple[Comparison, ...]:
    return found.matured.metrics[0].comparisons


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_the_fixed_design_reads_its_p_where_the_units_have_come(direction: str) -> None:
    run = Simulated(Design.FIXED, direction)
    read = 0
    for days in (1, 2, 3, 5, 9, DAYS):
        complete = run.enough.sufficient[days - 1]
        if not complete.any():
            assert run.reading.p[days - 1].tolist() == run.reading.confirmed[days - 1].tolist() == [1, 1, 1]
            continue
        read += 1
        for v, c in enumerate(primary(report(Design.FIXED, direction, days))):
            assert c.estimate is not None
            assert run.reading.p[days - 1, v] == pytest.approx(c.estimate.p, rel=1e-9)
            assert run.reading.effect[days - 1, v] == pytest.approx(c.estimate.effect, rel=1e-9)
            assert bool(complete[v]) is bool(run.reading.complete[days - 1, v]) is c.complete
    assert 0 < read < 6


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_the_sequential_design_reads_its_anytime_p_at_every_look(direction: str) -> None:
    run = Simulated(Design.SEQUENTIAL, direction)
    for days in (1, 8, DAYS):
        for v, c in enumerate(primary(report(Design.SEQUENTIAL, direction, days))):
            assert c.estimate is not None
            assert run.reading.p[days - 1, v] == pytest.approx(c.estimate.anytime_p, rel=1e-9)
            assert run.reading.effect[days - 1, v] == pytest.approx(c.estimate.effect, rel=1e-9)


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_a_plan_is_read_at_the_look_that_counts(direction: str) -> None:
    run = Simulated(Design.GROUP_SEQUENTIAL, direction)
    looked = set()
    for days in (4, 7, 8, 10, 11, DAYS):
        for v, c in enumerate(primary(report(Design.GROUP_SEQUENTIAL, direction, days))):
            assert c.planned is not None
            p, plan = run.reading.p[days - 1, v], c.planned
            looked.add(plan.counted)
            if plan.counted is None:
                assert p == 1
                continue
            assert plan.p is not None
            for level in (run.rule.alpha, run.rule.alpha / 2, run.rule.alpha / 3):
                assert (p < level) == (plan.p < level), (days, v, level)
            assert run.reading.effect[days - 1, v] == pytest.approx(plan.effect, rel=1e-9)
            assert bool(run.reading.complete[days - 1, v]) is plan.ended
    assert len(looked) > 1


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_a_belief_is_read_from_the_minimum_runtime_on(direction: str) -> None:
    run = Simulated(Design.BAYESIAN, direction)
    turned = set()
    for days in (4, 5, 8, DAYS):
        for v, c in enumerate(primary(report(Design.BAYESIAN, direction, days))):
            p, cheap = run.reading.p[days - 1, v], run.reading.cheap[days - 1, v]
            if days < 5:
                assert (p, bool(cheap), run.reading.effect[days - 1, v]) == (1, False, 0)
                continue
            assert c.posterior is not None
            assert c.estimate is not None
            assert p == pytest.approx(2 * min(c.posterior.better, 1 - c.posterior.better), rel=1e-9)
            assert bool(cheap) is (c.posterior.loss_variant < 0.002)
            # on the side that is probably better
            up = (c.posterior.better > 0.5) == (direction == "increase")
            effect = abs(c.estimate.effect) * (1 if up else -1)
            assert run.reading.effect[days - 1, v] == pytest.approx(effect, rel=1e-9)
            turned.add(up)
    assert turned == {True, False}


def test_without_an_allowed_loss_every_belief_is_cheap() -> None:
    run = Simulated(Design.BAYESIAN, "increase")
    free = load_spec(
        (SPEC % {"design": DESIGN[Design.BAYESIAN], "direction": "increase", "least": 5}).replace(
            ", loss: 0.2%", ""
        )
    )
    found = verdicts.reading(run.metrics[0], run.pairs[0], run.enough, free.decision, run.days[None, :])
    assert found.cheap[:4].tolist() == [[False] * 3] * 4
    assert found.cheap[4:].all()
    np.testing.assert_array_equal(found.p, run.reading.p)


@pytest.mark.parametrize(("design", "direction"), EVERY)
def test_runs_that_follow_each_other_are_read_as_if_alone(design: Design, direction: str) -> None:
    """Three runs of all days in one call, the second with its variants changed: none sees another."""
    run = Simulated(design, direction)
    metric, once = run.metrics[0], run.totals[0]
    turned = once.each(lambda part: part[..., [0, 2, 1, 3]])
    both = verdicts.flat(once.each(lambda part: np.stack([part, part[..., [0, 2, 1, 3]], part])))
    assert both.n.shape == (3 * DAYS, *once.n.shape[1:])
    pairs = estimates.pairs(metric, both)
    enough = verdicts.units_needed(metric, pairs, run.rule)
    days = np.stack([run.days] * 3)
    found = verdicts.reading(metric, pairs, enough, run.rule, days)
    judged = verdicts.judged(metric, pairs, found, enough, run.rule, 3)
    other = estimates.pairs(metric, turned)
    lone = verdicts.units_needed(metric, other, run.rule)
    alone = verdicts.reading(metric, other, lone, run.rule, run.days[None, :])
    second = verdicts.judged(metric, other, alone, lone, run.rule, 1)
    for name in Judged.__dataclass_fields__:
        for same in (0, 2):
            np.testing.assert_array_equal(getattr(judged, name)[same], getattr(run.judged, name)[0], name)
        np.testing.assert_array_equal(getattr(judged, name)[1], getattr(second, name)[0], name)
    guards = verdicts.guarded(run.metrics[1], estimates.pairs(run.metrics[1], verdicts.flat(
        run.totals[1].each(lambda part: np.stack([part, part[..., [0, 2, 1, 3]], part])))), n_star(enough), run.rule, 3)  # fmt: skip
    assert guards.safe.shape == guards.harmed.shape == (3, DAYS, 3)
    np.testing.assert_array_equal(guards.harmed[0], run.guards[0].harmed[0])
    # a sequence is tuned by the units of its own pair, so only those of the pair itself are the same
    np.testing.assert_array_equal(guards.safe[0], run.guards[0].safe[0])


def test_a_run_is_futile_where_the_units_cannot_come_in_time() -> None:
    run = Simulated(Design.SEQUENTIAL, "increase")
    metric, pairs, days = run.metrics[0], run.pairs[0], run.days.astype(float)[:, None]
    needed = run.enough.n_needed

    def futile(pace: float, *window: float) -> np.ndarray:
        arrivals = constant_accrual(
            np.full((DAYS, 3), pace), enrolled=days * pace * np.ones(3), day=days * np.ones(3)
        )
        enough = verdicts.units_needed(metric, pairs, run.rule, arrivals, *window)
        return verdicts.judged(metric, pairs, run.reading, enough, run.rule, 1).futile[0]

    # one unit a day brings 42 units, in more than a century for the canary; a million brings whatever is needed
    np.testing.assert_array_equal(futile(1.0), pairs.progress.n < needed)
    assert not futile(1e6).any()
    # no pace, no date: nothing is stopped for want of one
    assert not futile(0.0).any()
    # just enough on the last day, unless the last units still have to mature
    pace = float(np.nanmax(needed[-1])) / 42 * 1.001
    assert not futile(pace)[-1].any()
    assert (
        futile(pace, 7.0)[-1].tolist() == (pairs.progress.n[-1] < needed[-1]).tolist() == [False, False, True]
    )


def test_the_sequence_is_tuned_by_the_units_needed_where_they_are_known() -> None:
    run = Simulated(Design.SEQUENTIAL, "increase")
    np.testing.assert_array_equal(n_star(run.enough), run.enough.n_needed)
    one = run.totals[0].each(lambda part: part[:1] * 0 + 1)
    blind = verdicts.units_needed(run.metrics[0], estimates.pairs(run.metrics[0], one), run.rule)
    assert n_star(blind).tolist() == [[UNPLANNED_UNITS] * 3]


def test_a_guardrail_without_a_margin_is_refused_by_name() -> None:
    run = Simulated(Design.SEQUENTIAL, "increase")
    with pytest.raises(ValueError, match=r"^guardrail buy has no margin$"):
        verdicts.guarded(run.metrics[0], run.pairs[0], n_star(run.enough), run.rule, 1)


@pytest.mark.parametrize("design", list(Design))
def test_an_effect_that_cannot_be_estimated_gains_nothing(design: Design) -> None:
    run = Simulated(design, "increase")
    none: Any = run.totals[0].each(lambda part: part * 0)
    pairs = estimates.pairs(run.metrics[0], none)
    enough = verdicts.units_needed(run.metrics[0], pairs, run.rule)
    found = verdicts.reading(run.metrics[0], pairs, enough, run.rule, run.days[None, :])
    assert (found.p == 1).all()
    assert (found.confirmed == 1).all()
    judged = verdicts.judged(run.metrics[0], pairs, found, enough, run.rule, 1)
    assert (judged.gain == 0).all()
    assert not (judged.shown | judged.gate | judged.complete | judged.futile).any()


@pytest.mark.parametrize("design", list(Design))
def test_a_variant_without_units_has_no_p_whatever_the_others_have(design: Design) -> None:
    run = Simulated(design, "increase")
    gone = run.totals[0].each(lambda part: part * (np.arange(part.shape[-1]) != 3))
    pairs = estimates.pairs(run.metrics[0], gone)
    enough = verdicts.units_needed(run.metrics[0], pairs, run.rule)
    found = verdicts.reading(run.metrics[0], pairs, enough, run.rule, run.days[None, :])
    for p in (found.p, found.confirmed):
        assert p[:, 2].tolist() == [1] * DAYS
        assert (p[-1, :2] < 0.05).all()


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_a_run_that_begins_at_its_first_look_is_read_there(direction: str) -> None:
    """A plan with nothing before its first look is the plan that was watched from the first day on."""
    run, first = Simulated(Design.GROUP_SEQUENTIAL, direction), 5
    late = run.totals[0].each(lambda part: part[first:])
    pairs = estimates.pairs(run.metrics[0], late)
    enough = verdicts.units_needed(run.metrics[0], pairs, run.rule)
    found = verdicts.reading(run.metrics[0], pairs, enough, run.rule, run.days[None, first:])
    assert found.effect[0].tolist() == pairs.contrast.effect[0].tolist()
    for name in ("p", "effect", "complete"):
        np.testing.assert_array_equal(getattr(found, name), getattr(run.reading, name)[first:], name)


def test_the_wider_standard_error_confirms_as_if_it_were_the_comparisons_own() -> None:
    run = Simulated(Design.SEQUENTIAL, "increase")
    metric, pairs, days = run.metrics[0], run.pairs[0], run.days[None, :]
    wide = dataclasses.replace(pairs, widening=np.full((DAYS, 3), 1.5))
    unsure = dataclasses.replace(pairs.contrast, variance=1.5**2 * pairs.contrast.variance)
    own = verdicts.reading(metric, dataclasses.replace(pairs, contrast=unsure), run.enough, run.rule, days)
    found = verdicts.reading(metric, wide, run.enough, run.rule, days)
    np.testing.assert_array_equal(found.p, run.reading.p)
    np.testing.assert_allclose(found.confirmed, np.maximum(own.p, found.p), rtol=1e-9)
    assert (found.confirmed[-1] > found.p[-1]).all()


def given(run: Simulated, p: list[float], confirmed: list[float], **known: Any) -> Judged:
    """The last look of a run with these p-values, everything else being there."""
    pairs = dataclasses.replace(run.pairs[0], events=np.full((DAYS, 3), 1e6))
    column = {
        "p": np.array([p] * DAYS),
        "confirmed": np.array([confirmed] * DAYS),
        "complete": np.ones((DAYS, 3), dtype=bool),
    }
    read = dataclasses.replace(run.reading, **{**column, **known})
    return verdicts.judged(run.metrics[0], pairs, read, run.enough, run.rule, 1)


@pytest.mark.parametrize("design", list(Design))
def test_variants_share_alpha_by_holm_unless_a_prior_holds_them(design: Design) -> None:
    run = Simulated(design, "increase")
    for p, holm in (
        ([0.02, 0.03, 0.04], [False, False, False]), ([0.01, 0.03, 0.04], [True, False, False]),
        ([0.01, 0.02, 0.04], [True, True, True]), ([0.9, 0.016, 0.05], [False, True, False]),
    ):  # fmt: skip
        plain = [one < 0.05 for one in p]
        found = given(run, p, p)
        assert found.shown[0, -1].tolist() == (plain if design is Design.BAYESIAN else holm), p
        assert found.gate.all()


def test_what_only_the_variants_own_error_shows_is_held_by_the_gate() -> None:
    run = Simulated(Design.SEQUENTIAL, "increase")
    found = given(run, [0.001, 0.002, 0.9], [0.001, 0.2, 0.95])
    assert found.gate[0, -1].tolist() == [True, False, True]
    assert found.shown[0, -1].tolist() == [True, False, False]
    few = dataclasses.replace(run.pairs[0], events=np.zeros((DAYS, 3)))
    none = verdicts.judged(run.metrics[0], few, run.reading, run.enough, run.rule, 1)
    assert not none.gate.any()
    assert not none.shown.any()


def test_the_fixed_design_shows_nothing_without_its_units() -> None:
    for design, shown in ((Design.FIXED, [True, False, False]), (Design.SEQUENTIAL, [True, True, True])):
        complete = np.array([[True, False, False]] * DAYS)
        found = given(Simulated(design, "increase"), [0.001] * 3, [0.001] * 3, complete=complete)
        assert found.shown[0, -1].tolist() == shown
        assert found.complete[0, -1].tolist() == [True, False, False]


def test_a_loss_as_large_as_allowed_is_not_below_it() -> None:
    run = Simulated(Design.BAYESIAN, "increase")
    belief = deciding.judged(run.pairs[0], run.metrics[0], run.rule.belief, run.rule.alpha)
    for v in range(3):
        loss = float(belief.loss_treatment[-1, v])
        for allowed, cheap in ((loss, False), (np.nextafter(loss, 1), True)):
            rule = dataclasses.replace(
                run.rule, belief=dataclasses.replace(run.rule.belief, loss=float(allowed))
            )
            found = verdicts.reading(run.metrics[0], run.pairs[0], run.enough, rule, run.days[None, :])
            assert bool(found.cheap[-1, v]) is cheap
