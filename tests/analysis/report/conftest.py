"""Reports of one experiment with two segments, three metrics and every design, and before its data came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from switchpoint.analysis.analyze import Project, analyze_ledger
from switchpoint.analysis.evidence.facts import Backlog
from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.ledger.moments import Cell as MomentsCell
from switchpoint.experiment.ledger.moments import CellKey, Moments, Sums
from switchpoint.experiment.registry import lifecycle

START = 20_600 * DAY_MS
DAYS = 14
DIGESTS = {"control": "sha256:" + "1" * 64, "treatment": "sha256:" + "2" * 64}
NASTY = "</script><script>alert(1)</script> <b>&amp;</b> | `x`"
DEFINITION = f"""
key: home
hypothesis: '{NASTY}'
owner: team
unit: user_id
model: ranker
variants: [{{key: control, model: ranker@1}}, {{key: treatment, model: ranker@2}}]
segments:
  - {{key: us, when: {{country: US}}, traffic: 100%, allocation: {{control: 0.5, treatment: 0.5}}}}
  - {{key: rest, traffic: 20%, allocation: {{control: 0.9, treatment: 0.1}}}}
metrics:
  - {{key: ctr, type: ratio, numerator: click, denominator: impression, role: primary}}
  - {{key: buyers, type: proportion, event: purchase, role: guardrail, margin: 20%}}
  - {{key: revenue, type: mean, event: purchase, value: amount, decimals: 2, cap: 500}}
window: 1d
decision: {{design: sequential, alpha: 0.05, power: 0.8, mde: 10%, min_runtime: 14d, max_runtime: 42d, evidence: randomised}}
"""


def _cell(n: int, rate: float, rng: np.random.Generator) -> MomentsCell:
    shown = rng.integers(4, 9, n)
    clicks = rng.binomial(shown, rate)
    bought = rng.binomial(1, 1.5 * rate, n)
    cents = bought * rng.integers(500, 5_000, n)

    def sums(x: Any, y: Any = None) -> Sums:
        y = np.zeros_like(x) if y is None else y
        return Sums(*(int(v) for v in (x.sum(), (x * x).sum(), y.sum(), (y * y).sum(), (x * y).sum())))

    return MomentsCell(n, n, 0, 0, 0, (sums(clicks, shown), sums(bought), sums(cents)))


def _moments(seed: int = 1, times: int = 1) -> Moments:
    rng = np.random.default_rng(seed)
    weight = {
        ("us", "control"): 90,
        ("us", "treatment"): 88,
        ("rest", "control"): 27,
        ("rest", "treatment"): 3,
    }
    return {
        CellKey("home", 1, segment, variant, START // DAY_MS + day): _cell(
            n * times, 0.12 if variant == "treatment" else 0.09, rng
        )
        for day in range(DAYS)
        for (segment, variant), n in weight.items()
    }


@pytest.fixture(scope="module")
def report() -> Report:
    state = lifecycle.create(parsing.load(DEFINITION), ordinal=1, at=START, actor="a")
    state = lifecycle.start(state, digests=DIGESTS, at=START, actor="a")
    # the look of day 14: one day has not matured, so live and matured readings differ
    return analyze_ledger(
        state,
        _moments(),
        at=START + DAYS * DAY_MS + DAY_MS // 2,
        project=Project(backlog=Backlog(pending=2, late=3)),
    )


@pytest.fixture(scope="module", params=["sequential", "fixed", "group_sequential", "bayesian"])
def designed(request: pytest.FixtureRequest) -> Report:
    """The same experiment under every design."""
    text = DEFINITION.replace("design: sequential", f"design: {request.param}").replace("14d", "7d")
    state = lifecycle.create(parsing.load(text), ordinal=1, at=START, actor="a")
    state = lifecycle.start(state, digests=DIGESTS, at=START, actor="a")
    return analyze_ledger(state, _moments(times=3), at=START + DAYS * DAY_MS + DAY_MS // 2)


@pytest.fixture(scope="module")
def empty() -> Report:
    state = lifecycle.create(parsing.load(DEFINITION), ordinal=1, at=START, actor="a")
    state = lifecycle.start(state, digests=DIGESTS, at=START, actor="a")
    return analyze_ledger(state, {}, at=START + 1)


@pytest.fixture(scope="module")
def young() -> Report:
    """The first day is over, its window is not: nothing has matured."""
    state = lifecycle.create(parsing.load(DEFINITION), ordinal=1, at=START, actor="a")
    state = lifecycle.start(state, digests=DIGESTS, at=START, actor="a")
    first = {key: cell for key, cell in _moments().items() if key.day == START // DAY_MS}
    return analyze_ledger(state, first, at=START + DAY_MS + 1)
