"""Properties of the client's door for values, over generated ones."""

from __future__ import annotations

import enum
import json
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.ledger.event import VALUE_LENGTH
from switchpoint.router.client import arguments
from switchpoint.router.client.values import json_value


class Tier(enum.Enum):
    GOLD = "gold"


class Level(enum.IntEnum):
    HIGH = 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**63, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
host_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.fractions() | st.uuids()
    | st.datetimes(timezones=st.none() | st.timezones()) | st.dates() | st.times()
    | st.integers(-128, 127).map(np.int8) | st.floats(width=32).map(np.float32) | st.booleans().map(np.bool_)
    | st.sampled_from([Tier.GOLD, Level.HIGH, pd.NaT, pd.NA]),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
) | st.frozensets(st.text() | st.integers() | st.none(), max_size=4)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(host_values)
def test_every_hosts_value_becomes_json_once_and_for_all(value: object) -> None:
    """Dumpable without NaN, unchanged by a second reading and by the wire."""
    first = json_value(value, "a")
    assert json_value(first, "a") == first
    assert json.loads(json.dumps(first, allow_nan=False)) == first


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.text(max_size=VALUE_LENGTH), json_values, max_size=20))
def test_json_is_taken_as_it_is(attributes: dict[str, Any]) -> None:
    assert arguments.attribute_values(attributes) == attributes
    scalars = {name: item for name, item in attributes.items() if not isinstance(item, list | dict)}
    assert arguments.attribute_values(scalars) is scalars
