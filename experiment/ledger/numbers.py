"""Numbers in the columns of somebody else's table, however its country and its spreadsheet write them.

A column has one notation, told by its source or read off all its texts together: `1.234` alone may be 1.234
or 1234, beside `12,5` it can only be 1234. What stays open is asked for, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from switchpoint.experiment.definition.source import DECIMAL_SIGNS
from switchpoint.experiment.errors import BadInput, show

MISSING = frozenset(
    {"", "#n/a", "#div/0!", "#n/a n/a", "#na", "n/a", "na", "nan", "-nan", "null", "none", "-", "–"}
)
"""Cells (in lower case, without white space around them) that hold no number."""
_TRUE = ("true", "t", "yes", "y", "ja", "j", "oui", "si", "sí", "sim", "wahr", "vrai", "on")
_FALSE = ("false", "f", "no", "n", "nein", "non", "não", "falsch", "faux", "off")
TRUTHS: Mapping[str, int] = dict.fromkeys(_TRUE, 1) | dict.fromkeys(_FALSE, 0)
"""Words for 1 and 0, in lower case."""
_GROUPING = {sign: re.escape(other) for sign, other in (DECIMAL_SIGNS, DECIMAL_SIGNS[::-1])}
_MONEY = (
    r"US\$|R\$|A\$|C\$|[$€£¥₹₩₽฿₺₴]|USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|BRL|CAD|AUD|MXN|"
    r"kr\.?|zł|Kč|Ft|SFr\.?|Fr\.?|Rs\.?"
)
# a number with what people put around it: -€ 1.234,50   (12.50)   3,5 %   1 234 kr
_CELL = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+−–])?\s*(?P<before>{_MONEY})?\s*(?P<second>[-+−–])?\s*"
    r"(?P<digits>[\d.,](?:[\d.,'’_\s]*[\d.,])?)(?P<power>[eE][-+]?\d+)?\s*"
    rf"(?P<after>{_MONEY}|%)?\s*(?P<close>\))?"
)
# the other sign groups digits by three; so do spaces of all kinds, apostrophes and underscores anywhere
_DIGITS = {
    sign: re.compile(
        rf"(?:\d+|[1-9]\d{{0,2}}(?:(?:{other}\d{{3}})+|(?:[\s'’_]\d{{3}})+))?(?:{re.escape(sign)}\d*)?"
    )
    for sign, other in _GROUPING.items()
}
_GROUPS = re.compile(r"[\s'’_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """How one column writes numbers.

    `decimal` is the decimal sign (None: no value tells, so either reads all of them alike); `per_cent`: every
    number has a % behind it; `words`: the column says yes and no; `money` is the one sign of a currency.
    """

    decimal: str | None = None
    per_cent: bool = False
    words: bool = False
    grouped: bool = False
    money: str | None = None

    def number(self, text: str) -> int | float | None:
        """What a cell says; None for a missing value. Raises ValueError for what is no number."""
        plain = text.strip()
        if plain.lower() in MISSING:
            return None
        if self.words and (truth := TRUTHS.get(plain.lower())) is not None:
            return truth
        cell = _cell(plain)
        digits = None if cell is None else cell.number(self.decimal or DECIMAL_SIGNS[0])
        if cell is None or digits is None:
            raise ValueError(f"{show(text)} is not a number")
        if digits and not cell.per_cent and self.per_cent:  # a 0 is 0 in per cent too
            raise ValueError(f"{show(text)} is not in per cent, others are")
        if cell.money not in {None, self.money}:
            raise ValueError(f"{show(text)} is in another currency than {self.money}")
        return float(Decimal(repr(digits)).scaleb(-2)) if self.per_cent else digits

    def said(self) -> tuple[str, ...]:
        """What a reader has to know about how the column was read; nothing of plain numbers."""
        parts = (
            ("decimal comma", self.decimal == ","),
            ("digits grouped by thousands", self.grouped),
            (f"amounts in {self.money}", self.money is not None),
            ("per cent as shares (3 % is 0.03)", self.per_cent),
            ("words for yes and no as 1 and 0", self.words),
        )
        return tuple(text for text, there in parts if there)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """A cell taken apart: its digits as written, and what stands around them."""

    negative: bool
    digits: str
    power: str
    money: str | None
    per_cent: bool

    def number(self, decimal: str) -> int | float | None:
        """Its number, were this the decimal sign; None where it cannot be."""
        if not _DIGITS[decimal].fullmatch(self.digits):
            return None
        other = DECIMAL_SIGNS[decimal == DECIMAL_SIGNS[0]]
        plain = _GROUPS.sub("", self.digits.replace(other, "")).replace(decimal, ".")
        if plain == ".":
            return None
        size = float(plain + self.power) if "." in plain or self.power else int(plain)
        return -size if self.negative else size

    @property
    def grouped(self) -> bool:
        """Whether anything groups its digits for certain."""
        return bool(_GROUPS.search(self.digits))


def _cell(plain: str) -> _Cell | None:
    """The parts of a cell; None for what holds no number."""
    match = _CELL.fullmatch(plain)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    signs = [sign for sign in (match["sign"], match["second"], match["open"]) if sign]
    after = match["after"]
    if len(signs) > 1 or (match["before"] and after and after != "%"):
        return None
    return _Cell(
        negative=bool(signs) and signs[0] != "+",
        digits=match["digits"],
        power=match["power"] or "",
        money=match["before"] or (None if after == "%" else after),
        per_cent=after == "%",
    )


def numbers_of(columns: Mapping[str, Iterable[str]], decimal: str | None = None) -> dict[str, Numbers]:
    """The notation of every column of numbers of a table, from its distinct texts.

    Args:
        columns: the texts by column; what is no number at all is left to the reader of its row.
        decimal: the decimal sign, where the source says it.

    Raises:
        BadInput: a column that can be read in two ways, or is written in two.
    """
    cells = {name: _cells(texts) for name, texts in columns.items()}
    signs = {name: decimal or _sign(name, own) for name, (own, _) in cells.items()}
    # a table is written in one country: what one column leaves open, another one may say
    told = {sign for sign in signs.values() if sign in DECIMAL_SIGNS}
    return {
        name: _notation(name, own, _settled(name, signs[name], told, own), words=words)
        for name, (own, words) in cells.items()
    }


def _cells(texts: Iterable[str]) -> tuple[dict[str, _Cell], bool]:
    """The cells that hold digits, by their text, and whether all others that say anything are words."""
    plain = [text.strip() for text in texts]
    known = {text: cell for text in plain if (cell := _cell(text)) is not None}
    rest = [text for text in plain if text not in known and text.lower() not in MISSING]
    words = bool(rest) and all(text.lower() in TRUTHS for text in rest)
    return known, words


_OPEN = "?"
"""A column that either decimal sign reads, with another meaning."""


def _sign(name: str, cells: Mapping[str, _Cell]) -> str | None:
    """The decimal sign of a column; None where it makes no difference, `_OPEN` where only it would tell."""
    only: dict[str, str] = {}
    is_open = False
    for text, cell in cells.items():
        point, comma = (cell.number(sign) for sign in DECIMAL_SIGNS)
        if point is not None and comma is not None:
            is_open |= point != comma
        elif point is not None or comma is not None:
            only.setdefault(DECIMAL_SIGNS[point is None], text)
    if len(only) > 1:
        raise BadInput(
            f"numbers are written in two ways: {show(only['.'])} and {show(only[','])}",
            field=f"column {name}", fix="write all of them alike.",
        )  # fmt: skip
    return next(iter(only), _OPEN if is_open else None)


def _settled(name: str, sign: str | None, told: Collection[str], cells: Mapping[str, _Cell]) -> str | None:
    """The decimal sign that holds; raises BadInput where nothing tells it."""
    if sign != _OPEN:
        return sign
    if len(told) == 1:
        return next(iter(told))
    example = next(text for text, cell in cells.items() if cell.number(".") != cell.number(","))
    point, comma = (cells[example].number(mark) for mark in DECIMAL_SIGNS)
    raise BadInput(
        f"{show(example)} may be {point} or {comma}, and no other number tells which",
        field=f"column {name}", value=example, fix="write `decimal: '.'` or `decimal: ','` in the source.",
    )  # fmt: skip


def _notation(name: str, cells: Mapping[str, _Cell], decimal: str | None, *, words: bool) -> Numbers:
    signs = {cell.money for cell in cells.values()} - {None}
    if len(signs) > 1:
        raise BadInput(
            f"amounts in several currencies: {', '.join(sorted(filter(None, signs)))}",
            field=f"column {name}", fix="convert them to one before they are compared.",
        )  # fmt: skip
    grouped = any(
        cell.grouped or DECIMAL_SIGNS[decimal == "."] in cell.digits for cell in cells.values() if decimal
    )
    return Numbers(
        decimal=decimal,
        per_cent=any(cell.per_cent for cell in cells.values()),
        words=words and all(cell.digits in {"0", "1"} for cell in cells.values()),
        grouped=grouped or any(cell.grouped for cell in cells.values()),
        money=next(iter(signs), None),
    )


def missing(value: object) -> bool:
    """Whether a cell holds nothing: None, or NaN, the one value that does not equal itself."""
    return value is None or value != value  # noqa: PLR0124


def number_of(value: object) -> int | float:
    """A finite number; raises ValueError for text, a missing value, NaN or infinity."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        if not isfinite(value):
            raise ValueError(f"{value} is not a number")
        return float(value)
    raise ValueError("a missing value" if value is None else f"{show(value)} is not a number")


def count_of(value: object) -> int:
    """A whole number of at least 0; raises ValueError for anything else."""
    number = number_of(value)
    if number < 0:
        raise ValueError(f"{number} is negative")
    if number != int(number):
        raise ValueError(f"{number} is not a whole number")
    return int(number)
