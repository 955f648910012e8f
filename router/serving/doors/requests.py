"""Reading what callers send to /v1/assign and /v1/predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from switchpoint.experiment.errors import BadInput, shown, suggest
from switchpoint.experiment.ledger.event import check_attributes

ASSIGN_KEYS = frozenset({"unit", "attributes", "experiments"})
PREDICT_KEYS = frozenset({"unit", "attributes", "inputs", "covariates"})
EVENTS_KEYS = frozenset({"events"})
EXPERIMENTS = 1000
"""Most experiments that a call may name."""
_COMPARED_CHARACTERS = 60


def request_object(body: object, known: frozenset[str]) -> Mapping[str, Any]:
    """The body as an object that has no other key than the known ones. Raises BadInput."""
    if not isinstance(body, dict):
        raise BadInput(
            "the body is a JSON object", field="body", value=type(body).__name__, fix='send {"unit": "..."}'
        )
    if not body.keys() <= known:
        refuse_unknown(body, known)
    return body


def refuse_unknown(body: Mapping[str, Any], known: frozenset[str]) -> NoReturn:
    """Name the first unknown key and what was perhaps meant. Raises BadInput."""
    key = next(key for key in body if key not in known)
    # the sender chooses the key's length, and looking for its neighbours takes time
    hint = suggest(key[:_COMPARED_CHARACTERS], sorted(known)).rstrip(".")
    raise BadInput(
        f"unknown key {shown(key)}; {hint}", field="body", value=key, fix="rename it or leave it out"
    )


def attributes_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The unit's attributes in their bounds, none when left out. Raises BadInput."""
    attributes = body.get("attributes")
    if attributes is None:
        return {}
    if not isinstance(attributes, dict):
        raise BadInput("is a JSON object", field="attributes", value=attributes, fix='send {"country": "US"}')
    check_attributes(attributes)
    return attributes


def experiments_of(body: Mapping[str, Any]) -> list[str] | None:
    """The experiments asked for; None = all that run. Raises BadInput."""
    keys = body.get("experiments")
    if keys is None:
        return None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(keys) > EXPERIMENTS:
        raise BadInput(
            f"is a list of at most {EXPERIMENTS} experiment keys",
            field="experiments",
            value=keys,
            fix='send ["key"]',
        )
    return keys
