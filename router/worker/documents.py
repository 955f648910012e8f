"""What the worker writes on the board, as JSON: of one experiment, of all models, and of itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from switchpoint.analysis.report.page import page_of, summary_of
from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.language.document import to_body
from switchpoint.experiment.registry.lifecycle import facts
from switchpoint.experiment.store.board import PAGE, REPORT, SUMMARY

OF_EXPERIMENTS = (SUMMARY, PAGE, REPORT)


def unjudged(state: ExperimentState, problem: str | None) -> dict[str, Any]:
    """The documents, by kind, of an experiment of which there is no report, with the reason.

    A draft has none (`problem` None); what was said of it before a problem came stays on the board.
    """
    return {SUMMARY: _summary(state, None, problem)}


def judged(state: ExperimentState, report: Report) -> dict[str, Any]:
    """The documents of an experiment by kind."""
    return {
        SUMMARY: _summary(state, to_body(summary_of(report)), None),
        PAGE: to_body(page_of(report)),
        REPORT: report.to_dict(),
    }


def _summary(state: ExperimentState, summary: object, problem: str | None) -> dict[str, Any]:
    return {
        "state": facts(state),
        "summary": summary,
        "problem": problem,
    }


def heartbeat(
    *,
    seconds: float,
    judged: int,
    experiments: int,
    unjudged: Sequence[str],
    clock: int | None,
    away: str | None,
) -> dict[str, Any]:
    """What the worker says of itself.

    Args:
        seconds: how long the last round took in which something was judged.
        judged: of how many experiments it wrote documents.
        experiments: how many there are.
        unjudged: the keys of those that cannot be judged.
        clock: the instant of looks (ms) where the clock is simulated.
        away: why the store cannot be read.
    """
    return {
        "pid": os.getpid(),
        "seconds": seconds,
        "judged": judged,
        "experiments": experiments,
        "unjudged": list(unjudged),
        "clock": clock,
        "problems": [] if away is None else [away],
    }
