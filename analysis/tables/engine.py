"""Tables summed and searched by an engine of columns: Polars where installed, else their own library."""

from __future__ import annotations

from collections.abc import Mapping

import narwhals.stable.v2 as nw
import numpy as np

from switchpoint.analysis.tables.columns import Frame

UNITS = "\0n"
"""The column `summed` adds: rows per group."""
_DENSE = 8
"""Integer ids are ticked off on a list when their range is at most this many times their number."""


def engine(frame: Frame) -> Frame:
    """The same columns for Polars (numbers are not copied), or as they are where Polars is not installed."""
    if frame.implementation.is_polars():
        return frame
    try:
        return nw.from_native(frame.to_polars(), eager_only=True)
    except ModuleNotFoundError:
        return frame


def summed(
    frame: Frame, keys: Mapping[str, nw.Expr], factors: Mapping[str, nw.Expr], sums: Mapping[str, nw.Expr]
) -> Frame:
    """One row per group of equal keys, with its number of rows and the sum of every expression.

    `sums` read `factors` (by name), which are computed for all rows at once: inside a group-by Polars would
    round and clip group by group.
    """
    if frame.implementation.is_polars():
        each = [expression.sum().alias(name) for name, expression in sums.items()]
        rows = frame.lazy().select(**keys, **factors)
        return rows.group_by(*keys).agg(nw.len().alias(UNITS), *each).collect()
    held = frame.select(**keys, **factors).select(*keys, **sums)
    return held.group_by(*keys).agg(nw.len().alias(UNITS), *(nw.col(name).sum() for name in sums))


def looked_up(frame: Frame, wanted: Mapping[str, nw.Expr]) -> dict[str, float | int | bool | None]:
    """Figures of the whole table, by name, in one pass."""
    if not wanted:
        return {}
    if frame.implementation.is_polars():
        row = frame.lazy().select(**wanted).collect().row(0)
    else:
        row = frame.select(**wanted).row(0)
    return dict(zip(wanted, row, strict=True))


def distinct(frame: Frame, column: str) -> bool:
    """Whether no two rows hold the same value (integers and text, none missing)."""
    series = frame[column]
    if not len(series):
        return True
    if series.dtype.is_integer():
        low, high = int(series.min()), int(series.max())
        if high - low < _DENSE * len(series):
            seen = np.zeros(high - low + 1, dtype=bool)
            seen[series.to_numpy() - low] = True
            return int(np.count_nonzero(seen)) == len(series)
    elif frame.implementation.is_polars():
        # equal text has equal hashes, so distinct hashes are distinct text; a collision only costs time
        hashes = series.to_native().hash()
        if int(hashes.n_unique()) == len(series):
            return True
    return int(series.n_unique()) == len(series)
