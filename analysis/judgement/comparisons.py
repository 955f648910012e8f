"""Single places of the columnar numbers as frozen results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from switchpoint.analysis.evidence import event_gate
from switchpoint.analysis.judgement.family import Corrected
from switchpoint.analysis.judgement.looks import planned
from switchpoint.analysis.judgement.measure import Headline
from switchpoint.analysis.judgement.records import Sheet, intervals
from switchpoint.analysis.judgement.rule import finding, guard_finding
from switchpoint.analysis.judgement.sufficiency import Shrunken, of_segment, overall, segment_finding
from switchpoint.analysis.numerics.arrays import finite, listed
from switchpoint.analysis.numerics.estimates import Estimates
from switchpoint.analysis.results.numbers import (
    Comparison,
    Estimate,
    Guard,
    Heterogeneity,
    Interval,
    MetricReading,
    MixRow,
    Planned,
    Pooled,
    Posterior,
    SegmentReading,
    Sufficiency,
    Unadjusted,
    Value,
)
from switchpoint.experiment.definition.types import DecisionRule, Direction, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Which place of the leading axis is what: the overall reading, segments by key, days by ISO date (the
    first of the sheet's series). `young`: variants (from 1) that have not run the minimum runtime although
    others have, with the exposure days of their own evidence."""

    overall: int = 0
    segments: Sequence[tuple[str, int]] = ()
    days: Sequence[tuple[str, int]] = ()
    young: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a comparison is made of: variant `v` + 1 of these variants at these looks, `adjusted` its headline
    p after the family's correction, `confirmed` by the gate's wider standard error, the interval if it was
    `selected`, its segments' random effects and `segment_values` (every variant's), the `mix` of strata
    behind the pooled effect, and whether the units that the rule asked for are there where that is known
    already (`complete`)."""

    v: int
    looks: Looks
    variants: Sequence[str]
    adjusted: float
    confirmed: bool
    selected: Estimates | None = None
    shrunken: Shrunken | None = None
    segment_values: Sequence[tuple[Value, ...]] = ()
    mix: tuple[MixRow, ...] = ()
    complete: bool | None = None


def comparison(s: Sheet, at: Place, rule: DecisionRule) -> Comparison:
    """One variant against control."""
    look, v = at.looks.overall, at.v
    found = s.estimates[look][v]
    significant = found is not None and isfinite(at.adjusted) and at.adjusted < rule.alpha
    reads = s.m.plans.get(look)
    plan = None if reads is None else planned(reads[v], rule, {row: day for day, row in at.looks.days})
    belief = _posterior(s, look, v, rule)
    raised = _raised(s, found, plan, belief)
    better = raised == (s.m.metric.direction is Direction.INCREASE) if significant else None
    enough, events = overall(s.m, look, v, rule), _enough_events(s, look, at)
    guard = _guard(s, look, v, found, enough_events=events)
    days = at.looks.young.get(v + 1) if s.m.metric.role is Role.PRIMARY else None
    complete = (_complete(s, plan, enough) if at.complete is None else at.complete) and days is None
    return Comparison(
        variant=at.variants[v + 1],
        control=at.variants[0],
        headline=_headline(s, look),
        estimate=found,
        missing=s.missing(look, v),
        significant=significant,
        better=better,
        finding=(
            finding(
                better=better,
                estimated=found is not None,
                enough_events=events,
                complete=complete,
                design=rule.design,
                young=days is not None,
            )
            if guard is None
            else guard_finding(safe=guard.safe, harmed=guard.harmed, enough_events=events)
        ),
        adjusted_p=None if _believed(s) else finite(at.adjusted),
        events=s.events[look][v],
        events_needed=s.needed[look][v],
        counted=event_gate.counted(s.m.metric).value,
        enough_events=events,
        complete=complete,
        days=days,
        pooled=_pooled(s, look, v, found, at.mix),
        guard=guard,
        sufficiency=enough,
        segments=segment_readings(s, at, rule),
        daily=s.daily[v][: len(at.looks.days)] if s.daily and at.looks.days else (),
        selected_interval=_selected(at, significant=significant),
        unadjusted=_unadjusted(s, look, v, found),
        heterogeneity=heterogeneity(at),
        planned=plan,
        posterior=belief,
    )


def _enough_events(s: Sheet, look: int, at: Place) -> bool:
    """Enough in the smaller variant, and what is read holds with the wider standard error too."""
    events, guard = s.events[look][at.v], s.m.guard
    confirmed = at.confirmed
    if guard is not None:
        here = look, at.v
        confirmed = bool(
            guard.safe[here] or guard.harmed[here] or (confirmed and not guard.unconfirmed[here])
        )
    return events is not None and events >= s.needed[look][at.v] and confirmed


def _complete(s: Sheet, planned: Planned | None, enough: Sufficiency | None) -> bool:
    """Whether the units the rule asked for are there; it asks for none but of the primary metric."""
    if s.m.metric.role is not Role.PRIMARY:
        return True
    return planned.ended if planned is not None else enough is not None and enough.enough


def _raised(s: Sheet, found: Estimate | None, plan: Planned | None, belief: Posterior | None) -> bool:
    """Whether the deciding reading lies above control."""
    if _believed(s):
        return belief is not None and (belief.better > 0.5) == (s.m.metric.direction is Direction.INCREASE)
    if plan is not None:
        return plan.effect is not None and plan.effect > 0
    return found is not None and found.effect > 0


def _believed(s: Sheet) -> bool:
    return s.m.headline is Headline.POSTERIOR


def _headline(s: Sheet, look: int) -> str:
    """What decides at this look; away from the looks of a plan the confidence sequence is read."""
    away = s.m.headline is Headline.PLANNED and look not in s.m.plans
    return (Headline.SEQUENCE if away else s.m.headline).value


def _posterior(s: Sheet, look: int, v: int, rule: DecisionRule) -> Posterior | None:
    found, at = s.m.posterior, (s.m.pooled_at.index(look), v)
    if found.reason[at]:
        return None
    exact = _believed(s) and bool(s.m.whole.pairs.scored[s.m.start + look, v])
    return Posterior(
        better=float(found.better[at]),
        mean=float(found.mean[at]),
        interval=Interval(lower=float(found.low[at]), upper=float(found.high[at])),
        loss_variant=float(found.loss_treatment[at]),
        loss_control=float(found.loss_control[at]),
        prior_mean=rule.belief.mean,
        prior_sd=rule.belief.sd,
        method="binomial" if exact else "normal",
    )


def metric_reading(
    s: Sheet, looks: Looks, variants: Sequence[str], rule: DecisionRule, found: Corrected, place: int,
    shrunk: Shrunken | None = None, mix: Sequence[tuple[MixRow, ...]] = (),
) -> MetricReading:  # fmt: skip
    """One metric of one experiment; `place` is the metric's place in the corrected family, `mix` the strata
    behind the pooled effect of each variant other than control."""
    metric, adjusted, selected = s.m.metric, found.adjusted[place].tolist(), found.selected[place]
    confirmed = found.confirmed[place].tolist()
    by_segment = [s.values(look, variants) for _, look in looks.segments]
    return MetricReading(
        key=metric.key, type=metric.type.value, role=metric.role.value, direction=metric.direction.value,
        decimals=metric.decimals, values=s.values(looks.overall, variants),
        comparisons=tuple(
            comparison(
                s,
                Place(
                    v=v, looks=looks, variants=variants, adjusted=adjusted[v], confirmed=confirmed[v],
                    selected=selected, shrunken=shrunk, segment_values=by_segment, mix=mix[v] if mix else (),
                ),
                rule,
            )
            for v in range(len(variants) - 1)
        ),
    )  # fmt: skip


def _selected(at: Place, *, significant: bool) -> Interval | None:
    if at.selected is None or not significant:
        return None
    return intervals(at.selected)[0][at.v]


def _pooled(s: Sheet, look: int, v: int, found: Estimate | None, mix: tuple[MixRow, ...]) -> Pooled | None:
    naive, at, row = s.m.pooled, (s.m.pooled_at.index(look), v), (s.m.start + look, v)
    if naive.reason[at]:
        return None
    effect = float(naive.estimate[at])
    several = not bool(s.m.whole.pairs.single[row])
    stratified = float(s.m.whole.plain.estimate[row])
    return Pooled(
        effect=effect,
        interval=Interval(lower=finite(naive.low[at]), upper=finite(naive.high[at])),
        p=float(naive.p_value[at]),
        between=None if found is None else effect - stratified,
        simpson=bool(found is not None and several and effect * stratified < 0),
        mix=mix,
    )


def _guard(s: Sheet, look: int, v: int, found: Estimate | None, *, enough_events: bool) -> Guard | None:
    guard, metric = s.m.guard, s.m.metric
    if guard is None or metric.margin is None or found is None:
        return None
    baseline = float(s.m.whole.pairs.contrast.baseline[s.m.start + look, v])
    scale = abs(baseline) if metric.margin.relative else 1.0
    sign = -1.0 if metric.direction is Direction.INCREASE else 1.0
    bound = finite(guard.bound[look, v])
    return Guard(
        margin=metric.margin.value * scale,
        margin_relative=metric.margin.value if metric.margin.relative else None,
        loss=sign * found.effect,
        loss_bound=None if bound is None else bound * scale,
        safe=bool(guard.safe[look, v]) and enough_events,
        harmed=bool(guard.harmed[look, v]) and enough_events,
    )


def _unadjusted(s: Sheet, look: int, v: int, found: Estimate | None) -> Unadjusted | None:
    """The same without its covariate; None where none was used."""
    at, plain = (s.m.start + look, v), s.m.whole.plain
    reduction = s.m.whole.pairs.reduction[at]
    if found is None or not isfinite(reduction) or plain.reason[at]:
        return None
    effect = float(plain.estimate[at])
    return Unadjusted(
        effect=effect,
        standard_error=float(plain.standard_error[at]),
        interval=Interval(lower=finite(plain.low[at]), upper=finite(plain.high[at])),
        p=float(plain.p_value[at]),
        reduction=float(reduction),
        flips=effect * found.effect < 0,
    )


def segment_readings(s: Sheet, at: Place, rule: DecisionRule) -> tuple[SegmentReading, ...]:
    """Every segment of one comparison; empty where there is one only."""
    found = at.shrunken
    if found is None:
        return ()
    columns = found.pooled.shrunk, found.low, found.high, found.adjusted.T
    read = zip(*(listed(column)[at.v] for column in columns), strict=True)
    return tuple(_segment(s, at, place, rule, found, *own) for place, own in enumerate(read))


def _segment(
    s: Sheet, at: Place, place: int, rule: DecisionRule, found: Shrunken, *drawn: float | None
) -> SegmentReading:
    (name, look), v, (shrunk, low, high, adjusted) = at.looks.segments[place], at.v, drawn
    enough = of_segment(s.m, look, v, rule, found, place)
    return SegmentReading(
        segment=name,
        control=at.segment_values[place][0],
        value=at.segment_values[place][v + 1],
        estimate=s.estimates[look][v],
        missing=s.missing(look, v),
        finding=segment_finding(s.m, look, v, adjusted, enough=enough, rule=rule),
        shrunk=shrunk,
        shrunk_interval=None if shrunk is None else Interval(lower=low, upper=high),
        adjusted_p=adjusted,
        sufficiency=enough,
    )


def heterogeneity(at: Place) -> Heterogeneity | None:
    """Whether the segments of one comparison have one effect; None where too few can be estimated."""
    if at.shrunken is None or at.shrunken.pooled.reason[at.v]:
        return None
    found, v = at.shrunken.pooled, at.v
    return Heterogeneity(
        segments=int(found.members[v]),
        mean=float(found.mean[v]),
        interval=Interval(lower=finite(found.low[v]), upper=finite(found.high[v])),
        tau=float(found.tau2[v]) ** 0.5,
        p=float(found.q_p[v]),
        i2=float(found.i2[v]),
    )
