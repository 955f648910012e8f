"""An event as the ledger takes it, and what an exposure says; one rule for ids at every door."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeVar

from switchpoint.experiment.assignment.assign import Assignment
from switchpoint.experiment.definition.types import Experiment
from switchpoint.experiment.errors import BadInput, EventError

NAME_LENGTH = 256
"""Longest id and unit, in characters (at most 1,024 bytes of UTF-8)."""
VALUE_LENGTH = 128
"""Longest dimension value, key of a property, experiment, variant, segment or cause, in characters."""
NUMBER_BOUND = 10**15
"""Largest absolute number that is counted: integer dimension, covariate, propensity, amount."""
ATTRIBUTES = 256
"""Most attributes of a call. The name of one has at most VALUE_LENGTH characters."""
ATTRIBUTE_LENGTH = 4_096
"""Largest attribute: the characters of its texts and keys; every other value counts as one."""
ATTRIBUTE_DEPTH = 20
"""Deepest nesting of lists and objects in an attribute."""

_CONTROLS = "\\x00-\\x1f\\x7f-\\x9f"
_NO_CHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane + end) for plane in range(0, 0x110000, 0x10000) for end in (0xFFFE, 0xFFFF)
)
_KINDS = {
    "a control character": _CONTROLS,
    "half a character (a surrogate)": "\\ud800-\\udfff",
    "no character (Unicode keeps it out of texts)": _NO_CHARACTERS,
}
_REFUSED = re.compile("|".join(f"([{signs}])" for signs in _KINDS.values()))
TEXT_PATTERN = f"^[^{_CONTROLS}{_NO_CHARACTERS}]*$"
"""The rule above, without the surrogates that JSON cannot have, for other readers of regular expressions."""


class Status(StrEnum):
    """What became of one event of a batch."""

    STORED = "stored"
    SPOOLED = "spooled"
    DUPLICATE = "duplicate"
    LATE = "late"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """The extra facts of an exposure: the unit met this variant of this experiment.

    `served` differs from `variant` when a fallback answered; `cause` then says why (None = no cause on
    record, which is a fault). `propensity` is the probability of `variant` given enrolment.
    """

    experiment: str
    variant: str
    segment: str
    epoch: int
    revision: int
    propensity: float
    served: str
    cause: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    covariates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `exposure` is set exactly when `type` is "exposure"."""

    id: str
    type: str
    unit: str
    at: int
    properties: Mapping[str, Any] = field(default_factory=dict)
    exposure: Exposure | None = None


def text_fault(value: object, longest: int, *, shortest: int = 1) -> str | None:
    """Why `value` is no text that may stand in an event, None where it is one."""
    if not isinstance(value, str) or not shortest <= len(value) <= longest:
        return f"not a text of {shortest} to {longest} characters: {shown(value)}"
    if value.isascii() and value.isprintable():  # the quick way: printable ASCII is U+0020 to U+007E for good
        return None
    sign = _REFUSED.search(value)
    if sign is None:
        return None
    kind = tuple(_KINDS)[(sign.lastindex or 1) - 1]
    return f"U+{ord(sign[0]):04X}, character {sign.start() + 1} of {shown(value)}, is {kind}"


def unit_id(value: object, error: type[BadInput] = BadInput) -> str:
    """A unit's id, as every door takes it.

    Raises:
        BadInput: (or `error`) not a text of 1 to NAME_LENGTH characters; names the sign that is refused.
    """
    fault = text_fault(value, NAME_LENGTH)
    if fault is not None or not isinstance(value, str):
        raise error(str(fault), field="unit", value=value, fix="send the unit's id as a string")
    return value


def check_attributes(attributes: Mapping[str, Any]) -> None:
    """Attributes, as JSON values, in bounds: what conditions do with them takes time that grows with them.

    Raises:
        BadInput: too many, or one whose name or value is too large; names it.
    """
    if len(attributes) > ATTRIBUTES:
        raise BadInput(
            f"more than {ATTRIBUTES} attributes", field="attributes", value=len(attributes), fix=_READ_ONLY
        )
    for name, value in attributes.items():
        if len(name) > VALUE_LENGTH:
            raise BadInput(
                f"a name of more than {VALUE_LENGTH} characters",
                field="attributes",
                value=name,
                fix="rename it",
            )
        length = len(value) if value.__class__ is str else _length(value, ATTRIBUTE_DEPTH)
        if length > ATTRIBUTE_LENGTH:
            raise BadInput(
                f"more than {ATTRIBUTE_LENGTH} characters, or deeper than {ATTRIBUTE_DEPTH} levels",
                field=f"attributes.{name}",
                value=value,
                fix=_READ_ONLY,
            )


_CONTAINERS = (dict, list)
_READ_ONLY = "send what conditions, dimensions and covariates read"


def _length(value: object, depth: int) -> int:
    """As ATTRIBUTE_LENGTH counts, at least; beyond it for what is nested deeper than `depth`."""
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, _CONTAINERS):
        return 1
    if depth == 0:
        return ATTRIBUTE_LENGTH + 1
    length = 1
    for item in value:
        length += _length(item, depth - 1)
        if isinstance(value, dict):
            length += _length(value[item], depth - 1)
        if length > ATTRIBUTE_LENGTH:
            break
    return length


PLACEHOLDERS = frozenset({
    "", "-", "null", "(null)", "nil", "none", "nan", "na", "n/a", "unknown", "undefined", "anonymous",
    "(not set)", "[object object]",
    "00000000-0000-0000-0000-000000000000",
})  # fmt: skip
"""Texts that stand for no unit, in lower case."""

# with a sign: hexadecimal ids such as 1e52 are none
_SCIENTIFIC = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d+")
_DECIMAL = re.compile(r"\d+\.0+")

DAMAGES = ("placeholders", "scientific notation", "numbers as decimals", "spaces around them")
"""What may have happened to a unit's id, the first that applies."""


def damage_of(unit: str) -> str | None:
    """The one of DAMAGES that a unit's id shows by itself; None where it looks sound."""
    text = unit.strip()
    if text.lower() in PLACEHOLDERS:
        return "placeholders"
    if text != unit:
        return "spaces around them"
    if _SCIENTIFIC.fullmatch(text):
        return "scientific notation"
    return "numbers as decimals" if _DECIMAL.fullmatch(text) else None


def dimension_value(name: str, value: object) -> str:
    """A dimension's value as a label: a short text (it may be empty), an integer or a boolean.

    Raises:
        EventError: anything else.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) <= NUMBER_BOUND:
        return str(value)
    fault = text_fault(value, VALUE_LENGTH, shortest=0)
    if fault is None and isinstance(value, str):
        return value
    raise EventError(
        str(fault) if isinstance(value, str) else f"not a short text, integer or boolean: {shown(value)}",
        field=f"dimensions.{name}",
        value=value,
        fix=f"send a label of at most {VALUE_LENGTH} characters",
    )


def number(value: object, *path: str) -> int | float:
    """A finite number within NUMBER_BOUND; `path` is the field's. Raises EventError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= NUMBER_BOUND:
        return value  # NaN fails the comparison
    raise EventError(
        f"not a finite number of at most 1e15: {shown(value)}",
        field=".".join(path),
        value=value,
        fix="send a number",
    )


def covariate_value(name: str, value: object) -> float:
    """What was known of a unit before, as a number. Raises EventError."""
    return float(number(value, "covariates", name))


def shown(value: object) -> str:
    """At most 60 characters of the value, safe to print."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return f"an integer of {value.bit_length()} bits"  # str() refuses beyond 4,300 digits
    text = ascii(value) if isinstance(value, str | int | float) or value is None else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


_T = TypeVar("_T")


def exposure_id(experiment: str, epoch: int, unit: str) -> str:
    """The id of a unit's exposure: a unit is exposed once per epoch, whoever reports it, however often."""
    return "x:" + sha256(f"x:{experiment}:{epoch}:{unit}".encode()).hexdigest()[:32]


def dimension_values(dimensions: Sequence[str], attributes: Mapping[str, Any]) -> dict[str, str]:
    """The definition's dimensions as found in the attributes; what the events door refuses is left out."""
    return _readable(dimensions, attributes, dimension_value)


def covariate_values(definition: Experiment, attributes: Mapping[str, Any]) -> dict[str, float]:
    """The numbers the definition's metrics read as covariates, as found in the attributes; what is no
    number is left out."""
    names = (name for metric in definition.metrics if metric.covariate for name in metric.covariate.names)
    return _readable(names, attributes, covariate_value)


def _readable(
    names: Iterable[str], attributes: Mapping[str, Any], read: Callable[[str, object], _T]
) -> dict[str, _T]:
    values: dict[str, _T] = {}
    for name in names:
        if name in attributes:
            try:  # every assignment comes by here: `suppress` would cost as much as the hash
                values[name] = read(name, attributes[name])
            except EventError:
                continue
    return values


def exposure_event(
    assignment: Assignment,
    unit: str,
    *,
    at: int,
    dimensions: Mapping[str, str],
    covariates: Mapping[str, float],
    served: str | None = None,
    cause: str | None = None,
) -> Event:
    """The event that says this unit met this variant (or, with `served` and `cause`, another one instead).

    Raises:
        BadInput: the unit is not enrolled, and such units are never exposed.
    """
    if not assignment.enrolled or assignment.segment is None or assignment.propensity is None:
        raise BadInput(
            f"unit is not enrolled ({assignment.reason})",
            field="assignment",
            value=assignment.experiment,
            fix="expose enrolled units only",
        )
    return Event(
        id=exposure_id(assignment.experiment, assignment.epoch, unit),
        type="exposure",
        unit=unit,
        at=at,
        exposure=Exposure(
            experiment=assignment.experiment,
            variant=assignment.variant,
            segment=assignment.segment,
            epoch=assignment.epoch,
            revision=assignment.revision,
            propensity=assignment.propensity,
            served=assignment.variant if served is None else served,
            cause=cause,
            dimensions=dict(dimensions),
            covariates=dict(covariates),
        ),
    )
