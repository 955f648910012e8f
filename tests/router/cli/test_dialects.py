"""Two hundred ways in which spreadsheets write one table: each is read right or asked about, never misread."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.frame import evidence_of
from switchpoint.experiment.definition.types import Spec
from switchpoint.experiment.errors import BadInput, plainly
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.router.tables import read_tables

TABLES = 200
SPEC = load_spec("""
metrics:
  - {key: revenue, type: mean, role: primary, event: buy, value: amount, decimals: 2}
  - {key: buyers, type: proportion, event: buy}
  - {key: visits, type: mean, event: visit}
decision: {design: fixed, alpha: 0.05, power: 0.8, mde: 10%, min_runtime: 7d, max_runtime: 42d, evidence: randomised}
source:
  shape: units
  variant: Variante
  control: Köln
  unit: Kunde
  day: Tag
  segment: Land
  columns: {revenue: Umsatz, buyers: gekauft, visits: Besuche}
""")
_WORDS = {
    "digits": ("0", "1"), "yes": ("no", "yes"), "Y": ("N", "Y"), "t": ("f", "t"), "TRUE": ("FALSE", "TRUE"),
    "ja": ("nein", "ja"), "oui": ("non", "oui"), "wahr": ("FALSCH", "WAHR"),
}  # fmt: skip
_DATES: dict[str, Callable[[date], str]] = {
    "iso": date.isoformat,
    "slashes": lambda d: f"{d.year}/{d.month}/{d.day}",
    "dots": lambda d: f"{d.day:02}.{d.month:02}.{d.year}",
    "short dots": lambda d: f"{d.day}.{d.month}.{d.year}",
    "british": lambda d: f"{d.day:02}/{d.month:02}/{d.year}",
    "american": lambda d: f"{d.month}/{d.day}/{d.year}",
    "named": lambda d: f"{d:%d-%b-%Y}",
    "joined": lambda d: f"{d:%Y%m%d}",
    "seconds": lambda d: str(_seconds(d)),
    "milliseconds": lambda d: str(_seconds(d) * 1000),
    "serial": lambda d: str((d - date(1899, 12, 30)).days),
}
_FORMS = {"british": "%d/%m/%Y", "american": "%m/%d/%Y"}
_DIRT: dict[str, Callable[[str, int], str]] = {
    "clean": lambda name, _: name,
    "spaces": lambda name, row: name + " " * (row % 3 == 1),
    "case": lambda name, row: name.upper() if row % 4 == 3 else name,
    "padded": lambda name, _: f" {name}",
}


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


@dataclass(frozen=True, kw_only=True)
class Written:
    """How a table is written into a file."""

    separator: str
    decimal: str
    thousands: str
    unit: str
    encoding: str
    dates: str
    words: str
    dirt: str
    quoted: bool
    hint: bool

    def number(self, cents: int) -> str:
        text = f"{cents // 100:,}.{cents % 100:02}"
        if cents % 100 == 0 and cents % 3 == 0:
            text = f"{cents // 100:,}"
        return text.translate({ord(","): self.thousands, ord("."): self.decimal}) + self.unit

    def cell(self, text: str) -> str:
        quoted = self.quoted or self.separator in text or '"' in text
        return f'"{text}"' if quoted else text

    def file(self, rows: list[dict[str, Any]]) -> bytes:
        dirty = _DIRT[self.dirt]
        lines = [["Kunde", "Variante", "Tag", "Land", "Umsatz", "gekauft", "Besuche"]]
        for place, row in enumerate(rows):
            lines.append([
                row["Kunde"], dirty(row["Variante"], place), _DATES[self.dates](row["Tag"]),
                dirty(row["Land"], place + 1), self.number(row["Umsatz"]), _WORDS[self.words][row["gekauft"]],
                f"{row['Besuche']:,}".replace(",", self.thousands),
            ])  # fmt: skip
        text = f"sep={self.separator}\r\n" if self.hint else ""
        text += "".join(self.separator.join(map(self.cell, line)) + "\r\n" for line in lines)
        return text.encode(self.encoding)


def ways(rng: random.Random) -> Written:
    decimal = rng.choice(".,")
    return Written(
        separator=rng.choice(",;\t|"), decimal=decimal,
        thousands=rng.choice(["", {".": ",", ",": "."}[decimal], " ", "\N{NO-BREAK SPACE}", "'"]),
        unit=rng.choice(["", "", " €", "$"]), encoding=rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
        dates=rng.choice(list(_DATES)), words=rng.choice(list(_WORDS)), dirt=rng.choice(list(_DIRT)),
        quoted=rng.random() < 0.3, hint=rng.random() < 0.15,
    )  # fmt: skip


def table(rng: random.Random) -> list[dict[str, Any]]:
    """Few rows leave much open, many say all."""
    start, size = date(2026, rng.randint(1, 12), rng.randint(1, 28)), rng.choice([4, 6, 12, 40])
    return [
        {
            "Kunde": f"{place:04}", "Variante": ["Köln", "Bonn"][place % 2], "Land": rng.choice(["US", "España"]),
            "Tag": start + timedelta(days=rng.randint(0, 20)), "Umsatz": rng.choice([5, 250, 99_999, 1_234_500]) * rng.randint(1, 9),
            "gekauft": rng.randint(0, 1), "Besuche": rng.choice([1, 20, 1_500]) * rng.randint(1, 4),
        }
        for place in range(size)
    ]  # fmt: skip


def typed(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**row, "Umsatz": row["Umsatz"] / 100} for row in rows])


def integers(evidence: Evidence) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Every sum of every cell by the names of its place; a name written in capitals throughout is that name."""
    cells, (subject,) = evidence.cells, evidence.subjects
    places = zip(cells.stratum, cells.variant, cells.day, strict=True)
    sums = [np.asarray(part) for total in cells.totals for part in (total.n, total.x, total.xx)]
    return {
        (plainly(subject.strata[s].segment), plainly(subject.variants[v]), int(d)): tuple(
            int(part[row]) for part in sums
        )
        for row, (s, v, d) in enumerate(places)
    }


def answered(spec: Spec, error: BadInput, way: Written) -> Spec:
    """The spec with what was asked for; fails where nothing was."""
    source = spec.source
    assert source is not None
    if "`decimal:" in error.fix:
        return replace(spec, source=replace(source, decimal=way.decimal))
    if "`date_format:" in error.fix:
        return replace(spec, source=replace(source, date_format=_FORMS[way.dates]))
    assert "`labels: tidy`" in error.fix or "did you mean" in error.fix, error
    return replace(spec, source=replace(source, labels="tidy"))


@pytest.mark.parametrize("seed", range(TABLES))
def test_a_table_is_read_as_it_was_meant_or_asked_about(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    way, rows = ways(rng), table(rng)
    (tmp_path / "t.csv").write_bytes(way.file(rows))
    spec, expected = SPEC, integers(evidence_of(typed(rows), SPEC))
    for _ in range(4):
        try:
            found, _, _ = read_tables(str(tmp_path / "t.csv"), spec)
            read = evidence_of(found, spec)
        except BadInput as error:
            spec = answered(spec, error, way)
            continue
        assert integers(read) == expected, way
        return
    pytest.fail(f"asked again and again: {way}")


def test_most_tables_are_read_without_a_question(tmp_path: Path) -> None:
    asked = 0
    for seed in range(TABLES):
        rng = random.Random(seed)
        way, rows = replace(ways(rng), dirt="clean"), table(rng)
        (tmp_path / "t.csv").write_bytes(way.file(rows))
        try:
            read_tables(str(tmp_path / "t.csv"), SPEC)
        except BadInput:
            asked += 1
    assert asked < TABLES / 10
