"""Every check once with its problem and once without, in words an analyst understands."""

from __future__ import annotations

import numpy as np
import pytest

from switchpoint.analysis.evidence.evidence import Stratum, Subject
from switchpoint.analysis.inference.sample import proportion
from switchpoint.analysis.results.judgement import Overlap, Severity, Value
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import gates, overlap, unit_checks
from switchpoint.experiment.definition.types import Grade, MetricType
from tests.analysis.cases import RULE


@pytest.mark.parametrize(
    ("units", "bad", "expected"),
    [
        (10_000, 0, Severity.OK),
        (10_000, 100, Severity.WARN),
        (10_000, 101, Severity.INVALID),
        (0, 0, Severity.OK),
    ],
)
def test_contamination_and_mismatches_void_above_one_percent(
    units: int, bad: int, expected: Severity
) -> None:
    assert unit_checks.contamination(units, bad, DEFAULT, ("", "")).severity is expected
    found = unit_checks.served((bad, units), (bad, units), DEFAULT, ("", ""))
    assert found.severity is expected
    assert not bad or f"{bad:,} of {units:,} exposures" in found.message


def test_fallbacks_and_carry_over_are_worth_a_word_above_one_percent() -> None:
    for check in (unit_checks.fallbacks, unit_checks.carry_over):
        assert check(1000, 20, DEFAULT).severity is Severity.WARN
        assert check(1000, 10, DEFAULT).severity is Severity.OK
        assert check(0, 0, DEFAULT).severity is Severity.OK


def test_runtime_asks_for_the_minimum_and_a_whole_week() -> None:
    assert gates.runtime(13, RULE, DEFAULT).severity is Severity.GATE
    assert gates.runtime(14, RULE, DEFAULT).severity is Severity.OK
    assert gates.runtime(0, RULE, DEFAULT).severity is Severity.GATE  # nothing has matured yet
    assert gates.runtime(None, RULE, DEFAULT).severity is Severity.WARN  # days are not recorded


def test_weaker_evidence_than_the_rule_asks_for_holds_the_verdict() -> None:
    reached, why = gates.grade("unknown", aliased=False)
    assert gates.evidence(reached, Grade.RANDOMISED, why).severity is Severity.GATE
    assert gates.evidence(reached, Grade.DESCRIPTIVE, why).severity is Severity.OK
    assert gates.grade("randomised", aliased=False)[0] is Grade.RANDOMISED
    assert gates.grade("randomised", aliased=True)[0] is Grade.DESCRIPTIVE


def test_one_variant_alone_cannot_be_compared() -> None:
    assert gates.variants(("control",)).severity is Severity.INVALID
    assert gates.variants(("control", "treatment")).severity is Severity.OK


def subject(*weights: tuple[float, ...] | None, variants: tuple[str, ...] = ("a", "b")) -> Subject:
    strata = tuple(Stratum(epoch=1, segment=f"s{i}", weights=w) for i, w in enumerate(weights))
    return Subject(key="x", variants=variants, strata=strata, segmented_by="country", assignment="randomised")


@pytest.mark.parametrize(
    ("weights", "n", "aliased"),
    [
        (((0.5, 0.5), (1.0, 0.0)), [[10, 10], [20, 0]], ()),
        (((1.0, 0.0), (0.0, 1.0)), [[0, 0], [0, 0]], ("b",)),
        (((0.5, 0.5), (0.5, 0.5)), [[0, 0], [0, 0]], ()),
        (((0.5, 0.5), (0.5, 0.5)), [[10, 0], [0, 10]], ("b",)),
        ((None, None), [[10, 0], [0, 10]], ("b",)),
        ((None, None), [[10, 1], [0, 10]], ()),
        ((None,), [[10, 0]], ()),
    ],
    ids=["overlap", "configured apart", "no units yet", "apart in the data", "unknown weights", "a few", "no b yet"],
)  # fmt: skip
def test_variants_that_share_no_segment_with_control_are_aliased(
    weights: tuple[tuple[float, ...] | None, ...], n: list[list[int]], aliased: tuple[str, ...]
) -> None:
    assert overlap.aliased_variants(subject(*weights), np.array(n)) == aliased


def test_only_some_aliased_variants_are_a_warning() -> None:
    def found(*aliased: str) -> Overlap:
        return Overlap(
            variants=("a", "b", "c"), rows=(), aliased=aliased, sentence="x", e_value=None, ladder=()
        )

    assert overlap.check(found("b")).severity is Severity.WARN
    assert overlap.check(found("b", "c")).severity is Severity.INVALID
    assert overlap.check(found()).severity is Severity.OK


@pytest.mark.parametrize(
    ("ratio", "expected"), [(3.9, 7.26), (0.8, 1.81), (1.0, 1.0)], ids=["published", "protective", "none"]
)
def test_e_values_are_the_published_ones(ratio: float, expected: float) -> None:
    """VanderWeele & Ding (2017): 3.9 → 7.26 (breastfeeding), 0.80 → 1.81 (leukaemia)."""
    control = Value(variant="a", n=10, numerator=1, denominator=10, value=0.1)
    variant = Value(variant="b", n=10, numerator=1, denominator=10, value=0.1 * ratio)
    assert overlap.e_value(control, variant) == pytest.approx(expected, abs=0.005)


def test_an_e_value_needs_positive_values() -> None:
    none = Value(variant="a", n=10, numerator=0, denominator=10, value=0.0)
    assert overlap.e_value(none, none) is None


def test_the_slice_to_randomise_is_sized_by_the_rates_inside_the_segments() -> None:
    """10 % and 30 %, equally many: 20 % on average, so a 10 % lift needs what 20 % → 22 % needs."""
    apart = proportion([[1000, 0], [0, 1000]], [[100, 0], [0, 300]])
    together = proportion([[2000, 0]], [[400, 0]])
    assert overlap.units_inside(MetricType.PROPORTION, apart, RULE) == overlap.units_inside(
        MetricType.PROPORTION, together, RULE
    )
    assert overlap.units_inside(MetricType.PROPORTION, proportion([[0, 0]], [[0, 0]]), RULE) is None
