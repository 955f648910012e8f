"""What only the rows of a table can show, and sums no longer can: seen once while reading, judged later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme:
    """The unit that moves one variant's value of a metric most: its totals in minor units, and its places."""

    metric: str
    variant: int
    stratum: int
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nesting:
    """A column whose values have several rows: `values` of them, `mixed` with several variants, of which
    `expected` would be if rows had been randomised one by one."""

    column: str
    values: int
    mixed: int
    expected: float
    rows_per_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Units of this experiment that another one in the same table holds too, by variant of both."""

    experiment: str
    units: int
    table: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Unit ids of a sample of `looked_at` rows that look damaged, by what is wrong, with one example each."""

    looked_at: int
    wrong: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One experiment of a table.

    `rows` as given, of them `excluded` per variant by the condition (`kept` beside it). `copies`: rows that
    repeat another row in every column and count again; `repeated`: events of one id, counted once. `early`:
    outcomes within the hour before their unit's first exposure,
    `before` at any time before it, `counted` the ones inside the window, `unexposed` of units that were
    never exposed.
    """

    rows: int
    units: int
    kept: Mapping[str, int] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    copies: int = 0
    repeated: int = 0
    early: int = 0
    before: int = 0
    counted: int = 0
    unexposed: int = 0
    ids: Ids | None = None
    nesting: Nesting | None = None
    extremes: tuple[Extreme, ...] = ()
    shared: tuple[Shared, ...] = ()
