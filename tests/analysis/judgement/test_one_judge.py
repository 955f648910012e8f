"""A table of many experiments says of each what a table of it alone says: verdict, checks and their sentences."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.batch import BatchRow
from switchpoint.analysis.results.judgement import Check, CheckName, Severity
from switchpoint.experiment.definition.types import Spec
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load_spec

SPEC = """
metrics:
  - {key: revenue, type: mean, value: revenue, decimals: 2, role: primary, covariate: {value: before, decimals: 2}}
decision: {design: fixed, alpha: 0.05, power: 0.8, mde: 5%, min_runtime: 14d, max_runtime: 42d, evidence: randomised}
source:
  shape: units
  assignment: randomised
  variant: variant
  control: control
  unit: user
  day: day
  weights: equal
  columns: {revenue: {value: revenue}}
  covariate: {revenue: before}
"""
BESIDE = {"other experiments", "window"}
"""Checks of the experiments beside one: alone there are none."""


@cache
def spec_of(text: str) -> Spec:
    return load_spec(text)


def one(frame: Any, spec: str | Spec) -> Report:
    found = analyze(frame, spec_of(spec) if isinstance(spec, str) else spec)
    assert isinstance(found, Report)
    return found


def many(frame: Any, spec: str | Spec) -> BatchReport:
    alone = spec_of(spec) if isinstance(spec, str) else spec
    assert alone.source is not None
    found = analyze(frame, replace(alone, source=replace(alone.source, experiment="experiment")))
    assert isinstance(found, BatchReport)
    return found


def told(checks: tuple[Check, ...]) -> list[tuple[str, Severity, bool, str]]:
    return [(c.name, c.severity, c.checked, c.message) for c in checks if c.name not in BESIDE]


def same(row: BatchRow, alone: Report) -> None:
    assert tuple(c.name for c in row.checks) == tuple(c.name for c in alone.checks) == tuple(CheckName)
    assert told(row.checks) == told(alone.checks)
    assert (row.verdict, row.promoted) == (
        alone.verdict.kind,
        alone.verdict.variant if alone.verdict.kind.value == "promote" else None,
    )


def rows(key: str, drift: float, shift: float) -> pd.DataFrame:
    rng, days = np.random.default_rng(7), []
    for day in range(14):
        n = 1200
        treated = rng.random(n) < 0.5 + (drift if day % 2 else -drift)
        days.append(
            pd.DataFrame({
                "experiment": key,
                "user": [f"{key}-{day}-{i}" for i in range(n)],
                "day": f"2026-01-{5 + day:02}",
                "variant": np.where(treated, "treatment", "control"),
                "revenue": np.round(rng.normal(10, 2, n) + 0.6 * treated, 2),
                "before": np.round(rng.normal(10, 2, n) + shift * treated, 2),
            })
        )  # fmt: skip
    return pd.concat(days, ignore_index=True)


@pytest.mark.parametrize(
    ("drift", "shift", "check"), [(0.12, 0.0, "sample ratio by day"), (0.0, 0.5, "before exposure")]
)
def test_what_is_invalid_alone_is_invalid_in_a_table_of_two(drift: float, shift: float, check: str) -> None:
    """Units that split 62:38 and 38:62 on alternate days, and a covariate that differs before exposure."""
    broken, sound = rows("broken", drift, shift), rows("sound", 0.0, 0.0)
    alone = one(broken, SPEC)
    assert alone.verdict.kind.value == "invalid"
    assert [c.name for c in alone.checks if c.severity is Severity.INVALID] == [check]
    together = many(pd.concat([broken, sound], ignore_index=True), SPEC)
    same(together.rows[0], alone)
    same(together.rows[1], one(sound, SPEC))


# --- the same of any table ---------------------------------------------------------------------------

DESIGNS = {
    "fixed": "{design: fixed, mde: 20%, min_runtime: 7d, max_runtime: 10d}",
    "sequential": "{design: sequential, mde: 20%, min_runtime: 7d, max_runtime: 30d}",
    "group sequential": "{design: group_sequential, mde: 30%, min_runtime: 7d, max_runtime: 30d, looks_every: 2d}",
    "bayesian": "{design: bayesian, mde: 20%, min_runtime: 7d, max_runtime: 30d}",
}
METRICS = {
    "buyers": "{key: buyers, type: proportion, event: buy, role: primary}",
    "revenue": "{key: revenue, type: mean, event: buy, value: amount, decimals: 2}",
    "ctr": "{key: ctr, type: ratio, numerator: click, denominator: view, role: guardrail, margin: 10%}",
}
COLUMNS = {"buyers": "bought", "revenue": "amount", "ctr": "{numerator: clicks, denominator: views}"}
UNITS = """
source:
  shape: units
  assignment: randomised
  control: a
  variant: group
"""
COUNTS = """
source:
  shape: counts
  assignment: randomised
  control: a
  variant: group
  columns: {buyers: {n: users, sum: buyers}}
"""
OPTIONS = {
    "unit": "  unit: user\n", "day": "  day: day\n", "served": "  served: shown\n", "weights": "  weights: equal\n",
    "segment": "  segment: country\n", "eligible": "  eligible: {country: {$in: [us, ca]}}\n",
    "covariate": "  covariate: {revenue: past}\n", "cluster": "  cluster: house\n",
}  # fmt: skip


def unit_rows(
    rng: np.random.Generator, key: str, n: int, variants: int, faults: AbstractSet[str]
) -> pd.DataFrame:
    """A small experiment with some faults of every kind."""
    group = rng.integers(0, variants, n)
    users = np.array([f"{key}-{i}" for i in range(n)], dtype=object)
    if "visits" in faults:
        users[n // 2 :] = rng.choice(users[: n // 2], n - n // 2)
    if "shared" in faults:
        users = np.array([f"everybody-{i}" for i in range(n)], dtype=object)
    if "ids" in faults:
        users[::9] = [f"{name} " for name in users[::9]]
    shown = np.where(rng.random(n) < (0.05 if "served" in faults else 0.0), (group + 1) % variants, group)
    bought = rng.random(n) < 0.3 + 0.2 * (group == 1) * ("effect" in faults)
    views = 1 + rng.poisson(4, n)
    day = rng.integers(0, 14, n)
    if "drift" in faults:
        group = np.where((day == 5) & (rng.random(n) < 0.9), 0, group)
    amount = np.where(bought, np.round(rng.gamma(2.0, 8.0, n), 2), 0.0)
    if "whale" in faults:
        amount[int(rng.integers(n))] = 9000.0
    frame = pd.DataFrame({
        "experiment": key, "user": users, "group": np.array(["a", "b", "c"])[group],
        "shown": np.array(["a", "b", "c"])[shown], "day": [f"2026-03-{d + 2:02}" for d in day.tolist()],
        "country": rng.choice(["us", "ca", "mx"], n, p=[0.6, 0.35, 0.05]), "bought": bought.astype(int),
        "amount": amount, "views": views, "clicks": rng.binomial(views, 0.3), "past": np.round(rng.gamma(2, 9, n), 2),
        "house": rng.integers(0, 40, n), "visitor_id": rng.integers(0, max(n // 4, 1), n),
    })  # fmt: skip
    if "copies" in faults:
        frame = pd.concat([frame, frame.iloc[: n // 20]], ignore_index=True)
    return frame


def count_rows(
    rng: np.random.Generator, key: str, n: int, variants: int, faults: AbstractSet[str]
) -> pd.DataFrame:
    """The same counted per day, or where it stood on each day."""
    rows = [
        {"experiment": key, "group": "abc"[v], "day": f"2026-03-{day + 2:02}", "country": country, "users": users,
         "buyers": int(rng.binomial(users, 0.3 + 0.2 * (v == 1) * ("effect" in faults)))}
        for v in range(variants) for country in (("us", "ca") if "segment" in faults else ("us",)) for day in range(12)
        for users in [int(rng.poisson(max(n / 20, 1) * (1.6 if "drift" in faults and (day, v) == (4, 0) else 1)))]
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    if "standing" in faults:
        places = ["experiment", "group", "country"]
        frame[["users", "buyers"]] = frame.groupby(places)[["users", "buyers"]].cumsum()
        if "whale" in faults:
            frame.loc[len(frame) // 2, "buyers"] = max(frame["buyers"].iloc[len(frame) // 2] - 1, 0)
    return frame


@dataclass(frozen=True)
class Recipe:
    """How a table is made: one set of faults, a size and a number of variants per experiment."""

    seed: int
    design: str
    counted: bool
    standing: bool
    options: frozenset[str]
    metrics: frozenset[str]
    experiments: tuple[tuple[frozenset[str], int, int], ...]

    def table(self) -> pd.DataFrame:
        rng = np.random.default_rng(self.seed)
        made = count_rows if self.counted else unit_rows
        more = (self.options & {"segment"}) | ({"standing"} if self.standing else set())
        return pd.concat(
            [made(rng, f"e{e}", n, v, faults | more) for e, (faults, n, v) in enumerate(self.experiments)],
            ignore_index=True,
        )

    def spec(self) -> Spec:
        """Read once with every option, then without those that are not drawn."""
        whole = spec_of(text_of(self.design, counted=self.counted))
        assert whole.source is not None
        names = {"unit", "day", "served", "weights", "segment", "eligible", "cluster"} - self.options
        off: dict[str, Any] = dict.fromkeys(names)
        columns = {name: roles for name, roles in whole.source.columns.items() if name in self.metrics}
        covariate = whole.source.covariate if "covariate" in self.options else {}
        source = replace(whole.source, **off, columns=columns, covariate=covariate, cumulative=self.standing)
        return replace(whole, source=source, metrics=tuple(m for m in whole.metrics if m.key in self.metrics))


def text_of(design: str, *, counted: bool) -> str:
    known = ("day", "weights", "segment", "eligible") if counted else tuple(OPTIONS)
    names = {"buyers"} if counted else METRICS.keys()
    source = COUNTS if counted else of_units(METRICS.keys())
    return f"decision: {DESIGNS[design]}\n{measuring(names)}{source}{''.join(OPTIONS[n] for n in known)}"


def measuring(names: AbstractSet[str]) -> str:
    return "metrics:\n" + "".join(f"  - {text}\n" for name, text in METRICS.items() if name in names)


def of_units(names: AbstractSet[str]) -> str:
    return UNITS + f"  columns: {{{', '.join(f'{n}: {c}' for n, c in COLUMNS.items() if n in names)}}}\n"


FAULTS = ("effect", "drift", "whale", "ids", "served", "copies", "visits", "shared")


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    counted = draw(st.sampled_from([False, False, True]))
    names = ["day", "weights", "segment", "eligible"]
    names += [] if counted else ["unit", "served", "covariate", "cluster"]
    options = draw(st.frozensets(st.sampled_from(names)))
    more = [] if counted else ["revenue", "ctr"]
    metrics = draw(st.frozensets(st.sampled_from(more))) if more else frozenset()
    metrics |= {"buyers"} | ({"revenue"} if "covariate" in options else set())
    experiment = st.tuples(
        st.frozensets(st.sampled_from(FAULTS), max_size=3),
        st.sampled_from([30, 150]),
        st.sampled_from([2, 2, 3]),
    )
    return Recipe(
        seed=draw(st.integers(0, 2**32)), design=draw(st.sampled_from(list(DESIGNS))), counted=counted,
        standing=counted and "day" in options and draw(st.booleans()),
        options=options | ({"unit"} if "cluster" in options else set()), metrics=metrics,
        experiments=tuple(draw(st.lists(experiment, min_size=1, max_size=2))),
    )  # fmt: skip


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(recipes(), st.integers(0, 1))
def test_a_table_of_many_experiments_says_of_each_what_a_table_of_it_alone_says(
    recipe: Recipe, which: int
) -> None:
    frame, spec = pl.from_pandas(recipe.table()), recipe.spec()
    together = many(frame, spec)
    names = frame["experiment"].unique(maintain_order=True).to_list()
    assert [row.experiment for row in together.rows] == names
    row = together.rows[which % len(names)]
    same(row, one(frame.filter(pl.col("experiment") == row.experiment), spec))


@pytest.mark.parametrize("seed", range(12))
def test_a_cluster_counts_under_the_unit_that_came_first_whatever_units_are_called(seed: int) -> None:
    """Units are numbered by name, and another experiment's units come between: neither may move a cluster."""
    options = frozenset({"unit", "day", "segment", "cluster"})
    recipe = Recipe(
        seed=seed, design="fixed", counted=False, standing=False, options=options,
        metrics=frozenset({"buyers", "ctr"}), experiments=((frozenset({"visits"}), 150, 2),),
    )  # fmt: skip
    frame, spec = pl.from_pandas(recipe.table()), recipe.spec()
    plain = one(frame, spec)
    digits = pl.col("user").str.extract(r"(\d+)$").cast(pl.Int64)
    renamed = frame.with_columns(user=(1000 - digits).cast(pl.String))
    assert told(one(renamed, spec).checks) == told(plain.checks)
    other = renamed.reverse().with_columns(experiment=pl.lit("other"))
    mixed = pl.concat([other, frame.with_columns(user=renamed["user"])])
    same(many(mixed, spec).rows[1], plain)


# --- what only a table of many can say ------------------------------------------------------------------


def counted(experiments: dict[str, tuple[str, int, int]]) -> pd.DataFrame:
    """One row per variant: (day, units of a, units of b) of every experiment."""
    return pd.DataFrame([
        {"experiment": key, "group": group, "day": day, "users": n, "buyers": n // 10}
        for key, (day, *sizes) in experiments.items() for group, n in zip("ab", sizes, strict=True)
    ])  # fmt: skip


COUNTED = f"decision: {DESIGNS['fixed']}\n{measuring({'buyers'})}{COUNTS}" + OPTIONS["weights"]


def the(row: BatchRow, name: str) -> Check:
    (found,) = (c for c in row.checks if c.name == name)
    return found


@pytest.mark.parametrize(("broken", "warned"), [(2, False), (3, True)])
def test_a_time_in_which_many_are_broken_warns_the_others(broken: int, warned: bool) -> None:
    """Three of twelve at once; an experiment a month later is not concerned."""
    tests = {f"e{i}": ("2026-03-02", 5000, 4000 if i < broken else 5000) for i in range(12)}
    found = many(counted(tests | {"later": ("2026-04-20", 5000, 5000)}), COUNTED + OPTIONS["day"])
    sound, later = found.rows[11], found.rows[12]
    assert (the(sound, "window").severity is Severity.WARN) is warned
    assert the(sound, "window").numbers["others"] == 11
    assert the(sound, "window").numbers["broken"] == broken
    assert the(found.rows[0], "window").numbers["broken"] == broken - 1
    assert "no other experiment of the table ran at the same time" in the(later, "window").message


@pytest.mark.parametrize(("normal", "warned"), [(12, True), (13, False)])
def test_a_fifth_of_the_others_is_many(normal: int, warned: bool) -> None:
    tests = {f"e{i}": ("2026-03-02", 5000, 4000 if i < 3 else 5000) for i in range(normal + 4)}
    found = many(counted(tests), COUNTED + OPTIONS["day"])
    assert (the(found.rows[-1], "window").severity is Severity.WARN) is warned


@pytest.mark.parametrize("damage", [-1, 2.5, None, "many"])
def test_a_damaged_row_voids_its_own_experiment(damage: float | str | None) -> None:
    frame = counted({f"e{i}": ("2026-03-02", 500, 500) for i in range(5)}).astype({"users": object})
    frame.loc[7, "users"] = damage
    found = many(frame, COUNTED)
    assert [row.experiment for row in found.rows] == ["e0", "e1", "e2", "e4", "e3"]
    assert [row.verdict.value == "invalid" for row in found.rows] == [False] * 4 + [True]
    assert found.rows[4].reason.startswith("row 8, column users")
    assert found.summaries[0].experiments == 5
    for row in found.rows[:4]:
        same(row, one(frame[frame["experiment"] == row.experiment].astype({"users": int}), COUNTED))


def test_a_table_of_damaged_experiments_is_refused_as_one_is() -> None:
    frame = counted({f"e{i}": ("2026-03-02", 500, 500) for i in range(3)})
    with pytest.raises(BadInput, match="row 1, column users"):
        many(frame.assign(users=-1), COUNTED)


@pytest.mark.parametrize(("tied", "severity"), [(True, Severity.WARN), (False, Severity.OK)])
def test_shared_units_are_counted_and_their_assignments_tested(tied: bool, severity: Severity) -> None:
    """Three variants in both; 600 of 1,000 units are shared."""
    rng = np.random.default_rng(8)
    first, second = rng.integers(0, 3, 1000), rng.integers(0, 3, 1000)
    second = np.where((rng.random(1000) < 0.3) & tied, np.roll(first, -400), second)
    frame = pd.concat([
        pd.DataFrame({"experiment": key, "user": np.arange(1000) + shift, "group": np.array(list("abc"))[group]})
        for key, shift, group in (("x", 0, first), ("y", 400, second))
    ], ignore_index=True).assign(bought=0, amount=0.0, views=1, clicks=0)  # fmt: skip
    spec = f"decision: {DESIGNS['fixed']}\n{measuring(METRICS.keys())}{of_units(METRICS.keys())}{OPTIONS['unit']}"
    rows = [the(row, "other experiments") for row in many(frame, spec).rows]
    both = pd.crosstab(first[400:], np.array(second)[:600])
    p = stats.chi2_contingency(both, correction=False).pvalue
    for found in rows:
        assert found.severity is severity
        assert found.numbers["units"] == 600
        assert float(found.numbers["p"] or 0) == pytest.approx(p, rel=1e-9)
        assert "600 units (60.0%) are also in " in found.message


def test_standings_are_not_carried_from_one_experiment_into_the_next() -> None:
    """The second experiment's variant b begins on its second day, in a table after one that had it to the end."""
    days = {
        "x": {"a": [900, 1800, 2700], "b": [910, 1790, 2690]},
        "y": {"a": [500, 1000, 1500], "b": [0, 490, 1010]},
    }
    frame = pd.DataFrame([
        {"experiment": key, "group": group, "day": f"2026-03-{day + 2:02}", "users": n, "buyers": n // 10}
        for key, groups in days.items() for group, standing in groups.items() for day, n in enumerate(standing) if n
    ])  # fmt: skip
    spec = COUNTED + OPTIONS["day"] + "  cumulative: true\n"
    together = many(frame, spec)
    for row in together.rows:
        same(row, one(frame[frame["experiment"] == row.experiment], spec))
    assert the(together.rows[1], "sample ratio by day").numbers["day"] == "2026-03-02"
