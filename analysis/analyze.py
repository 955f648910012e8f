"""From an experiment's state and moments to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from switchpoint.analysis.evidence.facts import LEDGER, Backlog, Facts
from switchpoint.analysis.evidence.ledger import from_ledger
from switchpoint.analysis.judgement.beside import history
from switchpoint.analysis.judgement.build import build
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.header import Changed, Header, VariantHeader, blank, instant
from switchpoint.analysis.results.thresholds import DEFAULT, Thresholds
from switchpoint.analysis.validity import concurrent
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.language.experiment import digest
from switchpoint.experiment.ledger.moments import Moments

_SETTLED = Backlog(pending=0, late=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What the project knows beside the moments of one experiment.

    `backlog`: what the ledger has not summed. `facts`: what it counted of all that arrived
    (`analysis.evidence.ledger.arrived`). `others`: the other experiments, to say which of them share units
    with this one; None: they are not known. `models`: names of model digests (`ranker@2`), to name those of
    history.
    """

    backlog: Backlog = _SETTLED
    facts: Facts = LEDGER
    others: Sequence[ExperimentState] | None = None
    models: Mapping[str, str] = field(default_factory=dict)


_ALONE = Project()


def analyze_ledger(
    state: ExperimentState,
    moments: Moments,
    *,
    at: int,
    project: Project = _ALONE,
    compare: Sequence[tuple[str, str]] = (),
    limits: Thresholds = DEFAULT,
) -> Report:
    """The report of one live experiment at the instant `at` (ms UTC): a pure function of its arguments.

    Args:
        moments: at least the cells of this experiment; others are ignored.
        project: what is known around it; without it the ledger alone is read.
        compare: pairs of variants to compare with each other, the second with the first.

    Raises:
        BadInput: a pair of variants that are not there.
    """
    evidence = from_ledger(state, moments, at=at)
    evidence = replace(evidence, facts=(project.facts,) * len(evidence.subjects))
    result = build(
        evidence,
        ledger_header(state, assignment=evidence.subjects[0].assignment, at=at),
        backlog=project.backlog,
        others=None if project.others is None else concurrent.configured(state, project.others),
        history=None if evidence.history is None else history(evidence.history, project.models),
        compare=compare,
        limits=limits,
    )
    return Report.of(result)


def ledger_header(state: ExperimentState, *, assignment: str, at: int) -> Header:
    """The header of a live experiment."""
    definition, epoch = state.definition, state.epoch
    digests = epoch.digests if epoch is not None else {}
    return replace(
        blank(definition.decision, definition.window_ms),
        key=definition.key, hypothesis=definition.hypothesis, owner=definition.owner, unit=definition.unit,
        status=state.status.value, source="ledger",
        assignment=assignment,
        revision=state.revision, epoch=None if epoch is None else epoch.number,
        definition_digest=digest(definition), rule_digest=state.rule_digest, at=instant(at),
        changes=_changes(state),
        started_at=None if state.started_at is None else instant(state.started_at),
        variants=tuple(
            VariantHeader(
                key=v.key, control=v is definition.control, model=None if v.model is None else str(v.model),
                digest=digests.get(v.key),
            )
            for v in definition.variants
        ),
    )  # fmt: skip


_MARKED = ("open epoch", "ramp", "pause", "resume")
"""How the entries of a history begin that a series of days may show."""


def _changes(state: ExperimentState) -> tuple[Changed, ...]:
    return tuple(
        Changed(day=instant(change.at)[:10], what=change.action)
        for change in state.history
        if change.action.startswith(_MARKED)
    )
