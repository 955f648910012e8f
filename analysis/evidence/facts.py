"""What only the rows of a source can show, and sums no longer can: seen once while reading, judged later.

Every part is either what was looked at, or `Unseen` with the reason: a check of it then says "not checked".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Unseen:
    """Nothing to look at; `why` ends the sentence "Not checked: ..."."""

    why: str


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
    """Another experiment with `units` of this one, and p of the two assignments being independent (None
    where one of them has a single variant)."""

    experiment: str
    units: int
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How many of an experiment's `units` are `elsewhere` too, in `met` of the other `experiments` of its
    table: the one with `most` of them, and the one whose assignment is most `tied` to this one's."""

    units: int
    elsewhere: int
    experiments: int
    met: int
    most: Shared | None
    tied: Shared | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Unit ids that look damaged, by what is wrong, with one example each: of a sample of `looked_at` rows,
    or of all events of a `live` ledger, which keeps no examples."""

    looked_at: int
    live: bool = False
    wrong: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Of `rows`, those that repeat another in every column and count again (`copies`); beside them events
    that came `repeated` under one id, of which one counts."""

    rows: int
    copies: int
    repeated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """Rows per variant that the condition kept, and those it excluded; `outcomes` are the columns it reads
    that a metric measures."""

    kept: Mapping[str, int]
    excluded: Mapping[str, int]
    outcomes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Outcomes `early` (within the hour before their unit's first exposure; of a ledger in its clock hour or
    the one before), `before` it at any time (None: not known), and `counted` inside the window; how many
    happened in the `hours` around the first exposure, by their number (empty: not known)."""

    early: int
    before: int | None
    counted: int
    hours: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Outcomes of a live ledger or a table by type: `read` those that the experiment's metrics read, of which
    `unexposed` are of units never exposed to anything and `joined` (early or counted) of its own units,
    `unread` those that no metric of the project reads. `outside`: those of its own units before the exposure
    or after its window (None: not known)."""

    read: Mapping[str, int]
    unexposed: int
    joined: int
    unread: Mapping[str, int]
    outside: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One experiment of a source.

    `unreadable`: why a row of it cannot be read ("" where all can). `served`, `fallbacks` and `carried` say
    only whether the cells count them (None) or why not.
    """

    unreadable: str | Unseen
    served: Unseen | None
    fallbacks: Unseen | None
    carried: Unseen | None
    copies: Copies | Unseen
    ids: Ids | Unseen
    eligibility: Eligibility | Unseen
    nesting: tuple[Nesting, ...] | Unseen
    outcomes: Outcomes | Unseen
    arrived: Arrived | Unseen
    extremes: tuple[Extreme, ...] | Unseen
    sharing: Sharing | Unseen

    @classmethod
    def unseen(cls, why: str) -> Facts:
        """Nothing of it can be looked at, for one reason."""
        return cls(**{part.name: Unseen(why) for part in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a live ledger has not summed: units `pending` a refold, events that came too `late`."""

    pending: int
    late: int


_NOT_GIVEN = "the counts of what arrived were not given"

LEDGER = Facts(
    unreadable=Unseen("a ledger has no rows to read; every event is checked at its door"),
    served=None,
    fallbacks=None,
    carried=None,
    copies=Unseen("the ledger counts every event id once"),
    ids=Unseen(_NOT_GIVEN),
    eligibility=Unseen("conditions are those of the segments, before anybody is assigned"),
    nesting=Unseen("the ledger assigns the unit of the definition"),
    outcomes=Unseen(_NOT_GIVEN),
    arrived=Unseen(_NOT_GIVEN),
    extremes=Unseen("the ledger keeps sums, not single units"),
    sharing=Unseen("the other experiments of the project were not given"),
)
"""What the sums of a live ledger can show; its counts of what arrived are read beside them."""
