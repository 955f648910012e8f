"""How errors of definitions are worded: where, what was found, and what was perhaps meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from decimal import Decimal

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document."""

Lines = dict[Path, int]
"""The 1-based line of every value of a document."""


def dotted(path: Path) -> str:
    """`("segments", 1, "traffic")` → `segments[1].traffic`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def show(value: object) -> str:
    """A short rendering of a value for messages."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def plainly(name: str) -> str:
    """A name without what careless spellings differ in: case, and white space around and within it."""
    return " ".join(name.split()).casefold()


def suggest(word: str, known: Iterable[str]) -> str:
    """A did-you-mean, or the list of what is known."""
    options = tuple(known)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(options)}."
