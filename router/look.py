"""One look at one experiment: the ledger's moments judged by the frozen rule."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.report.model import Report
from experiment.catalog import Catalog
from experiment.lifecycle import ExperimentState
from experiment.moments import Moments
from experiment.store.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A report with the state and the moments it was made from."""

    report: Report
    state: ExperimentState
    moments: Moments


def look(catalog: Catalog, ledger: Ledger, key: str, *, at: int) -> Look:
    """Judge one experiment at the instant `at` (ms); units that wait for a refold are refolded first."""
    from analysis.analyze import analyze_ledger

    state, plan = catalog.experiment(key), catalog.plan()
    if ledger.pending():
        ledger.refold(plan)
    moments = ledger.moments(key, plan)
    report = analyze_ledger(
        state, moments, at=at, pending=ledger.pending(), late=ledger.late(), others=catalog.experiments()
    )
    return Look(report=report, state=state, moments=moments)
