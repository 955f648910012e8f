"""The sample ratio of strata: which rows there are, what the check says of them, and weights nobody knows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy import stats

from switchpoint.analysis.evidence.evidence import DayLooks, Evidence, Stratum, Subject
from switchpoint.analysis.evidence.ledger import from_ledger
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, SampleRatio, Severity
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import allocation
from switchpoint.analysis.validity.sample_ratio import log_e_sample_ratio
from tests.analysis import cases
from tests.analysis.validity.expected import fine, unseen, warned

EVEN = (0.5, 0.5)


def evidence(
    *strata: tuple[str, int, tuple[float, ...] | None], variants: tuple[str, ...] = ("a", "b")
) -> Evidence:
    """No cells, only who should have been where: (segment, epoch, weights)."""
    who = Subject(
        key="x", variants=variants, segmented_by="country", assignment="randomised",
        strata=tuple(Stratum(epoch=epoch, segment=name, weights=w) for name, epoch, w in strata),
    )  # fmt: skip
    return replace(from_ledger(cases.running(cases.definition()), {}, at=0), subjects=(who,))


def rows(source: Evidence, *units: tuple[int, ...]) -> tuple[SampleRatio, ...]:
    found = allocation.ratios(source, np.array([units], dtype=np.int64))
    return allocation.rows(source, found, 0, DEFAULT)


def check(found: tuple[SampleRatio, ...], *, randomised: bool = True) -> Check:
    return allocation.check(found, randomised=randomised)


def p_of(*units: int) -> float:
    return float(stats.chisquare(units).pvalue)


def test_one_stratum_has_one_row() -> None:
    (row,) = rows(evidence(("all", 1, EVEN)), (5100, 4900))
    assert (row.scope, row.segment, row.epoch, row.variants) == ("overall", None, None, ("a", "b"))
    assert (row.observed, row.expected, row.df) == ((5100, 4900), (5000.0, 5000.0), 1)
    assert row.statistic == pytest.approx(4.0)
    assert row.p == pytest.approx(p_of(5100, 4900))
    assert row.log_e == pytest.approx(float(log_e_sample_ratio([5100, 4900], EVEN)))
    assert row.anytime_p == pytest.approx(np.exp(-(row.log_e or 0.0)))
    assert row.missing is None
    assert row.severity is Severity.OK


def test_segments_and_epochs_are_summed_where_both_are_several() -> None:
    source = evidence(
        ("us", 1, EVEN), ("ca", 1, EVEN), ("us", 2, (0.8, 0.2)), ("ca", 2, EVEN), ("mx", 2, EVEN)
    )
    found = rows(source, (500, 520), (300, 310), (800, 190), (0, 0), (40, 44))
    assert [(r.scope, r.segment, r.epoch, r.observed, r.df) for r in found] == [
        ("overall", None, None, (1640, 1064), 4),
        ("us", "us", 1, (500, 520), 1),
        ("ca", "ca", 1, (300, 310), 1),
        ("us, epoch 2", "us", 2, (800, 190), 1),
        ("mx, epoch 2", "mx", 2, (40, 44), 1),
        ("ca, all epochs", "ca", None, (300, 310), 1),
        ("mx, all epochs", "mx", None, (40, 44), 1),
        ("us, all epochs", "us", None, (1300, 710), 2),
        ("epoch 1", None, 1, (800, 830), 2),
        ("epoch 2", None, 2, (840, 234), 2),
    ]
    both = stats.chisquare([500, 520]).statistic + stats.chisquare([800, 190], [792, 198]).statistic
    assert found[7].statistic == pytest.approx(both)
    assert found[7].p == pytest.approx(stats.chi2.sf(both, 2))
    assert found[7].log_e == pytest.approx(sum(r.log_e or 0 for r in (found[1], found[3])))


def test_the_row_over_all_strata_shares_its_threshold_with_none() -> None:
    found = rows(evidence(("us", 1, EVEN), ("ca", 1, EVEN)), (5160, 4840), (5000, 5000))
    assert found[0].p == pytest.approx(stats.chi2.sf(10.24, 2))
    assert found[0].severity is Severity.WARN
    assert 0.005 < (found[0].p or 0) < 0.01


def test_the_sequential_test_alone_can_void() -> None:
    source = evidence(("us", 1, EVEN), ("ca", 1, EVEN))
    even = allocation.ratios(source, np.array([[(50, 50), (50, 50)]]))
    for log_e, severity in ((DEFAULT.srm_log_e / 2, Severity.INVALID), (DEFAULT.srm_log_e / 3, Severity.OK)):
        found = replace(even, log_e=np.full((1, 2), log_e))
        assert allocation.rows(source, found, 0, DEFAULT)[0].severity is severity
        assert allocation.overall_severity(found, DEFAULT) == [severity]


def test_a_single_unit_makes_a_row_and_two_segments_of_two_epochs_make_sums() -> None:
    found = rows(evidence(("us", 1, EVEN), ("ca", 1, EVEN)), (10, 10), (1, 0))
    assert [r.scope for r in found] == ["overall", "us", "ca"]
    source = evidence(("us", 1, EVEN), ("ca", 1, EVEN), ("us", 2, EVEN), ("ca", 2, EVEN))
    assert [r.scope for r in rows(source, *[(5, 5)] * 4)][5:] == [
        "ca, all epochs", "us, all epochs", "epoch 1", "epoch 2",
    ]  # fmt: skip


def test_variants_of_wider_experiments_beside_it_are_not_shown() -> None:
    (row,) = rows(evidence(("all", 1, EVEN)), (5100, 4900, 0))
    assert (row.observed, row.expected) == ((5100, 4900), (5000.0, 5000.0))


def test_epochs_of_one_segment_have_no_sums() -> None:
    found = rows(evidence(("all", 1, EVEN), ("all", 2, EVEN)), (10, 10), (20, 22))
    assert [r.scope for r in found] == ["overall", "all", "all, epoch 2"]


def test_strata_share_the_threshold() -> None:
    """p = 0.0027 alone would warn; of four strata it does not, and overall it is diluted."""
    source = evidence(*((name, 1, EVEN) for name in "uvwx"))
    found = rows(source, (5150, 4850), (5000, 5000), (5000, 5000), (5000, 5000))
    assert found[1].p == pytest.approx(p_of(5150, 4850))
    assert [r.severity for r in found] == [Severity.OK] * 5
    assert rows(evidence(("all", 1, EVEN)), (5150, 4850))[0].severity is Severity.WARN
    # of four 0.0019 is worth a word, of six it would not be
    assert rows(source, (5155, 4845), *([(5000, 5000)] * 3))[1].severity is Severity.WARN
    assert rows(source, (5180, 4820), *([(5000, 5000)] * 3))[1].severity is Severity.WARN
    assert rows(source, (5200, 4800), *([(5000, 5000)] * 3))[1].severity is Severity.INVALID


@pytest.mark.parametrize(
    ("p", "stray", "log_e", "tests", "expected"),
    [
        (0.0009, 0.0, 0.0, 1, Severity.INVALID), (0.001, 0.0, 0.0, 1, Severity.WARN),
        (0.0099, 0.0, 0.0, 1, Severity.WARN), (0.01, 0.0, 0.0, 1, Severity.OK),
        (0.0004, 0.0, 0.0, 2, Severity.INVALID), (0.0005, 0.0, 0.0, 2, Severity.WARN),
        (0.0049, 0.0, 0.0, 2, Severity.WARN), (0.005, 0.0, 0.0, 2, Severity.OK),
        (None, 0.0, 0.0, 1, Severity.OK), (0.5, 1.0, 0.0, 1, Severity.INVALID), (None, 1.0, 0.0, 1, Severity.INVALID),
        (0.5, 0.0, DEFAULT.srm_log_e, 1, Severity.INVALID), (0.5, 0.0, DEFAULT.srm_log_e - 1e-9, 1, Severity.OK),
        (0.5, 0.0, DEFAULT.srm_log_e, 2, Severity.OK), (0.5, 0.0, DEFAULT.srm_log_e + np.log(2), 2, Severity.INVALID),
    ],
)  # fmt: skip
def test_the_limits_of_the_sample_ratio(
    p: float | None, stray: float, log_e: float, tests: int, expected: Severity
) -> None:
    assert allocation.severity(p, stray, DEFAULT, log_e=log_e, tests=tests) is expected


def test_a_ratio_as_intended_says_so() -> None:
    found = rows(evidence(("all", 1, EVEN)), (5010, 4990))
    assert check(found) == fine(
        "sample ratio", "Units split as intended (chi-square p = 0.84; at any look p = 1).",
        {"p": found[0].p, "worst_p": found[0].p, "worst_scope": "overall", "anytime_p": 1.0},
    )  # fmt: skip


def test_an_odd_ratio_is_worth_a_word() -> None:
    found = rows(evidence(("all", 1, EVEN)), (5150, 4850))
    assert check(found) == warned(
        "sample ratio",
        "Units split oddly: a 5,150 (intended 5,000), b 4,850 (intended 5,000); chi-square p = 0.0027; at any look "
        "p = 0.13.",
        {"p": found[0].p, "worst_p": found[0].p, "worst_scope": "overall", "anytime_p": found[0].anytime_p},
    )  # fmt: skip


def test_the_chi_square_says_why_it_speaks_before_the_sequential_test() -> None:
    found = check(rows(evidence(("all", 1, EVEN)), (5180, 4820)))
    assert found.severity is Severity.INVALID
    assert found.message.startswith(
        "Units do not split as intended: a 5,180 (intended 5,000), b 4,820 (intended 5,000); chi-square p = 0.00032; "
        "at any look p = 0."
    )
    assert found.message.endswith(
        "Some were lost or moved. The chi-square gates, although watching it adds alarms: a broken split voids every "
        "number."
    )
    sure = check(rows(evidence(("all", 1, EVEN)), (5500, 4500)))
    assert sure.message.endswith("Some were lost or moved.")


def test_the_stratum_that_is_furthest_off_is_named() -> None:
    source = evidence(("us", 1, EVEN), ("ca", 1, EVEN))
    alone = check(rows(source, (5000, 5000), (5200, 4800)))
    assert alone.message.startswith("Units do not split as intended in ca: a 5,200 (intended 5,000)")
    assert alone.numbers["worst_scope"] == "ca"
    both = check(rows(source, (5180, 4820), (5200, 4800)))
    assert both.message.startswith(
        "Units do not split as intended (all strata together, most in ca): a 10,380 (intended 10,000)"
    )


def test_no_stratum_is_further_off_than_one_whose_p_no_float_holds() -> None:
    found = rows(evidence(("us", 1, EVEN), ("ca", 1, EVEN)), (50_000, 10_000), (5200, 4800))
    assert found[1].p == 0
    assert "(all strata together, most in us)" in check(found).message


def test_the_sequential_test_is_sure_below_the_threshold_alone() -> None:
    (row,) = rows(evidence(("all", 1, EVEN)), (5500, 4500))
    why = " The chi-square gates, although watching it adds alarms"
    assert why in check((replace(row, anytime_p=DEFAULT.srm_invalid),)).message
    assert why not in check((replace(row, anytime_p=DEFAULT.srm_invalid * 0.999),)).message


def test_a_unit_in_a_variant_without_weight_voids() -> None:
    found = rows(evidence(("all", 1, (0.5, 0.5, 0.0)), variants=("a", "b", "c")), (5000, 5000, 2))
    assert found[0].severity is Severity.INVALID
    assert found[0].log_e is None
    assert found[0].anytime_p == 0.0
    assert check(found).message.startswith("Units do not split as intended: a 5,000 (intended 5,000), ")


# --- weights that are not known -------------------------------------------------------------------------


@pytest.mark.parametrize("randomised", [True, False])
def test_unknown_weights_are_asked_for(*, randomised: bool) -> None:
    found = rows(evidence(("all", 1, None)), (5150, 4850))
    assert (found[0].p, found[0].expected, found[0].severity) == (None, None, Severity.WARN)
    assert (found[0].statistic, found[0].df, found[0].anytime_p, found[0].log_e) == (None,) * 4
    assert found[0].missing is not None
    assert found[0].missing.code == "weights_unknown"
    assert check(found, randomised=randomised) == Check(
        name="sample ratio", severity=Severity.GATE if randomised else Severity.WARN, numbers={"p": None},
        message="The intended weights are not known, so nobody can see whether units were lost or moved (a 5,150, "
        "b 4,850). Say what was intended, not what came out: `weights: equal`, or `weights: {a: ..., b: ...}` in the "
        "source.",
    )  # fmt: skip


def test_weights_unknown_in_some_strata_are_named() -> None:
    found = rows(evidence(("us", 1, EVEN), ("ca", 1, None), ("mx", 1, None)), (5010, 4990), (10, 90), (5, 5))
    assert [r.severity for r in found] == [Severity.WARN, Severity.OK, Severity.WARN, Severity.WARN]
    assert check(found) == warned(
        "sample ratio", "The intended weights in ca, mx are not known, so units lost or moved there are not seen.",
        {"p": found[0].p},
    )  # fmt: skip
    assert found[0].p == pytest.approx(p_of(5010, 4990))


def test_the_first_stratum_is_named_as_well_as_the_last() -> None:
    named = check(rows(evidence(("ca", 1, None), ("us", 1, EVEN)), (10, 90), (5010, 4990)))
    assert named.message.startswith("The intended weights in ca are not known, ")
    nobody = check(rows(evidence(("us", 1, EVEN), ("ca", 1, None)), (5010, 4990), (0, 0)))
    assert nobody.message.startswith("The intended weights in some strata are not known, ")


def test_a_broken_stratum_voids_although_another_is_not_known() -> None:
    found = check(rows(evidence(("us", 1, EVEN), ("ca", 1, None)), (5400, 4600), (10, 90)))
    assert found.severity is Severity.INVALID
    assert found.numbers["worst_scope"] == "overall"


def test_nobody_is_not_checked() -> None:
    for weights in (EVEN, None):
        found = rows(evidence(("all", 1, weights)), (0, 0))
        assert found[0].severity is Severity.OK
        assert check(found) == unseen("sample ratio", "no unit has matured")


def test_a_single_variant_with_weight_has_a_reason() -> None:
    found = rows(evidence(("all", 1, (1.0, 0.0))), (50, 0))
    assert found[0].missing is not None
    assert found[0].missing.code == "not_comparable"
    assert not check(found).checked
    assert check(found).message.startswith("Not checked: ")


def test_a_unit_where_none_may_be_needs_no_test() -> None:
    (row,) = found = rows(evidence(("all", 1, (1.0, 0.0))), (50, 3))
    assert (row.severity, row.p) == (Severity.INVALID, None)
    assert check(found).message == (
        "Units do not split as intended: a 50 (intended 50), b 3 (intended 0); no test is needed. Some were lost or "
        "moved."
    )


def test_the_verdict_of_many_experiments_reads_the_same_severity() -> None:
    source = evidence(("all", 1, EVEN))
    for units in ((5000, 5000), (5150, 4850), (5200, 4800), (0, 0)):
        found = allocation.ratios(source, np.array([[units]], dtype=np.int64))
        assert allocation.overall_severity(found, DEFAULT) == [rows(source, units)[0].severity]
    unknown = evidence(("all", 1, None))
    found = allocation.ratios(unknown, np.array([[(9000, 10)]], dtype=np.int64))
    assert (found.overall.stray.tolist(), found.log_e.tolist()) == ([0.0], [[0.0]])
    assert allocation.overall_severity(found, DEFAULT) == [Severity.OK]


def test_every_day_is_tested_alone_by_its_strata_of_known_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days of one experiment, whose second stratum has weights nobody knows, and a day of another."""
    first, second = (
        evidence(("us", 1, weights), ("ca", 1, other))
        for weights, other in ((EVEN, None), ((0.8, 0.2), EVEN))
    )
    both = replace(first, subjects=first.subjects + second.subjects)
    units = np.array([[[60, 40], [9, 1]], [[50, 50], [5, 5]], [[70, 30], [8, 2]]])
    monkeypatch.setattr(Evidence, "daily_units", lambda *_: units)
    days = cast("DayLooks", SimpleNamespace(start=np.array([0, 2, 3])))
    found = allocation.by_day(both, days)
    of_two = stats.chisquare((70, 30), (80, 20)).statistic + stats.chisquare((8, 2)).statistic
    assert found.p_value == pytest.approx([p_of(60, 40), 1.0, stats.chi2.sf(of_two, 2)])
    assert found.df.tolist() == [1, 1, 2]
    assert found.stray.tolist() == [0, 0, 0]


def test_a_ratio_without_an_anytime_p_says_the_chi_square_alone() -> None:
    (row,) = rows(evidence(("all", 1, EVEN)), (5600, 4400))
    said = check((replace(row, anytime_p=None),)).message
    assert f"; chi-square {fmt.p_is(p_of(5600, 4400))}. Some" in said
    assert "at any look" not in said
    assert "at any look" in check((row,)).message
