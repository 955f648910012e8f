"""Dimensions: judged as segments are, in families of their own, in every rendering, and without a verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.report.charts import charts
from switchpoint.analysis.report.page import page_of
from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.types import Design
from switchpoint.experiment.ledger.moments import Moments
from tests.analysis.cases import DAY, RULE, counts, definition, running, segment

UNITS = {"desktop": 9_000, "mobile": 9_000, "": 400}
BUYERS = {"desktop": (1100, 1120), "mobile": (900, 1200), "": (40, 41)}
"""Of control and of treatment."""


def part(value: str, where: str) -> Moments:
    """The units of one value, as cells of this segment."""
    sides = zip(("control", "treatment"), BUYERS[value], strict=True)
    return counts({(where, variant): (UNITS[value], bought) for variant, bought in sides})


def by_device() -> Moments:
    """All units in one segment, and once more by device."""
    found: Moments = {}
    for value in UNITS:
        for key, cell in part(value, "all").items():
            found[key] = found[key] + cell if key in found else cell
            found[key._replace(dimension="device", value=value)] = cell
    return found


def judged(design: Design = Design.SEQUENTIAL, moments: Moments | None = None) -> Report:
    of = definition(dimensions=("device",), decision=replace(RULE, design=design))
    return analyze_ledger(running(of), by_device() if moments is None else moments, at=100 * DAY)


def test_a_dimension_reads_as_segments_of_the_same_units() -> None:
    """The oracle is the same units routed by what is only a dimension here, under the fixed design."""
    [device] = judged(Design.FIXED).dimensions
    assert (device.dimension, device.headline) == ("device", "interval")
    names = {"": "none", "desktop": "desktop", "mobile": "mobile"}
    of = definition(
        *(segment(name, 0.5, 0.5) for name in names.values()), decision=replace(RULE, design=Design.FIXED)
    )
    routed: Moments = {}
    for value, name in names.items():
        routed |= part(value, name)
    [expected] = analyze_ledger(running(of), routed, at=100 * DAY).matured.metrics[0].comparisons
    [found] = device.comparisons
    assert [one.segment for one in found.values] == ["none", "desktop", "mobile"]
    for own, other in zip(found.values, expected.segments, strict=True):
        assert (own.segment, own.control, own.value) == (other.segment, other.control, other.value)
        assert own.estimate is not None
        assert other.estimate is not None
        # sequences are tuned for the units that the whole experiment needs, which differ a little
        for name in ("effect", "interval", "p", "lift", "lift_interval", "n_control", "method"):
            assert getattr(own.estimate, name) == getattr(other.estimate, name), name
        assert own.shrunk == pytest.approx(other.shrunk)
        assert own.adjusted_p == pytest.approx(other.adjusted_p)
        assert own.finding == other.finding
    assert found.heterogeneity == expected.heterogeneity
    assert found.heterogeneity is not None
    assert found.heterogeneity.p < 0.001


@pytest.mark.parametrize("design", list(Design))
def test_no_verdict_reads_a_dimension(design: Design) -> None:
    found = judged(design)
    plain = {key: cell for key, cell in by_device().items() if not key.dimension}
    without = judged(design, plain)
    assert without.dimensions == ()
    assert replace(found, dimensions=()) == without
    [device] = found.dimensions
    assert device.headline == ("interval" if design is Design.FIXED else "sequence")
    assert all(one.estimate is not None for one in device.comparisons[0].values)


def test_contaminated_units_and_other_experiments_are_left_out() -> None:
    moments = by_device()
    for key, cell in list(moments.items()):
        moments[key._replace(contaminated=True)] = cell
        moments[key._replace(experiment="other")] = cell
    [device] = judged(moments=moments).dimensions
    assert device.comparisons[0].values[2].value.n == UNITS["mobile"]


def test_dimensions_stand_in_every_rendering() -> None:
    report = judged()
    shown = next(s for s in page_of(report).sections if s.key == "dimensions")
    assert shown.table is not None
    assert [row[:3] for row in shown.table.rows] == [
        tuple(type(shown.table.rows[0][0])(text) for text in ("device", value, "treatment"))
        for value in ("none", "desktop", "mobile")
    ]
    assert "Exploratory" in shown.notes[0]
    for text in (report.to_markdown(), report.to_html(), json.dumps(report.to_dict())):
        assert "device" in text
        assert "mobile" in text
    rows = charts(report)["dimensions"]["data"]["values"]
    assert [row["where"] for row in rows] == ["device: none", "device: desktop", "device: mobile"]
    assert all(row["shrunken"] is not None for row in rows)
