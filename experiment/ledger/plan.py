"""What the ledger has to know of the experiments in order to count: who they are, what they measure.

A `LedgerPlan` is compiled from the states of all experiments once per revision. `check` turns an event into
the integers that the metrics add up, once on its way from the door to the store, and refuses what cannot be
counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import NamedTuple

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import TOTAL_BOUND, Experiment, Measure, Metric, MetricType
from switchpoint.experiment.errors import DefinitionError, EventError, show
from switchpoint.experiment.ledger.event import NUMBER_BOUND, Event, Exposure


@dataclass(frozen=True, slots=True)
class Slot:
    """One number taken from events of a type: 1, or property `value` in units of 10^-decimals, clipped.

    Equal slots of different metrics and experiments are one slot: the value of an event is computed once.
    """

    event: str
    value: str | None = None
    decimals: int = 0
    cap: int | None = None

    def amount(self, event: Event) -> int:
        """What `event` adds, rounded half to even (on the decimal digits as they were sent).

        Raises:
            EventError: the property is missing, no number up to 1e15, or beyond TOTAL_BOUND without cap.
        """
        if self.value is None:
            return 1
        number = event.properties.get(self.value)
        if not isinstance(number, int | float) or isinstance(number, bool) or not abs(number) <= NUMBER_BOUND:
            raise EventError(
                f"missing or not a number of at most 1e15: {show(number)}",
                field=f"properties.{self.value}",
                value=number,
                fix=f"a metric reads it from every {self.event} event",
            )
        amount = _minor_units(number, self.decimals)
        if self.cap is not None:
            return max(-self.cap, min(self.cap, amount))
        if abs(amount) > TOTAL_BOUND:
            raise EventError(
                f"beyond 2^40 units of 10^-{self.decimals}: {number!r}",
                field=f"properties.{self.value}",
                value=number,
                fix="correct the amount, or give the measure a cap",
            )
        return amount


@dataclass(frozen=True, slots=True)
class CovariateSlot:
    """One number that exposures carry, in units of 10^-decimals."""

    name: str
    decimals: int = 0

    def amount(self, exposure: Exposure) -> int:
        """What the exposure says, rounded half to even; 0 where it says nothing.

        0 is a constant chosen before the treatment, so a unit of which nothing is known leaves the adjusted
        effect as unbiased as any other; it is also what a total of the past is for a unit never seen before.

        Raises:
            EventError: not a number, or beyond TOTAL_BOUND.
        """
        number = exposure.covariates.get(self.name, 0)
        # NaN and infinity fail the comparison
        known = (
            not isinstance(number, bool) and isinstance(number, int | float) and abs(number) <= TOTAL_BOUND
        )
        amount = _minor_units(number, self.decimals) if known else TOTAL_BOUND + 1
        if abs(amount) > TOTAL_BOUND:
            raise EventError(
                f"not a number within 2^40 units of 10^-{self.decimals}: {number!r}",
                field=f"covariates.{self.name}",
                value=number,
                fix="correct the number, or leave it out where nothing is known of the unit",
            )
        return amount


def _minor_units(number: int | float, decimals: int) -> int:
    if isinstance(number, int):
        return int(number * 10**decimals)
    if decimals == 0:
        return round(number)
    return int(Decimal(repr(number)).scaleb(decimals).to_integral_value(ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPlan:
    """How a unit's totals become the (x, y) of one metric; `x` and `y` are positions in the slots.

    `covariates` are positions in those of the experiment: none, one, or for ratios those of x and of y.
    """

    type: MetricType
    x: int
    y: int | None
    cap: int
    covariates: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """What counting needs of one experiment; slots and metrics are in the order of its definition."""

    key: str
    ordinal: int
    epochs: int
    variants: tuple[str, ...]
    segments: tuple[str, ...]
    dimensions: tuple[str, ...]
    window_ms: int
    slots: tuple[Slot, ...]
    metrics: tuple[MetricPlan, ...]
    covariates: tuple[CovariateSlot, ...] = ()

    @cached_property
    def events(self) -> frozenset[str]:
        """The event types its metrics read."""
        return frozenset(slot.event for slot in self.slots)


@dataclass(frozen=True)
class LedgerPlan:
    """All experiments that may be exposed or still collect outcomes, in order of their ordinals."""

    experiments: tuple[ExperimentPlan, ...]
    slots: tuple[Slot, ...] = field(init=False)
    """Every slot of the project once; amounts refer to positions in it."""

    def __post_init__(self) -> None:
        unique = dict.fromkeys(slot for plan in self.experiments for slot in plan.slots)
        object.__setattr__(self, "slots", tuple(unique))

    @cached_property
    def by_key(self) -> dict[str, ExperimentPlan]:
        """Plan of each experiment key."""
        return {plan.key: plan for plan in self.experiments}

    @cached_property
    def _by_event(self) -> dict[str, tuple[tuple[int, Slot], ...]]:
        found: dict[str, list[tuple[int, Slot]]] = {}
        for index, slot in enumerate(self.slots):
            found.setdefault(slot.event, []).append((index, slot))
        return {event: tuple(slots) for event, slots in found.items()}

    def check(self, event: Event | Checked) -> Checked:
        """The event with its amounts; one that this very plan checked is not checked again.

        Raises:
            EventError: an exposure of an unknown experiment, variant, segment or epoch, a covariate that is
                no number or too large, or a property that a metric reads is missing, no number or too large.
        """
        if isinstance(event, Checked):
            if event.plan is self:
                return event
            event = event.event
        if event.exposure is not None:
            known = self._exposed(event.exposure)
            return Checked(event, self, tuple([covariate.amount(event.exposure) for covariate in known]))
        amounts: list[int] = []
        for position, slot in self._by_event.get(event.type, ()):
            amounts += (position, slot.amount(event))
        return Checked(event, self, tuple(amounts))

    def _exposed(self, exposure: Exposure) -> tuple[CovariateSlot, ...]:
        """The covariates its experiment reads; raises EventError for an exposure to what is not there."""
        plan = self.by_key.get(exposure.experiment)
        if plan is None:
            known = ", ".join(self.by_key) or "none"
            raise _unknown("experiment", exposure.experiment, f"started experiments: {known}")
        if exposure.variant not in plan.variants:
            raise _unknown("variant", exposure.variant, f"variants: {', '.join(plan.variants)}")
        if exposure.segment not in plan.segments:
            raise _unknown("segment", exposure.segment, f"segments: {', '.join(plan.segments)}")
        if not 1 <= exposure.epoch <= plan.epochs:
            raise _unknown("epoch", exposure.epoch, f"epochs: 1 to {plan.epochs}")
        return plan.covariates


class Checked(NamedTuple):
    """An event that a plan can count, with what it adds.

    `amounts` are (position in the plan's slots, amount) one after the other for every slot that reads the
    event; of an exposure one per covariate of its experiment.
    """

    event: Event
    plan: LedgerPlan
    amounts: tuple[int, ...]


def _unknown(name: str, value: str | int, known: str) -> EventError:
    return EventError(f"unknown {name} {value!r}", field=name, value=value, fix=f"use one of the {known}")


def ledger_plan(states: Iterable[ExperimentState]) -> LedgerPlan:
    """The plan of every experiment that was ever started (drafts have no epochs and are left out)."""
    started = sorted((state for state in states if state.epochs), key=lambda state: state.ordinal)
    return LedgerPlan(
        tuple(
            experiment_plan(state.definition, ordinal=state.ordinal, epochs=state.epochs[-1].number)
            for state in started
        )
    )


def experiment_plan(definition: Experiment, *, ordinal: int, epochs: int = 1) -> ExperimentPlan:
    """The plan of one experiment whose current epoch is `epochs`.

    Raises:
        DefinitionError: a metric's cap lies outside 1..TOTAL_BOUND.
    """
    slots: dict[Slot, int] = {}
    covariates: dict[CovariateSlot, int] = {}
    metrics = []
    for metric in definition.metrics:
        if not 1 <= metric.cap <= TOTAL_BOUND:
            raise DefinitionError(
                f"a cap of {metric.cap} minor units",
                field=f"metrics.{metric.key}.cap",
                value=metric.cap,
                fix="choose one from 1 to 2^40 minor units",
            )
        x = slots.setdefault(_slot(metric, metric.numerator), len(slots))
        y = None
        if metric.type is MetricType.RATIO and metric.denominator is not None:
            y = slots.setdefault(_slot(metric, metric.denominator), len(slots))
        before = tuple(covariates.setdefault(slot, len(covariates)) for slot in covariate_slots(metric))
        metrics.append(MetricPlan(type=metric.type, x=x, y=y, cap=metric.cap, covariates=before))
    return ExperimentPlan(
        key=definition.key,
        ordinal=ordinal,
        epochs=epochs,
        variants=tuple(variant.key for variant in definition.variants),
        segments=tuple(segment.key for segment in definition.segments),
        dimensions=definition.dimensions,
        window_ms=definition.window_ms,
        slots=tuple(slots),
        metrics=tuple(metrics),
        covariates=tuple(covariates),
    )


def covariate_slots(metric: Metric) -> tuple[CovariateSlot, ...]:
    """What the metric reads from exposures: nothing, one number, or two of a ratio."""
    found = metric.covariate
    return () if found is None else tuple(CovariateSlot(name, found.decimals) for name in found.names)


def _slot(metric: Metric, measure: Measure) -> Slot:
    if measure.value is None or metric.type is MetricType.PROPORTION:
        return Slot(measure.event)
    return Slot(measure.event, measure.value, metric.decimals, measure.cap)
