"""What the gates say, in full, on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from switchpoint.analysis.evidence.facts import Backlog, Unseen
from switchpoint.analysis.results.judgement import Maturing
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import gates
from switchpoint.experiment.definition.types import Grade
from tests.analysis.cases import RULE
from tests.analysis.validity.expected import Case, fine, gate, unseen, void, warned

CASES: dict[str, Case] = {
    "variants": (
        lambda: gates.variants(("a", "b", "c")),
        fine("variants", "3 variants.", {"variants": 3}),
    ),
    "one variant": (
        lambda: gates.variants(("a",)),
        void("variants", "Only the variant a is there: nothing can be compared with it.", {"variants": 1}),
    ),
    "no variant": (
        lambda: gates.variants(()),
        void("variants", "No variant is there.", {"variants": 0}),
    ),
    "matured": (
        lambda: gates.matured(1200, 7.0),
        fine("matured", "1,200 units matured.", {"units": 1200}),
    ),
    "one unit matured": (
        lambda: gates.matured(1, 7.0),
        fine("matured", "1 unit matured.", {"units": 1}),
    ),
    "nobody came": (
        lambda: gates.matured(0, 7.0),
        gate("matured", "No exposure day has matured yet: no unit has come.", {"units": 0, "at": None}),
    ),
    "waiting": (
        lambda: gates.matured(0, 7.0, Maturing(day="2026-03-02", at="2026-03-10T00:00:00+00:00")),
        gate(
            "matured",
            "No exposure day has matured yet: outcomes count for 7 days after the first exposure, so the "
            "first one, 2026-03-02, matures at 2026-03-10 00:00 UTC.",
            {"units": 0, "at": "2026-03-10T00:00:00+00:00"},
        ),
    ),
    "unchecked": (
        lambda: gates.unchecked("jump", Unseen("no day is there")),
        unseen("jump", "no day is there"),
    ),
    "runtime unknown": (
        lambda: gates.runtime(None, RULE, DEFAULT),
        warned(
            "runtime",
            "The table does not say on which days units arrived; 14 days are taken for granted.",
            {"days": 0, "needed": 14},
        ),
    ),
    "runtime short": (
        lambda: gates.runtime(1, RULE, DEFAULT),
        gate(
            "runtime",
            "1 matured day of the 14 the rule asks for (whole weeks, minimum runtime).",
            {"days": 1, "needed": 14},
        ),
    ),
    "runtime enough": (
        lambda: gates.runtime(14, RULE, DEFAULT),
        fine("runtime", "14 matured days, 14 needed.", {"days": 14, "needed": 14}),
    ),
    "runtime of a week": (
        lambda: gates.runtime(6, replace(RULE, min_runtime_days=1), DEFAULT),
        gate(
            "runtime",
            "6 matured days of the 7 the rule asks for (whole weeks, minimum runtime).",
            {"days": 6, "needed": 7},
        ),
    ),
    "clusters enough": (
        lambda: gates.clusters((10, 1200), ("a", "b"), DEFAULT),
        fine("clusters", "10 clusters in the smallest variant, 10 needed.", {"clusters": 10, "needed": 10}),
    ),
    "clusters few": (
        lambda: gates.clusters((1200, 9), ("a", "b"), DEFAULT),
        gate(
            "clusters",
            "Too few clusters (a 1,200, b 9; 10 per variant needed): units of one cluster are alike, so "
            "more units in the same clusters do not help. Randomise more clusters.",
            {"clusters": 9, "needed": 10},
        ),
    ),
    "no clusters": (
        lambda: gates.clusters((), (), DEFAULT),
        gate(
            "clusters",
            "Too few clusters (; 10 per variant needed): units of one cluster are alike, so more units in"
            " the same clusters do not help. Randomise more clusters.",
            {"clusters": 0, "needed": 10},
        ),
    ),
    "evidence enough": (
        lambda: gates.evidence(Grade.RANDOMISED, Grade.RANDOMISED, "Why."),
        fine("evidence", "Why.", {"reached": "randomised", "required": "randomised"}),
    ),
    "evidence more than enough": (
        lambda: gates.evidence(Grade.RANDOMISED, Grade.CLUSTERED, "Why."),
        fine("evidence", "Why.", {"reached": "randomised", "required": "clustered"}),
    ),
    "evidence weak": (
        lambda: gates.evidence(Grade.QUASI, Grade.CLUSTERED, "Why."),
        gate(
            "evidence",
            "Why. The rule asks for clustered evidence.",
            {"reached": "quasi", "required": "clustered"},
        ),
    ),
    "evidence weakest": (
        lambda: gates.evidence(Grade.DESCRIPTIVE, Grade.QUASI, "Why."),
        gate(
            "evidence",
            "Why. The rule asks for quasi evidence.",
            {"reached": "descriptive", "required": "quasi"},
        ),
    ),
    "strata all": (
        lambda: gates.strata_used((), 1.0),
        fine("strata", "Every stratum takes part in the effect.", {"covered": 1.0, "left_out": 0}),
    ),
    "strata none": (
        lambda: gates.strata_used(("US", "CA"), 0.0),
        warned(
            "strata",
            "No stratum holds enough units of control and of another variant.",
            {"covered": 0.0, "left_out": 2},
        ),
    ),
    "strata some": (
        lambda: gates.strata_used(("US", "CA"), 0.75),
        warned(
            "strata",
            "US, CA left out of the effect (too few units of a variant); it speaks for the other 75.0% of"
            " the units.",
            {"covered": 0.75, "left_out": 2},
        ),
    ),
    "no backlog": (
        lambda: gates.pending(None),
        unseen("pending", "a table is closed, nothing waits"),
    ),
    "nothing pending": (
        lambda: gates.pending(Backlog(pending=0, late=0)),
        fine("pending", "No unit is pending, no event came late.", {"pending": 0, "late": 0}),
    ),
    "pending": (
        lambda: gates.pending(Backlog(pending=1200, late=3)),
        warned(
            "pending",
            "1,200 units wait for a refold; their numbers may still move. 3 late events were kept but not"
            " summed.",
            {"pending": 1200, "late": 3},
        ),
    ),
    "pending alone": (
        lambda: gates.pending(Backlog(pending=5, late=0)),
        warned(
            "pending",
            "5 units wait for a refold; their numbers may still move.",
            {"pending": 5, "late": 0},
        ),
    ),
    "late": (
        lambda: gates.pending(Backlog(pending=0, late=1300)),
        warned("pending", "1,300 late events were kept but not summed.", {"pending": 0, "late": 1300}),
    ),
    "pending and late": (
        lambda: gates.pending(Backlog(pending=1, late=2)),
        warned(
            "pending",
            "1 units wait for a refold; their numbers may still move. 2 late events were kept but not "
            "summed.",
            {"pending": 1, "late": 2},
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_check_says_all_of_it(name: str) -> None:
    made, expected = CASES[name]
    assert made() == expected
