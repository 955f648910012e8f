"""The published JSON Schema and the parser accept the same definitions."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, ValidationError, validators

from switchpoint.experiment.errors import DefinitionError
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language.document import canonical
from switchpoint.experiment.language.experiment import json_schema
from switchpoint.experiment.language.node import DefinitionErrors, read_document
from switchpoint.experiment.language.template import INIT_YAML
from switchpoint.router.cli.main import cli
from switchpoint.router.serving.openapi_schemas import schemas
from tests.experiment.definitions import DESIGN_EXAMPLE, minimal
from tests.experiment.language.documents import SOURCES, documents, outside

INEXPRESSIBLE = {
    # words of the parser's message → why draft-07 has no words for the rule
    "a second (variant|segment|metric)": "no key of a list of objects is unique",
    "in two currencies": "two items of a list are compared",
    r"\d+ primary metrics": "at most one item of a kind: `maxContains` came after draft-07",
    "is never reached": "two items of a list are compared",
    "no (variant|metric|share for) ": "a name refers to another part of the document",
    "weights must name every variant": "a name refers to another part of the document",
    "is not a version of": "a name refers to another part of the document",
    "no column for the covariate": "a name refers to another part of the document",
    "the shares sum to": "numbers are added",
    "start below end": "two numbers are compared",
    "longer than max_runtime": "two durations are compared",
    "this prior alone would decide": "alpha and prior are compared by the normal distribution",
    "gets no bucket": "traffic and share are multiplied",
    "finer than 0.01 %": "a number: `multipleOf` in binary floats refuses 0.0007; percentages are checked",
    "is not a positive amount": "a number's decimals depend on the metric's",
    "is above the bound": "a number's bound depends on the metric's decimals",
    "is too long": "the number in a text has no bound of its own, and units differ",
    "is not a number of whole days": "the number in a text has no bound of its own, and units differ",
    "no encoding is called": "which encodings there are, Python knows",
    r"^\d+(\.0|e\+\d+) is not a value": "JSON Schema takes 1.0 for an integer; as a label it is another text",
    # the operators of conditions have one home, their compiler; here they are mappings
    "has no order|operators and plain keys|unknown operator|not a pattern|is not a list|is not a condition": "condition",
    "unknown type|neither true nor false|name the attribute|takes|inGroup|\\$": "condition",
}


def _pattern(validator: Any, pattern: str, value: Any, _: Any) -> Iterator[ValidationError]:
    """ECMA 262's `$` is the end of the text; Python's stands before a last line break too."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Validator = validators.extend(Draft7Validator, {"pattern": _pattern})
DEFINITION = Validator(json_schema())
SPECS = {events: Validator(record.schema) for events, record in parsing.SPECS.items()}


def refusals(document: object) -> list[DefinitionError]:
    try:
        read_document(document, {}, "", parsing.EXPERIMENT.read)
    except DefinitionErrors as error:
        return list(error.errors)
    return []


def inexpressible(error: DefinitionError) -> bool:
    return any(re.search(words, error.message) for words in INEXPRESSIBLE)


def agree(document: object) -> bool:
    """The one verdict of parser and schema, where the rules concerned can be said in a schema."""
    errors, valid = refusals(document), DEFINITION.is_valid(document)
    if valid:
        assert all(inexpressible(error) for error in errors), [str(error) for error in errors]
    else:
        assert errors, [(list(error.path), error.message) for error in DEFINITION.iter_errors(document)]
    return not errors


FULL = minimal(
    hypothesis="It helps.",
    layer={"key": "home", "slice": [0.0, 0.5]},
    dimensions=["device"],
    segments=[{"key": "us", "when": {"country": "US"}, "traffic": "20%", "allocation": "equal"}],
    metrics=[
        {"key": "ctr", "type": "ratio", "role": "primary", "numerator": "click", "denominator": "view"},
        {"key": "buyers", "type": "proportion", "event": "buy"},
        {"key": "revenue", "type": "mean", "event": "buy", "value": "amount", "decimals": 2, "cap": 500},
        {"key": "slow", "type": "mean", "event": "error", "role": "guardrail", "margin": "5%"},
    ],
)
COUNTS, UNITS, MOMENTS, EVENTS = (
    {
        **minimal(source=source, segments=None, model=None),
        "variants": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [{"key": "a", "type": "proportion", "event": "click", "role": "primary"}],
    }
    for source in SOURCES
)
GONE = object()


def at(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The document with another value at a dotted path."""
    changed = copy.deepcopy(document)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    target: Any = changed
    for part in parents:
        target = target[part]
    if value is GONE:
        target.pop(last, None)
    elif isinstance(target, list) and last == len(target):
        target.append(value)
    else:
        target[last] = value
    return changed


def rule(**parts: object) -> dict[str, object]:
    return {"mde": "2%", **parts}


def ratio(**parts: object) -> dict[str, object]:
    return {"key": "x", "type": "ratio", "numerator": "click", "denominator": "view", **parts}


LOOKS, BELIEF = "group_sequential", "bayesian"
KEYS = (["a", "9.x_y-z", "n" * 64], ["", " ", "-a", "a b", "a\n", "é", "n" * 65, 5, [], {}, True])
NAMES = (["user_id", "_a", "a-9", "n" * 64], ["9a", "a.b", "-a", "", "n" * 65, 7, "a\n"])
EVENT_TYPES = (
    ["buy", "a.b-c_9", "exposures", "n" * 64],
    ["exposure", "Buy", "9a", "", "a b", "n" * 65, "buy\n", 3],
)
TEXTS = (["x", " x ", "é", "n" * 2_000], ["", "  ", "\n", "n" * 2_001, 5, False, ["x"]])
DAYS = (
    ["1d", "48h", "2w", "1440m"],
    ["0d", "00w", "d", "1.5d", "-1d", "7 d", "1y", 7, "1d\n", "1234567890d"],
)

PROBES: list[tuple[dict[str, Any], str, tuple[list[Any], list[Any]]]] = [
    # the document, the path of a value, and which values there are valid and which are not
    (FULL, "$schema", (["https://example.org/s.json", None], [5, "", []])),
    (FULL, "key", (KEYS[0], [*KEYS[1], None, GONE])),
    (FULL, "hypothesis", ([*TEXTS[0], None, GONE], TEXTS[1])),
    (FULL, "owner", ([*TEXTS[0], None], TEXTS[1])),
    (FULL, "unit", (NAMES[0], [*NAMES[1], None, GONE])),
    (FULL, "model", (["ranker"], ["a b", "", 5, None, GONE])),
    (FULL, "unknown", ([], [1, None, {}])),
    (FULL, "layer", ([None, GONE, {"key": "l", "slice": ["0%", 1]}], [{}, [], "home", {"key": "l"}])),
    (FULL, "layer.key", (KEYS[0], KEYS[1])),
    (FULL, "layer.slice", ([[0, 1], ["12.34%", 0.9]], [[0], [0, 0.5, 1], [0, 1.5], [-0.1, 1], "0-1", {}, None])),
    (FULL, "layer.end", ([], [1])),
    (FULL, "variants", ([], [[], [{"key": "a", "model": "ranker@1"}], {}, None, GONE])),
    (FULL, "variants", ([[{"key": f"v{n}", "model": "ranker@1"} for n in range(32)]], [])),
    (FULL, "variants", ([], [[{"key": f"v{n}", "model": "ranker@1"} for n in range(33)]])),
    (FULL, "variants.1.key", (["t", "n" * 64], [*KEYS[1], None, GONE])),
    (FULL, "variants.1.model", (["ranker@2", "ranker@007", f"ranker@{10**9 - 1}"], ["ranker", None, GONE, 2])),
    (FULL, "variants.1.model", ([], ["ranker@0", "ranker@000", f"ranker@{10**9}", "@1", "ranker@1.5", "a b@1", "ranker@"])),
    (FULL, "variants.1.weight", ([], [1])),
    (FULL, "segments", ([], [[], {}, "all", None, GONE])),
    (FULL, "segments", ([[{"key": f"s{n}", "when": {"n": n}, "allocation": "equal"} for n in range(100)]], [])),
    (FULL, "segments", ([], [[{"key": f"s{n}", "when": {"n": n}, "allocation": "equal"} for n in range(101)]])),
    (FULL, "segments.0.key", (KEYS[0], [*KEYS[1], GONE])),
    (FULL, "segments.0.when", ([None, {}, {"a": 1}, GONE], [[], "US", 5])),
    (FULL, "segments.0.traffic", ([0, 1, 0.5, "0%", "100%", "100.00 %", "+5%", "007%", "33.33%", "-0%", None, GONE], [])),
    (FULL, "segments.0.traffic", ([], [1.01, -0.01, 20, "120 %", "100.01%", "-1%", "33.333%", "5", "%", "5%%", "1e1%", True])),
    (FULL, "segments.0.traffic", ([], ["1234567890%", "0.1234567890%", "5  %", ".5%", "5.%", "5%\n"])),
    (FULL, "segments.0.allocation", (["equal", {"control": "50%", "treatment": 0.5}], [{}, [], "half", 1, None, GONE])),
    (FULL, "segments.0.allocation", ([{"control": 1, "treatment": 0}], [{"control": 1.5, "treatment": -0.5}])),
    (FULL, "segments.0.allocation", ([], [{"control": None, "treatment": 1}, {"control": "120%", "treatment": 0}])),
    (FULL, "segments.0.weight", ([], [1, None])),
    (FULL, "dimensions", ([[], ["a", "b"], [f"d{n}" for n in range(20)], None, GONE], ["a", {}])),
    (FULL, "dimensions", ([], [["a", "a"], ["a.b"], ["9"], [""], [1], [None], [f"d{n}" for n in range(21)]])),
    (FULL, "metrics", ([], [[], {}, None, GONE, [{"key": "a", "type": "proportion", "event": "b"}]])),
    (FULL, "metrics", ([], [[*FULL["metrics"], *(ratio(key=f"m{n}") for n in range(47))]])),
    (FULL, "metrics", ([[*FULL["metrics"], *(ratio(key=f"m{n}") for n in range(46))]], [])),
    (FULL, "metrics.0.key", (KEYS[0], [*KEYS[1], None, GONE])),
    (FULL, "metrics.1.type", (["mean", "proportion"], ["ratio", "median", "", 5, None, GONE, {}, []])),
    (FULL, "metrics.1.role", (["secondary", None], ["guardrail", "other", 1])),
    (FULL, "metrics.1.direction", (["increase", "decrease", None], ["up", "", 1])),
    (FULL, "metrics.1.event", (EVENT_TYPES[0], [*EVENT_TYPES[1], None, GONE])),
    (FULL, "metrics.1.value", ([None], ["amount", "", 5])),
    (FULL, "metrics.1.cap", ([None], [1, 500])),
    (FULL, "metrics.1.decimals", ([None], [0, 2])),
    (FULL, "metrics.1.currency", ([None], ["EUR"])),
    (FULL, "metrics.1.numerator", ([None], ["click", {"event": "click"}])),
    (FULL, "metrics.1.margin", ([None], ["5%", 0.1])),
    (FULL, "metrics.3.margin", (["5%", 0.01, 7, "1000%"], [0, "0%", "-1%", -1, "5", 1e19, True, None, GONE])),
    (FULL, "metrics.3.role", (["guardrail"], ["primary", "secondary", None, GONE])),
    (FULL, "metrics.2.value", (TEXTS[0], [*TEXTS[1], None, GONE])),
    (FULL, "metrics.2.decimals", ([0, 2, 6, 2.0, None, GONE], [-1, 7, 1.5, "2", True])),
    (FULL, "metrics.2.cap", ([500, 0.01, 2**40 / 100, None, GONE], [0, -1, "500", 2**40 + 1, True])),
    (FULL, "metrics.2.currency", (["EUR", None], ["eur", "EURO", "", "E1R", 978, "EUR\n"])),
    (FULL, "metrics.2.denominator", ([None], ["view"])),
    (FULL, "metrics.2.covariate", (["past", {"value": "past"}, {"value": "p", "decimals": 6}, None], [])),
    (FULL, "metrics.2.covariate", ([], ["a b", {}, {"value": "p", "decimals": 7}, {"numerator": "a", "denominator": "b"}, []])),
    (FULL, "metrics.0.covariate", ([{"numerator": "a", "denominator": "b"}], ["past", {"value": "a"}, {"numerator": "a"}])),
    (FULL, "metrics.0.covariate", ([{"numerator": "a", "denominator": "b", "decimals": 0}], [{"numerator": "a.b", "denominator": "b"}])),
    (FULL, "metrics.0.numerator", (["click", {"event": "click"}], [None, GONE, {}, [], "Click", "exposure"])),
    (FULL, "metrics.0.numerator", ([{"event": "p", "value": "ms"}, {"event": "p", "value": "ms", "cap": 9}], [{"event": "p", "cap": 9}])),
    (FULL, "metrics.0.numerator", ([{"event": "p", "value": None}], [{"event": "p", "value": "ms", "cap": 0}, {"event": "p", "at": 1}])),
    (FULL, "metrics.0.denominator", (["view"], [None, GONE, {"value": "v"}, 1])),
    (FULL, "metrics.0.event", ([None], ["click"])),
    (FULL, "metrics.0.cap", ([None], [5])),
    (FULL, "metrics.4", ([ratio(decimals=2, numerator={"event": "p", "value": "ms"})], [ratio(decimals=2), ratio(decimals=1, value="v")])),
    (FULL, "metrics.4", ([ratio(decimals=0), ratio(decimals=2, denominator={"event": "p", "value": "ms"})], [ratio(other=1), "x", None])),
    (FULL, "window", ([*DAYS[0], "1ms", "90m", "366d"], [*DAYS[1], None, GONE])),
    (FULL, "decision", ([{"mde": "2%"}], [{}, [], "2%", None, GONE, rule(other=1)])),
    (FULL, "decision.mde", (["2%", 0.01, 5, 10**18], [0, "0.0%", -1, "-2%", "two", 10**18 + 10**6, True, None, GONE])),
    (FULL, "decision.design", (["fixed", "sequential", LOOKS, BELIEF, None], ["group-sequential", "", 1, []])),
    (FULL, "decision.alpha", ([0.05, "5%", 0.499, "49.9%", "0.01 %", None], [0, 0.5, 0.6, "0%", "50%", "50.1%", "120%", "-5%", "5", True])),
    (FULL, "decision.power", ([0.8, "80%", 0.501, "50.1%", "99.9%", "080%"], [0.5, 1, 0.4, "50%", "50.0%", "100%", "5%", "-80%", 80])),
    (FULL, "decision.min_runtime", ([*DAYS[0], "14d", None], [*DAYS[1], "tomorrow"])),
    (FULL, "decision.max_runtime", (["7d", "8w", "1008h", None], DAYS[1])),
    (FULL, "decision.evidence", (["randomised", "clustered", "quasi", "descriptive", None], ["none", 1])),
    (FULL, "decision.looks_every", ([None], ["7d"])),
    (FULL, "decision.spending", ([None], ["pocock"])),
    (FULL, "decision.gamma", ([None], [2])),
    (FULL, "decision.units", ([None], [1000])),
    (FULL, "decision.prior", ([None], [{"sd": 0.1}])),
    (FULL, "decision.loss", ([None], ["1%"])),
    (FULL, "decision", ([rule(design=LOOKS, looks_every="1w")], [rule(design=LOOKS, looks_every="7"), rule(design=BELIEF, looks_every="7d")])),
    (FULL, "decision", ([rule(design=LOOKS, spending="pocock")], [rule(design=LOOKS, spending="o'brien"), rule(design="fixed", spending="pocock")])),
    (FULL, "decision", ([rule(design=LOOKS, spending="power", gamma=19.9)], [rule(design=LOOKS, spending="power", gamma=20), rule(design=LOOKS, gamma=2)])),
    (FULL, "decision", ([rule(design=LOOKS, spending="power")], [rule(design=LOOKS, spending="power", gamma=0), rule(design=LOOKS, spending="pocock", gamma=2)])),
    (FULL, "decision", ([rule(design=LOOKS, units=4), rule(design=LOOKS, units=10**12)], [rule(design=LOOKS, units=n) for n in (3, 4.5, 10**12 + 1, "9")])),
    (FULL, "decision", ([rule(design=BELIEF, prior={"sd": sd}) for sd in (0.3, "30%", "999.9%", 9.9)], [rule(design=BELIEF, prior={"sd": sd}) for sd in (0, "0%", 10, "1000%", "-5%")])),
    (FULL, "decision", ([rule(design=BELIEF, prior={"sd": 9, "mean": mean}) for mean in (0, "-99.9%", -0.9, "900%", 9)], [rule(design=BELIEF, prior={"sd": 9, "mean": mean}) for mean in (-1, "-100%", 10, "1000%", "-100.1%")])),
    (FULL, "decision", ([rule(design=BELIEF)], [rule(design=BELIEF, prior=prior) for prior in ({}, {"mean": 0}, {"sd": 1, "df": 4}, 0.3)])),
    (FULL, "decision", ([rule(design=BELIEF, loss=loss) for loss in (0.001, "99.9%")], [rule(design=BELIEF, loss=loss) for loss in (0, 1, "100%", "0.0%")] + [rule(design=LOOKS, loss=0.1)])),
    (COUNTS, "source", ([], [{}, [], "counts", {"shape": "counts"}])),
    (COUNTS, "source", ([], [None, GONE])),
    (COUNTS, "source.shape", (["counts"], ["units", "moments", "events", "rows", None, GONE, [], {}])),
    (COUNTS, "source.unit", ([None], ["user"])),
    (COUNTS, "source.cluster", ([None], ["house"])),
    (COUNTS, "source.served", ([None], ["page"])),
    (COUNTS, "source.covariate", ([None], [{"a": "before"}])),
    (COUNTS, "source.exposures", ([None], [EVENTS["source"]["exposures"]])),
    (COUNTS, "source.variant", ([None, "arm", GONE], ["", 5])),
    (COUNTS, "source.day", (["week"], [None, GONE, 5])),
    (COUNTS, "source.cumulative", ([True, False, None, GONE], ["yes", 1, 0])),
    (COUNTS, "source.assignment", (["randomised", "how", None], ["", 1])),
    (COUNTS, "source.experiment", (["test", {"key": "exp"}, None], ["", 5, {}, {"key": "a b"}, {"key": "exp", "n": 1}])),
    (COUNTS, "source.columns", ([{"a": {"n": "n", "sum": "s"}}, {"a": {"n": "n", "sum": "s", "sum_squares": "q"}}], [{}, [], "a", None, GONE])),
    (COUNTS, "source.columns", ([], [{"a": "clicks"}, {"a": {"n": "n"}}, {"a": {"n": "n", "sum": "s", "mean": "m"}}, {"a": {"n": "", "sum": "s"}}])),
    (COUNTS, "source.weights", (["equal", {"control": 0.5, "treatment": "50%"}, None], ["half", {}, {"control": 2, "treatment": -1}])),
    (COUNTS, "variants.0.model", ([None], ["ranker@1"])),
    (COUNTS, "model", ([None], ["ranker"])),
    (COUNTS, "segments", ([None, [{"key": "all", "allocation": "equal"}]], [[]])),
    (UNITS, "source.variant", (["arm"], [None, GONE])),
    (UNITS, "source.control", ([0, "A", "largest", None], [1.5, True, []])),
    (UNITS, "source.cumulative", ([False, None], [True])),
    (UNITS, "source.unit", (["id", None, GONE], ["", 5])),
    (UNITS, "source.served", (["page"], [None, GONE, ""])),
    (UNITS, "source.served_map", ([{"control": 1}, None], [{}, {"control": None}, {"control": 1.5}, "x"])),
    (UNITS, "source.dimensions", ([[], ["a", "a"], None], [[""], [1], "a"])),
    (UNITS, "source.covariate", ([{"a": {"value": "b"}}, {"a": {"numerator": "x", "denominator": "y"}}], [{}, {"a": {"n": "x"}}, {"a": {"numerator": "x"}}])),
    (UNITS, "source.columns", ([{"a": "b"}, {"a": {"value": "b"}}], [{"a": {"n": "x", "sum": "y"}}, {"a": ""}, {"a": None}])),
    (UNITS, "source.eligible", ([{}, {"a": 1}, None], ["a", []])),
    (UNITS, "source.outcomes", ([None], [EVENTS["source"]["outcomes"]])),
    (MOMENTS, "source.variant", (["arm"], [None, GONE])),
    (MOMENTS, "source.unit", ([None], ["user"])),
    (MOMENTS, "source.columns", ([], [{"a": {"n": "n", "sum": "s"}}, {"a": {"n": "n", "mean": "m"}}])),
    (EVENTS, "source.exposures", ([], [None, GONE, {}, {"table": "t"}, {"at": "t"}, "t"])),
    (EVENTS, "source.exposures", ([{"table": "t", "at": "x"}, {"table": "t", "at": "x", "type": "k"}], [{"table": "t", "at": "x", "unit": "u"}])),
    (EVENTS, "source.outcomes", ([{"table": "t", "at": "x", "type": "k"}], [{"table": "t", "at": "x"}, {"table": "", "at": "x", "type": "k"}])),
    (EVENTS, "source.outcomes.type", (["kind"], [None, GONE, ""])),
    (EVENTS, "source.unit", (["user"], [None, GONE])),
    (EVENTS, "source.variant", (["arm"], [None, GONE])),
    (EVENTS, "source.columns", ([None], [{"a": "b"}])),
    (EVENTS, "source.cumulative", ([False], [True])),
    (UNITS, "source.epoch", (["epoch", None], ["", 5])),
    (UNITS, "source.weights", ([], [{"1": {"control": 0.5, "treatment": 0.5}}, {"1": {}}, {"control": {"x": 1}, "treatment": 1}])),
    (UNITS, "source.separator", ([";", "\t", " ", None], ["", ";;", '"', "\n", "\r", 5])),
    (UNITS, "source.encoding", (["utf-8", "cp1252", None], ["", " ", 5])),
    (UNITS, "source.decimal", ([",", ".", None], ["", ";", 1, ["."]])),
    (UNITS, "source.date_format", (["%d.%m.%Y", None], ["", "iso", 5])),
    (UNITS, "source.empty", ([0, {"a": 0}, {"a": 0.0}, None], [1, False, "0", {}, {"a": 1}, {"a": None}, {"a": False}, ["a"]])),
    (UNITS, "source.labels", (["tidy", "as written", None], ["", "other", True, {}])),
]  # fmt: skip
CASES = [
    pytest.param(
        at(document, path, value), valid, id=f"{path}-{'gone' if value is GONE else str(value)[:40]!a}"
    )
    for document, path, values in PROBES
    for valid, some in zip((True, False), values, strict=True)
    for value in some
]


def test_the_documents_of_the_probes_are_valid() -> None:
    for document in (FULL, COUNTS, UNITS, MOMENTS, EVENTS):
        assert agree(document)


@pytest.mark.parametrize(("document", "valid"), CASES)
def test_parser_and_schema_give_the_same_verdict(document: dict[str, Any], valid: bool) -> None:
    assert (not refusals(document), DEFINITION.is_valid(document)) == (valid, valid), refusals(document)


COMPARED: list[tuple[dict[str, Any], str, Any, str]] = [
    (FULL, "variants.1.key", "control", "a second variant"),
    (FULL, "metrics.1.key", "ctr", "a second metric"),
    (FULL, "segments.1", {"key": "us", "allocation": "equal"}, "a second segment"),
    (FULL, "segments.1", {"key": "x", "when": {"country": "US"}, "allocation": "equal"}, "is never reached"),
    (FULL, "metrics.1.role", "primary", "primary metrics"),
    (FULL, "metrics.4", {"key": "b", "type": "mean", "event": "buy", "value": "amount", "currency": "EUR"}, "in two currencies"),
    (FULL, "segments.0.allocation", {"control": 0.5, "other": 0.5}, "no variant"),
    (FULL, "segments.0.allocation", {"control": 1}, "no share for"),
    (FULL, "segments.0.allocation", {"control": 0.5, "treatment": 0.4}, "the shares sum to"),
    (FULL, "segments.0.traffic", 0.00001, "finer than"),
    (FULL, "segments.0.traffic", "0.01%", "gets no bucket"),
    (FULL, "variants.1.model", "scorer@2", "is not a version of"),
    (FULL, "layer.slice", [0.5, 0.5], "start below end"),
    (FULL, "window", "367d", "is too long"),
    (FULL, "decision.min_runtime", "36h", "whole days"),
    (FULL, "decision.max_runtime", "3651d", "is too long"),
    (FULL, "decision", rule(design=LOOKS, looks_every="367d"), "is too long"),
    (FULL, "decision.min_runtime", "43d", "longer than"),
    (FULL, "decision", rule(design=BELIEF, prior={"mean": "20%", "sd": "10%"}), "this prior alone"),
    (FULL, "metrics.2.cap", 0.001, "not a positive amount"),
    (FULL, "metrics.2.cap", 2**40, "above the bound"),
    (COUNTS, "source.columns", {"b": {"n": "n", "sum": "s"}}, "no metric"),
    (COUNTS, "source.weights", {"a": 1}, "weights must name"),
    (COUNTS, "metrics.0.covariate", "past", "no column for the covariate"),
    (UNITS, "source.served_map", {"b": 1}, "no variant"),
    (UNITS, "source.control", 1.0, "1.0 is not a value"),
    (UNITS, "source.encoding", "utf-99", "no encoding is called"),
    (UNITS, "source.empty", {"b": 0}, "no metric"),
    (FULL, "segments.0.when", {"n": {"$gt": []}}, "has no order"),
    (FULL, "segments.0.when", {"n": {"$gtt": 5}}, "unknown operator"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "path", "value", "words"), COMPARED)
def test_what_compares_values_only_the_parser_knows(
    document: dict[str, Any], path: str, value: Any, words: str
) -> None:
    changed = at(document, path, value)
    errors = refusals(changed)
    assert any(words in error.message for error in errors), errors
    assert all(inexpressible(error) for error in errors), errors
    assert DEFINITION.is_valid(changed)


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_a_spec_may_leave_out_what_its_metrics_read_unless_its_rows_are_events(number: int) -> None:
    metric: dict[str, Any] = {"key": "a", "type": "proportion", "role": "primary"}
    source = {key: value for key, value in SOURCES[number].items() if key != "covariate"}
    source["weights"] = {"monday": {"control": 0.5, "treatment": 0.5}}
    source |= {"day": "day", "cumulative": False}
    for more in ({}, {"event": "click"}, {"event": "exposure"}, {"value": "v"}):
        document = {"metrics": [metric | more], "decision": {"mde": "2%"}, "source": source}
        valid = "event" in more or (not more and source["shape"] != "events")
        valid = valid and more.get("event") != "exposure"
        assert SPECS[source["shape"] == "events"].is_valid(document) == valid
        try:
            parsing.load_spec(json.dumps(document))
            assert valid
        except DefinitionError:
            assert not valid


@pytest.mark.parametrize(
    ("more", "valid"),
    [
        ({"day": "d"}, True),
        ({"epoch": "e"}, True),
        ({"segment": "s"}, True),
        ({}, False),
        ({"day": "d", "cumulative": True}, False),
    ],
)
def test_weights_that_differ_by_row_need_a_column_and_no_sums_over_days(
    more: dict[str, Any], valid: bool
) -> None:
    metric = {"key": "a", "type": "proportion", "role": "primary"}
    source = {
        "shape": "counts",
        "weights": {"x": {"a": 1}},
        "columns": {"a": {"n": "n", "sum": "s"}},
        **more,
    }
    document = {"metrics": [metric], "decision": {"mde": "2%"}, "source": source}
    assert SPECS[False].is_valid(document) == valid
    if valid:
        assert parsing.load_spec(json.dumps(document)).source.weights_by == {"x": {"a": 10_000}}
    else:
        with pytest.raises(DefinitionError, match=r"source\.weights"):
            parsing.load_spec(json.dumps(document))


# -- at random --------------------------------------------------------------------------------------------------

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 6, 7, 0.5, 0.05, 1.5, 20, 2**40, 2**41, 1e19, "", " ", "a", "x y", "a\n", "5%", "120 %",
    "0%", "50%", "99.99%", "-1%", "0.005%", "7d", "0d", "36h", "48h", "ranker@0", "ranker@1", "exposure", "Click", "click",
    "EUR", "equal", "n" * 65, "n" * 2_001, [], {}, ["a"], ["a", "a"], {"a": 1}, {"value": "p"}, {"event": "click"},
    {"numerator": "p", "denominator": "q"}, {"event": "click", "value": "v", "cap": 3}, {"event": "click", "cap": 3},
    {"sd": 0.1}, {"control": 0.5, "treatment": 0.5}, {"table": "t", "at": "x"}, {"key": "home", "slice": [0, 0.5]},
    {"a": {"n": "x", "sum": "y"}}, {"a": "b"}, {"shape": "counts"}, "proportion", "mean", "ratio", "primary", "guardrail",
    "fixed", "bayesian", "group_sequential", "power", "pocock", "units", "counts", "events", "moments",
]  # fmt: skip


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from _keys(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _keys(part)


ALL_KEYS = [*sorted(set(_keys(json_schema()))), "other"]


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every mapping and list with each of its keys, and with a new one."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield value, key
        yield from _spots(part)
    if isinstance(value, dict):
        yield value, None


@settings(max_examples=300, deadline=None)
@given(st.one_of(documents(), outside()))
def test_the_canonical_form_reads_back_equal_and_passes(document: dict[str, Any]) -> None:
    assert agree(document)
    definition = parsing.from_document(document)
    written = json.loads(json.dumps(parsing.to_document(definition)))
    DEFINITION.validate(written)
    again = parsing.from_document(written)
    assert again == definition
    assert canonical(parsing.to_document(again)) == canonical(written)


@settings(max_examples=600, deadline=None)
@given(st.one_of(documents(), outside()), st.booleans(), st.data())
def test_a_mutation_gets_one_verdict(document: dict[str, Any], written: bool, data: st.DataObject) -> None:
    if written:
        document = parsing.to_document(parsing.from_document(document))
    document = json.loads(json.dumps(document))
    block, key = data.draw(st.sampled_from(list(_spots(document))))
    key = data.draw(st.sampled_from(ALL_KEYS)) if key is None else key
    if key in (block if isinstance(block, dict) else range(len(block))) and data.draw(st.booleans()):
        del block[key]
    else:
        block[key] = data.draw(st.sampled_from(VALUES))
    agree(document)


digits = st.text("0123456789", min_size=1, max_size=10)
percentages = st.builds(
    lambda sign, whole, point, rest, space: f"{sign}{whole}{point + rest if point else ''}{space}%",
    st.sampled_from(["", "", "-", "+"]),
    st.sampled_from(["0", "00", "1", "9", "10", "49", "50", "99", "100", "101", "999", "1000", "0050"])
    | digits,
    st.sampled_from(["", "."]),
    st.sampled_from(["0", "00", "01", "1", "001", "50", "99", "990"]) | digits,
    st.sampled_from(["", "", " ", "\u00a0", "  "]),
)


@settings(max_examples=500, deadline=None)
@given(percentages)
def test_percentages_have_the_bounds_of_their_numbers(text: str) -> None:
    for decision in (
        rule(alpha=text), rule(power=text), rule(mde=text), rule(design=BELIEF, loss=text),
        rule(design=BELIEF, prior={"sd": text}), rule(design=BELIEF, prior={"sd": 9.9, "mean": text}),
    ):  # fmt: skip
        agree(at(FULL, "decision", decision))
    document = at(FULL, "segments.0.traffic", text)
    agree(document)
    assert not any("finer" in error.message for error in refusals(document)) or not DEFINITION.is_valid(
        document
    )


# -- the published schema ---------------------------------------------------------------------------------------


def test_it_is_published_as_it_is_derived() -> None:
    derived = json.loads(json.dumps(json_schema()))
    assert derived["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(derived)
    assert json.loads(CliRunner().invoke(cli, ["validate", "--schema"]).output) == derived
    described = json.loads(json.dumps(schemas()["Definition"]))
    assert described == {key: value for key, value in derived.items() if not key.startswith("$")}


def records(schema: Any) -> Iterator[dict[str, Any]]:
    """Every sub-schema of a record."""
    if isinstance(schema, dict):
        if "properties" in schema and "title" in schema:
            yield schema
        for part in schema.values():
            yield from records(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from records(part)


def test_every_record_is_closed_and_every_key_documented() -> None:
    blocks = list(records(json_schema()))
    assert len(blocks) > 8
    for block in blocks:
        assert block["additionalProperties"] is False
        for name, schema in block["properties"].items():
            assert schema["title"], name
            assert schema["description"].endswith("."), name
            for value in (*schema.get("examples", ()), *([schema["default"]] if "default" in schema else ())):
                Validator(schema).validate(value)


@pytest.mark.parametrize("text", [DESIGN_EXAMPLE, INIT_YAML], ids=["design", "template"])
def test_examples_validate(text: str) -> None:
    from ruamel.yaml import YAML

    DEFINITION.validate(YAML(typ="safe", pure=True).load(text))
    DEFINITION.validate(parsing.to_document(parsing.load(text)))
