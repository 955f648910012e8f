"""A data frame (pandas, Polars, Arrow) as the columns a source names: how written, and which rows count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from switchpoint.analysis.tables.columns import Columns, Frame, coded, label_or_none
from switchpoint.experiment.definition.source import TIDY, Source
from switchpoint.experiment.errors import BadInput, plainly
from switchpoint.experiment.ledger.columns import notation_of, number_columns, time_columns


def eligible_columns(native: Any, source: Source, names: Sequence[str]) -> tuple[Columns, Columns]:
    """The rows of a frame that meet the source's condition, with only the columns named, and the others.

    Raises:
        BadInput: the object is no data frame.
    """
    every = written(as_frame(native).select(*names), source)
    if not source.eligible:
        return every, every.take(np.zeros(0, dtype=np.int64))
    keep = np.ones(len(every), dtype=bool)
    for part in _parts(source.eligible):
        keep &= every.meets(part)
    if keep.all():
        return every, every.take(np.zeros(0, dtype=np.int64))
    return every.take(np.flatnonzero(keep)), every.take(np.flatnonzero(~keep))


def written(frame: Frame, source: Source, table: str = "") -> Columns:
    """A frame's columns with how they are written; the texts of a column are looked at all together.

    Raises:
        BadInput: a column that can be read in two ways, and the source does not say in which.
    """
    there = (number_columns(source) | time_columns(source)) & set(frame.columns)
    values = {name: coded(frame[name])[1] for name in sorted(there) if not _typed(frame.schema[name])}
    whole = {
        name: frame[name].unique().to_list()
        for name in sorted(time_columns(source) & set(frame.columns))
        if frame.schema[name].is_integer()
    }
    if source.labels == TIDY:
        named = (source.variant, source.segment, source.served, source.experiment, source.epoch)
        frame = frame.with_columns(_tidied(frame[name]) for name in named if name in frame.columns)
    return Columns(frame=frame, table=table, notation=notation_of(source, values | whole))


def _tidied(series: nw.Series[Any]) -> nw.Series[Any]:
    """Names that differ in case or white space alone as the one of them that most rows have."""
    codes, values = coded(series)
    names = {
        place: label for place, value in enumerate(values) if (label := label_or_none(value)) is not None
    }
    size = np.bincount(codes, minlength=len(values))
    spelled: dict[str, str] = {}
    for place in sorted(names, key=lambda place: -size[place]):
        spelled.setdefault(plainly(names[place]), " ".join(names[place].split()))
    tidy = [spelled[plainly(names[place])] if place in names else None for place in range(len(values))]
    return nw.new_series(
        series.name, [tidy[code] for code in codes.tolist()], nw.String, backend=series.implementation
    )


def _typed(kind: nw.dtypes.DType) -> bool:
    """Whether a column's type says what its values are."""
    return kind.is_numeric() or kind.is_temporal() or isinstance(kind, nw.Boolean)


def _parts(condition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Conditions of which all have to hold; one per attribute where that is how it was written."""
    return [{name: wanted} for name, wanted in condition.items()]


def as_frame(native: Any) -> Frame:
    """Any eager data frame narwhals knows. Raises BadInput for anything else."""
    try:
        return nw.from_native(native, eager_only=True)
    except TypeError as error:
        raise BadInput(
            f"{type(native).__name__} is not a data frame", field="frame",
            fix="give a pandas or Polars data frame, or a pyarrow table.",
        ) from error  # fmt: skip
