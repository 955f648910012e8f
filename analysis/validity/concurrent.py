"""Other experiments on the same units: do they meet, and do their variants go together?"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.facts import Shared
from analysis.report import format as fmt
from analysis.report.model import Check, Severity
from analysis.thresholds import Thresholds
from analysis.validity.association import association
from experiment.definition import Layer
from experiment.lifecycle import ExperimentState, Status

_LIVE = frozenset({Status.RUNNING, Status.PAUSED})


def configured(state: ExperimentState, others: Sequence[ExperimentState]) -> Check:
    """Experiments running at the same time whose units are in this one too, by their definitions.

    Slices of one layer that do not overlap keep experiments apart. Otherwise units are in both, each
    randomised
    on its own: effects add up on average, but what one changes for the other cannot be seen. On the same
    model only one of the two can route.
    """
    met = [
        other for other in others if other.key != state.key and other.status in _LIVE and _meet(state, other)
    ]
    same = [other.key for other in met if other.definition.model == state.definition.model]
    numbers = {"experiments": len(met)}
    if not met:
        text = "No other experiment shares its units."
        return Check(name="other experiments", severity=Severity.OK, message=text, numbers=numbers)
    names = ", ".join(other.key for other in met)
    text = f"Units of this experiment are also in {names}, without a layer that keeps them apart"
    if same and state.definition.model is not None:
        text += f"; {', '.join(same)} changes the same model ({state.definition.model})"
    text += ". If they touch the same thing, put them into one layer; "
    text += "their joint effect is not what either shows."
    return Check(name="other experiments", severity=Severity.WARN, message=text, numbers=numbers)


def _meet(state: ExperimentState, other: ExperimentState) -> bool:
    mine, theirs = state.definition, other.definition
    if mine.source is not None or theirs.source is not None or mine.unit != theirs.unit:
        return False
    return not _apart(mine.layer, theirs.layer)


def _apart(mine: Layer | None, theirs: Layer | None) -> bool:
    """Whether two slices of one layer keep units apart."""
    if mine is None or theirs is None or mine.key != theirs.key:
        return False
    return mine.end <= theirs.start or theirs.end <= mine.start


def in_table(shared: Sequence[Shared], units: int, limits: Thresholds) -> Check:
    """Units that other experiments of the same table hold too, and whether their variants go together."""
    found = [(other, association(other.table)) for other in shared]
    tied = [(other, p) for other, p in found if p is not None and p * len(found) < limits.shared_p]
    most = max(shared, key=lambda other: other.units, default=None)
    share = most.units / units if most is not None and units else 0.0
    numbers = {"experiments": len(shared), "share": share}
    if tied:
        other, p = min(tied, key=lambda pair: pair[1])
        text = (
            f"{other.units:,} units ({other.units / units:.1%}) are also in "
            f"{other.experiment}, and who got which "
            f"variant there goes together with the variants here ({fmt.p_is(p)}): the two "
            "effects cannot be told "
            "apart. Randomise them independently, or analyse the units that are in one only."
        )
        return Check(name="other experiments", severity=Severity.WARN, message=text, numbers=numbers)
    text = "No other experiment shares its units."
    if most is not None:
        text = (
            f"Up to {share:.1%} of the units are also in another experiment "
            f"({most.experiment}); their variants "
            "are independent of each other, so the effects do not mix."
        )
    return Check(name="other experiments", severity=Severity.OK, message=text, numbers=numbers)
