"""The tests of the Upworthy archive: verdicts by the rule beside the editor's choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.inference.proportion import wilson
from switchpoint.analysis.report.report import BatchReport
from switchpoint.analysis.results.batch import BatchRow
from switchpoint.experiment.language.experiment import load_spec_file
from switchpoint.experiment.registry.decision import VerdictKind
from switchpoint.experiment.store import tables as table

SPEC = Path("docs/examples/upworthy.yaml")
BROKEN_FROM, BROKEN_TO = "2013-06-24", "2014-01-06"
"""Mondays of the first and last week in which the archive's authors found the randomisation broken."""
_ALL_WORSE = "Every variant is worse than control"


@dataclass(frozen=True, kw_only=True)
class Test:
    """One test: its line of the report, units of the compared pair, CTR per variant, the editor's choice."""

    row: BatchRow
    pair: int
    rates: tuple[float, ...]
    editor: tuple[str, ...]

    @property
    def period(self) -> str:
        """Before, inside or after the window of broken randomisation."""
        day = self.row.first_day or ""
        return "before" if day < BROKEN_FROM else "inside" if day <= BROKEN_TO else "after"

    @property
    def judged(self) -> bool:
        """Units split as intended, so a verdict was reached."""
        return self.row.verdict is not VerdictKind.INVALID

    @property
    def winner(self) -> str | None:
        """The winner by the rule: the promoted variant, or the first where every other one is worse."""
        if self.row.verdict is VerdictKind.KEEP and _ALL_WORSE in self.row.reason:
            return "1"
        return self.row.promoted

    @property
    def information(self) -> float | None:
        """Units of the pair over those the rule asks for."""
        return self.pair / self.row.n_needed if self.row.n_needed else None


def read(path: Path) -> tuple[BatchReport, list[Test]]:
    """Judge the archive and put the editor's choice beside every verdict."""
    spec = load_spec_file(SPEC)
    frame = table.read(path)
    found = analyze(frame, spec)
    assert isinstance(found, BatchReport)
    groups: dict[str, list[tuple[int, int, bool]]] = {}
    columns = [
        frame.column(name).to_pylist() for name in ("clickability_test_id", "impressions", "clicks", "winner")
    ]
    for key, impressions, clicks, winner in zip(*columns, strict=True):
        groups.setdefault(key, []).append((impressions, clicks, winner))
    return found, [_test(row, groups[row.experiment]) for row in found.rows]


def _test(row: BatchRow, variants: Sequence[tuple[int, int, bool]]) -> Test:
    best = int(row.variant or "1") - 1
    return Test(
        row=row,
        pair=variants[0][0] + variants[best][0],
        rates=tuple(clicks / impressions for impressions, clicks, _ in variants),
        editor=tuple(str(place) for place, (_, _, winner) in enumerate(variants, start=1) if winner),
    )


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of tests with its 95 % Wilson interval."""

    count: int
    of: int

    @property
    def bounds(self) -> tuple[float, float]:
        """Wilson's interval."""
        low, high = wilson(self.count, self.of)
        return float(low), float(high)

    def __str__(self) -> str:
        if not self.of:
            return "–"
        low, high = self.bounds
        return f"{self.count:,} of {self.of:,} = {self.count / self.of:.1%} [{low:.1%}, {high:.1%}]"


def share(tests: Iterable[Test], holds: Callable[[Test], object]) -> Share:
    """How many of the tests a condition holds for."""
    found = [bool(holds(test)) for test in tests]
    return Share(count=sum(found), of=len(found))
