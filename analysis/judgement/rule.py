"""The frozen rule (design.md 7) as one table: what is known at a look, and the verdict it comes to.

A report reads the table at its one look (`analysis.judgement.verdict`), simulated and re-randomised runs read
it at all their looks at once (`analysis.judgement.verdicts`): leading axes are free. Nothing is estimated
here and nothing is worded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.results.numbers import Finding
from switchpoint.experiment.definition.types import Design
from switchpoint.experiment.registry.decision import VerdictKind

Mask = NDArray[np.bool_]
Float = NDArray[np.float64]
Truth = TypeVar("Truth", bool, Mask)


def shown(significant: Truth, *, enough_events: Truth, complete: Truth, design: Design) -> Truth:
    """Whether a difference of the primary metric counts: significant (after the correction of its family),
    with the events it needs, and in the fixed design with the units the rule asked for (`complete`)."""
    counts = significant & enough_events
    return counts & complete if design is Design.FIXED else counts


def finding(
    *, better: bool | None, estimated: bool, enough_events: bool, complete: bool, design: Design, young: bool
) -> Finding:
    """What a comparison shows.

    Args:
        better: the direction of a significant difference; None without one. complete: the units the rule
            asked for are there, or nobody asked for any. young: the variant came, or got its model, after
            others, and has not run the minimum runtime itself.
    """
    if not estimated:
        return Finding.NO_ESTIMATE
    if young:
        return Finding.FEW_DAYS
    if shown(better is not None, enough_events=enough_events, complete=complete, design=design):
        return Finding.BETTER if better else Finding.WORSE
    if not enough_events:
        return Finding.FEW_EVENTS
    return Finding.FEW_UNITS if design is Design.FIXED and not complete else Finding.UNDECIDED


def guard_finding(*, safe: bool, harmed: bool, enough_events: bool) -> Finding:
    """What a guardrail's comparison shows of its margin."""
    if not enough_events:
        return Finding.FEW_EVENTS
    if harmed:
        return Finding.HARMED
    return Finding.SAFE if safe else Finding.NOT_SAFE


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rule reads.

    Arrays (..., variants − 1), one entry per variant other than control: `better`, `worse`: shown on the
    primary metric (`shown`), `gain` the effect in the direction that is better. `cheap`: promoting it loses
    no more on average than the rule allows. `safe`: every guardrail is shown to be within its margin, with
    enough events; `harmed`: one is shown to be beyond it. `complete`: the units the rule asked for are there.
    `futile`: they cannot be there by the maximum runtime.

    Arrays (...), one entry per look: `invalid`: a check found that no verdict can be reached. `weak`: the
    evidence is weaker than the rule asks. `few`: no comparison of the primary metric has enough events.
    `held`: any other gate. `overdue`: the maximum runtime is reached.
    """

    better: Mask
    worse: Mask
    gain: Float
    cheap: Mask
    safe: Mask
    harmed: Mask
    complete: Mask
    futile: Mask
    invalid: Mask
    weak: Mask
    few: Mask
    held: Mask
    overdue: Mask

    @property
    def wins(self) -> Mask:
        """Variants that are better at an acceptable expected loss, whatever their guardrails say."""
        return np.asarray(self.better & self.cheap)

    @property
    def winners(self) -> Mask:
        """Variants that may be promoted once no gate holds: better, cheap enough and safe."""
        return np.asarray(self.wins & self.safe)

    @property
    def gated(self) -> Mask:
        """Looks at which a gate holds the verdict."""
        return np.asarray(self.weak | self.few | self.held)


class Branch(StrEnum):
    """Which row of the rule spoke."""

    INVALID = "a check invalidates"
    PROMOTE = "a winner that everything allows"
    ROLLBACK = "a guardrail is harmed"
    KEEP_FEW_EVENTS = "the maximum runtime is reached with too few events"
    GATED = "a gate holds"
    KEEP_WORSE = "every variant is worse"
    KEEP_OVERDUE = "the maximum runtime is reached"
    UNSAFE = "a winner whose guardrails are not shown to be safe"
    KEEP_COMPLETE = "the units asked for are there"
    STOP = "the units asked for cannot come in time"
    CONTINUE = "not enough data"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the rule: where it `holds`, the verdict is of this kind."""

    branch: Branch
    kind: VerdictKind
    holds: Callable[[Facts], Mask]


def _every(variants: Mask) -> Mask:
    return np.asarray(variants.all(axis=-1))


def _any(variants: Mask) -> Mask:
    return np.asarray(variants.any(axis=-1))


RULE = (
    Row(Branch.INVALID, VerdictKind.INVALID, lambda f: f.invalid),
    # one unsafe winner does not hold back another that is safe
    Row(Branch.PROMOTE, VerdictKind.PROMOTE, lambda f: _any(f.winners) & ~f.gated),
    # harm is acted on at once: no gate but the evidence itself holds a rollback
    Row(Branch.ROLLBACK, VerdictKind.ROLLBACK, lambda f: _any(f.harmed) & ~f.weak),
    # events that did not come by the deadline will not come; every other gate can still be mended
    Row(Branch.KEEP_FEW_EVENTS, VerdictKind.KEEP, lambda f: f.overdue & f.few & ~f.weak & ~f.held),
    Row(Branch.GATED, VerdictKind.CONTINUE, lambda f: f.gated),
    Row(Branch.KEEP_WORSE, VerdictKind.KEEP, lambda f: _every(f.worse)),
    Row(Branch.KEEP_OVERDUE, VerdictKind.KEEP, lambda f: f.overdue),
    Row(Branch.UNSAFE, VerdictKind.CONTINUE, lambda f: _any(f.wins)),
    # variants shown to be worse are settled; what the others lack decides
    Row(Branch.KEEP_COMPLETE, VerdictKind.KEEP, lambda f: _every(f.worse | f.complete)),
    Row(Branch.STOP, VerdictKind.STOP, lambda f: _every(f.worse | f.futile)),
)
"""The first row that holds counts; where none does, the experiment goes on."""

BRANCHES = (*(row.branch for row in RULE), Branch.CONTINUE)
KINDS = tuple(VerdictKind)
"""`Ruling.kind` holds places in this tuple."""
_KIND_OF = np.array([KINDS.index(kind) for kind in (*(row.kind for row in RULE), VerdictKind.CONTINUE)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdict at every look; arrays (...).

    `branch`: place in `BRANCHES`, `kind`: place in `KINDS`. `variant`: the best winner, as its place among
    the variants other than control; −1 where nothing is promoted.
    """

    branch: NDArray[np.int64]
    kind: NDArray[np.int64]
    variant: NDArray[np.int64]


def apply(facts: Facts) -> Ruling:
    """The rule at every look.

    Of several winners the one with the largest gain is promoted, of equals the one that the definition names
    first.
    """
    branch = np.argmax([*(row.holds(facts) for row in RULE), np.ones_like(facts.invalid)], axis=0)
    promoted = branch == BRANCHES.index(Branch.PROMOTE)
    return Ruling(
        branch=branch,
        kind=_KIND_OF[branch],
        variant=np.where(promoted, leader(facts.winners, facts.gain), -1),
    )


def leader(among: Mask, gain: Float) -> NDArray[np.int64]:
    """The place with the largest gain `among` the variants (last axis), the first of equals; −1 without."""
    if not among.shape[-1]:
        return np.full(among.shape[:-1], -1)
    best = np.where(among, gain, -np.inf).argmax(axis=-1)
    return np.where(among.any(axis=-1), best, -1)
