"""What the rows of one table show: copies, damaged ids, the real unit, extremes, shared units."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.facts import Extreme, Ids, Nesting, Shared
from analysis.tabular import Columns, Frame
from analysis.totals import Index
from analysis.unit_table import UnitTable
from experiment.definition import Metric, MetricType

_SAMPLE = 100_000
"""Rows looked at for damaged ids: what damages ids damages many of them."""
_ID_NAME = re.compile(
    r"(^|_)(id|uuid|user|visitor|customer|account|member|household|device|cookie)$|Id$", re.IGNORECASE
)
# with a sign: hexadecimal ids such as 1e52 are none
_SCIENTIFIC = re.compile(r"^[+-]?\d(\.\d+)?[eE]\+\d+$")
_FLOAT = re.compile(r"^\d+\.0+$")
_NOBODY = frozenset({"", "null", "none", "nan", "na", "n/a", "unknown", "undefined", "anonymous"})
_EXACT_FLOAT = 2.0**53


def copies(frame: Frame) -> int:
    """Rows that repeat another row in every plain column."""
    plain = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    return len(frame) - len(frame.select(*plain).unique()) if plain else 0


def ids(columns: Columns, column: str) -> Ids:
    """Ids of an evenly spaced sample of rows that look damaged, by what is wrong with them."""
    step = max(len(columns) // _SAMPLE, 1)
    values = columns.frame[column].gather_every(step).to_list()
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
    found = []
    if _SCIENTIFIC.match(text):
        found.append("scientific notation")
    if _FLOAT.match(text) and isinstance(value, str):
        found.append("numbers as decimals")
    if text.strip().lower() in _NOBODY:
        found.append("placeholders")
    if isinstance(value, str) and text != text.strip():
        found.append("spaces around them")
    elif isinstance(value, str) and text != text.lower() and text.lower() in texts:
        found.append("upper and lower case mixed")
    return found


def nesting(frame: Frame, named: Sequence[str], variant: Index) -> Nesting | None:
    """A column that was not named but behaves like the unit: it repeats, and never with two variants.

    Had rows been randomised, a value with several rows would hold several variants about as often as chance
    says; a column whose values hold one each says that it is what was randomised.
    """
    best = None
    for name in frame.columns:
        kind = frame.schema[name]
        plain = not kind.is_nested() and not kind.is_float()
        if name in named or not plain or not _ID_NAME.search(name):
            continue
        found = _nested(frame, name, variant)
        if found is not None and (best is None or found.values > best.values):
            best = found
    return best


def _nested(frame: Frame, name: str, variant: Index) -> Nesting | None:
    codes = Columns(frame=frame.select(name), rows=np.arange(len(frame))).codes(name)
    size = np.bincount(codes)
    several = size > 1
    if not several.any():
        return None
    low = np.full(len(size), np.iinfo(np.int64).max)
    high = np.full(len(size), -1)
    np.minimum.at(low, codes, variant)
    np.maximum.at(high, codes, variant)
    share = np.bincount(variant) / len(variant)
    alike = (share[:, None] ** size[several]).sum(axis=0)
    return Nesting(
        column=name,
        values=int(several.sum()),
        mixed=int((several & (low != high)).sum()),
        expected=float((1 - alike).sum()),
        rows_per_value=len(frame) / len(size),
    )


def extremes(units: UnitTable, metrics: Sequence[Metric]) -> tuple[Extreme, ...]:
    """Per metric and variant the unit farthest from what is typical: |x − R·y|, R the variant's value."""
    found = []
    for metric, column in zip(metrics, units.columns, strict=True):
        if metric.type is MetricType.PROPORTION:
            continue
        for v in range(int(units.variant.max(initial=0)) + 1):
            mine = np.flatnonzero((units.variant == v) & ~units.contaminated)
            if not len(mine):
                continue
            sides = [side[mine].astype(np.float64) for side in column.sides]
            x, y = sides[0], sides[1] if len(sides) > 1 else np.ones_like(sides[0])
            value = x.sum() / y.sum() if y.sum() > 0 else 0.0
            place = int(mine[np.argmax(np.abs(x - value * y))])
            below = int(column.sides[1][place]) if len(sides) > 1 else 0
            stratum = int(units.stratum[place])
            found.append(
                Extreme(metric=metric.key, variant=v, stratum=stratum, x=int(column.sides[0][place]), y=below)
            )
    return tuple(found)


def shared(
    unit: Index, subject: Index, variant: Index, sizes: Sequence[tuple[str, int]]
) -> tuple[tuple[Shared, ...], ...]:
    """Per experiment of one table the others that hold some of its units, counted variant by variant.

    Args:
        unit: of every unit row, one number for the same unit in every experiment. sizes: key and number of
            variants of every experiment.
    """
    order = np.lexsort((subject, unit))
    u, s, v = unit[order], subject[order], variant[order]
    joint: dict[tuple[int, int], NDArray[np.int64]] = {}
    # rows of one unit lie side by side: pair each with the next, the one after it, ...
    for gap in range(1, int(np.bincount(np.unique(u, return_inverse=True)[1]).max(initial=1))):
        same = np.flatnonzero(u[gap:] == u[:-gap])
        for mine, other in ((same, same + gap), (same + gap, same)):
            pair = s[mine] * len(sizes) + s[other]
            for code in np.unique(pair).tolist():
                a, b = divmod(code, len(sizes))
                here = pair == code
                table = joint.setdefault((a, b), np.zeros((sizes[a][1], sizes[b][1]), dtype=np.int64))
                np.add.at(table, (v[mine[here]], v[other[here]]), 1)
    return tuple(
        tuple(
            Shared(experiment=sizes[b][0], units=int(t.sum()), table=tuple(map(tuple, t.tolist())))
            for (a, b), t in joint.items()
            if a == place
        )
        for place in range(len(sizes))
    )
