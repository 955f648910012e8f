"""What callers of the client pass: read as the service would read it, before anything is kept or sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, cast
from uuid import UUID

from switchpoint.experiment.errors import BadInput, show
from switchpoint.experiment.ledger.codec import PROPERTIES_LENGTH, check_json, parse_covariates
from switchpoint.experiment.ledger.event import NAME_LENGTH, check_attributes, text_fault, unit_id
from switchpoint.router.client.values import EXACT_INTEGER, json_value

_log = logging.getLogger("switchpoint.client")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text_of(name: object) -> Any:
    """An id or a name as text where its type stands for one; anything else as it is, to be refused."""
    if name.__class__ is str:  # nearly every call
        return name
    return json_value(name, "id") if isinstance(name, str | UUID | Enum) else name


def unit_of(unit: object) -> str:
    """The unit's id, of a type that stands for an id. Raises BadInput."""
    return unit_id(text_of(unit))


def attribute_values(attributes: object) -> Mapping[str, Any]:
    """The attributes of a call as JSON values in their bounds. Raises BadInput, naming the attribute."""
    if attributes is None:
        return {}
    found = _json_attributes(attributes)
    check_attributes(found)
    return found


def _json_attributes(attributes: object) -> Mapping[str, Any]:
    if attributes.__class__ is dict and _is_plain(attributes):
        return attributes
    if not isinstance(attributes, Mapping):
        raise BadInput(
            f"is a mapping, not {type(attributes).__name__}",
            field="attributes",
            value=attributes,
            fix='give {"country": "US"}',
        )
    return cast("dict[str, Any]", json_value(attributes, "attributes"))


def _is_plain(attributes: Mapping[Any, Any]) -> bool:
    """Whether there is nothing to convert, which is so for most calls and quicker to see than to do."""
    for name, value in attributes.items():
        kind = value.__class__
        if name.__class__ is str and (
            kind is str
            or kind is bool
            or value is None
            or (kind is int and -EXACT_INTEGER < value < EXACT_INTEGER)
            or (kind is float and value - value == 0)  # neither NaN nor infinite
        ):
            continue
        return False
    return True


def numbers(covariates: object) -> Mapping[str, float]:
    """The covariates of a call, none where the service would refuse them."""
    try:
        return parse_covariates({"covariates": json_value(covariates, "covariates")})
    except BadInput as error:
        _log.error("covariates are left out: %s", error)
        return {}


def event_properties(properties: object, read: Callable[[], Collection[str]]) -> Any:
    """The properties of an event as JSON values that the service takes; other things as they are.

    What stands for no JSON value, or is too large, is left out with a line in the log: a property that no
    metric reads may not cost the event.

    Args:
        properties: what the caller gave.
        read: the names that metrics read from this type of event, asked only when one is left out.

    Raises:
        BadInput: a property that a metric reads stands for no JSON value, or for none at all (NaN).
    """
    if not isinstance(properties, Mapping):
        return properties
    kept: dict[str, Any] = {}
    for name, value in properties.items():
        try:
            key, item = next(iter(json_value({name: value}, "properties").items()))  # type: ignore[union-attr]
            check_json({key: item}, "properties")
        except BadInput as error:
            if name in read():
                raise
            _log.error("a property is left out, the event is kept: %s", error)
        else:
            kept[key] = item
            if item is None and value is not None and key in read():
                raise BadInput(
                    f"{show(value)} is no number", field=f"properties.{key}", value=value,
                    fix="a metric reads it: give a finite number",
                )  # fmt: skip
    return _short(kept, read)


def _short(kept: dict[str, Any], read: Callable[[], Collection[str]]) -> dict[str, Any]:
    """Without the largest properties that no metric reads, until the rest is short enough."""
    sizes = {name: len(json.dumps({name: item}, ensure_ascii=False)) for name, item in kept.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= PROPERTIES_LENGTH:
            break
        if name not in read():
            _log.error("a property is left out, the event is kept: properties.%s is too long", name)
            del sizes[name], kept[name]
    return kept


def event_time(at: object) -> object:
    """A datetime with a zone as milliseconds, whole numbers of other libraries as int; others as they are.

    Raises:
        BadInput: a datetime without a zone.
    """
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise BadInput(
                "a datetime without a zone", field="at", value=at,
                fix="give it one: at.replace(tzinfo=UTC), or leave `at` out for now",
            )  # fmt: skip
        return (at - _EPOCH) // timedelta(milliseconds=1)
    return at if isinstance(at, float | str) else json_value(at, "at")


def require_text(value: object, field: str) -> None:
    """Raises BadInput for what the doors would not take as a name."""
    fault = text_fault(value, NAME_LENGTH)
    if fault is not None:
        raise BadInput(fault, field=field, value=value, fix="give it as a string")
