r"""Patterns of conditions: JavaScript's regular expressions, as every browser evaluates them, in linear time.

A pattern means what `new RegExp(pattern).test(text)` says (with `i` where case is folded), because the SDKs
of the web evaluate the same rules. It is parsed here and given to RE2 as classes of UTF-16 code units, so
that neither `\d`, `\w`, `\s`, `.`, `$` nor case depend on the engine or on Python's tables. RE2 has no
backtracking: an attribute cannot stall a worker. What RE2 cannot do (back-references, look-around) and what
dialects read differently (octal escapes, a lone brace, an empty class) is refused with the cure.
"""

from __future__ import annotations

import re
import string
from bisect import bisect
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

MAX_PATTERN = 500
"""Longest pattern, in characters."""
MAX_TEXT = 4_096
"""Longest text that is searched, in characters; a longer one does not match."""
MAX_REPEAT = 1_000
"""Largest count of a repetition."""
MAX_DEPTH = 20
"""Most groups within one another."""
MAX_SIZE = 1_000
"""Largest number of character tests of a pattern with its repetitions written out."""

Units = tuple[tuple[int, int], ...]
"""A set of UTF-16 code units: ascending, disjoint, inclusive ranges."""

_LAST = 0xFFFF
_SURROGATES = (0xD800, 0xDFFF)
_SHIFT = 0x10_0000
"""Where surrogates stand for RE2, which reads no halves of characters; texts have nothing else there."""


class PatternError(ValueError):
    """A pattern is refused: `str()` says why and at which character, `fix` what to write instead."""

    def __init__(self, message: str, fix: str) -> None:
        self.fix = fix
        super().__init__(message)


@lru_cache(maxsize=512)
def compile_pattern(pattern: str, *, fold: bool = False) -> Callable[[str], bool]:
    """Whether a text has a match, without regard to case if `fold`.

    Raises:
        PatternError: broken, refused, or too large.
    """
    if len(pattern) > MAX_PATTERN:
        raise PatternError("longer than a pattern may be", f"use at most {MAX_PATTERN} characters")
    import re2  # most projects have no pattern

    options = re2.Options()
    options.log_errors, options.never_capture = False, True
    try:
        search = re2.compile(_Parser(pattern, fold=fold).translation().encode(), options).search
    except re2.error as error:
        raise PatternError(f"too large: {error}", "repeat less") from None
    return lambda text: len(text) <= MAX_TEXT and search(_as_units(text)) is not None


_BEYOND = re.compile("[\ud800-\udfff\U00010000-\U0010ffff]")


def _as_units(text: str) -> bytes:
    return (text if text.isascii() else _BEYOND.sub(_halves, text)).encode()


def _halves(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(
        chr(_SHIFT + int.from_bytes(units[begin : begin + 2])) for begin in range(0, len(units), 2)
    )


def _union(ranges: Iterable[tuple[int, int]]) -> Units:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _complement(units: Units) -> Units:
    bounds = [-1, *(bound for pair in units for bound in pair), _LAST + 1]
    gaps = zip(bounds[::2], bounds[1::2], strict=True)
    return tuple((before + 1, after - 1) for before, after in gaps if before + 1 < after)


def _of(*signs: str) -> Units:
    """`a-z` as a range, one sign as itself."""
    return _union((ord(sign[0]), ord(sign[-1])) for sign in signs)


_DIGITS = _of("0-9")
_WORD = _of("0-9", "A-Z", "a-z", "_")
_SPACE = _of(
    "\t-\r", " ", "\xa0", "\u1680", "\u2000-\u200a", "\u2028-\u2029", "\u202f", "\u205f", "\u3000", "\ufeff"
)
_ANY = _complement(_of("\n", "\r", "\u2028-\u2029"))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CLASSES |= {name.upper(): _complement(units) for name, units in _CLASSES.items()}
_CONTROLS = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_SYNTAX = frozenset("^$\\.*+?()[]{}|/-")


@cache
def _cases(last: int) -> dict[int, list[int]]:
    """The units up to `last` that differ from a unit in case only, as JavaScript folds without the flag `u`:
    by their capital where that is one unit, and never from beyond ASCII into it."""
    members: dict[int, list[int]] = {}
    for unit in range(last + 1):
        capital = chr(unit).upper()
        one = len(capital) == 1 and ord(capital) <= _LAST and (unit < 128 or ord(capital) >= 128)
        members.setdefault(ord(capital) if one else unit, []).append(unit)
    return {unit: same for same in members.values() if len(same) > 1 for unit in same}


def _folded(units: Units) -> Units:
    """With every unit that differs from one of these in case only."""
    cases = _cases(127 if units and units[-1][1] < 128 else _LAST)
    begins = [first for first, _ in units]
    inside = (unit for unit in cases if (at := bisect(begins, unit)) and unit <= units[at - 1][1])
    return _union([*units, *((other, other) for unit in inside for other in cases[unit])])


def _emit(units: Units) -> str:
    """The set as a class of RE2.

    A capital beside its small letter is written as two alternatives: as a class RE2 takes them for one letter
    without regard to case, which beside another such letter gets the cases of Unicode too (the Kelvin sign).
    """
    if len(units) == 2 and all(first == last and chr(first).isascii() for first, last in units):
        one, other = chr(units[0][0]), chr(units[1][0])
        if one.isalpha() and one.lower() == other:
            return f"(?:{one}|{other})"
    low, high = _SURROGATES
    parts = []
    for first, last in units:
        for begin, end, shift in ((0, low - 1, 0), (low, high, _SHIFT), (high + 1, _LAST, 0)):
            if first <= end and begin <= last:
                parts.append(f"\\x{{{max(first, begin) + shift:x}}}-\\x{{{min(last, end) + shift:x}}}")
    return f"[{''.join(parts)}]"


class _Parser:
    """Reads one pattern from left to right; every rule gives RE2's text and the size of what it read."""

    def __init__(self, pattern: str, *, fold: bool) -> None:
        self._pattern, self._fold = pattern, fold
        self._at = self._depth = 0
        self._between_characters = False

    def translation(self) -> str:
        """The whole pattern for RE2. Raises PatternError."""
        text, size = self._alternatives()
        if self._at < len(self._pattern):
            raise self._refusal("a group ends that never began", "write \\)")
        if size > MAX_SIZE:
            raise PatternError(f"{size} character tests with its repetitions written out", "repeat less")
        # RE2 looks for a begin at every byte; \B would hold inside a character
        return f"\\A(?s:.*?)(?:{text})" if self._between_characters else text

    def _refusal(self, message: str, fix: str) -> PatternError:
        return PatternError(f"{message}, at character {self._at + 1}", fix)

    def _next(self) -> str:
        """The next character, taken; empty at the end."""
        sign = self._pattern[self._at : self._at + 1]
        self._at += len(sign)
        return sign

    def _take(self, text: str) -> bool:
        taken = self._pattern.startswith(text, self._at)
        self._at += len(text) if taken else 0
        return taken

    def _alternatives(self) -> tuple[str, int]:
        text, size = self._sequence()
        while self._take("|"):
            other, more = self._sequence()
            text, size = f"{text}|{other}", size + more + 1
        return text, size

    def _sequence(self) -> tuple[str, int]:
        texts, size = [], 0
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            text, more = self._term()
            texts.append(text)
            size += more
        return "".join(texts), size

    def _term(self) -> tuple[str, int]:
        for sign, meaning in (("^", "\\A"), ("$", "\\z"), ("\\b", "\\b"), ("\\B", "\\B")):
            if self._take(sign):
                self._between_characters |= sign == "\\B"
                if self._repetition() is not None:
                    raise self._refusal(f"{sign} cannot be repeated", "leave the repetition out")
                return meaning, 1
        text, size = self._atom()
        counts = self._repetition()
        if counts is None:
            return text, size
        least, most = counts
        shown = f"{{{least},{'' if most is None else most}}}"
        return f"(?:{text}){shown}", size * max(1, least + 1 if most is None else most) + 1

    def _repetition(self) -> tuple[int, int | None] | None:
        """The bounds of a repetition, none at the end for no bound; None where there is no repetition."""
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        counted = re.compile(r"\{([0-9]+)(,?)([0-9]*)\}").match(self._pattern, self._at)
        if counted is not None:
            least, most = int(counted[1]), int(counted[3]) if counted[3] else None
            bounds = least, most if counted[2] else least
            if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
                raise self._refusal("counts of a repetition", f"use 0 to {MAX_REPEAT}, the smaller first")
            self._at = counted.end()
        elif (sign := self._pattern[self._at : self._at + 1]) and sign in simple:
            bounds = simple[sign]
            self._at += 1
        else:
            return None
        self._take("?")  # whether there is a match does not depend on greed
        if self._pattern[self._at : self._at + 1] in {"*", "+", "?", "{"}:
            raise self._refusal("a repetition of a repetition", "put the inner one in a group: (?:a*)*")
        return bounds

    def _atom(self) -> tuple[str, int]:
        sign = self._next()
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._set(self._class())
        if sign == ".":
            return self._set(_ANY, fold=False)
        if sign == "\\":
            return self._set(self._escape())
        if sign in "*+?{":
            self._at -= 1
            raise self._refusal(f"{sign} has nothing to repeat", f"write \\{sign} for the character")
        return self._character(sign)

    def _character(self, sign: str) -> tuple[str, int]:
        units = sign.encode("utf-16-be", "surrogatepass")
        if len(units) == 2:
            return self._set(((int.from_bytes(units), int.from_bytes(units)),))
        if self._pattern[self._at : self._at + 1] in {"*", "+", "?", "{"}:
            raise self._refusal(
                f"{sign} is two code units in JavaScript, of which the repetition takes one",
                f"put it in a group: (?:{sign})",
            )
        halves = [int.from_bytes(half) for half in (units[:2], units[2:])]
        return "".join(_emit(((half, half),)) for half in halves), 2

    def _set(self, units: Units, *, fold: bool = True) -> tuple[str, int]:
        return _emit(_folded(units) if fold and self._fold else units), 1

    def _group(self) -> tuple[str, int]:
        if self._take("?") and not self._take(":"):
            raise self._refusal(
                "look-around, named groups and flags in groups are not part of patterns",
                "group with (...) or (?:...), fold case with $regexi",
            )
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refusal("groups within groups", f"nest at most {MAX_DEPTH}")
        text, size = self._alternatives()
        if not self._take(")"):
            raise self._refusal("a group does not end", "write the missing )")
        self._depth -= 1
        return f"(?:{text})", size + 1

    def _escape(self) -> Units:
        """After a backslash: a class or one unit."""
        sign = self._next()
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in _CONTROLS:
            return _of(_CONTROLS[sign])
        if sign in _SYNTAX:
            return _of(sign)
        digits = {"x": 2, "u": 4}.get(sign, 0)
        code = self._pattern[self._at : self._at + digits]
        if digits and len(code) == digits and set(code) <= set(string.hexdigits):
            self._at += digits
            return ((int(code, 16), int(code, 16)),)
        raise self._refusal(
            f"\\{sign} is not part of patterns",
            "use \\d \\w \\s \\b \\t \\n \\v \\f \\r \\xHH \\uHHHH, or a backslash before ^$\\.*+?()[]{}|/-",
        )

    def _class(self) -> Units:
        """After `[`: its members, up to and with `]`."""
        negated = self._take("^")
        members: list[tuple[int, int]] = []
        begin = self._at
        while not self._take("]"):
            first = self._member()
            if self._pattern.startswith("-", self._at) and not self._pattern.startswith("-]", self._at):
                self._at += 1
                last = self._member()
                if len(first) > 1 or len(last) > 1 or first[0][0] != first[0][1] or last[0][0] < first[0][0]:
                    raise self._refusal("a range in a class", "write the smaller character first, as in a-z")
                first = ((first[0][0], last[0][1]),)
            members += first
        if self._at == begin + 1:
            raise self._refusal("an empty class", "write \\[ for the character")
        units = _union(members)
        if not negated:
            return units
        return _complement(_folded(units) if self._fold else units)

    def _member(self) -> Units:
        sign = self._next()
        if sign == "":
            raise self._refusal("a class does not end", "write the missing ]")
        if sign == "[":
            raise self._refusal("[ inside a class", "write \\[")
        if sign == "\\":
            return _of("\b") if self._take("b") else self._escape()
        if ord(sign) > _LAST:
            raise self._refusal(f"{sign} is two code units in a class", f"write it outside: (?:[...]|{sign})")
        return ((ord(sign), ord(sign)),)
