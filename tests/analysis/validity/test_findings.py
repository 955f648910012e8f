"""What every check is handed: findings in which no two numbers are alike, and the check as it is called alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from switchpoint.analysis.evidence.evidence import Stratum, Subject
from switchpoint.analysis.evidence.facts import (
    Arrived,
    Backlog,
    Copies,
    Eligibility,
    Facts,
    Ids,
    Nesting,
    Outcomes,
    Shared,
    Sharing,
    Unseen,
)
from switchpoint.analysis.evidence.moments import Exact
from switchpoint.analysis.results.judgement import (
    Check,
    CheckName,
    Maturing,
    Overlap,
    SampleRatio,
    Severity,
    Value,
)
from switchpoint.analysis.results.sentences import effects
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import (
    allocation,
    concurrent,
    gates,
    overlap,
    rows,
    series,
    unit_checks,
)
from switchpoint.analysis.validity import run as checks
from switchpoint.analysis.validity.concurrent import Window
from switchpoint.analysis.validity.examine import Days
from switchpoint.analysis.validity.gates import unchecked
from switchpoint.analysis.validity.run import Findings
from switchpoint.analysis.validity.sample_ratio import sample_ratio
from switchpoint.analysis.validity.series import Effects, Levels
from switchpoint.analysis.validity.unit_checks import Beside, Canary, Carried, Difference
from switchpoint.experiment.definition.types import Grade, MetricType
from tests.analysis import cases
from tests.analysis.validity.expected import warned
from tests.analysis.validity.test_allocation import EVEN, evidence
from tests.analysis.validity.test_allocation import rows as ratio_rows
from tests.analysis.validity.test_readings import COMPARISON, ESTIMATE, POOLED, reading
from tests.analysis.validity.test_words_of_comparisons import FIRST_EVENTS, ONE_UNIT, UNLIKE

VARIANTS = ("a", "b")
OF_B = replace(COMPARISON, estimate=replace(ESTIMATE, effect=0.07))
SERVED = replace(COMPARISON, estimate=replace(ESTIMATE, effect=0.06))
SECOND = reading({"variant": "c"}, key="spend", role="secondary")
PRIMARY = reading({"pooled": POOLED})
METRICS = (SECOND, PRIMARY)
RATIO = SampleRatio(
    scope="overall", segment=None, epoch=None, variants=VARIANTS, observed=(5150, 4850), expected=(5000.0, 5000.0),
    statistic=9.0, df=1, p=0.0027, severity=Severity.WARN, missing=None, anytime_p=0.13, log_e=2.0,
)  # fmt: skip
NAMES = tuple(f"2026-03-{day + 1:02}" for day in range(8))
VALUE = np.array([[0.1, 0.2]] * 7 + [[0.1, 0.9]])
EFFECT = np.linspace(0.1, 0.3, 8)[:, None]
DAYS = Days(
    numbers=tuple(range(8)), names=NAMES, ratio=sample_ratio([[1000, 1000]] * 7 + [[1000, 700]], [0.5, 0.5]),
    levels=(Levels(metric="ctr", value=VALUE, error=np.full((8, 2), 0.001)),),
    effects=Effects(metric="ctr", effect=EFFECT, variance=np.full((8, 1), 1e-6)),
)  # fmt: skip
FACTS = Facts(
    unreadable="row 7 holds no number", served=None, fallbacks=None, carried=None,
    copies=Copies(rows=1000, copies=30, repeated=2), ids=Ids(looked_at=90, live=True, wrong={"placeholders": 5}),
    eligibility=Eligibility(kept={"a": 90, "b": 80}, excluded={"a": 10, "b": 20}),
    nesting=(Nesting(column="user", values=900, mixed=1, expected=300.0, rows_per_value=2.0),),
    outcomes=Outcomes(early=40, before=50, counted=60), arrived=Arrived(read={"buy": 70}, unexposed=8, joined=0, unread={}),
    extremes=(),
    sharing=Sharing(units=900, elsewhere=80, experiments=3, met=1, most=Shared(experiment="y", units=80, p=0.5),
                    tied=Shared(experiment="y", units=80, p=0.5)),
)  # fmt: skip
# (n, exposures, fallbacks, mismatches, carried) of two strata and one that is not there, in two variants and one that
# is not there
LIVE = np.array([[[1000, 1500, 31, 4, 50], [990, 1400, 32, 5, 60], [0] * 5],
                 [[800, 1300, 33, 2, 70], [780, 1200, 34, 1, 80], [0] * 5], [[0] * 5] * 3])  # fmt: skip
REMOVED = np.array([[[7, 20, 1, 3, 2], [8, 25, 2, 4, 1], [0] * 5], [[6, 18, 3, 2, 1], [0] * 5, [0] * 5],
                    [[0] * 5] * 3])  # fmt: skip
FOUND = Findings(
    subject=Subject(
        key="x", variants=VARIANTS, segmented_by="country", assignment="randomised",
        strata=tuple(Stratum(epoch=1, segment=name, weights=(0.5, 0.5)) for name in ("us", "ca")),
    ),
    rule=replace(cases.RULE, alpha=0.03), window_days=6.5, clustered=False, live=LIVE, removed=REMOVED, matured=3000, days=9,
    waiting=Maturing(day="2026-03-09", at="2026-03-16T00:00:00Z"), ratios=(RATIO,), metrics=METRICS,
    overlap=Overlap(variants=VARIANTS, rows=(), aliased=(), sentence=None, e_value=None, ladder=()),
    left_out=(np.array([[0, 3, 0], [3, 3, 3]], dtype=np.uint8), np.array([0.9, 0.1])), facts=FACTS, series=DAYS,
    before=(Difference(**UNLIKE, p=0.002),), denominators=(Difference(**UNLIKE, p=0.0003),),
    carried=(Carried(**ONE_UNIT),), canaries=(Canary(**FIRST_EVENTS, margin=0.2, p=0.02),),
    window=Window(others=9, broken=4, first="2026-03-01", last="2026-03-08"),
    beside=Beside(with_them=(OF_B,), as_served=(SERVED,)), others=None, backlog=Backlog(pending=11, late=12),
)  # fmt: skip


def run(**changed: Any) -> dict[str, Check]:
    results = checks.run(replace(FOUND, **changed), DEFAULT)
    assert [one.name for one in results] == list(CheckName)
    return {one.name: one for one in results}


def test_every_check_is_handed_its_own() -> None:
    judged = effects(PRIMARY, PRIMARY.comparisons)
    assert list(run().values()) == [
        gates.variants(VARIANTS),
        rows.readable("row 7 holds no number"),
        overlap.check(FOUND.overlap),
        allocation.check((RATIO,), randomised=True),
        unit_checks.contamination(3591, 21, DEFAULT, (judged, effects(PRIMARY, (OF_B,)))),
        unit_checks.served((21, 5463), (12, 5400), DEFAULT, (judged, effects(PRIMARY, (SERVED,)))),
        unit_checks.fallbacks(5400, 130, DEFAULT),
        unit_checks.carry_over(3570, 260, DEFAULT),
        rows.copies(FACTS.copies, DEFAULT),
        rows.eligibility(FACTS.eligibility, DEFAULT),
        rows.ids(FACTS.ids, DEFAULT),
        rows.unit_of_analysis(FACTS.nesting, DEFAULT),
        rows.early(FACTS.outcomes, DEFAULT),
        rows.arrived(FACTS.arrived, DEFAULT),
        concurrent.in_table(FACTS.sharing, DEFAULT),
        concurrent.in_window(FOUND.window, DEFAULT),
        series.daily_ratio(DAYS.ratio, NAMES, DEFAULT),
        series.jump(DAYS.levels, NAMES, VARIANTS, DEFAULT),
        series.novelty(DAYS.effects, range(8), VARIANTS, DEFAULT),
        unchecked("clusters", Unseen("no `cluster` is named, units are compared")),
        unit_checks.before_exposure(FOUND.before, DEFAULT, randomised=True),
        unit_checks.denominators(FOUND.denominators, DEFAULT),
        unit_checks.early_harm(FOUND.canaries, 0.03),
        unit_checks.outlier(FOUND.carried, 0.03, DEFAULT),
        gates.evidence(Grade.RANDOMISED, Grade.RANDOMISED, "Units were randomised within every segment."),
        gates.matured(3000, 6.5),
        gates.runtime(9, FOUND.rule, DEFAULT),
        gates.events(METRICS),
        gates.strata_used(["ca"], 0.9),
        gates.mix(METRICS, DEFAULT),
        gates.pending(Backlog(pending=11, late=12)),
    ]


def test_what_was_not_randomised_or_not_split_is_read_as_such() -> None:
    """Weights that nobody knows hold what was randomised, and a difference before exposure voids it."""
    before, unknown = (Difference(**UNLIKE, p=0.0001),), ratio_rows(evidence(("all", 1, None)), (5150, 4850))
    for assignment, grade in (("randomised", Severity.INVALID), ("unknown", Severity.WARN)):
        found = run(subject=replace(FOUND.subject, assignment=assignment), before=before)
        assert found["before exposure"].severity is grade
        assert (found["evidence"].severity is Severity.OK) is (assignment == "randomised")
        asked = run(subject=replace(FOUND.subject, assignment=assignment), ratios=unknown)["sample ratio"]
        assert asked.severity is (Severity.GATE if assignment == "randomised" else Severity.WARN)
    one = run(subject=replace(FOUND.subject, strata=FOUND.subject.strata[:1]))
    assert one["mix"] == unchecked("mix", Unseen("there is one stratum, nothing to mix"))


def test_clusters_are_counted_and_named_as_such() -> None:
    found = run(clustered=True)
    assert found["clusters"] == gates.clusters([1800, 1770], VARIANTS, DEFAULT)
    assert "21 clusters (0.58%)" in found["contamination"].message
    few = run(clustered=True, live=LIVE // 200)
    assert few["clusters"] == gates.clusters([9, 7], VARIANTS, DEFAULT)
    assert found["evidence"].numbers["reached"] == Grade.CLUSTERED.value


def test_what_the_source_cannot_show_is_said() -> None:
    why = Unseen("a row counts many units")
    found = run(facts=replace(FACTS, served=why, fallbacks=why, carried=why), series=Unseen("no day"))
    for name in ("served", "fallback", "carry-over"):
        assert found[name] == unchecked(name, why)
    for name in ("sample ratio by day", "jump", "novelty"):
        assert found[name] == unchecked(name, Unseen("no day"))


def test_the_experiments_beside_a_live_one_come_before_those_of_a_table() -> None:
    others = warned("other experiments", "Units of this experiment are also in y.", {"experiments": 1})
    assert run(others=others)["other experiments"] == others


def test_before_a_unit_has_matured_there_is_nothing_to_read() -> None:
    before, found = run(), run(matured=0)
    unread = {"sample ratio", "events", "strata", "mix", "novelty", "denominator", "before exposure"}
    for name in CheckName:
        if name in unread:
            assert found[name] == unchecked(name, Unseen("no unit has matured"))
        elif name != "matured":
            assert found[name] == before[name]
    assert found["matured"] == gates.matured(0, 6.5, FOUND.waiting)
    assert run(matured=0, denominators=Unseen("x"))["denominator"] == unchecked("denominator", Unseen("x"))


APART = Overlap(
    variants=VARIANTS, rows=(), aliased=("b",), sentence="Not identified.", e_value=None, ladder=()
)


def test_where_nobody_was_split_no_split_is_judged() -> None:
    """Also of a single unit; not while a variant has none, nor where another variant meets control."""
    why = Unseen("no segment holds both control and another variant, so no split can be judged")
    alone = LIVE.copy()
    alone[:, 1] = 0
    alone[0, 1, 0] = 1
    for live in (LIVE, alone):
        found = run(overlap=APART, live=live)
        for name in ("sample ratio", "sample ratio by day"):
            assert found[name] == unchecked(name, why)
        assert found["overlap"].severity is Severity.INVALID
        assert found["jump"].checked
    nobody = alone.copy()
    nobody[0, 1, 0] = 0
    assert run(overlap=APART, live=nobody)["sample ratio"].checked
    third = LIVE.copy()
    third[:, 2] = third[:, 1]
    for variants, met in ((("a", "b", "c"), APART), (("a",), FOUND.overlap)):
        subject = replace(FOUND.subject, variants=variants)
        assert run(overlap=met, live=third, subject=subject, series=Unseen("no day"))["sample ratio"].checked


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([[0, 0, 3], [3, 3, 3]], ([], 1.0)),
        ([[3, 0, 3], [0, 0, 0]], (["us"], 0.9)),
        ([[3, 3, 0], [0, 0, 0]], (["us", "ca"], 0.9)),
    ],
)
def test_strata_that_some_comparison_leaves_out_are_named(
    codes: list[list[int]], expected: tuple[list[str], float]
) -> None:
    """The variant that is not there leaves nothing out."""
    left_out = np.array(codes, dtype=np.uint8), np.array([0.9, 0.1])
    assert checks.dropped(replace(FOUND, left_out=left_out)) == expected


# --- overlap ----------------------------------------------------------------------------------------------


def test_who_never_meets_control_is_sized_inside_the_segments() -> None:
    """Of b and c, both aliased, the larger figure is shown; d meets control and has none."""
    names = ("a", "b", "c", "d")
    source = evidence(("us", 1, None), ("ca", 1, None), variants=names)
    source = replace(source, subjects=(FOUND.subject, *source.subjects))
    who, n = source.subjects[1], np.array([[1000, 0, 0, 400], [0, 900, 800, 0]])
    zero, x = np.zeros_like(n), n // 10
    primary = Exact(
        metric=cases.BUYERS, n=n[None], x=x[None], xx=x[None], y=zero[None], yy=zero[None], xy=zero[None]
    )
    a, b, c, d = (
        Value(variant=name, n=1000, numerator=1.0, denominator=1.0, value=rate)
        for name, rate in zip(names, (0.1, 0.13, 0.11, 0.4), strict=True)
    )
    figure = overlap.e_value(a, b)
    needed = overlap.units_inside(MetricType.PROPORTION, primary.sample()[0], source.rule)
    assert needed is not None
    expected = Overlap(
        variants=names, rows=overlap.rows(who, n), aliased=("b", "c"), sentence=overlap.sentence(who, n, ("b", "c")),
        e_value=figure, ladder=overlap.ladder(who, needed, 3100, 50.0, figure),
    )  # fmt: skip
    metrics = (replace(SECOND, type="mean", values=(a, d)), replace(PRIMARY, values=(a, b, c, d)))
    assert checks.overlap_of(source, 1, n, primary, metrics, 50.0) == expected
    unknown = (replace(PRIMARY, values=(a, replace(b, value=None), replace(c, value=None), d)),)
    assert checks.overlap_of(source, 1, n, primary, unknown, 50.0).e_value is None


def test_who_meets_control_needs_no_way_out() -> None:
    source, n = evidence(("us", 1, EVEN), ("ca", 1, EVEN)), np.array([[5, 5], [0, 9]])
    zero = np.zeros((1, 2, 2), dtype=np.int64)
    primary = Exact(metric=cases.BUYERS, n=n[None], x=zero, xx=zero, y=zero, yy=zero, xy=zero)
    assert checks.overlap_of(source, 0, n, primary, METRICS, None) == Overlap(
        variants=VARIANTS, rows=overlap.rows(source.subjects[0], n), aliased=(), sentence=None, e_value=None,
        ladder=(),
    )  # fmt: skip
