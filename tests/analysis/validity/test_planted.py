"""Every problem is found in words, in a small table that has only this one; no clean twin is flagged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.judgement import Severity
from tests.analysis.validity.__main__ import PAGE
from tests.analysis.validity.page import CHECKS, PLANTED, STORIES, render, told
from tests.analysis.validity.worlds import (
    clean_units,
    clusters,
    eligible,
    events,
    long_numbers,
    sessions,
    two_experiments,
    with_units,
)


@pytest.mark.parametrize("name", PLANTED)
def test_the_planted_problem_is_flagged_in_plain_words(name: str) -> None:
    twin = PLANTED[name]
    found = [c for c in told(twin.planted(), twin.row) if c.name == twin.check]
    assert [c.severity for c in found] == [twin.severity], [c.message for c in found]
    assert twin.words in found[0].message


@pytest.mark.parametrize("name", PLANTED)
def test_no_clean_twin_is_flagged_by_any_check(name: str) -> None:
    flagged = [
        (c.name, c.message)
        for c in told(PLANTED[name].clean(), PLANTED[name].row)
        if c.severity is not Severity.OK
    ]
    assert not flagged


def test_healthy_tables_of_many_seeds_are_rarely_warned_and_never_voided() -> None:
    """Checks at p < 0.01 may speak by chance: of 24 seeds each once at the most, and none holds a verdict."""
    flagged = [
        check
        for seed in range(1, 25)
        for check in clean_units(seed).checks
        if check.severity is not Severity.OK
    ]
    assert all(check.severity is Severity.WARN for check in flagged), [c.message for c in flagged]
    assert max(Counter(check.name for check in flagged).values(), default=0) <= 1


SOUND: dict[str, Callable[[int], Report | BatchReport]] = {
    "rows are the unit": lambda seed: sessions(seed, nested=False),
    "a condition that all meet": lambda seed: eligible(seed, by_variant=None),
    "many clusters": lambda seed: clusters(1200, seed),
    "events": events,
    "independent experiments": lambda seed: two_experiments(seed, tied=False),
    "ids of digits": lambda seed: with_units(long_numbers, seed),
}


@pytest.mark.parametrize("name", SOUND)
def test_other_clean_tables_of_several_seeds_are_rarely_warned_and_never_voided(name: str) -> None:
    flagged = [
        c for seed in range(30, 36) for c in told(SOUND[name](seed), 0) if c.severity is not Severity.OK
    ]
    assert all(check.severity is Severity.WARN for check in flagged), [c.message for c in flagged]
    assert max(Counter(check.name for check in flagged).values(), default=0) <= 1


def test_every_check_has_a_planted_problem_and_a_place_in_the_documents() -> None:
    run = {
        c.name for twin in PLANTED.values() if isinstance(found := twin.clean(), Report) for c in found.checks
    }
    planted = {twin.check for twin in PLANTED.values()}
    assert planted == set(CHECKS)
    assert run <= planted
    assert set(STORIES) == set(PLANTED)


def test_the_page_of_checks_says_what_the_checks_say() -> None:
    """Written by `python -m tests.analysis.validity`."""
    assert PAGE.read_text(encoding="utf-8") == render()
