"""Why a unit gets what it gets: its assignment, the rules on the way there, and the model that serves it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from switchpoint.experiment.assignment.assign import Assignment, Step
from switchpoint.experiment.assignment.assign import compile as compile_assignment
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.event import check_attributes, unit_id
from switchpoint.experiment.registry.champion import Champion, compile_champion


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one unit gets in one experiment; `served` is None where there is no model to serve it."""

    assignment: Assignment
    served: ModelRef | None
    steps: tuple[Step, ...]

    def document(self) -> dict[str, Any]:
        """As `switchpoint explain --json` and the console's API say it."""
        found = self.assignment
        return {
            "experiment": found.experiment,
            "variant": found.variant,
            "model": str(self.served) if self.served else None,
            "segment": found.segment,
            "propensity": found.propensity,
            "reason": found.reason.value,
            "revision": found.revision,
            "epoch": found.epoch,
            "enrolled": found.enrolled,
            "steps": [{"rule": s.rule, "passed": s.passed, "detail": s.detail} for s in self.steps],
        }


def explain(
    state: ExperimentState, champion: Champion | None, unit: str, attributes: Mapping[str, Any]
) -> Explanation:
    """Explain what a unit gets; `champion` is that of the experiment's model, if it has one.

    Raises:
        BadInput: no unit id, or attributes out of bounds.
    """
    unit_id(unit)
    check_attributes(attributes)
    compiled = compile_assignment(state)
    assignment = compiled.assign(unit, attributes)
    # units outside the experiment get the champion of their segment
    outside = compile_champion(champion)(attributes) if champion else None
    return Explanation(
        assignment=assignment,
        served=assignment.model if assignment.enrolled else outside,
        steps=tuple(compiled.explain(unit, attributes)),
    )


def attributes_of(texts: Iterable[str], *, field: str) -> dict[str, Any]:
    """`returning=true` → `{"returning": True}`: values are JSON where they parse as JSON scalars, else text.

    Raises:
        BadInput: a text without name or `=`; names `field`.
    """
    return dict(_attribute(text, field) for text in texts)


def _attribute(text: str, field: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not name.strip() or not equals:
        raise BadInput("is not an attribute", field=field, value=text, fix="write country=US")
    try:
        parsed = json.loads(value)
    except ValueError:
        return name.strip(), value
    return name.strip(), parsed if isinstance(parsed, bool | int | float | str) else value
