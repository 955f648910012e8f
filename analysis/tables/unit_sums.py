"""Rows of units, or of their visits, as exact sums.

As in the ledger: a unit counts under its first row (by time, then place); rows within the window of it add
up; a unit with rows of several variants is contaminated. A covariate is read from the first row; a missing
one is 0, as a total before exposure is for a unit that was never seen before. Where clusters were randomised,
cells count clusters: a mean or share of units becomes a ratio of the cluster's total to its number of units,
whose variance between clusters the delta method knows (Deng, Knoblich, Lu 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from switchpoint.analysis.evidence.evidence import COUNTS, Cells
from switchpoint.analysis.evidence.moments import Covariates, Exact, Index, Integers, add_into, integers
from switchpoint.analysis.tables.columns import Columns
from switchpoint.analysis.tables.relation import FEW, Places, Rows, amounts, place, placed, repeated
from switchpoint.experiment.definition.source import Source
from switchpoint.experiment.definition.types import Experiment, Metric, Spec
from switchpoint.experiment.ledger import sql
from switchpoint.experiment.ledger.columns import covariate_columns, measured_columns, slot_of
from switchpoint.experiment.ledger.sql import Engine, First, Grouping, Measured, Number, Roles

_REPEATED = 0.2
"""Share of rows beyond the first of their unit up to which these units are summed apart from the others."""
_DENSE = 8
"""Integer ids are ticked off on a list when their range is at most this many times their number."""
EXPOSURES, MISMATCHES = COUNTS.index("exposures"), COUNTS.index("mismatches")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSums:
    """What a table's units add up to, and what else is to be asked of them.

    `units` is their query and `measured` the numbers in it; `groups` are the columns in it that say which of
    `places` a unit is counted in. `repeated` says in SQL which of the `size` rows are of units with several,
    "" where none are. `low` and `high` per metric and side are the ends of its totals in every experiment.
    """

    engine: Engine
    size: int
    units: str
    groups: Mapping[str, Any]
    places: Places
    metrics: tuple[Metric, ...]
    measured: tuple[Measured, ...]
    repeated: str
    day_width: int
    cells: Cells
    as_served: Cells | None
    low: tuple[tuple[Index, ...], ...]
    high: tuple[tuple[Index, ...], ...]

    def each(self) -> tuple[Index, Index, Index]:
        """The first row of every unit, in their order, its experiment and its variant."""
        where = self.places.layout
        self.engine.load("groups", {**self.groups, "experiment": where.subject, "variant_of": where.variant})
        found = self.engine.arrays(f"{self.units} {sql.each_unit([*self.groups])}")
        order = np.argsort(found["row"])
        return found["row"][order], found["experiment"][order], found["variant_of"][order]

    def repeated_rows(self) -> Index:
        """The rows of units that have several."""
        if self.repeated in {"", "true"}:
            return np.arange(self.size if self.repeated else 0)
        return np.sort(self.engine.arrays(f"{self.units} {sql.rows_where('again', 'placed')}")["row"])


def unit_sums(engine: Engine, columns: Columns, spec: Spec | Experiment, source: Source) -> UnitSums:
    """Sum a table of units.

    Raises:
        BadInput: a value that cannot be read (names column, row and value), or rows that cannot be placed.
    """
    rows = Rows(engine=engine, columns=columns)
    keys = rows.keys(source)
    ms, day, width = rows.times(source.day)
    unit = None if source.unit is None else rows.identity(source.unit)
    cluster = None if source.cluster is None else rows.identity(source.cluster)
    rows.load()
    again = "" if unit is None else _repeated(rows, unit, keys.get(str(source.experiment)))
    by_unit = bool(again or cluster)
    places = place(rows, [*keys.values()], spec, source) if by_unit else None
    measured, numbers, first = _measured(rows, spec.metrics, source, ms)
    roles = Roles(
        keys=tuple(keys.values()), ms=ms, day=day, unit=unit, cluster=cluster,
        numbers=numbers | ({"again": again} if again else {}),
    )  # fmt: skip
    if places is None:
        summed = _of_rows(rows, roles, measured, spec, source)
    else:
        grouping = Grouping(
            first=first, many=len(places.subjects) > 1, cluster=cluster is not None,
            window_ms=spec.window_ms or 0,
        )  # fmt: skip
        summed = _of_units(rows, roles, measured, places, grouping)
    return summed.sums(rows, repeated=again, day_width=width, clustered=cluster is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """Sums by place, day and contamination, `found` by their names in SQL, of what was `counted`: the units,
    which have the numbers `measured`, or clusters of them."""

    units: str
    groups: Mapping[str, Any]
    places: Places
    measured: tuple[Measured, ...]
    counted: tuple[Measured, ...]
    found: Mapping[str, Integers]

    def sums(self, rows: Rows, *, repeated: str, day_width: int, clustered: bool) -> UnitSums:
        """With what follows from them; clusters were not served one variant."""
        cells = self.cells()
        met = not clustered and bool(cells.counts[:, MISMATCHES].any())
        return UnitSums(
            engine=rows.engine, size=len(rows.columns), units=self.units, groups=self.groups,
            places=self.places,
            metrics=tuple(one.metric for one in self.counted), measured=self.measured, repeated=repeated,
            day_width=day_width, cells=cells, as_served=self.cells(as_served=True) if met else None,
            low=self.ends(np.minimum), high=self.ends(np.maximum),
        )  # fmt: skip

    def cells(self, *, as_served: bool = False) -> Cells:
        """As cells; as served every unit counts under the variant its first row was served, if it is one of
        the experiment's."""
        found, layout = self.found, self.places.layout
        variant = (self.places.served if as_served else layout.variant)[found["place"]]
        counts = np.zeros((len(variant), len(COUNTS)), dtype=np.int64)
        for column, name in ((0, "n"), (EXPOSURES, "exposures"), (MISMATCHES, "mismatches")):
            counts[:, column] = found[name]
        every = Cells(
            subject=layout.subject[found["place"]], stratum=layout.stratum[found["place"]], variant=variant,
            day=found["day"],
            contaminated=np.zeros(len(variant), bool) if as_served else found["contaminated"].astype(bool),
            counts=counts,
            totals=tuple(_exact(found, number, one) for number, one in enumerate(self.counted)),
        )  # fmt: skip
        return _merged(every.taken(np.flatnonzero(variant >= 0)))

    def ends(self, end: np.ufunc) -> tuple[tuple[Index, ...], ...]:
        """The least or largest total per experiment, by metric and side."""
        subject = self.places.layout.subject[self.found["place"]]
        order = np.argsort(subject, kind="stable")
        start = np.flatnonzero(np.diff(subject[order], prepend=-1))
        name = "min" if end is np.minimum else "max"
        return tuple(
            tuple(end.reduceat(self.found[f"{name}{s}_{place}"][order], start) for s in range(len(one.sides)))
            for place, one in enumerate(self.counted)
        )


def _of_rows(
    rows: Rows, roles: Roles, measured: Sequence[Measured], spec: Spec | Experiment, source: Source
) -> Summed:
    """Of rows that are all a unit each: summed where they lie, and placed afterwards."""
    single, numbers = sql.rows_alone(measured, roles)
    units = f"with units as ({single})"
    found = _columns(rows.engine.values(f"{units} {sql.cells_of_rows(numbers, roles.keys)}"))
    places = placed(rows.columns.take(found["row"]), spec, source, found["n"])
    found |= {
        "place": np.arange(len(found["row"])), "contaminated": np.zeros_like(found["n"]),
        "exposures": found["n"], "mismatches": found["n"] * places.wrong,
    }  # fmt: skip
    groups = {name: rows.values(name, found["row"]) for name in roles.keys}
    return Summed(units=units, groups=groups, places=places, measured=numbers, counted=numbers, found=found)


def _of_units(
    rows: Rows, roles: Roles, measured: Sequence[Measured], places: Places, grouping: Grouping
) -> Summed:
    """Of units with several rows, which are made a table of, among others; or of clusters of units."""
    placed_rows, again = f"with placed as ({sql.placed(roles)})", roles.numbers.get("again")
    if again is None:
        units, numbers = sql.rows_as_units(measured, grouping)
    else:
        grouped, numbers = sql.rows_by_unit(measured, grouping)
        rows.engine.run(sql.stored("visited", f"{placed_rows} {grouped}"))
        single, _ = sql.rows_as_units(measured, grouping, where="not again")
        units = sql.together("visited", *([] if again == "true" else [single]))
    return by_place(rows.engine, f"{placed_rows}, units as ({units})", numbers, places, grouping)


def by_place(
    engine: Engine, units: str, numbers: tuple[Measured, ...], places: Places, grouping: Grouping
) -> Summed:
    """The sums of units, or of their clusters, that have a place."""
    relation, counted = "units", numbers
    if grouping.cluster:
        clusters, counted = sql.units_by_cluster(numbers, grouping)
        units, relation = f"{units}, clusters as ({clusters})", "clusters"
    return Summed(
        units=units, groups={"place": np.arange(len(places.served))}, places=places, measured=numbers,
        counted=counted, found=_columns(engine.values(f"{units} {sql.cells(counted, relation)}")),
    )  # fmt: skip


def _repeated(rows: Rows, unit: str, experiment: str | None) -> str:
    """Which rows are of a unit that has several in its experiment; see `repeated`."""
    values, size = rows.loaded[unit], len(rows.columns)
    if isinstance(values, np.ndarray) or values.dtype.is_integer():
        array = np.asarray(values)
        low, high = int(array.min()), int(array.max())
        if high - low < _DENSE * size:
            seen = np.zeros(high - low + 1, dtype=bool)
            seen[array - low] = True
            if int(np.count_nonzero(seen)) == size:
                return ""
    if size <= FEW:
        return "true"
    return repeated(rows, [unit] if experiment is None else [unit, experiment], most=_REPEATED)


def _measured(
    rows: Rows, metrics: Sequence[Metric], source: Source, ms: str
) -> tuple[tuple[Measured, ...], dict[str, str], First]:
    """The numbers of every metric as columns of `placed`, how these are computed from `rows`, and the order
    of the rows."""
    sides = [
        [(column, slot_of(metric, measure)) for measure, column, _ in measured_columns(source, metric)]
        for metric in metrics
    ]
    every = dict.fromkeys(asked for each in sides for asked in each)
    known, figures = amounts(rows, every, least=f"min({ms})", most=f"max({ms})")
    before = [covariates(rows, metric, source) for metric in metrics]
    rows.load()
    numbers = {asked: f"a{place}" for place, asked in enumerate(known)}
    measured = tuple(
        Measured(
            metric=metric,
            sides=tuple(replace(known[asked], sql=numbers[asked]) for asked in each),
            before=tuple(replace(number, sql=f"z{number.sql}") for number, _ in past),
            before_units=tuple(unit for _, unit in past),
        )
        for metric, each, past in zip(metrics, sides, before, strict=True)
    )
    expressions = {name: known[asked].sql for asked, name in numbers.items()}
    expressions |= {f"z{number.sql}": number.sql for past in before for number, _ in past}
    first = First(low=figures["least"], high=figures["most"], rows=figures["rows"])
    return measured, expressions, first


def covariates(rows: Rows, metric: Metric, source: Source) -> list[tuple[Number, int]]:
    """The covariates of a metric, put into `rows`, and their minor units."""
    decimals = None if metric.covariate is None else metric.covariate.decimals
    found = []
    for column in covariate_columns(source, metric):
        values, unit = rows.columns.covariate(column, decimals)
        found.append((Number(sql=rows.put(values), size=int(np.abs(values).max(initial=0))), unit))
    return found


def _columns(found: Mapping[str, list[int]]) -> dict[str, Integers]:
    return {name: integers(values) for name, values in found.items()}


def _exact(found: Mapping[str, Integers], place: int, one: Measured) -> Exact:
    sums = {name: found[f"{name}_{place}"] for name, _ in sql.sums(one)}
    size, n = len(one.before), found["n"]
    before = None
    if size:
        before = Covariates(
            z=tuple(sums[f"z{i}"] for i in range(size)),
            zz=tuple(sums[f"z{i}z{j}"] for i in range(size) for j in range(i, size)),
            xz=tuple(sums[f"s{s}z{i}"] for s in range(len(one.sides)) for i in range(size)),
            units=one.before_units,
        )
    x, y, yy, xy = sums["x"], *(sums.get(name, np.zeros_like(n)) for name in ("y", "yy", "xy"))
    return Exact(metric=one.metric, n=n, x=x, xx=sums.get("xx", x), y=y, yy=yy, xy=xy, covariates=before)


def _merged(cells: Cells) -> Cells:
    """One entry per place of a cell, in order: two keys of rows may say the same one."""
    place = np.zeros(len(cells.subject), dtype=np.int64)
    for part in (cells.subject, cells.stratum, cells.variant, cells.day, cells.contaminated.astype(np.int64)):
        low = int(part.min(initial=0))
        place = place * (int(part.max(initial=0)) - low + 1) + (part - low)
    _, first, cell = np.unique(place, return_index=True, return_inverse=True)
    if len(first) == len(place):
        return cells.taken(first)
    counts = [add_into(cells.counts[:, column], cell, first.shape) for column in range(len(COUNTS))]
    totals = tuple(totals.grouped(cell, first.shape) for totals in cells.totals)
    return replace(cells.taken(first), counts=np.stack(counts, axis=1), totals=totals)
