"""What callers of the client pass: read as the service would read it, before anything is kept or sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from experiment.codec import NAME_LENGTH, parse_covariates
from experiment.errors import BadInput
from experiment.wording import show

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
    require_text(unit, "unit")
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
    """Raises BadInput for what is no printable text of a name's length."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH or not value.isprintable():
        raise BadInput(
            f"not a text of 1 to {NAME_LENGTH} characters: {show(value)}",
            field=field,
            value=value,
            fix="give it as a string",
        )
