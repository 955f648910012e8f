"""From a look to a decision record: the verdict with everything needed to derive it again."""

from __future__ import annotations

from importlib.metadata import version

from switchpoint.experiment.language.canonical import digest, rule_digest
from switchpoint.experiment.ledger.protocol import Ledger
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.decision import DecisionRecord, Finding, moments_digest
from switchpoint.router.look import Look


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
