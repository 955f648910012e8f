"""What callers of the client pass: read as the service would read it, before anything is kept or sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from experiment.codec import parse_covariates
from experiment.errors import BadInput
from experiment.event import NAME_LENGTH, text_fault, unit_id

_log = logging.getLogger("switchpoint.client")


def plain(properties: object) -> object:
    """A mapping as a dict; anything else as it is, for the codec to refuse."""
    return dict(properties) if isinstance(properties, Mapping) else properties


def numbers(covariates: object) -> Mapping[str, float]:
    """The covariates of a call, none where the service would refuse them."""
    try:
        return parse_covariates({"covariates": plain(covariates)})
    except BadInput as error:
        _log.error("covariates are left out: %s", error)
        return {}


def facts(unit: object, attributes: object) -> Mapping[str, Any]:
    """The attributes of a call whose arguments the service would take too. Raises BadInput."""
    unit_id(unit)
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise BadInput(
            f"is a mapping, not {type(attributes).__name__}",
            field="attributes",
            value=attributes,
            fix='give {"country": "US"}',
        )
    return attributes


def require_text(value: object, field: str) -> None:
    """Raises BadInput for what the doors would not take as a name."""
    fault = text_fault(value, NAME_LENGTH)
    if fault is not None:
        raise BadInput(fault, field=field, value=value, fix="give it as a string")
