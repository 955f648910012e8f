"""The bytes the ledger scripts share with Python: plans, event rows, unit records, cells.

The Lua side is ledger.lua; docs/redis.md describes both. Everything is little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from switchpoint.experiment.definition.types import MetricType
from switchpoint.experiment.errors import Corrupt, DefinitionError
from switchpoint.experiment.ledger.event import DAMAGES
from switchpoint.experiment.ledger.fold import (
    OTHER,
    OTHER_TYPE,
    Arrivals,
    ExperimentPlan,
    LedgerPlan,
    MetricPlan,
    Standing,
    TypeCount,
    UnitRecord,
)
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments, Sums
from switchpoint.experiment.ledger.plan import Checked

Numbers = Mapping[tuple[int, int], Mapping[str, int]]
"""(ordinal, dimension position) → value → number 1..100; a value without a number counts as OTHER."""

TYPE_PLACE = (0, 0)
"""The place of event types among Numbers: event type → number 1..100, 0 for the others."""

LIMB = 2**40
HEAD = struct.Struct("<IIHIB")
"""Accepted events, since (s: when the log got the unit's first event, minus 2), latest outcome (48 bits), and
how many types follow; _UNEXPOSED more where each has its count of all outcomes."""
_UNEXPOSED = 128
_TYPE, _UNEXPOSED_TYPE = struct.Struct("<BBB"), struct.Struct("<BBBI")

_METRIC_CODES = {MetricType.PROPORTION: 1, MetricType.MEAN: 2, MetricType.RATIO: 3}
_METRIC_SIZES = {MetricType.PROPORTION: 1, MetricType.MEAN: 3, MetricType.RATIO: 8}
_COVARIATES = {0: (0, 0), 1: (1, 2), 2: (2, 7)}
"""By covariates of a metric: how many sums, and how many sums of products (two limbs each)."""
_COUNTS = 5
_CELL_PARTS = "epoch:segment:variant:day:contaminated:dimension:value, numbered as in the definition"
_SMALL = 256  # variants, segments and dimensions each fit a byte
_PREFIX = struct.Struct("<HH")
_PLACE = struct.Struct("<BHBBIH")
_STANDING_COUNTS = 5


@dataclass(frozen=True, slots=True)
class ScriptPlan:
    """A LedgerPlan as the scripts take it: ordinals and one JSON text per experiment."""

    plan: LedgerPlan
    ordinals: tuple[int, ...]
    texts: tuple[str, ...]


def script_plan(plan: LedgerPlan, types: Mapping[str, int]) -> ScriptPlan:
    """Compile a plan for the scripts; `types` has a number for every type of the plan that will ever get one.

    Raises:
        DefinitionError: an experiment has more variants, segments or dimensions than a byte can number.
    """
    position = {slot: index for index, slot in enumerate(plan.slots)}
    texts = []
    for experiment in plan.experiments:
        for name in ("variants", "segments", "dimensions"):
            if len(getattr(experiment, name)) >= _SMALL:
                raise DefinitionError(
                    f"experiment {experiment.key} has {len(getattr(experiment, name))}",
                    field=name,
                    fix=f"keep fewer than {_SMALL}",
                )
        document = {
            "o": experiment.ordinal,
            "w": experiment.window_ms,
            "d": len(experiment.dimensions),
            "s": [position[slot] for slot in experiment.slots],
            # positions count from 1 in Lua; a metric without denominator repeats x: nothing else is read
            "m": [
                [
                    _METRIC_CODES[m.type], m.x + 1, (m.x if m.y is None else m.y) + 1, m.cap,
                    *(at + 1 for at in m.covariates),
                ]
                for m in experiment.metrics
            ],
            "z": len(experiment.covariates),
            "r": sorted(types[event] for event in experiment.events if event in types),
        }  # fmt: skip
        texts.append(json.dumps(document, separators=(",", ":")))
    return ScriptPlan(plan, tuple(e.ordinal for e in plan.experiments), tuple(texts))


def event_numbers(checked: Checked, numbers: Numbers) -> list[int]:
    """kind and facts of a checked event, as ledger_record.lua reads them after unit and time."""
    event = checked.event
    exposure = event.exposure
    if exposure is None:
        kind = numbers.get(TYPE_PLACE, {}).get(event.type, 0)
        return [0, kind, len(checked.amounts) // 2, *checked.amounts]
    experiment = checked.plan.by_key[exposure.experiment]
    served = 0 if exposure.served == exposure.variant else (2 if exposure.cause is None else 1)
    return [
        experiment.ordinal,
        exposure.epoch,
        experiment.segments.index(exposure.segment),
        experiment.variants.index(exposure.variant),
        served,
        *(
            numbers.get((experiment.ordinal, position), {}).get(exposure.dimensions.get(name, ""), 0)
            for position, name in enumerate(experiment.dimensions, 1)
        ),
        *checked.amounts,
    ]


def record_numbers(record: UnitRecord, plan: LedgerPlan, numbers: Numbers) -> list[int]:
    """A folded record as ledger_refold.lua reads it."""
    flat = [record.events, record.latest, len(record.standings)]
    for key, standing in record.standings.items():
        experiment = plan.by_key[key]
        flat += (
            experiment.ordinal,
            0,
            int(standing.contaminated) + 2 * int(standing.carried),
            standing.epoch,
            experiment.segments.index(standing.segment),
            experiment.variants.index(standing.variant),
            standing.first_at,
            standing.exposures,
            standing.fallbacks,
            standing.mismatches,
            standing.early,
            standing.counted,
        )
        flat += (
            numbers.get((experiment.ordinal, position), {}).get(value, 0)
            for position, value in enumerate(standing.values, 1)
        )
        flat += standing.totals
        flat += standing.covariates
    return flat


def record_since(raw: bytes) -> int:
    """The second from which the log has to be read for the unit's events."""
    return int(HEAD.unpack_from(raw)[1])


class Reader:
    """Reads records and cells of one plan."""

    def __init__(self, plan: LedgerPlan, numbers: Numbers) -> None:
        """A reader for the values known now."""
        self._by_ordinal = {experiment.ordinal: experiment for experiment in plan.experiments}
        self._names = {
            place: {number: value for value, number in values.items()} for place, values in numbers.items()
        }

    def record(self, raw: bytes) -> UnitRecord:
        """A unit's record.

        Raises:
            Corrupt: the bytes are none, or of an experiment outside the plan.
        """
        try:
            events, _, low, high, count = HEAD.unpack_from(raw)
            standings = {}
            at, types = self._types(raw, count)
            while at < len(raw):
                ordinal, size = _PREFIX.unpack_from(raw, at)
                experiment = self._by_ordinal[ordinal]
                standings[experiment.key] = self._standing(experiment, raw[at + _PREFIX.size : at + size])
                at += max(size, 1)
            return UnitRecord(events=events, latest=low + (high << 16), standings=standings, types=types)
        except (struct.error, LookupError, ValueError, OverflowError) as error:
            raise Corrupt(f"unit record of {len(raw)} bytes cannot be read: {error}") from error

    def _types(self, raw: bytes, count: int) -> tuple[int, dict[str, TypeCount]]:
        """Where the standings begin, and the outcomes by type before them."""
        form = _UNEXPOSED_TYPE if count >= _UNEXPOSED else _TYPE
        end = HEAD.size + form.size * (count % _UNEXPOSED)
        types = {}
        for kind, *counts in form.iter_unpack(raw[HEAD.size : end]):
            types[self._type(kind)] = TypeCount(*counts, *((0,) if form is _TYPE else ()))
        return end, types

    def _type(self, number: int) -> str:
        return self._names[TYPE_PLACE][number] if number else OTHER_TYPE

    def arrivals(self, stored: Mapping[bytes, bytes]) -> Arrivals:
        """What arrived in one shard.

        Raises:
            Corrupt: names the count that cannot be read.
        """
        counts: Arrivals = {}
        for field, number in stored.items():
            try:
                key = self._arrival(field.decode().split(":"))
                counts[key] = counts.get(key, 0) + int(number)
            except (LookupError, ValueError) as error:
                raise Corrupt(f"count {field!r} of arrivals cannot be read: {error}") from error
        return counts

    def _arrival(self, parts: list[str]) -> tuple[str, ...]:
        name, *numbers = parts
        if name == "x":
            return ("exposures",)
        if name == "d":
            return "ids", DAMAGES[int(numbers[0]) - 1]
        if name in "tu":
            return {"t": "outcomes", "u": "unexposed"}[name], self._type(int(numbers[0]))
        experiment = self._by_ordinal[int(numbers[0])]
        return {"e": "early", "c": "counted"}[name], experiment.key, experiment.variants[int(numbers[1])]

    def _standing(self, experiment: ExperimentPlan, raw: bytes) -> Standing:
        dimensions, slots = len(experiment.dimensions), len(experiment.slots)
        numbers = slots + len(experiment.covariates)
        narrow = struct.Struct(f"<{_PLACE.size}sHHHHH{dimensions}B{numbers}i")
        place = raw[: _PLACE.size]
        if len(raw) == narrow.size:
            _, *rest = narrow.unpack(raw)
        else:
            wide = f"<{_PLACE.size}s{'IH' * _STANDING_COUNTS}{dimensions}B{numbers}d"
            _, *halves = struct.unpack(wide, raw)
            ends = 2 * _STANDING_COUNTS
            counts = [a + (b << 32) for a, b in zip(halves[:ends:2], halves[1:ends:2], strict=True)]
            rest = [*counts, *halves[ends:]]
        flags, epoch, segment, variant, low, high = _PLACE.unpack(place)
        values = rest[_STANDING_COUNTS : _STANDING_COUNTS + dimensions]
        totals = tuple(int(number) for number in rest[_STANDING_COUNTS + dimensions :])
        return Standing(
            first_at=low + (high << 32),
            epoch=epoch,
            segment=experiment.segments[segment],
            variant=experiment.variants[variant],
            values=tuple(
                self._value(experiment.ordinal, position, number) for position, number in enumerate(values, 1)
            ),
            exposures=rest[0],
            fallbacks=rest[1],
            mismatches=rest[2],
            early=rest[3],
            counted=rest[4],
            contaminated=bool(flags & 1),
            carried=bool(flags & 2),
            totals=totals[:slots],
            covariates=totals[slots:],
        )

    def _value(self, ordinal: int, position: int, number: int) -> str:
        return self._names[(ordinal, position)][number] if number else OTHER

    def cells(self, experiment: ExperimentPlan, stored: Mapping[bytes, bytes]) -> Moments:
        """The cells of one shard; a cell that units have left again (n = 0 and all sums 0) is not one.

        Raises:
            Corrupt: names the cell whose name or bytes cannot be read.
        """
        moments: Moments = {}
        empty = _cell(experiment, bytes(8 * (_COUNTS + sum(map(_size, experiment.metrics)))))
        for field, blob in stored.items():
            try:
                key, cell = self._key(experiment, field), _cell(experiment, blob)
            except (struct.error, LookupError, ValueError, OverflowError) as error:
                shown = f"{field.decode(errors='backslashreplace')} ({_CELL_PARTS}) of {experiment.key}"
                raise Corrupt(f"cell {shown} with {len(blob)} bytes cannot be read: {error}") from error
            if cell != empty:
                moments[key] = moments[key] + cell if key in moments else cell
        return moments

    def _key(self, experiment: ExperimentPlan, field: bytes) -> CellKey:
        epoch, segment, variant, day, contaminated, dimension, value = map(int, field.split(b":"))
        return CellKey(
            experiment=experiment.key,
            epoch=epoch,
            segment=experiment.segments[segment],
            variant=experiment.variants[variant],
            day=day,
            dimension=experiment.dimensions[dimension - 1] if dimension else "",
            value=self._value(experiment.ordinal, dimension, value) if dimension else "",
            contaminated=bool(contaminated),
        )


def _cell(experiment: ExperimentPlan, blob: bytes) -> Cell:
    sizes = [_size(metric) for metric in experiment.metrics]
    n, exposures, fallbacks, mismatches, carried, *rest = (
        int(number) for number in struct.unpack(f"<{_COUNTS + sum(sizes)}d", blob)
    )
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    parts = [
        (metric, rest[start:middle], rest[middle:end])
        for metric, (start, end) in zip(experiment.metrics, pairwise(ends), strict=True)
        for middle in (start + _METRIC_SIZES[metric.type],)
    ]
    return Cell(
        n, exposures, fallbacks, mismatches, carried,
        tuple(_sums(metric.type, own) for metric, own, _ in parts),
        tuple(_covariate_sums(metric, before) for metric, _, before in parts if metric.covariates),
    )  # fmt: skip


def _size(metric: MetricPlan) -> int:
    """Numbers a cell holds of a metric."""
    sums, products = _COVARIATES[len(metric.covariates)]
    return _METRIC_SIZES[metric.type] + sums + 2 * products


def _whole(limbs: Sequence[int]) -> tuple[int, ...]:
    """Sums of products from their high and low limbs."""
    return tuple(high * LIMB + low for high, low in zip(limbs[::2], limbs[1::2], strict=True))


def _covariate_sums(metric: MetricPlan, numbers: Sequence[int]) -> tuple[int, ...]:
    sums, _ = _COVARIATES[len(metric.covariates)]
    return (*numbers[:sums], *_whole(numbers[sums:]))


def _sums(kind: MetricType, numbers: Sequence[int]) -> Sums:
    if kind is MetricType.PROPORTION:
        return Sums(x=numbers[0], xx=numbers[0])
    if kind is MetricType.MEAN:
        x, *limbs = numbers
        return Sums(x=x, xx=_whole(limbs)[0])
    x, y, *limbs = numbers
    xx, yy, xy = _whole(limbs)
    return Sums(x=x, xx=xx, y=y, yy=yy, xy=xy)
