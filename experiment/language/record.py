"""Mappings with named fields: one table of fields is their parser, their JSON Schema and their writer.

LAYER = Record(
    "Layer",
    "Experiments with disjoint slices of one layer share no units.",
    Field("key", KEY, "Name of the layer.", needed=True, example="home"),
    Field("slice", list_of(SHARE, "bound", least=2, most=2), "[start, end) of it.", needed=True),
)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from switchpoint.experiment.errors import DefinitionError, show, suggest
from switchpoint.experiment.language.kinds import Kind, Schema
from switchpoint.experiment.language.node import Node, Recorded

T = TypeVar("T")

_UNSAID: Schema = {"enum": [None, False]}
"""What a key may say that does not apply: nothing."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record.

    `default` is the value where the key is left out. `only` and `needed` are options of a choice that stands
    above in the same record: the key applies `only` to them, and must be given where `needed` (True: wherever
    it applies). `needs` are paths, one of which must be given beside the key, for the reason `because`. A
    name may stand in several fields that apply to different options.
    """

    name: str
    kind: Kind[Any]
    about: str
    default: Any = None
    example: Any = None
    needed: bool | tuple[StrEnum, ...] = False
    only: tuple[StrEnum, ...] = ()
    needs: tuple[str, ...] = ()
    because: str = ""

    @property
    def choice(self) -> type[StrEnum] | None:
        """The enumeration this field depends on."""
        options = self.only or (self.needed if isinstance(self.needed, tuple) else ())
        return type(options[0]) if options else None

    def applies(self, option: StrEnum | None) -> bool:
        """Whether the key has a meaning under this option (None: the choice is not known)."""
        return option is None or not self.only or option in self.only

    def is_needed(self, option: StrEnum | None) -> bool:
        """Whether the key must be given under this option (None: the choice is not known)."""
        if isinstance(self.needed, tuple):
            return option in self.needed
        return self.needed and (not self.only or option in self.only)

    @property
    def line(self) -> str:
        """The key as somebody would write it."""
        example = "..." if self.example is None else str(self.example).replace("'", "")
        if self.kind.options:
            example = " | ".join(self.kind.options)
        return f"{self.name}: {example}"


class Block:
    """One mapping while it is read. `values` has the keys that could be read, and defaults."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.values: dict[str, Any] = {}
        self._failed = False

    def record(self, message: str, fix: str, *below: str | int) -> None:
        """Note an error of this mapping."""
        self.node.record(message, fix, *below)
        self._failed = True

    def read(self, name: str, kind: Kind[Any]) -> None:
        """Read a key, or note what is wrong with it."""
        try:
            self.values[name] = kind.read(self.node.child(name))
        except DefinitionError as error:
            self.node.problems.errors.append(error)
            self._failed = True
        except Recorded:
            self._failed = True

    def has(self, path: str) -> bool:
        """Whether something is said under a dotted path of keys."""
        value = self.node.value
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value not in (None, False, 0)

    def done(self) -> None:
        """Stop reading this mapping if anything in it was wrong."""
        if self._failed:
            raise Recorded


def record(
    title: str,
    about: str,
    *fields: Field,
    build: Callable[[Block], T] | None = None,
    parts: Callable[[T], Mapping[str, Any]] = lambda _: {},
    check: Callable[[Block], None] = lambda _: None,
    rules: tuple[Schema, ...] = (),
) -> Kind[T]:
    """A mapping with these fields.

    Args:
        title: its name in the schema.
        about: what it is.
        fields: its table.
        build: makes a value of its fields, when all are right; left out, they are the value. May note errors.
        parts: the fields of a value that are no attributes of it by their name.
        check: compares fields, of which some may not have been readable.
        rules: schemas of what `check` and `build` refuse.
    """
    table = _Table(fields, build or (lambda block: cast("T", block.values)), parts, check)
    return Kind(table.read, table.schema(title, about, rules), table.write)


class _Table(Generic[T]):
    """The fields by name, each name with the choice that its fields depend on."""

    def __init__(
        self,
        fields: tuple[Field, ...],
        build: Callable[[Block], T],
        parts: Callable[[T], Mapping[str, Any]],
        check: Callable[[Block], None],
    ) -> None:
        self._build, self._parts, self._check = build, parts, check
        self._choices = {field.kind.options: field.name for field in fields if field.kind.options}
        self._dependent = tuple(field for field in fields if field.needs)
        groups: dict[str, tuple[Field, ...]] = {}
        for field in fields:
            groups[field.name] = (*groups.get(field.name, ()), field)
        self._groups = {
            name: (group, self._choices[group[0].choice] if group[0].choice else "")
            for name, group in groups.items()
        }
        self._always = [
            group[0] for group, choice in self._groups.values() if group[0].needed is True and not choice
        ]

    # -- reading ---------------------------------------------------------------------------------------------

    def read(self, node: Node) -> T:
        """The value of a mapping. Raises Recorded or DefinitionError."""
        if not isinstance(node.value, dict):
            lines = ", ".join(field.line for field in self._always)
            node.fail(f"{show(node.value)} is not a mapping", f"write {{{lines}}}.")
        block = Block(node)
        for name in node.value:
            if name not in self._groups:
                block.record(f"unknown key {name!r}", suggest(name, self._known(node.value)), name)
        for name, (group, choice) in self._groups.items():
            _take(block, name, group, choice)
        for field in self._dependent:
            if block.has(field.name) and not any(block.has(path) for path in field.needs):
                known = self._known(node.value)
                names = " or ".join(f"`{path}`" for path in field.needs if path.split(".")[0] in known)
                block.record(field.because, f"name {names}, or remove {field.name!r}.", field.name)
        self._check(block)
        block.done()
        value = self._build(block)
        block.done()
        return value

    def _known(self, document: Mapping[str, Any]) -> list[str]:
        """The keys that have a meaning beside the choices of this document."""
        return [
            name
            for name, (group, choice) in self._groups.items()
            if any(field.applies(document.get(choice)) for field in group)
        ]

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, value: T) -> dict[str, Any]:
        """The JSON form of a value; keys that do not apply, or with nothing to say, are left out."""
        document: dict[str, Any] = {}
        given: dict[str, Any] = {}
        parts = self._parts(value)
        for name, (group, choice) in self._groups.items():
            if name in parts:
                part = parts[name]
            else:
                part = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
            if part or isinstance(part, int | float):  # 0 is said; an empty text, list or mapping is not
                given[name] = part
                field = _field(group, given.get(choice)) if choice else group[0]
                if field is not None:
                    document[name] = field.kind.write(part)
        return document

    # -- JSON Schema -----------------------------------------------------------------------------------------

    def schema(self, title: str, about: str, rules: tuple[Schema, ...]) -> Schema:
        """The schema of the mapping."""
        rules = (*self._options(), *(_dependence(field) for field in self._dependent), *rules)
        return {
            "title": title,
            "description": about,
            "type": "object",
            "additionalProperties": False,
            "properties": {name: _property(group, choice) for name, (group, choice) in self._groups.items()},
            "required": [field.name for field in self._always],
        } | ({"allOf": list(rules)} if rules else {})

    def _options(self) -> list[Schema]:
        """What the options of each choice ask of other keys."""
        rules: list[Schema] = []
        for options, by in self._choices.items():
            default = self._groups[by][0][0].default
            for option in options:
                then = _then(option, [group for group, choice in self._groups.values() if choice == by])
                chosen: Schema = {"properties": {by: {"const": option.value}}, "required": [by]}
                if option is default:
                    chosen = {"properties": {by: {"enum": [option.value, None]}}}
                if then:
                    rules.append({"if": chosen, "then": then})
        return rules


def _field(group: tuple[Field, ...], option: StrEnum | None) -> Field | None:
    for field in group:
        if field.applies(option):
            return field
    return None


def _take(block: Block, name: str, group: tuple[Field, ...], choice: str) -> None:
    """Read one key, its default, or note what is wrong."""
    option = block.values.get(choice) if choice else None
    field = _field(group, option) if choice else group[0]
    raw = block.node.value.get(name)
    if raw is not None:
        block.read(name, (field or group[0]).kind)
        if field is None and raw is not False:
            block.record(*_misplaced(name, group, choice, option), name)
    elif field is not None and field.needed and field.is_needed(option):
        why = f"the {choice} {option} needs it: " if choice else ""
        about = field.about[0].lower() + field.about[1:]
        block.record(f"{name!r} is missing", f"{why}add `{field.line}`: {about}")
    else:
        block.values[name] = group[0].default


def _misplaced(name: str, group: tuple[Field, ...], choice: str, option: object) -> tuple[str, str]:
    options = [str(option) for field in group for option in field.only]
    return (
        f"{name!r} belongs to the {choice} {' or '.join(options)}, this one is {option}",
        f"write `{choice}: {options[0]}`, or remove {name!r}.",
    )


def _property(group: tuple[Field, ...], choice: str) -> Schema:
    first = group[0]
    kinds = [field.kind.schema for field in group]
    schema: Schema = {**kinds[0]} if len(kinds) == 1 else {"anyOf": kinds}
    if not (first.needed is True and not choice):
        schema = _or_null(schema)
    only = ", ".join(option for field in group for option in field.only)
    about = f"{first.about} Only for the {choice} {only}." if only else first.about
    schema |= {"title": first.name.strip("$").replace("_", " ").capitalize(), "description": about}
    schema |= {"default": first.kind.write(first.default)} if first.default not in (None, "", (), {}) else {}
    return schema | ({} if first.example is None else {"examples": [first.example]})


def _or_null(schema: Schema) -> Schema:
    """A key that says null is left out."""
    return {"anyOf": [schema, {"type": "null"}]}


def _then(option: StrEnum, groups: Iterable[tuple[Field, ...]]) -> Schema:
    properties: Schema = {}
    required: list[str] = []
    for group in groups:
        name, field = group[0].name, _field(group, option)
        if field is None:
            properties[name] = _UNSAID
        elif field.is_needed(option):
            required.append(name)
            properties[name] = field.kind.schema if len(group) > 1 else {"not": {"type": "null"}}
        elif len(group) > 1:
            properties[name] = _or_null(field.kind.schema)
    return {key: part for key, part in (("properties", properties), ("required", required)) if part}


def said(path: str) -> Schema:
    """The schema of a mapping in which something is said under a dotted path of keys."""
    head, _, rest = path.partition(".")
    inner = said(rest) if rest else {"not": {"enum": [None, False, 0]}}
    return {"type": "object", "required": [head], "properties": {head: inner}}


def _dependence(field: Field) -> Schema:
    return {"if": said(field.name), "then": {"anyOf": [said(path) for path in field.needs]}}


def shorthand(name: str, text: Kind[str], full: Kind[dict[str, Any]]) -> Kind[Any]:
    """A record for which the text of one of its fields is short."""

    def read(node: Node) -> dict[str, Any]:
        return {name: text.read(node)} if isinstance(node.value, str) else full.read(node)

    def write(value: Any) -> Any:
        return value if isinstance(value, str) else full.write(value)

    return Kind(read, {"anyOf": [text.schema, full.schema]}, write)
