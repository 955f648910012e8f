"""Other experiments on the same units: do they meet, and do their variants go together?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import DayLooks, Evidence
from switchpoint.analysis.evidence.facts import Sharing, Unseen
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.header import iso_day
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity.gates import unchecked
from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import Layer

_LIVE = frozenset({Status.RUNNING, Status.PAUSED})
_NAMED = 5


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
    same = [other for other in met if other.definition.model == state.definition.model]
    numbers = {"experiments": len(met)}
    if not met:
        text = "No other experiment shares its units."
        return Check(name="other experiments", severity=Severity.OK, message=text, numbers=numbers)
    text = f"Units of this experiment are also in {_named(met)}, without a layer that keeps them apart"
    if same and state.definition.model is not None:
        text += f"; {_named(same)} {'changes' if len(same) == 1 else 'change'} the same model "
        text += f"({state.definition.model})"
    text += ". If they touch the same thing, put them into one layer; "
    text += "their joint effect is not what either shows."
    return Check(name="other experiments", severity=Severity.WARN, message=text, numbers=numbers)


def _named(others: Sequence[ExperimentState]) -> str:
    """The first few by name: a project may have a thousand."""
    names = ", ".join(other.key for other in others[:_NAMED])
    more = len(others) - _NAMED
    return f"{names} and {more:,} more" if more > 0 else names


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


def in_table(found: Sharing | Unseen, limits: Thresholds) -> Check:
    """Units that other experiments of the same table hold too, and whether their variants go together."""
    name = "other experiments"
    if isinstance(found, Unseen):
        return unchecked(name, found)
    share = found.elsewhere / found.units if found.units else 0.0
    p = None if found.tied is None or found.tied.p is None else min(1.0, found.tied.p * found.met)
    numbers = {"experiments": found.met, "units": found.elsewhere, "share": share, "p": p}
    if found.most is None or found.tied is None:
        text = f"No unit is in another of the table's {found.experiments} experiments."
        return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)
    if p is not None and p < limits.shared_p:
        text = (
            f"{found.tied.units:,} units ({found.tied.units / found.units:.1%}) are also in "
            f"{found.tied.experiment}, and who got which variant there goes together with the variants here "
            f"({fmt.p_is(p)}): the two effects cannot be told apart. Randomise them independently, or "
            "analyse the units that are in one only."
        )
        return Check(name=name, severity=Severity.WARN, message=text, numbers=numbers)
    where = found.most.experiment
    if found.met > 1:
        where = f"{found.met} other experiments, most of them ({found.most.units:,}) in {where}"
    text = f"{found.elsewhere:,} units ({share:.1%}) are also in {where}; "
    if p is None:
        text += "with a single variant there or here nothing can be said of how the assignments go together."
    else:
        text += f"the assignments are independent ({fmt.p_is(p)}), so the effects do not mix."
    return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The experiments of a table that ran on some of the same days: how many `others`, how many of these have
    a `broken` sample ratio, and the first and last of this one's days (ISO dates)."""

    others: int
    broken: int
    first: str
    last: str


def windows(evidence: Evidence, looks: DayLooks, severity: Sequence[Severity]) -> tuple[Window | Unseen, ...]:
    """Every experiment's window; `severity` is that of its sample ratio."""
    size = len(evidence.subjects)
    if size == 1:
        return (
            Unseen("the table holds one experiment" if evidence.closed else "one experiment is looked at"),
        )
    if not evidence.day_width:
        return (Unseen("no column `day` is named"),) * size
    there = np.flatnonzero(np.diff(looks.start))
    first, last = looks.days[looks.start[there]], looks.days[looks.start[there + 1] - 1]
    broken = np.array([severity[e] is Severity.INVALID for e in there.tolist()], dtype=bool)

    # on some of the same days = begun by the last one here, less those that had ended before the first
    def overlapping(some: NDArray[np.bool_]) -> NDArray[np.int64]:
        begun = np.searchsorted(np.sort(first[some]), last, side="right")
        return np.asarray(begun - np.searchsorted(np.sort(last[some]), first))

    others, wrong = overlapping(np.ones_like(broken)) - 1, overlapping(broken) - broken
    found: list[Window | Unseen] = [Unseen("no unit is left")] * size
    for place, e in enumerate(there.tolist()):
        found[e] = Window(
            others=int(others[place]), broken=int(wrong[place]), first=iso_day(int(first[place])),
            last=iso_day(int(last[place])),
        )  # fmt: skip
    return tuple(found)


def in_window(found: Window | Unseen, limits: Thresholds) -> Check:
    """Did many of the experiments that ran at the same time lose units? What broke them may be here too."""
    name = "window"
    if isinstance(found, Unseen):
        return unchecked(name, found)
    when = found.first if found.first == found.last else f"{found.first} to {found.last}"
    if not found.others:
        return unchecked(name, Unseen(f"no other experiment of the table ran at the same time ({when})"))
    share = found.broken / found.others
    numbers = {"others": found.others, "broken": found.broken, "share": share}
    told = f"{found.broken:,} of the {found.others:,} other experiments that ran at the same time ({when})"
    if found.broken >= limits.window_least and share >= limits.window_share:
        text = (
            f"{told} do not split as intended ({share:.0%}): what broke their randomisation may have touched "
            "this one where its own split cannot show it. Trust it only once the cause is known."
        )
        return Check(name=name, severity=Severity.WARN, message=text, numbers=numbers)
    text = f"{told} do not split as intended."
    return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)
