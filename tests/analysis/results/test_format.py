"""Numbers as people read them: no scientific notation, no small number shown as none, no sign lost."""

from __future__ import annotations

import re
from math import copysign

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.report.html import environment
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Interval

_SMALL = st.floats(min_value=-1.0, max_value=1.0, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1032, "10.3%"), (0.00463, "0.463%"), (0.0, "0.0%"), (None, "–"), (-0.5, "-50.0%"), (1.0, "100.0%"),
        (7.51e-26, "<0.000001%"), (-7.51e-26, ">-0.000001%"), (4.2e-7, "0.000042%"), (0.009999, "1%"),
    ],
)  # fmt: skip
def test_shares_are_shown_in_per_cent(value: float | None, text: str) -> None:
    assert fmt.share(value) == text


def test_an_unbounded_side_is_shown_as_infinite() -> None:
    assert fmt.lift_interval(Interval(lower=-0.1, upper=None)) == "[-10.0%, +∞]"


def test_small_p_values_are_never_shown_as_zero() -> None:
    assert fmt.probability(4.21e-25) == "4.2e-25"
    assert fmt.probability(1.0) == "1"
    assert fmt.probability(0.0) == "< 1e-300"
    assert fmt.p_is(0.0) == "p < 1e-300"
    assert fmt.p_is(0.0, -5430.978) == "p = 1.1e-5431"


@pytest.mark.parametrize(
    ("interval", "shown"),
    [
        (Interval(lower=-0.0133, upper=0.0133), "[-1.33, +1.33] pp"),
        (Interval(lower=0.0, upper=None), "[+0.00, +∞] pp"),
        (Interval(lower=-0.00005, upper=-1.2e-4), "[-0.005, -0.01] pp"),
        (Interval(lower=2e-9, upper=-2e-9), "[<+0.000001, >-0.000001] pp"),
    ],
)
def test_no_difference_between_shares_is_rounded_away(interval: Interval, shown: str) -> None:
    assert fmt.points(interval) == shown


@given(_SMALL)
def test_a_small_number_keeps_its_sign_and_never_reads_as_none(value: float) -> None:
    for shown, least in ((fmt.share(value, signed=True), 1e-8), (fmt.amount(value, signed=True), 1e-6)):
        assert re.fullmatch(r"[<>]?[-+]\d+\.?\d*%?", shown), shown
        number = float(shown.strip("<>%")) / (100 if shown.endswith("%") else 1)
        if value == 0:
            assert number == 0
            continue
        assert copysign(1, number) == copysign(1, value)
        assert number != 0
        bounded = shown[0] in "<>"
        assert bounded == (abs(value) < least / 2)
        half = 5e-4 if shown.endswith("%") and abs(value) >= 0.01 else max(0.005 * abs(value), least / 2)
        assert bounded or abs(number - value) <= half * 1.001


@pytest.mark.parametrize(
    ("days", "text"),
    [(7.0, "7 days"), (1.0, "1 day"), (1 / 24, "1 hour"), (0.25, "6 hours"), (1.5, "36 hours"),
     (1 / 48, "30 minutes"), (1 / 86_400, "1 second"), (0.0, "0 days")],
)  # fmt: skip
def test_a_window_is_said_in_the_unit_in_which_it_is_whole(days: float, text: str) -> None:
    assert fmt.days(days) == text


@pytest.mark.parametrize(
    ("plain", "html"),
    [
        ("-5 of [-1.5, +2] and (-3)", "−5 of [−1.5, +2] and (−3)"),
        ("give --per-day or -h", "give --per-day or -h"),
        ("2026-03-08 to home-2", "2026-03-08 to home-2"),
        ("[-∞, >-0.000001]", "[−∞, &gt;−0.000001]"),
    ],
)
def test_only_numbers_get_a_typographic_minus(plain: str, html: str) -> None:
    assert environment().from_string("{{ plain|typeset }}").render(plain=plain) == html
