"""Evidence: what matures when, which strata there are, what of it is exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from switchpoint.analysis.evidence.evidence import segment_attribute
from switchpoint.analysis.evidence.ledger import from_ledger
from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.types import MetricType, Segment
from switchpoint.experiment.ledger.moments import CellKey, Sums
from tests.analysis.cases import BUYERS, DAY, cell, counts, definition, running, segment

TABLE = {("all", "control"): (2100, 210), ("all", "treatment"): (2100, 250)}


def test_a_day_matures_when_its_last_unit_has_had_its_whole_window() -> None:
    state, moments = running(definition()), counts(TABLE)
    edge = from_ledger(state, moments, at=8 * DAY)
    assert edge.cells.day[edge.matured()].tolist() == [0, 0]
    assert not from_ledger(state, moments, at=8 * DAY - 1).matured().any()


def test_an_imported_experiment_is_closed() -> None:
    source = Source(shape=Shape.UNITS, variant="v", day="d", segment="place", weights=None)
    state = running(definition(source=source))
    evidence = from_ledger(state, counts(TABLE), at=0)
    assert evidence.matured().all()
    assert evidence.subjects[0].strata[0].weights is None
    assert (evidence.subjects[0].assignment, evidence.subjects[0].segmented_by) == ("unknown", "place")


def test_strata_are_the_configured_segments_and_whatever_else_the_cells_hold() -> None:
    state = running(definition(segment("us", 0.5, 0.5), segment("ca", 0.9, 0.1)))
    evidence = from_ledger(state, {CellKey("shop", 1, "old", "control", 0): cell(3, Sums())}, at=0)
    assert [(s.segment, s.weights) for s in evidence.subjects[0].strata] == [
        ("us", (0.5, 0.5)), ("ca", (0.9, 0.1)), ("old", None),
    ]  # fmt: skip


def test_sums_that_leave_64_bits_stay_exact() -> None:
    huge = 2**80 + 1
    moments = {CellKey("shop", 1, "all", "control", day): cell(1, Sums(1, huge)) for day in (0, 1)}
    mean = replace(BUYERS, type=MetricType.MEAN)
    evidence = from_ledger(running(definition(metrics=(mean,))), moments, at=100 * DAY)
    totals = evidence.totals(0, evidence.clean())
    assert int(totals[0, 0, 0].xx) == 2 * huge


def test_days_are_kept_apart_and_sum_to_the_whole() -> None:
    evidence = from_ledger(running(definition()), counts(TABLE), at=100 * DAY)
    looks = evidence.by_day(evidence.clean())
    assert looks.days.tolist() == list(range(21))
    np.testing.assert_array_equal(
        evidence.daily_units(looks).sum(axis=0), evidence.counts(evidence.clean())[0, ..., 0]
    )


def test_segments_are_named_by_the_one_attribute_they_ask_for() -> None:
    assert segment_attribute(definition(segment("US", 1, 0), segment("CA", 0, 1))) == "country"
    mixed = Segment(key="x", when={"device": "phone"}, traffic=10_000, allocation=(5000, 5000))
    assert segment_attribute(definition(segment("US", 0.5, 0.5), mixed)) == "segment"
    nobody = replace(mixed, when=None)
    assert segment_attribute(definition(nobody)) == "segment"
