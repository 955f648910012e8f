"""What the checks of other experiments say, in full, on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from switchpoint.analysis.evidence.facts import Shared, Sharing, Unseen
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import concurrent
from switchpoint.analysis.validity.concurrent import Window
from tests.analysis.validity.expected import Case, fine, unseen, warned

FIRST = Shared(experiment="x", units=200, p=0.3)
SECOND = Shared(experiment="y", units=300, p=0.6)
TIED = Shared(experiment="x", units=200, p=0.0004)


def sharing(**known: Any) -> Sharing:
    base: dict[str, Any] = {
        "units": 1000,
        "elsewhere": 0,
        "experiments": 3,
        "met": 0,
        "most": None,
        "tied": None,
    }
    return Sharing(**(base | known))


CASES: dict[str, Case] = {
    "others unseen": (
        lambda: concurrent.in_table(Unseen("x"), DEFAULT),
        unseen("other experiments", "x"),
    ),
    "no others": (
        lambda: concurrent.in_table(sharing(), DEFAULT),
        fine(
            "other experiments",
            "No unit is in another of the table's 3 experiments.",
            {"experiments": 0, "units": 0, "share": 0.0, "p": None},
        ),
    ),
    "no units": (
        lambda: concurrent.in_table(sharing(units=0), DEFAULT),
        fine(
            "other experiments",
            "No unit is in another of the table's 3 experiments.",
            {"experiments": 0, "units": 0, "share": 0.0, "p": None},
        ),
    ),
    "one other": (
        lambda: concurrent.in_table(sharing(elsewhere=200, met=1, most=FIRST, tied=FIRST), DEFAULT),
        fine(
            "other experiments",
            "200 units (20.0%) are also in x; the assignments are independent (p = 0.3), so the effects "
            "do not mix.",
            {"experiments": 1, "units": 200, "share": 0.2, "p": 0.3},
        ),
    ),
    "others": (
        lambda: concurrent.in_table(
            sharing(units=5000, elsewhere=1400, met=2, most=replace(SECOND, units=1200), tied=FIRST), DEFAULT
        ),
        fine(
            "other experiments",
            "1,400 units (28.0%) are also in 2 other experiments, most of them (1,200) in y; the "
            "assignments are independent (p = 0.6), so the effects do not mix.",
            {"experiments": 2, "units": 1400, "share": 0.28, "p": 0.6},
        ),
    ),
    "surely independent": (
        lambda: concurrent.in_table(sharing(elsewhere=400, met=2, most=SECOND, tied=SECOND), DEFAULT),
        fine(
            "other experiments",
            "400 units (40.0%) are also in 2 other experiments, most of them (300) in y; the assignments "
            "are independent (p = 1), so the effects do not mix.",
            {"experiments": 2, "units": 400, "share": 0.4, "p": 1.0},
        ),
    ),
    "one variant there": (
        lambda: concurrent.in_table(
            sharing(elsewhere=200, met=1, most=replace(FIRST, p=None), tied=replace(FIRST, p=None)), DEFAULT
        ),
        fine(
            "other experiments",
            "200 units (20.0%) are also in x; with a single variant there or here nothing can be said of "
            "how the assignments go together.",
            {"experiments": 1, "units": 200, "share": 0.2, "p": None},
        ),
    ),
    "tied": (
        lambda: concurrent.in_table(
            sharing(units=5000, elsewhere=1400, met=2, most=SECOND, tied=replace(TIED, units=1100)), DEFAULT
        ),
        warned(
            "other experiments",
            "1,100 units (22.0%) are also in x, and who got which variant there goes together with the "
            "variants here (p = 0.0008): the two effects cannot be told apart. Randomise them "
            "independently, or analyse the units that are in one only.",
            {"experiments": 2, "units": 1400, "share": 0.28, "p": 0.0008},
        ),
    ),
    "tied at the limit": (
        lambda: concurrent.in_table(
            sharing(elsewhere=400, met=2, most=SECOND, tied=replace(TIED, p=0.0005)), DEFAULT
        ),
        fine(
            "other experiments",
            "400 units (40.0%) are also in 2 other experiments, most of them (300) in y; the assignments "
            "are independent (p = 0.001), so the effects do not mix.",
            {"experiments": 2, "units": 400, "share": 0.4, "p": 0.001},
        ),
    ),
    "window unseen": (
        lambda: concurrent.in_window(Unseen("x"), DEFAULT),
        unseen("window", "x"),
    ),
    "alone in the window": (
        lambda: concurrent.in_window(
            Window(others=0, broken=0, first="2026-03-02", last="2026-03-09"), DEFAULT
        ),
        unseen("window", "no other experiment of the table ran at the same time (2026-03-02 to 2026-03-09)"),
    ),
    "alone on the day": (
        lambda: concurrent.in_window(
            Window(others=0, broken=0, first="2026-03-02", last="2026-03-02"), DEFAULT
        ),
        unseen("window", "no other experiment of the table ran at the same time (2026-03-02)"),
    ),
    "few broken": (
        lambda: concurrent.in_window(
            Window(others=3, broken=2, first="2026-03-02", last="2026-03-09"), DEFAULT
        ),
        fine(
            "window",
            "2 of the 3 other experiments that ran at the same time (2026-03-02 to 2026-03-09) do not "
            "split as intended.",
            {"others": 3, "broken": 2, "share": 0.6666666666666666},
        ),
    ),
    "many broken": (
        lambda: concurrent.in_window(
            Window(others=15_000, broken=3000, first="2026-03-02", last="2026-03-09"), DEFAULT
        ),
        warned(
            "window",
            "3,000 of the 15,000 other experiments that ran at the same time (2026-03-02 to 2026-03-09) "
            "do not split as intended (20%): what broke their randomisation may have touched this one "
            "where its own split cannot show it. Trust it only once the cause is known.",
            {"others": 15000, "broken": 3000, "share": 0.2},
        ),
    ),
    "as few broken as count": (
        lambda: concurrent.in_window(
            Window(others=4, broken=3, first="2026-03-02", last="2026-03-02"), DEFAULT
        ),
        warned(
            "window",
            "3 of the 4 other experiments that ran at the same time (2026-03-02) do not split as intended (75%): "
            "what broke their randomisation may have touched this one where its own split cannot show it. Trust it "
            "only once the cause is known.",
            {"others": 4, "broken": 3, "share": 0.75},
        ),
    ),
    "less than a fifth broken": (
        lambda: concurrent.in_window(
            Window(others=16, broken=3, first="2026-03-02", last="2026-03-02"), DEFAULT
        ),
        fine(
            "window",
            "3 of the 16 other experiments that ran at the same time (2026-03-02) do not split as intended.",
            {"others": 16, "broken": 3, "share": 0.1875},
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_check_says_all_of_it(name: str) -> None:
    made, expected = CASES[name]
    assert made() == expected
