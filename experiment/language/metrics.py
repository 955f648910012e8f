"""Strict parsing of metrics, which definitions and specs share."""

from __future__ import annotations

import re
from decimal import Decimal

from switchpoint.experiment.definition.types import (
    TOTAL_BOUND,
    Covariate,
    Direction,
    Measure,
    Metric,
    MetricType,
    Role,
    Size,
)
from switchpoint.experiment.language.fields import (
    Fields,
    Place,
    choice,
    each,
    fraction,
    key,
    name,
    number,
    text,
    whole,
)
from switchpoint.experiment.wording import show

MAX_METRICS = 50
_EVENT = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_RESERVED = {"exposure"}
_CURRENCY = re.compile(r"[A-Z]{3}")
_MEASURE = ("event", "value", "cap")
_SIDES = ("numerator", "denominator")
_COMMON = ("key", "type", "role", "direction", "margin", "covariate")
_BY_TYPE = {
    MetricType.PROPORTION: (*_COMMON, "event"),
    MetricType.MEAN: (*_COMMON, "event", "value", "decimals", "cap", "currency"),
    MetricType.RATIO: (*_COMMON, *_SIDES, "decimals", "currency"),
}


def parse_metrics(place: Place, *, events: bool = True) -> tuple[Metric, ...]:
    """The `metrics` list: unique keys, exactly one primary, one currency per event value.

    `events` False (tables of counts or moments): the event may be left out and is then the metric's key.
    """
    metrics = each(place, lambda item: _metric(item, events=events))
    if not 1 <= len(metrics) <= MAX_METRICS:
        place.fail(f"{len(metrics)} metrics", f"give 1 to {MAX_METRICS}.")
    seen: set[str] = set()
    currencies: dict[tuple[str, str], str | None] = {}
    for index, metric in enumerate(metrics):
        if metric.key in seen:
            place.record(f"a second metric {metric.key!r}", "rename it.", index, "key")
        seen.add(metric.key)
        for side in (metric.numerator, metric.denominator):
            if side is not None and side.value is not None:
                known = currencies.setdefault((side.event, side.value), metric.currency)
                if known != metric.currency:
                    place.record(f"{side.event}.{side.value} in two currencies", "use one.", index)
    primaries = [metric.key for metric in metrics if metric.role is Role.PRIMARY]
    if len(primaries) != 1:
        found = (
            f"{len(primaries)} primary metrics ({', '.join(primaries)})" if primaries else "no primary metric"
        )
        place.record(found, "give exactly one metric `role: primary`: the decision reads it.")
    return metrics


def size(place: Place) -> Size:
    """A positive effect size: `2%` relative to control, a bare number absolute."""
    exact = fraction(place)
    if exact <= 0:
        place.fail(f"{show(place.value)} is not positive", "write 2% (relative) or 0.01 (absolute).")
    return Size(value=float(exact), relative=isinstance(place.value, str))


def event_type(place: Place) -> str:
    """The type of an event: lower case, as the events door accepts it."""
    found = text(place)
    if not _EVENT.fullmatch(found):
        place.fail(
            f"{show(found)} is not an event type", "start lower case; a-z, 0-9, '_', '.', '-'; at most 64."
        )
    if found in _RESERVED:
        place.fail(
            f"{found!r} cannot be an outcome", "units are counted by exposures anyway: name an outcome event."
        )
    return found


def _metric(place: Place, *, events: bool) -> Metric:
    if isinstance(place.value, dict) and place.value.get("type") in set(MetricType):
        known = _BY_TYPE[MetricType(place.value["type"])]
    else:
        known = tuple(dict.fromkeys(part for parts in _BY_TYPE.values() for part in parts))
    block = Fields(place, known)
    kind = block.need("type", choice(MetricType), "proportion | mean | ratio")
    own = block.need("key", key, "ctr")
    decimals = block.take("decimals", _decimals, 0)
    role = block.take("role", choice(Role), Role.SECONDARY)
    direction = block.take("direction", choice(Direction), Direction.INCREASE)
    margin = block.take("margin", size, None)
    currency = block.take("currency", _currency, None)
    block.done()
    numerator, denominator = _sides(block, kind, own, decimals, events=events)
    covariate = block.take("covariate", lambda p: _covariate(p, kind, decimals), None)
    cap = 1 if kind is MetricType.PROPORTION else block.take("cap", lambda p: minor(p, decimals), TOTAL_BOUND)
    block.done()
    if role is Role.GUARDRAIL and margin is None:
        block.record("a guardrail needs a margin", "add the harm you would tolerate: `margin: 5%`.")
    if role is not Role.GUARDRAIL and margin is not None:
        block.record("only a guardrail has a margin", "add `role: guardrail` or remove it.", "margin")
    if decimals and numerator.value is None and (denominator is None or denominator.value is None):
        block.record("counts have no decimals", "name the `value` property, or remove decimals.", "decimals")
    block.done()
    return Metric(
        key=own, type=kind, numerator=numerator, denominator=denominator, decimals=decimals, cap=cap,
        currency=currency, direction=direction, role=role, margin=margin, covariate=covariate,
    )  # fmt: skip


def _sides(
    block: Fields, kind: MetricType, own: str, decimals: int, *, events: bool
) -> tuple[Measure, Measure | None]:
    if kind is MetricType.RATIO:
        sides = {}
        for side in _SIDES:
            if events or block.has(side):
                sides[side] = block.need(side, lambda p: _measure(p, decimals), "click")
            else:
                sides[side] = Measure(event=f"{own}.{side}")
        block.done()
        return sides["numerator"], sides["denominator"]
    event = block.need("event", event_type, "purchase") if events else block.take("event", event_type, own)
    value = block.take("value", text, None)
    block.done()
    return Measure(event=event, value=value), None


def _measure(place: Place, decimals: int) -> Measure:
    """One side of a ratio; plain text is short for `{event: text}`, a count."""
    if isinstance(place.value, str):
        return Measure(event=event_type(place))
    block = Fields(place, _MEASURE)
    event = block.need("event", event_type, "prediction")
    value = block.take("value", text, None)
    cap = block.take("cap", lambda p: minor(p, decimals), None)
    if cap is not None and value is None:
        block.record("a cap without a value", "name the `value` property it clips.", "cap")
    block.done()
    return Measure(event=event, value=value, cap=cap)


def _covariate(place: Place, kind: MetricType, decimals: int) -> Covariate:
    """Names of numbers that exposures carry; plain text is short for `{value: text}`."""
    roles = _SIDES if kind is MetricType.RATIO else ("value",)
    if isinstance(place.value, str) and len(roles) == 1:
        return Covariate(names=(name(place),), decimals=decimals)
    if isinstance(place.value, str):
        place.fail("a ratio has two sides", "write {numerator: past_clicks, denominator: past_impressions}.")
    block = Fields(place, (*roles, "decimals"))
    names = tuple(block.need(role, name, f"past_{role}") for role in roles)
    digits = block.take("decimals", _decimals, decimals)
    block.done()
    return Covariate(names=names, decimals=digits)


def minor(place: Place, decimals: int) -> int:
    """A positive amount in minor units, exact and at most TOTAL_BOUND."""
    scaled = number(place).scaleb(decimals)
    if scaled <= 0 or scaled != scaled.to_integral_value():
        place.fail(f"{show(place.value)} is not a positive amount", f"at most {decimals} decimals, above 0.")
    if scaled > TOTAL_BOUND:
        limit = Decimal(TOTAL_BOUND).scaleb(-decimals)
        place.fail(f"{show(place.value)} is above the bound {limit}", "lower the cap or the decimals.")
    return int(scaled)


def _decimals(place: Place) -> int:
    found = whole(place)
    if not 0 <= found <= 6:
        place.fail(f"{found} decimals", "use 0 to 6.")
    return found


def _currency(place: Place) -> str:
    found = text(place)
    if not _CURRENCY.fullmatch(found):
        place.fail(f"{show(found)} is not a currency", "write its ISO 4217 code: EUR.")
    return found
