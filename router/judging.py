"""Judging experiments: their moments by the frozen rule, and the decision record of what was found.

What a look needs beside the experiment's own moments is read once for any number of looks: the records
(`Experiments`), and what the ledger counted of the whole project (`Survey`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import digest, rule_digest
from switchpoint.experiment.ledger.fold import Arrivals
from switchpoint.experiment.ledger.moments import Moments
from switchpoint.experiment.ledger.plan import LedgerPlan, ledger_plan
from switchpoint.experiment.ledger.protocol import Ledger, settle
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.decision import DecisionRecord, Finding, moments_digest
from switchpoint.experiment.registry.model import ModelVersion

if TYPE_CHECKING:  # imported when something is judged: other commands must not wait for it
    from switchpoint.analysis.analyze import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A report with the state and the moments it was made from."""

    report: Report
    state: ExperimentState
    moments: Moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiments:
    """All experiments and model versions of a project, as one reading of its records found them."""

    states: Mapping[str, ExperimentState]
    versions: tuple[ModelVersion, ...]
    plan: LedgerPlan

    @classmethod
    def read(cls, catalog: Catalog) -> Experiments:
        """Read each kind of record once. Raises StoreUnavailable, Corrupt."""
        states = catalog.experiments()
        return cls(
            states={state.key: state for state in states},
            versions=tuple(catalog.models()),
            plan=ledger_plan(states),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that one experiment is judged by, whatever the instant."""

    state: ExperimentState
    moments: Moments
    project: Project

    def look(self, *, at: int, compare: Sequence[tuple[str, str]] = ()) -> Look:
        """Judge at the instant `at` (ms), with pairs of variants to compare with each other.

        Raises:
            BadInput: the instant lies before the start, or a pair names a variant that is not there.
        """
        from switchpoint.analysis.analyze import analyze_ledger

        refuse_before_start(self.state, at)
        report = analyze_ledger(self.state, self.moments, at=at, compare=compare, project=self.project)
        return Look(report=report, state=self.state, moments=self.moments)


class Survey:
    """What the ledger counted of the whole project at one moment; units that wait are refolded first."""

    def __init__(self, known: Experiments, ledger: Ledger) -> None:
        """Read it. Raises StoreUnavailable, Corrupt."""
        self.known, self._ledger = known, ledger
        self.pending = settle(ledger, known.plan)
        self._late = ledger.late()
        self._common: Arrivals = {}
        self._arrivals: dict[str, Arrivals] = {}
        for name, count in ledger.arrivals(known.plan).items():
            # of the project, or of one experiment and variant
            group = self._common if len(name) < 3 else self._arrivals.setdefault(name[1], {})
            group[name] = count
        self._states = tuple(known.states.values())
        self._reads = {slot.event for slot in known.plan.slots}
        self._models: dict[str, dict[str, str]] = {}
        for each in known.versions:
            self._models.setdefault(each.name, {})[each.digest] = str(each.ref)

    def case(self, key: str) -> Case:
        """What one of the experiments is judged by; its moments are read now.

        Raises:
            NotFound: it was never started.
            StoreUnavailable, Corrupt: they cannot be read.
        """
        from switchpoint.analysis.analyze import Project
        from switchpoint.analysis.evidence.facts import Backlog
        from switchpoint.analysis.evidence.ledger import arrived

        state = self.known.states[key]
        moments = self._ledger.moments(key, self.known.plan)
        counts = self._common | self._arrivals.get(key, {})
        project = Project(
            backlog=Backlog(pending=self.pending, late=self._late),
            facts=arrived(state.definition, counts, self._reads),
            others=self._states,
            models=self._models.get(state.definition.model or "", {}),
        )
        return Case(state=state, moments=moments, project=project)


def look(
    catalog: Catalog, ledger: Ledger, key: str, *, at: int, compare: Sequence[tuple[str, str]] = ()
) -> Look:
    """Judge one experiment at the instant `at` (ms); units that wait for a refold are refolded first.

    Args:
        compare: pairs of variants to compare with each other.

    Raises:
        NotFound: there is no such experiment, or it was never started.
        BadInput: the instant lies before its start, or a pair names a variant that is not there.
    """
    known = Experiments.read(catalog)
    if key not in known.states:
        catalog.experiment(key)  # says that there is none
    return Survey(known, ledger).case(key).look(at=at, compare=compare)


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
