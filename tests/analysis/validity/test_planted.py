"""Every problem is found in words, in a small table that has only this one; no clean twin is flagged."""

from __future__ import annotations

import pytest

from analysis.report.batch_model import BatchReport
from analysis.report.model import Check, Report, Severity
from tests.analysis.validity.worlds import TWINS


def told(found: Report | BatchReport) -> tuple[Check, ...]:
    return found.rows[0].flags if isinstance(found, BatchReport) else found.checks


@pytest.mark.parametrize("name", TWINS)
def test_the_planted_problem_is_flagged_in_plain_words(name: str) -> None:
    twin = TWINS[name]
    found = [c for c in told(twin.planted()) if c.name == twin.check]
    assert [c.severity for c in found] == [twin.severity], [c.message for c in found]
    assert twin.words in found[0].message


@pytest.mark.parametrize("name", TWINS)
def test_no_clean_twin_is_flagged_by_any_check(name: str) -> None:
    flagged = [(c.name, c.message) for c in told(TWINS[name].clean()) if c.severity is not Severity.OK]
    assert not flagged
