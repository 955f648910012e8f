"""Whether the values of a column repeat."""

from __future__ import annotations

import numpy as np

from switchpoint.analysis.tables.columns import Frame

_DENSE = 8
"""Integer ids are ticked off on a list when their range is at most this many times their number."""


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
