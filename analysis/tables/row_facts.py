"""What the rows of one table show: copies, damaged ids, the real unit, extremes, shared units."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse

from switchpoint.analysis.evidence.facts import Ids, Nesting, Shared, Sharing
from switchpoint.analysis.evidence.moments import Index
from switchpoint.analysis.inference.shares import associations
from switchpoint.analysis.tables.columns import Columns, Frame
from switchpoint.analysis.tables.relation import FEW, Rows, repeated
from switchpoint.experiment.ledger import sql
from switchpoint.experiment.ledger.event import PLACEHOLDERS, damage_of
from switchpoint.experiment.ledger.sql import Engine

Series = nw.Series[Any]
_OWNER = "\0owner"

_SAMPLE = 100_000
"""Rows looked at for damaged ids: what damages ids damages many of them."""
_ID_NAME = re.compile(
    r"(^|[_ .-])(u?id|uuid|guid|user|visitor|customer|client|account|member|subscriber|person|patient|email"
    r"|household|device|cookie|session|store|shop|school)$|(user|customer|client|account|device|session|visitor)id$|Id$",
    re.IGNORECASE,
)
_WORTH_A_LOOK = f"[^a-z0-9_-]|^(?:{'|'.join(sorted(map(re.escape, PLACEHOLDERS)))})$"
"""Text ids that do not match are not damaged in any of these ways."""
_EXACT_FLOAT = 2.0**53


def copies(engine: Engine, frame: Frame, owner: Index, experiments: int) -> list[int]:
    """Rows of every experiment that repeat another row in every plain column; `owner` is each row's."""
    plain = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    if not plain or not len(frame):
        return [0] * experiments
    if len(frame) > FEW:
        some = _suspects(engine, frame.select(*plain))
        frame, owner = frame[some.tolist()], owner[some]
    if experiments == 1:
        return [len(frame) - len(frame.select(*plain).unique())]
    owned = nw.new_series(_OWNER, owner, nw.Int64, backend=frame.implementation)
    once = frame.select(*plain).with_columns(owned).unique()[_OWNER].to_numpy()
    size = np.bincount(owner, minlength=experiments) - np.bincount(once, minlength=experiments)
    return [int(number) for number in size]


def _suspects(engine: Engine, frame: Frame) -> Index:
    """The rows that may be like another one."""
    rows = Rows(engine=engine, columns=Columns(frame=frame), relation="whole")
    names = [rows.any(name) for name in frame.columns]
    rows.load()
    alike = repeated(rows, names)
    if not alike:
        return np.zeros(0, dtype=np.int64)
    return np.sort(engine.arrays(sql.rows_where(alike, rows.relation))["row"])


def ids(values: Series, owner: Index, experiments: int) -> tuple[Ids, ...]:
    """Per experiment the ids of an evenly spaced sample of its rows that look damaged, by what is wrong."""
    if experiments == 1:
        return (_ids(values.gather_every(max(len(values) // _SAMPLE, 1))),)
    size = np.bincount(owner, minlength=experiments)
    if _sound(values):
        return tuple(Ids(looked_at=_looked_at(int(n))) for n in size)
    order, end = np.argsort(owner, kind="stable"), np.cumsum(size)
    rows = [order[stop - n : stop : max(int(n) // _SAMPLE, 1)] for n, stop in zip(size, end, strict=True)]
    return tuple(_ids(values[part.tolist()]) for part in rows)


def _looked_at(rows: int) -> int:
    """How many of so many rows the sample holds."""
    return len(range(0, rows, max(rows // _SAMPLE, 1)))


def _sound(values: Series) -> bool:
    """Whether ids of this kind, or these ids, cannot be damaged in any way that is known."""
    return values.dtype.is_integer() or (
        isinstance(values.dtype, nw.String)
        and not values.str.contains(_WORTH_A_LOOK).fill_null(value=True).any()
    )


def _ids(sample: Series) -> Ids:
    if _sound(sample):
        return Ids(looked_at=len(sample))
    values = sample.to_list()
    kinds = {type(value) for value in values}
    wrong: dict[str, int] = {}
    examples: dict[str, str] = {}

    def note(what: str, value: object) -> None:
        wrong[what] = wrong.get(what, 0) + 1
        examples.setdefault(what, str(value))

    if len(kinds) > 1:
        rarest = min(kinds, key=lambda kind: sum(type(value) is kind for value in values))
        for value in values:
            if type(value) is rarest:
                note("mixed types", value)
    texts = {value for value in values if isinstance(value, str)}
    for value in values:
        for what in _damage(value, texts):
            note(what, value)
    return Ids(looked_at=len(values), wrong=wrong, examples=examples)


def _damage(value: object, texts: set[str]) -> list[str]:
    if isinstance(value, float):
        return ["rounded numbers"] if abs(value) >= _EXACT_FLOAT else []
    text = str(value)
    damage = damage_of(text)
    if damage is not None:
        return [damage]
    return ["upper and lower case mixed"] if text != text.lower() and text.lower() in texts else []


def may_be_units(frame: Frame, named: Sequence[str]) -> list[str]:
    """The columns called as units are, of those that the source does not name."""
    return [
        name
        for name, kind in frame.schema.items()
        if name not in named and not kind.is_nested() and _ID_NAME.search(name)
    ]


def nesting(
    engine: Engine, frame: Frame, names: Sequence[str], owner: Index, variant: Index, experiments: int
) -> tuple[tuple[Nesting, ...], ...]:
    """Per experiment the columns that may be the unit, because their values repeat.

    Had rows been randomised, a value with several rows would hold several variants about as often as chance
    says; a column whose values hold one each says that it is what was randomised.

    Args:
        frame: one row per unit. names: its columns to look at. owner, variant: of every row.
    """
    every: list[list[Nesting]] = [[] for _ in range(experiments)]
    for name in names:
        if _all_different(engine, frame.select(name)):
            continue
        for e, found in _nested(frame, name, owner, variant, experiments):
            every[e].append(found)
    return tuple(map(tuple, every))


def _all_different(engine: Engine, frame: Frame) -> bool:
    """Whether no value of the one column has two rows."""
    if len(frame) <= FEW:
        return int(frame[frame.columns[0]].n_unique()) == len(frame)
    return not len(_suspects(engine, frame))


def _nested(
    frame: Frame, name: str, owner: Index, variants: Index, experiments: int
) -> Iterator[tuple[int, Nesting]]:
    missing = (
        frame[name].is_null() | frame[name].is_nan()
        if frame.schema[name].is_float()
        else frame[name].is_null()
    )
    there = np.flatnonzero(~missing.to_numpy())
    if not len(there):
        return
    whole = len(there) == len(frame)
    codes = Columns(frame=frame.select(name) if whole else frame.select(name)[there.tolist()]).codes(name)
    who, variant = owner[there], variants[there]
    pair, where = np.unique(who * (int(codes.max()) + 1) + codes, return_inverse=True)
    of = pair // (int(codes.max()) + 1)
    size = np.bincount(where)
    several = size > 1
    low, high = np.full(len(pair), np.iinfo(np.int64).max), np.full(len(pair), -1)
    np.minimum.at(low, where, variant)
    np.maximum.at(high, where, variant)
    width = int(variant.max()) + 1
    rows = np.bincount(who, minlength=experiments)
    count = np.bincount(who * width + variant, minlength=experiments * width).reshape(experiments, width)
    share = count / np.maximum(rows, 1)[:, None]
    alike = (share[of[several]] ** size[several][:, None]).sum(axis=1)
    expected = np.bincount(of[several], weights=1 - alike, minlength=experiments)
    values, mixed, distinct = (
        np.bincount(of[chosen], minlength=experiments)
        for chosen in (several, several & (low != high), size > 0)
    )
    for e in np.flatnonzero(values).tolist():
        yield e, Nesting(
            column=name, values=int(values[e]), mixed=int(mixed[e]), expected=float(expected[e]),
            rows_per_value=float(rows[e] / distinct[e]),
        )  # fmt: skip


def sharing(
    unit: Index, owner: Index, variant: Index, sizes: Sequence[tuple[str, int]]
) -> tuple[Sharing, ...]:
    """Per experiment of one table how many of its units are in others, and whether the assignments of two
    that share units are independent (Pearson's chi-square over the units they share).

    Args:
        unit: of every unit row, one number for the same unit in every experiment. sizes: key and number of
            variants of every experiment.
    """
    width = max((variants for _, variants in sizes), default=1)
    group = owner * width + variant
    _, code = np.unique(unit, return_inverse=True)
    rows = np.bincount(code)
    elsewhere = np.bincount(owner, weights=rows[code] > 1, minlength=len(sizes))
    several = rows[code] > 1  # only units of several experiments meet anybody
    ones = np.ones(int(several.sum()), dtype=np.int64)
    member = sparse.csr_array((ones, (code[several], group[several])), shape=(len(rows), len(sizes) * width))
    joint = (member.T @ member).tocoo()
    a, b = joint.row // width, joint.col // width
    table = a != b
    pair, where = np.unique(a[table] * len(sizes) + b[table], return_inverse=True)
    counts = np.zeros((len(pair), width, width))
    counts[where, joint.row[table] % width, joint.col[table] % width] = joint.data[table]
    units, p = counts.sum(axis=(1, 2)), associations(counts)
    here, there = pair // len(sizes), pair % len(sizes)
    most, tied = np.lexsort((-units, here)), np.lexsort((np.where(np.isnan(p), 2.0, p), here))
    start = np.searchsorted(here, np.arange(len(sizes) + 1))

    def other(place: int) -> Shared:
        key, value = sizes[int(there[place])][0], float(p[place])
        return Shared(experiment=key, units=int(units[place]), p=None if isnan(value) else value)

    return tuple(
        Sharing(
            units=int(total), elsewhere=int(shared), experiments=len(sizes), met=int(end - first),
            most=other(most[first]) if end > first else None,
            tied=other(tied[first]) if end > first else None,
        )
        for first, end, total, shared in zip(
            start, start[1:], np.bincount(owner, minlength=len(sizes)), elsewhere, strict=False
        )
    )  # fmt: skip
