"""The columns a `source` block names: are they there, and what do their values mean.

Shared by everybody who reads somebody else's table (files, frames, imports), so that one value means the
same everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

from switchpoint.experiment.definition.condition import attribute_names
from switchpoint.experiment.definition.source import Source, Table
from switchpoint.experiment.definition.types import Measure, Metric, MetricType
from switchpoint.experiment.errors import BadInput, suggest
from switchpoint.experiment.ledger.numbers import MISSING, Numbers, missing, numbers_of
from switchpoint.experiment.ledger.plan import Slot
from switchpoint.experiment.ledger.times import PLAIN, Moment, Times, times_of

_PARTS = ("experiment", "variant", "unit", "cluster", "day", "segment", "epoch", "served")


def named_columns(source: Source) -> dict[str, str]:
    """Every column the block names, by the field that names it (`source.columns.ctr.n` → `impressions`)."""
    found = {f"source.{part}": column for part in _PARTS if (column := getattr(source, part)) is not None}
    if source.assignment_column is not None:
        found["source.assignment"] = source.assignment_column
    if source.exposures is not None:
        found |= _event_columns("exposures", source.exposures)
    found |= {f"source.dimensions[{place}]": column for place, column in enumerate(source.dimensions)}
    found |= {
        f"source.{part}.{metric}.{role}": column
        for part, columns in (("covariate", source.covariate), ("columns", source.columns))
        for metric, roles in columns.items()
        for role, column in roles.items()
    }
    return found | {f"source.eligible.{name}": name for name in sorted(attribute_names(source.eligible))}


def label_columns(source: Source) -> frozenset[str]:
    """The columns that hold names, which are text as the file writes it: `1.10` is not `1.1`, nor `007` `7`.

    Without those that `eligible` compares with numbers.
    """
    tables = [table for table in (source.exposures, source.outcomes) if table is not None]
    named = {getattr(source, part) for part in _PARTS if part != "day"} | {source.assignment_column}
    named |= {*source.dimensions, *(table.id for table in tables), *(table.type for table in tables)}
    return frozenset(filter(None, named)) - _compared_with_numbers(source.eligible)


def text_columns(source: Source, *, numbers: bool = False) -> frozenset[str]:
    """The columns that are read as text: labels, and those of numbers where only all of them together tell
    how they are written (asked for with `numbers`, or where the source names the decimal sign)."""
    amounts = numbers or source.decimal is not None
    return label_columns(source) | (number_columns(source) if amounts else frozenset())


def number_columns(source: Source) -> frozenset[str]:
    """The columns that hold numbers: what is measured, and what `eligible` compares with numbers."""
    return (_measured(source) | _compared_with_numbers(source.eligible)) - label_columns(source)


def _measured(source: Source) -> frozenset[str]:
    """The columns of amounts, counts and covariates."""
    roles = (*source.columns.values(), *source.covariate.values())
    outcomes = () if source.outcomes is None or source.outcomes.value is None else (source.outcomes.value,)
    return frozenset(column for columns in roles for column in columns.values()).union(outcomes)


def time_columns(source: Source) -> frozenset[str]:
    """The columns that hold times or days."""
    tables = [table for table in (source.exposures, source.outcomes) if table is not None]
    return frozenset(filter(None, (source.day, *(table.at for table in tables))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """How the columns of one table write numbers and times; `amounts` are those that metrics measure, `zero`
    those in which an empty cell is 0."""

    amounts: frozenset[str] = frozenset()
    numbers: Mapping[str, Numbers] = dataclasses.field(default_factory=dict)
    times: Mapping[str, Times] = dataclasses.field(default_factory=dict)
    zero: frozenset[str] = frozenset()

    def number(self, column: str, value: object) -> object:
        """A cell as a number where it writes one, None where it is empty; what is typed stays as it is.

        Raises:
            ValueError: a text that is no number.
        """
        if isinstance(value, str) and column in self.numbers:
            value = self.numbers[column].number(value)
        return 0 if column in self.zero and missing(value) else value

    def instant(self, column: str, value: object) -> Moment:
        """A cell as a time; see `Times.instant`."""
        return self.times.get(column, PLAIN).instant(value)

    def compared(self, row: Mapping[str, object]) -> dict[str, object]:
        """A row as conditions compare it: texts that are numbers are numbers in columns of numbers."""
        return {name: self._compared(name, value) for name, value in row.items()}

    def _compared(self, column: str, value: object) -> object:
        try:
            return self.number(column, value) if isinstance(value, str) else value
        except ValueError:
            return value

    def said(self) -> tuple[str, ...]:
        """What a reader has to know about how columns were read, a sentence each; nothing of plain ones."""
        parts = {name: own.said() for name, own in sorted(self.numbers.items())}
        parts |= {name: own.said() for name, own in sorted(self.times.items())}
        return tuple(f"{name}: {', '.join(said)}." for name, said in parts.items() if said) + tuple(
            f"{name}: an empty cell is 0." for name in sorted(self.zero)
        )


TYPED = Notation()
"""The notation of a table whose types say what its values are."""


def notation_of(source: Source, columns: Mapping[str, Collection[object]]) -> Notation:
    """How a table is written, from the distinct values of its columns of numbers and times.

    Raises:
        BadInput: a column that can be read in two ways and does not say in which (see `numbers_of`,
            `times_of`).
    """
    numbers = {
        name: texts
        for name in sorted(number_columns(source) & set(columns))
        if (texts := [value for value in columns[name] if isinstance(value, str)])
    }
    return Notation(
        amounts=_measured(source),
        numbers=numbers_of(numbers, source.decimal),
        times={
            name: times_of(name, columns[name], source.date_format)
            for name in sorted(time_columns(source) & set(columns))
        },
        zero=frozenset(column for metric in source.empty for column in _amounts(source, metric)),
    )


def _amounts(source: Source, metric: str) -> Iterator[str]:
    """The columns that hold a metric's amounts."""
    yield from source.columns.get(metric, {}).values()
    if source.outcomes is not None and source.outcomes.value is not None:
        yield source.outcomes.value


def _compared_with_numbers(condition: object) -> set[str]:
    """The attributes of a condition that numbers are compared with."""
    found: set[str] = set()
    if isinstance(condition, list | tuple):
        return found.union(*(_compared_with_numbers(part) for part in condition))
    for key, wanted in condition.items() if isinstance(condition, Mapping) else ():
        if key.startswith("$"):
            found |= _compared_with_numbers(wanted)
        elif _numeric(wanted):
            found.add(key)
    return found


def _numeric(wanted: object) -> bool:
    if isinstance(wanted, Mapping):
        return any(_numeric(value) for value in wanted.values())
    if isinstance(wanted, list | tuple):
        return any(_numeric(value) for value in wanted)
    return isinstance(wanted, int | float) and not isinstance(wanted, bool)


def _event_columns(part: str, table: Table) -> dict[str, str]:
    """The columns one of the two tables of events names."""
    roles = ("id", "type", "at", "value")
    return {f"source.{part}.{role}": column for role in roles if (column := getattr(table, role)) is not None}


def check_outcome_columns(source: Source, available: Collection[str]) -> tuple[str, ...]:
    """The columns named for the table of outcomes, each once; raises BadInput as `check_columns` does."""
    if source.outcomes is None or source.unit is None:
        raise BadInput("no table of outcomes is named", field="source.outcomes", fix="add `outcomes`.")
    return _checked({"source.unit": source.unit} | _event_columns("outcomes", source.outcomes), available)


def check_columns(source: Source, available: Collection[str]) -> tuple[str, ...]:
    """The named columns, each once; raises BadInput naming the field of one that the table does not have."""
    return _checked(named_columns(source), available)


def _checked(named: Mapping[str, str], available: Collection[str]) -> tuple[str, ...]:
    for field, column in named.items():
        if column not in available:
            raise BadInput(
                f"the table has no column {column!r}",
                field=field,
                value=column,
                fix=suggest(column, available),
            )
    return tuple(dict.fromkeys(named.values()))


def check_metrics(source: Source, metrics: Collection[Metric]) -> None:
    """Every metric needs its columns; raises BadInput for one that has none."""
    for metric in metrics:
        if metric.key not in source.columns:
            raise BadInput(
                f"no columns for the metric {metric.key!r}",
                field=f"source.columns.{metric.key}",
                fix="name the columns that hold it, or remove the metric.",
            )


def measured_columns(source: Source, metric: Metric) -> Iterator[tuple[Measure, str, str]]:
    """The measures of a metric in the shape units: (measure, column, field)."""
    roles, field = source.columns[metric.key], f"source.columns.{metric.key}"
    if metric.type is not MetricType.RATIO or metric.denominator is None:
        if "value" not in roles:
            raise BadInput(
                f"a {metric.type} has one value per unit", field=field, fix="name one column: {value: ...}."
            )
        yield metric.numerator, roles["value"], f"{field}.value"
        return
    for measure, role in ((metric.numerator, "numerator"), (metric.denominator, "denominator")):
        if role not in roles:
            raise BadInput(
                "a ratio has two sides", field=field, fix="name {numerator: ..., denominator: ...}."
            )
        yield measure, roles[role], f"{field}.{role}"


def covariate_columns(source: Source, metric: Metric) -> tuple[str, ...]:
    """The covariate's columns of a metric: one, or numerator and denominator of a ratio; none.

    Raises:
        BadInput: a ratio with one, a mean with two, or none where the metric declares a covariate.
    """
    roles, field = source.covariate.get(metric.key), f"source.covariate.{metric.key}"
    if roles is None:
        if metric.covariate is not None:
            raise BadInput(
                f"no column for the covariate of {metric.key!r}", field=field,
                fix="name what was measured before exposure.",
            )  # fmt: skip
        return ()
    wanted = ("numerator", "denominator") if metric.type is MetricType.RATIO else ("value",)
    if set(roles) != set(wanted):
        raise BadInput(
            f"a {metric.type} has the covariate {{{', '.join(wanted)}}}", field=field,
            fix="name the same before exposure for each side.",
        )  # fmt: skip
    return tuple(roles[role] for role in wanted)


def slot_of(metric: Metric, measure: Measure) -> Slot:
    """How the ledger reads a measure's number, so that tables are rounded and clipped as events are."""
    if measure.value is None or metric.type is MetricType.PROPORTION:
        return Slot(measure.event)
    return Slot(measure.event, measure.value, metric.decimals, measure.cap)


def label_of(value: object) -> str:
    """A value of a text column (variant, segment, unit) as text: `1.0` and `1` are the same label."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        raise ValueError("a missing value")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def advice(value: object, *, amount: bool) -> str:
    """What to do about a cell that cannot be read. A condition on what a metric measures would change what is
    measured, so it is no cure there."""
    if not amount:
        return "correct the row, or leave it out with `eligible`."
    if missing(value) or (isinstance(value, str) and value.strip().lower() in MISSING):
        return "complete the row; where an empty cell means 0, write `empty: 0` in the source."
    return "correct the row."


def served_variant(source: Source, variant: str, shown: str) -> str:
    """The variant that was served: the one whose `served_map` value was shown, else what was shown."""
    inverse: Mapping[str, str] = {value: key for key, value in source.served_map.items()}
    return variant if source.served_map.get(variant, variant) == shown else inverse.get(shown, shown)
