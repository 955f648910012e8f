"""Harm in the first events: found early, exact at any split, silent where nothing is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.inference.shares import TUNED_EVENTS, concentration
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.validity.unit_checks import harm_p
from switchpoint.experiment.definition.types import Size
from tests.analysis import cases

DAY_MS = 86_400_000
ERRORS = replace(cases.ERRORS, margin=Size(value=0.2, relative=True))


def canary(errors: tuple[int, int]) -> Report:
    """A canary of 1 % on its second day: 9,900 units against 100, with so many errors."""
    state = cases.running(cases.definition(cases.segment("all", 0.99, 0.01), metrics=(cases.BUYERS, ERRORS)))
    cells = cases.counts({("all", "control"): (9900, 990), ("all", "treatment"): (100, 10)}, days=1)
    found = {}
    for (key, cell), wrong in zip(cells.items(), errors, strict=True):
        buyers, sums = cell.metrics
        found[key] = replace(cell, metrics=(buyers, sums._replace(x=wrong, xx=wrong)))
    return analyze_ledger(state, found, at=2 * DAY_MS)


def told(report: Report) -> Check:
    return next(check for check in report.checks if check.name == "early harm")


def test_a_broken_canary_is_named_after_a_few_errors() -> None:
    """8 of its 100 units failed where 0.4 % of the others do; no comparison of rates may speak yet."""
    report = canary((40, 8))
    check = told(report)
    assert check.severity is Severity.WARN
    assert "treatment is harmed in errors beyond its margin of 20.0%: 8 of 48 units" in check.message
    guardrail = next(m for m in report.matured.metrics if m.key == "errors").comparisons[0]
    assert guardrail.estimate is None
    assert check.message in report.warnings


def test_a_healthy_canary_is_left_in_peace() -> None:
    check = told(canary((40, 1)))
    assert check.severity is Severity.OK
    assert check.numbers["events"] in {1, 10}


def test_nothing_is_read_where_the_allocation_is_unknown() -> None:
    """A segment that only the data know has no intended share to compare with."""
    state = cases.running(cases.definition(metrics=(cases.BUYERS,)))
    cells = cases.counts({("elsewhere", "control"): (500, 5), ("elsewhere", "treatment"): (500, 90)})
    (check,) = (c for c in analyze_ledger(state, cells, at=0).checks if c.name == "early harm")
    assert not check.checked
    assert check.message == "Not checked: the intended weights in elsewhere are not known."


@pytest.mark.parametrize(("c", "t", "ratio"), [(12, 9, 0.25), (40, 8, 1 / 99), (3, 0, 1.0), (30, 4, 1.0)])
@pytest.mark.parametrize("fewer", [True, False])
def test_p_is_one_over_the_truncated_beta_mixture(c: int, t: int, ratio: float, *, fewer: bool) -> None:
    """e is the mean likelihood ratio over a beta prior cut at the tolerated share; integrated by scipy."""
    tolerated = ratio * (0.9 if fewer else 1.1)
    share = tolerated / (1 + tolerated)
    k = float(concentration(TUNED_EVENTS))
    prior = stats.beta(k * share, k * (1 - share))
    low, high, mass = (0.0, share, prior.cdf(share)) if fewer else (share, 1.0, prior.sf(share))
    null = stats.binom.pmf(t, c + t, share)
    mean, _ = integrate.quad(
        lambda q: prior.pdf(q) / mass * stats.binom.pmf(t, c + t, q) / null, low, high, limit=400
    )
    assert harm_p(c, t, ratio, margin=0.1, fewer=fewer) == pytest.approx(min(1.0, 1 / mean), rel=1e-6)


@pytest.mark.parametrize("fewer", [True, False])
def test_a_variant_exactly_at_its_margin_is_rarely_accused_however_often_one_looks(*, fewer: bool) -> None:
    """Two strata with unlike splits, a look after every event."""
    rng = np.random.default_rng(7)
    ratios, margin, runs, events = np.array([1.0, 0.05]), 0.2, 400, 120
    tolerated = ratios * (1 - margin if fewer else 1 + margin)
    accused = 0
    for _ in range(runs):
        stratum = rng.integers(0, 2, events)
        treated = rng.random(events) < (tolerated / (1 + tolerated))[stratum]
        counts = np.zeros((events, 2, 2))
        counts[np.arange(events), stratum, treated.astype(int)] = 1
        seen = counts.cumsum(axis=0)
        p = [harm_p(now[:, 0], now[:, 1], ratios, margin=margin, fewer=fewer) for now in seen[::4]]
        accused += min(p) < 0.05
    assert accused / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_strata_add_their_evidence() -> None:
    one = harm_p([30], [12], [0.1], margin=0.0, fewer=False)
    both = harm_p([30, 30], [12, 12], [0.1, 0.1], margin=0.0, fewer=False)
    assert both == pytest.approx(one**2, rel=1e-9)
