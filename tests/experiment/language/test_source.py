"""Specs and `source` blocks: every shape, and what does not go together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from switchpoint.experiment.definition.source import Shape, Table
from switchpoint.experiment.definition.types import Measure
from switchpoint.experiment.errors import DefinitionError
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language.node import DefinitionErrors
from tests.experiment.definitions import experiment

UPWORTHY = """\
metrics: [{key: ctr, type: proportion, role: primary}]
decision: {design: fixed, mde: 10%}
source:
  shape: counts
  assignment: randomised
  experiment: clickability_test_id
  control: first
  day: test_week
  weights: equal
  columns: {ctr: {n: impressions, sum: clicks}}
"""

UNITS = """\
metrics:
  - {key: ctr, type: ratio, role: primary}
  - {key: revenue, type: mean, value: amount, decimals: 2, cap: 500}
window: 7d
decision: {mde: 40%, power: 0.8, alpha: 0.05, max_runtime: 8w}
source:
  shape: units
  assignment: how
  variant: policy
  control: 0
  cluster: household_id
  segment: country
  dimensions: [device]
  covariate: {revenue: revenue_before}
  served: landing_page
  served_map: {control: old_page, treatment: new_page}
  weights: {control: 50%, treatment: 0.5}
  columns: {ctr: {numerator: clicks, denominator: views}, revenue: revenue}
  eligible: {country: {$in: [US, NO]}}
"""

EVENTS = """\
metrics: [{key: ctr, type: proportion, event: click, role: primary}]
decision: {mde: 5%}
source:
  shape: events
  unit: user
  variant: arm
  exposures: {table: exposures.parquet, id: row, at: time}
  outcomes: {table: events.parquet, type: kind, at: time, value: amount}
"""


def test_counts_need_no_events_and_no_variant_column() -> None:
    spec = parsing.load_spec(UPWORTHY)
    assert spec.primary.numerator == Measure(event="ctr")
    assert (spec.window_ms, spec.source.shape, spec.source.variant) == (None, Shape.COUNTS, None)
    assert (spec.source.weights, spec.source.control) == ("equal", "first")
    assert spec.source.columns == {"ctr": {"n": "impressions", "sum": "clicks"}}


def test_units_with_everything() -> None:
    source = parsing.load_spec(UNITS).source
    assert (source.assignment, source.assignment_column, source.control) == ("how", "how", "0")
    assert source.weights == {"control": 5_000, "treatment": 5_000}
    assert source.columns == {
        "ctr": {"numerator": "clicks", "denominator": "views"},
        "revenue": {"value": "revenue"},
    }
    assert source.served_map == {"control": "old_page", "treatment": "new_page"}
    assert source.eligible == {"country": {"$in": ["US", "NO"]}}
    assert source.dimensions == ("device",)


def test_events_have_two_tables() -> None:
    source = parsing.load_spec(EVENTS).source
    assert source.exposures == Table(table="exposures.parquet", id="row", at="time")
    assert source.outcomes == Table(table="events.parquet", type="kind", at="time", value="amount")
    assert (source.assignment, source.assignment_column) == ("unknown", None)


@pytest.mark.parametrize(
    ("text", "old", "new", "field", "words"),
    [
        (UPWORTHY, "shape: counts", "shape: count", "source.shape", "did you mean 'counts'"),
        (UPWORTHY, "  shape: counts\n", "", "source", "'shape' is missing"),
        (UPWORTHY, "shape: counts", "shape: units", "source", "'variant' is missing"),
        (
            UPWORTHY,
            "shape: counts",
            "shape: moments\n  variant: v",
            "source.columns.ctr",
            "{n, mean, variance}",
        ),
        (UPWORTHY, "{ctr: {n", "{cvr: {n", "source.columns.cvr", "did you mean 'ctr'"),
        (UPWORTHY, "weights: equal", "weights: {a: 0.5, b: 0.4}", "source.weights", "sum to 0.9"),
        (
            UPWORTHY,
            "control: first",
            "unit: id",
            "source.unit",
            "belongs to the shape events or units, this one is counts",
        ),
        (UPWORTHY, "  columns: {ctr: {n: impressions, sum: clicks}}\n", "", "source", "'columns' is missing"),
        (UNITS, "  served: landing_page\n", "", "source.served_map", "name `served`"),
        (UNITS, "$in", "$inn", "source.eligible.country.$inn", "did you mean '$in'"),
        (UNITS, "served: landing_page", "serve: landing_page", "source.serve", "did you mean 'served'"),
        (EVENTS, "  unit: user\n", "", "source", "'unit' is missing"),
        (EVENTS, " type: kind,", "", "source.outcomes", "'type' is missing"),
        (EVENTS, "event: click, ", "", "metrics[0]", "'event' is missing"),
        (
            EVENTS,
            "variant: arm",
            "variant: arm\n  columns: {ctr: clicked}",
            "source.columns",
            "this one is events",
        ),
    ],
)
def test_mistakes_name_their_place(text: str, old: str, new: str, field: str, words: str) -> None:
    assert old in text
    with pytest.raises(DefinitionErrors) as caught:
        parsing.load_spec(text.replace(old, new, 1), file="spec.yaml")
    found = [error for error in caught.value.errors if error.field == field]
    assert found, str(caught.value)
    assert words in str(found[0])
    assert found[0].line > 0


def source(**changes: Any) -> dict[str, Any]:
    found = {
        "shape": "units",
        "variant": "policy",
        "columns": {"ctr": "clicked"},
        "experiment": {"key": "obd"},
    }
    return {**found, **changes}


def test_a_definition_whose_units_were_assigned_elsewhere_needs_no_models_nor_segments() -> None:
    found = experiment(
        model=None,
        variants=[{"key": "random"}, {"key": "bts"}],
        segments=None,
        source=source(weights={"bts": 0.25, "random": 0.75}),
    )
    assert found.source is not None
    assert found.source.experiment_key == "obd"
    assert [(s.key, s.when, s.traffic, s.allocation) for s in found.segments] == [
        ("all", None, 10_000, (7_500, 2_500))
    ]
    assert parsing.from_document(json.loads(json.dumps(parsing.to_document(found)))) == found


def test_weights_of_a_definition_name_its_variants() -> None:
    with pytest.raises(DefinitionError, match="name every variant"):
        experiment(source=source(weights={"a": 0.5, "b": 0.5}))
    with pytest.raises(DefinitionError, match="no variant 'treat'"):
        experiment(source=source(served="page", served_map={"treat": "x"}))
