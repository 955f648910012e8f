"""One unit: what it gets and why, what is on record of it, and which cells of the moments it moved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.codec import to_document
from switchpoint.experiment.ledger.event import unit_id
from switchpoint.experiment.ledger.fold import Standing, UnitRecord, contributions
from switchpoint.experiment.ledger.moments import Cell, CellKey
from switchpoint.experiment.ledger.plan import ExperimentPlan, LedgerPlan, Slot, ledger_plan
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.explanation import attributes_of
from switchpoint.experiment.registry.explanation import explain as explain_assignment
from switchpoint.router.console.access import Role
from switchpoint.router.console.operation import Call, Field, Form, Object, Operation
from switchpoint.router.console.project import Project

EVENTS = 100
"""Events of a unit that are shown."""
_EXPERIMENTS = 20
"""Experiments that are explained where none is named: a project may run a thousand."""


def explain(call: Call) -> Object:
    """What a unit gets, and what is on record of it."""
    return _explained(call.project, call.text("unit"), call.names("attributes"), call.text("experiment"))


def page(project: Project, _path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
    """The form, and the answer where a unit is asked for; what is wrong with it stands in the form."""
    asked = {name: query.get(name, "").strip() for name in ("unit", "attributes", "experiment")}
    content: dict[str, Any] = {"asked": asked, "answer": None, "error": None}
    if not query:
        return content
    lines = [line.strip() for line in asked["attributes"].splitlines() if line.strip()]
    try:
        return {**content, "answer": _explained(project, asked["unit"], lines, asked["experiment"])}
    except BadInput as error:
        return {**content, "error": error}


def _explained(project: Project, unit: str, attributes: tuple[str, ...] | list[str], key: str) -> Object:
    unit_id(unit)
    known = attributes_of(attributes, field="attributes")
    catalog = project.catalog
    states = {state.key: state for state in catalog.experiments()}
    running = [state for state in states.values() if state.status is Status.RUNNING]
    asked = [catalog.experiment(key)] if key else running[:_EXPERIMENTS]
    plan = ledger_plan(states.values())
    with project.ledger() as ledger:
        history = ledger.unit(unit, plan, limit=EVENTS)
    record = history.record
    return {
        "unit": unit,
        "attributes": known,
        "assignments": [_assignment(catalog, state, unit, known) for state in asked],
        "left_out": 0 if key else len(running) - len(asked),
        "record": None if record is None else _record(record, states, plan, pending=history.pending),
        "events": [to_document(event) for event in history.events],
        "cells": [] if record is None else [
            _cell(place, cell, states[place.experiment], plan.by_key[place.experiment])
            for place, cell in contributions(record, plan)
        ],
    }  # fmt: skip


def _assignment(catalog: Catalog, state: ExperimentState, unit: str, attributes: Mapping[str, Any]) -> Object:
    name = state.definition.model
    champion = catalog.champion(name) if name else None
    found = explain_assignment(state, champion, unit, attributes)
    return {**found.document(), "status": state.status.value}


def _record(
    record: UnitRecord, states: Mapping[str, ExperimentState], plan: LedgerPlan, *, pending: bool
) -> Object:
    return {
        "events": record.events,
        "latest_outcome": record.latest or None,
        "waits_for_refold": pending,
        "experiments": [
            _standing(standing, states[key], plan.by_key[key]) for key, standing in record.standings.items()
        ],
    }


def _standing(standing: Standing, state: ExperimentState, plan: ExperimentPlan) -> Object:
    named = zip(state.definition.metrics, plan.metrics, strict=True)
    return {
        "experiment": state.key,
        "first_exposure": standing.first_at,
        "variant": standing.variant,
        "segment": standing.segment,
        "epoch": standing.epoch,
        "dimensions": dict(zip(plan.dimensions, standing.values, strict=True)),
        "exposures": standing.exposures,
        "fallbacks": standing.fallbacks,
        "mismatches": standing.mismatches,
        "seen_in_two_variants": standing.contaminated,
        "seen_in_a_later_epoch": standing.carried,
        "totals": [
            {
                "metric": metric.key,
                "total": _amount(standing.totals[counted.x], plan.slots[counted.x]),
                "denominator": None
                if counted.y is None
                else _amount(standing.totals[counted.y], plan.slots[counted.y]),
            }
            for metric, counted in named
        ],
    }


def _cell(place: CellKey, cell: Cell, state: ExperimentState, plan: ExperimentPlan) -> Object:
    counted = zip(state.definition.metrics, plan.metrics, cell.metrics, strict=True)
    return {
        "experiment": place.experiment,
        "epoch": place.epoch,
        "segment": place.segment,
        "variant": place.variant,
        "day": datetime.fromtimestamp(place.day * DAY_MS / 1000, UTC).date().isoformat(),
        "dimension": place.dimension or None,
        "value": place.value,
        "seen_in_two_variants": place.contaminated,
        "units": cell.n,
        "exposures": cell.exposures,
        "adds": [
            {
                "metric": metric.key,
                "sum": _amount(sums.x, plan.slots[own.x]),
                "denominator": None if own.y is None else _amount(sums.y, plan.slots[own.y]),
            }
            for metric, own, sums in counted
        ],
    }


def _amount(minor: int, slot: Slot) -> int | float:
    """An exact sum of minor units in units."""
    return float(Decimal(minor).scaleb(-slot.decimals)) if slot.decimals else minor


OPERATIONS = (
    Operation(
        name="explain",
        method="GET",
        path="/explain",
        role=Role.VIEWER,
        says="What a unit gets and why, what is on record of it, and which cells it moved.",
        run=explain,
        fields=(
            Field("unit", Form.TEXT, "The unit's id.", required=True),
            Field("attributes", Form.NAMES, "Attributes of the unit, each `name=value`."),
            Field("experiment", Form.TEXT, "Only this experiment; none: the running ones."),
        ),
    ),
)
