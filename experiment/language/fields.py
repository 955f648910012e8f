"""Typed reading of plain values, with every problem collected under its path, file and line.

A reader is a function `Place -> T` that raises DefinitionError. `Fields` reads a mapping key by key and
`each` a list item by item; both record the errors of their parts and go on, so that one run of `validate`
shows all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, NoReturn, TypeVar, cast

from switchpoint.experiment.definition.types import BUCKETS
from switchpoint.experiment.errors import DefinitionError
from switchpoint.experiment.wording import Lines, Path, dotted, show, suggest

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_PERCENT = re.compile(r"([-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s?%")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


class DefinitionErrors(DefinitionError):
    """Everything wrong with one file, in the order of its lines; the attributes are those of the first."""

    def __init__(self, errors: Iterable[DefinitionError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: error.line))
        first = self.errors[0]
        super().__init__(
            first.message,
            field=first.field,
            value=first.value,
            fix=first.fix,
            file=first.file,
            line=first.line,
        )

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Recorded(Exception):
    """Unwinds a block whose errors are already in `Problems`."""


@dataclass(slots=True)
class Problems:
    """The errors found so far in one file, and where its values stand."""

    file: str
    lines: Lines
    errors: list[DefinitionError] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of the value at `path`, or of the nearest block around it; 0 without a file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def run(self, read: Callable[[Place], T], place: Place) -> T:
        """The value, or DefinitionErrors with everything that was found."""
        try:
            value = read(place)
        except Recorded:
            raise DefinitionErrors(self.errors) from None
        except DefinitionError as error:
            raise DefinitionErrors([*self.errors, error]) from None
        if self.errors:
            raise DefinitionErrors(self.errors)
        return value


@dataclass(frozen=True, slots=True)
class Place:
    """A value together with where it stands."""

    value: Any
    path: Path
    problems: Problems

    def child(self, part: str | int) -> Place:
        """The place of a key or item of this value (which must have it)."""
        return Place(self.value[part], (*self.path, part), self.problems)

    def error(self, message: str, fix: str, *below: str | int) -> DefinitionError:
        """An error at this place, or at a path below it."""
        path = (*self.path, *below)
        return DefinitionError(
            message,
            field=dotted(path),
            value=self.value,
            fix=fix,
            file=self.problems.file,
            line=self.problems.line(path),
        )

    def fail(self, message: str, fix: str) -> NoReturn:
        """Raise an error at this place."""
        raise self.error(message, fix)

    def record(self, message: str, fix: str, *below: str | int) -> None:
        """Note an error and go on."""
        self.problems.errors.append(self.error(message, fix, *below))

    def attempt(self, read: Callable[[Place], T]) -> T:
        """Read; on an error record it and raise Recorded."""
        try:
            return read(self)
        except DefinitionError as error:
            self.problems.errors.append(error)
            raise Recorded from None


class Fields:
    """The keys of one mapping. Values may be used only after `done()`, which stops if any was wrong."""

    def __init__(self, place: Place, known: Iterable[str]) -> None:
        self.place = place
        self._failed = False
        self._known = tuple(known)
        if not isinstance(place.value, dict):
            place.fail(f"{show(place.value)} is not a mapping", f"write keys: {', '.join(self._known)}.")
        for key in place.value:
            if key not in self._known:
                self.record(f"unknown key {key!r}", suggest(key, self._known), key)

    def record(self, message: str, fix: str, *below: str | int) -> None:
        """Note an error of this mapping."""
        self.place.record(message, fix, *below)
        self._failed = True

    def has(self, name: str) -> bool:
        """Whether the key is there with a value other than null."""
        return self.place.value.get(name) is not None

    def need(self, name: str, read: Callable[[Place], T], example: str) -> T:
        """The value of a required key."""
        if not self.has(name):
            self.record(f"{name!r} is missing", f"add `{name}: {example}`.")
            return cast("T", None)  # never used: `done` stops first
        return self._read(name, read)

    def take(self, name: str, read: Callable[[Place], T], default: T) -> T:
        """The value of an optional key."""
        return self._read(name, read) if self.has(name) else default

    def _read(self, name: str, read: Callable[[Place], T]) -> T:
        try:
            return self.place.child(name).attempt(read)
        except Recorded:
            self._failed = True
            return cast("T", None)  # never used: `done` stops first

    @property
    def failed(self) -> bool:
        """Whether any key was wrong so far."""
        return self._failed

    def done(self) -> None:
        """Stop reading this block if anything in it was wrong."""
        if self._failed:
            raise Recorded


def each(place: Place, read: Callable[[Place], T]) -> tuple[T, ...]:
    """The items of a list; all of them are tried before stopping."""
    if not isinstance(place.value, list):
        place.fail(f"{show(place.value)} is not a list", "write a list: one item per line after `- `.")
    found: list[T] = []
    failed = False
    for index in range(len(place.value)):
        try:
            found.append(place.child(index).attempt(read))
        except Recorded:
            failed = True
    if failed:
        raise Recorded
    return tuple(found)


def unique(place: Place, keys: list[str], noun: str) -> None:
    """Record every key that stands in the list before."""
    for index, found in enumerate(keys):
        if found in keys[:index]:
            place.record(f"a second {noun} {found!r}", "rename or remove it.", index)


def key(place: Place) -> str:
    """An identifier: letters, digits, `.`, `_`, `-`; at most 64; used in URLs, Redis keys and hash seeds."""
    value = text(place)
    if not _KEY.fullmatch(value):
        place.fail(
            f"{show(value)} is not a key", "use letters, digits, '.', '_', '-', at most 64, no leading sign."
        )
    return value


def name(place: Place) -> str:
    """An attribute name without dots."""
    value = text(place)
    if not _NAME.fullmatch(value):
        place.fail(f"{show(value)} is not an attribute name", "use letters, digits, '_', '-'; no dots.")
    return value


def text(place: Place) -> str:
    """Text of 1..2000 characters."""
    value = place.value
    if not isinstance(value, str):
        place.fail(f"{show(value)} is not text", f'quote it: "{value}".')
    if not value.strip() or len(value) > 2_000:
        place.fail("text must have 1 to 2000 characters", "shorten or fill it.")
    return value


def mapping_of(read: Callable[[Place], T]) -> Callable[[Place], dict[str, T]]:
    """A reader of a mapping with any keys whose values are all read by `read`."""

    def reader(place: Place) -> dict[str, T]:
        if not isinstance(place.value, dict) or not place.value:
            place.fail(f"{show(place.value)} is not a mapping", "write `name: value` pairs.")
        fields = Fields(place, place.value)
        found = {part: fields.need(part, read, "...") for part in place.value}
        fields.done()
        return found

    return reader


def choice(kind: type[E]) -> Callable[[Place], E]:
    """A reader of one member of an enumeration."""

    def reader(place: Place) -> E:
        options = [member.value for member in kind]
        if place.value not in options:
            place.fail(f"{show(place.value)} is not accepted", suggest(str(place.value), options))
        return kind(place.value)

    return reader


def number(place: Place) -> Decimal:
    """A finite number, exactly as written."""
    value = place.value
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        place.fail(f"{show(value)} is not a number", "write a number.")
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or abs(exact) > Decimal(10) ** 18:
        place.fail(f"{show(value)} is not a finite number", "write a number below 1e18.")
    return exact


def whole(place: Place) -> int:
    """An integer."""
    exact = number(place)
    if exact != exact.to_integral_value():
        place.fail(f"{show(place.value)} is not a whole number", "drop the fraction.")
    return int(exact)


def fraction(place: Place) -> Decimal:
    """A number, or a percentage as a fraction (`5%` → 0.05)."""
    percent = _percent(place.value)
    return number(place) if percent is None else percent


def _percent(value: object) -> Decimal | None:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return Decimal(match[1]) / 100 if match else None


def share(place: Place) -> int:
    """A share in ten-thousandths, exact: `100%`, `0.3333`, `33.33%`."""
    exact = fraction(place)
    if not 0 <= exact <= 1:
        bare = _percent(place.value) is None  # 20 was meant as 20%; 120% was not meant as 1.2%
        hint = (
            f"write {exact}% or {exact / 100}."
            if bare and 1 < exact <= 100
            else "write 0% to 100%, or 0 to 1."
        )
        place.fail(f"{show(place.value)} is not a share", hint)
    scaled = exact * BUCKETS
    if scaled != scaled.to_integral_value():
        place.fail(f"{show(place.value)} is finer than 0.01 %", "round to four decimals.")
    return int(scaled)


def duration(place: Place) -> int:
    """A positive duration in milliseconds: `7d`, `12h`, `30m`, `8w`."""
    match = _DURATION.fullmatch(place.value) if isinstance(place.value, str) else None
    if not match or int(match[1]) == 0:
        place.fail(f"{show(place.value)} is not a duration", "write a number and a unit: 7d, 12h, 30m, 8w.")
    return int(match[1]) * _MS[match[2]]


def days(place: Place) -> int:
    """A duration of whole days: `14d`, `8w`."""
    ms = duration(place)
    if ms % _MS["d"] or ms > 3_650 * _MS["d"]:
        place.fail(f"{show(place.value)} is not a number of whole days", "write 14d or 8w, at most 3650d.")
    return ms // _MS["d"]


def show_duration(ms: int) -> str:
    """The exact text of a duration in its largest unit up to days."""
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if ms % _MS[unit] == 0)
    return f"{ms // _MS[unit]}{unit}"
