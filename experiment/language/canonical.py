"""The canonical form of a definition: the definition language itself, written out in full.

`parsing.from_document` reads it back with the same parser that reads YAML, so stored definitions are held to
the same rules as written ones, and the digest covers what a definition means, not how it was typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any

from switchpoint.experiment.definition.source import TIDY, Source, Table
from switchpoint.experiment.definition.types import (
    BUCKETS,
    TOTAL_BOUND,
    Covariate,
    DecisionRule,
    Design,
    Experiment,
    LookPlan,
    Measure,
    Metric,
    MetricType,
    Segment,
    Size,
    Spending,
)
from switchpoint.experiment.language.document import digest_of
from switchpoint.experiment.language.fields import show_duration


def to_document(experiment: Experiment) -> dict[str, Any]:
    """The definition as JSON values; keys with nothing to say are left out."""
    keys = [variant.key for variant in experiment.variants]
    layer = experiment.layer
    return _compact(
        key=experiment.key,
        hypothesis=experiment.hypothesis,
        owner=experiment.owner,
        unit=experiment.unit,
        model=experiment.model,
        layer=layer and {"key": layer.key, "slice": [layer.start / BUCKETS, layer.end / BUCKETS]},
        variants=[_compact(key=v.key, model=v.model and str(v.model)) for v in experiment.variants],
        segments=[_segment(segment, keys) for segment in experiment.segments],
        dimensions=list(experiment.dimensions),
        metrics=[metric_document(metric) for metric in experiment.metrics],
        window=show_duration(experiment.window_ms),
        decision=decision_document(experiment.decision),
        source=experiment.source and _source(experiment.source),
    )


def digest(experiment: Experiment) -> str:
    """`sha256:...` of the canonical form."""
    return digest_of(to_document(experiment))


def rule_digest(experiment: Experiment) -> str:
    """`sha256:...` of what freezes at start: metrics, dimensions, window and decision rule."""
    document = to_document(experiment)
    return digest_of({part: document.get(part) for part in ("metrics", "dimensions", "window", "decision")})


def _compact(**parts: Any) -> dict[str, Any]:
    return {part: value for part, value in parts.items() if value not in (None, "", [], {}, ())}


def _segment(segment: Segment, variants: list[str]) -> dict[str, Any]:
    allocation = {key: weight / BUCKETS for key, weight in zip(variants, segment.allocation, strict=True)}
    return {
        **_compact(key=segment.key, when=segment.when),
        "traffic": segment.traffic / BUCKETS,
        "allocation": allocation,
    }


def metric_document(metric: Metric) -> dict[str, Any]:
    """One metric as JSON values."""
    common = _compact(
        key=metric.key,
        type=metric.type.value,
        role=metric.role.value,
        direction=metric.direction.value,
        margin=metric.margin and _size(metric.margin),
        currency=metric.currency,
        decimals=metric.decimals or None,
        covariate=metric.covariate and _covariate(metric.covariate, metric.decimals),
    )
    if metric.denominator is not None:
        sides = {"numerator": metric.numerator, "denominator": metric.denominator}
        return common | {side: _measure(measure, metric.decimals) for side, measure in sides.items()}
    measure = _compact(event=metric.numerator.event, value=metric.numerator.value)
    if metric.type is MetricType.MEAN and metric.cap != TOTAL_BOUND:
        measure["cap"] = _major(metric.cap, metric.decimals)
    return common | measure


def _covariate(covariate: Covariate, decimals: int) -> str | dict[str, Any]:
    names = covariate.names
    if len(names) == 1 and covariate.decimals == decimals:
        return names[0]
    roles = ("value",) if len(names) == 1 else ("numerator", "denominator")
    own = None if covariate.decimals == decimals else covariate.decimals
    return _compact(**dict(zip(roles, names, strict=True)), decimals=own)


def decision_document(rule: DecisionRule) -> dict[str, Any]:
    """The decision rule as JSON values; only the keys its design reads."""
    common = {
        "design": rule.design.value,
        "alpha": rule.alpha,
        "power": rule.power,
        "mde": _size(rule.mde),
        "min_runtime": f"{rule.min_runtime_days}d",
        "max_runtime": f"{rule.max_runtime_days}d",
        "evidence": rule.evidence.value,
    }
    match rule.design:
        case Design.GROUP_SEQUENTIAL:
            return common | _looks(rule.looks)
        case Design.BAYESIAN:
            belief = rule.belief
            return common | _compact(prior={"mean": belief.mean, "sd": belief.sd}, loss=belief.loss)
        case _:
            return common


def _looks(looks: LookPlan) -> dict[str, Any]:
    return _compact(
        looks_every=f"{looks.every_days}d",
        spending=looks.spending.value,
        gamma=looks.gamma if looks.spending is Spending.POWER else None,
        units=looks.units,
    )


def _measure(measure: Measure, decimals: int) -> dict[str, Any]:
    cap = None if measure.cap is None else _major(measure.cap, decimals)
    return _compact(event=measure.event, value=measure.value, cap=cap)


def _size(size: Size) -> str | float:
    return f"{_plain(Decimal(repr(size.value)) * 100)}%" if size.relative else size.value


def _major(amount: int, decimals: int) -> int | float:
    """Minor units as the number a person writes; exact, as bounded amounts have at most 13 digits."""
    whole, rest = divmod(amount, 10**decimals)
    return whole if rest == 0 else float(Decimal(amount).scaleb(-decimals))


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _source(source: Source) -> dict[str, Any]:
    parts: dict[str, Any] = {f.name: getattr(source, f.name) for f in fields(source)}
    key = parts.pop("experiment_key")
    parts["experiment"] = {"key": key} if key else source.experiment
    parts["shape"], parts["cumulative"] = source.shape.value, source.cumulative or None
    parts["dimensions"], parts["empty"] = list(source.dimensions), dict.fromkeys(source.empty, 0)
    parts["labels"] = source.labels if source.labels == TIDY else None
    parts["exposures"], parts["outcomes"] = _table(source.exposures), _table(source.outcomes)
    if isinstance(source.weights, Mapping):
        parts["weights"] = _shares(source.weights)
    by = parts.pop("weights_by")
    parts["weights"] = {key: _shares(shares) for key, shares in by.items()} or parts["weights"]
    return _compact(**parts)


def _shares(weights: Mapping[str, int]) -> dict[str, float]:
    return {variant: weight / BUCKETS for variant, weight in weights.items()}


def _table(table: Table | None) -> dict[str, str] | None:
    return None if table is None else _compact(**{f.name: getattr(table, f.name) for f in fields(table)})
