"""The gate the verdict reads is the calibrated one, whatever the metric and the design."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.frame import analyze
from analysis.report.model import Report, Severity
from experiment.decision import VerdictKind
from experiment.parsing import load_spec

SPEC = """
metrics: [{key: revenue, type: mean, event: buy, value: amount, decimals: 2, role: primary%s}]
decision: {design: %s, mde: 10%%, min_runtime: 7d, max_runtime: 14d}
source:
  shape: units
  assignment: randomised
  variant: group
  control: control
  weights: {control: 0.95, treatment: 0.05}
  columns: {revenue: amount}
"""
CAP = 660


def canary(seed: int, units: int) -> pl.DataFrame:
    """3 % payers of log-normal amounts in 95 / 5; the canary had the bad luck to meet three small ones only."""
    rng = np.random.default_rng(seed)
    treated = np.arange(units) % 20 == 0
    pays = (rng.random(units) < 0.03) & ~treated
    amount = np.where(pays, rng.lognormal(3, 1.5, units), 0.0).round(2)
    amount[[0, 20, 40]] = 1.5
    return pl.DataFrame({"group": np.where(treated, "treatment", "control"), "amount": amount})


@pytest.mark.parametrize("design", ["sequential", "fixed"])
@pytest.mark.parametrize("cap", ["", f", cap: {CAP}"])
def test_a_canary_of_few_payers_is_not_judged_however_sure_its_interval_looks(design: str, cap: str) -> None:
    found = analyze(canary(1, 40_000), load_spec(SPEC % (cap, design)))
    assert isinstance(found, Report)
    comparison = found.matured.metrics[0].comparisons[0]
    assert comparison.estimate is not None
    sure = comparison.estimate.p if design == "fixed" else comparison.estimate.anytime_p
    assert sure < 1e-3 or not cap
    gate = next(check for check in found.checks if check.name == "events")
    assert gate.severity is Severity.GATE
    assert found.verdict.kind is not VerdictKind.PROMOTE
    assert gate.message in found.verdict.reasons


def test_the_gate_of_capped_revenue_opens_with_cap_sized_totals_not_with_payers() -> None:
    """Σx²/cap² of both variants, shared out by units: far fewer than the payers."""
    table = canary(2, 40_000)
    found = analyze(table, load_spec(SPEC % (f", cap: {CAP}", "sequential")))
    assert isinstance(found, Report)
    comparison = found.matured.metrics[0].comparisons[0]
    capped = np.minimum(table["amount"].to_numpy(), CAP)
    assert comparison.events == pytest.approx(0.05 * np.square(capped).sum() / CAP**2, rel=1e-9)
    assert comparison.events < 0.1 * 0.05 * (capped > 0).sum()
    assert comparison.events_needed == 20
