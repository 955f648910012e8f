"""The columns a `source` block names: are they there, and what do their values mean.

Shared by everybody who reads somebody else's table (files, frames, imports), so that one value means the
same everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite

from switchpoint.experiment.definition.condition import attribute_names
from switchpoint.experiment.definition.source import Source, Table
from switchpoint.experiment.definition.types import Measure, Metric, MetricType
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.plan import Slot
from switchpoint.experiment.wording import show, suggest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LEAST_MS = 10**11
_PARTS = ("experiment", "variant", "unit", "cluster", "day", "segment", "served")


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


def instant_of(value: object) -> tuple[int, int]:
    """A time as (ms since 1970 UTC, days it stands for: 1, or 7 for a week).

    Accepts ISO 8601 dates and date-times (without zone: UTC), `YYYYMMDD` and `YYYYWW` as integers (week
    00-53 as `%W` counts: week 01 starts with the year's first Monday; read as its Monday), and integer
    milliseconds.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, str):
        value = _text_instant(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer_instant(value)
    if isinstance(value, date):
        when = (
            value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        )
        return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND, 1
    raise ValueError("a missing value" if value is None else f"{show(value)} is not a time")


def _text_instant(value: str) -> int | date:
    text = value.strip()
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{show(value)} is not a time such as 2026-03-01 or 2026-03-01T12:00:00Z") from None


def _integer_instant(value: int) -> tuple[int, int]:
    if value >= _LEAST_MS:
        return value, 1
    year, rest = divmod(value, 100)
    if len(str(value)) == 6 and rest <= 53:
        return instant_of(datetime.strptime(f"{value} 1 +0000", "%Y%W %w %z"))[0], 7
    if len(str(value)) == 8:
        return instant_of(date(year // 100, year % 100, rest))
    raise ValueError(f"{value} is neither YYYYMMDD, YYYYWW nor milliseconds")


def number_of(value: object) -> int | float:
    """A finite number; raises ValueError for text, a missing value, NaN or infinity."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        if not isfinite(value):
            raise ValueError(f"{value} is not a number")
        return float(value)
    raise ValueError("a missing value" if value is None else f"{show(value)} is not a number")


def count_of(value: object) -> int:
    """A whole number of at least 0; raises ValueError for anything else."""
    number = number_of(value)
    if number < 0:
        raise ValueError(f"{number} is negative")
    if number != int(number):
        raise ValueError(f"{number} is not a whole number")
    return int(number)


def label_of(value: object) -> str:
    """A value of a text column (variant, segment, unit) as text: `1.0` and `1` are the same label."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        raise ValueError("a missing value")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def served_variant(source: Source, variant: str, shown: str) -> str:
    """The variant that was served: the one whose `served_map` value was shown, else what was shown."""
    inverse: Mapping[str, str] = {value: key for key, value in source.served_map.items()}
    return variant if source.served_map.get(variant, variant) == shown else inverse.get(shown, shown)
