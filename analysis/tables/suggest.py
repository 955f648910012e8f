"""What a table seems to hold: shape, roles, variants and metrics, as a spec that says what is doubtful.

Roles are told by what columns hold and by what people call them. Nothing here is judged: the spec that comes
out is read like any other, takes the assignment for unknown (which never promotes) until somebody states it,
and asks for the weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from switchpoint.analysis.tables.columns import Frame, Index, coded
from switchpoint.analysis.tables.frames import as_frame
from switchpoint.analysis.tables.placement import CONTROL_NAMES
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.template import spec_yaml
from switchpoint.experiment.ledger.columns import label_of
from switchpoint.experiment.ledger.numbers import missing, number_of, numbers_of
from switchpoint.experiment.ledger.times import times_of

_VARIANTS, _ROWS_PER_TEST, _SEGMENTS, _METRICS, _FINEST = 12, 50, 50, 6, 6
"""Most variants, rows of one experiment, segments, metrics, and decimals of an amount that are expected."""
_TREATMENTS = ("treatment", "test", "variant", "b", "challenger", "new", "experiment")
_NAMES: Mapping[str, str] = {
    "experiment": r"(experiment|test)([_ ]?(id|key|name))?|.*_test_id",
    "variant": r"variants?|variation|(test_?)?group|arm|treatment|bucket|cell|ab(_?test)?"
    r"|.*(variant|variation|campaign name)|model([_ ]?(name|version|id))?|(.*_)?policy|algorithm|ranker",
    "unit": r"(user|customer|visitor|client|account|person|member|subscriber|player|patient|session|device"
    r"|unit|kunde|nutzer)([_ ]?(id|key|name|no|number))?|u?id|uuid"
    r"|.*(user|customer|visitor|client|account|unit)[_ ]?id",
    "day": r"(.*[_ ])?(date|day|time|timestamp|week|month|quarter|ts|at|when|datum|tag)|date(_?time)?.*",
    "segment": r"country|region|segment|market|platform|device([_ ]type)?|os|browser|language|city|channel"
    r"|tier|land",
    "n": r"n|(# of )?(users|visitors|visits|sessions|impressions|units|exposures|trials|views|sent|delivered"
    r"|recipients|customers|participants)|sample_?size|total|count|num_users",
    "mean": r"mean|average|avg(_.*)?|.*_mean|mean_.*",
    "variance": r"var(iance)?|.*_var(iance)?|var(iance)?_.*",
    "before": r"(?:pre|before|prior|past|previous|baseline)_(?P<head>.+)|(?P<tail>.+)_(?:pre|before|prior)",
}  # fmt: skip
_NO_METRIC = re.compile(
    r".*[_ ]?(id|index|position|rank|score|propensity.*)|.*_\d+|.*feature.*|age|year|zip.*|p_value"
)
_GOALS = re.compile(
    r"convert|conversion|purchas|bought|buy|order|click|signup|sign_up|success|retention|revenue|paid"
)
"""What people mean an experiment to move, in the names of columns."""


Metrics = list[dict[str, Any]]
Measured = dict[str, dict[str, str]]
"""The columns of every metric, by role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a column is taken for, and why."""

    column: str
    role: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """How a table is understood: its `shape`, the `roles` of its columns, the `variants` (control first), the
    metrics' keys (primary first), what is `doubtful` in sentences, and the `spec` as YAML."""

    shape: str
    roles: tuple[Role, ...]
    variants: tuple[str, ...]
    metrics: tuple[str, ...]
    doubtful: tuple[str, ...]
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column with its distinct `values` and every row's place among them; `numbers` of the values, None
    where they are not all numbers (missing ones are NaN); whether they are `times`."""

    name: str
    values: Sequence[Any]
    codes: Index
    numbers: np.ndarray | None
    times: bool

    def called(self, role: str) -> re.Match[str] | None:
        """The match of its name with what people call a role."""
        return re.fullmatch(_NAMES[role], self.name.strip().lower())

    @property
    def distinct(self) -> int:
        return len(self.values)

    def rows(self) -> np.ndarray:
        """Its number in every row."""
        return np.asarray(() if self.numbers is None else self.numbers[self.codes])

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers from 0 on, none missing."""
        found = self.numbers
        return found is not None and bool(np.all(found >= 0) and np.all(found == np.floor(found)))

    @property
    def labels(self) -> list[str]:
        return [label_of(value) for value in self.values if _there(value)]


@dataclass(slots=True)
class _Found:
    """What has been made out so far."""

    columns: dict[str, _Column]
    roles: dict[str, Role] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)

    def take(self, role: str, column: _Column, why: str) -> _Column:
        """Give a column a role; it is no candidate for another one."""
        self.roles[role] = Role(column=column.name, role=role, why=why)
        del self.columns[column.name]
        return column

    def best(self, role: str, fits: Iterable[_Column], why: str) -> _Column | None:
        """The first fitting column that is called so."""
        named = next((column for column in fits if column.called(role)), None)
        return None if named is None else self.take(role, named, why)


def suggest(native: Any) -> Suggestion:
    """How a data frame is understood, and the spec that says so.

    Args:
        native: pandas, Polars or Arrow; text where the file's own reader could not tell the type.

    Raises:
        BadInput: no rows, no column that tells variants apart, or none that looks like a metric.
    """
    frame = as_frame(native)
    if not len(frame):
        raise BadInput("no rows to look at", field="frame", fix="give a table that holds some.")
    found = _Found(columns={})
    found.columns = {name: _looked_at(frame, name, found.doubtful) for name in frame.columns}
    variant = _variant(found, len(frame))
    names = () if variant is None else _control_first(variant, found.doubtful)
    texts = [c for c in found.columns.values() if c.numbers is None and not c.times]
    several = [c for c in texts if 1 < c.distinct < len(frame)]
    if variant is not None:
        _experiment(found, several, variant)
    found.best("day", [c for c in found.columns.values() if c.times], "times, and called so")
    _unit(found, len(frame))
    found.best(
        "segment", [c for c in several if c.name in found.columns and c.distinct <= _SEGMENTS],
        "few values, and called so",
    )  # fmt: skip
    shape, metrics, columns = _measures(found, frame, variant)
    if not metrics:
        raise BadInput(
            "no column looks like a metric", field="frame", value=", ".join(frame.columns),
            fix=" ".join([*found.doubtful, "Write a spec: `source.columns` names those of every metric."]),
        )  # fmt: skip
    metrics[0]["role"] = "primary"
    if len(metrics) > 1:
        found.doubtful.append(
            f"The primary metric: {metrics[0]['key']} was taken; one decides, the others are shown."
        )
    found.doubtful += [
        "How units were assigned: `assignment: unknown` never promotes; state `randomised` if they were.",
        "The intended weights: without them nobody can see whether units were lost.",
    ]
    if more := sum(column.numbers is not None for column in found.columns.values()):
        found.doubtful.append(f"{more} columns of numbers are not used; any of them may be a metric.")
    unused = [Role(column=name, role="not used", why="") for name in found.columns]
    return Suggestion(
        shape=shape, roles=(*found.roles.values(), *unused), variants=names,
        metrics=tuple(one["key"] for one in metrics), doubtful=tuple(found.doubtful),
        spec=spec_yaml(metrics, _source(shape, found, names, columns), found.doubtful),
    )  # fmt: skip


def _source(shape: str, found: _Found, variants: Sequence[str], columns: Measured) -> dict[str, Any]:
    """The source block."""
    named = {role: one.column for role, one in found.roles.items() if role in _NAMES and role != "n"}
    control = {} if "experiment" in named and variants else {"control": variants[0] if variants else "first"}
    covariates = {key: roles["covariate"] for key, roles in columns.items() if "covariate" in roles}
    plain = {
        key: {role: c for role, c in roles.items() if role != "covariate"} for key, roles in columns.items()
    }
    source = {"shape": shape, "assignment": "unknown", **named, **control, "columns": plain}
    return source | ({"covariate": covariates} if covariates else {})


def _there(value: object) -> bool:
    """Whether a cell holds anything."""
    return not (missing(value) or (isinstance(value, str) and not value.strip()))


def _looked_at(frame: Frame, name: str, doubtful: list[str]) -> _Column:
    codes, values = coded(frame[name])
    texts = [value for value in values if isinstance(value, str)]
    temporal = frame.schema[name].is_temporal()
    return _Column(
        name=name, values=values, codes=codes,
        numbers=None if temporal else _numbers(name, values, texts, doubtful),
        times=temporal or _times(name, values, doubtful),
    )  # fmt: skip


def _numbers(name: str, values: Sequence[Any], texts: list[str], doubtful: list[str]) -> np.ndarray | None:
    """The values as numbers; None where one of them is none."""
    try:
        try:
            notation = numbers_of({name: texts})[name]
        except BadInput as error:
            notation = numbers_of({name: texts}, ".")[name]
            doubtful.append(f"{error.field}: {error.message}: {error.fix}")
        read = [notation.number(v) if isinstance(v, str) else v for v in values]
        return np.array([float(number_of(v)) if _there(v) else np.nan for v in read])
    except (ValueError, BadInput):
        return None


def _times(name: str, values: Sequence[Any], doubtful: list[str]) -> bool:
    """Whether all values are times, and written as such or called so."""
    there = [value for value in values if _there(value)]
    called = re.fullmatch(_NAMES["day"], name.strip().lower())
    if not there or not (called or any(isinstance(v, str) and not v.strip().isdigit() for v in there)):
        return False
    try:
        times = times_of(name, there)
    except BadInput as error:
        doubtful.append(f"{error.field}: {error.message}: {error.fix}")
        return True
    try:
        for value in there:
            times.instant(value)
    except ValueError:
        return False
    return True


def _variant(found: _Found, rows: int) -> _Column | None:
    """The column of variants; None where every row seems to be a variant of its experiment.

    Raises:
        BadInput: there is neither.
    """
    fits = [
        column
        for column in found.columns.values()
        if 2 <= column.distinct <= min(_VARIANTS, rows) and not column.times
    ]
    by_name = found.best("variant", fits, "few values, and called so")
    if by_name is not None:
        return by_name
    known = {*CONTROL_NAMES, *_TREATMENTS}
    for column in fits:
        if known & {label.strip().lower() for label in column.labels}:
            return found.take("variant", column, "holds names that variants have")
    counted = any(column.called("n") and column.whole for column in found.columns.values())
    for column in found.columns.values() if counted else ():
        size = np.bincount(column.codes)
        if column.called("experiment") and 2 <= size.min() <= size.max() <= _ROWS_PER_TEST:
            found.take("experiment", column, "called so, and its rows seem to be the variants")
            found.doubtful.append("Which variant is control: the first row of every experiment was taken.")
            return None
    raise BadInput(
        "no column tells the variants apart", field="frame", value=", ".join(found.columns),
        fix="write a spec: `source.variant` names that column.",
    )  # fmt: skip


def _control_first(variant: _Column, doubtful: list[str]) -> tuple[str, ...]:
    """The variants, the one that is called control first."""
    names = list(dict.fromkeys(variant.labels))
    called = [name for name in names for usual in CONTROL_NAMES if usual in re.split(r"[\W_]+", name.lower())]
    if not called:
        doubtful.append(f"Which variant is control: {names[0]} was taken, the first of {', '.join(names)}.")
    head = called[0] if called else names[0]
    return (head, *(name for name in names if name != head))


def _experiment(found: _Found, fits: Sequence[_Column], variant: _Column) -> None:
    """A column of experiments, if every one of them has several variants."""
    for column in fits:
        if column.called("experiment"):
            pairs = np.unique(column.codes * variant.distinct + variant.codes)
            if np.bincount(pairs // variant.distinct, minlength=column.distinct).min() > 1:
                found.take("experiment", column, "called so, and each of them has several variants")
                return


def _unit(found: _Found, rows: int) -> None:
    many = [c for c in found.columns.values() if not c.times and c.distinct > rows / 10]
    names = [c for c in many if c.numbers is None or c.whole]
    if found.best("unit", names, "many values, and called so") is None and rows > _VARIANTS:
        alone = [c for c in names if c.distinct == rows and not _GOALS.search(c.name.lower())]
        if len(alone) == 1:
            found.take("unit", alone[0], "every row has a value of its own")


def _measures(found: _Found, frame: Frame, variant: _Column | None) -> tuple[str, Metrics, Measured]:
    """The shape, the metrics, and the columns of each."""
    numeric = [
        column
        for column in found.columns.values()
        if column.numbers is not None and not _NO_METRIC.fullmatch(column.name.strip().lower())
    ]
    numeric.sort(key=lambda column: not _GOALS.search(column.name.lower()))
    placed = [found.roles[role].column for role in ("experiment", "segment", "day") if role in found.roles]
    once = variant is None or len(frame.select(variant.name, *placed).unique()) == len(frame)
    grouped = "unit" not in found.roles and once
    size = (
        next((column for column in numeric if column.called("n") and column.whole), None) if grouped else None
    )
    if size is None:
        return "units", *_of_units(found, numeric)
    found.take("n", size, "whole numbers, one row per variant, and called so")
    moments = _of_moments(found, numeric, size)
    if moments[0]:
        return "moments", *moments
    metrics, columns = [], {}
    for column in [one for one in numeric if one.name in found.columns][:_METRICS]:
        if column.distinct <= 2 and len(frame) > 2:
            continue  # says something of the row, such as which one has won
        if not column.whole or not np.all(column.rows() <= size.rows()):
            found.doubtful.append(
                f"{column.name}: a sum does not say how it varies between units; with a column of sums of "
                "squares it can be a metric."
            )
            continue
        key = _key(column.name)
        found.take(f"successes of {key}", column, f"whole numbers, never above {size.name}")
        metrics.append({"key": key, "type": "proportion"})
        columns[key] = {"n": size.name, "sum": column.name}
    return "counts", metrics, columns


def _of_moments(found: _Found, numeric: Sequence[_Column], size: _Column) -> tuple[Metrics, Measured]:
    """Means beside the variances that are called like them."""
    spreads = {_stem(column.name): column for column in numeric if column.called("variance")}
    metrics, columns = Metrics(), Measured()
    for mean in (column for column in numeric if column.called("mean")):
        spread = spreads.get(_stem(mean.name))
        if spread is not None:
            key = _key(_stem(mean.name) or mean.name)
            found.take(f"mean of {key}", mean, "called so")
            found.take(f"variance of {key}", spread, "called so")
            metrics.append({"key": key, "type": "mean", "value": key, "decimals": _FINEST})
            columns[key] = {"n": size.name, "mean": mean.name, "variance": spread.name}
    return metrics, columns


def _stem(name: str) -> str:
    """The name of a mean or variance without that word."""
    return re.sub(r"(?:^|_)(?:mean|average|avg|variance|var)(?=_|$)", "", name.strip().lower()).strip("_")


def _of_units(found: _Found, numeric: Sequence[_Column]) -> tuple[Metrics, Measured]:
    """Numbers of every unit: 0 and 1 as a proportion, others as a mean; numbers from before as covariates."""
    earlier = [(column.called("before"), column) for column in numeric]
    before = {str(match["head"] or match["tail"]): column for match, column in earlier if match}
    metrics, columns = Metrics(), Measured()
    for column in [one for one in numeric if one not in before.values()][:_METRICS]:
        key, values = _key(column.name), column.numbers
        known = values[~np.isnan(values)] if values is not None else np.zeros(0)
        if len(known) < column.distinct:
            found.doubtful.append(
                f"{column.name}: some cells are empty; `empty: {{{key}: 0}}` in the source if that means 0."
            )
        if np.isin(known, (0, 1)).all():
            found.take(f"metric {key}", column, "0 and 1")
            metrics.append({"key": key, "type": "proportion"})
        else:
            found.take(f"metric {key}", column, "numbers")
            metrics.append({"key": key, "type": "mean", "value": key, "decimals": _decimals(known)})
        columns[key] = {"value": column.name}
        if (covariate := before.get(column.name.strip().lower())) is not None:
            found.take(f"covariate of {key}", covariate, "the same before exposure")
            columns[key]["covariate"] = covariate.name
    return metrics, columns


def _decimals(values: np.ndarray) -> int:
    """The fewest decimals (at most 6) that say all values."""
    parts = (Decimal(repr(value)).normalize().as_tuple() for value in values[:10_000].tolist())
    return min(max((0, *(-int(part.exponent) for part in parts))), _FINEST)


def _key(column: str) -> str:
    """A metric's key made of a column's name."""
    plain = re.sub(r"[^a-z0-9]+", "_", column.lower().replace("# of", "")).strip("_")
    return plain if plain[:1].isalpha() else f"metric_{plain}"
