"""Metrics, which definitions and specs share: the table of their fields, and what no single field says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from switchpoint.experiment.definition.types import (
    TOTAL_BOUND,
    Covariate,
    Direction,
    Measure,
    Metric,
    MetricType,
    Role,
)
from switchpoint.experiment.errors import show
from switchpoint.experiment.language.kinds import (
    AMOUNT,
    ATTRIBUTE,
    CURRENCY,
    EVENT,
    KEY,
    SIZE,
    TEXT,
    Kind,
    choice,
    list_of,
    whole,
)
from switchpoint.experiment.language.node import Node
from switchpoint.experiment.language.record import Block, Field, record, shorthand

PROPORTION, MEAN, RATIO = MetricType.PROPORTION, MetricType.MEAN, MetricType.RATIO
_SIDES = ("numerator", "denominator")


_DECIMALS = whole(0, 6, "decimals", "use 0 to 6.")

_COUNTED = "Property that holds a number; left out: events are counted."

_MEASURE = shorthand(
    "event",
    EVENT,
    record(
        "Measure",
        "One side of a ratio; the text of an event is short for its count.",
        Field("event", EVENT, "Type of the event.", needed=True, example="prediction"),
        Field("value", TEXT, _COUNTED, example="latency_ms"),
        Field(
            "cap", AMOUNT, "Clips each event's value.", example=2000,
            needs=("value",), because="a cap without a value",
        ),
    ),
)  # fmt: skip


def _before(**examples: str) -> Kind[dict[str, Any]]:
    names = (
        Field(role, ATTRIBUTE, "Its name.", needed=True, example=name) for role, name in examples.items()
    )
    decimals = Field("decimals", _DECIMALS, "Default: the metric's.")
    return record("Covariate", "Numbers that exposures carry.", *names, decimals)


_ONE = shorthand("value", ATTRIBUTE, _before(value="past_spend"))
_TWO = _before(numerator="past_clicks", denominator="past_impressions")


def _metric(*, events: bool) -> Kind[Metric]:
    """A metric; without `events` (in specs of tables that hold none) it may leave out what it reads."""
    covariate = "What exposures carry of the unit from before, to remove variance."
    return record(
        "Metric",
        "One metric.",
        Field("key", KEY, "Name of the metric.", needed=True, example="ctr"),
        Field("type", choice(MetricType), "How a unit's events become numbers.", needed=True),
        Field("role", choice(Role), "What the metric is for.", default=Role.SECONDARY),
        Field("direction", choice(Direction), "Which way is better.", default=Direction.INCREASE),
        Field("margin", SIZE, "The harm you tolerate.", only=(Role.GUARDRAIL,), needed=True, example="5%"),
        Field("currency", CURRENCY, "ISO 4217; one per event value.", only=(MEAN, RATIO), example="EUR"),
        Field(
            "decimals", _DECIMALS, "Amounts are rounded half-even to them.", default=0, only=(MEAN, RATIO),
            needs=("value", "numerator.value", "denominator.value"), because="counts have no decimals",
        ),
        Field("covariate", _ONE, covariate, only=(PROPORTION, MEAN)),
        Field("covariate", _TWO, covariate, only=(RATIO,)),
        Field("event", EVENT, "What is counted.", only=(PROPORTION, MEAN), needed=events, example="purchase"),
        Field("value", TEXT, _COUNTED, only=(MEAN,), example="amount"),
        Field("cap", AMOUNT, "Clips the unit's total; default 2^40 minor units.", only=(MEAN,), example=500),
        Field("numerator", _MEASURE, "Above the line.", only=(RATIO,), needed=events, example="click"),
        Field("denominator", _MEASURE, "Below the line.", only=(RATIO,), needed=events, example="impression"),
        build=_build,
        parts=_parts,
    )  # fmt: skip


def _metrics(*, events: bool) -> Kind[tuple[Metric, ...]]:
    """The `metrics` list of a definition; without `events`, of a spec for tables that hold none."""
    metrics = list_of(_metric(events=events), "metric", least=1, most=50, check=_check)
    primary = {"properties": {"role": {"const": "primary"}}, "required": ["role"]}
    return replace(metrics, schema=metrics.schema | {"contains": primary})


def _build(block: Block) -> Metric:
    values = dict(block.values)
    kind, decimals = values["type"], values["decimals"]
    event, value = values.pop("event") or values["key"], values.pop("value")
    values["cap"] = 1 if kind is PROPORTION else _minor(block, values["cap"], decimals, "cap") or TOTAL_BOUND
    values["covariate"] = _covariate(values["covariate"], kind, decimals)
    values["numerator"] = Measure(event=event, value=value)
    if kind is RATIO:
        values |= {side: _side(block, side, decimals) for side in _SIDES}
    return Metric(**values)


def _side(block: Block, side: str, decimals: int) -> Measure:
    given = block.values[side]
    if given is None:
        return Measure(event=f"{block.values['key']}.{side}")
    cap = _minor(block, given.get("cap"), decimals, side, "cap")
    return Measure(event=given["event"], value=given.get("value"), cap=cap)


def _minor(block: Block, amount: Decimal | None, decimals: int, *path: str) -> int | None:
    """A positive amount in minor units, exact and at most TOTAL_BOUND."""
    if amount is None:
        return None
    scaled = amount.scaleb(decimals)
    if scaled <= 0 or scaled != scaled.to_integral_value():
        message = f"{show(amount)} is not a positive amount"
        block.record(message, f"at most {decimals} decimals, above 0.", *path)
    elif scaled > TOTAL_BOUND:
        limit = Decimal(TOTAL_BOUND).scaleb(-decimals)
        block.record(f"{show(amount)} is above the bound {limit}", "lower the cap or the decimals.", *path)
    return int(scaled)


def _covariate(given: Mapping[str, Any] | None, kind: MetricType, decimals: int) -> Covariate | None:
    if given is None:
        return None
    names = tuple(given[role] for role in (_SIDES if kind is RATIO else ("value",)))
    digits = given.get("decimals")
    return Covariate(names=names, decimals=decimals if digits is None else digits)


def _parts(metric: Metric) -> Mapping[str, Any]:
    decimals = metric.decimals
    covariate: Any = None
    if metric.covariate is not None:
        roles = _SIDES if metric.type is RATIO else ("value",)
        covariate = dict(zip(roles, metric.covariate.names, strict=True))
        if metric.covariate.decimals != decimals:
            covariate["decimals"] = metric.covariate.decimals
        elif metric.type is not RATIO:
            covariate = covariate["value"]
    return {
        "decimals": decimals or None,
        "covariate": covariate,
        "event": metric.numerator.event,
        "value": metric.numerator.value,
        "cap": None if metric.cap == TOTAL_BOUND else _major(metric.cap, decimals),
        "numerator": _measure(metric.numerator, decimals),
        "denominator": metric.denominator and _measure(metric.denominator, decimals),
    }


def _measure(measure: Measure, decimals: int) -> dict[str, Any]:
    return {"event": measure.event, "value": measure.value, "cap": _major(measure.cap, decimals)}


def _major(amount: int | None, decimals: int) -> int | float | None:
    """Minor units as the number a person writes; exact, as bounded amounts have at most 13 digits."""
    if amount is None:
        return None
    units, rest = divmod(amount, 10**decimals)
    return units if rest == 0 else float(Decimal(amount).scaleb(-decimals))


def _check(node: Node, metrics: tuple[Metric, ...]) -> None:
    """Unique keys, exactly one primary, one currency per event value."""
    seen: set[str] = set()
    currencies: dict[tuple[str, str], str | None] = {}
    for index, metric in enumerate(metrics):
        if metric.key in seen:
            node.record(f"a second metric {metric.key!r}", "rename it.", index, "key")
        seen.add(metric.key)
        for side in (metric.numerator, metric.denominator):
            if side is not None and side.value is not None:
                known = currencies.setdefault((side.event, side.value), metric.currency)
                if known != metric.currency:
                    node.record(f"{side.event}.{side.value} in two currencies", "use one.", index)
    primaries = [metric.key for metric in metrics if metric.role is Role.PRIMARY]
    if len(primaries) != 1:
        several = f"{len(primaries)} primary metrics ({', '.join(primaries)})"
        message = several if primaries else "no primary metric"
        node.record(message, "give exactly one metric `role: primary`: the decision reads it.")


METRICS = _metrics(events=True)
METRICS_OF_TABLES = _metrics(events=False)
