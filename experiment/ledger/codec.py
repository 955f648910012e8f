"""Events as JSON: strict at the door, canonical in the log.

`parse_event` is for what others send and refuses everything it does not fully understand; `decode` reads
back what `encode` wrote. On the wire an exposure's extra facts lie beside the common fields:
`{"id", "type": "exposure", "unit", "at", "experiment", "variant", "segment", "epoch", "revision",
"propensity", "served"?, "cause"?, "dimensions"?, "covariates"?, "properties"?}`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from switchpoint.experiment.definition.types import EVENT_PATTERN, EXPOSURE
from switchpoint.experiment.errors import EventError
from switchpoint.experiment.ledger.event import (
    NAME_LENGTH,
    VALUE_LENGTH,
    Event,
    Exposure,
    covariate_value,
    dimension_value,
    number,
    shown,
    text_fault,
    unit_id,
)

PROPERTIES_LENGTH = 8192
"""Longest canonical JSON of an event's properties, in characters."""
PROPERTIES_DEPTH = 5
ENTRIES = 100
"""Most dimensions, and most covariates, of an exposure."""
INTEGER_BOUND = 2**63
"""Integers of properties lie below: JSON readers keep no larger ones. What metrics read has closer bounds."""
AHEAD_MS = 300_000
"""How far ahead of the clock a live event may be."""
DRIFT_SECONDS = 2.0
"""Clocks that differ by more are not synchronised; half of a slow round trip looks like less."""
EARLIEST, LATEST = 10**11, 2**43
"""Times accepted, in ms: 1973-03-03 (smaller numbers are seconds, sent by mistake) to 2248-09-26."""

_TYPE = re.compile(EVENT_PATTERN)
_EVENT_FIELDS = frozenset({"id", "type", "unit", "at", "properties"})
_NAMED = ("experiment", "variant", "segment")
_EXPOSURE_FIELDS = frozenset(
    {*_NAMED, "epoch", "revision", "propensity", "served", "cause", "dimensions", "covariates"}
)
_FROM_ASSIGNMENT = "send what /v1/assign returned for this unit"
_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def parse_event(raw: object, *, now: int | None) -> Event:
    """One event as somebody sent it, checked.

    Args:
        raw: the decoded JSON value.
        now: the clock in ms; None for history, which has no clock and so no check against the future.

    Raises:
        EventError: names the field, the value and the fix.
    """
    if not isinstance(raw, dict):
        raise EventError("an event is a JSON object", value=shown(raw), fix="send {id, type, unit, at, ...}")
    kind = raw.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise EventError(
            f"not an event type: {shown(kind)}", field="type", value=kind, fix=f"use {EVENT_PATTERN}"
        )
    _refuse_unknown(raw, _EVENT_FIELDS | _EXPOSURE_FIELDS if kind == EXPOSURE else _EVENT_FIELDS)
    event = Event(
        id=_text(raw, "id", NAME_LENGTH),
        type=kind,
        unit=unit_id(raw.get("unit"), EventError),
        at=_time(raw.get("at"), now),
        properties=_properties(raw.get("properties")),
    )
    return replace(event, exposure=_exposure(raw)) if kind == EXPOSURE else event


def refuse_ahead(at: int, now: int | None, *, sent: object) -> None:
    """Raise EventError for a time in ms, `sent` in some form, in the future of `now`, if that is known."""
    if now is not None and at > now + AHEAD_MS:
        raise EventError(
            f"{(at - now) / 1000:.0f} s ahead of the server's clock",
            field="at",
            value=sent,
            fix="correct the sender's clock; at most 5 minutes ahead are accepted",
        )


def to_document(event: Event) -> dict[str, Any]:
    """The event in its wire form, without fields that say nothing."""
    document: dict[str, Any] = {"id": event.id, "type": event.type, "unit": event.unit, "at": event.at}
    if event.properties:
        document["properties"] = event.properties
    if event.exposure is not None:
        document |= _exposure_document(event.exposure)
    return document


def from_document(document: Mapping[str, Any]) -> Event:
    """The event whose `to_document` this is; nothing is checked again."""
    exposure = None
    if document["type"] == EXPOSURE:
        facts = {name: document[name] for name in document.keys() & _EXPOSURE_FIELDS}
        facts.setdefault("served", facts["variant"])
        exposure = Exposure(**facts)
    return Event(
        id=document["id"],
        type=document["type"],
        unit=document["unit"],
        at=document["at"],
        properties=document.get("properties", {}),
        exposure=exposure,
    )


def encode(event: Event) -> str:
    """Canonical JSON: sorted keys, no spaces, no field that says nothing."""
    return _json(to_document(event))


def decode(text: str) -> Event:
    """Inverse of `encode`, for the platform's own log."""
    return from_document(json.loads(text))


def _exposure_document(exposure: Exposure) -> dict[str, Any]:
    document: dict[str, Any] = {
        "experiment": exposure.experiment,
        "variant": exposure.variant,
        "segment": exposure.segment,
        "epoch": exposure.epoch,
        "revision": exposure.revision,
        "propensity": exposure.propensity,
    }
    if exposure.served != exposure.variant:
        document["served"] = exposure.served
    if exposure.cause is not None:
        document["cause"] = exposure.cause
    if exposure.dimensions:
        document["dimensions"] = exposure.dimensions
    if exposure.covariates:
        document["covariates"] = exposure.covariates
    return document


def _exposure(raw: Mapping[str, Any]) -> Exposure:
    named = {name: _text(raw, name, VALUE_LENGTH) for name in _NAMED}
    propensity = number(raw.get("propensity"), "propensity")
    if not 0 < propensity <= 1:
        raise EventError(
            "a propensity is a probability above 0, at most 1",
            field="propensity",
            value=propensity,
            fix=_FROM_ASSIGNMENT,
        )
    return Exposure(
        **named,
        epoch=_count(raw, "epoch"),
        revision=_count(raw, "revision"),
        propensity=float(propensity),
        served=_text(raw, "served", VALUE_LENGTH) if "served" in raw else named["variant"],
        cause=None if raw.get("cause") is None else _text(raw, "cause", VALUE_LENGTH),
        dimensions={key: dimension_value(key, value) for key, value in _mapping(raw, "dimensions").items()},
        covariates=parse_covariates(raw),
    )


def parse_covariates(raw: Mapping[str, Any]) -> dict[str, float]:
    """The numbers under `covariates` of an exposure or of a call that makes one; none when left out.

    Raises:
        EventError: not an object of finite numbers.
    """
    given = _mapping(raw, "covariates")
    return {key: covariate_value(key, value) for key, value in given.items()}


def _refuse_unknown(raw: Mapping[Any, Any], known: frozenset[str]) -> None:
    unknown = [name for name in raw if name not in known]
    if unknown:
        raise EventError(
            f"unknown field {shown(unknown[0])}",
            field=shown(unknown[0]).strip("'"),
            value=raw[unknown[0]],
            fix="put your own facts into properties",
        )


def _text(raw: Mapping[str, Any], name: str, longest: int) -> str:
    value = raw.get(name)
    fault = text_fault(value, longest)
    if fault is None and isinstance(value, str):
        return value
    raise EventError(
        str(fault),
        field=name,
        value=value,
        fix=_FROM_ASSIGNMENT if name in _EXPOSURE_FIELDS else f"give every event its own {name} as a string",
    )


def _time(value: object, now: int | None) -> int:
    at = _milliseconds(value)
    if at is None:
        raise EventError(
            f"not a time: {shown(value)}",
            field="at",
            value=value,
            fix="use milliseconds since 1970 as an integer, or ISO 8601 with a zone (2026-03-01T12:00:00Z)",
        )
    if not EARLIEST <= at < LATEST:
        raise EventError(
            f"{at} ms lies before 1973 or after 2248",
            field="at",
            value=value,
            fix="use milliseconds, not seconds or microseconds",
        )
    refuse_ahead(at, now, sent=value)
    return at


def _milliseconds(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def _count(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31:
        return value
    raise EventError(f"not a positive integer: {shown(value)}", field=name, value=value, fix=_FROM_ASSIGNMENT)


def _mapping(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    if value is None:
        return {}
    if isinstance(value, dict) and len(value) <= ENTRIES:
        for key in value:
            _key(key, name)
        return value
    raise EventError(
        f"not an object of at most {ENTRIES} entries: {shown(value)}",
        field=name,
        value=value,
        fix="send {...}",
    )


def _key(key: object, where: str) -> None:
    fault = text_fault(key, VALUE_LENGTH)
    if fault is not None:
        raise EventError(f"a key: {fault}", field=where, value=key, fix="rename it")


def _properties(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EventError(
            f"not an object: {shown(value)}",
            field="properties",
            value=value,
            fix="send {...} or leave it out",
        )
    check_json(value, "properties", PROPERTIES_DEPTH)
    if len(_json(value)) > PROPERTIES_LENGTH:
        raise EventError(
            f"more than {PROPERTIES_LENGTH} characters of JSON",
            field="properties",
            fix="send what metrics need and keep the rest elsewhere",
        )
    return value


def check_json(value: object, where: str, depth: int = PROPERTIES_DEPTH) -> None:
    """Raise EventError for what properties may not hold, naming its dotted path."""
    if isinstance(value, dict | list):
        if depth == 0:
            raise EventError(f"nested deeper than {PROPERTIES_DEPTH}", field=where, fix="flatten it")
        if isinstance(value, dict):
            for key in value:
                _key(key, where)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            check_json(inner, f"{where}.{key}", depth - 1)
    elif isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise EventError("a lone surrogate is no text", field=where, value=value, fix="send UTF-8")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _property_number(value, where)
    elif value is not None and not isinstance(value, bool):
        raise EventError(f"not a JSON value: {shown(value)}", field=where, value=value, fix="send JSON")


def _property_number(value: int | float, where: str) -> None:
    if not (math.isfinite(value) if isinstance(value, float) else abs(value) < INTEGER_BOUND):
        raise EventError(
            f"not a finite number, or an integer beyond 2^63: {shown(value)}",
            field=where,
            value=value,
            fix="send it as text",
        )
