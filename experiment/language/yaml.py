"""A strict reader of YAML 1.2 (core schema) into plain values with the line of every one of them.

Narrower than YAML on purpose: one document, no anchors, aliases or tags (so no expansion bombs), no
duplicate keys, bounded size, depth and number of values. `NO` and `2024-01-01` are strings; numbers with a
point are `Decimal`, so that 0.3333 stays 0.3333.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from switchpoint.experiment.errors import DefinitionError, Lines, Path, dotted

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 50_000
MAX_DIGITS = 40

_INTEGER = re.compile(r"[-+]?[0-9]+")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def decode(raw: bytes, file: str) -> str:
    """UTF-8 text of a file; a byte order mark is dropped. Raises DefinitionError naming the broken line."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DefinitionError(
            f"byte {error.start} (0x{raw[error.start]:02x}) is not UTF-8",
            fix="save the file as UTF-8.",
            file=file,
            line=line,
        ) from None


def read(text: str, file: str) -> tuple[Any, Lines]:
    """The document's value and, for each path in it, the 1-based line where it stands.

    Raises DefinitionError (with file and line) for anything outside the accepted language.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise DefinitionError(f"larger than {MAX_BYTES} bytes", fix="one experiment per file.", file=file)
    try:
        return _Builder(YAML(typ="safe", pure=True).parse(text), file).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise DefinitionError(
            f"not YAML: {problem}", fix="see the line named.", file=file, line=line
        ) from None
    except YAMLError as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DefinitionError(f"not YAML: {first}", fix="save it as plain UTF-8 text.", file=file) from None


class _Builder:
    """Builds values from parser events, so that limits stop the reading before anything grows."""

    def __init__(self, events: Iterator[Any], file: str) -> None:
        self._events = events
        self._file = file
        self._lines: Lines = {}
        self._values = 0

    def document(self) -> tuple[Any, Lines]:
        value: Any = None
        documents = 0
        for event in self._events:
            name = type(event).__name__
            if name == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    raise self._error(event, "a second document in the file", "one document per file.")
            elif name not in {"StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"}:
                value = self._value(event, ())
        return value, self._lines

    def _error(self, event: Any, message: str, fix: str, path: Path = ()) -> DefinitionError:
        line = event.start_mark.line + 1
        return DefinitionError(message, field=dotted(path), fix=fix, file=self._file, line=line)

    def _value(self, event: Any, path: Path) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES} values", "split the file.")
        if len(path) > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH}", "flatten it.")
        name = type(event).__name__
        if name == "AliasEvent" or event.anchor is not None:
            raise self._error(event, "anchors and aliases are not accepted", "write the value out.", path)
        if event.tag is not None and event.tag != "!":
            raise self._error(event, f"the tag {event.tag} is not accepted", "remove the tag.", path)
        self._lines.setdefault(path, event.start_mark.line + 1)
        if name == "MappingStartEvent":
            return self._mapping(path)
        if name == "SequenceStartEvent":
            return self._sequence(path)
        return self._scalar(event, path)

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in self._events:
            name = type(event).__name__
            if name == "MappingEndEvent":
                break
            if name != "ScalarEvent" or event.anchor is not None or event.tag is not None:
                raise self._error(event, "a key must be plain text", "use a simple key.", path)
            key = str(event.value)
            child = (*path, key)
            if key in found:
                first = self._lines[child]
                raise self._error(
                    event, f"the key {key!r} stands twice (first on line {first})", "keep one.", child
                )
            self._lines[child] = event.start_mark.line + 1
            found[key] = self._value(next(self._events), child)
        return found

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        for event in self._events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            found.append(self._value(event, (*path, len(found))))
        return found

    def _text(self, event: Any, path: Path) -> str:
        r"""The scalar's text; escaped pairs such as "\ud83d\ude00" (JSON writes them) become one sign."""
        text = str(event.value)
        if not any("\ud800" <= sign <= "\udfff" for sign in text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self._error(event, "half of a surrogate pair", "write the sign itself.", path) from None

    def _scalar(self, event: Any, path: Path) -> Any:
        text = self._text(event, path)
        if event.style is not None or event.tag == "!":
            return text
        if text in _WORDS:
            return _WORDS[text]
        number = _INTEGER.fullmatch(text) or _RADIX.fullmatch(text) or _FLOAT.fullmatch(text)
        if number is None:
            return text
        if len(text) > MAX_DIGITS:
            raise self._error(event, "a number with too many digits", f"at most {MAX_DIGITS}.", path)
        if _INTEGER.fullmatch(text):
            return int(text)
        return int(text, 0) if _RADIX.fullmatch(text) else Decimal(text)
