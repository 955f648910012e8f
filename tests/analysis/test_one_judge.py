"""A table of many experiments says of each what a table of it alone says: verdict, checks and their sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.frame import analyze
from analysis.report.batch_model import BatchReport, BatchRow
from analysis.report.model import Check, CheckName, Report, Severity
from experiment.parsing import load_spec

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


def one(frame: Any, spec: str) -> Report:
    found = analyze(frame, load_spec(spec))
    assert isinstance(found, Report)
    return found


def many(frame: Any, spec: str) -> BatchReport:
    found = analyze(frame, load_spec(spec + "  experiment: experiment\n"))
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
