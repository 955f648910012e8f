"""Experiments beside one: by their definitions, and in the same days of a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from switchpoint.analysis.evidence.evidence import DayLooks, Evidence
from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.evidence.ledger import from_ledger
from switchpoint.analysis.results.judgement import Severity
from switchpoint.analysis.validity import concurrent
from switchpoint.analysis.validity.concurrent import Window
from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import Layer
from tests.analysis import cases
from tests.analysis.validity.expected import fine, warned


def experiment(key: str = "shop", **changed: Any) -> ExperimentState:
    return cases.running(cases.definition(**({"key": key} | changed)))


def slice_(start: int, end: int, key: str = "home") -> Layer:
    return Layer(key=key, start=start, end=end)


NOBODY = fine("other experiments", "No other experiment shares its units.", {"experiments": 0})
JOINT = (
    ". If they touch the same thing, put them into one layer; their joint effect is not what either shows."
)
UNITS = "Units of this experiment are also in {}, without a layer that keeps them apart"


def test_experiments_on_the_same_units_are_named_and_those_on_the_same_model_again() -> None:
    others = [experiment("a"), experiment("b", model=None), experiment("c", model="other"), experiment("d")]
    assert concurrent.configured(experiment(), others) == warned(
        "other experiments", UNITS.format("a, b, c, d") + "; a, d change the same model (ranker)" + JOINT,
        {"experiments": 4},
    )  # fmt: skip


def test_one_on_the_same_model_changes_it() -> None:
    found = concurrent.configured(experiment(), [experiment("a"), experiment("b", model=None)])
    assert found == warned(
        "other experiments",
        UNITS.format("a, b") + "; a changes the same model (ranker)" + JOINT,
        {"experiments": 2},
    )


def test_of_a_thousand_the_first_few_are_named() -> None:
    others = [experiment(f"e{number}", model=None) for number in range(1005)]
    found = concurrent.configured(experiment(), others)
    text = UNITS.format("e0, e1, e2, e3, e4 and 1,000 more") + JOINT
    assert found == warned("other experiments", text, {"experiments": 1005})
    five = concurrent.configured(experiment(), others[:5])
    assert five.message == UNITS.format("e0, e1, e2, e3, e4") + JOINT


def test_without_a_model_there_is_none_to_share() -> None:
    found = concurrent.configured(experiment(model=None), [experiment("a", model=None)])
    assert found == warned("other experiments", UNITS.format("a") + JOINT, {"experiments": 1})


@pytest.mark.parametrize(
    ("mine", "theirs", "apart"),
    [
        (slice_(0, 5000), slice_(5000, 10_000), True),
        (slice_(5000, 10_000), slice_(0, 5000), True),
        (slice_(0, 5001), slice_(5000, 10_000), False),
        (slice_(5000, 10_000), slice_(0, 5001), False),
        (slice_(2000, 3000), slice_(0, 10_000), False),
        (slice_(0, 5000), slice_(5000, 10_000, "cart"), False),
        (slice_(0, 5000), None, False),
        (None, slice_(0, 5000), False),
    ],
)
def test_slices_of_one_layer_keep_units_apart(
    mine: Layer | None, theirs: Layer | None, *, apart: bool
) -> None:
    found = concurrent.configured(experiment(layer=mine), [experiment("a", layer=theirs)])
    assert (found == NOBODY) is apart


TABLE = Source(shape=Shape.UNITS, variant="v", weights=None)


def test_who_cannot_meet_is_not_named() -> None:
    assert concurrent.configured(experiment(), []) == NOBODY
    assert concurrent.configured(experiment(), [experiment()]) == NOBODY
    assert concurrent.configured(experiment(), [experiment("a", unit="session_id")]) == NOBODY
    assert concurrent.configured(experiment(), [experiment("a", source=TABLE)]) == NOBODY
    assert concurrent.configured(experiment(source=TABLE), [experiment("a")]) == NOBODY


@pytest.mark.parametrize("status", Status)
def test_only_experiments_that_route_units_meet(status: Status) -> None:
    found = concurrent.configured(experiment(), [replace(experiment("a"), status=status)])
    assert (found.severity is Severity.WARN) is (status in {Status.RUNNING, Status.PAUSED})


# --- the same days --------------------------------------------------------------------------------------


def table(size: int, *, width: int = 1, closed: bool = True) -> Evidence:
    base = from_ledger(cases.running(cases.definition()), {}, at=0)
    subjects = tuple(replace(base.subjects[0], key=f"e{place}") for place in range(size))
    return replace(base, subjects=subjects, day_width=width, closed=closed)


def days(*each: list[int]) -> DayLooks:
    start = np.concatenate([[0], np.cumsum([len(own) for own in each])])
    return DayLooks(
        days=np.concatenate([np.array(own, dtype=np.int64) for own in each]), start=start, shape=(int(start[-1]), 1, 2),
        cells=np.zeros(0, dtype=bool), place=np.zeros(0, dtype=np.int64),
    )  # fmt: skip


BROKEN, SOUND = Severity.INVALID, Severity.WARN


def test_experiments_are_counted_that_share_a_day() -> None:
    """Days 0–3, 3–5, 4–9, 20, none, 0–20; the second and the last are broken."""
    looks = days([0, 1, 3], [3, 5], [4, 9], [20], [], [0, 20])
    found = concurrent.windows(table(6), looks, [SOUND, BROKEN, SOUND, Severity.OK, BROKEN, BROKEN])
    assert found == (
        Window(others=2, broken=2, first="1970-01-01", last="1970-01-04"),
        Window(others=3, broken=1, first="1970-01-04", last="1970-01-06"),
        Window(others=2, broken=2, first="1970-01-05", last="1970-01-10"),
        Window(others=1, broken=1, first="1970-01-21", last="1970-01-21"),
        Unseen("no unit is left"),
        Window(others=4, broken=1, first="1970-01-01", last="1970-01-21"),
    )


def test_without_others_or_days_there_is_no_window() -> None:
    one, several = days([0]), days([0], [0])
    assert concurrent.windows(table(1), one, [SOUND]) == (Unseen("the table holds one experiment"),)
    assert concurrent.windows(table(1, closed=False), one, [SOUND]) == (
        Unseen("one experiment is looked at"),
    )
    assert concurrent.windows(table(2), days([], []), [SOUND] * 2) == (Unseen("no unit is left"),) * 2
    assert (
        concurrent.windows(table(2, width=0), several, [SOUND] * 2)
        == (Unseen("no column `day` is named"),) * 2
    )
