"""What tables are asked: SQL text that turns rows into units, and units into exact sums. Nothing runs here.

The relations, each made of the one before it:

    rows      as loaded: `row`, its place in the table, and a column for whatever a role needs
    places    a row per experiment, variant, segment ... of rows: its number, and where it is counted
    placed    rows with their place, and the ledger's integers in place of the table's numbers
    units     a row per unit: the place of its first row, and its totals as every metric counts them
    clusters  the same of what was randomised, where that is not the unit

The sums of a cell are those of the ledger. Products are made in 64 bits where the largest numbers say that
they fit, else in 128; sums are kept in 128, so nothing is rounded and whatever does not fit is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from switchpoint.experiment.definition.types import DAY_MS, Measure, Metric, MetricType

_INT64 = 2**63
WIDE = "hugeint"


class Engine(Protocol):
    """What runs the queries; see `experiment.store.query.Session`."""

    def load(self, name: str, columns: Mapping[str, Any]) -> None:
        """Make a relation of columns."""

    def run(self, sql: str) -> None:
        """A statement without a result."""

    def values(self, sql: str) -> dict[str, list[Any]]:
        """The columns of a query's few rows as Python values."""

    def arrays(self, sql: str) -> dict[str, Any]:
        """The columns of a query's many rows of integers as numpy arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A whole number per row: how it is computed, and the largest absolute value it can have."""

    sql: str
    size: int

    def clipped(self, cap: int) -> Number:
        """Within ±cap."""
        if self.size <= cap:
            return self
        return Number(sql=f"cast(greatest({-cap}, least({cap}, {self.sql})) as bigint)", size=cap)

    def times(self, other: Number) -> str:
        """The product of two numbers of one row."""
        if self.size * other.size < _INT64:
            return f"{self.sql} * {other.sql}"
        return f"cast({self.sql} as {WIDE}) * {other.sql}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric's numbers: numerator, for ratios denominator; and its covariates with their minor units."""

    metric: Metric
    sides: tuple[Number, ...]
    before: tuple[Number, ...] = ()
    before_units: tuple[int, ...] = ()

    def each(self, side: Callable[[Number], Number], before: Callable[[Number], Number]) -> Measured:
        """Every number changed."""
        return replace(self, sides=tuple(map(side, self.sides)), before=tuple(map(before, self.before)))

    def counted(self) -> Measured:
        """A unit's totals as the metric counts them."""
        if self.metric.type is not MetricType.PROPORTION:
            return replace(self, sides=tuple(side.clipped(self.metric.cap) for side in self.sides))
        (side,) = self.sides
        some = side if side.size <= 1 else Number(sql=f"case when {side.sql} > 0 then 1 else 0 end", size=1)
        return replace(self, sides=(some,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Expressions of the columns of `rows`, by what they say of it; `keys` are columns themselves."""

    keys: tuple[str, ...]
    ms: str
    day: str
    unit: str | None
    cluster: str | None
    numbers: Mapping[str, str]

    def cast(self) -> dict[str, str]:
        """All of them but the keys, by name."""
        named = {"day": self.day, "ms": self.ms, "unit": self.unit, "cluster": self.cluster, **self.numbers}
        return {name: expression for name, expression in named.items() if expression}


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Rows in the order of time: `low` and `high` of the times (ms), and how many `rows` there are. Time and
    place make one number, so that the smallest one is that of the first row."""

    low: int
    high: int
    rows: int

    @property
    def key(self) -> str:
        """A row's turn."""
        if self.low == self.high:
            return "row"
        fits = (self.high - self.low + 1) * self.rows < _INT64
        since = f"(ms - {self.low})" if fits else f"cast(ms - {self.low} as {WIDE})"
        return f"{since} * {self.rows} + row"

    def row(self, key: str) -> str:
        """The row whose turn it is."""
        return f"{key} % {self.rows}"

    def within(self, key: str, window_ms: int) -> str | None:
        """Whether a row is less than a window after the first; None where all are."""
        if not window_ms or self.high - self.low < window_ms:
            return None
        return f"ms - {self.low} - {key} // {self.rows} < {window_ms}"


def whole(column: str, scale: int) -> str:
    """An integer or a truth value in minor units."""
    return f"cast({column} as bigint)" + (f" * {scale}" if scale > 1 else "")


def nearest(column: str, scale: int) -> str:
    """A double in minor units, where none of the column is near a tie."""
    return f"cast(round(cast({column} as double) * {scale}e0) as bigint)"


def half_even(column: str, scale: int) -> str:
    """A double in minor units, rounded half to even on its shortest decimal digits, as `Decimal(repr(x))` is.

    The digits are a tie exactly when the double is the one nearest to the tie; both parts of that quotient
    are exact as long as the result is below 2^52, so the division finds it.
    """
    value, floor = f"cast({column} as double)", f"floor(cast({column} as double) * {scale}e0)"
    tie = f"({floor} * 2 + 1) / {2 * scale}e0"
    odd = f"floor({floor} / 2) * 2 <> {floor}"
    up = f"{value} > {tie} or ({value} = {tie} and {odd})"
    return f"cast({floor} + case when {up} then 1 else 0 end as bigint)"


def milliseconds(column: str, *, zone: bool) -> str:
    """A timestamp of any unit, in UTC or with a `zone`, as milliseconds since 1970."""
    return (
        f"cast(floor(epoch_us(cast({column} as {'timestamptz' if zone else 'timestamp'})) / 1e3) as bigint)"
    )


def day_of(at: str) -> str:
    """The UTC day number of a time in milliseconds."""
    return f"cast(floor({at} / {DAY_MS}e0) as integer)"


def figures(column: str, scales: Iterable[int], *, doubles: bool, missing: bool) -> dict[str, str]:
    """What decides how a column is cast, by name: its ends; if some are missing, how many values there are;
    of doubles how far they are from whole numbers in minor units. NaN is the largest of all."""
    found = {"low": f"min({column})", "high": f"max({column})"}
    if missing:
        found["count"] = f"count({column})"
    for scale in scales if doubles else ():
        scaled = f"cast({column} as double) * {scale}e0"
        found[f"off{scale}"] = f"max(abs({scaled} - round({scaled})))"
    return {f"{column}_{name}": expression for name, expression in found.items()}


def of_rows(wanted: Mapping[str, str], rows: str = "rows") -> str:
    """Expressions of all rows of a relation, by name."""
    return f"select {select(wanted)} from {rows}"


def among(label: str, relation: str) -> str:
    """Whether a label is one of those loaded."""
    return f"{label} in (select label from {relation})"


def places(keys: Sequence[str], rows: str = "rows") -> str:
    """The first row and the number of rows of all different keys, in the order in which they appear."""
    return f"select min(row) as row, count(*) as units from {rows} group by {', '.join(keys)} order by row"


def placed(roles: Roles) -> str:
    """Rows with the place they are counted in."""
    return f"""
        select row, place, subject, variant, wrong, {select(roles.cast())}
        from rows join places using ({", ".join(roles.keys)})"""


def select(wanted: Mapping[str, str]) -> str:
    """Expressions by name, as they are selected."""
    return ", ".join(f"{expression} as {name}" for name, expression in wanted.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """How rows become units, and units clusters: in the order of `first`, for `many` experiments or one."""

    first: First
    many: bool
    cluster: bool
    window_ms: int

    def by(self, name: str) -> str:
        """What tells units or clusters apart."""
        return f"subject, {name}" if self.many else name


Units = tuple[str, tuple[Measured, ...]]
"""A query of units, and the numbers it has of every metric."""
_PLACE = "row, place, subject, variant, day"


def rows_alone(every: Sequence[Measured], roles: Roles) -> Units:
    """Rows that are all there is of their unit, by their keys."""
    chosen, measured = columns([one.counted() for one in every])
    keys = ", ".join(roles.keys)
    query = f"""
        select row, {keys}, day, false as contaminated, {select(chosen)}
        from (select row, {keys}, {select(roles.cast())} from rows)"""
    return query, measured


def rows_as_units(every: Sequence[Measured], grouping: Grouping, where: str = "true") -> Units:
    """The same by their places, among units with several rows or in clusters."""
    chosen, measured = columns([one.counted() for one in every])
    cluster = f"cluster, {grouping.first.key} as turn," if grouping.cluster else ""
    query = f"""
        select {_PLACE}, false as contaminated, 1 as exposures, wrong as mismatches, {cluster}
            {select(chosen)}
        from placed where {where}"""
    return query, measured


def rows_by_unit(every: Sequence[Measured], grouping: Grouping) -> Units:
    """Rows of one unit together, those of `placed` that are there `again`: it counts under its first row,
    whose covariates are its; the amounts of the rows within the window of that one add up."""
    first, by, source, amount = grouping.first, grouping.by("unit"), "placed where again", "{}"
    within = first.within("opened", grouping.window_ms)
    if within is not None:
        opened = f"select {by}, min({first.key}) as opened from {source} group by {by}"
        source = f"placed join ({opened}) as firsts using ({by})"
        amount = f"case when {within} then {{}} else 0 end"

    def total(number: Number) -> Number:
        return Number(sql=f"sum({amount.format(number.sql)})", size=number.size * first.rows)

    sums, totals = columns([replace(one.each(total, total).counted(), before=()) for one in every])
    chosen, measured = columns(
        [replace(one, before=own.before) for own, one in zip(every, totals, strict=True)]
    )
    query = f"""
        select {_PLACE}, contaminated, exposures, mismatches, {"cluster, turn," if grouping.cluster else ""}
            {select(chosen)}
        from (
            select min({first.key}) as turn, count(*) as exposures, cast(sum(wrong) as bigint) as mismatches,
                min(variant) <> max(variant) as contaminated, {select(in_64_bits(sums))}
            from {source} group by {by}
        ) as totals join placed on row = {first.row("turn")}"""
    return query, measured


def in_64_bits(sums: Mapping[str, str]) -> dict[str, str]:
    """Totals of units, which have a bound."""
    return {name: f"cast({expression} as bigint)" for name, expression in sums.items()}


def stored(name: str, query: str) -> str:
    """Make a relation of the rows of a query, which is read several times."""
    return f"create or replace temp table {name} as {query}"


def together(name: str, *queries: str) -> str:
    """The rows of a relation and of queries with the same columns."""
    return " union all ".join([f"select * from {name}", *queries])


SIZE = "unit"
"""Event name of the denominator that counts the units of a cluster."""


def units_by_cluster(every: Sequence[Measured], grouping: Grouping) -> Units:
    """Units of one cluster together: it counts under the unit that came first, with the totals of its units.
    A mean or share becomes a ratio to their number, and its covariate too."""
    rows = grouping.first.rows
    size = Number(sql="count(*)", size=rows)

    def total(number: Number) -> Number:
        return Number(sql=f"sum({number.sql})", size=number.size * rows)

    def clustered(one: Measured) -> Measured:
        summed = one.each(total, total)
        if one.metric.type is MetricType.RATIO:
            return summed
        ratio = replace(one.metric, type=MetricType.RATIO, denominator=Measure(event=SIZE))
        before, units = summed.before, summed.before_units
        if before:
            before, units = (before[0], size), (units[0], 1)
        return Measured(metric=ratio, sides=(summed.sides[0], size), before=before, before_units=units)

    chosen, measured = columns([clustered(one) for one in every])
    query = f"""
        select place, day, totals.* from (
            select min(turn) as first_turn, cast(sum(exposures) as bigint) as exposures,
                cast(sum(mismatches) as bigint) as mismatches,
                min(variant) <> max(variant) or bool_or(contaminated) as contaminated, {select(chosen)}
            from units group by {grouping.by("cluster")}
        ) as totals join units on turn = first_turn"""
    return query, measured


def columns(every: Sequence[Measured], prefix: str = "x") -> tuple[dict[str, str], tuple[Measured, ...]]:
    """The expressions of the numbers of all metrics by names of their own, and the metrics in these names."""
    chosen: dict[str, str] = {}

    def named(number: Number) -> Number:
        name = f"{prefix}{len(chosen)}"
        chosen[name] = number.sql
        return replace(number, sql=name)

    return chosen, tuple(one.each(named, named) for one in every)


def sums(one: Measured) -> Iterator[tuple[str, str]]:
    """The sums of a metric over units, each by its name in `Exact` and `Covariates`."""
    x, *below = one.sides
    yield "x", x.sql
    if one.metric.type is not MetricType.PROPORTION:
        yield "xx", x.times(x)
    for y in below:
        yield from (("y", y.sql), ("yy", y.times(y)), ("xy", x.times(y)))
    for i, past in enumerate(one.before):
        yield f"z{i}", past.sql
        yield from ((f"z{i}z{j}", past.times(other)) for j, other in enumerate(one.before) if j >= i)
        yield from ((f"s{s}z{i}", side.times(past)) for s, side in enumerate(one.sides))


def cells(every: Sequence[Measured], relation: str) -> str:
    """The sums by place, day and contamination."""
    return f"""
        select place, day, contaminated, count(*) as n, sum(exposures) as exposures,
            sum(mismatches) as mismatches, {_summed(every)}
        from {relation} group by place, day, contaminated"""


def cells_of_rows(every: Sequence[Measured], keys: Sequence[str]) -> str:
    """The sums of rows alone by their keys and day, in the order in which these appear."""
    return f"""
        select min(row) as row, day, count(*) as n, {_summed(every)}
        from units group by {", ".join(keys)}, day order by row"""


def _summed(every: Sequence[Measured]) -> str:
    """The sums of every metric, and the least and largest total of its sides."""
    wanted: dict[str, str] = {}
    for place, one in enumerate(every):
        wanted |= {f"{name}_{place}": f"sum({expression})" for name, expression in sums(one)}
        for s, side in enumerate(one.sides):
            wanted |= {f"{end}{s}_{place}": f"{end}({side.sql})" for end in ("min", "max")}
    return select(wanted)


def each_unit(keys: Sequence[str]) -> str:
    """The first row of every unit, with what was loaded of its group as `experiment` and `variant_of`."""
    return f"select row, experiment, variant_of from {_with_groups(keys)}"


def rows_where(condition: str, relation: str) -> str:
    """The rows that meet a condition."""
    return f"select row from {relation} where {condition}"


def farthest(every: Mapping[int, Measured], keys: Sequence[str]) -> str:
    """Per `owner` of the relation `groups` (owner, stratum_of, and the value of each metric by its number)
    the unit of one variant alone whose |x - value * y| is largest: of several the one whose first row comes
    first."""
    wanted: dict[str, str] = {}
    for place, one in every.items():
        x, *below = (side.sql for side in one.sides)
        unit = f"{{'stratum': stratum_of, 'x': {x}, 'y': {below[0] if below else 0}}}"
        away = f"abs({x} - value{place} * {below[0] if below else 1})"
        wanted[f"unit{place}"] = f"arg_max({unit}, ({away}, -row))"
    return f"""
        select owner, {select(wanted)} from {_with_groups(keys)}
        where not contaminated group by owner order by owner"""


def _with_groups(keys: Sequence[str]) -> str:
    """Units with what was loaded of their groups; several of these may have the same keys."""
    return f"units join (select distinct * from groups) using ({', '.join(keys)})"
