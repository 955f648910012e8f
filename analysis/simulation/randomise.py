"""The assignment of many units at once: the vectorised twin of `experiment.assignment.assign`.

The bucket of a unit is `fnv(str(fnv(salt + unit_id))) % 10000` with 32-bit FNV-1a over UTF-16 code units
(hash version 2 of the GrowthBook SDKs). `UnitIds` keeps the ids as columns of code units, longest id first,
so that one salt costs one pass per column over the ids that reach it; the decimal digits of the inner hash
are taken from tables. The integers are those of `experiment.assignment.hashing`, whatever the characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from switchpoint.experiment.assignment.hashing import fnv1a32
from switchpoint.experiment.definition.types import BUCKETS, Segment

Hashes = NDArray[np.uint32]
Places = NDArray[np.int64]

_OFFSET, _PRIME = np.uint32(0x811C9DC5), np.uint32(0x01000193)
_HALF = 100_000
"""The inner hash has up to ten decimal digits: those above and below 10^5 are looked up apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitIds:
    """Unit ids ready to be hashed under many salts.

    `order`: places of the ids by falling length. `columns`: the code units at each position, of the ids
    long enough to have one, in that order.
    """

    order: Places
    columns: tuple[Hashes, ...]

    def __len__(self) -> int:
        return len(self.order)

    def buckets(self, salt: str) -> Places:
        """`experiment.assignment.hashing.hash_bucket(salt, id)` of every id, in the order they were given."""
        state = np.full(len(self.order), fnv1a32(salt), dtype=np.uint32)
        for column in self.columns:
            reached = state[: len(column)]
            np.bitwise_xor(reached, column, out=reached)
            np.multiply(reached, _PRIME, out=reached)
        found = np.empty(len(self.order), dtype=np.int64)
        found[self.order] = _outer(state) % BUCKETS
        return found


def unit_ids(ids: Sequence[str]) -> UnitIds:
    """Lay the ids out by columns of UTF-16 code units."""
    encoded = [one.encode("utf-16-le", "surrogatepass") for one in ids]
    lengths = np.array([len(one) // 2 for one in encoded], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    flat = np.frombuffer(b"".join(encoded), dtype="<u2").astype(np.uint32)
    starts = (np.cumsum(lengths) - lengths)[order]
    longest = int(lengths.max(initial=0))
    reaching = [int((lengths > position).sum()) for position in range(longest)]
    columns = tuple(flat[starts[:count] + position] for position, count in enumerate(reaching))
    return UnitIds(order=order, columns=columns)


def allocate(buckets: Places, segments: Sequence[Segment], segment_of: Places) -> Places:
    """The variant (its place in the definition) of each bucket in its segment; -1 outside its ranges.

    Args:
        buckets: 0..9999 per unit. segments: with the traffic and allocation in force. segment_of: the place
            of each unit's segment.
    """
    table = np.full((len(segments), BUCKETS), -1, dtype=np.int64)
    for place, segment in enumerate(segments):
        for variant, (start, end) in enumerate(segment.ranges):
            table[place, start:end] = variant
    return np.asarray(table[segment_of, buckets])


def _outer(inner: Hashes) -> Hashes:
    """FNV-1a of the decimal text of each number."""
    leading, short, digits = _tables()
    high = inner // np.uint32(_HALF)
    low = inner - high * np.uint32(_HALF)
    state = leading[high]
    for digit in digits:
        np.bitwise_xor(state, digit[low], out=state)
        np.multiply(state, _PRIME, out=state)
    # numbers below 10^5 have no leading part and no leading zeros
    return np.where(high == 0, short[low], state)


@lru_cache(maxsize=1)
def _tables() -> tuple[Hashes, Hashes, tuple[Hashes, ...]]:
    """FNV states after the digits of n // 10^5 and of whole numbers below 10^5; the five digits below."""
    highest = 2**32 // _HALF + 1
    texts = unit_ids([str(number) for number in range(_HALF)])
    state = np.full(_HALF, _OFFSET, dtype=np.uint32)
    for column in texts.columns:
        state[: len(column)] = (state[: len(column)] ^ column) * _PRIME
    short = np.empty(_HALF, dtype=np.uint32)
    short[texts.order] = state
    numbers = np.arange(_HALF, dtype=np.uint32)
    digits = tuple(
        numbers // np.uint32(10**power) % np.uint32(10) + np.uint32(ord("0")) for power in range(4, -1, -1)
    )
    return short[:highest], short, digits
