"""The facts of a table's rows, per experiment, gathered per shape while the rows are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import narwhals.stable.v2 as nw
import numpy as np

from switchpoint.analysis.evidence.facts import (
    Arrived,
    Copies,
    Eligibility,
    Extreme,
    Facts,
    Ids,
    Nesting,
    Outcomes,
    Unseen,
)
from switchpoint.analysis.evidence.moments import Index
from switchpoint.analysis.tables import row_facts
from switchpoint.analysis.tables.columns import Columns, Frame
from switchpoint.analysis.tables.events import Folded
from switchpoint.analysis.tables.extremes import extremes
from switchpoint.analysis.tables.unit_sums import UnitSums
from switchpoint.experiment.definition.condition import attribute_names
from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.ledger.sql import Engine

_GROUPS = "a row counts many units"
_NO_UNIT = "every row is taken as a unit of its own (no `unit` is named)"
_CLOSED = "a table has no epochs, in which units could come back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a table: `columns` of its eligible rows, `excluded` the others, `whole` the eligible rows
    with every column of the table. `experiments` by key; `owner` is the place of every eligible row's."""

    source: Source
    columns: Columns
    excluded: Columns
    whole: Frame
    experiments: Sequence[str]
    owner: Index

    @property
    def outside(self) -> Index:
        """The experiment of every excluded row; −1 where it is none of these."""
        if self.source.experiment is None:
            return np.zeros(len(self.excluded), dtype=np.int64)
        return self.excluded.among(self.source.experiment, self.experiments)

    @property
    def size(self) -> list[int]:
        """Eligible rows of every experiment."""
        return [int(n) for n in np.bincount(self.owner, minlength=len(self.experiments))]


_TABLE = "only a live ledger counts what arrives for nobody"


def groups_seen(rows: Rows, engine: Engine) -> tuple[Facts, ...]:
    """Of a table whose rows are groups of units."""
    return _each(rows, Facts.unseen(_GROUPS), copies=_copies(rows, engine, np.arange(len(rows.owner))))


def units_seen(rows: Rows, units: UnitSums) -> tuple[Facts, ...]:
    """Of a table of units or visits."""
    source = rows.source
    copies: Sequence[Copies | Unseen] = [Unseen(_NO_UNIT)] * len(rows.experiments)
    if source.unit is not None:
        copies = _copies(rows, units.engine, units.repeated_rows())  # a copy is of the same unit
    base = replace(
        Facts.unseen("a table of units has no times of outcomes"),
        served=None if source.served is not None else Unseen("no column `served` is named"),
        fallbacks=Unseen("a table does not record fallbacks"),
        carried=Unseen(_CLOSED),
        nesting=Unseen(f"the source says what was randomised (`cluster: {source.cluster}`)"),
        sharing=Unseen("the table holds one experiment"),
        arrived=Unseen(_TABLE),
        extremes=Unseen("clusters are compared, not units"),
    )
    found = _each(rows, base, copies=copies)
    if source.cluster is None:
        seen = zip(found, _nesting(rows, units), extremes(units), strict=True)
        found = tuple(replace(facts, nesting=nested, extremes=far) for facts, nested, far in seen)
    if len(found) == 1:
        return found
    if source.unit is None:
        return tuple(replace(facts, sharing=Unseen(_NO_UNIT)) for facts in found)
    return _shared(found, rows, units)


def _nesting(rows: Rows, units: UnitSums) -> tuple[tuple[Nesting, ...], ...]:
    """Columns that may be the unit, read on one row of every unit."""
    names = row_facts.may_be_units(rows.whole, rows.columns.frame.columns)
    if not names:
        return ((),) * len(rows.experiments)
    first, subject, variant = units.each()
    whole = rows.whole[first.tolist()] if units.repeated else rows.whole
    return row_facts.nesting(units.engine, whole, names, subject, variant, len(rows.experiments))


def events_seen(rows: Rows, folded: Folded) -> tuple[Facts, ...]:
    """Of two tables of events."""
    source, sums = rows.source, folded.sums
    far = [Unseen("clusters are compared, not units")] * len(rows.experiments)
    farthest: Sequence[tuple[Extreme, ...] | Unseen] = far if source.cluster is not None else extremes(sums)
    named = source.exposures is None or source.exposures.id is not None  # copies have one id
    copies = _copies(rows, sums.engine, np.arange(0 if named else len(rows.owner)))
    base = replace(
        Facts.unseen("clusters are compared, not units"),
        served=None if source.served is not None else Unseen("no column `served` is named"),
        fallbacks=Unseen("a table does not record fallbacks"),
        carried=Unseen(_CLOSED),
        nesting=Unseen("exposures are of the unit that outcomes name"),
        sharing=Unseen("the table holds one experiment"),
    )
    found = tuple(
        replace(
            facts,
            copies=replace(own, repeated=int(folded.copies[e])),
            outcomes=Outcomes(
                early=int(folded.early[e]),
                before=int(folded.before[e]),
                counted=int(folded.counted[e]),
                hours=folded.hours[e],
            ),
            arrived=Arrived(
                read=folded.read,
                unread=folded.unread,
                unexposed=folded.unexposed,
                joined=int(folded.early[e] + folded.counted[e]),
                outside=int(folded.before[e] - folded.early[e] + folded.after[e]),
            ),
            extremes=farthest[e],
        )
        for e, (facts, own) in enumerate(zip(_each(rows, base, copies=copies), copies, strict=True))
    )
    return found if len(found) == 1 else _shared(found, rows, sums)


def _each(rows: Rows, base: Facts, *, copies: Sequence[Copies | Unseen]) -> tuple[Facts, ...]:
    """What every shape shows: whether it can be read, its ids and what the condition left out."""
    return tuple(
        replace(base, unreadable="", copies=own, ids=ids, eligibility=kept)
        for own, ids, kept in zip(copies, _ids(rows), _eligibility(rows), strict=True)
    )


def _copies(rows: Rows, engine: Engine, among: Index) -> list[Copies]:
    """Copies among some of the rows."""
    whole = rows.whole if len(among) == len(rows.owner) else rows.whole[among.tolist()]
    found = row_facts.copies(engine, whole, rows.owner[among], len(rows.experiments))
    return [
        Copies(rows=size, copies=copies, repeated=0) for size, copies in zip(rows.size, found, strict=True)
    ]


def _ids(rows: Rows) -> Sequence[Ids | Unseen]:
    """Looked at before the condition leaves rows out: what damages an id may also have lost its country."""
    unit, experiments = rows.source.unit, len(rows.experiments)
    if unit is None:
        why = _GROUPS if rows.source.shape in {Shape.COUNTS, Shape.MOMENTS} else _NO_UNIT
        return [Unseen(why)] * experiments
    values, owner = rows.columns.frame[unit], rows.owner
    if len(rows.excluded):
        outside = rows.outside
        there = np.flatnonzero(outside >= 0)
        others = rows.excluded.frame.select(unit)[there.tolist()]
        values = nw.concat([rows.columns.frame.select(unit), others])[unit]
        owner = np.concatenate([owner, outside[there]])
    return row_facts.ids(values, owner, experiments)


def _eligibility(rows: Rows) -> Sequence[Eligibility | Unseen]:
    """Rows kept by the condition and rows it left out, per variant."""
    column, experiments = rows.source.variant, len(rows.experiments)
    if not rows.source.eligible:
        return [Unseen("no condition `eligible` is given")] * experiments
    if column is None:
        return [Unseen("every row is a variant of its own")] * experiments
    if not len(rows.excluded):
        return [Eligibility(kept={}, excluded={})] * experiments
    kept = _by_label(rows.columns, column, rows.owner, experiments)
    gone = _by_label(rows.excluded, column, rows.outside, experiments)
    measured = {c for roles in rows.source.columns.values() for role, c in roles.items() if role != "n"}
    asked = tuple(sorted(attribute_names(rows.source.eligible) & measured))
    return [Eligibility(kept=a, excluded=b, outcomes=asked) for a, b in zip(kept, gone, strict=True)]


def _by_label(columns: Columns, column: str, owner: Index, experiments: int) -> list[dict[str, int]]:
    """Rows per label in every experiment; rows without a label, or of no experiment, count for none."""
    names = columns.texts(column)
    codes = columns.among(column, names)
    there = (owner >= 0) & (codes >= 0)
    size = len(names)
    count = np.bincount(owner[there] * size + codes[there], minlength=experiments * size)
    return [
        {name: int(n) for name, n in zip(names, own, strict=True) if n}
        for own in count.reshape(experiments, size)
    ]


def _shared(found: tuple[Facts, ...], rows: Rows, units: UnitSums) -> tuple[Facts, ...]:
    """How the experiments of one table share their units."""
    first, subject, variant = units.each()
    most = np.zeros(len(found), dtype=np.int64)
    np.maximum.at(most, subject, variant + 1)
    sizes = list(zip(rows.experiments, most.tolist(), strict=True))
    unit = rows.columns.ids(str(rows.source.unit))[first]
    own = row_facts.sharing(unit, subject, variant, sizes)
    return tuple(replace(facts, sharing=sharing) for facts, sharing in zip(found, own, strict=True))
