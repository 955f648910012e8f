"""Rows of somebody else's table as the events that would have been recorded live.

Every row is a unit (or one visit of a unit) that met a variant, with its outcomes at the same moment. The
ids are made of the row's content and position, so importing a file again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

from switchpoint.experiment.definition.condition import compile_condition
from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.types import BUCKETS, Experiment
from switchpoint.experiment.errors import BadInput, suggest
from switchpoint.experiment.ledger.columns import (
    TYPED,
    Notation,
    advice,
    check_metrics,
    covariate_columns,
    label_of,
    measured_columns,
    served_variant,
)
from switchpoint.experiment.ledger.event import Event, Exposure, dimension_value, unit_id
from switchpoint.experiment.ledger.numbers import count_of, missing, number_of

T = TypeVar("T")


@dataclass(slots=True)
class _Outcome:
    """The columns behind one event type: how many such events, and the numbers in their properties."""

    count: str | None = None
    values: dict[str, str] = field(default_factory=dict)


def events(
    definition: Experiment, rows: Iterable[Mapping[str, Any]], notation: Notation = TYPED, *,
    revision: int = 1, epoch: int = 1,
) -> Iterator[Event]:  # fmt: skip
    """Exposures and outcomes of an experiment whose units were assigned elsewhere, row by row.

    Args:
        definition: with a `source` of the shape units that names `variant` and `day` columns.
        rows: in the order of the file; each a mapping of column to value.
        notation: how the table writes numbers and times.
        revision, epoch: of the experiment that collects them.

    Raises:
        BadInput: the source cannot be imported, or a row cannot be read (the field names row and column).
    """
    source = _importable(definition)
    outcomes = _outcomes(source, definition)
    eligible = compile_condition(source.eligible)
    columns = sorted({c for roles in source.columns.values() for c in roles.values()})
    for position, row in enumerate(rows, start=1):
        if not eligible(notation.compared(row)):
            continue
        reader = _Row(row=row, position=position, notation=notation)
        shown = exposure(definition, source, reader, revision=revision, epoch=epoch)
        token = _token(reader, source, columns)
        unit = reader.read(source.unit, _unit) if source.unit is not None else f"row-{token}"
        day = str(source.day)
        at, _ = reader.read(day, partial(notation.instant, day))
        yield Event(id=f"{token}-x", type="exposure", unit=unit, at=at, exposure=shown)
        for kind, outcome in outcomes.items():
            yield from _outcome_events(kind, outcome, reader, Event(id=token, type=kind, unit=unit, at=at))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    row: Mapping[str, Any]
    position: int
    notation: Notation

    def number(self, column: str, meaning: Callable[[object], T]) -> T:
        """A column's number; see `read`."""
        return self.read(column, lambda value: meaning(self.notation.number(column, value)))

    def read(self, column: str, meaning: Callable[[object], T]) -> T:
        """A column's value; raises BadInput naming row and column."""
        if column not in self.row:
            raise BadInput(
                f"the table has no column {column!r}",
                field=column,
                value=column,
                fix=suggest(column, self.row),
            )
        try:
            return meaning(self.row[column])
        except ValueError as error:
            raise BadInput(
                str(error), field=f"row {self.position}, column {column}", value=self.row[column],
                fix=advice(self.row[column], amount=column in self.notation.amounts),
            ) from error  # fmt: skip


def _importable(definition: Experiment) -> Source:
    source = definition.source
    if source is None or source.shape is not Shape.UNITS:
        shape = "no source" if source is None else f"the shape {source.shape}"
        raise BadInput(
            f"an import needs a row per unit, not {shape}", field="source.shape", fix="use `shape: units`."
        )
    if source.variant is None or source.day is None:
        missing = "variant" if source.variant is None else "day"
        raise BadInput(
            "an import needs to know when a unit met which variant", field=f"source.{missing}",
            fix=f"name the column that holds the {missing}.",
        )  # fmt: skip
    check_metrics(source, definition.metrics)
    return source


def _outcomes(source: Source, definition: Experiment) -> dict[str, _Outcome]:
    """Columns by event type; raises BadInput where two columns claim to be the same measure."""
    found: dict[str, _Outcome] = {}
    for metric in definition.metrics:
        for measure, column, where in measured_columns(source, metric):
            outcome = found.setdefault(measure.event, _Outcome())
            known = outcome.count if measure.value is None else outcome.values.get(measure.value)
            if known not in {None, column}:
                raise BadInput(
                    f"{measure.event} is read from {known!r} and from {column!r}", field=where, value=column,
                    fix="use one column per measure, or give the events different names.",
                )  # fmt: skip
            if measure.value is None:
                outcome.count = column
            else:
                outcome.values[measure.value] = column
    return found


def exposure(definition: Experiment, source: Source, row: _Row, *, revision: int, epoch: int) -> Exposure:
    """The exposure a row stands for."""
    keys = [v.key for v in definition.variants]
    variant = row.read(str(source.variant), label_of)
    if variant not in keys:
        raise BadInput(
            f"no variant {variant!r}", field=f"row {row.position}, column {source.variant}", value=variant,
            fix=suggest(variant, keys),
        )  # fmt: skip
    segments = {segment.key: segment for segment in definition.segments}
    name = row.read(source.segment, label_of) if source.segment is not None else next(iter(segments))
    if name not in segments:
        raise BadInput(
            f"no segment {name!r}", field=f"row {row.position}, column {source.segment}", value=name,
            fix=f"list it under `segments`; {suggest(name, segments)}",
        )  # fmt: skip
    served = row.read(source.served, label_of) if source.served is not None else None
    return Exposure(
        experiment=definition.key,
        variant=variant,
        segment=name,
        epoch=epoch,
        revision=revision,
        propensity=segments[name].allocation[keys.index(variant)] / BUCKETS,
        served=variant if served is None else served_variant(source, variant, served),
        dimensions={name: row.read(name, partial(_dimension, name)) for name in definition.dimensions},
        covariates=_covariates(definition, source, row),
    )


def _covariates(definition: Experiment, source: Source, row: _Row) -> dict[str, float]:
    """What the row says of the time before, by the names the metrics read (else the columns'); a missing
    value is left out."""
    found: dict[str, float] = {}
    for metric in definition.metrics:
        columns = covariate_columns(source, metric)
        names = columns if metric.covariate is None else metric.covariate.names
        for name, column in zip(names, columns, strict=True):
            number = row.number(column, _known_number)
            if number is not None:
                found[name] = number
    return found


def _unit(value: object) -> str:
    """A cell as a unit's id, by the rule of every door."""
    return _by_rule(unit_id, value)


def _dimension(name: str, value: object) -> str:
    """A cell as a dimension's value, by the rule of every door."""
    return _by_rule(partial(dimension_value, name), value)


def _by_rule(rule: Callable[[object], str], value: object) -> str:
    try:
        return rule(label_of(value))
    except BadInput as error:
        raise ValueError(error.message) from None


def _known_number(value: object) -> float | None:
    """A finite number; None for a missing one."""
    return None if missing(value) else float(number_of(value))


def _token(row: _Row, source: Source, columns: list[str]) -> str:
    """A short name for this row: its place in the file and its content.

    The place comes first, so that of rows at the same instant the first in the file counts, in the fold too.
    """
    used = [row.row.get(c) for c in (source.variant, source.unit, source.day, source.segment, *columns) if c]
    text = json.dumps([row.position, *used], default=str, ensure_ascii=False)
    content = text.encode(
        errors="surrogatepass"
    )  # a table may hold half a character; its event is then refused
    return f"{row.position:09x}-{blake2b(content, digest_size=10).hexdigest()}"


def _outcome_events(kind: str, outcome: _Outcome, row: _Row, model: Event) -> Iterator[Event]:
    """The row's events of one type; the first carries the amounts, further ones count only."""
    values = {name: row.number(column, number_of) for name, column in outcome.values.items()}
    worth = any(values.values())
    times = int(worth) if outcome.count is None else row.number(outcome.count, count_of)
    if worth and not times:
        raise BadInput(
            f"no {kind} but an amount", field=f"row {row.position}, column {outcome.count}", value=0,
            fix="the count must be at least 1 where an amount is not 0.",
        )  # fmt: skip
    for turn in range(times):
        properties = values if turn == 0 else dict.fromkeys(values, 0)
        yield Event(
            id=f"{model.id}-{kind}-{turn}", type=kind, unit=model.unit, at=model.at, properties=properties
        )
