"""What the rows of one table show: copies, damaged ids, the real unit, extremes, shared units."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from analysis import engine
from analysis.facts import Ids, Nesting, Shared
from analysis.tabular import Columns, Frame
from analysis.totals import Index

_SAMPLE = 100_000
"""Rows looked at for damaged ids: what damages ids damages many of them."""
_ID_NAME = re.compile(
    r"(^|_)(id|uuid|user|visitor|customer|account|member|household|device|cookie)$|Id$", re.IGNORECASE
)
# with a sign: hexadecimal ids such as 1e52 are none
_SCIENTIFIC = re.compile(r"^[+-]?\d(\.\d+)?[eE]\+\d+$")
_FLOAT = re.compile(r"^\d+\.0+$")
_NOBODY = frozenset({"", "null", "none", "nan", "na", "n/a", "unknown", "undefined", "anonymous"})
_WORTH_A_LOOK = r"[^a-z0-9_-]|^(?:null|none|nan|na|unknown|undefined|anonymous)?$"
"""Text ids that do not match are not damaged in any of these ways."""
_EXACT_FLOAT = 2.0**53


def copies(frame: Frame) -> int:
    """Rows that repeat another row in every plain column."""
    plain = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    return len(frame) - len(frame.select(*plain).unique()) if plain else 0


def ids(columns: Columns, column: str) -> Ids:
    """Ids of an evenly spaced sample of rows that look damaged, by what is wrong with them."""
    sample = columns.frame[column].gather_every(max(len(columns) // _SAMPLE, 1))
    if sample.dtype.is_integer() or (
        isinstance(sample.dtype, nw.String)
        and not sample.str.contains(_WORTH_A_LOOK).fill_null(value=True).any()
    ):
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


def nesting(frame: Frame, named: Sequence[str], variant: Callable[[], Index]) -> Nesting | None:
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


def _nested(frame: Frame, name: str, variants: Callable[[], Index]) -> Nesting | None:
    if not frame[name].null_count() and engine.distinct(frame, name):
        return None
    codes = Columns(frame=frame.select(name)).codes(name)
    size = np.bincount(codes)
    several = size > 1
    if not several.any():
        return None
    variant = variants()
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
