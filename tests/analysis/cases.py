"""Small experiments and cells that the tests of the judgement share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import (
    BUCKETS,
    DecisionRule,
    Design,
    Direction,
    Experiment,
    Grade,
    Measure,
    Metric,
    MetricType,
    ModelRef,
    Role,
    Segment,
    Size,
    Variant,
)
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments, Sums
from switchpoint.experiment.registry.lifecycle import create, start

DAY = 86_400_000

RULE = DecisionRule(
    design=Design.SEQUENTIAL, alpha=0.05, power=0.8, mde=Size(value=0.1, relative=True), min_runtime_days=14,
    max_runtime_days=42, evidence=Grade.RANDOMISED,
)  # fmt: skip
BUYERS = Metric(
    key="buyers", type=MetricType.PROPORTION, numerator=Measure(event="purchase"), cap=1, role=Role.PRIMARY
)
ERRORS = Metric(
    key="errors", type=MetricType.PROPORTION, numerator=Measure(event="error"), cap=1, role=Role.GUARDRAIL,
    direction=Direction.DECREASE, margin=Size(value=0.02, relative=False),
)  # fmt: skip


def segment(key: str, *shares: float) -> Segment:
    """A segment that asks for its own key as country; shares in the order of the variants."""
    return Segment(
        key=key, when={"country": key}, traffic=BUCKETS, allocation=tuple(round(s * BUCKETS) for s in shares)
    )


def definition(*segments: Segment, metrics: tuple[Metric, ...] = (BUYERS,), **changed: object) -> Experiment:
    """An experiment `shop` with variants control, treatment (and more if the segments have more shares)."""
    found = segments or (segment("all", 0.5, 0.5),)
    names = ("control", "treatment", "third")[: len(found[0].allocation)]
    base = Experiment(
        key="shop", hypothesis="h", owner="o", unit="user_id", model="ranker", layer=None,
        variants=tuple(Variant(key=n, model=ModelRef("ranker", i + 1)) for i, n in enumerate(names)),
        segments=found, dimensions=(), metrics=metrics, window_ms=7 * DAY, decision=RULE,
    )  # fmt: skip
    return replace(base, **changed)  # type: ignore[arg-type]  # tests name the fields they change


def running(experiment: Experiment) -> ExperimentState:
    """The experiment, started at the epoch of time."""
    digests = {v.key: f"sha256:{v.key}" for v in experiment.variants}
    return start(create(experiment, ordinal=1, at=0, actor="a"), digests=digests, at=0, actor="a")


def counts(
    table: dict[tuple[str, str], tuple[int, int]], *, days: int = 21, epoch: int = 1, errors: float = 0.01
) -> Moments:
    """Cells of `BUYERS` (and `ERRORS`): (segment, variant) → (units, buyers) in all, spread over the days."""
    moments: Moments = {}
    for (where, variant), (units, buyers) in table.items():
        for day in range(days):
            n, x = _share(units, day, days), _share(buyers, day, days)
            wrong = round(n * errors)
            moments[CellKey("shop", epoch, where, variant, day)] = cell(n, Sums(x, x), Sums(wrong, wrong))
    return moments


ROW_CHECKS = {
    "rows", "served", "fallback", "carry-over", "copies", "eligibility", "ids", "unit of analysis", "early outcomes",
    "outcomes",
    "other experiments", "outlier", "pending",
}  # fmt: skip
"""Checks that need the rows of a table, or a ledger; the others read the same sums of both."""


def of_sums(document: dict[str, Any]) -> dict[str, Any]:
    """A report document without its header and what only rows can show."""
    told = {c["message"] for c in document["checks"] if c["name"] in ROW_CHECKS}
    rest = {key: value for key, value in document.items() if key != "header"}
    rest["checks"] = [c for c in document["checks"] if c["name"] not in ROW_CHECKS]
    rest["warnings"] = [text for text in document["warnings"] if text not in told]
    # sums hold the variants assigned; what was served is known row by row
    rest["contamination"] = {k: v for k, v in document["contamination"].items() if k != "as_served"}
    return rest


def cell(n: int, *metrics: Sums) -> Cell:
    """A cell without faults."""
    return Cell(n=n, exposures=n, fallbacks=0, mismatches=0, carried=0, metrics=metrics)


def _share(total: int, day: int, days: int) -> int:
    return total * (day + 1) // days - total * day // days
