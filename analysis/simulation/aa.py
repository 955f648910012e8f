"""A/A check on an experiment's own log: does its rule stay silent when there is nothing to find?

The logged units are randomised again with fresh salts, as the service would assign them: same unit ids,
same hash, same segments and allocation. What the units did is kept, so the truth of every round is an effect
of zero, with all the heavy users, refunds and repeated visits of the real traffic. The tests of the rule are
then read as a report reads them, at the last look and after every exposure day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np

from switchpoint.analysis.numerics.rates import Rate, rate
from switchpoint.analysis.results.json import fields_of
from switchpoint.analysis.results.thresholds import DEFAULT, Thresholds
from switchpoint.analysis.simulation import rounds as aa_read
from switchpoint.analysis.simulation.randomise import allocate
from switchpoint.analysis.simulation.rounds import MetricRounds, Rounds
from switchpoint.analysis.simulation.units import LeftOut, UnitLog
from switchpoint.experiment.definition.types import Design, Role
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.registry.decision import VerdictKind

ROUNDS = 1_000
FEWEST_ROUNDS = 100
_CELLS = 30_000
"""Rounds × looks × strata × variants judged at a time."""
_UNITS = 2_000_000
"""Rounds × units randomised at a time."""
_SIGNIFICANCE = 0.01
"""Chance of calling a right rule wrong, over all rates of one check."""
_ENOUGH_PASSING = 0.5
"""Rounds that have to pass the events gate before a metric's error rate says much."""

Progress = Callable[[int], None]
"""Told how many rounds were just finished."""


class Outcome(StrEnum):
    """What the check found."""

    OK = "ok"
    TOO_HIGH = "too high"
    NOT_ENOUGH_UNITS = "not enough units"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCheck:
    """One metric over all rounds.

    `passes`: rounds with enough events in the smaller variant at some look. Called different although nothing
    is, among those rounds: `fixed` and `sequential` at the last look, `sequential_daily` at any look (their
    level is alpha), `fixed_daily` the fixed test if it were read daily (no level holds). Coverage of the true
    zero over all rounds with an interval: `effect_covers`, `lift_covers` at the last look, `sequence_covers`
    at all looks. Guardrails: `safe` at the last look, `harmed` at any look (level alpha); None for others.
    """

    metric: str
    role: str
    passes: Rate
    fixed: Rate
    sequential: Rate
    sequential_daily: Rate
    fixed_daily: Rate
    effect_covers: Rate
    lift_covers: Rate
    sequence_covers: Rate
    safe: Rate | None
    harmed: Rate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AACheck:
    """The A/A check of one experiment. `promoted`, `rolled_back`: rounds in which the whole rule would have
    done so; `alarms`: rounds whose sample ratio would have been called broken at `srm_level`."""

    experiment: str
    design: str
    alpha: float
    rounds: int
    seed: int
    units: int
    days: int
    looks: int
    left_out: LeftOut
    srm_level: float
    alarms: Rate
    promoted: Rate
    rolled_back: Rate
    metrics: tuple[MetricCheck, ...]
    outcome: Outcome
    findings: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        return {
            Outcome.OK: "The error rates are what the rule promises on this log.",
            Outcome.TOO_HIGH: "An error rate is higher than the rule promises on this log.",
            Outcome.NOT_ENOUGH_UNITS: "Not enough units to check the rule on this log.",
        }[self.outcome]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe document with every number."""
        return fields_of(self) | {"sentence": self.sentence}


def aa_check(
    log: UnitLog,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    limits: Thresholds = DEFAULT,
    progress: Progress | None = None,
) -> AACheck:
    """Re-randomise the units of a log and measure the error rates of its experiment's rule.

    Args:
        seed: draws the salts; the same seed gives the same figures.
        progress: told how many rounds were just finished.

    Raises:
        BadInput: fewer than `FEWEST_ROUNDS` rounds, or no unit to randomise.
    """
    if rounds < FEWEST_ROUNDS:
        raise BadInput(
            "are too few to measure a rate", field="rounds", value=rounds, fix=f"{FEWEST_ROUNDS} or more"
        )
    if not len(log):
        raise BadInput(
            "no unit has matured, so none can be randomised again",
            field="experiment", value=log.definition.key,
            fix="wait until the window of the first exposure day has closed, or look later with --at.",
        )  # fmt: skip
    rng, plan = np.random.default_rng(seed), aa_read.schedule(log)
    cells = len(plan.days) * len(log.strata) * len(log.definition.variants)
    step = max(1, min(_CELLS // cells, _UNITS // len(log)))
    parts = []
    for start in range(0, rounds, step):
        count = min(step, rounds - start)
        salts = [f"aa-check/{rng.bytes(8).hex()}" for _ in range(count)]
        variant = np.stack([allocate(log.ids.buckets(salt), log.segments, log.stratum) for salt in salts])
        parts.append(aa_read.read(log, plan, variant, limits))
        if progress is not None:
            progress(count)
    return _result(log, plan, parts, seed, limits)


def _result(
    log: UnitLog, plan: aa_read.Schedule, parts: list[Rounds], seed: int, limits: Thresholds
) -> AACheck:
    definition, rule = log.definition, log.definition.decision
    metrics = tuple(
        _check(metric.key, metric.role, _join([part.metrics[place] for part in parts]))
        for place, metric in enumerate(definition.metrics)
    )
    alarms = rate(np.concatenate([part.alarm for part in parts]))
    promoted, rolled_back = (
        rate(np.concatenate([part.verdicts.share(kind) for part in parts]))
        for kind in (VerdictKind.PROMOTE, VerdictKind.ROLLBACK)
    )
    outcome, findings = _judge(
        rule.alpha, metrics, alarms, None if rule.design is Design.BAYESIAN else promoted, limits,
        others=len(definition.variants) - 1,
    )  # fmt: skip
    return AACheck(
        experiment=definition.key, design=rule.design.value, alpha=rule.alpha, rounds=alarms.trials,
        seed=seed,
        units=len(log), days=int(plan.days[-1]), looks=len(plan.days), left_out=log.left_out,
        srm_level=limits.srm_invalid, alarms=alarms, promoted=promoted, rolled_back=rolled_back,
        metrics=metrics, outcome=outcome, findings=findings,
    )  # fmt: skip


def _join(parts: list[MetricRounds]) -> MetricRounds:
    return MetricRounds(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(MetricRounds)}
    )


def _check(key: str, role: Role, found: MetricRounds) -> MetricCheck:
    guardrail = role is Role.GUARDRAIL
    return MetricCheck(
        metric=key,
        role=role.value,
        passes=rate(found.passes),
        fixed=rate(found.fixed, found.passes),
        sequential=rate(found.sequential, found.passes),
        sequential_daily=rate(found.sequential_daily, found.passes),
        fixed_daily=rate(found.fixed_daily, found.passes),
        effect_covers=rate(found.effect_covers, found.effect_known),
        lift_covers=rate(found.lift_covers, found.lift_known),
        sequence_covers=rate(found.sequence_covers, found.sequence_known),
        safe=rate(found.safe) if guardrail else None,
        harmed=rate(found.harmed, found.passes) if guardrail else None,
    )


def _judge(
    alpha: float,
    metrics: tuple[MetricCheck, ...],
    alarms: Rate,
    promoted: Rate | None,
    limits: Thresholds,
    *,
    others: int,
) -> tuple[Outcome, tuple[str, ...]]:
    """Which rates are above their level by more than chance, and where there is too little to say.

    Args:
        promoted: of the whole rule; None where it promises no rate (Bayesian).
    """
    rates = [] if promoted is None else [("false promotions by the whole rule", promoted, alpha)]
    for m in metrics:
        rates.append((f"{m.metric}: fixed test at the last look", m.fixed, alpha))
        rates.append((f"{m.metric}: confidence sequence under daily looks", m.sequential_daily, alpha))
        if m.harmed is not None:
            rates.append((f"{m.metric}: guardrail called harmed", m.harmed, others * alpha))
    # two tests are made: overall and the strata together
    rates.append(("sample-ratio alarms", alarms, 2 * limits.srm_invalid))
    share = _SIGNIFICANCE / len(rates)
    high = tuple(
        f"{name}: {_percent(found)}, promised at most {level:.3g}."
        for name, found, level in rates
        if found.above(level, significance=share)
    )
    if high:
        return Outcome.TOO_HIGH, high
    few = tuple(
        f"{m.metric}: only {_percent(m.passes)} of the rounds have enough events in the smaller variant."
        for m in metrics
        if (m.passes.share or 0.0) < _ENOUGH_PASSING
    )
    decisive = [m for m in metrics if m.role == Role.PRIMARY and (m.passes.share or 0.0) < _ENOUGH_PASSING]
    return (Outcome.NOT_ENOUGH_UNITS if decisive else Outcome.OK), few


def _percent(found: Rate) -> str:
    if found.share is None or found.error is None:
        return "none"
    return f"{found.share:.1%} (± {found.error:.1%})"
