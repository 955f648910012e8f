"""A value of a document with where it stands, and all errors of one file under their path and line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from switchpoint.experiment.errors import DefinitionError, Lines, Path, dotted

T = TypeVar("T")


class DefinitionErrors(DefinitionError):
    """Everything wrong with one file, in the order of its lines; the attributes are those of the first."""

    def __init__(self, errors: Iterable[DefinitionError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: error.line))
        first = self.errors[0]
        super().__init__(
            first.message,
            field=first.field,
            value=first.value,
            fix=first.fix,
            file=first.file,
            line=first.line,
        )

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Recorded(Exception):
    """Unwinds a block whose errors are already in `Problems`."""


@dataclass(slots=True)
class Problems:
    """The errors of one file so far, and the lines of its values."""

    file: str
    lines: Lines
    errors: list[DefinitionError] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of the value at `path`, or of the nearest block around it; 0 without a file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document; a reader is a function `Node -> T` that raises DefinitionError or Recorded."""

    value: Any
    path: Path
    problems: Problems

    def child(self, part: str | int) -> Node:
        """The node of a key or item of this value (which must have it)."""
        return Node(self.value[part], (*self.path, part), self.problems)

    def error(self, message: str, fix: str, *below: str | int) -> DefinitionError:
        """An error at this node, or at a path below it."""
        path = (*self.path, *below)
        return DefinitionError(
            message,
            field=dotted(path),
            value=self.value,
            fix=fix,
            file=self.problems.file,
            line=self.problems.line(path),
        )

    def fail(self, message: str, fix: str) -> NoReturn:
        """Raise an error at this node."""
        raise self.error(message, fix)

    def record(self, message: str, fix: str, *below: str | int) -> None:
        """Note an error and go on."""
        self.problems.errors.append(self.error(message, fix, *below))

    def each(self, parts: Iterable[str | int], read: Callable[[Node], T]) -> Iterator[T]:
        """The children, read; all of them are tried before Recorded stops the block."""
        failed = False
        for part in parts:
            try:
                yield read(self.child(part))
            except DefinitionError as error:
                self.problems.errors.append(error)
                failed = True
            except Recorded:
                failed = True
        if failed:
            raise Recorded


def read_document(value: Any, lines: Lines, file: str, read: Callable[[Node], T]) -> T:
    """The value of a whole document. Raises DefinitionErrors with everything that is wrong."""
    problems = Problems(file=file, lines=lines)
    try:
        result = read(Node(value, (), problems))
    except Recorded:
        raise DefinitionErrors(problems.errors) from None
    except DefinitionError as error:
        raise DefinitionErrors([*problems.errors, error]) from None
    if problems.errors:
        raise DefinitionErrors(problems.errors)
    return result


def unique(node: Node, keys: Iterable[str], noun: str) -> None:
    """Record every key that stands in the list before."""
    seen: set[str] = set()
    for index, key in enumerate(keys):
        if key in seen:
            node.record(f"a second {noun} {key!r}", "rename or remove it.", index)
        seen.add(key)
