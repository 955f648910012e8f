"""Arrivals: the two projections and their ends, against the formulas of the curve and the line."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from switchpoint.analysis.planning.accrual import Accrual, constant_accrual, fit_accrual


def test_one_look_of_many_and_a_single_one_for_all() -> None:
    curves = np.array([[[10.0, 20.0], [30.0, 40.0]], [[11.0, 12.0], [13.0, 16.0]], [[5.0, 5.0], [7.0, 9.0]]])
    many = fit_accrual(curves)
    for look in range(3):
        for at in (many.at(look), fit_accrual(curves[look])):
            assert at.enrolled.tolist() == curves[look, :, -1].tolist()
            assert at.pace.tolist() == (curves[look, :, -1] / 2).tolist()
            assert (at.day.tolist(), at.exponent.tolist()) == ([2.0, 2.0], [1.0, 1.0])
    assert many.at(7).enrolled.tolist() == many.at(2).enrolled.tolist()
    assert fit_accrual(curves[:1]).at(3).enrolled.tolist() == [20.0, 40.0]


def test_the_exponent_is_the_slope_of_the_last_fourteen_days_on_log_scales() -> None:
    rng = np.random.default_rng(6)
    curves = np.cumsum(rng.integers(1, 400, (3, 25)) / np.arange(1, 26) ** 0.5, axis=1)
    found = fit_accrual(curves)
    days = np.arange(12, 26)
    for curve, exponent, pace in zip(curves, found.exponent, found.pace, strict=True):
        assert exponent == pytest.approx(stats.linregress(np.log(days), np.log(curve[-14:])).slope, rel=1e-9)
        assert pace == pytest.approx((curve[-1] - curve[-8]) / 7)
    assert found.day.tolist() == [25.0] * 3


@pytest.mark.parametrize(
    ("curve", "exponent"),
    [
        ([8, 8, 8, 8, 8], 0.05),  # nothing comes any more: as slow as curves get
        ([1, 4, 9, 16, 25], 1.0),  # faster from day to day: no faster than a line
        ([0, 1.2, 1.3, 1.35, 1.4], 1.0),  # starts with nothing
        ([0.5, 0.5 * 2**0.5, 0.5 * 3**0.5, 1.0, 0.5 * 5**0.5], 0.5),
        ([1, 1.3, 1.4, 1.5], 1.0),  # four days are taken as a line
    ],
)
def test_an_exponent_lies_between_nearly_nothing_and_one(curve: list[float], exponent: float) -> None:
    assert float(fit_accrual(curve).exponent) == pytest.approx(exponent, rel=1e-9)


def test_a_week_is_what_the_pace_is_read_from_as_soon_as_there_is_one() -> None:
    assert float(fit_accrual([7, 14, 21, 28, 35, 42, 63]).pace) == 9
    assert float(fit_accrual([6, 14, 21, 28, 35, 42, 49, 62]).pace) == 8


def test_what_arrived_and_what_never_will() -> None:
    slow = constant_accrual(0.5, enrolled=0.5, day=4)
    assert [float(side) for side in slow.days_until(0.5)] == [4, 4]
    assert [float(side) for side in slow.days_until(1.0)] == [5, 5]
    assert [float(side) for side in slow.units_by(6)] == [1.5, 1.5]
    assert [float(side) for side in slow.units_by(0)] == [0, 0]
    still = constant_accrual(0.0, enrolled=10, day=4)
    assert [float(side) for side in still.days_until(10)] == [4, 4]
    assert [float(side) for side in still.days_until(11)] == [np.inf, np.inf]
    assert [float(side) for side in still.units_by(9)] == [10, 10]
    stalled = fit_accrual([5, 8, 8, 8, 8, 8, 8, 8, 8.0])
    assert [float(side) for side in stalled.days_until(9)] == [np.inf, np.inf]
    assert float(stalled.units_by(30)[1]) == 8


def test_longer_than_a_century_is_never() -> None:
    one = constant_accrual(1.0)
    assert [float(side) for side in one.days_until(np.array([36_500.0, 36_501.0]))[0]] == [36_500, np.inf]
    assert [float(side) for side in one.days_until(np.array([36_500.0, 36_501.0]))[1]] == [36_500, np.inf]
    curve = fit_accrual(100 * np.arange(1, 10) ** 0.5)
    fast, slow = curve.days_until(100 * 40_000**0.5)
    assert np.isfinite(fast)
    assert slow == np.inf


def test_a_curve_and_a_line_are_ordered_whichever_is_the_faster() -> None:
    """N(d) = 100·√d with a last week of 300 units: to 800 units the line takes 7 days a hundred and ten, the curve
    64 days; by day 20 the line has 300·4/7 more."""
    slowing = Accrual(
        day=np.array([16, 16]),
        enrolled=np.array([400, 400]),
        pace=np.array([40, 1]),
        exponent=np.array([0.5, 0.5]),
    )
    fast, slow = slowing.days_until(np.array([800, 800]))
    assert fast.tolist() == [26, 64]
    assert slow.tolist() == [64, 416]
    less, more = slowing.units_by(25)
    assert less.tolist() == [500, 409]
    assert more.tolist() == [760, 500]
    # units that have come are there today, and a look back is along the curve and the line
    assert [side.tolist() for side in slowing.days_until(np.array([400, 100]))] == [[16, 16], [16, 16]]
    assert [side.tolist() for side in slowing.units_by(4)] == [[0, 200], [200, 388]]


def test_beyond_every_number_of_days_is_never_and_says_so_without_a_warning() -> None:
    nearly = Accrual(day=np.array(9.0), enrolled=np.array(3.0), pace=np.array(0.1), exponent=np.array(0.05))
    fast, slow = nearly.days_until(np.array(1e20))
    assert (fast, slow) == (np.inf, np.inf)
    nobody = fit_accrual([0, 0, 0])
    assert [side.tolist() for side in nobody.days_until(np.array([0, 1]))] == [[3, np.inf], [3, np.inf]]
    assert [float(side) for side in nobody.units_by(9)] == [0, 0]
    unborn = constant_accrual(0)
    assert [side.tolist() for side in unborn.days_until(np.array([0, 1]))] == [[0, np.inf], [0, np.inf]]
    assert [float(side) for side in unborn.units_by(0)] == [0, 0]


def test_curves_beside_each_other_are_fitted_one_by_one() -> None:
    curves: list[list[float]] = [[0, 1.2, 1.3, 1.35, 1.4], [1, 2**0.5, 3**0.5, 2, 5**0.5], [2, 4, 6, 8, 10]]
    assert fit_accrual(curves).exponent.tolist() == pytest.approx([1, 0.5, 1])


def test_a_known_pace_is_a_line_from_wherever_it_starts() -> None:
    plain = constant_accrual([2, 4])
    assert (plain.day.tolist(), plain.enrolled.tolist(), plain.exponent.tolist()) == ([0, 0], [0, 0], [0, 0])
    later = constant_accrual(3, enrolled=[5, 6], day=2)
    assert (later.pace.tolist(), later.day.tolist()) == ([3, 3], [2, 2])
    assert [side.tolist() for side in later.days_until(np.array([11, 6]))] == [[4, 2], [4, 2]]


def test_the_curve_starts_from_the_first_day() -> None:
    young = fit_accrual([0.5])
    assert [float(side) for side in young.units_by(3)] == [1.5, 1.5]
    paces = constant_accrual([2.0, 4.0])
    assert paces.units_by(5)[0].tolist() == [10.0, 20.0]
