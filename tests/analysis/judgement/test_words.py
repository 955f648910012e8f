"""What is shown to be worse stands in the verdict, and every sentence and cell says what its record says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.report.section import Tone, verdict_tone
from switchpoint.analysis.report.sections import report_sections, status_sections
from switchpoint.analysis.results.judgement import CheckName, Comparison, MetricReading, Severity
from switchpoint.analysis.results.numbers import Finding
from switchpoint.experiment.definition.types import Direction, Role, Size
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.cases import BUYERS, DAY, ERRORS, RULE, counts, definition, running, segment

SPEC = """
metrics:
  - {key: buy, type: proportion, role: primary, direction: %(direction)s}
  - {key: paid, type: proportion}
  - {key: ended, type: proportion, direction: decrease}
  - {key: wrong, type: proportion, role: guardrail, direction: decrease, margin: %(margin)s}
decision: {%(design)s, alpha: 0.05, power: 0.8, mde: 20%%, evidence: randomised}
source:
  shape: counts
  assignment: %(assignment)s
  variant: variant
  control: control
%(weights)s
  columns: {buy: {n: n, sum: buy}, paid: {n: n, sum: paid}, ended: {n: n, sum: ended}, wrong: {n: n, sum: wrong}}
"""
PLAIN = {
    "direction": "increase", "margin": "10%", "design": "design: fixed", "assignment": "randomised", "weights": "  weights: equal",
}  # fmt: skip
NAMES = ("control", "treatment", "third", "fourth")


def report(rows: dict[str, list[Any]], **more: str) -> Report:
    found = analyze(pl.DataFrame(rows), load_spec(SPEC % (PLAIN | more)))
    assert isinstance(found, Report)
    return found


def shop(n: int = 20_000, **rates: tuple[float, float, float, float]) -> dict[str, list[Any]]:
    """Rates of buy, paid, ended and wrong by variant."""
    columns: dict[str, list[Any]] = {"variant": [*rates], "n": [n] * len(rates)}
    for place, key in enumerate(("buy", "paid", "ended", "wrong")):
        columns[key] = [round(n * rate[place]) for rate in rates.values()]
    return columns


BASE = (0.1, 0.1, 0.1, 0.1)


# harm is said ----------------------------------------------------------------------------------------


def test_a_promotion_that_does_harm_says_so_first_everywhere() -> None:
    found = report(shop(control=BASE, treatment=(0.12, 0.077, 0.1, 0.1)))
    verdict = found.verdict
    assert (verdict.kind, verdict.variant) == (VerdictKind.PROMOTE, "treatment")
    assert verdict.headline == "Promote treatment, although paid is worse."
    assert verdict.reasons[1].startswith(
        "Shown to be worse: paid: treatment 7.70%, control 10.00%; effect -2.30 pp (-23.0% of control)"
    )
    assert verdict.reasons[1].endswith(": worse.")
    assert [(w.metric, w.variant, w.finding) for w in verdict.worse] == [("paid", "treatment", Finding.WORSE)]
    assert verdict_tone(verdict) is Tone.WARN
    for sections in (report_sections(found), status_sections(found)):
        box = next(s for s in sections if s.key == "verdict")
        assert verdict.headline in box.lines
        assert verdict.reasons[1] in box.lines
    assert 'class="verdict tone-warn"' in found.to_html()
    for text in (found.to_markdown(), found.to_html(), json.dumps(found.to_dict())):
        assert "Promote treatment, although paid is worse." in text
    [worse] = found.to_dict()["verdict"]["worse"]
    assert (worse["metric"], worse["variant"], worse["finding"]) == ("paid", "treatment", "worse")
    assert worse["sentence"] in found.verdict.reasons


def test_a_promotion_without_harm_stays_green() -> None:
    found = report(shop(control=BASE, treatment=(0.12, 0.1, 0.1, 0.1)))
    assert found.verdict.headline == "Promote treatment."
    assert found.verdict.worse == ()
    assert verdict_tone(found.verdict) is Tone.GOOD


def test_several_harmed_metrics_are_all_named_and_both_directions_count() -> None:
    found = report(shop(control=BASE, treatment=(0.12, 0.08, 0.13, 0.1)))
    assert found.verdict.headline == "Promote treatment, although paid and ended are worse."
    better = report(shop(control=BASE, treatment=(0.12, 0.12, 0.08, 0.1)))
    assert better.verdict.headline == "Promote treatment."


def test_harm_of_another_variant_is_said_but_takes_nothing_from_the_promoted_one() -> None:
    found = report(shop(control=BASE, treatment=(0.12, 0.1, 0.1, 0.1), third=(0.1, 0.07, 0.1, 0.1)))
    assert found.verdict.headline == "Promote treatment."
    assert [(w.metric, w.variant) for w in found.verdict.worse] == [("paid", "third")]
    assert any(r.startswith("Shown to be worse: paid: third") for r in found.verdict.reasons)
    assert verdict_tone(found.verdict) is Tone.GOOD


def test_harm_that_the_correction_takes_back_is_not_said() -> None:
    """p = 0.03 of one of two secondary metrics: below alpha, above it after Benjamini and Hochberg."""
    found = report(shop(n=20_000, control=BASE, treatment=(0.12, 0.0935, 0.1, 0.1)))
    paid = found.matured.metrics[1].comparisons[0]
    assert paid.estimate is not None
    assert paid.adjusted_p is not None
    assert paid.estimate.p < 0.05 < paid.adjusted_p
    assert found.verdict.worse == ()


def test_a_guardrail_that_is_worse_within_its_margin_is_said_and_stays_green() -> None:
    found = report(shop(n=80_000, control=BASE, treatment=(0.12, 0.1, 0.1, 0.105)), margin="20%")
    assert found.verdict.headline == "Promote treatment."
    assert [(w.metric, w.finding) for w in found.verdict.worse] == [("wrong", Finding.SAFE)]
    said = [
        r
        for r in found.verdict.reasons
        if r.startswith("Shown to be worse, though not beyond its margin: wrong, treatment")
    ]
    assert len(said) == 1
    assert said[0].endswith(": safe.")
    assert verdict_tone(found.verdict) is Tone.GOOD


@pytest.mark.parametrize(
    ("buy", "weights", "kind"),
    [(0.1, "  weights: equal", "keep"), (0.085, "  weights: equal", "keep"), (0.12, "", "continue")],
)
def test_harm_is_said_whatever_the_verdict(buy: float, weights: str, kind: str) -> None:
    found = report(shop(control=BASE, treatment=(buy, 0.07, 0.1, 0.1)), weights=weights)
    assert found.verdict.kind.value == kind
    assert [(w.metric, w.variant) for w in found.verdict.worse] == [("paid", "treatment")]
    assert any(reason.startswith("Shown to be worse: paid") for reason in found.verdict.reasons)


def test_an_invalid_comparison_says_nothing_of_harm() -> None:
    rows = shop(control=BASE, treatment=(0.12, 0.07, 0.1, 0.1))
    found = report(rows | {"n": [20_000, 22_000]})
    assert found.verdict.kind is VerdictKind.INVALID
    assert found.verdict.worse == ()


def test_models_and_versions_are_named_where_they_are_known() -> None:
    def live(buyers: int, errors: float = 0.01, **changed: Any) -> Report:
        state = running(definition(segment("all", 0.5, 0.5), **changed))
        table = {("all", "control"): (20_000, 2_000), ("all", "treatment"): (20_000, buyers)}
        return analyze_ledger(state, counts(table, errors=errors), at=100 * DAY)

    assert live(2_600).verdict.headline == "Promote ranker@2 (treatment)."
    assert live(1_400).verdict.headline == "Keep ranker@1 (control). Every variant is worse than control."
    early = replace(RULE, min_runtime_days=30)
    assert "ranker@2 (treatment) is ahead so far." in live(2_600, decision=early).verdict.headline


def test_a_rollback_names_the_model_and_the_guardrail() -> None:
    state = running(definition(segment("all", 0.5, 0.5), metrics=(BUYERS, replace(ERRORS, margin=Size(value=0.001, relative=False)))))  # fmt: skip
    good = counts({("all", "control"): (20_000, 2_000)}, errors=0.01)
    bad = counts({("all", "treatment"): (20_000, 2_000)}, errors=0.05)
    found = analyze_ledger(state, good | bad, at=100 * DAY)
    assert found.verdict.headline == "Roll back ranker@2 (treatment): errors is harmed."
    assert [(w.metric, w.finding) for w in found.verdict.worse] == [("errors", Finding.HARMED)]
    assert len([r for r in found.verdict.reasons if r.startswith("Guardrail errors, treatment")]) == 1
    assert not [r for r in found.verdict.reasons if "though not beyond" in r]


# every sentence and every cell -------------------------------------------------------------------------

WORDS = "|".join(finding.value for finding in Finding)
SENTENCE = re.compile(
    rf"^(?:Shown to be worse: )?(\w+)(?:: |, )(\w+) (?:against (\w+)|[^,]+, (\w+) ).*?: ({WORDS})\."
)
RAIL = re.compile(r"^Guardrail (\w+), (\w+): (?:loss .*, margin [^:]+: )?(.*)\.$")
WITHIN = re.compile(rf"^Shown to be worse, though not beyond its margin: (\w+), (\w+): .*: ({WORDS})\.$")
rate = st.sampled_from([0.001, 0.06, 0.08, 0.09, 0.1, 0.11, 0.12, 0.15])


@st.composite
def generated(draw: st.DrawFn) -> Report:
    names = NAMES[: draw(st.integers(2, 4))]
    rates = {name: tuple(draw(rate) for _ in range(4)) for name in names}
    rows = shop(n=draw(st.sampled_from([60, 400, 3_000, 20_000, 100_000])), **rates)  # type: ignore[arg-type]
    return report(
        rows,
        direction=draw(st.sampled_from(["increase", "decrease"])),
        margin=draw(st.sampled_from(["2%", "10%", "60%", "0.01"])),
        design=draw(st.sampled_from([
            "design: fixed", "design: sequential", "design: group_sequential", "design: bayesian, prior: {sd: 0.2}, loss: 0.1%",
        ])),
        assignment=draw(st.sampled_from(["randomised", "randomised", "randomised", "unknown"])),
        weights=draw(st.sampled_from(["  weights: equal", "  weights: equal", ""])),
    )  # fmt: skip


def records(found: Report) -> dict[tuple[str, str, str], tuple[MetricReading, Comparison]]:
    both = (*found.matured.metrics, *found.pairs)
    return {(m.key, c.variant, c.control): (m, c) for m in both for c in m.comparisons}


@pytest.mark.slow
@given(generated())
@settings(max_examples=500, deadline=None)
def test_every_sentence_and_every_cell_says_what_its_record_says(found: Report) -> None:
    known = records(found)
    word = {
        (metric, variant): c.finding.value
        for (metric, variant, control), (_, c) in known.items()
        if control == "control"
    }
    for reason in found.verdict.reasons:
        if rail := RAIL.match(reason):
            assert rail[3].startswith(word[rail[1], rail[2]]), reason
        elif within := WITHIN.match(reason):
            assert word[within[1], within[2]] == within[3], reason
        elif said := SENTENCE.match(reason):
            assert known[said[1], said[2], said[3] or said[4]][1].finding.value == said[5], reason
        else:
            assert not re.match(r"\w+: (treatment|third|fourth) ", reason), reason
    tables = {section.key: section.table for section in report_sections(found)}
    for key, at in (("metrics", (0, 2)), ("guardrails", (0, 1))):
        table = tables.get(key)
        assert table is None or all(
            row[-1].text == word[row[at[0]].text, row[at[1]].text] for row in table.rows
        )
    effect = tables["effect"]
    assert effect is not None
    assert all(row[-1].text == word["buy", row[0].text] for row in effect.rows)
    document = found.to_dict()
    written = {
        (m["key"], c["variant"]): c["finding"]
        for m in document["matured"]["metrics"]
        for c in m["comparisons"]
    }
    assert written == word
    assert document["verdict"]["reasons"] == list(found.verdict.reasons)
    assert_verdict_fits(found, known)


def assert_verdict_fits(
    found: Report, known: dict[tuple[str, str, str], tuple[MetricReading, Comparison]]
) -> None:
    """The verdict follows from the words of the records, by design.md 7 in prose."""
    verdict = found.verdict
    primary = found.matured.metrics[0].comparisons
    rails = {c.variant: c.finding for c in found.matured.metrics[3].comparisons}
    words = [c.finding for c in primary]
    worse = {
        (m.key, c.variant)
        for (_, _, control), (m, c) in known.items()
        if control == "control" and m.role != "primary"
        and (c.finding in {Finding.WORSE, Finding.HARMED} or (c.guard and c.enough_events and c.better is False))
    }  # fmt: skip
    weak = any(c.name == CheckName.EVIDENCE and c.severity is Severity.GATE for c in found.checks)
    if verdict.kind is VerdictKind.INVALID:
        assert any(c.severity is Severity.INVALID for c in found.checks)
        return
    assert {(w.metric, w.variant) for w in verdict.worse} == worse
    for metric, variant in worse:
        assert any(metric in reason and variant in reason for reason in verdict.reasons)
    if verdict.kind is VerdictKind.PROMOTE:
        assert verdict.variant is not None
        assert next(c for c in primary if c.variant == verdict.variant).finding is Finding.BETTER
        assert rails[verdict.variant] is Finding.SAFE
        assert not [c for c in found.checks if c.severity is Severity.GATE]
        harm = {metric for metric, variant in worse if variant == verdict.variant and metric != "wrong"}
        assert ("although" in verdict.headline) == bool(harm)
        assert all(metric in verdict.headline for metric in harm)
    else:
        assert (verdict.kind is VerdictKind.ROLLBACK) == (Finding.HARMED in rails.values() and not weak)
    if "Every variant is worse" in verdict.headline:
        assert set(words) == {Finding.WORSE}
    if "no variant is shown to be better" in verdict.headline:
        assert Finding.BETTER not in words
    for name in NAMES:
        if f"{name} is ahead so far" in verdict.headline or f"{name} is better" in verdict.headline:
            assert next(c for c in primary if c.variant == name).finding is Finding.BETTER
    if "not shown to be safe" in verdict.headline:
        assert set(rails.values()) & {Finding.NOT_SAFE, Finding.FEW_EVENTS, Finding.NO_ESTIMATE}


def test_a_row_of_many_experiments_says_the_word_of_its_record() -> None:
    rows = shop(control=BASE, treatment=(0.12, 0.07, 0.1, 0.1))
    text = (SPEC % PLAIN).replace("  variant: variant", "  experiment: test\n  variant: variant")
    found = analyze(pl.DataFrame(rows | {"test": ["p", "p"]}), load_spec(text))
    assert isinstance(found, BatchReport)
    assert found.rows[0].reason.startswith("Promote treatment, although paid is worse. buy: treatment 12.00%")


def test_the_roles_and_directions_of_the_tests_are_those_of_the_language() -> None:
    read = load_spec(SPEC % PLAIN)
    assert [m.role for m in read.metrics] == [Role.PRIMARY, Role.SECONDARY, Role.SECONDARY, Role.GUARDRAIL]
    assert read.metrics[2].direction is Direction.DECREASE
