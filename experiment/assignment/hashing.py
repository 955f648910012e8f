"""The GrowthBook hash: FNV-1a (32 bit) over UTF-16 code units, versions 1 and 2.

Version 2, the one our rules use: `n = fnv(str(fnv(seed + value))) % 10000`. Text in ASCII, where code units
are bytes, goes through the C implementation of fnv-hash-fast; other text through the loop below.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from fnv_hash_fast import fnv1a_32

from switchpoint.experiment.definition.types import BUCKETS

_OFFSET = 0x811C9DC5
_PRIME = 0x01000193
_MASK = 0xFFFFFFFF
_NATIVE_UTF16 = f"utf-16-{sys.byteorder[0]}e"


def fnv1a32(value: str) -> int:
    """FNV-1a over the UTF-16 code units of `value`, as JavaScript's charCodeAt sees them."""
    if value.isascii():
        return fnv1a_32(value.encode())
    state = _OFFSET
    for unit in memoryview(value.encode(_NATIVE_UTF16, "surrogatepass")).cast("H"):
        state = (state ^ unit) * _PRIME & _MASK
    return state


def hash_unit(seed: str, value: str, version: int) -> float | None:
    """The SDKs' `hash`: in [0, 1) for versions 1 (thousandths) and 2 (ten-thousandths), else None."""
    if version == 1:
        return fnv1a32(value + seed) % 1_000 / 1_000
    return hash_bucket(seed, value) / BUCKETS if version == 2 else None


def hash_bucket(seed: str, value: str) -> int:
    """The bucket 0..9999 of a value under a seed (hash version 2)."""
    return fnv1a32(str(fnv1a32(seed + value))) % BUCKETS


def bucketer(seed: str) -> Callable[[str], int]:
    """`hash_bucket` with the seed fixed and the calls inlined, for the hot path."""
    ascii_seed, fnv = seed.isascii(), fnv1a_32

    def bucket(value: str) -> int:
        if ascii_seed and value.isascii():
            return fnv(b"%d" % fnv((seed + value).encode())) % BUCKETS
        return hash_bucket(seed, value)

    return bucket
