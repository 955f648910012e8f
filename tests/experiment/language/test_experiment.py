"""Parsing: the design's example unchanged, every mistake with its line and fix, several at once, and no bombs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.definition.types import (
    BUCKETS,
    TOTAL_BOUND,
    Design,
    Direction,
    Grade,
    Measure,
    MetricType,
    Role,
    Size,
)
from switchpoint.experiment.errors import DefinitionError
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language.node import DefinitionErrors
from switchpoint.experiment.language.template import INIT_YAML
from tests.experiment.definitions import DESIGN_EXAMPLE, experiment, minimal
from tests.experiment.language.documents import DESIGNS, documents

BASE = """\
key: exp
unit: user_id
model: ranker
variants:
  - {key: control, model: ranker@1}
  - {key: treatment, model: ranker@2}
segments:
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: rest, traffic: 20%, allocation: {control: 0.9, treatment: 0.1}}
metrics:
  - {key: ctr, type: ratio, numerator: click, denominator: impression, role: primary}
  - {key: revenue, type: mean, event: purchase, value: amount, decimals: 2, cap: 500}
window: 7d
decision: {mde: 2%}
"""


def errors(text: str) -> tuple[DefinitionError, ...]:
    with pytest.raises(DefinitionErrors) as caught:
        parsing.load(text, file="exp.yaml")
    return caught.value.errors


def changed(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new, 1)


def test_the_design_example_parses_unchanged() -> None:
    found = parsing.load(DESIGN_EXAMPLE)
    assert [segment.allocation for segment in found.segments] == [
        (5_000, 5_000),
        (5_000, 5_000),
        (9_000, 1_000),
    ]
    assert [segment.traffic for segment in found.segments] == [10_000, 10_000, 2_000]
    assert (found.layer.key, found.layer.start, found.layer.end) == ("home", 0, BUCKETS)  # type: ignore[union-attr]
    ctr, buyers, revenue, latency = found.metrics
    assert (ctr.type, ctr.numerator, ctr.denominator, ctr.role) == (
        MetricType.RATIO,
        Measure(event="click"),
        Measure(event="impression"),
        Role.PRIMARY,
    )
    assert (buyers.type, buyers.cap) == (MetricType.PROPORTION, 1)
    assert (revenue.cap, revenue.decimals) == (50_000, 2)
    assert latency.numerator == Measure(event="prediction", value="latency_ms", cap=2_000)
    assert (latency.cap, latency.direction, latency.margin) == (
        TOTAL_BOUND,
        Direction.DECREASE,
        Size(value=0.05, relative=True),
    )
    assert found.window_ms == 7 * 86_400_000
    rule = found.decision
    assert (rule.design, rule.mde, rule.min_runtime_days, rule.max_runtime_days, rule.evidence) == (
        Design.SEQUENTIAL,
        Size(value=0.02, relative=True),
        14,
        42,
        Grade.RANDOMISED,
    )


def test_the_template_parses() -> None:
    assert parsing.load(INIT_YAML).control.key == "control"


def test_norway_is_a_country_and_a_date_is_text() -> None:
    found = parsing.load(changed("{country: US}", "{country: NO, day: 2024-01-01, on: yes, time: 12:30}"))
    assert found.segments[0].when == {"country": "NO", "day": "2024-01-01", "on": "yes", "time": "12:30"}


def test_thirds_are_exact() -> None:
    found = parsing.load(changed("control: 0.5, treatment: 0.5", "control: 0.3333, treatment: 0.6667"))
    assert found.segments[0].allocation == (3_333, 6_667)
    found = parsing.load(changed("control: 0.5, treatment: 0.5", "control: 33.33%, treatment: 66.67%"))
    assert found.segments[0].allocation == (3_333, 6_667)


@pytest.mark.parametrize("count", [2, 3, 6, 7, 32])
def test_equal_shares_differ_by_at_most_one_bucket(count: int) -> None:
    variants = [{"key": f"v{n}", "model": f"ranker@{n}"} for n in range(1, count + 1)]
    [segment] = experiment(variants=variants).segments
    assert sum(segment.allocation) == BUCKETS
    assert max(segment.allocation) - min(segment.allocation) <= 1


MISTAKES = [
    # old, new, line, field, words of the message or fix
    ("key: exp", "kee: exp", 1, "kee", "did you mean 'key'"),
    ("key: exp", "key: exp\nkey: exp2", 2, "key", "stands twice (first on line 1)"),
    ("key: exp", "key: 'a b'", 1, "key", "not a key"),
    ("key: exp", "key: 7", 1, "key", 'quote it: "7"'),
    ("key: exp", "key: -x", 1, "key", "not a key"),
    ("unit: user_id", "unit: user.id", 2, "unit", "no dots"),
    ("model: ranker\n", "", 1, "", "add `model: ranker`"),
    ("ranker@2", "scorer@2", 6, "variants[1].model", "not a version of ranker"),
    ("ranker@2", "ranker", 6, "variants[1].model", "ranker@2"),
    ("ranker@2", "ranker@0", 6, "variants[1].model", "ranker@2"),
    (", model: ranker@2", "", 6, "variants[1]", "names no model version"),
    ("key: treatment", "key: control", 6, "variants[1]", "second variant 'control'"),
    ("control: 0.5, treatment: 0.5", "control: 0.5, treatment: 0.4", 8, "segments[0].allocation", "sum to 0.9, not 1"),
    ("control: 0.5, treatment: 0.5", "control: 0.5, treat: 0.5", 8, "segments[0].allocation.treat", "did you mean 'treatment'"),
    ("control: 0.5, treatment: 0.5", "control: 1", 8, "segments[0].allocation", "no share for treatment"),
    ("control: 0.5, treatment: 0.5", "control: 0.33333, treatment: 0.66667", 8, "segments[0].allocation.control", "four decimals"),
    ("control: 0.5, treatment: 0.5", "control: yes, treatment: 0.5", 8, "segments[0].allocation.control", "not a number"),
    ("traffic: 20%", "traffic: 20", 9, "segments[1].traffic", "write 20% or 0.2"),
    ("traffic: 20%", "traffic: -1%", 9, "segments[1].traffic", "0% to 100%"),
    ("traffic: 20%", "traffic: 0.05%", 9, "segments[1].traffic", "'treatment' gets no bucket"),
    ("when: {country: US}, ", "", 9, "segments[1]", "never reached: 'us' above takes every unit"),
    ("key: rest,", "key: rest, when: {country: US},", 9, "segments[1].when", "'us' has the same condition"),
    ("key: rest", "key: us", 9, "segments[1]", "second segment"),
    ("{country: US}", "{country: {$inn: [US]}}", 8, "segments[0].when.country.$inn", "did you mean '$in'"),
    ("event: purchase, ", "", 12, "metrics[1]", "'event' is missing"),
    ("event: purchase", "event: Purchase", 12, "metrics[1].event", "lower case"),
    ("event: purchase", "event: exposure", 12, "metrics[1].event", "outcome"),
    ("numerator: click, ", "", 11, "metrics[0]", "'numerator' is missing"),
    (", role: primary", "", 10, "metrics", "no primary metric"),
    ("cap: 500", "cap: 500, role: primary", 10, "metrics", "2 primary metrics"),
    ("cap: 500", "cap: 500, role: guardrail", 12, "metrics[1]", "the role guardrail needs it: add `margin: 5%`"),
    ("cap: 500", "cap: 500, margin: 5%", 12, "metrics[1].margin", "write `role: guardrail`"),
    ("cap: 500", "cap: 500.005", 12, "metrics[1].cap", "at most 2 decimals"),
    ("cap: 500", "cap: 1e11", 12, "metrics[1].cap", "above the bound"),
    ("cap: 500", "cap: -1", 12, "metrics[1].cap", "positive"),
    ("value: amount, ", "", 12, "metrics[1].decimals", "counts have no decimals"),
    ("type: mean", "type: median", 12, "metrics[1].type", "did you mean 'mean'"),
    ("key: revenue", "key: ctr", 12, "metrics[1].key", "second metric 'ctr'"),
    ("role: primary", "role: primary, cap: 3", 11, "metrics[0].cap", "'cap' belongs to the type mean, this one is ratio"),
    ("cap: 500", "cap: 500, covariate: past spend", 12, "metrics[1].covariate", "past spend"),
    ("cap: 500", "cap: 500, covariate: {numerator: a, denominator: b}", 12, "metrics[1].covariate.numerator", "unknown key"),
    ("cap: 500", "cap: 500, covariate: {value: a, decimals: 7}", 12, "metrics[1].covariate.decimals", "0 to 6"),
    ("role: primary", "role: primary, covariate: past", 11, "metrics[0].covariate", "{numerator: past_clicks,"),
    ("role: primary", "role: primary, covariate: {numerator: a}", 11, "metrics[0].covariate", "'denominator' is missing"),
    ("window: 7d", "window: 7 days", 13, "window", "7d, 12h"),
    ("window: 7d", "window: 0d", 13, "window", "not a duration"),
    ("window: 7d", "window: 900d", 13, "window", "too long"),
    ("mde: 2%", "mde: 0", 14, "decision.mde", "not positive"),
    ("{mde: 2%}", "{alpha: 0.05}", 14, "decision", "'mde' is missing"),
    ("mde: 2%", "mde: 2%, alpha: 1.5", 14, "decision.alpha", "out of range"),
    ("mde: 2%", "mde: 2%, min_runtime: 36h", 14, "decision.min_runtime", "whole days"),
    ("mde: 2%", "mde: 2%, min_runtime: 50d", 14, "decision.min_runtime", "longer than max_runtime"),
    ("mde: 2%", "mde: 2%, looks_every: 7d", 14, "decision.looks_every", "write `design: group_sequential`"),
    ("mde: 2%", "mde: 2%, design: fixed, prior: {sd: 10%}", 14, "decision.prior", "belongs to the design bayesian"),
    ("mde: 2%", "mde: 2%, design: bayesian, units: 5000", 14, "decision.units", "remove 'units'"),
    ("mde: 2%", "mde: 2%, design: group_sequential, loss: 1%", 14, "decision.loss", "design: bayesian"),
    ("mde: 2%", "mde: 2%, design: group_sequential, spending: pocok", 14, "decision.spending", "did you mean 'pocock'"),
    ("mde: 2%", "mde: 2%, design: group_sequential, gamma: 3", 14, "decision.gamma", "write `spending: power`"),
    ("mde: 2%", "mde: 2%, design: group_sequential, looks_every: 36h", 14, "decision.looks_every", "whole days"),
    ("mde: 2%", "mde: 2%, design: group_sequential, looks_every: 400d", 14, "decision.looks_every", "at most 366d"),
    ("mde: 2%", "mde: 2%, design: group_sequential, units: 1.5", 14, "decision.units", "not a whole number"),
    ("mde: 2%", "mde: 2%, design: group_sequential, units: 0", 14, "decision.units", "control and one other variant"),
    ("mde: 2%", "mde: 2%, design: bayesian, prior: {mean: 0}", 14, "decision.prior", "'sd' is missing"),
    ("mde: 2%", "mde: 2%, design: bayesian, prior: {sd: 0}", 14, "decision.prior.sd", "out of range"),
    ("mde: 2%", "mde: 2%, design: bayesian, prior: {mean: 20%, sd: 10%}", 14, "decision.prior", "without any data"),
    ("mde: 2%", "mde: 2%, design: bayesian, loss: 0", 14, "decision.loss", "out of range"),
    ("mde: 2%", "mde: 2%, design: group-sequential", 14, "decision.design", "did you mean 'group_sequential'"),
    ("unit: user_id", "unit: user_id\nlayer: {key: home, slice: [0.6, 0.4]}", 3, "layer.slice", "start below end"),
    ("unit: user_id", "unit: user_id\nlayer: {key: home, slice: [0.6, 1.4]}", 3, "layer.slice[1]", "not a share"),
    ("unit: user_id", "unit: user_id\ndimensions: [a, a]", 3, "dimensions[1]", "second dimension"),
    ("metrics:", "metrics: none\nrest:", 10, "metrics", "not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "field", "words"), MISTAKES)
def test_a_mistake_names_file_line_field_and_fix(
    old: str, new: str, line: int, field: str, words: str
) -> None:
    found = next((e for e in errors(changed(old, new)) if (e.line, e.field) == (line, field)), None)
    assert found is not None, [str(e) for e in errors(changed(old, new))]
    assert words in str(found)
    assert str(found).startswith(f"exp.yaml:{line}: ")
    assert found.fix


def test_all_mistakes_are_reported_at_once_in_the_order_of_lines() -> None:
    text = changed("key: exp", "kee: exp").replace("0.1}", "0.2}").replace("window: 7d", "window: soon")
    assert [(error.line, error.field) for error in errors(text)] == [
        (1, "kee"),
        (1, ""),
        (9, "segments[1].allocation"),
        (13, "window"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("key: [1, 2\nunit: x", 2, "not YAML"),
        ("key: a\n\tunit: x", 2, "not YAML"),
        ("- just\n- a list", 1, "not a mapping"),
        ("", 0, "not a mapping"),
        ("key: a\n---\nkey: b", 2, "second document"),
        ("key: &a x\nunit: *a", 1, "anchors"),
        ("key: !!python/object:os.system x", 1, "tag"),
        ("? [a]\n: b", 1, "plain text"),
        ("key: \x01", 0, "not YAML"),
        ('key: "\\ud83d"', 1, "surrogate"),
        ("key: " + "9" * 50, 1, "too many digits"),
        ("a: " + "[" * 40 + "]" * 40, 1, "nested deeper than 32"),
        ("key: x" + " " * 1_000_001, 0, "larger than 1000000 bytes"),
        ("a: [" + "1," * 60_000 + "1]", 1, "more than 50000 values"),
    ],
)
def test_what_is_not_the_accepted_yaml_is_refused(text: str, line: int, words: str) -> None:
    found = errors(text)[0]
    assert words in str(found)
    assert found.line == line


def test_a_billion_laughs_are_refused_unread() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "anchors" in str(errors("\n".join(lines))[0])


def test_broken_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_bytes(BASE.encode().replace(b"window", b"w\xffndow"))
    with pytest.raises(DefinitionError, match=r"exp\.yaml:13: byte \d+ \(0xff\) is not UTF-8"):
        parsing.load_file(path)


def test_files_with_a_byte_order_mark_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert parsing.load_file(path) == parsing.load(BASE)
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        parsing.load_file(tmp_path / "none.yaml")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("key:\n -[]{},'\"&*!|>#%@`abc01.\t\r\x85\u2028\ud800"), max_size=60))
def test_any_text_parses_or_raises_a_definition_error(text: str) -> None:
    with pytest.raises(DefinitionError):
        parsing.load(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(minimal())), json_values)
def test_any_value_in_any_place_parses_or_raises_a_definition_error(part: str, value: Any) -> None:
    with contextlib.suppress(DefinitionError):
        parsing.from_document({**minimal(), part: value})


# -- canonical form ---------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(documents())
def test_a_stored_definition_is_a_file_again(document: dict[str, Any]) -> None:
    """JSON is YAML, so an export can be applied."""
    found = parsing.from_document(document)
    assert parsing.load(json.dumps(parsing.to_document(found))) == found


def test_definitions_of_before_keep_their_digests() -> None:
    """Digests from before rules knew looks or a prior: a frozen rule is recognised for ever."""
    for text, whole, rule in (
        (
            DESIGN_EXAMPLE,
            "sha256:9e84167cf4e527d2d0d31afe6fb9c12614a370946bf21cd1e71ce3f4190a5c15",
            "sha256:529bdd58943d2aaaa2378376992e1852f944c3787d41e1a890b663d018975047",
        ),
        (
            DESIGN_EXAMPLE.replace("design: sequential", "design: fixed"),
            "sha256:bc70d48ae1788960d011bc179b915122b21fbcfe2eb20263e1693dc535b8eeb6",
            "sha256:71555c1aab82f672692087c7bdd49ade0ceb12416bfa0102e0df7e218d35cd42",
        ),
    ):
        found = parsing.load(text)
        assert (parsing.digest(found), parsing.rule_digest(found)) == (whole, rule)


def test_what_a_design_reads_is_part_of_its_rule() -> None:
    digests = {
        parsing.rule_digest(parsing.from_document(minimal(decision={"mde": "2%"} | more))) for more in DESIGNS
    }
    assert len(digests) == len(DESIGNS)


def test_the_digest_covers_meaning_not_typing() -> None:
    typed = (
        DESIGN_EXAMPLE.replace("traffic: 100%", "traffic: 1.0")
        .replace("0.5", "50%")
        .replace("window: 7d", "window: 1w")
    )
    assert typed != DESIGN_EXAMPLE
    assert parsing.digest(parsing.load(typed)) == parsing.digest(parsing.load(DESIGN_EXAMPLE))
    other = parsing.load(DESIGN_EXAMPLE.replace("owner: search-team", "owner: ads-team"))
    assert parsing.digest(other) != parsing.digest(parsing.load(DESIGN_EXAMPLE))
    assert parsing.rule_digest(other) == parsing.rule_digest(parsing.load(DESIGN_EXAMPLE))
    stricter = parsing.load(DESIGN_EXAMPLE.replace("alpha: 0.05", "alpha: 0.01"))
    assert parsing.rule_digest(stricter) != parsing.rule_digest(other)
