"""The A/A check: silent where the rule is right, loud where its assumptions fail on the log at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from switchpoint.analysis.evidence.moments import Exact
from switchpoint.analysis.evidence.pairs import fixed_effect, pairs
from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.adjust import adjust_mean
from switchpoint.analysis.numerics.rates import rate_of
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.simulation import aa
from switchpoint.analysis.simulation import rounds as aa_read
from switchpoint.analysis.simulation.aa import AACheck, Outcome, aa_check
from switchpoint.analysis.simulation.randomise import unit_ids
from switchpoint.analysis.simulation.units import UnitLog, unit_log
from switchpoint.experiment.assignment.assign import compile as compile_experiment
from switchpoint.experiment.definition.types import (
    DAY_MS,
    Covariate,
    Design,
    Experiment,
    LookPlan,
    Measure,
    Metric,
    MetricType,
    Role,
    Size,
)
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.ledger.fold import (
    Standing,
    UnitRecord,
    experiment_plan,
    fold,
    fold_unit,
    ledger_plan,
)
from tests.analysis.cases import BUYERS, ERRORS, definition, running, segment
from tests.analysis.inference.strategies import joint_of

CTR = Metric(
    key="ctr", type=MetricType.RATIO, numerator=Measure(event="click"), denominator=Measure(event="view"),
    cap=2**40, role=Role.SECONDARY,
)  # fmt: skip
SPEND = Metric(
    key="spend",
    type=MetricType.MEAN,
    numerator=Measure(event="purchase", value="amount"),
    decimals=2,
    cap=2**40,
)
SHOP = definition(segment("US", 0.5, 0.5), segment("CA", 0.8, 0.2), metrics=(BUYERS, ERRORS, CTR, SPEND))


def log_of(experiment: Experiment, units: int = 3_000, seed: int = 1, known: tuple[int, ...] = ()) -> UnitLog:
    """A log of independent units with binomial, ratio and log-normal totals over ten days."""
    rng = np.random.default_rng(seed)
    plan = experiment_plan(experiment, ordinal=1)
    views = rng.integers(1, 20, units)
    amounts = {
        "purchase": (rng.random(units) < 0.15).astype(int),
        "error": (rng.random(units) < 0.1).astype(int),
        "view": views,
        "click": rng.binomial(views, np.clip(rng.beta(2, 8, units), 0, 1)),
    }
    totals = np.zeros((units, len(plan.slots)), dtype=object)
    for place, slot in enumerate(plan.slots):
        values = amounts[slot.event]
        if slot.value is not None:
            values = values * np.rint(np.exp(rng.normal(7, 0.3, units))).astype(int)
        totals[:, place] = values
    days, segments = rng.integers(100, 110, units), rng.integers(0, len(experiment.segments), units)
    records = [
        (f"unit-{place}", record(experiment, int(days[place]), int(segments[place]), totals[place], known))
        for place in range(units)
    ]
    return unit_log(records, running(experiment), plan, at=200 * DAY_MS)


def record(
    experiment: Experiment, day: int, place: int, totals: np.ndarray, known: tuple[int, ...]
) -> UnitRecord:
    standing = Standing(
        first_at=day * DAY_MS, epoch=1, segment=experiment.segments[place].key, variant="control", values=(),
        exposures=1, fallbacks=0, mismatches=0, contaminated=False, carried=False, totals=tuple(totals),
        covariates=known, early=0, counted=0,
    )  # fmt: skip
    return UnitRecord(events=1, latest=0, standings={experiment.key: standing}, types={})


def test_the_log_holds_matured_clean_units_with_their_totals_as_the_ledger_counts_them() -> None:
    """Folding the same events gives the same sums; contaminated, fresh and unreadable units are named."""
    experiment = replace(SHOP, window_ms=DAY_MS)
    state = running(experiment)
    plan = ledger_plan([state])
    events = []
    for number in range(40):
        unit, at = f"u{number}", 10 * DAY_MS + number * 1000
        for place, variant in enumerate(("control", "treatment") if number == 7 else ("control",)):
            events.append(exposure(unit, variant, at + place))
        events += [Event(id="v", type="view", unit=unit, at=at + 5, properties={}) for _ in range(1)]
        if number % 3 == 0:
            events.append(Event(id="p", type="purchase", unit=unit, at=at + 6, properties={"amount": 12.34}))
    events.append(exposure("late", "control", 20 * DAY_MS))
    by_unit: dict[str, list[Event]] = {}
    for event in events:
        by_unit.setdefault(event.unit, []).append(event)
    records = [(unit, fold_unit(found, plan)) for unit, found in by_unit.items()]
    log = unit_log([*records, ("torn", None)], state, plan.by_key["shop"], at=12 * DAY_MS)
    assert (len(log), log.left_out.contaminated, log.left_out.immature, log.left_out.unreadable) == (
        39,
        1,
        1,
        1,
    )
    moments = fold([e for e in events if e.unit not in {"u7", "late"}], plan)
    for place in range(len(experiment.metrics)):
        assert int(log.columns[place].x.sum()) == sum(cell.metrics[place].x for cell in moments.values())


def exposure(unit: str, variant: str, at: int) -> Event:
    return Event(
        id=f"x{variant}", type="exposure", unit=unit, at=at, properties={},
        exposure=Exposure(
            experiment="shop", variant=variant, served=variant, segment="US", propensity=0.5, revision=1, epoch=1,
            dimensions={}, cause=None,
        ),
    )  # fmt: skip


def test_a_round_gives_the_estimates_of_a_report_on_those_assignments() -> None:
    """The totals of one round, added up unit by unit in plain Python, lead to the same p-values."""
    log = log_of(SHOP, units=4_000)
    plan = aa_read.schedule(log)
    variant = np.random.default_rng(4).integers(0, 2, (2, len(log)))
    found = aa_read.read(log, plan, variant, DEFAULT)
    for place, metric in enumerate(SHOP.metrics):
        column = log.columns[place]
        sums = np.zeros((1, 2, 2, 6), dtype=object)
        for unit in range(len(log)):
            x = int(column.x[unit])
            y = 0 if column.y is None else int(column.y[unit])
            sums[0, log.stratum[unit], variant[1, unit]] += np.array(
                [1, x, x * x, y, y * y, x * y], dtype=object
            )
        n, sx, sxx, sy, syy, sxy = np.moveaxis(sums, -1, 0)
        exact = Exact(metric=metric, n=n.astype(int), x=sx, xx=sxx, y=sy, yy=syy, xy=sxy)
        effect, _ = fixed_effect(pairs(metric, exact), SHOP.decision.alpha)
        one = found.metrics[place]
        assert bool(one.fixed[1]) == bool(effect.p_value[0, 0] < SHOP.decision.alpha)
        assert bool(one.effect_covers[1]) == bool(effect.low[0, 0] <= 0 <= effect.high[0, 0])


def test_fresh_salts_assign_as_the_service_would() -> None:
    """The variant of a unit under a salt is the one `assign` gives in an epoch with that salt."""
    from switchpoint.analysis.simulation.randomise import allocate

    state = running(SHOP)
    assert state.epoch is not None
    fresh = replace(state, epochs=(replace(state.epoch, salt="aa-check/7"),))
    compiled = compile_experiment(fresh)
    ids = [f"u{number}" for number in range(500)]
    stratum = np.arange(500) % 2
    found = allocate(unit_ids(ids).buckets("aa-check/7"), state.epoch.segments, stratum)
    names = [v.key for v in SHOP.variants]
    expected = [
        compiled.assign(u, {"country": ("US", "CA")[s]}).variant for u, s in zip(ids, stratum, strict=True)
    ]
    assert [names[place] for place in found] == expected


def test_rounds_are_read_with_the_covariates_the_report_reads() -> None:
    """Oracle: adjust_mean on one value per unit, for one round and one stratum."""
    adjusted = replace(SPEND, role=Role.PRIMARY, covariate=Covariate(names=("past",), decimals=2))
    experiment = definition(segment("US", 0.5, 0.5), metrics=(adjusted,))
    rng = np.random.default_rng(8)
    plain = log_of(experiment, units=2_000, known=(500,))
    x = plain.columns[0].x
    past = np.asarray(x + rng.integers(-300, 300, len(x)))
    log = replace(plain, columns=(replace(plain.columns[0], before=(past,)),))
    variant = rng.integers(0, 2, (40, len(log)))
    found = aa_read.read(log, aa_read.schedule(log), variant, DEFAULT).metrics[0]
    for turn, own in enumerate(variant):
        sides = [joint_of(x[own == side] / 100, past[own == side] / 100) for side in (0, 1)]
        p = contrast.effect(adjust_mean(*sides).contrast).p_value
        assert bool(found.effect_covers[turn]) == bool(p >= experiment.decision.alpha)
    assert plain.columns[0].before[0].tolist() == [500] * len(log)


@pytest.fixture(scope="module")
def healthy() -> AACheck:
    return aa_check(log_of(SHOP, units=6_000), rounds=1_000, seed=3)


def test_a_right_rule_is_ok_on_independent_units(healthy: AACheck) -> None:
    """Fixed tests err at about alpha, sequential ones below it under daily looks, intervals cover."""
    assert (healthy.outcome, healthy.findings) == (Outcome.OK, ())
    for metric in healthy.metrics:
        for level, found in ((0.05, metric.fixed), (0.95, metric.effect_covers), (0.95, metric.lift_covers)):
            assert not found.above(level, significance=1e-3)
            assert not found.below(level, significance=1e-3)
        assert not metric.sequential_daily.above(0.05, significance=1e-3)
        assert not metric.sequence_covers.below(0.95, significance=1e-3)
    assert not healthy.alarms.above(0.002, significance=1e-3)
    assert not healthy.promoted.above(0.05, significance=1e-3)


def test_peeking_at_the_fixed_test_is_shown_for_what_it_is(healthy: AACheck) -> None:
    """Ten daily looks at z = 1.96 err at about 19 % (Armitage, McPherson, Rowe 1969), equal steps assumed."""
    assert healthy.looks == 10
    peeked = next(m for m in healthy.metrics if m.metric == "ctr").fixed_daily.share
    assert peeked == pytest.approx(0.193, abs=0.05)


def test_only_guardrails_have_guardrail_rates(healthy: AACheck) -> None:
    assert {m.metric: m.safe is not None and m.harmed is not None for m in healthy.metrics} == {
        "buyers": False, "errors": True, "ctr": False, "spend": False,
    }  # fmt: skip


def test_the_document_is_plain_json(healthy: AACheck) -> None:
    import json

    document = json.loads(json.dumps(healthy.to_dict(), allow_nan=False))
    assert document["outcome"] == "ok"
    assert document["metrics"][0]["fixed"]["trials"] == 1_000


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    log = log_of(SHOP, units=500)
    first = aa_check(log, rounds=100, seed=1)
    assert first == aa_check(log, rounds=100, seed=1)
    assert first != aa_check(log, rounds=100, seed=2)


def test_rows_of_one_household_taken_for_units_are_called_too_high() -> None:
    """Eight rows always land in one variant together, so they are worth far less than eight units."""
    experiment = definition(segment("US", 0.5, 0.5), metrics=(BUYERS,))
    log = log_of(experiment, units=4_000)
    bought = (np.random.default_rng(2).random(500) < 0.2).astype(np.int64)
    rows = replace(
        log,
        ids=unit_ids([f"household-{place // 8}" for place in range(len(log))]),
        columns=(replace(log.columns[0], x=bought.repeat(8)),),
    )
    found = aa_check(rows, rounds=200, seed=1)
    assert found.outcome is Outcome.TOO_HIGH
    assert any(finding.startswith("buyers: fixed test") for finding in found.findings)
    assert any(finding.startswith("sample-ratio alarms") for finding in found.findings)


def test_one_whale_in_a_small_variant_does_not_mislead() -> None:
    """Uncapped amounts that a few units carry: by the small variant's own variance a quarter of the intervals
    miss, and no round is called by it."""
    spend = replace(SPEND, role=Role.PRIMARY)
    log = log_of(definition(segment("US", 0.97, 0.03), metrics=(spend,)), units=5_000)
    amounts = np.rint(np.exp(np.random.default_rng(0).normal(2, 2.6, len(log)))).astype(np.int64)
    found = aa_check(replace(log, columns=(replace(log.columns[0], x=amounts),)), rounds=200, seed=1)
    assert found.outcome is Outcome.OK
    (spent,) = found.metrics
    assert spent.effect_covers.share is not None
    assert spent.effect_covers.share < 0.8
    assert (spent.passes.share, spent.fixed.share, spent.sequential_daily.share) == (1, 0, 0)


def test_a_canary_with_a_handful_of_events_is_not_enough() -> None:
    experiment = definition(segment("US", 0.99, 0.01), metrics=(BUYERS,))
    found = aa_check(log_of(experiment, units=600), rounds=200)
    assert found.outcome is Outcome.NOT_ENOUGH_UNITS
    assert "enough events" in found.findings[0]


def test_many_days_are_read_at_the_looks_a_plan_assumes_with_every_unit_in_the_last() -> None:
    log = log_of(SHOP, units=2_000)
    spread = replace(log, day=np.arange(len(log)) % 90)
    plan = aa_read.schedule(spread)
    assert len(plan.days) <= 28
    assert (plan.days[-1], int(plan.look.max()) + 1) == (90, len(plan.days))
    assert (np.diff(plan.days) > 0).all()


def test_unequal_allocation_is_no_sample_ratio_alarm_and_a_lost_variant_is() -> None:
    log = log_of(SHOP, units=2_000)
    n = np.array([[[500, 500], [800, 200]], [[500, 350], [800, 200]]])
    assert aa_read.alarm(log, n, DEFAULT).tolist() == [False, True]


def test_a_log_without_units_is_refused_with_the_way_out() -> None:
    with pytest.raises(BadInput, match="window"):
        aa_check(log_of(SHOP, units=0), rounds=100)


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(BadInput, match="rounds"):
        aa_check(log_of(SHOP, units=50), rounds=10)


def test_a_rate_above_its_level_by_chance_alone_is_not_called_too_high() -> None:
    """59 of 1,000 happens at 5 % about once in nine checks."""
    assert not rate_of(59, 1_000).above(0.05, significance=aa._SIGNIFICANCE / 10)


@pytest.mark.parametrize("design", [Design.GROUP_SEQUENTIAL, Design.BAYESIAN])
def test_the_whole_rule_is_checked_under_every_design(design: Design) -> None:
    """A plan keeps its error on the log; a Bayesian rule promises none, so its promotions accuse nobody."""
    rule = replace(
        SHOP.decision, design=design, min_runtime_days=2, max_runtime_days=10, mde=Size(value=0.4, relative=True),
        looks=LookPlan(every_days=2),
    )  # fmt: skip
    found = aa_check(log_of(replace(SHOP, decision=rule, metrics=(BUYERS,))), rounds=300, seed=3)
    assert found.design == design.value
    assert found.outcome is Outcome.OK, found.findings
    assert found.promoted.count > 0
    if design is Design.GROUP_SEQUENTIAL:
        assert not found.promoted.above(rule.alpha / 2, significance=1e-3)
