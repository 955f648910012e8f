"""A page that builds a definition: its steps are written into the YAML, the one truth, which stays text.

What is wrong with it, and what applying it would change, is what `validate` and `plan` say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from werkzeug.datastructures import MultiDict

from switchpoint.experiment.definition.types import Design, MetricType
from switchpoint.experiment.definition.types import Role as MetricRole
from switchpoint.experiment.errors import BadInput, DefinitionError
from switchpoint.experiment.language.node import DefinitionErrors
from switchpoint.experiment.language.template import with_key
from switchpoint.router.console.operation import Call, Object
from switchpoint.router.console.project import Project
from switchpoint.router.console.views.experiments import plan

Asked = MultiDict[str, str]
SEGMENTS, METRICS = range(1, 5), range(1, 6)
"""Rows of the form; the YAML may have more."""
_ABOUT = ("key", "hypothesis", "owner", "unit")
_METRIC = ("key", "type", "role", "event", "denominator", "value", "decimals", "direction", "margin")
_NUMBERS = frozenset({"decimals", "margin", "alpha", "power", "mde"})
_RULE = ("design", "alpha", "power", "mde", "min_runtime", "max_runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A definition's text with what is wrong with it, or else what applying it would change."""

    text: str
    errors: tuple[BadInput, ...] = ()
    change: Object | None = None


def page(project: Project, _path: Mapping[str, str], asked: Asked) -> dict[str, Any]:
    """The form as it was sent, its steps written into the text if that was asked for, the text checked."""
    text, error = asked.get("definition", "").replace("\r\n", "\n"), None
    if "write" in asked:
        try:
            text = _written(text, asked)
        except BadInput as refused:
            error = refused
    versions = [str(version.ref) for version in project.catalog.models()]
    with project.ledger() as ledger:
        arrived = ledger.arrivals(project.catalog.plan())
    return {
        "asked": asked,
        "treatments": asked.getlist("treatment"),
        "error": error,
        "versions": versions,
        "events": sorted({name[1] for name in arrived if name[0] == "outcomes"}),
        "segments": SEGMENTS,
        "metrics": METRICS,
        "types": list(MetricType),
        "roles": list(MetricRole),
        "designs": list(Design),
        "text": text,
        "checked": _check(project, text) if text.strip() else None,
    }


def _check(project: Project, text: str) -> Checked:
    call = Call(project=project, actor="", path={}, given={"definition": text})
    try:
        return Checked(text=text, change=plan(call))
    except DefinitionErrors as wrong:
        return Checked(text=text, errors=wrong.errors)
    except BadInput as wrong:
        return Checked(text=text, errors=(wrong,))


def _written(text: str, asked: Asked) -> str:
    """The text with every step that says something written into it.

    Raises:
        BadInput: a step says only half of what it must.
    """
    if text.lstrip().startswith("{"):
        raise DefinitionError("is JSON", field="definition", fix="write YAML, a key a line, or edit the JSON")
    for step in (_about, _variants, _segments, _metrics, _rule):
        for key, value in step(asked):
            text = with_key(text, key, value)
    return text


def _about(asked: Asked) -> Iterator[tuple[str, object]]:
    yield from ((name, value) for name in _ABOUT if (value := asked.get(name, "").strip()))


def _variants(asked: Asked) -> Iterator[tuple[str, object]]:
    control, treatments = asked.get("control", ""), asked.getlist("treatment")
    if not control and not treatments:
        return
    if not control or not treatments:
        raise BadInput(
            "control and treatment belong together",
            field="treatment" if control else "control",
            fix="choose a version for control, and one or more to compare with it",
        )
    yield "model", control.partition("@")[0]
    names = ["treatment", *(f"treatment_{number}" for number in range(2, len(treatments) + 1))]
    pairs = [("control", control), *zip(names, treatments, strict=True)]
    yield "variants", [{"key": key, "model": version} for key, version in pairs]


def _segments(asked: Asked) -> Iterator[tuple[str, object]]:
    segments = []
    for row in SEGMENTS:
        key, attribute, values, traffic = _row(
            asked, "segment", row, ("key", "attribute", "values", "traffic")
        )
        if not any((key, attribute, values, traffic)):
            continue
        if not key or bool(attribute) is not bool(values):
            missing = "key" if not key else "values" if attribute else "attribute"
            raise BadInput(
                "is missing", field=f"segment_{row}_{missing}",
                fix="a segment has a name, and an attribute with its values, or neither of the two",
            )  # fmt: skip
        wanted = [value.strip() for value in values.split(",") if value.strip()]
        when = {attribute: wanted[0] if len(wanted) == 1 else {"$in": wanted}} if attribute else None
        segments.append(
            {
                "key": key,
                **({"when": when} if when else {}),
                "traffic": traffic or "100%",
                "allocation": "equal",
            }
        )
    if segments:
        yield "segments", segments


def _metrics(asked: Asked) -> Iterator[tuple[str, object]]:
    metrics = []
    for row in METRICS:
        given: Object = dict(zip(_METRIC, _row(asked, "metric", row, _METRIC), strict=True))
        if not (given["key"] or given["event"]):
            continue
        if given["type"] == MetricType.RATIO:
            above, value = given["event"], given.pop("value")
            given["event"] = {"event": above, "value": value} if value else above
        metrics.append({_named(name, given): _typed(name, value) for name, value in given.items() if value})
    if metrics:
        yield "metrics", metrics


def _rule(asked: Asked) -> Iterator[tuple[str, object]]:
    if window := asked.get("window", "").strip():
        yield "window", window
    rule = {name: _typed(name, value) for name in _RULE if (value := asked.get(name, "").strip())}
    if rule:
        yield "decision", {**rule, "evidence": "randomised"}


def _row(asked: Asked, step: str, row: int, names: tuple[str, ...]) -> list[str]:
    return [asked.get(f"{step}_{row}_{name}", "").strip() for name in names]


def _named(name: str, metric: Object) -> str:
    return "numerator" if name == "event" and metric["type"] == MetricType.RATIO else name


def _typed(name: str, text: Any) -> object:
    """A number as a number, where one belongs; `5%` and what is none stay as they were typed."""
    try:
        return Decimal(text) if name in _NUMBERS else text
    except InvalidOperation:
        return text
