"""Any two variants compared with each other: as a comparison of those two alone, corrected over the pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.judgement.beside import distinct
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.report.sections import report_sections, status_sections
from switchpoint.analysis.results.judgement import Comparison
from switchpoint.analysis.results.numbers import Finding
from switchpoint.experiment.definition.types import Design
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.store.tables import read

DECISION = {
    Design.FIXED: "design: fixed",
    Design.SEQUENTIAL: "design: sequential",
    Design.GROUP_SEQUENTIAL: "design: group_sequential",
    Design.BAYESIAN: "design: bayesian, prior: {sd: 0.2}",
}


def spec(design: Design = Design.FIXED, more: str = "", primary: str = "", source: str = "") -> str:
    return (
        f"""
metrics:
  - {{key: buy, type: proportion, role: primary{primary}}}
{more}
decision: {{{DECISION[design]}, mde: 20%, evidence: randomised}}
source:
  shape: counts
  assignment: randomised
  variant: variant
  control: A
  weights: equal
{source}  columns: {{buy: {{n: users, sum: buys}}, late: {{n: users, sum: late}}}}
"""
        if more
        else f"""
metrics: [{{key: buy, type: proportion, role: primary{primary}}}]
decision: {{{DECISION[design]}, mde: 20%, evidence: randomised}}
source:
  shape: counts
  assignment: randomised
  variant: variant
  control: A
  weights: equal
{source}  columns: {{buy: {{n: users, sum: buys}}}}
"""
    )


def table(users: int = 10_000, **buys: int) -> pl.DataFrame:
    return pl.DataFrame({"variant": [*buys], "users": [users] * len(buys), "buys": [*buys.values()]})


def report(frame: object, text: str, *compare: tuple[str, str]) -> Report:
    found = analyze(frame, load_spec(text), compare=compare)
    assert isinstance(found, Report)
    return found


def pairs(found: Report, metric: int = 0) -> dict[tuple[str, str], Comparison]:
    return {(c.control, c.variant): c for c in found.pairs[metric].comparisons}


def test_two_winners_that_cannot_be_told_apart_are_both_named(shared: Path) -> None:
    """B and C beat A; C is promoted by rule, with the interval of C minus B among the reasons."""
    folder = shared / "cases" / "two-equal-winners"
    found = report(read(folder / "three.csv"), (folder / "three.yaml").read_text())
    assert found.verdict.variant == "C"
    said = [reason for reason in found.verdict.reasons if "not distinguishable" in reason]
    assert said == [
        (
            "C and B are better than A and not distinguishable from each other; C is chosen by rule: the highest "
            "ctr, of equal ones the variant named first."
        )
    ]
    (c,) = found.pairs[0].comparisons
    assert c.estimate is not None
    # the interval of the difference of 1,300 and 1,299 of 10,000, by Wald (the score interval agrees here)
    error = np.sqrt(0.13 * 0.87 / 10_000 + 0.1299 * 0.8701 / 10_000)
    assert c.estimate.interval.lower == pytest.approx(0.0001 - 1.96 * error, abs=2e-5)
    assert c.estimate.interval.upper == pytest.approx(0.0001 + 1.96 * error, abs=2e-5)
    assert any("C 13.00%, B 12.99%" in line and "[-0.92, +0.94] pp" in line for line in found.verdict.reasons)
    for sections in (report_sections(found), status_sections(found)):
        box = next(s for s in sections if s.key == "verdict")
        assert said[0] in box.lines
    for text in (found.to_markdown(), found.to_html(), json.dumps(found.to_dict())):
        assert "not distinguishable from each other" in text


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_the_choice_is_by_rule_and_said(design: Design, direction: str) -> None:
    up = direction == "increase"
    found = report(
        table(users=20_000, A=4_000, B=4_801 if up else 3_199, C=4_800 if up else 3_200, D=4_801 if up else 3_199),
        spec(design, primary=f", direction: {direction}"),
    )  # fmt: skip
    assert found.verdict.variant == "B"
    most = "highest" if up else "lowest"
    chosen = [line for line in found.verdict.reasons if "chosen by rule" in line]
    assert chosen == [
        (
            f"B, C and D are better than A and not distinguishable from each other; B is chosen by rule: the {most} "
            "buy, of equal ones the variant named first."
        )
    ]
    assert set(pairs(found)) == {("C", "B"), ("D", "B")}
    assert all(c.finding is Finding.UNDECIDED for c in pairs(found).values())


def test_a_best_that_can_be_told_from_the_others_is_not_called_a_choice() -> None:
    found = report(table(A=1_000, B=1_300, C=1_600), spec())
    assert found.verdict.variant == "C"
    assert not [line for line in found.verdict.reasons if "chosen by rule" in line]
    assert pairs(found)["B", "C"].finding is Finding.BETTER
    assert any(line.startswith("buy: C 16.00%, B 13.00%") for line in found.verdict.reasons)


def test_only_those_that_are_alike_are_named_alike() -> None:
    found = report(table(A=1_000, B=1_250, C=1_601, D=1_600), spec())
    assert found.verdict.variant == "C"
    (said,) = [line for line in found.verdict.reasons if "chosen by rule" in line]
    assert said.startswith("C and D are better than A and not distinguishable")
    assert {pair: c.finding.value for pair, c in pairs(found).items()} == {
        ("B", "C"): "better", ("D", "C"): "no difference shown",
    }  # fmt: skip


@pytest.mark.parametrize("design", [Design.FIXED, Design.SEQUENTIAL])
def test_a_pair_is_the_comparison_of_those_two_alone(design: Design) -> None:
    """The same effect, interval and p as a table of the two under the same rule."""
    whole = report(table(A=1_000, B=1_100, C=1_250), spec(design), ("B", "C"))
    alone = report(table(B=1_100, C=1_250), spec(design).replace("control: A", "control: B"))
    pair, plain = pairs(whole)["B", "C"], alone.matured.metrics[0].comparisons[0]
    assert pair.estimate is not None
    assert plain.estimate is not None
    for field in (
        "effect",
        "standard_error",
        "interval",
        "p",
        "lift",
        "lift_interval",
        "control_value",
        "variant_value",
    ):
        assert getattr(pair.estimate, field) == getattr(plain.estimate, field), field
    reversed_ = pairs(report(table(A=1_000, B=1_100, C=1_250), spec(design), ("C", "B")))["C", "B"]
    assert reversed_.estimate is not None
    assert reversed_.estimate.effect == -pair.estimate.effect
    assert reversed_.estimate.p == pytest.approx(pair.estimate.p, rel=1e-9)


def test_pairs_are_corrected_by_holm_over_those_asked_for() -> None:
    """Smallest p times the number of pairs, the next times one less; against the pooled z test's own p."""
    counts = {"A": 1_000, "B": 1_010, "C": 1_085, "D": 1_090}
    asked = (("B", "C"), ("B", "D"), ("C", "D"))
    found = pairs(report(table(**counts), spec(), *asked))
    raw = {}
    for base, other in asked:
        rate = (counts[base] + counts[other]) / 20_000
        z = (counts[other] - counts[base]) / 10_000 / np.sqrt(rate * (1 - rate) * 2 / 10_000)
        raw[base, other] = 2 * stats.norm.sf(abs(z))
    order = sorted(asked, key=lambda pair: raw[pair])
    running = 0.0
    for place, pair in enumerate(order):
        running = max(running, min(1.0, raw[pair] * (3 - place)))
        assert found[pair].adjusted_p == pytest.approx(running, rel=1e-6)
        assert found[pair].finding is (Finding.BETTER if running < 0.05 else Finding.UNDECIDED)
    alone = pairs(report(table(**counts), spec(), ("B", "D")))["B", "D"]
    assert alone.adjusted_p == pytest.approx(raw["B", "D"], rel=1e-6)
    # what more pairs cost: shown alone, but not among three
    assert raw["B", "D"] > 0.05 / 3
    assert found["B", "D"].finding is Finding.UNDECIDED or raw["B", "D"] * 3 < 0.05


def test_a_comparison_asked_for_changes_no_verdict() -> None:
    for buys in ({"A": 1_000, "B": 1_300, "C": 1_299}, {"A": 1_000, "B": 1_010, "C": 900}):
        plain, asked = (report(table(**buys), spec(), *pair) for pair in ((), (("A", "C"), ("B", "C"))))
        assert (plain.verdict.kind, plain.verdict.variant) == (asked.verdict.kind, asked.verdict.variant)
        assert plain.matured == asked.matured
        assert {("A", "C"), ("B", "C")} <= set(pairs(asked))


@pytest.mark.parametrize(("n", "word"), [(3_000, Finding.FEW_UNITS), (12_000, Finding.BETTER)])
def test_a_fixed_rule_reads_pairs_once_both_variants_have_their_units(n: int, word: Finding) -> None:
    found = report(table(users=n, A=n // 10, B=n // 10, C=n // 7), spec(), ("B", "C"))
    assert pairs(found)["B", "C"].finding is word
    assert pairs(found)["B", "C"].significant


def test_a_pair_with_few_events_shows_nothing() -> None:
    found = report(table(users=400, A=9, B=1, C=16), spec(Design.SEQUENTIAL), ("B", "C"))
    assert pairs(found)["B", "C"].finding is Finding.FEW_EVENTS


def test_every_metric_is_compared_and_every_rendering_shows_it() -> None:
    frame = table(A=1_000, B=1_300, C=1_010).with_columns(late=pl.Series([500, 900, 505]))
    more = "  - {key: late, type: proportion, direction: decrease}"
    found = report(frame, spec(more=more), ("B", "C"))
    assert [m.key for m in found.pairs] == ["buy", "late"]
    assert pairs(found, 1)["B", "C"].finding is Finding.BETTER
    section = next(s for s in report_sections(found) if s.key == "pairs")
    assert section.table is not None
    shown = [(row[0].text, row[1].text, row[-1].text) for row in section.table.rows]
    assert shown == [("buy", "C against B", "worse"), ("late", "C against B", "better")]
    assert section.notes == ("Pairs of variants: one comparison of each metric, Holm at 0.05.",)
    assert "Variants compared with each other" in found.to_markdown()
    assert "Variants compared with each other" in found.to_html()
    assert found.to_dict()["pairs"][0]["comparisons"][0]["finding"] == "worse"
    plain = report(frame, spec(more=more))
    assert plain.pairs == ()
    assert not [s for s in report_sections(plain) if s.key == "pairs"]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("B", "X"), "no variant 'X'"),
        (("X", "B"), "no variant 'X'"),
        (("B", "B"), "compares 'B' with itself"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_by_name(pair: tuple[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        report(table(A=1_000, B=1_300, C=1_010), spec(), pair)
    assert caught.value.field == "compare"


def test_many_experiments_have_no_pairs_to_ask_for_but_their_winners_are_told_apart() -> None:
    one = table(A=1_000, B=1_300, C=1_299)
    frame = pl.concat([one.with_columns(test=pl.lit(key)) for key in ("p", "q")])
    text = spec(source="  experiment: test\n")
    with pytest.raises(BadInput, match="compares variants of one experiment"):
        analyze(frame, load_spec(text), compare=[("B", "C")])
    found = analyze(frame, load_spec(text))
    assert isinstance(found, BatchReport)
    assert [row.promoted for row in found.rows] == ["B", "B"]


def test_a_pair_is_asked_for_once_whichever_way_round() -> None:
    assert distinct([("B", "C"), ("C", "B"), ("A", "C"), ("B", "C")]) == (("B", "C"), ("A", "C"))
    assert distinct([]) == ()


def test_a_pair_asked_for_with_a_variant_that_did_not_win_is_no_choice() -> None:
    """C is not better than A, however little it can be told from the winner."""
    for asked in (("B", "C"), ("C", "B"), ("A", "B"), ("A", "C")):
        found = report(table(A=1_000, B=1_150, C=1_070), spec(), asked)
        assert found.verdict.variant == "B"
        assert not [line for line in found.verdict.reasons if "chosen by rule" in line]
        assert found.verdict == report(table(A=1_000, B=1_150, C=1_070), spec()).verdict
