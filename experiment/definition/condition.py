"""Targeting conditions: the GrowthBook dialect of MongoDB queries, compiled once to closures.

A condition maps dotted attribute paths to a value (deep equality, no type coercion) or to operators; `{}`
matches everything. Semantics follow the official SDKs; where those differ (a missing attribute, or a number
against text, under `$lt $lte $gt $gte`) ours is the stricter one: values of different types have no order,
so the comparison is false. What an SDK silently ignores (unknown operators, broken patterns) is refused here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from switchpoint.experiment.definition.comparison import deep_equal, kind, padded, same, sortable
from switchpoint.experiment.definition.pattern import PatternError, compile_pattern
from switchpoint.experiment.errors import DefinitionError, Path, dotted, show, suggest

Condition = Callable[[Any], bool]
"""Attributes → matches. Never raises, whatever JSON-like values it meets."""

Test = Callable[[Any], bool]
"""One attribute's value → matches."""

Groups = Mapping[str, Sequence[Any]]


class ConditionError(DefinitionError):
    """A condition cannot be compiled; `path` says where inside it."""

    def __init__(self, message: str, *, path: Path, value: object, fix: str) -> None:
        self.path = path
        super().__init__(message, field=dotted(path), value=value, fix=fix)


def compile_condition(raw: Mapping[str, Any] | None, groups: Groups | None = None) -> Condition:
    """A closure that says whether attributes match; None and `{}` match all.

    `groups` gives the members of saved groups for `$inGroup`; None (as in definitions) refuses them.
    Raises ConditionError for unknown operators, operands of the wrong type and broken patterns.
    """
    return _condition({} if raw is None else raw, (), groups)


def attribute_names(raw: Mapping[str, Any] | None) -> frozenset[str]:
    """The top-level attributes a condition reads."""
    found: set[str] = set()
    for key, value in (raw or {}).items():
        if key in {"$and", "$or", "$nor"}:
            found.update(*(attribute_names(part) for part in value))
        elif key == "$not":
            found.update(attribute_names(value))
        else:
            found.add(key.split(".")[0])
    return frozenset(found)


def _condition(raw: Any, path: Path, groups: Groups | None) -> Condition:
    if not isinstance(raw, Mapping):
        raise ConditionError(
            f"{show(raw)} is not a condition", path=path, value=raw, fix="write `attribute: value` pairs."
        )
    return _all([_clause(key, value, (*path, key), groups) for key, value in raw.items()])


def _all(parts: list[Test]) -> Test:
    if not parts:
        return lambda _: True
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda value: first(value) and second(value)
    return lambda value: all(part(value) for part in parts)


def _clause(key: str, value: Any, path: Path, groups: Groups | None) -> Condition:
    if key in {"$and", "$or", "$nor"}:
        if not isinstance(value, list | tuple):
            raise ConditionError(f"{show(value)} is not a list", path=path, value=value, fix="write a list.")
        parts = [_condition(part, (*path, index), groups) for index, part in enumerate(value)]
        if key == "$and":
            return _all(parts)
        if key == "$or":
            return _any(parts)
        return _negate(_any(parts))
    if key == "$not":
        return _negate(_condition(value, path, groups))
    # `$groups` is an attribute of old GrowthBook payloads, the only one with a dollar sign
    if key.startswith("$") and key != "$groups":
        fix = suggest(key, ("$and", "$or", "$nor", "$not"))
        if key in OPERATORS:
            fix = f"name the attribute first: `attribute: {{{key}: ...}}`."
        raise ConditionError(f"unknown operator {key!r}", path=path, value=key, fix=fix)
    if isinstance(value, str) and "." not in key:
        return _text_equals(key, value)
    read, test = _reader(key), _value_test(value, path, groups)
    return lambda attributes: test(read(attributes))


def _any(parts: list[Test]) -> Test:
    # an empty $or passes, as in every SDK
    return (lambda value: any(part(value) for part in parts)) if parts else (lambda _: True)


def _negate(test: Test) -> Test:
    return lambda value: not test(value)


def _text_equals(name: str, wanted: str) -> Condition:
    def matches(attributes: Any) -> bool:
        return isinstance(attributes, Mapping) and attributes.get(name) == wanted

    def matches_dict(attributes: Any) -> bool:
        # the hot path: one attribute compared with text
        return attributes.get(name) == wanted if type(attributes) is dict else matches(attributes)

    return matches_dict


def _reader(path: str) -> Callable[[Any], Any]:
    """Read a dotted path; lists offer their indices and `length`, everything missing is None."""
    steps = path.split(".")

    def read(value: Any) -> Any:
        for step in steps:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, list | tuple):
                value = _item(value, step)
            else:
                return None
        return value

    return read


def _item(values: Sequence[Any], step: str) -> Any:
    if step == "length":
        return len(values)
    canonical = step.isascii() and step.isdigit() and len(step) <= 10 and (step == "0" or step[0] != "0")
    return values[int(step)] if canonical and int(step) < len(values) else None


def _value_test(wanted: Any, path: Path, groups: Groups | None, *, fold: bool = False) -> Test:
    if isinstance(wanted, Mapping):
        dollars = [key.startswith("$") for key in wanted]
        if all(dollars):
            return _all([_operator(key, operand, (*path, key), groups) for key, operand in wanted.items()])
        if any(dollars):
            raise ConditionError(
                "operators and plain keys stand in one mapping", path=path, value=wanted, fix="use one kind."
            )
    if fold and isinstance(wanted, str):
        lowered = wanted.lower()
        return lambda value: isinstance(value, str) and value.lower() == lowered
    return lambda value: deep_equal(value, wanted)


def _operator(name: str, operand: Any, path: Path, groups: Groups | None) -> Test:
    build = OPERATORS.get(name)
    if build is None:
        raise ConditionError(
            f"unknown operator {name!r}", path=path, value=operand, fix=suggest(name, OPERATORS)
        )
    return build(operand, path, groups)


def _equal(operand: Any, _path: Path, _groups: Groups | None) -> Test:
    return lambda value: same(value, operand)


def _compare(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Path, Groups | None], Test]:
    def build(operand: Any, path: Path, _groups: Groups | None) -> Test:
        wanted = kind(operand)
        if wanted not in {"number", "string"} or operand != operand:  # noqa: PLR0124 - NaN is not itself
            raise ConditionError(
                f"{show(operand)} has no order",
                path=path,
                value=operand,
                fix="compare with a number or text.",
            )
        bound = sortable(operand)
        return lambda value: kind(value) == wanted and value == value and holds(sortable(value), bound)  # noqa: PLR0124

    return build


def _version(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Path, Groups | None], Test]:
    def build(operand: Any, path: Path, _groups: Groups | None) -> Test:
        wanted = kind(operand)
        if wanted not in {"number", "string"}:
            raise ConditionError(
                f"{show(operand)} is not a version", path=path, value=operand, fix='write text: "1.2.3".'
            )
        bound, mismatch = padded(operand), holds is operator.ne
        return lambda value: holds(padded(value), bound) if kind(value) == wanted else mismatch

    return build


def _list_of(operand: Any, path: Path) -> Sequence[Any]:
    if not isinstance(operand, list | tuple):
        raise ConditionError(f"{show(operand)} is not a list", path=path, value=operand, fix="write a list.")
    return operand


def _among(members: Sequence[Any], *, fold: bool) -> Test:
    def folded(value: Any) -> Any:
        return value.lower() if fold and isinstance(value, str) else value

    texts = frozenset(folded(member) for member in members if isinstance(member, str))
    others = [member for member in members if not isinstance(member, str)]

    def one(value: Any) -> bool:
        if isinstance(value, str):
            return folded(value) in texts
        return any(same(value, other) for other in others)

    return lambda value: any(map(one, value)) if isinstance(value, list | tuple) else one(value)


def _in(*, fold: bool, wanted: bool) -> Callable[[Any, Path, Groups | None], Test]:
    def build(operand: Any, path: Path, _groups: Groups | None) -> Test:
        test = _among(_list_of(operand, path), fold=fold)
        return test if wanted else _negate(test)

    return build


def _in_group(*, wanted: bool) -> Callable[[Any, Path, Groups | None], Test]:
    def build(operand: Any, path: Path, groups: Groups | None) -> Test:
        if groups is None or not isinstance(operand, str):
            raise ConditionError(
                "saved groups are not part of a definition",
                path=path,
                value=operand,
                fix="list them with $in.",
            )
        test = _among(groups.get(operand, ()), fold=False)
        return test if wanted else _negate(test)

    return build


def _contains_all(*, fold: bool) -> Callable[[Any, Path, Groups | None], Test]:
    def build(operand: Any, path: Path, groups: Groups | None) -> Test:
        members = _list_of(operand, path)
        tests = [_value_test(member, (*path, i), groups, fold=fold) for i, member in enumerate(members)]
        return lambda value: isinstance(value, list | tuple) and all(any(map(test, value)) for test in tests)

    return build


def _pattern(*, fold: bool, wanted: bool) -> Callable[[Any, Path, Groups | None], Test]:
    def build(operand: Any, path: Path, _groups: Groups | None) -> Test:
        if not isinstance(operand, str):
            raise ConditionError("not a pattern", path=path, value=operand, fix="write text.")
        try:
            matches = compile_pattern(operand, fold=fold)
        except PatternError as error:
            raise ConditionError(f"pattern: {error}", path=path, value=operand, fix=f"{error.fix}.") from None
        return lambda value: matches(value) is wanted if isinstance(value, str) else not wanted

    return build


def _exists(operand: Any, _path: Path, _groups: Groups | None) -> Test:
    return (lambda value: value is not None) if operand else (lambda value: value is None)


def _type(operand: Any, path: Path, _groups: Groups | None) -> Test:
    kinds = ("string", "number", "boolean", "array", "object", "null")
    if operand not in kinds:
        fix = suggest(str(operand), kinds)
        raise ConditionError(f"unknown type {show(operand)}", path=path, value=operand, fix=fix)
    return lambda value: kind(value) == operand


def _size(operand: Any, path: Path, groups: Groups | None) -> Test:
    test = _value_test(operand, path, groups)
    return lambda value: isinstance(value, list | tuple) and test(len(value))


def _not(operand: Any, path: Path, groups: Groups | None) -> Test:
    return _negate(_value_test(operand, path, groups))


def _elem_match(operand: Any, path: Path, groups: Groups | None) -> Test:
    """Operators test the element itself, anything else its fields; null elements are skipped."""
    if not isinstance(operand, Mapping):
        fix = "write operators or `field: value` pairs."
        raise ConditionError(f"{show(operand)} is not a condition", path=path, value=operand, fix=fix)
    on_value = all(key.startswith("$") and key not in {"$and", "$or", "$nor"} for key in operand)
    build = _value_test if on_value else _condition
    test = build(operand, path, groups)
    return lambda value: (
        isinstance(value, list | tuple) and any(item is not None and test(item) for item in value)
    )


OPERATORS: dict[str, Callable[[Any, Path, Groups | None], Test]] = {
    "$eq": _equal,
    "$ne": lambda operand, path, groups: _negate(_equal(operand, path, groups)),
    "$lt": _compare(operator.lt),
    "$lte": _compare(operator.le),
    "$gt": _compare(operator.gt),
    "$gte": _compare(operator.ge),
    "$in": _in(fold=False, wanted=True),
    "$nin": _in(fold=False, wanted=False),
    "$ini": _in(fold=True, wanted=True),
    "$nini": _in(fold=True, wanted=False),
    "$all": _contains_all(fold=False),
    "$alli": _contains_all(fold=True),
    "$elemMatch": _elem_match,
    "$size": _size,
    "$exists": _exists,
    "$type": _type,
    "$not": _not,
    "$regex": _pattern(fold=False, wanted=True),
    "$regexi": _pattern(fold=True, wanted=True),
    "$notRegex": _pattern(fold=False, wanted=False),
    "$notRegexi": _pattern(fold=True, wanted=False),
    "$veq": _version(operator.eq),
    "$vne": _version(operator.ne),
    "$vlt": _version(operator.lt),
    "$vlte": _version(operator.le),
    "$vgt": _version(operator.gt),
    "$vgte": _version(operator.ge),
    "$inGroup": _in_group(wanted=True),
    "$notInGroup": _in_group(wanted=False),
}
