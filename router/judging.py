"""Judging one experiment: its moments by the frozen rule, and the decision record of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import digest, rule_digest
from switchpoint.experiment.ledger.moments import Moments
from switchpoint.experiment.ledger.plan import ledger_plan
from switchpoint.experiment.ledger.protocol import Ledger, settle
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.decision import DecisionRecord, Finding, moments_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A report with the state and the moments it was made from."""

    report: Report
    state: ExperimentState
    moments: Moments


def look(
    catalog: Catalog, ledger: Ledger, key: str, *, at: int, compare: Sequence[tuple[str, str]] = ()
) -> Look:
    """Judge one experiment at the instant `at` (ms); units that wait for a refold are refolded first.

    Args:
        compare: pairs of variants to compare with each other.

    Raises:
        NotFound: there is no such experiment.
        BadInput: the instant lies before its start, or a pair names a variant that is not there.
    """
    from switchpoint.analysis.analyze import Project, analyze_ledger
    from switchpoint.analysis.evidence.facts import Backlog
    from switchpoint.analysis.evidence.ledger import arrived

    states = catalog.experiments()  # read once, so that the plan and the experiment are of one moment
    state = next((each for each in states if each.key == key), None) or catalog.experiment(key)
    refuse_before_start(state, at)
    plan = ledger_plan(states)
    pending = settle(ledger, plan)
    moments = ledger.moments(key, plan)
    names = {version.digest: str(version.ref) for version in catalog.models(state.definition.model)}
    report = analyze_ledger(
        state, moments, at=at, compare=compare,
        project=Project(
            backlog=Backlog(pending=pending, late=ledger.late()),
            facts=arrived(state.definition, ledger.arrivals(plan), {slot.event for slot in plan.slots}),
            others=states,
            models=names,
        ),
    )  # fmt: skip
    return Look(report=report, state=state, moments=moments)


def refuse_before_start(state: ExperimentState, at: int) -> None:
    """Raise BadInput for an instant at which a live experiment did not run yet."""
    started = state.started_at
    if started is None or at >= started or state.definition.source is not None:
        return
    first = datetime.fromtimestamp(started / 1000, UTC).isoformat(timespec="seconds")
    raise BadInput(
        f"{state.key} had not started yet", field="--at", value=at, fix=f"choose an instant after {first}."
    )


def decide(
    catalog: Catalog, ledger: Ledger, found: Look, *, at: int, actor: str, why: str = ""
) -> DecisionRecord:
    """Record the verdict of a look as the experiment's next decision.

    Raises:
        Superseded: the definition or a model changed since the look.
    """
    verdict, definition = found.report.verdict, found.state.definition
    return catalog.record_decision(
        DecisionRecord(
            experiment=found.state.key,
            number=0,  # given by the catalog
            definition_digest=digest(definition),
            rule_digest=found.state.rule_digest or rule_digest(definition),
            code_version=version("switchpoint"),
            position=ledger.position(),
            moments_digest=moments_digest(found.moments),
            finding=Finding(kind=verdict.kind, variant=verdict.variant, reasons=tuple(verdict.reasons)),
            digests={} if found.state.epoch is None else found.state.epoch.digests,
            at=at,
            actor=actor,
            why=why,
        )
    )
