"""Planted problems of a live experiment and of ids, and their clean twins; the tables of `worlds` beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from switchpoint.analysis.analyze import Project, analyze_ledger
from switchpoint.analysis.evidence.facts import Backlog
from switchpoint.analysis.evidence.ledger import arrived
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.judgement import Severity
from switchpoint.experiment.definition.types import Segment, Size
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.ledger.fold import Arrivals
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments, Sums
from switchpoint.experiment.registry.lifecycle import revise
from tests.analysis import cases
from tests.analysis.validity.worlds import (
    DAYS,
    METRICS,
    RULE,
    START,
    UNITS,
    Table,
    Twin,
    clean_units,
    judged,
    units,
    with_units,
)

LATER = 100 * cases.DAY
EVEN = {("all", "control"): (20_000, 2000), ("all", "treatment"): (20_000, 2020)}


def live(*, at: int = LATER, days: int = 21, change: Any = None, **more: Any) -> Report:
    """A live experiment of 40,000 units; `change` makes other cells of its cells."""
    moments = cases.counts(EVEN, days=days)
    state = cases.running(cases.definition())
    return analyze_ledger(state, change(moments) if change else moments, at=at, **more)


CALM: Arrivals = {
    ("exposures",): 40_000, ("outcomes", "purchase"): 5_000, ("unexposed", "purchase"): 900,
    ("counted", "shop", "control"): 2_000, ("counted", "shop", "treatment"): 2_020, ("outcomes", "page"): 70,
}  # fmt: skip
"""What a live project without faults counted."""


def counted(reads: Sequence[str] = ("purchase",), **counts: int) -> Report:
    """A live experiment that reads purchases; the counts of what arrived as `CALM` but for those given, by
    name and parts (`early__shop__control`)."""
    table = {("all", "control"): (20_000, 2000), ("all", "treatment"): (20_000, 2020)}
    arrivals = CALM | {tuple(name.split("__")): count for name, count in counts.items()}
    state = cases.running(cases.definition())
    facts = arrived(state.definition, arrivals, reads)
    return analyze_ledger(state, cases.counts(table), at=LATER, project=Project(facts=facts))


def canary(*, broken: bool) -> Report:
    """A canary of 5 % with errors as its guardrail; broken, they are six times as frequent in it."""
    errors = replace(cases.ERRORS, margin=Size(value=0.2, relative=True))
    split = cases.segment("all", 0.95, 0.05)
    state = cases.running(cases.definition(split, metrics=(cases.BUYERS, errors)))
    moments = cases.counts({("all", "control"): (76_000, 7600), ("all", "treatment"): (4000, 410)})
    if broken:
        for key, found in moments.items():
            if key.variant == "treatment":
                sums = found.metrics[1]
                worse = sums._replace(x=6 * sums.x, xx=6 * sums.xx)
                moments[key] = replace(found, metrics=(found.metrics[0], worse))
    return analyze_ledger(state, moments, at=LATER)


def with_fallbacks(moments: Moments) -> Moments:
    return {key: replace(found, fallbacks=found.n // 30) for key, found in moments.items()}


def with_returning(moments: Moments) -> Moments:
    return {key: replace(found, carried=found.n // 40) for key, found in moments.items()}


def two_epochs(second: tuple[int, int]) -> Report:
    """Allocation 50/50, then 80/20 from the second day; units of the second epoch as given."""
    before = cases.definition(cases.segment("all", 0.5, 0.5))
    after = replace(before, segments=(cases.segment("all", 0.8, 0.2),))
    digests = {v.key: f"sha256:{v.key}" for v in before.variants}
    state = revise(cases.running(before), after, digests=digests, at=cases.DAY, actor="a")
    moments = cases.counts({("all", "control"): (5000, 500), ("all", "treatment"): (5000, 500)})
    control, treatment = second
    later = {("all", "control"): (control, control // 10), ("all", "treatment"): (treatment, treatment // 10)}
    return analyze_ledger(state, moments | cases.counts(later, epoch=2), at=LATER)


def one_sided(segment: Segment, table: dict[tuple[str, str], tuple[int, int]]) -> Report:
    state = cases.running(cases.definition(cases.segment("US", 0.5, 0.5), segment))
    moments = cases.counts({("US", "control"): (20_000, 2000), ("US", "treatment"): (20_000, 2020)} | table)
    return analyze_ledger(state, moments, at=LATER)


def one_variant() -> Report:
    t = units(1)
    kept = t["group"] == "old"
    return judged({name: column[kept] for name, column in t.items()}, UNITS.replace("  weights: equal\n", ""))


def unknown_assignment() -> Report:
    return judged(units(1), UNITS.replace("assignment: randomised", "assignment: unknown"))


def five_days(t: Table, rng: np.random.Generator) -> Table:
    return t | {"at": START + (t["at"] - START) * 5 // DAYS}


def without_days() -> Report:
    return judged(units(1), UNITS.replace("  day: at\n", ""))


def learned(t: Table, rng: np.random.Generator) -> Table:
    day = (t["at"] - START) // cases.DAY
    extra = (t["group"] == "new") & (rng.random(len(day)) < 0.02 * day)
    return t | {"bought": np.maximum(t["bought"], extra)}


def of_frame(ids: list[Any]) -> Report:
    """The healthy units as a pandas frame, whose columns may hold anything."""
    frame = pd.DataFrame(units(1))
    frame["user"] = pd.Series(ids, dtype=object)
    found = analyze(frame, load_spec(RULE + METRICS + UNITS))
    assert isinstance(found, Report)
    return found


def numbers() -> list[Any]:
    return list(range(10**6, 10**6 + 6000))


def half_as_text() -> Report:
    return of_frame([str(i) if i % 3 == 0 else i for i in numbers()])


def anonymous(t: Table, rng: np.random.Generator) -> Table:
    name = np.where(np.arange(len(t["user"])) == 7, "unknown", t["user"])
    return t | {"user": name}


def padded(t: Table, rng: np.random.Generator) -> Table:
    spaced = np.array([f"{name} " if i % 9 == 0 else name for i, name in enumerate(t["user"].tolist())])
    return t | {"user": spaced}


def mixed_case(t: Table, rng: np.random.Generator) -> Table:
    names = t["user"].astype(object).copy()
    names[1:600:3] = [name.upper() for name in names[0:599:3]]
    return t | {"user": names.astype(str)}


def several(broken: int = 0, *, damaged: bool = False) -> BatchReport:
    """Six experiments of the same two weeks; some lose a fifth of one variant, or a row is damaged."""
    parts = []
    for number in range(6):
        t, rng = units(60 + number, 2000), np.random.default_rng(number)
        lost = (number < broken) & (t["group"] == "new") & (rng.random(2000) < 0.2)
        parts.append(
            {name: column[~lost] for name, column in t.items()}
            | {"test": np.full((~lost).sum(), f"t{number}")}
        )
    frame = pd.concat(map(pd.DataFrame, parts), ignore_index=True)
    if damaged:
        frame["amount"] = frame["amount"].astype(object)
        frame.loc[frame["test"] == "t2", "amount"] = ["oops", *frame.loc[frame["test"] == "t2", "amount"][1:]]
    found = analyze(frame, load_spec(RULE + METRICS + UNITS + "  experiment: test\n"))
    assert isinstance(found, BatchReport)
    return found


def standing() -> Report:
    """Counted rows that say where things stood at the end of each of sixteen days."""
    rng, rows = np.random.default_rng(3), []
    for group in ("old", "new"):
        users, buyers = rng.poisson(500, 16).cumsum(), rng.binomial(500, 0.2, 16).cumsum()
        rows += [(f"2026-03-{day + 1:02}", group, int(users[day]), int(buyers[day])) for day in range(16)]
    table = pd.DataFrame(rows, columns=["day", "group", "users", "buyers"])
    source = (
        "source: {shape: counts, assignment: randomised, variant: group, control: old, day: day, cumulative: true,"
        " weights: equal, columns: {buyers: {n: users, sum: buyers}}}"
    )
    found = analyze(table, load_spec(f"{RULE}{METRICS.split('  - {key: revenue')[0]}{source}"))
    assert isinstance(found, Report)
    return found


def nobody_else() -> Report:
    """A live experiment of whose project nothing else is known."""
    return analyze_ledger(cases.running(cases.definition()), cases.counts(EVEN), at=LATER)


CELL = Cell(n=500, exposures=500, fallbacks=0, mismatches=0, carried=0, metrics=(Sums(50, 50),))
STRAY = CellKey("shop", 1, "all", "treatment", 3, contaminated=True)


def few_contaminated(moments: Moments) -> Moments:
    return moments | {STRAY: replace(CELL, n=200, exposures=200, metrics=(Sums(20, 20),))}


MORE = {
    "units lost in one epoch": Twin(
        "sample ratio", Severity.INVALID, "in all, epoch 2", lambda: two_epochs((8000, 1600)),
        lambda: two_epochs((8000, 2000))),
    "a few units in several variants": Twin(
        "contamination", Severity.WARN, "with them: treatment", lambda: live(change=few_contaminated), live),
    "a model that fails over": Twin(
        "fallback", Severity.WARN, "fell back to control", lambda: live(change=with_fallbacks), live),
    "units of an earlier epoch": Twin(
        "carry-over", Severity.WARN, "came back in a later epoch", lambda: live(change=with_returning), live),
    "a canary that breaks": Twin(
        "early harm", Severity.WARN, "treatment is harmed in errors", lambda: canary(broken=True),
        lambda: canary(broken=False)),
    "a segment with control only": Twin(
        "strata", Severity.WARN, "left out of the effect",
        lambda: one_sided(cases.segment("CA", 1, 0), {("CA", "control"): (9000, 4500)}),
        lambda: one_sided(
            cases.segment("CA", 0.5, 0.5), {("CA", "control"): (9000, 4500), ("CA", "treatment"): (9000, 4500)})),
    "units waiting for a refold": Twin("pending", Severity.WARN, "wait for a refold", lambda: live(project=Project(backlog=Backlog(pending=12, late=0))), live),
    "events after their window": Twin("pending", Severity.WARN, "kept but not summed", lambda: live(project=Project(backlog=Backlog(pending=0, late=12))), live),
    "windows that are all open": Twin(
        "matured", Severity.GATE, "1970-01-09", lambda: live(at=3 * cases.DAY, days=3), live),
    "five days of data": Twin(
        "runtime", Severity.GATE, "5 matured days of the 7", lambda: with_units(five_days), clean_units),
    "a table without days": Twin(
        "runtime", Severity.WARN, "does not say on which days", without_days, clean_units),
    "an unknown assignment": Twin(
        "evidence", Severity.GATE, "`assignment: randomised`", unknown_assignment, clean_units),
    "only one variant": Twin("variants", Severity.INVALID, "nothing can be compared", one_variant, clean_units),
    "primacy": Twin("novelty", Severity.WARN, "grows (users learn it: primacy)", lambda: with_units(learned), clean_units),
    "ids as text and as numbers": Twin(
        "ids", Severity.WARN, "mixed types", half_as_text, lambda: of_frame(numbers())),
    "a row that cannot be read": Twin(
        "rows", Severity.INVALID, "row 4001", lambda: several(damaged=True), several, row=-1),
    "a time in which much is broken": Twin(
        "window", Severity.WARN, "3 of the 5 other experiments", lambda: several(broken=3), several, row=5),
    "undefined units, live": Twin(
        "ids", Severity.WARN, "placeholders in 450", lambda: counted(ids__placeholders=450), counted),
    "many undefined units, live": Twin(
        "ids", Severity.GATE, "placeholders in 4,507", lambda: counted(ids__placeholders=4_507), counted),
    "a clock that is behind, live": Twin(
        "early outcomes", Severity.WARN, "100 outcomes (2.4%)", lambda: counted(early__shop__control=100), counted),
    "a clock that is far behind, live": Twin(
        "early outcomes", Severity.GATE, "5,000 outcomes", lambda: counted(early__shop__treatment=5_000), counted),
    "nothing joins, live": Twin(
        "outcomes", Severity.GATE, "None of the 5,000 outcomes",
        lambda: counted(counted__shop__control=0, counted__shop__treatment=0, unexposed__purchase=5_000), counted),
    "a type that is misspelt, live": Twin(
        "outcomes", Severity.WARN, "No outcome has the type purchase; no metric reads what came instead: page 70",
        lambda: counted(outcomes__purchase=0, unexposed__purchase=0), counted),
    "an unknown unit": Twin("ids", Severity.WARN, "placeholders", lambda: with_units(anonymous), clean_units),
    "ids with spaces": Twin("ids", Severity.WARN, "spaces around them", lambda: with_units(padded), clean_units),
    "ids in two cases": Twin(
        "ids", Severity.WARN, "upper and lower case", lambda: with_units(mixed_case), clean_units),
}  # fmt: skip
