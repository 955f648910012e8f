"""What a report says of each segment: the rule under one family, units needed there, weeks left."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.types import Design, Size
from tests.analysis.cases import DAY, RULE, counts, definition, running, segment

LATER = 100 * DAY


def by_segment(design: Design, at: int = LATER, **rates: tuple[int, int, int]) -> Report:
    """Segments by name: units of each variant, buyers of control, buyers of treatment; MDE 20 %."""
    table: dict[tuple[str, str], tuple[int, int]] = {}
    for name, (n, control, treatment) in rates.items():
        table |= {(name, "control"): (n, control), (name, "treatment"): (n, treatment)}
    rule = replace(RULE, design=design, mde=Size(value=0.2, relative=True))
    state = running(definition(*(segment(name, 0.5, 0.5) for name in rates), decision=rule))
    return analyze_ledger(state, counts(table), at=at)


@pytest.mark.parametrize("design", [Design.SEQUENTIAL, Design.FIXED])
def test_every_segment_says_what_the_rule_says_there_and_on_how_much_data(design: Design) -> None:
    found = by_segment(
        design,
        up=(30_000, 3000, 3600),
        down=(30_000, 3600, 3000),
        flat=(30_000, 3000, 3010),
        few=(300, 30, 37),
    )
    segments = {s.segment: s for s in found.matured.metrics[0].comparisons[0].segments}
    assert {name: s.finding for name, s in segments.items()} == {
        "up": "better than control", "down": "worse than control", "flat": "no difference shown",
        "few": "too little data",
    }  # fmt: skip
    few, flat = segments["few"].sufficiency, segments["flat"].sufficiency
    assert few is not None
    assert flat is not None
    assert (few.n_now, few.enough, flat.enough) == (600, False, True)
    assert few.mde_now_relative is not None
    assert few.mde_now_relative > 0.2


def test_a_segments_weeks_left_come_from_its_own_arrivals() -> None:
    """28.6 units a day in one segment, 2,857 in the other; the window is a week."""
    found = by_segment(Design.FIXED, 21 * DAY, few=(300, 30, 37), many=(30_000, 3000, 3000))
    few = found.matured.metrics[0].comparisons[0].segments[0].sufficiency
    assert few is not None
    assert few.n_needed is not None
    assert few.units_per_day == pytest.approx(600 / 21)
    days = (few.n_needed - 600) / (600 / 21) + 7
    assert few.weeks_left == math.ceil(days / 7)


def test_units_needed_in_a_segment_are_those_of_the_familys_strictest_step() -> None:
    """z for 0.05/2 and power 0.8 on the segment's pooled variance: the textbook formula, not our own."""
    found = by_segment(Design.FIXED, us=(2000, 200, 240), ca=(2000, 400, 420))
    (us, _) = found.matured.metrics[0].comparisons[0].segments
    p = 440 / 4000
    z = NormalDist().inv_cdf(1 - 0.05 / 2 / 2) + NormalDist().inv_cdf(0.8)
    # half of the units have the treatment: under the MDE control lies at p / (1 + 0.2 / 2)
    needed = 2 * (z / (0.2 * p / 1.1)) ** 2 * p * (1 - p) * 2
    assert us.sufficiency is not None
    assert us.sufficiency.n_needed == pytest.approx(needed, rel=0.001)
    assert any("2 tests of a metric" in line and "0.05/2" in line for line in found.family)


def test_a_fixed_design_reads_no_segment_before_its_units_have_come() -> None:
    """2,000 units with 10 % against 15 % differ at p < .001, and fewer than the MDE of 20 % asks for."""
    found = by_segment(Design.FIXED, us=(1000, 100, 150), ca=(30_000, 3000, 3000))
    us = found.matured.metrics[0].comparisons[0].segments[0]
    assert us.adjusted_p is not None
    assert us.adjusted_p < 0.01
    assert us.finding == "too little data"
