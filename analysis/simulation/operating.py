"""Operating characteristics of one experiment's rule: how often it is wrong, and how long it takes.

Runs drawn by `analysis.simulation.runs` are read by the rule at every matured day, with the estimators of a
report and the order of its verdict (`analysis.judgement.verdicts`), until it promotes, keeps control, stops
or rolls back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from switchpoint.analysis.evidence import event_gate
from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.event_gate import Counted
from switchpoint.analysis.evidence.moments import Totals
from switchpoint.analysis.evidence.pairs import Pairs
from switchpoint.analysis.judgement import verdicts
from switchpoint.analysis.judgement.measure import n_star
from switchpoint.analysis.judgement.rule import KINDS
from switchpoint.analysis.judgement.verdicts import Guarded, Verdicts
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.rates import Rate, rate
from switchpoint.analysis.planning.accrual import constant_accrual
from switchpoint.analysis.planning.power import planned_units
from switchpoint.analysis.simulation import runs as draw
from switchpoint.analysis.simulation.runs import Baseline, Counts, Scenario, World
from switchpoint.experiment.definition.types import DAY_MS, Design, Experiment, Metric, Role
from switchpoint.experiment.registry.decision import VerdictKind

RUNS = 1_000
_CELLS = 60_000
"""Runs × days × strata × variants drawn at a time, to keep the memory small."""

Progress = Callable[[int], None]
"""Told how many runs were just finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """How the rule behaves when `scenario` is true.

    Shares of runs: `promoted` (any variant), `kept`, `rolled_back`, `stopped` (futile), `undecided` at the
    maximum runtime. Days are calendar days until the verdict (outcome window included; `late_days`: 95 % of
    the runs are done), units those enrolled and matured until then.
    """

    scenario: Scenario
    promoted: Rate
    kept: Rate
    rolled_back: Rate
    stopped: Rate
    undecided: Rate
    mean_days: float
    late_days: float
    longest_days: float
    mean_units: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """A rule's behaviour in every scenario. `units_needed` of control and the first other variant, and
    `days_needed` until they have matured at `per_day` units of all variants."""

    design: str
    runs: int
    alpha: float
    power: float
    mde: float
    mde_relative: bool
    per_day: float
    units_needed: int
    days_needed: int
    scenarios: tuple[Characteristic, ...]

    def of(self, scenario: Scenario) -> Characteristic | None:
        """One scenario's row; None where it was not simulated."""
        return next((row for row in self.scenarios if row.scenario is scenario), None)


def operating(
    definition: Experiment,
    world: World,
    *,
    rng: np.random.Generator,
    runs: int = RUNS,
    progress: Progress | None = None,
) -> Operating:
    """Measure false promotion, missed promotion and duration of the definition's rule.

    Raises:
        BadInput: a baseline is missing or impossible, or the shares do not fit the segments.
    """
    draw.check(definition, world)
    schedule = _schedule(definition, world)
    rows = [s for s in Scenario if s is not Scenario.HARM or len(draw.judged_metrics(definition)) > 1]
    rule = definition.decision
    return Operating(
        design=rule.design.value,
        runs=runs, alpha=rule.alpha, power=rule.power, mde=rule.mde.value, mde_relative=rule.mde.relative,
        per_day=world.per_day, units_needed=ceil(schedule.needed),
        days_needed=ceil(schedule.needed / schedule.pace[0] + schedule.window_days),
        scenarios=tuple(_characteristic(schedule, s, runs, rng, progress) for s in rows),
    )  # fmt: skip


def seeded(seed: int) -> np.random.Generator:
    """A generator of its own for one set of runs."""
    return np.random.default_rng(seed)


def fixed_units(definition: Experiment, world: World) -> float:
    """Units of control and the first other variant that the fixed design needs for the rule's MDE."""
    rule = replace(definition.decision, design=Design.FIXED)
    return _units(replace(definition, decision=rule), world)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule:
    """What every run has in common: the matured days of its looks, the units needed, and units a day of
    control with each other variant."""

    definition: Experiment
    world: World
    days: Counts
    needed: float
    pace: Float

    @property
    def window_days(self) -> float:
        return self.definition.window_ms / DAY_MS


def _schedule(definition: Experiment, world: World) -> _Schedule:
    return _Schedule(
        definition=definition, world=world, days=np.arange(1, definition.decision.max_runtime_days + 1),
        needed=_units(definition, world), pace=_pace(definition, world),
    )  # fmt: skip


def _pace(definition: Experiment, world: World) -> Float:
    split = world.per_day * np.asarray(world.shares) @ draw.weights(definition)
    return np.asarray(split[0] + split[1:])


def _units(definition: Experiment, world: World) -> float:
    split = np.asarray(world.shares) @ draw.weights(definition)
    base = world.baselines[definition.primary.key]
    rule = definition.decision
    return float(
        planned_units(rule, baseline=base.mean, variance=base.variance, ratio=split[1] / split[0]).total
    )


def _characteristic(
    schedule: _Schedule, scenario: Scenario, runs: int, rng: np.random.Generator, progress: Progress | None
) -> Characteristic:
    size = int(schedule.days[-1]) * len(schedule.world.shares) * len(schedule.definition.variants)
    step = max(1, min(runs, _CELLS // size))
    parts, units = [], []
    for start in range(0, runs, step):
        count = min(step, runs - start)
        found, enrolled = _runs(schedule, scenario, count, rng)
        parts.append(found)
        units.append(enrolled[np.arange(count), found.look])
        if progress is not None:
            progress(count)
    kind = np.concatenate([part.kind for part in parts])
    days = schedule.days[np.concatenate([part.look for part in parts])] + schedule.window_days
    shares = {
        name: rate(kind == KINDS.index(ending))
        for name, ending in (
            ("promoted", VerdictKind.PROMOTE), ("kept", VerdictKind.KEEP),
            ("rolled_back", VerdictKind.ROLLBACK), ("stopped", VerdictKind.STOP),
            ("undecided", VerdictKind.CONTINUE),
        )
    }  # fmt: skip
    return Characteristic(
        scenario=scenario, **shares, mean_days=float(days.mean()), late_days=float(np.quantile(days, 0.95)),
        longest_days=float(days.max()), mean_units=float(np.concatenate(units).mean()),
    )  # fmt: skip


def _runs(
    schedule: _Schedule, scenario: Scenario, runs: int, rng: np.random.Generator
) -> tuple[Verdicts, Counts]:
    """Verdicts of some runs, and the units enrolled by each of their looks (runs, looks)."""
    definition, world, days = schedule.definition, schedule.world, schedule.days
    rule = definition.decision
    n = draw.arrivals(definition, world, days=int(days[-1]), runs=runs, rng=rng)

    def at_looks(metric: Metric) -> Totals:
        base = world.baselines[metric.key]
        mean = draw.means(metric, definition, world, scenario)
        return verdicts.flat(draw.totals(metric, n, mean, base, rng)[:, days - 1])

    primary = at_looks(definition.primary)
    pairs = _pairs(definition.primary, primary, world.baselines[definition.primary.key])
    accrual = constant_accrual(
        schedule.pace, enrolled=schedule.pace * np.tile(days, runs)[:, None], day=np.tile(days, runs)[:, None]
    )
    enough = verdicts.units_needed(definition.primary, pairs, rule, accrual, schedule.window_days)
    at = np.broadcast_to(days, (runs, len(days)))
    found = verdicts.reading(definition.primary, pairs, enough, rule, at)
    judged = verdicts.judged(definition.primary, pairs, found, enough, rule, runs)
    tuned = n_star(enough)
    guards = [
        _guard(m, at_looks(m), world.baselines[m.key], tuned, schedule, runs)
        for m in definition.metrics
        if m.role is Role.GUARDRAIL
    ]
    enrolled = n[:, days - 1].sum(axis=(2, 3))
    return verdicts.decide(judged, guards, rule, days), np.asarray(enrolled, dtype=np.int64)


def _guard(
    metric: Metric, totals: Totals, base: Baseline, tuned: Float, schedule: _Schedule, runs: int
) -> Guarded:
    rule = schedule.definition.decision
    pairs = _pairs(metric, totals, base)
    return verdicts.guarded(metric, pairs, tuned, rule, runs)


def _pairs(metric: Metric, totals: Totals, base: Baseline) -> Pairs:
    """As in a report; a ratio is drawn without its numerator, so its events follow from the units."""
    found = estimates.pairs(metric, totals)
    if event_gate.counted(metric) is not Counted.EVENTS:
        return found
    smaller = np.minimum(found.control.n, found.treatment.n)
    return replace(found, events=smaller * base.events_per_unit)
