"""Where somebody else's data stand: which columns of which table say unit, variant, counts and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Shape(StrEnum):
    """What one row of the table is."""

    COUNTS = "counts"  # a variant (and stratum) with its number of units and sums
    UNITS = "units"  # a unit
    MOMENTS = "moments"  # a variant (and stratum) with n, mean and variance
    EVENTS = "events"  # an exposure, and in a second table an outcome event


RANDOMISED = "randomised"
UNKNOWN = "unknown"
FIRST = "first"
LARGEST = "largest"
AS_WRITTEN = "as written"
TIDY = "tidy"
DECIMAL_SIGNS = (".", ",")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One of the two tables of the shape `events`; every field but `table` names a column.

    Rows of a table without an `id` column are identified by their content and position. `type` names the
    event type column (outcomes only); `value` the column that fills the value property of every metric.
    """

    table: str
    id: str | None = None
    type: str | None = None
    at: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The `source` block. Every text field names a column unless said otherwise; None = not given.

    `assignment`: "randomised", "unknown" (never promotes), or a column that says it per row.
    `experiment`: a column (many experiments in one table); `experiment_key` instead names the one live
    experiment the rows belong to. `variant` None in counts: every row is a variant. `control`: a value of
    `variant`, or "first" | "largest"; None = the variant that is called control (or baseline, champion,
    holdout, A). `unit` None in units: every row is a unit. `cluster`: what was
    randomised instead of units. `cumulative`: a row of a day (counts, moments) holds all days up to it.
    `covariate`: metric key → role → column measured before exposure ("value", for ratios "numerator" and
    "denominator"). `served`: what was actually shown, translated by `served_map` (variant → served value).
    `weights`: intended shares out of 10,000 by variant, "equal", or None = unknown; `weights_by` instead the
    shares by epoch (a value of the column `epoch`), by the day from which on they held, or by segment.
    `columns`: metric key → role → column, with the roles of `COLUMN_ROLES`. `eligible`: a condition on the
    row's columns.
    `separator` and `encoding` of a text file, `decimal` (sign) and `date_format` (strptime) of its columns;
    None: read off the table. `empty`: the metrics whose empty cells are 0; else they are missing values.
    `labels`: "tidy" when names that differ in case or white space alone are the same one.
    """

    shape: Shape
    assignment: str = UNKNOWN
    experiment: str | None = None
    experiment_key: str | None = None
    variant: str | None = None
    control: str | None = None
    unit: str | None = None
    cluster: str | None = None
    day: str | None = None
    segment: str | None = None
    epoch: str | None = None
    dimensions: tuple[str, ...] = ()
    cumulative: bool = False
    covariate: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    served: str | None = None
    served_map: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, int] | str | None = None
    weights_by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    eligible: Mapping[str, Any] | None = None
    exposures: Table | None = None
    outcomes: Table | None = None
    separator: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    date_format: str | None = None
    empty: tuple[str, ...] = ()
    labels: str = AS_WRITTEN

    @property
    def assignment_column(self) -> str | None:
        """The column that says per row how it was assigned; None when one word says it for all."""
        return None if self.assignment in {RANDOMISED, UNKNOWN} else self.assignment


COLUMN_ROLES: Mapping[Shape, tuple[tuple[str, ...], ...]] = {
    Shape.COUNTS: (
        ("n", "sum"),
        ("n", "sum", "sum_squares"),
        ("n", "sum", "sum_squares", "denominator_sum", "denominator_sum_squares", "sum_products"),
    ),
    Shape.MOMENTS: (
        ("n", "mean", "variance"),
        ("n", "mean", "variance", "denominator_mean", "denominator_variance", "covariance"),
    ),
    Shape.UNITS: (("value",), ("numerator", "denominator")),
    Shape.EVENTS: (),
}
"""The complete sets of column roles a metric may have, by shape.

`sum` counts or adds over the n units of the row; `sum_squares`, for means, adds the squares of the units'
totals, `sum_products`, for ratios, the products of numerator and denominator; the six roles of a ratio in
moments are per-unit means, variances and the covariance of its sides.
"""
