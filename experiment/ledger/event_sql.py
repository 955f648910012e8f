"""What the two tables of events are asked: the reference fold as queries. Nothing runs here.

The relations beside those of `experiment.ledger.sql`, each made of the ones before it:

    events    outcomes as loaded, `placed` the exposures; both have the column `id` where their tables have
    kinds     the number of every type of outcome
    exposed   a row per exposed unit: the place of its first exposure (by time, then id), and when that was
    joined    outcomes with each unit they are of: the time `since` its first exposure, and whether they count
    units     exposed units with their totals as every metric counts them

An outcome counts when it lies in [first exposure, first exposure + window). An event is counted once per
(unit, id, day); rows of a table without ids are all different events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from switchpoint.experiment.ledger.sql import Grouping, Measured, Number, Units, columns, in_64_bits, select
from switchpoint.experiment.ledger.times import MONTH, QUARTER, WEEK

HOUR_MS = 3_600_000
_PERIODS = {WEEK: "week", MONTH: "month", QUARTER: "quarter"}


def beginning(ms: str, width: int) -> str:
    """When the day, week, month or quarter of a time began, in milliseconds."""
    period = _PERIODS.get(width, "day")
    return f"epoch_us(date_trunc('{period}', make_timestamp({ms} * 1000))) // 1000"


def exposed(every: Sequence[Measured], grouping: Grouping, *, ids: bool) -> Units:
    """Exposed units, and the covariates of their first exposure."""
    by = grouping.by("unit")
    kept, order = "placed", "(ms, row)"
    if ids:
        kept = f"placed where row in (select min(row) from placed group by {by}, id, day)"
        order = "(ms, cast(id as varchar), row)"
    chosen, measured = columns([replace(one, sides=()) for one in every], "z")
    more = [
        "row",
        "place",
        "subject",
        "variant",
        "day",
        "ms",
        "unit",
        "contaminated",
        "exposures",
        "mismatches",
    ]
    more += ["cluster", f"{grouping.first.key} as turn"] if grouping.cluster else []
    more += [select({name: expression}) for name, expression in chosen.items()]
    query = f"""
        select {", ".join(more)} from (
            select arg_min(row, {order}) as first_row, count(*) as exposures,
                cast(sum(wrong) as bigint) as mismatches, min(variant) <> max(variant) as contaminated
            from {kept} group by {by}
        ) as totals join placed on row = first_row"""
    return query, measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """Expressions of the columns of `events`; `key` is the column of their types."""

    key: str
    unit: str
    ms: str
    day: str
    id: str | None

    def joined(self, window_ms: int, opened: str) -> str:
        """Outcomes with their units, whose first exposure counts as `opened` then."""
        kept = (
            "true"
            if self.id is None
            else f"row = min(row) over (partition by {self.unit}, {self.id}, {self.day})"
        )
        window = f"and since < {window_ms}" if window_ms else ""
        return f"""
            select row, exposure, subject, kind, kept, since, kept and since >= 0 {window} as inside
            from (
                select happened.row, exposed.row as exposure, subject, kind, kept,
                    happened.ms - {opened} as since
                from (
                    select row, kind, {self.unit} as unit, {self.ms} as ms, {kept} as kept
                    from events join kinds using ({self.key})
                ) as happened join exposed using (unit)
            )"""


def fates() -> str:
    """Per experiment what became of the outcomes of its units."""
    wanted = {
        "copies": "not kept",
        "early": f"kept and since < 0 and since >= -{HOUR_MS}",
        "before": "kept and since < 0",
        "after": "kept and since >= 0 and not inside",
        "counted": "inside",
    }
    counts = {name: f"count(*) filter (where {condition})" for name, condition in wanted.items()}
    return f"select subject, {select(counts)} from joined group by subject"


def met(kinds: Collection[int]) -> str:
    """How many outcomes of these types are of exposed units."""
    among = ", ".join(map(str, kinds)) or "null"
    return f"select count(distinct row) as met from joined where kind in ({among})"


def hours(most: int) -> str:
    """Outcomes by experiment and whole hours since the first exposure, from -most to most."""
    return f"""
        select subject, cast(floor(since / {HOUR_MS}e0) as integer) as hour, count(*) as outcomes
        from joined where kept and since >= -{most * HOUR_MS} and since < {most * HOUR_MS}
        group by subject, hour"""


def counting(kind: int) -> str:
    """Outcomes of a type that count, with their columns as loaded."""
    return f"(select * from joined join events using (row) where inside and kind = {kind})"


def units(every: Sequence[Measured], sums: Mapping[str, tuple[int, Number]], rows: int) -> Units:
    """Exposed units with their totals; `every` has the names of `sums` (the type of outcome, and what each
    adds) in place of sides."""
    totals = {
        name: f"sum(case when inside and kind = {kind} then {number.sql} else 0 end)"
        for name, (kind, number) in sums.items()
    }

    def total(number: Number) -> Number:
        return Number(sql=f"coalesce({number.sql}, 0)", size=sums[number.sql][1].size * rows)

    counted = [replace(one, sides=tuple(map(total, one.sides))).counted() for one in every]
    chosen, sides = columns([replace(one, before=()) for one in counted])
    measured = tuple(replace(one, before=past.before) for one, past in zip(sides, every, strict=True))
    query = f"""
        select exposed.*, {select(in_64_bits(chosen))} from exposed left join (
            select exposure, {select(totals)} from joined join events using (row) group by exposure
        ) as totals on exposure = exposed.row"""
    return query, measured
