"""Small tables with one planted problem each, and their clean twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from switchpoint.analysis.analyze import Project, analyze_ledger
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.judgement import Severity
from switchpoint.experiment.definition.types import Layer
from switchpoint.experiment.language.experiment import load_spec
from tests.analysis import cases

Table = dict[str, Any]
DAY_MS = 86_400_000
START = 20_500 * DAY_MS
DAYS = 14
RULE = "decision: {design: fixed, mde: 20%, min_runtime: 7d, max_runtime: 60d}\n"
METRICS = """
metrics:
  - {key: buyers, type: proportion, event: buy, role: primary}
  - {key: revenue, type: mean, event: buy, value: amount, decimals: 2}
  - {key: ctr, type: ratio, numerator: click, denominator: view}
"""
UNITS = """
source:
  shape: units
  assignment: randomised
  unit: user
  variant: group
  control: first
  day: at
  served: shown
  weights: equal
  covariate: {revenue: past}
  columns: {buyers: bought, revenue: amount, ctr: {numerator: clicks, denominator: views}}
"""


def units(seed: int, n: int = 6000, *, effect: float = 0.0) -> Table:
    """One row per user: a healthy experiment of two weeks."""
    rng = np.random.default_rng(seed)
    at = START + rng.integers(0, DAYS * DAY_MS, n)
    treated = rng.random(n) < 0.5
    past = np.round(rng.gamma(2.0, 10.0, n), 2)
    bought = rng.random(n) < 0.2 + effect * treated
    views = 1 + rng.poisson(6, n)
    return {
        "user": np.array([f"user-{i:05d}" for i in range(n)]),
        "group": np.where(treated, "new", "old"),
        "shown": np.where(treated, "new", "old"),
        "at": at,
        "country": np.where(rng.random(n) < 0.4, "CA", "US"),
        "bought": bought.astype(np.int64),
        "amount": np.where(bought, np.round(10 + rng.gamma(2.0, 5.0, n) + 0.2 * past, 2), 0.0),
        "views": views,
        "clicks": rng.binomial(views, 0.15),
        "past": past,
    }


def pick(table: Table, rows: Any) -> Table:
    """Some rows of a table, in this order, with repetition where asked."""
    return {name: column[rows] for name, column in table.items()}


def joined(*tables: Table) -> Table:
    return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}


def judged(
    table: Table, source: str = UNITS, metrics: str = METRICS, rule: str = RULE, **more: Any
) -> Report:
    found = analyze(pa.table(table), load_spec(rule + metrics + source), **more)
    assert isinstance(found, Report)
    return found


def with_units(change: Callable[[Table, np.random.Generator], Table], seed: int = 1) -> Report:
    return judged(change(units(seed), np.random.default_rng(seed)))


def clean_units(seed: int = 1) -> Report:
    return judged(units(seed))


# one change per problem ---------------------------------------------------------------------------


def lose_some(t: Table, rng: np.random.Generator) -> Table:
    return pick(t, (t["group"] == "old") | (rng.random(len(t["user"])) > 0.15))


def lose_on_one_day(t: Table, rng: np.random.Generator) -> Table:
    bad = (t["group"] == "new") & (t["at"] // DAY_MS == START // DAY_MS + 5)
    return pick(t, ~bad | (rng.random(len(bad)) > 0.5))


def visit_both(t: Table, rng: np.random.Generator) -> Table:
    again = pick(t, rng.choice(len(t["user"]), 200, replace=False))
    flipped = np.where(again["group"] == "new", "old", "new")
    return joined(t, again | {"group": flipped, "shown": flipped, "at": again["at"] + 1})


def serve_another(t: Table, rng: np.random.Generator) -> Table:
    wrong = (rng.random(len(t["user"])) < 0.04) & (t["group"] == "new")
    return t | {"shown": np.where(wrong, "old", t["shown"])}


def copy_rows(t: Table, rng: np.random.Generator) -> Table:
    return joined(t, pick(t, rng.choice(len(t["user"]), 400, replace=False)))


def through_a_spreadsheet(t: Table, rng: np.random.Generator) -> Table:
    ids = rng.integers(10**11, 10**12, len(t["user"]))
    return t | {"user": np.array([f"{i:.5E}" if i % 7 == 0 else str(i) for i in ids.tolist()])}


def long_numbers(t: Table, rng: np.random.Generator) -> Table:
    return t | {"user": np.array([str(i) for i in rng.integers(10**11, 10**12, len(t["user"])).tolist()])}


def before_too(t: Table, rng: np.random.Generator) -> Table:
    return t | {"past": np.round(np.where(t["group"] == "new", t["past"] * 1.15, t["past"]), 2)}


def one_whale(t: Table, rng: np.random.Generator) -> Table:
    place = int(np.flatnonzero((t["group"] == "new") & (t["bought"] == 1))[0])
    amount = t["amount"].copy()
    amount[place] = 60_000.0
    return t | {"amount": amount}


def more_views(t: Table, rng: np.random.Generator) -> Table:
    return t | {"views": t["views"] + (t["group"] == "new") * rng.poisson(1.0, len(t["views"]))}


def broken_day(t: Table, rng: np.random.Generator) -> Table:
    bad = t["at"] // DAY_MS == START // DAY_MS + 9
    return t | {"clicks": np.where(bad, 0, t["clicks"])}


def wears_off(t: Table, rng: np.random.Generator) -> Table:
    day = (t["at"] - START) // DAY_MS
    extra = (t["group"] == "new") & (rng.random(len(day)) < np.maximum(0.3 - 0.03 * day, 0))
    return t | {"bought": np.maximum(t["bought"], extra)}


def few_buyers(t: Table, rng: np.random.Generator) -> Table:
    kept = (rng.random(len(t["user"])) < 0.02) & (t["bought"] == 1)
    return t | {"bought": kept.astype(np.int64), "amount": np.where(kept, t["amount"], 0.0)}


# sessions: rows are not what was randomised -----------------------------------------------------------

SESSIONS = """
metrics: [{key: buyers, type: proportion, event: buy, role: primary}]
source:
  shape: units
  assignment: randomised
  variant: group
  control: first
  day: at
  weights: equal
  columns: {buyers: bought}
"""


def sessions(seed: int = 4, *, nested: bool) -> Report:
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 1500, 6000)
    group = rng.random(1500)[users] < 0.5 if nested else rng.random(6000) < 0.5
    if nested:  # equally many rows in both, so that only the unit is wrong
        order = rng.permutation(1500)
        group = np.isin(users, order[:750])
    table = {
        "user_id": users, "group": np.where(group, "new", "old"),
        "at": START + rng.integers(0, DAYS * DAY_MS, 6000), "bought": (rng.random(6000) < 0.2).astype(int),
    }  # fmt: skip
    source = SESSIONS.replace("  weights: equal\n", "  weights: {old: 0.5, new: 0.5}\n")
    return judged(table, source, metrics="")


def eligible(seed: int = 6, *, by_variant: bool | None) -> Report:
    """Rows of another country; the condition removes them, alike in both variants or not."""
    t, rng = units(seed), np.random.default_rng(seed)
    if by_variant is None:
        return judged(t, UNITS + "  eligible: {country: {$in: [US, CA]}}\n")
    gone = rng.random(len(t["user"])) < (0.05 + 0.15 * by_variant * (t["group"] == "new"))
    return judged(
        t | {"country": np.where(gone, "DE", t["country"])},
        UNITS + "  eligible: {country: {$in: [US, CA]}}\n",
    )


CLUSTERS = """
source:
  shape: units
  assignment: randomised
  unit: user
  cluster: house
  variant: group
  control: first
  day: at
  weights: equal
  columns: {buyers: bought}
"""
CLUSTER_RULE = RULE.replace("60d}", "60d, evidence: clustered}")


def clusters(number: int, seed: int = 8) -> Report:
    rng = np.random.default_rng(seed)
    house = np.arange(6000) % number
    table = {
        "user": np.arange(6000), "house": house, "group": np.where(house % 2, "new", "old"),
        "at": START + rng.integers(0, DAYS, number)[house] * DAY_MS, "bought": (rng.random(6000) < 0.2).astype(int),
    }  # fmt: skip
    table["at"] = table["at"] + rng.integers(0, DAY_MS, 6000)
    table["at"][:DAYS] = START + np.arange(DAYS) * DAY_MS
    metric = "metrics: [{key: buyers, type: proportion, event: buy, role: primary}]\n"
    return judged(table, CLUSTERS, metrics=metric, rule=CLUSTER_RULE)


EVENTS = """
metrics: [{key: buyers, type: proportion, event: buy, role: primary}]
window: 2d
source:
  shape: events
  assignment: randomised
  unit: user
  variant: group
  control: first
  weights: equal
  exposures: {table: x, id: id, at: at}
  outcomes: {table: y, id: id, type: kind, at: at}
"""


def events(seed: int = 9, *, late_exposure: bool = False, twice: bool = False) -> Report:
    t, rng = units(seed), np.random.default_rng(seed)
    exposures = {"id": t["user"], "user": t["user"], "group": t["group"], "at": t["at"]}
    bought = np.flatnonzero(t["bought"])
    shift = rng.integers(1000, 3_600_000, len(bought))
    if late_exposure:
        shift = np.where(rng.random(len(bought)) < 0.2, -rng.integers(1000, 60_000, len(bought)), shift)
    history = rng.choice(len(t["user"]), 300, replace=False)  # purchases of the month before are no fault
    outcomes = {
        "id": np.array([f"o{i}" for i in range(len(bought) + 300)]),
        "user": np.concatenate([t["user"][bought], t["user"][history]]),
        "kind": np.array(["buy"] * (len(bought) + 300)),
        "at": np.concatenate([t["at"][bought] + shift, t["at"][history] - rng.integers(2, 30, 300) * DAY_MS]),
    }
    if twice:
        outcomes = joined(outcomes, pick(outcomes, np.arange(150)))
    return judged(exposures, EVENTS, metrics="", outcomes=pa.table(outcomes))


def two_experiments(seed: int = 10, *, tied: bool) -> BatchReport:
    rng = np.random.default_rng(seed)
    first = rng.random(3000) < 0.5
    other = first if tied else rng.random(3000) < 0.5
    table = {
        "test": np.array(["one"] * 3000 + ["two"] * 3000), "user": np.tile(np.arange(3000), 2),
        "group": np.where(np.concatenate([first, other]), "new", "old"),
        "at": START + np.tile(rng.integers(0, DAYS * DAY_MS, 3000), 2), "bought": (rng.random(6000) < 0.2).astype(int),
    }  # fmt: skip
    source = SESSIONS.replace("  variant: group\n", "  variant: group\n  unit: user\n  experiment: test\n")
    found = analyze(pa.table(table), load_spec(RULE + source))
    assert isinstance(found, BatchReport)
    return found


SEGMENTS = """
metrics: [{key: buyers, type: proportion, event: buy, role: primary}]
source:
  shape: counts
  assignment: randomised
  variant: group
  control: first
  segment: country
  day: day
%s  columns: {buyers: {n: users, sum: buyers}}
"""


def segments(rates: dict[tuple[str, str], tuple[int, float]], weights: str = "") -> Report:
    """Units and rate per (country, group), spread over two weeks."""
    rows: dict[str, list[Any]] = {"country": [], "group": [], "day": [], "users": [], "buyers": []}
    for (country, group), (n, rate) in rates.items():
        for day in range(DAYS):
            users = n * (day + 1) // DAYS - n * day // DAYS
            row = (country, group, f"2026-03-{day + 2:02d}", users, round(users * rate))
            for name, value in zip(rows, row, strict=True):
                rows[name].append(value)
    return judged(rows, SEGMENTS % weights, metrics="")


BALANCED = {
    ("US", "old"): (4200, 0.1), ("US", "new"): (4200, 0.1), ("CA", "old"): (2800, 0.3), ("CA", "new"): (2800, 0.3),
}  # fmt: skip
MIXED = BALANCED | {("US", "new"): (2100, 0.1), ("CA", "new"): (5600, 0.28)}
APART = {("US", "old"): (4200, 0.1), ("CA", "new"): (2800, 0.3)}


def ledger(**changed: Any) -> Report:
    """A live experiment beside another one."""
    table = {("all", "control"): (20_000, 2000), ("all", "treatment"): (20_000, 2020)}
    definition = cases.definition(layer=Layer(key="home", start=0, end=5000))
    apart: dict[str, Any] = {"key": "other", "layer": Layer(key="home", start=5000, end=10_000)}
    other = cases.running(cases.definition(**(apart | changed)))
    return analyze_ledger(
        cases.running(definition), cases.counts(table), at=100 * DAY_MS, project=Project(others=[other])
    )


@dataclass(frozen=True)
class Twin:
    """One problem: the check that has to find it, how severe it is, what its sentence names, and both tables."""

    check: str
    severity: Severity
    words: str
    planted: Callable[[], Report | BatchReport]
    clean: Callable[[], Report | BatchReport]
    row: int = 0  # of a table of many experiments, the one that is told about


TWINS = {
    "units lost in one variant": Twin(
        "sample ratio", Severity.INVALID, "lost or moved", lambda: with_units(lose_some), clean_units),
    "units lost on one day": Twin(
        "sample ratio by day", Severity.INVALID, "2026-02-21", lambda: with_units(lose_on_one_day), clean_units),
    "units lost in one segment": Twin(
        "sample ratio", Severity.INVALID, "in CA",
        lambda: segments(BALANCED | {("CA", "new"): (2400, 0.3)}, "  weights: equal\n"),
        lambda: segments(BALANCED, "  weights: equal\n")),
    "unknown weights are asked for": Twin(
        "sample ratio", Severity.GATE, "`weights: equal`, or", lambda: segments(BALANCED),
        lambda: segments(BALANCED, "  weights: equal\n")),
    "units in several variants": Twin(
        "contamination", Severity.INVALID, "seen in several variants", lambda: with_units(visit_both), clean_units),
    "served another variant": Twin(
        "served", Severity.INVALID, "served another variant", lambda: with_units(serve_another), clean_units),
    "ineligible units": Twin(
        "eligibility", Severity.WARN, "do not meet the condition", lambda: eligible(by_variant=False),
        lambda: eligible(by_variant=None)),
    "a condition that depends on the variant": Twin(
        "eligibility", Severity.INVALID, "depends on what the variant", lambda: eligible(by_variant=True),
        lambda: eligible(by_variant=None)),
    "another experiment, tied": Twin(
        "other experiments", Severity.WARN, "cannot be told apart", lambda: two_experiments(tied=True),
        lambda: two_experiments(tied=False)),
    "another experiment, by definition": Twin(
        "other experiments", Severity.WARN, "same model", lambda: ledger(layer=None), ledger),
    "copied rows": Twin("copies", Severity.WARN, "count twice", lambda: with_units(copy_rows), clean_units),
    "repeated events": Twin("copies", Severity.WARN, "counted once", lambda: events(twice=True), events),
    "ids through a spreadsheet": Twin(
        "ids", Severity.WARN, "scientific notation", lambda: with_units(through_a_spreadsheet),
        lambda: with_units(long_numbers)),
    "outcomes before exposure": Twin(
        "early outcomes", Severity.WARN, "before their unit's first exposure", lambda: events(late_exposure=True), events),
    "a broken day": Twin("jump", Severity.WARN, "on 2026-02-25", lambda: with_units(broken_day), clean_units),
    "different before exposure": Twin(
        "before exposure", Severity.INVALID, "Before any exposure new already differed", lambda: with_units(before_too),
        clean_units),
    "novelty": Twin("novelty", Severity.WARN, "wears off", lambda: with_units(wears_off), clean_units),
    "one unit carries the effect": Twin(
        "outlier", Severity.WARN, "one unit of new (60,000)", lambda: with_units(one_whale), clean_units),
    "rows are not the unit": Twin(
        "unit of analysis", Severity.GATE, "`unit: user_id`", lambda: sessions(nested=True), lambda: sessions(nested=False)),
    "a moved denominator": Twin(
        "denominator", Severity.WARN, "its denominator moved too", lambda: with_units(more_views), clean_units),
    "too few events": Twin(
        "events", Severity.GATE, "events in the smaller variant", lambda: with_units(few_buyers), clean_units),
    "too few clusters": Twin("clusters", Severity.GATE, "Too few clusters", lambda: clusters(12), lambda: clusters(1200)),
    "mix shift": Twin(
        "mix", Severity.WARN, "Simpson's paradox", lambda: segments(MIXED, "  weights: equal\n"),
        lambda: segments(BALANCED, "  weights: equal\n")),
    "aliased segments": Twin(
        "overlap", Severity.INVALID, "Not identified", lambda: segments(APART, "  weights: equal\n"),
        lambda: segments(BALANCED, "  weights: equal\n")),
}  # fmt: skip
