"""The report of a live experiment: what is counted, what is refused, what the rule says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.analyze import Project, analyze_ledger
from switchpoint.analysis.evidence.facts import Backlog
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Severity
from switchpoint.experiment.definition.types import Design, Size
from switchpoint.experiment.ledger.moments import CellKey, Moments, Sums
from switchpoint.experiment.registry.decision import VerdictKind
from switchpoint.experiment.registry.lifecycle import revise
from tests.analysis.cases import BUYERS, DAY, ERRORS, RULE, cell, counts, definition, running, segment

LATER = 100 * DAY
BETTER = {("all", "control"): (20_000, 2000), ("all", "treatment"): (20_000, 2400)}
SAME = {("all", "control"): (20_000, 2000), ("all", "treatment"): (20_000, 2010)}


def report(moments: Moments, *, at: int = LATER, **changed: object) -> Report:
    return analyze_ledger(running(definition(**changed)), moments, at=at)  # type: ignore[arg-type]  # test shorthand


def severity(found: Report, name: str) -> Severity:
    return next(c.severity for c in found.checks if c.name == name)


def test_a_clear_winner_after_the_minimum_runtime_is_promoted() -> None:
    found = report(counts(BETTER))
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.PROMOTE, "treatment")
    comparison = found.matured.metrics[0].comparisons[0]
    assert comparison.estimate is not None
    assert comparison.estimate.effect == pytest.approx(0.02)
    assert comparison.estimate.lift == pytest.approx(0.2)
    assert "confidence sequence" in found.verdict.reasons[0]


def test_nothing_is_promoted_before_the_minimum_runtime() -> None:
    found = report(counts(BETTER, days=10))
    assert found.verdict.kind is VerdictKind.CONTINUE
    assert "10 matured days of the 14" in found.verdict.reasons[0]
    assert found.verdict.what_would_change == ("4 more matured days.",)


def test_the_verdict_reads_matured_days_and_the_live_state_stands_beside_it() -> None:
    """With a window of 7 days and 21 exposure days, 13 have matured on day 20."""
    found = report(counts(BETTER), at=20 * DAY)
    assert (found.matured.days, found.live.days) == (13, 21)
    assert found.matured.last_day == "1970-01-13"
    assert found.live.n == 40_000
    assert found.matured.n == pytest.approx(40_000 * 13 / 21, abs=4)
    assert found.verdict.kind is VerdictKind.CONTINUE


def test_before_any_day_has_matured_the_report_says_so() -> None:
    found = report(counts(BETTER, days=3), at=3 * DAY)
    assert found.verdict.kind is VerdictKind.CONTINUE
    assert severity(found, "matured") is Severity.GATE
    assert found.matured.metrics[0].comparisons[0].missing is not None


def test_before_any_day_has_matured_nothing_is_called_checked_and_nothing_is_said_twice() -> None:
    """Three live days of a 7-day window: the checks of matured units wait, the live units are all there."""
    found = report(counts(BETTER, days=3), at=3 * DAY)
    waiting = {c.name for c in found.checks if c.message == "Not checked: no unit has matured."}
    assert waiting == {"sample ratio", "events", "strata"}
    assert not any("table" in check.message for check in found.checks)
    assert len(set(found.verdict.reasons)) == len(found.verdict.reasons)
    assert found.matures is not None
    assert (found.matures.day, found.matures.at) == ("1970-01-01", "1970-01-09T00:00:00+00:00")
    assert "1970-01-09 00:00 UTC" in found.verdict.what_would_change[0]
    assert [v.n for v in found.live.variants] == [20_000, 20_000]
    enough = found.live.metrics[0].comparisons[0].sufficiency
    assert enough is not None
    assert enough.n_needed is not None


def test_a_broken_live_sample_ratio_is_told_before_it_has_matured() -> None:
    table = {("all", "control"): (20_000, 2000), ("all", "treatment"): (18_000, 2000)}
    found = report(counts(table, days=3), at=3 * DAY)
    assert any("sample ratio (20,000 / 18,000 units" in warning for warning in found.warnings)


def test_a_p_value_too_small_for_a_float_keeps_its_digits() -> None:
    """20 points between rates of 10 % and 30 % at 200,000 units: log10 p by an expansion of the normal tail."""
    found = report(counts({("all", "control"): (200_000, 20_000), ("all", "treatment"): (200_000, 60_000)}))
    estimate = found.matured.metrics[0].comparisons[0].estimate
    assert estimate is not None
    assert estimate.p == 0
    assert estimate.log10_p is not None
    z = 0.2 / math.sqrt(2 * 0.2 * 0.8 / 200_000)  # the score test's pooled variance
    tail = -z * z / 2 - math.log(z * math.sqrt(2 * math.pi)) + math.log(2)
    assert estimate.log10_p == pytest.approx(tail / math.log(10), rel=1e-4)
    assert "e-5431" in fmt.probability(estimate.p, estimate.log10_p)
    # each variant's own variance would say 10^-5750: not surer at every look than at this one
    assert estimate.log10_anytime_p == estimate.log10_p
    assert f"p = {fmt.probability(estimate.anytime_p, estimate.log10_anytime_p)}" in found.verdict.reasons[0]


def test_an_experiment_without_units_has_a_report() -> None:
    found = report({})
    assert found.verdict.kind is VerdictKind.CONTINUE
    assert found.matures is None
    assert "no unit has come" in found.verdict.reasons[0]
    json.dumps(found.to_dict(), allow_nan=False)


def test_control_is_kept_when_enough_units_show_no_winner() -> None:
    table = {key: (n * 5, x * 5) for key, (n, x) in SAME.items()}
    found = report(counts(table))
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.KEEP, "control")


def test_control_is_kept_when_the_variant_is_worse() -> None:
    found = report(counts({("all", "control"): (20_000, 2400), ("all", "treatment"): (20_000, 2000)}))
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.KEEP, "control")
    assert "worse" in found.verdict.headline


def test_a_test_that_cannot_finish_in_time_is_stopped() -> None:
    """1,000 units in 24 days cannot become the 46,000 that 10 % of a 10 % rate needs within 42 days."""
    table = {("all", "control"): (500, 50), ("all", "treatment"): (500, 52)}
    found = report(counts(table, days=24), at=24 * DAY)
    assert found.verdict.kind is VerdictKind.STOP
    assert "deadline allows" in found.verdict.what_would_change[0]


def test_a_test_that_can_still_finish_goes_on_with_units_and_weeks() -> None:
    table = {("all", "control"): (12_000, 1200), ("all", "treatment"): (12_000, 1220)}
    found = report(counts(table, days=24), at=24 * DAY, decision=replace(RULE, max_runtime_days=90))
    assert found.verdict.kind is VerdictKind.CONTINUE
    enough = found.matured.metrics[0].comparisons[0].sufficiency
    assert enough is not None
    assert enough.n_needed is not None
    assert enough.weeks_left is not None
    assert f"{enough.n_needed:,}" in found.verdict.what_would_change[0]
    assert enough.within_deadline


def test_too_few_events_hold_the_verdict_until_the_maximum_runtime() -> None:
    table = {("all", "control"): (500, 4), ("all", "treatment"): (500, 9)}
    young = report(counts(table, days=24), at=31 * DAY)
    assert young.verdict.kind is VerdictKind.CONTINUE
    assert "Only 6 events in the smaller variant" in young.verdict.reasons[0]
    assert young.verdict.what_would_change == ("14 more events in the smaller variant.",)
    assert report(counts(table, days=42)).verdict.kind is VerdictKind.KEEP


def test_a_fixed_design_promotes_only_with_the_planned_number_of_units() -> None:
    fixed = replace(RULE, design=Design.FIXED)
    early = report(counts({k: (n // 4, x // 4) for k, (n, x) in BETTER.items()}), decision=fixed)
    assert early.matured.metrics[0].comparisons[0].significant
    assert early.verdict.kind is not VerdictKind.PROMOTE
    assert report(counts(BETTER), decision=fixed).verdict.kind is VerdictKind.PROMOTE


def test_a_harmed_guardrail_rolls_back_and_an_unsure_one_holds_the_promotion() -> None:
    metrics = (BUYERS, ERRORS)

    def with_errors(treatment: float) -> Moments:
        bad = {k: c for k, c in counts(BETTER, errors=treatment).items() if k.variant == "treatment"}
        return counts(BETTER) | bad

    harmed = report(with_errors(0.10), metrics=metrics)
    assert (harmed.verdict.kind, harmed.verdict.variant) == (VerdictKind.ROLLBACK, "treatment")
    unsure = report(with_errors(0.031), metrics=metrics)
    assert unsure.verdict.kind is VerdictKind.CONTINUE
    assert "not shown to be safe" in unsure.verdict.reasons[0]
    assert report(with_errors(0.01), metrics=metrics).verdict.kind is VerdictKind.PROMOTE


def test_every_sample_ratio_shows_the_p_that_gates_and_the_one_that_holds_at_any_look() -> None:
    """Total, every segment and every epoch, each against its own intended weights.

    Oracle of the sequential p: the Dirichlet-multinomial likelihood by scipy, averaged over k = 100 and 10,000.
    """
    from scipy.stats import chisquare, dirichlet_multinomial, multinomial

    before = definition(segment("us", 0.5, 0.5), segment("ca", 0.5, 0.5))
    after = replace(before, segments=(segment("us", 0.8, 0.2), segment("ca", 0.5, 0.5)))
    digests = {v.key: f"sha256:{v.key}" for v in before.variants}
    state = revise(running(before), after, digests=digests, at=DAY, actor="a")
    first = {("us", "control"): (520, 50), ("us", "treatment"): (480, 50)}
    first |= {("ca", "control"): (300, 30), ("ca", "treatment"): (310, 30)}
    second = {("us", "control"): (790, 80), ("us", "treatment"): (210, 20)}
    moments = counts(first) | counts(second, epoch=2)
    found = analyze_ledger(state, moments, at=LATER)
    rows = {row.scope: row for row in found.matured.sample_ratio}
    assert set(rows) == {
        "overall", "us", "ca", "us, epoch 2", "us, all epochs", "ca, all epochs", "epoch 1", "epoch 2",
    }  # fmt: skip
    for scope, units, share in (("us", (520, 480), 0.5), ("us, epoch 2", (790, 210), 0.8)):
        weights = np.array([share, 1 - share])
        evidence = np.mean([
            dirichlet_multinomial.pmf(np.array(units), k * weights, np.array(sum(units)))
            / multinomial.pmf(units, sum(units), weights)
            for k in (100, 10_000)
        ])  # fmt: skip
        assert rows[scope].anytime_p == pytest.approx(min(1, 1 / evidence), rel=1e-6)
        assert rows[scope].p == pytest.approx(chisquare(units, weights * sum(units)).pvalue, rel=1e-9)
        assert rows[scope].expected == pytest.approx(tuple(weights * sum(units)))
    message = next(check.message for check in found.checks if check.name == "sample ratio")
    assert message.startswith("Units split as intended (chi-square p = ")
    assert "; at any look p = 1" in message


def test_the_chi_square_gates_where_the_sequential_test_is_not_sure_yet() -> None:
    """p = .0009 at this look; watched every day that is no proof, and it voids the verdict all the same."""
    table = {("all", "control"): (10_235, 1000), ("all", "treatment"): (9_765, 1000)}
    found = report(counts(table))
    assert found.verdict.kind is VerdictKind.INVALID
    check = next(check for check in found.checks if check.name == "sample ratio")
    assert float(check.numbers["p"] or 0) < 0.001 < float(check.numbers["anytime_p"] or 0)
    assert "chi-square p = 0.00089; at any look p = " in check.message
    assert "The chi-square gates" in check.message


def test_a_sample_ratio_that_cannot_be_chance_invalidates() -> None:
    found = report(counts({("all", "control"): (20_000, 2000), ("all", "treatment"): (19_000, 2400)}))
    assert found.verdict.kind is VerdictKind.INVALID
    assert "sample ratio" in found.verdict.headline


def test_strata_of_different_allocation_are_not_pooled() -> None:
    """The same rates in both variants, 50/50 where few buy and 90/10 where many do: pooled it looks harmful."""
    table = {
        ("us", "control"): (10_000, 1000), ("us", "treatment"): (10_000, 1000),
        ("rest", "control"): (18_000, 9000), ("rest", "treatment"): (2_000, 1000),
    }  # fmt: skip
    found = analyze_ledger(
        running(definition(segment("us", 0.5, 0.5), segment("rest", 0.9, 0.1))), counts(table), at=LATER
    )
    comparison = found.matured.metrics[0].comparisons[0]
    assert comparison.estimate is not None
    assert comparison.pooled is not None
    assert comparison.estimate.effect == pytest.approx(0, abs=1e-12)
    assert comparison.pooled.effect == pytest.approx(2000 / 12_000 - 10_000 / 28_000)
    assert severity(found, "sample ratio") is Severity.OK
    assert severity(found, "mix") is Severity.WARN
    assert [s.segment for s in comparison.segments] == ["us", "rest"]


def test_a_reversed_sign_is_named_simpsons_paradox() -> None:
    table = {
        ("us", "control"): (10_000, 1000), ("us", "treatment"): (10_000, 1100),
        ("rest", "control"): (18_000, 9000), ("rest", "treatment"): (2_000, 1060),
    }  # fmt: skip
    state = running(definition(segment("us", 0.5, 0.5), segment("rest", 0.9, 0.1)))
    found = analyze_ledger(state, counts(table), at=LATER)
    pooled = found.matured.metrics[0].comparisons[0].pooled
    assert pooled is not None
    assert pooled.simpson
    assert any("Simpson" in warning for warning in found.warnings)


def test_a_new_allocation_opens_a_stratum_with_its_own_weights() -> None:
    before = definition(segment("all", 0.5, 0.5))
    after = replace(before, segments=(segment("all", 0.8, 0.2),))
    state = revise(
        running(before), after, digests={v.key: f"sha256:{v.key}" for v in before.variants}, at=DAY, actor="a"
    )
    moments = counts({("all", "control"): (5000, 500), ("all", "treatment"): (5000, 500)})
    moments |= counts({("all", "control"): (8000, 800), ("all", "treatment"): (2000, 200)}, epoch=2)
    found = analyze_ledger(state, moments, at=LATER)
    assert [row.scope for row in found.matured.sample_ratio] == ["overall", "all", "all, epoch 2"]
    assert severity(found, "sample ratio") is Severity.OK


def contaminated(moments: Moments, units: int) -> Moments:
    """The moments with buyers that were seen in both variants, counted under treatment."""
    key = CellKey("shop", 1, "all", "treatment", 0, contaminated=True)
    return moments | {key: cell(units, Sums(units, units))}


def test_contaminated_units_are_left_out_and_the_result_with_them_is_shown() -> None:
    found = report(contaminated(counts(SAME), 300))
    assert severity(found, "contamination") is Severity.WARN
    assert found.contamination.units == 300
    without = found.matured.metrics[0].comparisons[0].estimate
    with_them = found.contamination.with_them[0].estimate
    assert without is not None
    assert with_them is not None
    assert without.n_variant == 20_000
    assert with_them.n_variant == 20_300
    assert with_them.effect > without.effect


def test_more_than_one_percent_of_contaminated_units_invalidates() -> None:
    assert report(contaminated(counts(BETTER), 500)).verdict.kind is VerdictKind.INVALID


def test_unexplained_mismatches_invalidate_and_fallbacks_are_shown() -> None:
    served = {k: replace(c, mismatches=c.n // 50) for k, c in counts(BETTER).items()}
    assert report(served).verdict.kind is VerdictKind.INVALID
    fell = {k: replace(c, fallbacks=c.n // 50) for k, c in counts(BETTER).items()}
    found = report(fell)
    assert found.verdict.kind is VerdictKind.PROMOTE
    assert severity(found, "fallback") is Severity.WARN
    assert found.live.variants[0].fallback_share == pytest.approx(0.02, abs=1e-3)


def test_a_configuration_that_splits_variants_by_segment_is_not_identified_before_any_unit_came() -> None:
    found = analyze_ledger(running(definition(segment("US", 1, 0), segment("CA", 0, 1))), {}, at=LATER)
    assert found.verdict.kind is VerdictKind.INVALID
    assert "difference = model + country" in found.verdict.reasons[0]
    assert found.evidence.grade == "descriptive"


def test_a_segment_that_holds_only_control_is_left_out_of_the_effect() -> None:
    table = {
        ("US", "control"): (20_000, 2000), ("US", "treatment"): (20_000, 2400), ("CA", "control"): (9000, 4500),
    }  # fmt: skip
    found = analyze_ledger(
        running(definition(segment("US", 0.5, 0.5), segment("CA", 1, 0))), counts(table), at=LATER
    )
    comparison = found.matured.metrics[0].comparisons[0]
    assert comparison.estimate is not None
    assert comparison.estimate.control_value == pytest.approx(0.1)
    assert comparison.estimate.n_control == 20_000
    assert found.verdict.kind is VerdictKind.PROMOTE
    assert severity(found, "strata") is Severity.WARN


def test_several_variants_share_alpha_by_holm() -> None:
    three = definition(segment("all", 0.34, 0.33, 0.33))
    table = {
        ("all", "control"): (13_600, 1360), ("all", "treatment"): (13_200, 1320), ("all", "third"): (13_200, 1700),
    }  # fmt: skip
    found = analyze_ledger(running(three), counts(table), at=LATER)
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.PROMOTE, "third")
    best = found.matured.metrics[0].comparisons[1]
    assert best.estimate is not None
    assert best.estimate.anytime_p is not None
    assert best.adjusted_p == pytest.approx(2 * best.estimate.anytime_p)


def test_pending_and_late_are_carried_into_the_report() -> None:
    found = analyze_ledger(
        running(definition()), counts(BETTER), at=LATER, project=Project(backlog=Backlog(pending=3, late=2))
    )
    assert (found.pending, found.late) == (3, 2)
    assert severity(found, "pending") is Severity.WARN


def test_the_daily_series_ends_at_the_headline() -> None:
    found = report(counts(BETTER))
    comparison = found.matured.metrics[0].comparisons[0]
    assert comparison.estimate is not None
    assert len(comparison.daily) == 21
    assert comparison.daily[-1].effect == comparison.estimate.effect
    assert comparison.daily[-1].sequence == comparison.estimate.sequence
    assert sum(point.n_control_day for point in comparison.daily) == 20_000


def test_cells_of_dimension_values_are_not_counted_twice() -> None:
    moments = counts(BETTER)
    again = {k._replace(dimension="device", value="phone"): c for k, c in moments.items()}
    assert report(moments | again).live.n == report(moments).live.n


small = st.integers(0, 60)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(small, small, small, small), min_size=1, max_size=5), st.sampled_from(Design))
def test_any_counts_give_a_json_safe_report(days: list[tuple[int, int, int, int]], design: Design) -> None:
    """Empty variants, no events, only events: never NaN, always a verdict."""
    moments: Moments = {}
    for day, (a, b, most, least) in enumerate(days):
        x, y = min(a, most), min(b, least)
        moments[CellKey("shop", 1, "all", "control", day)] = cell(a, Sums(x, x), Sums(x, x))
        moments[CellKey("shop", 1, "all", "treatment", day)] = cell(b, Sums(y, y), Sums(y, y))
    found = report(moments, metrics=(BUYERS, ERRORS), decision=replace(RULE, design=design))
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.verdict.reasons


def test_absolute_effect_sizes_are_read_in_the_metrics_unit() -> None:
    rule = replace(RULE, mde=Size(value=0.01, relative=False))
    enough = report(counts(SAME), decision=rule).matured.metrics[0].comparisons[0].sufficiency
    assert enough is not None
    assert enough.mde_target == 0.01
    assert enough.mde_now_relative == pytest.approx((enough.mde_now or 0) / 0.1)
