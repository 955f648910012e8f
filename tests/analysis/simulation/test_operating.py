"""Operating characteristics: the columnar rule is the rule of reports, and its figures are what theory says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
import pytest

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.evidence import Cells, Evidence, Subject, configured_strata
from switchpoint.analysis.evidence.facts import LEDGER
from switchpoint.analysis.evidence.moments import Centred, Exact
from switchpoint.analysis.judgement import verdicts
from switchpoint.analysis.judgement.build import build
from switchpoint.analysis.judgement.measure import n_star
from switchpoint.analysis.judgement.rule import KINDS
from switchpoint.analysis.numerics.rates import rate, rate_of
from switchpoint.analysis.planning.accrual import constant_accrual
from switchpoint.analysis.planning.cost import plan_cost
from switchpoint.analysis.results.header import Header, blank
from switchpoint.analysis.simulation import runs as draw
from switchpoint.analysis.simulation.operating import Operating, fixed_units, operating
from switchpoint.analysis.simulation.runs import Baseline, Scenario, World
from switchpoint.experiment.definition.types import (
    DAY_MS,
    Belief,
    Design,
    Experiment,
    LookPlan,
    MetricType,
    Role,
    Size,
    Spending,
)
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.cases import BUYERS, ERRORS, RULE, definition, segment

INVALID = VerdictKind.INVALID
WORLD = World(
    per_day=3_000, shares=(1.0,), baselines={"buyers": Baseline(mean=0.1), "errors": Baseline(mean=0.03)}
)


def shop(design: Design = Design.SEQUENTIAL, **rule: object) -> Experiment:
    decision = replace(RULE, design=design, **rule)  # type: ignore[arg-type]  # tests name the fields they change
    return definition(segment("all", 0.5, 0.5), decision=decision)


def measure(experiment: Experiment, world: World = WORLD, runs: int = 400, **given: object) -> Operating:
    return operating(experiment, world, rng=np.random.default_rng(5), runs=runs, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rule",
    [
        {"design": Design.FIXED},
        {"design": Design.SEQUENTIAL},
        {"design": Design.GROUP_SEQUENTIAL, "looks": LookPlan(every_days=2)},
        {"design": Design.GROUP_SEQUENTIAL, "looks": LookPlan(every_days=3, spending=Spending.POCOCK, units=4_000)},
        {"design": Design.BAYESIAN, "belief": Belief(sd=0.2, loss=0.004)},
    ],
    ids=["fixed", "sequential", "group sequential", "group sequential, stated units", "bayesian"],
)  # fmt: skip
@pytest.mark.parametrize("strata", [1, 2])
def test_the_columnar_rule_gives_the_verdict_of_a_report_at_every_look(
    rule: dict[str, Any], strata: int
) -> None:
    """Unequal allocation, a guardrail, three variants: look by look against `build`."""
    segments = (segment("US", 0.4, 0.3, 0.3), segment("CA", 0.8, 0.1, 0.1))[:strata]
    decision = replace(
        RULE, min_runtime_days=7, max_runtime_days=12, mde=Size(value=0.25, relative=True), **rule
    )
    experiment = definition(*segments, metrics=(BUYERS, ERRORS), decision=decision)
    world = World(per_day=1_800, shares=(0.7, 0.3) if strata == 2 else (1.0,), baselines=WORLD.baselines)
    rng, runs, days = np.random.default_rng(11), 3, 13
    at = np.broadcast_to(np.arange(1, days + 1), (runs, days))
    pace = world.per_day * np.asarray(world.shares) @ draw.weights(experiment)
    each = np.asarray(pace[0] + pace[1:])
    accrual = constant_accrual(each, enrolled=each * at.reshape(-1, 1), day=at.reshape(-1, 1))
    seen = set()
    for scenario in Scenario:
        n = draw.arrivals(experiment, world, days=days, runs=runs, rng=rng)
        totals = [
            draw.totals(m, n, draw.means(m, experiment, world, scenario), world.baselines[m.key], rng)
            for m in experiment.metrics
        ]
        first, guard = (
            estimates.pairs(m, verdicts.flat(t)) for m, t in zip(experiment.metrics, totals, strict=True)
        )
        enough = verdicts.units_needed(BUYERS, first, decision, accrual)
        found = verdicts.reading(BUYERS, first, enough, decision, at)
        judged = verdicts.judged(BUYERS, first, found, enough, decision, runs)
        guarded = verdicts.guarded(ERRORS, guard, n_star(enough), decision, runs)
        for look in (5, 6, 7, 8, 10, 11, 12):
            ended = verdicts.decide(
                one_look(judged, look), [one_look(guarded, look)], decision, np.array([look + 1])
            )
            for run in range(runs):
                report = build(
                    evidence(experiment, n[run, : look + 1], [t[run, : look + 1] for t in totals]),
                    header(experiment),
                )
                kind = KINDS[ended.kind[run]]
                # futility reads the arrival curve, which a report fits and a simulation knows; one in a
                # thousand sample ratios alarms by chance, which only a report looks for
                if VerdictKind.STOP in {kind, report.verdict.kind} or report.verdict.kind is INVALID:
                    continue
                assert kind is report.verdict.kind, (scenario, look, run, report.verdict)
                if kind is VerdictKind.PROMOTE:
                    assert experiment.variants[ended.variant[run] + 1].key == report.verdict.variant
                seen.add(kind)
    assert {VerdictKind.PROMOTE, VerdictKind.KEEP, VerdictKind.CONTINUE} <= seen


T = TypeVar("T", verdicts.Judged, verdicts.Guarded)


def one_look(found: T, look: int) -> T:
    """The arrays (runs, looks, variants − 1) at one look."""
    return replace(found, **{f.name: getattr(found, f.name)[:, look : look + 1] for f in fields(found)})


def header(experiment: Experiment) -> Header:
    return replace(blank(experiment.decision, 0), key="shop", assignment="randomised")


def evidence(experiment: Experiment, n: np.ndarray, cumulative: Sequence[Exact | Centred]) -> Evidence:
    """Cells of one run: (days, strata, variants) of cumulative totals, all matured."""
    daily = np.diff(n, axis=0, prepend=0)
    day, stratum, variant = (part.ravel() for part in np.indices(daily.shape))
    flat = daily.ravel()
    counts = np.zeros((flat.size, 5), dtype=np.int64)
    counts[:, 0] = counts[:, 1] = flat
    subject = Subject(
        key="shop", variants=tuple(v.key for v in experiment.variants), strata=configured_strata(experiment),
        segmented_by="country", assignment="randomised",
    )  # fmt: skip
    totals = tuple(t.each(lambda part: np.diff(part, axis=0, prepend=0).ravel()) for t in cumulative)
    cells = Cells(
        subject=np.zeros(flat.size, dtype=np.int64), stratum=stratum, variant=variant, day=day,
        contaminated=np.zeros(flat.size, dtype=bool), counts=counts, totals=totals,
    )  # fmt: skip
    return Evidence(
        metrics=experiment.metrics, rule=experiment.decision, window_ms=0, at=len(n) * DAY_MS, closed=False,
        day_width=1, subjects=(subject,), cells=cells, facts=(LEDGER,),
    )  # fmt: skip


def test_the_fixed_design_errs_as_often_as_it_says_and_finds_the_mde_with_its_power() -> None:
    """One look at the planned units: promotion is one side of a two-sided test, power is the rule's."""
    experiment = shop(Design.FIXED, min_runtime_days=1, max_runtime_days=60)
    world = replace(WORLD, per_day=fixed_units(experiment, WORLD) / 20)
    found = measure(experiment, world, runs=1_500)
    null, mde = found.scenarios
    assert not null.promoted.above(0.025, significance=1e-3)
    assert not null.promoted.below(0.025, significance=1e-3)
    assert mde.promoted.share == pytest.approx(0.8, abs=0.045)
    assert found.days_needed == pytest.approx(20 + 7, abs=1)


def test_the_sequential_design_keeps_its_error_under_daily_looks() -> None:
    found = measure(shop(min_runtime_days=1, max_runtime_days=28))
    assert not found.scenarios[0].promoted.above(0.025, significance=1e-3)
    assert found.scenarios[1].mean_days < found.scenarios[0].mean_days


def test_a_group_sequential_plan_needs_hardly_more_than_the_fixed_design() -> None:
    """Maximum and power against the numbers of the design, which were computed without simulation."""
    experiment = shop(Design.GROUP_SEQUENTIAL, min_runtime_days=7, max_runtime_days=60)
    world = replace(WORLD, per_day=fixed_units(experiment, WORLD) / 40)
    found = measure(experiment, world, runs=1_500)
    assert found.days_needed == pytest.approx(40 * plan_cost(experiment.decision, 0.05) + 7, abs=1)
    null, mde = found.scenarios
    assert mde.promoted.share == pytest.approx(0.8, abs=0.045)
    assert null.promoted.share == pytest.approx(0.025, abs=0.015)
    assert not null.promoted.above(0.025, significance=1e-3)
    assert null.longest_days <= 1.15 * found.days_needed
    assert mde.mean_days - 7 < 35


@pytest.mark.parametrize("spending", list(Spending))
def test_a_plan_that_estimates_its_units_keeps_alpha(spending: Spending) -> None:
    """Both sides, at every look of a plan whose share is estimated anew each time, and with a deadline that cuts it short."""
    plan = LookPlan(every_days=2, spending=spending)
    for deadline, per_day in ((40, 2_000), (9, 700)):
        experiment = shop(Design.GROUP_SEQUENTIAL, looks=plan, min_runtime_days=2, max_runtime_days=deadline)
        runs, days = 3_000, np.arange(1, deadline + 1)
        world, rule = replace(WORLD, per_day=per_day), experiment.decision
        rng = np.random.default_rng(8)
        n = draw.arrivals(experiment, world, days=deadline, runs=runs, rng=rng)
        mean = draw.means(BUYERS, experiment, world, Scenario.NO_EFFECT)
        drawn = draw.totals(BUYERS, n, mean, world.baselines["buyers"], rng)
        pairs = estimates.pairs(BUYERS, verdicts.flat(drawn))
        enough = verdicts.units_needed(BUYERS, pairs, rule)
        found = verdicts.reading(BUYERS, pairs, enough, rule, np.broadcast_to(days, (runs, deadline)))
        wrong = rate(found.p.reshape(runs, deadline)[:, -1] < rule.alpha)
        assert not wrong.above(rule.alpha, significance=1e-3), (spending, deadline, wrong)
        assert not wrong.below(0.6 * rule.alpha, significance=1e-3), (spending, deadline, wrong)


def test_a_guardrail_at_its_margin_is_promoted_at_most_at_alpha() -> None:
    experiment = definition(
        segment("all", 0.5, 0.5), metrics=(BUYERS, ERRORS), decision=replace(RULE, min_runtime_days=7)
    )
    harm = measure(experiment).of(Scenario.HARM)
    assert harm is not None
    assert not harm.promoted.above(RULE.alpha, significance=1e-3)


def test_a_rule_that_cannot_be_met_in_time_is_stopped() -> None:
    """A tenth of the pace: the MDE cannot be seen by the deadline, and the rule says so instead of waiting."""
    found = measure(shop(), replace(WORLD, per_day=100), runs=100)
    assert all((row.stopped.share or 0) > 0.9 for row in found.scenarios)


def test_the_same_seed_gives_the_same_figures() -> None:
    assert measure(shop(), runs=50) == measure(shop(), runs=50)


def test_means_have_the_variance_that_was_asked_for() -> None:
    metric = replace(BUYERS, type=MetricType.MEAN, key="revenue")
    experiment = definition(metrics=(metric,))
    world = World(per_day=500, shares=(1.0,), baselines={"revenue": Baseline(mean=20.0, variance=400.0)})
    rng = np.random.default_rng(3)
    n = draw.arrivals(experiment, world, days=10, runs=300, rng=rng)
    sample = draw.totals(
        metric, n, draw.means(metric, experiment, world, Scenario.MDE), world.baselines["revenue"], rng
    ).sample()
    assert sample.variance.mean() == pytest.approx(400, rel=0.01)
    last = sample.mean[:, -1, 0]
    assert last.mean(axis=0) == pytest.approx([20.0, 22.0], rel=0.005)
    assert last.std(axis=0) == pytest.approx(np.sqrt(400 / n[:, -1, 0].mean(axis=0)), rel=0.15)


@pytest.mark.parametrize(
    ("world", "named"),
    [
        (replace(WORLD, per_day=0), "per_day"),
        (replace(WORLD, shares=(0.5, 0.2)), "shares"),
        (replace(WORLD, baselines={}), "baselines.buyers"),
        (replace(WORLD, baselines={"buyers": Baseline(mean=1.2)}), "baselines.buyers"),
        (replace(WORLD, baselines={"buyers": Baseline(mean=0.95)}), "metrics.buyers"),
    ],
)
def test_a_world_that_cannot_be_is_refused_by_name(world: World, named: str) -> None:
    with pytest.raises(BadInput) as refused:
        measure(shop(), world, runs=5)
    assert refused.value.field == named


def test_a_mean_without_a_spread_is_refused() -> None:
    metric = replace(BUYERS, type=MetricType.MEAN, role=Role.PRIMARY)
    with pytest.raises(BadInput, match="standard deviation"):
        measure(definition(metrics=(metric,)), runs=5)


def test_a_rate_of_zero_is_not_certain() -> None:
    assert rate_of(0, 100).error == pytest.approx(0.00995, abs=1e-5)
    assert rate_of(0, 0).share is None
    assert rate_of(80, 1000).above(0.05, significance=1e-3)
    assert not rate_of(60, 1000).above(0.05, significance=1e-3)
