"""Everything Switchpoint raises on purpose, as one tree.

SwitchpointError
├── BadInput             the caller can fix it: names the field, the value and the fix
│   ├── DefinitionError  an experiment or source definition (with file and line)
│   ├── EventError       one event of a batch
│   ├── LifecycleError   a transition the experiment's status does not allow
│   ├── NotFound         an unknown experiment, model or version
│   └── Refused          the rule says no (a promotion without a matching verdict)
├── Conflict             somebody else changed the record first: read again and retry
│   └── Superseded       what a decision rests on is no longer in force: look again and decide anew
└── PlatformError        not the caller's fault
    ├── StoreUnavailable Redis cannot be reached
    │   └── AccessDenied it answers, and refuses this client
    ├── StoreReverted    the store is not the one its data directory knows
    ├── SpoolFull        no durable place is left for an event
    └── Corrupt          stored bytes are not what their digest or the log says
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from decimal import Decimal


class SwitchpointError(Exception):
    """Base of every error raised on purpose. `code` is stable and machine readable."""

    code = "error"


class BadInput(SwitchpointError):
    """The caller gave something that cannot be used.

    `field` is a dotted path (`segments[1].traffic`), `value` what was found there, `fix` one sentence.
    """

    code = "bad_input"

    def __init__(self, message: str, *, field: str = "", value: object = None, fix: str = "") -> None:
        self.message, self.field, self.value, self.fix = message, field, value, fix
        where = f"{field}: " if field else ""
        said = f"{message.rstrip(' .')}. Fix: {fix}" if fix else message
        super().__init__(f"{where}{said}")


class DefinitionError(BadInput):
    """A definition file is wrong; `file` and `line` (1-based, 0 = unknown) say where."""

    code = "bad_definition"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        value: object = None,
        fix: str = "",
        file: str = "",
        line: int = 0,
    ) -> None:
        self.file, self.line = file, line
        super().__init__(message, field=field, value=value, fix=fix)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else (f"{self.file}: " if self.file else "")
        return place + super().__str__()


class EventError(BadInput):
    """One event of a batch cannot be accepted; the rest of the batch goes on."""

    code = "bad_event"


class LifecycleError(BadInput):
    """The experiment's status or its frozen parts do not allow this change."""

    code = "bad_transition"


class NotFound(BadInput):
    """No such experiment, model, version or segment."""

    code = "not_found"


class Refused(BadInput):
    """The rule says no; the caller may override with a reason where that is offered."""

    code = "refused"


class Conflict(SwitchpointError):
    """The record changed between reading and writing it."""

    code = "conflict"


class Superseded(Conflict):
    """The models, the definition or the champion that a decision is about are not those in force."""


class PlatformError(SwitchpointError):
    """The platform failed; the input was fine."""

    code = "platform"


class StoreUnavailable(PlatformError):
    """Redis cannot be reached or refused a write."""

    code = "store_unavailable"


class AccessDenied(StoreUnavailable):
    """The store answers, and refuses this client: its password or a permission is missing or wrong."""

    code = "access_denied"


class StoreReverted(PlatformError):
    """The store came back empty, older or with another history; nothing is read from it or written to it."""

    code = "store_reverted"


class SpoolFull(PlatformError):
    """The durable queue has no room left, so nothing may be acknowledged."""

    code = "spool_full"


class Corrupt(PlatformError):
    """Stored bytes contradict their digest or the log."""

    code = "corrupt"


_SHOWN_CHARACTERS = 120


def shown(value: object) -> str | None:
    """A value as it may be shown: short, printable."""
    if value is None:
        return None
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


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
