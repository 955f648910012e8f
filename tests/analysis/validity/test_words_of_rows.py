"""What the checks of rows and of units seen elsewhere say, in full, on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from switchpoint.analysis.evidence.facts import Arrived, Copies, Eligibility, Ids, Nesting, Outcomes, Unseen
from switchpoint.analysis.results.judgement import Severity
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import rows, unit_checks
from tests.analysis.validity.expected import Case, fine, gate, unseen, void, warned

CASES: dict[str, Case] = {
    "contamination of nobody": (
        lambda: unit_checks.contamination(0, 0, DEFAULT, ("", "")),
        unseen("contamination", "no unit has come"),
    ),
    "no contamination": (
        lambda: unit_checks.contamination(500, 0, DEFAULT, ("+1", "+2"), what="cluster"),
        fine("contamination", "No cluster was seen in several variants.", {"units": 0, "share": 0.0}),
    ),
    "some contamination": (
        lambda: unit_checks.contamination(10_000, 100, DEFAULT, ("+1", "+2")),
        warned(
            "contamination",
            "100 units (1.00%) were seen in several variants and are left out; effect as judged: +1; with"
            " them: +2.",
            {"units": 100, "share": 0.01},
        ),
    ),
    "some contamination, nothing beside": (
        lambda: unit_checks.contamination(10_000, 100, DEFAULT, ("+1", "")),
        warned(
            "contamination",
            "100 units (1.00%) were seen in several variants and are left out.",
            {"units": 100, "share": 0.01},
        ),
    ),
    "much contamination": (
        lambda: unit_checks.contamination(10_000, 1_010, DEFAULT, ("+1", "+2")),
        void(
            "contamination",
            "1,010 units (10.10%) were seen in several variants, more than 1%: the variants are mixed and"
            " cannot be compared.",
            {"units": 1010, "share": 0.101},
        ),
    ),
    "served nobody": (
        lambda: unit_checks.served((0, 0), (0, 0), DEFAULT, ("", "")),
        unseen("served", "no unit has come"),
    ),
    "served as assigned": (
        lambda: unit_checks.served((0, 50), (0, 50), DEFAULT, ("+1", "+2")),
        fine(
            "served",
            "Every unit was served what it was assigned, or the cause is on record.",
            {"mismatches": 0, "share": 0.0, "kept_mismatches": 0, "kept_share": 0.0},
        ),
    ),
    "served otherwise": (
        lambda: unit_checks.served((10, 1000), (8, 900), DEFAULT, ("+1", "+2")),
        warned(
            "served",
            "10 of 1,000 exposures (1.00%) were served another variant than assigned without a cause on "
            "record; effect as judged: +1; by what was served: +2. Without the units seen in several "
            "variants it is 8 (0.89%).",
            {"mismatches": 10, "share": 0.01, "kept_mismatches": 8, "kept_share": 0.008888888888888889},
        ),
    ),
    "served otherwise, nothing beside": (
        lambda: unit_checks.served((10, 1000), (10, 1000), DEFAULT, ("", "+2")),
        warned(
            "served",
            "10 of 1,000 exposures (1.00%) were served another variant than assigned without a cause on "
            "record.",
            {"mismatches": 10, "share": 0.01, "kept_mismatches": 10, "kept_share": 0.01},
        ),
    ),
    "served otherwise too often": (
        lambda: unit_checks.served((1011, 10_000), (0, 0), DEFAULT, ("+1", "+2")),
        void(
            "served",
            "1,011 of 10,000 exposures (10.11%) were served another variant than assigned without a cause"
            " on record, more than 1%: assignment and treatment disagree. Without the units seen in "
            "several variants it is 0 (0.00%).",
            {"mismatches": 1011, "share": 0.1011, "kept_mismatches": 0, "kept_share": 0.0},
        ),
    ),
    "fallbacks of nobody": (
        lambda: unit_checks.fallbacks(0, 0, DEFAULT),
        unseen("fallback", "no unit has come"),
    ),
    "no fallbacks": (
        lambda: unit_checks.fallbacks(100, 0, DEFAULT),
        fine("fallback", "No exposure fell back.", {"fallbacks": 0, "share": 0.0}),
    ),
    "few fallbacks": (
        lambda: unit_checks.fallbacks(100_000, 1000, DEFAULT),
        fine(
            "fallback",
            "1,000 exposures (1.00%) fell back to control; the effect shown is that of assignment.",
            {"fallbacks": 1000, "share": 0.01},
        ),
    ),
    "fallbacks": (
        lambda: unit_checks.fallbacks(100_000, 1001, DEFAULT),
        warned(
            "fallback",
            "1,001 exposures (1.00%) fell back to control; the effect shown is that of assignment.",
            {"fallbacks": 1001, "share": 0.01001},
        ),
    ),
    "carry-over of nobody": (
        lambda: unit_checks.carry_over(0, 0, DEFAULT),
        unseen("carry-over", "no unit has come"),
    ),
    "no carry-over": (
        lambda: unit_checks.carry_over(100, 0, DEFAULT),
        fine("carry-over", "No unit came back in a later epoch.", {"units": 0, "share": 0.0}),
    ),
    "little carry-over": (
        lambda: unit_checks.carry_over(100_000, 1000, DEFAULT),
        fine(
            "carry-over",
            "1,000 units (1.00%) came back in a later epoch; they count in their first epoch only.",
            {"units": 1000, "share": 0.01},
        ),
    ),
    "carry-over": (
        lambda: unit_checks.carry_over(100_000, 1001, DEFAULT),
        warned(
            "carry-over",
            "1,001 units (1.00%) came back in a later epoch; they count in their first epoch only.",
            {"units": 1001, "share": 0.01001},
        ),
    ),
    "rows of a ledger": (
        lambda: rows.readable(Unseen("a ledger has no rows")),
        unseen("rows", "a ledger has no rows"),
    ),
    "rows": (
        lambda: rows.readable(""),
        fine("rows", "Every row can be read.", {}),
    ),
    "a row that cannot be read": (
        lambda: rows.readable("row 8: broken"),
        void("rows", "row 8: broken", {}),
    ),
    "copies unseen": (
        lambda: rows.copies(Unseen("x"), DEFAULT),
        unseen("copies", "x"),
    ),
    "no copies": (
        lambda: rows.copies(Copies(rows=0, copies=0, repeated=0), DEFAULT),
        fine("copies", "No row is there twice.", {"copies": 0, "repeated": 0, "rows": 0}),
    ),
    "few copies": (
        lambda: rows.copies(Copies(rows=10_000, copies=10, repeated=10), DEFAULT),
        fine("copies", "No row is there twice.", {"copies": 10, "repeated": 10, "rows": 10000}),
    ),
    "copies": (
        lambda: rows.copies(Copies(rows=100_000, copies=1100, repeated=9000), DEFAULT),
        warned(
            "copies",
            "1,100 rows (1.1%) are copies of another row and count twice: delivered or joined twice? "
            "Remove them, or add the column that tells them apart (time, event id).",
            {"copies": 1100, "repeated": 9000, "rows": 100000},
        ),
    ),
    "few repeated": (
        lambda: rows.copies(Copies(rows=9990, copies=0, repeated=10), DEFAULT),
        fine("copies", "No row is there twice.", {"copies": 0, "repeated": 10, "rows": 9990}),
    ),
    "repeated": (
        lambda: rows.copies(Copies(rows=99_000, copies=0, repeated=1000), DEFAULT),
        warned(
            "copies",
            "1,000 events (1.0%) came more than once under one id; each counted once.",
            {"copies": 0, "repeated": 1000, "rows": 99000},
        ),
    ),
    "ids unseen": (
        lambda: rows.ids(Unseen("x"), DEFAULT),
        unseen("ids", "x"),
    ),
    "ids": (
        lambda: rows.ids(Ids(looked_at=100), DEFAULT),
        fine("ids", "Unit ids look sound.", {}),
    ),
    "ids damaged": (
        lambda: rows.ids(
            Ids(
                looked_at=1200,
                wrong={"placeholders": 1100, "mixed types": 3},
                examples={"placeholders": "null", "mixed types": "1"},
            ),
            DEFAULT,
        ),
        warned(
            "ids",
            "Unit ids look damaged: placeholders in 1,100 of 1,200 rows (such as 'null'): they stand for "
            "unknown units, which are no unit; mixed types in 3 of 1,200 rows (such as '1'): the same id "
            "may be there as text and as a number. Export the ids again, as text.",
            {"placeholders": 1100, "mixed types": 3},
        ),
    ),
    "ids damaged, live": (
        lambda: rows.ids(
            Ids(looked_at=24_000, live=True, wrong={"placeholders": 1100, "numbers as decimals": 100}),
            DEFAULT,
        ),
        warned(
            "ids",
            "1,200 of 24,000 events of the project (5.0%) have unit ids that look damaged: placeholders "
            "in 1,100 (they stand for unknown units, which are no unit); numbers as decimals in 100 (the "
            "same id may also be written without them). Mend the sender; `switchpoint events` counts "
            "them.",
            {"placeholders": 1100, "numbers as decimals": 100, "share": 0.05},
        ),
    ),
    "ids damaged often, live": (
        lambda: rows.ids(Ids(looked_at=24_000, live=True, wrong={"placeholders": 1201}), DEFAULT),
        gate(
            "ids",
            "1,201 of 24,000 events of the project (5.0%) have unit ids that look damaged: placeholders "
            "in 1,201 (they stand for unknown units, which are no unit). Mend the sender; `switchpoint "
            "events` counts them.",
            {"placeholders": 1201, "share": 0.050041666666666665},
        ),
    ),
    "eligibility unseen": (
        lambda: rows.eligibility(Unseen("x"), DEFAULT),
        unseen("eligibility", "x"),
    ),
    "all eligible": (
        lambda: rows.eligibility(Eligibility(kept={"a": 10}, excluded={}), DEFAULT),
        fine("eligibility", "Every row meets the condition.", {"excluded": 0}),
    ),
    "some eligible": (
        lambda: rows.eligibility(
            Eligibility(kept={"a": 5000, "b": 5000}, excluded={"b": 530, "a": 500}), DEFAULT
        ),
        warned(
            "eligibility",
            "1,030 rows (9.3%) do not meet the condition and are left out.",
            {"excluded": 1030, "share": 0.09338168631006347, "p": pytest.approx(0.3734367413086951)},
        ),
    ),
    "eligible by what is measured": (
        lambda: rows.eligibility(
            Eligibility(kept={"a": 5000, "b": 5000}, excluded={"b": 530, "a": 500}, outcomes=("x", "y")),
            DEFAULT,
        ),
        gate(
            "eligibility",
            "1,030 rows (9.3%) do not meet the condition and are left out, by x, y, which a metric measures after "
            "assignment: what is left is not what was randomised. Use only what was known before exposure; where an "
            "empty cell means 0, write `empty: 0` in the source.",
            {"excluded": 1030, "share": 0.09338168631006347, "p": pytest.approx(0.3734367413086951)},
        ),
    ),
    "eligible by variant": (
        lambda: rows.eligibility(
            Eligibility(kept={"b": 500, "a": 400}, excluded={"a": 200, "c": 400}), DEFAULT
        ),
        void(
            "eligibility",
            "600 rows (40.0%) do not meet the condition and are left out, and not alike in the variants "
            "(a 33.3%, b 0.0%, c 100.0%; p = 8.3e-206): the condition depends on what the variant does, "
            "so what is left cannot be compared. Use only what was known before exposure.",
            {"excluded": 600, "share": 0.4, "p": pytest.approx(8.250773343431014e-206)},
        ),
    ),
    "unit unseen": (
        lambda: rows.unit_of_analysis(Unseen("x"), DEFAULT),
        unseen("unit of analysis", "x"),
    ),
    "unit": (
        lambda: rows.unit_of_analysis(
            (
                Nesting(column="page", values=100, mixed=6, expected=50.0, rows_per_value=3.0),
                Nesting(column="few", values=9, mixed=0, expected=9.9, rows_per_value=4.0),
            ),
            DEFAULT,
        ),
        fine("unit of analysis", "No other column looks like the randomised unit.", {}),
    ),
    "another unit at the least": (
        lambda: rows.unit_of_analysis(
            (Nesting(column="device", values=40, mixed=1, expected=10.0, rows_per_value=2.0),), DEFAULT
        ),
        gate(
            "unit of analysis",
            "Each device holds 2.0 rows on average and keeps to one variant (1 of 40 hold several; "
            "10 would if rows had been randomised): device was randomised, not rows. Rows of one device "
            "are alike, so intervals would be too narrow. Write `unit: device` (rows are then added up) or "
            "`cluster: device`.",
            {"column": "device", "mixed": 1, "expected": 10.0},
        ),
    ),
    "another unit": (
        lambda: rows.unit_of_analysis(
            (
                Nesting(column="device", values=4000, mixed=0, expected=10.0, rows_per_value=2.0),
                Nesting(column="user", values=2000, mixed=100, expected=1000.0, rows_per_value=4.25),
            ),
            DEFAULT,
        ),
        gate(
            "unit of analysis",
            "Each user holds 4.2 rows on average and keeps to one variant (100 of 2,000 hold several; "
            "1,000 would if rows had been randomised): user was randomised, not rows. Rows of one user "
            "are alike, so intervals would be too narrow. Write `unit: user` (rows are then added up) or "
            "`cluster: user`.",
            {"column": "user", "mixed": 100, "expected": 1000.0},
        ),
    ),
    "early unseen": (
        lambda: rows.early(Unseen("x"), DEFAULT),
        unseen("early outcomes", "x"),
    ),
    "no outcomes": (
        lambda: rows.early(Outcomes(early=0, before=None, counted=0), DEFAULT),
        unseen("early outcomes", "no outcome is near or after its unit's exposure"),
    ),
    "outcomes before only": (
        lambda: rows.early(Outcomes(early=0, before=7, counted=0), DEFAULT),
        unseen("early outcomes", "no outcome is near or after its unit's exposure"),
    ),
    "early few": (
        lambda: rows.early(Outcomes(early=10, before=500, counted=990), DEFAULT),
        fine(
            "early outcomes",
            "Outcomes follow their exposure.",
            {"early": 10, "before": 500, "counted": 990, "share": 0.01},
        ),
    ),
    "five hours behind": (
        lambda: rows.early(
            Outcomes(early=0, before=400, counted=300, hours={-5: 300, -4: 100, 2: 300}), DEFAULT
        ),
        gate(
            "early outcomes",
            "The outcomes seem to be written 5 hours behind the exposures: 300 lie in the hour that begins 5 hours "
            "before their unit's first exposure, next to none earlier. Write both tables in one time zone.",
            {"hours": -5, "outcomes": 700},
        ),
    ),
    "an hour ahead": (
        lambda: rows.early(Outcomes(early=0, before=0, counted=200, hours={1: 150, 2: 50}), DEFAULT),
        warned(
            "early outcomes",
            "The outcomes seem to be written 1 hour ahead of the exposures: 150 lie in the hour that begins 1 hour "
            "after their unit's first exposure, next to none earlier. Write both tables in one time zone.",
            {"hours": 1, "outcomes": 200},
        ),
    ),
    "early, tables": (
        lambda: rows.early(Outcomes(early=1200, before=500, counted=1200), DEFAULT),
        warned(
            "early outcomes",
            "1,200 outcomes (50.0%) lie within the hour before their unit's first exposure and do not "
            "count: the exposure is recorded too late, or the clocks of the two tables differ.",
            {"early": 1200, "before": 500, "counted": 1200, "share": 0.5},
        ),
    ),
    "early, live": (
        lambda: rows.early(Outcomes(early=1201, before=None, counted=1200), DEFAULT),
        gate(
            "early outcomes",
            "1,201 outcomes (50.0%) lie within the hour before their unit's first exposure and do not "
            "count: the exposure is recorded too late, or the clocks of the two senders differ.",
            {"early": 1201, "before": None, "counted": 1200, "share": 0.5002082465639317},
        ),
    ),
    "outcomes unseen": (
        lambda: rows.arrived(Unseen("x"), DEFAULT),
        unseen("outcomes", "x"),
    ),
    "none arrived": (
        lambda: rows.arrived(Arrived(read={"buy": 0}, unexposed=0, joined=0, unread={}), DEFAULT),
        unseen("outcomes", "no outcome has come yet"),
    ),
    "few arrived": (
        lambda: rows.arrived(
            Arrived(read={"buy": 19}, unexposed=1, joined=0, unread={"page": 3000}), DEFAULT
        ),
        fine(
            "outcomes",
            "1 of 19 outcomes (5.3%) are of units never exposed. No metric reads: page 3,000.",
            {"outcomes": 19, "joined": 0, "unexposed": 1, "unread": 3000, "share": 0.05263157894736842},
        ),
    ),
    "none joins": (
        lambda: rows.arrived(
            Arrived(read={"buy": 1020, "view": 1000}, unexposed=1001, joined=0, unread={}), DEFAULT
        ),
        gate(
            "outcomes",
            "None of the 2,020 outcomes of buy, view is of a unit that was exposed here (1,001 are of "
            "units that were never exposed to anything): are unit ids written alike in exposures and "
            "outcomes?",
            {"outcomes": 2020, "joined": 0, "unexposed": 1001, "unread": 0, "share": 0.49554455445544554},
        ),
    ),
    "twenty of which none joins": (
        lambda: rows.arrived(Arrived(read={"buy": 20}, unexposed=20, joined=0, unread={}), DEFAULT),
        gate(
            "outcomes",
            "None of the 20 outcomes of buy is of a unit that was exposed here (20 are of units that were"
            " never exposed to anything): are unit ids written alike in exposures and outcomes?",
            {"outcomes": 20, "joined": 0, "unexposed": 20, "unread": 0, "share": 1.0},
        ),
    ),
    "misspelt": (
        lambda: rows.arrived(
            Arrived(read={"buy": 0, "view": 0, "see": 5}, unexposed=0, joined=1, unread={"bye": 70, "by": 7}),
            DEFAULT,
        ),
        warned(
            "outcomes",
            "No outcome has the type buy or view; no metric reads what came instead: bye 70, by 7.",
            {"outcomes": 5, "joined": 1, "unexposed": 0, "unread": 77, "share": 0.0},
        ),
    ),
    "all misspelt": (
        lambda: rows.arrived(Arrived(read={"buy": 0}, unexposed=0, joined=0, unread={"bye": 70}), DEFAULT),
        warned(
            "outcomes",
            "No outcome has the type buy; no metric reads what came instead: bye 70.",
            {"outcomes": 0, "joined": 0, "unexposed": 0, "unread": 70, "share": 0.0},
        ),
    ),
    "one type is missing": (
        lambda: rows.arrived(Arrived(read={"buy": 0, "see": 5}, unexposed=5, joined=1, unread={}), DEFAULT),
        fine(
            "outcomes",
            "5 of 5 outcomes (100.0%) are of units never exposed.",
            {"outcomes": 5, "joined": 1, "unexposed": 5, "unread": 0, "share": 1.0},
        ),
    ),
    "outside": (
        lambda: rows.arrived(
            Arrived(read={"buy": 100}, unexposed=0, joined=0, unread={"see": 3}, outside=100), DEFAULT
        ),
        gate(
            "outcomes",
            "None of the 100 outcomes of buy counts: 100 lie before their unit's first exposure or after its window. "
            "Are the times of both tables of one clock, and is the window long enough?",
            {"outcomes": 100, "joined": 0, "unexposed": 0, "unread": 3, "share": 0.0},
        ),
    ),
    "some outside": (
        lambda: rows.arrived(
            Arrived(read={"buy": 100}, unexposed=10, joined=60, unread={"see": 3}, outside=30), DEFAULT
        ),
        fine(
            "outcomes",
            "10 of 100 outcomes (10.0%) are of units never exposed. 30 lie before their exposure or after its window "
            "and do not count. No metric reads: see 3.",
            {"outcomes": 100, "joined": 60, "unexposed": 10, "unread": 3, "share": 0.1},
        ),
    ),
    "arrived": (
        lambda: rows.arrived(Arrived(read={"buy": 4000}, unexposed=1000, joined=3000, unread={}), DEFAULT),
        fine(
            "outcomes",
            "1,000 of 4,000 outcomes (25.0%) are of units never exposed.",
            {"outcomes": 4000, "joined": 3000, "unexposed": 1000, "unread": 0, "share": 0.25},
        ),
    ),
}


def test_a_condition_at_the_threshold_of_the_sample_ratio_does_not_void() -> None:
    found = Eligibility(kept={"a": 90, "b": 80}, excluded={"a": 10, "b": 20})
    p = float(stats.chi2_contingency([[90, 80], [10, 20]], correction=False).pvalue)
    for limit, severity in ((p, Severity.WARN), (p * 1.001, Severity.INVALID)):
        assert rows.eligibility(found, replace(DEFAULT, srm_invalid=limit)).severity is severity


@pytest.mark.parametrize("name", CASES)
def test_the_check_says_all_of_it(name: str) -> None:
    made, expected = CASES[name]
    assert made() == expected


def responses(seed: int, *, shift: int = 0, jitter: float = 0.0, slow: float = 0.0) -> dict[int, int]:
    """Hours between exposure and outcome of 2,000 outcomes: most soon, some within a day, clocks a bit apart."""
    rng = np.random.default_rng(seed)
    since = np.where(rng.random(2000) < slow, rng.exponential(24, 2000), rng.exponential(0.6, 2000))
    hours = np.floor(since + shift - jitter * rng.random(2000)).astype(int)
    return {
        int(h): int(n) for h, n in zip(*np.unique(hours[abs(hours) <= 26], return_counts=True), strict=True)
    }


@given(st.integers(0, 2**32 - 1), st.integers(-14, 14), st.sampled_from([0.0, 0.5, 0.9]))
def test_a_shift_of_whole_hours_is_found(seed: int, shift: int, slow: float) -> None:
    """Ahead of the exposure only where most respond soon: a slow product looks the same."""
    assert rows.shifted(responses(seed, shift=shift, slow=slow)) in (
        {shift} if shift <= 0 or slow < 0.9 else {shift, 0}
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05]))
def test_clocks_that_are_a_little_apart_and_orders_of_all_times_are_no_shift(
    seed: int, jitter: float
) -> None:
    assert rows.shifted(responses(seed, jitter=jitter)) == 0
    always = np.random.default_rng(seed).integers(-26, 27, 2000)
    mixed = {int(h): int(n) for h, n in zip(*np.unique(always, return_counts=True), strict=True)}
    assert rows.shifted(mixed) == 0
    assert rows.shifted({-5: 99}) == rows.shifted({}) == 0


def test_the_edge_of_a_shift_may_have_a_hundredth_before_it() -> None:
    """Not more; it is steep, seen ten times, and no farther away than time zones are."""
    assert rows.shifted({-20: 3, -14: 397}) == -14
    assert rows.shifted({-20: 5, -14: 395}) == 0  # 1.25 %: the edge is at -20, where next to nothing is
    assert rows.shifted({-15: 400}) == rows.shifted({15: 400}) == 0
    assert rows.shifted({-3: 40, 0: 100}) == -3
    assert rows.shifted({-3: 39, 0: 100}) == 0
    assert rows.shifted({-3: 10, 0: 25, 1: 25, 2: 25, 3: 15}) == -3
    assert rows.shifted({-3: 9, 0: 22, 1: 22, 2: 22, 3: 22, 4: 22}) == 0
    assert rows.shifted({2: 25, 3: 30, 4: 45}) == 2
    assert rows.shifted({2: 24, 3: 31, 4: 45}) == 0
    assert rows.shifted({0: 400}) == 0
