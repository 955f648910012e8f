"""Times in the columns of somebody else's table: dates of any country, periods, epochs, spreadsheet serials.

A column has one way of writing them, told by its source or read off all its values together: `03/08/2026`
alone may be in March or in August, beside `25/12/2025` it is in August. What stays open is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import BadInput, show

Moment = tuple[int, int]
"""Milliseconds since 1970 UTC, and how many days the value stands for: 1, or the fewest of its period."""
DAY, WEEK, MONTH, QUARTER = 1, 7, 28, 90
PERIODS = {DAY: "days", WEEK: "weeks", MONTH: "months", QUARTER: "quarters"}
"""Periods by the days they have at least."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SERIAL_START_MS = -25_569 * DAY_MS
"""30 December 1899, from which spreadsheets count days."""
_SERIALS = (20_000, 80_000)
"""Spreadsheets' days that are read as dates: 1954 to 2119."""
_SECONDS, MILLISECONDS = (10**9, 10**11), (10**11, 10**13)
_FINER = {16: 1_000, 19: 1_000_000}
"""Digits of micro- and nanoseconds since 1970, and how many of them are a millisecond."""
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR, _MONTH, _DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
_NAME = rf"(?P<name>{'|'.join(_NAMES)})[a-z]*\.?"
_CLOCK = (
    r"(?:(?:,?\s+|T)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"\s*(?P<half>[ap]m)?\s*(?:z|utc|gmt)?)?"
)


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_DAY_FIRST = _form(rf"{_DAY}(?P<mark>[-/.])\s?{_MONTH}(?P=mark)\s?{_YEAR}{_CLOCK}")
_MONTH_FIRST = _form(rf"{_MONTH}(?P<mark>[-/]){_DAY}(?P=mark){_YEAR}{_CLOCK}")
_PLAIN = (
    _form(rf"{_YEAR}(?P<mark>[-/.]){_MONTH}(?P=mark){_DAY}{_CLOCK}"),
    _form(rf"{_DAY}[-\s./]+{_NAME}[-\s,./]+{_YEAR}{_CLOCK}"),
    _form(rf"{_NAME}\s+{_DAY}(?:st|nd|rd|th)?,?\s+{_YEAR}{_CLOCK}"),
)
"""Dates that say themselves which part is the month."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WEEKS = _form(rf"{_YEAR}[-\s]?W(?P<week>\d{{2}})")
_MONTHS = tuple(
    map(
        _form,
        (
            rf"{_YEAR}[-/.]{_MONTH}",
            rf"{_MONTH}[-/.]{_YEAR}",
            rf"{_NAME}[-\s]{_YEAR}",
            rf"{_YEAR}[-\s]{_NAME}",
        ),
    )
)
_QUARTERS = (_form(rf"{_YEAR}[-/\s]?Q(?P<quarter>[1-4])"), _form(rf"Q(?P<quarter>[1-4])[-/\s]?{_YEAR}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How one column writes times.

    `day_first`: whether 03/08/2026 is in August (None: no value tells, so there is none of this form, or it
    makes no difference). `months`: whether 202603 is a month, not the third week. `form`: of `strptime`, what
    the source says; ISO dates are read beside it.
    """

    day_first: bool | None = None
    months: bool = False
    form: str | None = None

    def instant(self, value: object) -> Moment:
        """A time as milliseconds and the days it stands for. Raises ValueError for anything else.

        Accepts dates and times of Python, ISO 8601 (without zone: UTC), `2026/3/8`, `8 Mar 2026`, what the
        column's notation says of `08.03.2026` and `03/08/2026`; `2026-W10`, `2026-03`, `2026-Q1` and the same
        as `Mar 2026` or `Q1 2026`, read as their first day; integers `YYYYMMDD`, `YYYYWW` (week 00-53 as `%W`
        counts: week 01 starts with the year's first Monday), seconds, milliseconds, micro- and nanoseconds
        since 1970; days of a spreadsheet (45000 is 15 March 2023), also with a fraction.
        """
        if isinstance(value, str):
            return self._text(value.strip())
        if isinstance(value, int) and not isinstance(value, bool):
            moment = None if self.form is None else _formatted(str(value), self.form)
            return moment or self._number(value)
        if isinstance(value, float) and isfinite(value):
            return self._number(value)
        if isinstance(value, date):
            return _ms(value), DAY
        raise ValueError("a missing value" if value is None else f"{show(value)} is not a time")

    def said(self) -> tuple[str, ...]:
        """What a reader has to know about how the column was read; nothing of plain times."""
        if self.form is not None:
            return (f"dates as {self.form}",)
        if self.months:
            return ("202603 as a month",)
        order = {True: "the day first (08.03. is in March)", False: "the month first (08/03 is in August)"}
        return () if self.day_first is None else (f"dates with {order[self.day_first]}",)

    def _text(self, text: str) -> Moment:
        if self.form is not None and (moment := _formatted(text, self.form)) is not None:
            return moment
        if (moment := _period(text)) is not None:
            return moment
        if _NUMBER.fullmatch(text):
            return self._number(int(text) if text.isdigit() else float(text))
        try:
            return _ms(datetime.fromisoformat(re.sub(r"\s*(?:UTC|GMT)$", "Z", text))), DAY
        except ValueError:
            pass
        for form in _PLAIN:
            if (match := form.fullmatch(text)) is not None:
                return _ms(_dated(match, text)), DAY
        orders = {True: _read(_DAY_FIRST, text), False: _read(_MONTH_FIRST, text)}
        if self.day_first is None and orders[True] != orders[False]:
            orders = {}
        when = orders.get(self.day_first is not False)
        if when is None or self.form is not None:
            raise ValueError(
                f"{show(text)} is not a time such as 2026-03-01 or 2026-03-01T12:00:00Z, nor is another form "
                "of it named by `date_format`"
            )
        return _ms(when), DAY

    def _number(self, value: float) -> Moment:
        for (least, most), scale, start in (
            (_SERIALS, DAY_MS, _SERIAL_START_MS), (_SECONDS, 1_000, 0), (MILLISECONDS, 1, 0),
        ):  # fmt: skip
            if least <= value < most:
                return start + round(value * scale), DAY
        whole, digits = int(value), len(str(int(value)))
        if whole != value:
            raise ValueError(f"{value} is not a time")
        if (finer := _FINER.get(digits)) is not None:
            return whole // finer, DAY
        if digits == 6 and whole % 100 <= 53:
            year, part = divmod(whole, 100)
            if self.months:
                return _ms(_day(year, part, 1, value)), MONTH
            return _ms(datetime.strptime(f"{whole} 1 +0000", "%Y%W %w %z")), WEEK
        if digits == 8:
            return _ms(_day(whole // 10_000, whole // 100 % 100, whole % 100, value)), DAY
        if digits == 14:
            return _ms(datetime.strptime(f"{whole} +0000", "%Y%m%d%H%M%S %z")), DAY
        raise ValueError(f"{value} is neither YYYYMMDD, YYYYWW nor seconds or milliseconds since 1970")


PLAIN = Times()


def times_of(column: str, values: Iterable[Any], form: str | None = None) -> Times:
    """How a column writes times, from its distinct values; `form` is what the source says (strptime).

    Raises:
        BadInput: day and month, or month and week, cannot be told apart; or one column has both orders.
    """
    if form is not None:
        return Times(form=form)
    texts = [value.strip() for value in values if isinstance(value, str)]
    whole = {int(v) for v in values if not isinstance(v, str | bool) and isinstance(v, int)}
    whole |= {int(text) for text in texts if text.isascii() and text.isdigit()}
    short = {number for number in whole if len(str(number)) == 6}
    if short and all(1 <= number % 100 <= 12 for number in short):
        raise _ask(column, str(min(short)), "a week or a month", "'%Y%W'", "'%Y%m'")
    only: dict[bool, str] = {}
    is_open = ""
    for text in texts:
        dotted = (match := _DAY_FIRST.fullmatch(text)) is not None and match["mark"] == "."
        day, month = _read(_DAY_FIRST, text), None if dotted else _read(_MONTH_FIRST, text)
        if day is not None and month is not None:
            is_open = is_open or (text if day != month else "")
        elif day is not None or month is not None:
            only.setdefault(day is not None, text)
    if len(only) > 1:
        raise BadInput(
            f"dates are written in two ways: {show(only[True])} and {show(only[False])}",
            field=f"column {column}", fix="write all of them alike.",
        )  # fmt: skip
    if is_open and not only:
        mark = is_open.translate(str.maketrans("", "", "0123456789"))[:1]
        raise _ask(
            column, is_open, "the day or the month first", f"'%d{mark}%m{mark}%Y'", f"'%m{mark}%d{mark}%Y'"
        )
    return Times(day_first=next(iter(only), None))


def _ask(column: str, example: str, what: str, one: str, other: str) -> BadInput:
    return BadInput(
        f"{show(example)} may be {what}, and no other value tells which", field=f"column {column}",
        value=example, fix=f"write `date_format: {one}` or `date_format: {other}` in the source.",
    )  # fmt: skip


def _read(form: re.Pattern[str], text: str) -> datetime | None:
    match = form.fullmatch(text)
    try:
        return None if match is None else _dated(match, text)
    except ValueError:
        return None


def _dated(match: re.Match[str], text: str) -> datetime:
    parts = match.groupdict()
    month = _NAMES.index(parts["name"].lower()) + 1 if parts.get("name") else int(parts["month"])
    day = _day(int(parts["year"]), month, int(parts["day"]), text)
    if parts["hour"] is None:
        return day
    hour, half = int(parts["hour"]), (parts["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(f"{show(text)} is not a time")
        hour = hour % 12 + (12 if half == "pm" else 0)
    part = int((parts["part"] or "0").ljust(6, "0")[:6])
    try:
        return day.replace(
            hour=hour, minute=int(parts["minute"]), second=int(parts["second"] or 0), microsecond=part
        )
    except ValueError:
        raise ValueError(f"{show(text)} is not a time") from None


def _period(text: str) -> Moment | None:
    if (match := _WEEKS.fullmatch(text)) is not None:
        try:
            return _ms(date.fromisocalendar(int(match["year"]), int(match["week"]), 1)), WEEK
        except ValueError:
            raise ValueError(f"{show(text)} is not a week") from None
    for forms, width in ((_MONTHS, MONTH), (_QUARTERS, QUARTER)):
        for form in forms:
            if (match := form.fullmatch(text)) is not None:
                return _ms(_day(int(match["year"]), _month(match.groupdict()), 1, text)), width
    return None


def _month(parts: dict[str, str]) -> int:
    if (quarter := parts.get("quarter")) is not None:
        return 3 * int(quarter) - 2
    name = parts.get("name")
    return int(parts["month"]) if name is None else _NAMES.index(name.lower()) + 1


def _day(year: int, month: int, day: int, value: object) -> datetime:
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{show(value)} is not a day of the calendar") from None


def _formatted(text: str, form: str) -> Moment | None:
    """A text in the form of the source; None for one that is not. Weeks are read as their Monday."""
    weekly = any(mark in form for mark in ("%W", "%U", "%V"))
    try:
        # without a zone it is UTC, as everywhere; `_ms` adds it
        when = datetime.strptime(f"{text} 1" if weekly else text, f"{form} %w" if weekly else form)  # noqa: DTZ007
    except ValueError:
        return None
    return _ms(when), WEEK if weekly else DAY if any(f"%{p}" in form for p in "djcxs") else MONTH


def _ms(when: date) -> int:
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
