"""Operating characteristics: the columnar rule is the rule of reports, and its figures are what theory says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import draw, estimates, verdicts
from analysis.draw import Baseline, Scenario, World
from analysis.evidence import Cells, Evidence, Subject, configured_strata
from analysis.monte_carlo import rate_of
from analysis.operating import Operating, fixed_units, operating, planned_looks
from analysis.planning.accrual import constant_accrual
from analysis.planning.spending import planned
from analysis.report.build import build
from analysis.report.header import blank
from analysis.totals import Exact
from experiment.decision import VerdictKind
from experiment.definition import DAY_MS, Design, Experiment, MetricType, Role, Size
from experiment.errors import BadInput
from tests.analysis.cases import BUYERS, ERRORS, RULE, definition, segment

WORLD = World(
    per_day=3_000, shares=(1.0,), baselines={"buyers": Baseline(mean=0.1), "errors": Baseline(mean=0.03)}
)


def shop(design: Design = Design.SEQUENTIAL, **rule: object) -> Experiment:
    decision = replace(RULE, design=design, **rule)  # type: ignore[arg-type]  # tests name the fields they change
    return definition(segment("all", 0.5, 0.5), decision=decision)


def measure(experiment: Experiment, world: World = WORLD, runs: int = 400, **given: object) -> Operating:
    return operating(experiment, world, rng=np.random.default_rng(5), runs=runs, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("design", [Design.FIXED, Design.SEQUENTIAL])
def test_the_columnar_rule_gives_the_verdict_of_a_report_at_every_look(design: Design) -> None:
    """Two segments of unequal allocation, a guardrail, three variants: look by look against `build`."""
    experiment = definition(
        segment("US", 0.4, 0.3, 0.3), segment("CA", 0.8, 0.1, 0.1), metrics=(BUYERS, ERRORS),
        decision=replace(RULE, design=design, min_runtime_days=7, max_runtime_days=12, mde=Size(value=0.25, relative=True)),
    )  # fmt: skip
    world = World(per_day=1_800, shares=(0.7, 0.3), baselines=WORLD.baselines)
    rng, runs, days = np.random.default_rng(11), 6, 13
    seen = set()
    for scenario in Scenario:
        n = draw.arrivals(experiment, world, days=days, runs=runs, rng=rng)
        totals = [
            draw.totals(m, n, draw.means(m, experiment, world, scenario), world.baselines[m.key], rng)
            for m in experiment.metrics
        ]
        for look in range(days):
            single = [verdicts.flat(t[:, look : look + 1]) for t in totals]
            first, guard = (
                estimates.pairs(m, t, experiment.decision.design)
                for m, t in zip(experiment.metrics, single, strict=True)
            )
            pace = world.per_day * np.array([0.52 + 0.24, 0.52 + 0.24])
            accrual = constant_accrual(pace, enrolled=pace * (look + 1), day=look + 1.0)
            enough = verdicts.units_needed(first, experiment.decision, accrual)
            p = verdicts.headline_p(first, enough, experiment.decision)
            judged = verdicts.judged(BUYERS, first, p, enough, experiment.decision, runs)
            guarded = verdicts.guarded(ERRORS, guard, verdicts.n_star(enough), experiment.decision, runs)
            found = verdicts.decide(judged, [guarded], experiment.decision, np.array([look + 1]))
            for run in range(runs):
                report = build(
                    evidence(experiment, n[run, : look + 1], [t[run, : look + 1] for t in totals]),
                    header(experiment),
                )
                kind = verdicts.KINDS[found.kind[run]]
                if VerdictKind.STOP in {kind, report.verdict.kind}:
                    continue  # futility reads the arrival curve, which a report fits and a simulation knows
                assert kind is report.verdict.kind, (scenario, look, run, report.verdict)
                if kind is VerdictKind.PROMOTE:
                    assert experiment.variants[found.variant[run] + 1].key == report.verdict.variant
                seen.add(kind)
    assert {VerdictKind.PROMOTE, VerdictKind.KEEP, VerdictKind.CONTINUE} <= seen


def header(experiment: Experiment):  # type: ignore[no-untyped-def]  # the type is private to the report
    return replace(blank(experiment.decision, 0), key="shop", assignment="randomised")


def evidence(experiment: Experiment, n: np.ndarray, cumulative: list[Exact]) -> Evidence:
    """Cells of one run: (days, strata, variants) of cumulative totals, as a closed log."""
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
        metrics=experiment.metrics, rule=experiment.decision, window_ms=0, at=len(n) * DAY_MS, closed=True,
        day_width=1, subjects=(subject,), cells=cells,
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
    experiment = shop(min_runtime_days=7, max_runtime_days=60)
    world = replace(WORLD, per_day=fixed_units(experiment, WORLD) / 40)
    looks = planned_looks(experiment, world)
    design = planned(len(looks))
    assert looks[-1] == pytest.approx(40 * design.inflation, abs=1)
    found = measure(experiment, world, runs=1_500, looks=looks)
    assert found.scenarios[1].promoted.share == pytest.approx(0.8, abs=0.045)
    assert found.scenarios[0].promoted.share == pytest.approx(0.025, abs=0.015)
    matured = found.scenarios[1].mean_days - 7
    assert matured < 40


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
