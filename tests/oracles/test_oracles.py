"""The product agrees with established libraries and published tables on every method it offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracles.__main__ import agrees, cases, run
from tests.oracles.adapter import CONTESTED, DECLINED, METHODS


@pytest.fixture(scope="module")
def oracles(shared: Path) -> Path:
    """The directory of the cases."""
    return shared / "oracles"


def test_no_case_of_an_offered_method_fails(oracles: Path) -> None:
    result = run(oracles)
    assert result["failures"] == []
    assert result["passed"] > 100


def test_declined_and_contested_cases_are_few_and_reasoned(oracles: Path) -> None:
    result = run(oracles)
    total = sum(1 for _ in cases(oracles))
    assert result["declined"] <= total / 10
    reasons = [case["reason"] for case in result["declined_cases"]]
    assert all(len(reason) > 20 for reason in [*reasons, *DECLINED.values(), *CONTESTED.values()])
    assert not DECLINED.keys() & METHODS.keys()


def test_tolerances_are_applied_element_by_element() -> None:
    assert agrees([1.0, 2.0], [1.0, 2.0 + 1e-7], rel=1e-6, abs_=0)
    assert not agrees([1.0, 2.1], [1.0, 2.0], rel=1e-6, abs_=0)
    assert not agrees([1.0], [1.0, 2.0], rel=1, abs_=1)
    assert agrees(float("-inf"), "-inf", rel=0, abs_=0)
    assert not agrees(None, 1.0, rel=1, abs_=1)
    assert not agrees(float("nan"), 1.0, rel=1, abs_=1)
