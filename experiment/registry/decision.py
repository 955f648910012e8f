"""What was decided, on which evidence: enough to derive the same verdict again from the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from switchpoint.experiment.errors import Refused, Superseded
from switchpoint.experiment.language.document import digest_of
from switchpoint.experiment.ledger.moments import Moments


class VerdictKind(StrEnum):
    """What a decision rule may say."""

    PROMOTE = "promote"
    KEEP = "keep"
    CONTINUE = "continue"
    STOP = "stop"
    ROLLBACK = "rollback"
    INVALID = "invalid"

    @property
    def settled(self) -> bool:
        """Whether it names a model to go on with; scripts read the others as "the rule says no"."""
        return self in {VerdictKind.PROMOTE, VerdictKind.KEEP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict on the whole experiment or one segment; `variant` is set when a variant is promoted."""

    kind: VerdictKind
    variant: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision. `number` counts the experiment's decisions from 1.

    `position` is where the event log stood (last stream id per shard), `moments_digest` what the ledger
    held then, `why` the decider's words. `segments` are the verdicts per segment, where they were reached.
    `digests`: the models it compared, by variant key (empty where units were assigned elsewhere).
    """

    experiment: str
    number: int
    definition_digest: str
    rule_digest: str
    code_version: str
    position: Mapping[str, str]
    moments_digest: str
    finding: Finding
    segments: Mapping[str, Finding] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    at: int
    actor: str
    why: str = ""

    @property
    def id(self) -> str:
        """`experiment/number`."""
        return f"{self.experiment}/{self.number}"

    def finding_for(self, segment: str) -> Finding:
        """The verdict that governs one segment: its own, else the experiment's."""
        return self.segments.get(segment, self.finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What a promotion would act on: the definition's digest, and the models' by variant key.

    `control` and `models` (name@version by variant key) are for messages.
    """

    definition_digest: str
    digests: Mapping[str, str]
    control: str
    models: Mapping[str, str]


def require_promotion(
    decision: DecisionRecord | None, variant: str, segments: tuple[str, ...], now: InForce
) -> None:
    """Refuse unless the latest decision says that this variant is promoted here.

    Args:
        decision: the experiment's latest decision, None when there is none.
        variant: what somebody wants to promote.
        segments: in which segments; empty asks for the verdict on the whole experiment.
        now: what is in force; a decision on an older definition does not count.

    Raises:
        Refused: says what the decision says instead.
        Superseded: it is about other models than those in force; says which.
    """
    if decision is None:
        raise _refused("no decision is on record", variant)
    compared = dict.fromkeys((now.control, variant))
    changed = [key for key in compared if decision.digests.get(key) != now.digests.get(key)]
    if changed:
        said = "; ".join(_changed(decision, key, now) for key in changed)
        raise Superseded(
            f"decision {decision.id} is not about the models in force: {said}. Fix: compare those, run "
            "`switchpoint decide` again, or override with a reason"
        )
    if decision.definition_digest != now.definition_digest:
        raise _refused(f"decision {decision.id} is about an earlier definition", variant)
    findings = {segment: decision.finding_for(segment) for segment in segments} or {"": decision.finding}
    for segment, finding in findings.items():
        if finding.kind is not VerdictKind.PROMOTE or finding.variant != variant:
            said = f"{finding.kind} {finding.variant or ''}".strip()
            place = f" for segment {segment}" if segment else ""
            reasons = f" ({'; '.join(finding.reasons)})" if finding.reasons else ""
            raise _refused(f"decision {decision.id} says {said}{place}{reasons}", variant)


def _changed(decision: DecisionRecord, key: str, now: InForce) -> str:
    """Which model a decision is about, and which one is in force."""
    decided, found = decision.digests.get(key, "no model on record"), now.digests.get(key, "no model")
    name = f" ({now.models[key]})" if key in now.models else ""
    return f"{key} was {decided}, it is {found}{name} now"


def _refused(message: str, variant: str) -> Refused:
    return Refused(
        message, field="variant", value=variant, fix="run `switchpoint decide`, or override with a reason"
    )


def moments_digest(moments: Moments) -> str:
    """`sha256:<hex>` of all cells in key order. Cells that count nothing are left out.

    A ledger may keep a cell whose units have all moved elsewhere; a fold of the log never makes it.
    """
    rows = [
        [
            *key,
            cell.n,
            cell.exposures,
            cell.fallbacks,
            cell.mismatches,
            cell.carried,
            [*map(list, cell.metrics)],
            *([[*map(list, cell.covariates)]] if cell.covariates else ()),
        ]
        for key, cell in sorted(moments.items())
        if cell.n or cell.exposures or cell.carried
    ]
    return digest_of(rows)
