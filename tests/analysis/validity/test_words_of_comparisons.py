"""What the checks of comparisons say, in full, on both sides of every limit."""

from __future__ import annotations

from typing import Any

import pytest

from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import unit_checks
from switchpoint.analysis.validity.unit_checks import Canary, Carried, Difference
from tests.analysis.validity.expected import Case, fine, unseen, void, warned

UNLIKE: dict[str, Any] = {
    "metric": "revenue", "what": "spend before", "variant": "b", "control": "a", "control_value": 10.0,
    "variant_value": 12.5,
}  # fmt: skip
FIRST_EVENTS: dict[str, Any] = {
    "metric": "errors", "variant": "b", "control": "a", "control_events": 40, "variant_events": 8, "expected": 0.01,
}  # fmt: skip
ONE_UNIT: dict[str, Any] = {
    "metric": "revenue", "variant": "b", "side": "control", "value": 900.0, "effect": 1.5, "p": 0.04, "without": 0.4,
    "error_without": 1.0, "p_without": 0.6,
}  # fmt: skip

CASES: dict[str, Case] = {
    "before unseen": (
        lambda: unit_checks.before_exposure(Unseen("x"), DEFAULT, randomised=True),
        unseen("before exposure", "x"),
    ),
    "alike before": (
        lambda: unit_checks.before_exposure(
            (Difference(**UNLIKE, p=0.005), Difference(**UNLIKE, p=0.9)), DEFAULT, randomised=True
        ),
        fine(
            "before exposure",
            "Variants were alike before exposure (smallest p = 0.01).",
            {"p": 0.01, "metric": "revenue", "variant": "b"},
        ),
    ),
    "unlike before": (
        lambda: unit_checks.before_exposure(
            (Difference(**UNLIKE, p=0.9), Difference(**UNLIKE, p=0.0005)), DEFAULT, randomised=True
        ),
        warned(
            "before exposure",
            "Before any exposure b already differed from a in spend before: 12.5 against 10 per unit (p ="
            " 0.001). Either assignment was not random, an earlier experiment left its mark, or the "
            "covariate was measured after exposure.",
            {"p": 0.001, "metric": "revenue", "variant": "b"},
        ),
    ),
    "void before": (
        lambda: unit_checks.before_exposure(
            (Difference(**UNLIKE, p=0.9), Difference(**UNLIKE, p=0.0004)), DEFAULT, randomised=True
        ),
        void(
            "before exposure",
            "Before any exposure b already differed from a in spend before: 12.5 against 10 per unit (p ="
            " 0.0008). Either assignment was not random, an earlier experiment left its mark, or the "
            "covariate was measured after exposure.",
            {"p": 0.0008, "metric": "revenue", "variant": "b"},
        ),
    ),
    "void before, not randomised": (
        lambda: unit_checks.before_exposure((Difference(**UNLIKE, p=0.0004),), DEFAULT, randomised=False),
        warned(
            "before exposure",
            "Before any exposure b already differed from a in spend before: 12.5 against 10 per unit (p ="
            " 0.0004). Either assignment was not random, an earlier experiment left its mark, or the "
            "covariate was measured after exposure.",
            {"p": 0.0004, "metric": "revenue", "variant": "b"},
        ),
    ),
    "surely alike": (
        lambda: unit_checks.before_exposure(
            (Difference(**UNLIKE, p=0.6), Difference(**UNLIKE, p=0.9)), DEFAULT, randomised=True
        ),
        fine(
            "before exposure",
            "Variants were alike before exposure (smallest p = 1).",
            {"p": 1.0, "metric": "revenue", "variant": "b"},
        ),
    ),
    "denominator unseen": (
        lambda: unit_checks.denominators(Unseen("x"), DEFAULT),
        unseen("denominator", "x"),
    ),
    "denominators alike": (
        lambda: unit_checks.denominators((Difference(**UNLIKE, p=0.001),), DEFAULT),
        fine(
            "denominator",
            "Denominators of ratios are alike in the variants.",
            {"p": 0.001, "metric": "revenue", "variant": "b"},
        ),
    ),
    "denominators moved": (
        lambda: unit_checks.denominators(
            (Difference(**UNLIKE, p=0.00045), Difference(**UNLIKE, p=1.0)), DEFAULT
        ),
        warned(
            "denominator",
            "revenue: its denominator moved too, spend before per unit 10 in a and 12.5 in b (p = "
            "0.0009). The ratio mixes both changes; read the numerator per unit as a metric of its own.",
            {"p": 0.0009, "metric": "revenue", "variant": "b"},
        ),
    ),
    "harm unseen": (
        lambda: unit_checks.early_harm(Unseen("x"), 0.05),
        unseen("early harm", "x"),
    ),
    "no harm": (
        lambda: unit_checks.early_harm(
            (Canary(**FIRST_EVENTS, margin=0.2, p=0.025), Canary(**FIRST_EVENTS, margin=0.2, p=0.9)), 0.05
        ),
        fine(
            "early harm",
            "The first events do not speak against any variant (exact sequence, p = 0.05).",
            {"p": 0.05, "metric": "errors", "variant": "b", "events": 8, "control_events": 40},
        ),
    ),
    "surely no harm": (
        lambda: unit_checks.early_harm(
            (Canary(**FIRST_EVENTS, margin=0.2, p=0.75), Canary(**FIRST_EVENTS, margin=0.2, p=0.9)), 0.05
        ),
        fine(
            "early harm",
            "The first events do not speak against any variant (exact sequence, p = 1).",
            {"p": 1.0, "metric": "errors", "variant": "b", "events": 8, "control_events": 40},
        ),
    ),
    "harm": (
        lambda: unit_checks.early_harm(
            (Canary(**FIRST_EVENTS, margin=0.2, p=0.024), Canary(**FIRST_EVENTS, margin=0.2, p=0.9)), 0.05
        ),
        warned(
            "early harm",
            "b is harmed in errors beyond its margin of 20.0%: 8 of 48 units with the event are in it, "
            "where its allocation gives it 1.0% of them. The test is exact from the first event on (p = "
            "0.048); pause or ramp down rather than wait.",
            {"p": 0.048, "metric": "errors", "variant": "b", "events": 8, "control_events": 40},
        ),
    ),
    "harm without a margin": (
        lambda: unit_checks.early_harm(
            (
                Canary(
                    **(FIRST_EVENTS | {"control_events": 4000, "variant_events": 1000}), margin=0.0, p=0.001
                ),
            ),
            0.05,
        ),
        warned(
            "early harm",
            "b is harmed in errors: 1,000 of 5,000 units with the event are in it, where its allocation "
            "gives it 1.0% of them. The test is exact from the first event on (p = 0.001); pause or ramp "
            "down rather than wait.",
            {"p": 0.001, "metric": "errors", "variant": "b", "events": 1000, "control_events": 4000},
        ),
    ),
    "outlier unseen": (
        lambda: unit_checks.outlier(Unseen("x"), 0.05, DEFAULT),
        unseen("outlier", "x"),
    ),
    "no outlier": (
        lambda: unit_checks.outlier((), 0.05, DEFAULT),
        fine("outlier", "No single unit carries an effect.", {}),
    ),
    "outlier that decides": (
        lambda: unit_checks.outlier(
            (
                Carried(**(ONE_UNIT | {"effect": 1.0})),
                Carried(**ONE_UNIT | {"without": 1.1, "p_without": 0.6}),
            ),
            0.05,
            DEFAULT,
        ),
        warned(
            "outlier",
            "revenue, b: one unit of control (900) carries the effect, +1 (p = 0.04) with it and +0.4 (p "
            "= 0.6) without it. A cap on the unit's total, fixed before the start, keeps one unit from "
            "deciding.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.0,
                "without": 0.4,
                "p": 0.04,
                "p_without": 0.6,
            },
        ),
    ),
    "outlier that moves": (
        lambda: unit_checks.outlier((Carried(**(ONE_UNIT | {"p": 0.9})),), 0.05, DEFAULT),
        warned(
            "outlier",
            "revenue, b: one unit of control (900) carries the effect, +1.5 (p = 0.9) with it and +0.4 (p"
            " = 0.6) without it. A cap on the unit's total, fixed before the start, keeps one unit from "
            "deciding.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.5,
                "without": 0.4,
                "p": 0.9,
                "p_without": 0.6,
            },
        ),
    ),
    "outlier within the error": (
        lambda: unit_checks.outlier((Carried(**(ONE_UNIT | {"error_without": 4.0})),), 0.05, DEFAULT),
        fine(
            "outlier",
            "No single unit carries an effect.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.5,
                "without": 0.4,
                "p": 0.04,
                "p_without": 0.6,
            },
        ),
    ),
    "outlier that moves by an error": (
        lambda: unit_checks.outlier(
            (Carried(**(ONE_UNIT | {"p": 0.9, "effect": 1.5, "without": 0.5})),), 0.05, DEFAULT
        ),
        fine(
            "outlier",
            "No single unit carries an effect.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.5,
                "without": 0.5,
                "p": 0.9,
                "p_without": 0.6,
            },
        ),
    ),
    "outlier that decides by half an error": (
        lambda: unit_checks.outlier(
            (Carried(**(ONE_UNIT | {"effect": 1.0, "without": 0.5})),), 0.05, DEFAULT
        ),
        fine(
            "outlier",
            "No single unit carries an effect.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.0,
                "without": 0.5,
                "p": 0.04,
                "p_without": 0.6,
            },
        ),
    ),
    "outlier at alpha": (
        lambda: unit_checks.outlier((Carried(**(ONE_UNIT | {"effect": 1.0, "p": 0.05})),), 0.05, DEFAULT),
        fine(
            "outlier",
            "No single unit carries an effect.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.0,
                "without": 0.4,
                "p": 0.05,
                "p_without": 0.6,
            },
        ),
    ),
    "outlier without which it is at alpha": (
        lambda: unit_checks.outlier(
            (Carried(**(ONE_UNIT | {"effect": 1.0, "p_without": 0.05})),), 0.05, DEFAULT
        ),
        warned(
            "outlier",
            "revenue, b: one unit of control (900) carries the effect, +1 (p = 0.04) with it and +0.4 (p "
            "= 0.05) without it. A cap on the unit's total, fixed before the start, keeps one unit from "
            "deciding.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.0,
                "without": 0.4,
                "p": 0.04,
                "p_without": 0.05,
            },
        ),
    ),
    "outlier without which it is significant": (
        lambda: unit_checks.outlier(
            (Carried(**(ONE_UNIT | {"effect": 1.0, "p": 0.05, "p_without": 0.04})),), 0.05, DEFAULT
        ),
        warned(
            "outlier",
            "revenue, b: one unit of control (900) carries the effect, +1 (p = 0.05) with it and +0.4 (p "
            "= 0.04) without it. A cap on the unit's total, fixed before the start, keeps one unit from "
            "deciding.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.0,
                "without": 0.4,
                "p": 0.05,
                "p_without": 0.04,
            },
        ),
    ),
    "outlier of a constant": (
        lambda: unit_checks.outlier((Carried(**(ONE_UNIT | {"error_without": 0.0})),), 0.05, DEFAULT),
        fine(
            "outlier",
            "No single unit carries an effect.",
            {
                "metric": "revenue",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.5,
                "without": 0.4,
                "p": 0.04,
                "p_without": 0.6,
            },
        ),
    ),
    "one comparison carries, another moves more": (
        lambda: unit_checks.outlier(
            (
                Carried(**(ONE_UNIT | {"effect": 1.3, "p": 0.9})),
                Carried(**(ONE_UNIT | {"metric": "spend", "effect": 1.0})),
            ),
            0.05,
            DEFAULT,
        ),
        warned(
            "outlier",
            "spend, b: one unit of control (900) carries the effect, +1 (p = 0.04) with it and +0.4 (p = "
            "0.6) without it. A cap on the unit's total, fixed before the start, keeps one unit from "
            "deciding.",
            {
                "metric": "spend",
                "variant": "b",
                "unit": 900.0,
                "effect": 1.0,
                "without": 0.4,
                "p": 0.04,
                "p_without": 0.6,
            },
        ),
    ),
}


def test_of_units_that_carry_the_one_that_moves_most_is_named() -> None:
    less, more = Carried(**(ONE_UNIT | {"effect": 1.0})), Carried(**(ONE_UNIT | {"metric": "spend"}))
    for found in ((less, more), (more, less)):
        assert unit_checks.outlier(found, 0.05, DEFAULT).numbers["metric"] == "spend"


@pytest.mark.parametrize("name", CASES)
def test_the_check_says_all_of_it(name: str) -> None:
    made, expected = CASES[name]
    assert made() == expected
