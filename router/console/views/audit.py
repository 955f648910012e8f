"""The audit log: who changed what, the documents before and after, and whether its chain is whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from switchpoint.experiment.errors import NotFound
from switchpoint.experiment.language.document import Document, to_body
from switchpoint.experiment.registry.audit import AuditEntry, Head, check_chain
from switchpoint.experiment.registry.diff import changed, flatten
from switchpoint.experiment.registry.records import Records, check
from switchpoint.router.console.access import Role
from switchpoint.router.console.operation import Call, Field, Form, Object, Operation, of_form
from switchpoint.router.console.project import Project

ENTRIES = 200
"""Entries of one page."""
SEARCHED = 20_000
"""Entries that one search reads, about a second's work; the next one goes on where it ended."""
_BLOCK = 500

_SOUGHT = ("actor", "action", "subject")
FIELDS = (
    *(Field(name, Form.TEXT, f"Entries whose {name} has these letters, in any case.") for name in _SOUGHT),
    Field("after", Form.WHOLE, "Entries after this number."),
    Field("before", Form.WHOLE, "Entries before this number; left out: up to the newest."),
)
_CHECK = Field("check", Form.FLAG, "Check the whole log, too.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was found from the newest entry on, in order of their numbers.

    Entries `first` to `last` were read; `broken` is the first of them that is altered or out of place, None
    where they hang together, and with the entry before them.
    """

    entries: tuple[AuditEntry, ...]
    head: Head
    first: int
    last: int
    broken: int | None


def search(records: Records, given: Mapping[str, Any]) -> Search:
    """The newest entries that have the letters sought, at most ENTRIES of them. Raises StoreUnavailable."""
    head = records.head()
    after, last = given.get("after", 0), min(given.get("before", head.seq + 1) - 1, head.seq)
    sought = {name: given[name].casefold() for name in _SOUGHT if name in given}
    read, entries = list[AuditEntry](), list[AuditEntry]()
    for entry in islice(_backwards(records, last, after), SEARCHED):
        read.append(entry)
        if all(letters in getattr(entry, name).casefold() for name, letters in sought.items()):
            entries.append(entry)
        if len(entries) == ENTRIES:
            break
    first = last - len(read) + 1
    before = next(records.audit(first - 2), None) if first > 1 else None
    known = Head(before.seq, before.hash) if before else Head()
    return Search(
        entries=tuple(entries[::-1]),
        head=head,
        first=first,
        last=last,
        broken=check_chain(read[::-1], known) if read else None,
    )


def shown(records: Records, number: int) -> Object:
    """One entry with each document before and after it, and the values that differ.

    Raises:
        NotFound: there is no such entry.
    """
    entry = next(records.audit(number - 1), None) if number > 0 else None
    if entry is None:
        raise NotFound("no such entry", field="entry", value=number, fix="see /audit")
    before = _before(records, entry)
    changes = []
    for after in entry.changes:
        old = before.get((after.kind, after.key))
        values = changed({} if old is None else flatten(old.body), flatten(after.body))
        changes.append({
            "kind": after.kind,
            "key": after.key,
            "version": after.version,
            "before": None if old is None else old.body,
            "after": after.body,
            "differences": [{"path": path, "before": was, "after": now} for path, was, now in values],
        })  # fmt: skip
    return {"entry": {**to_body(entry), "changes": changes}}


def page(project: Project, _path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
    """The entries that are sought, the newest first; the whole log is checked where that is asked for."""
    records = project.records
    given = of_form((*FIELDS, _CHECK), query)
    return {
        "asked": {name: str(value) for name, value in given.items() if name != _CHECK.name},
        "found": search(records, given),
        "findings": check(records) if given.get(_CHECK.name) else None,
    }


def entry_page(project: Project, path: Mapping[str, str], _query: Mapping[str, str]) -> dict[str, Any]:
    """One entry, what it changed."""
    return shown(project.records, _number(path["number"]))


def _backwards(records: Records, last: int, after: int) -> Iterator[AuditEntry]:
    """The entries from `last` down to the one behind `after`, read in blocks."""
    while last > after:
        start = max(last - _BLOCK, after)
        yield from reversed(list(islice(records.audit(start), last - start)))
        last = start


def _before(records: Records, entry: AuditEntry) -> dict[tuple[str, str], Document]:
    """The documents of an entry as they were before it."""
    sought = {(one.kind, one.key) for one in entry.changes if one.version > 1}
    found: dict[tuple[str, str], Document] = {}
    for earlier in _backwards(records, entry.seq - 1, 0):
        if sought <= found.keys():
            break
        for one in earlier.changes:
            if (one.kind, one.key) in sought:
                found.setdefault((one.kind, one.key), one)
    return found


def _listed(call: Call) -> Object:
    found = search(call.project.records, call.given)
    return {
        "head": to_body(found.head),
        "entries": [to_body(entry) for entry in found.entries],
        "checked": {"first": found.first, "last": found.last, "broken": found.broken},
    }


def _checked(call: Call) -> Object:
    records = call.project.records
    return {"head": to_body(records.head()), "findings": check(records)}


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= 12 else 0


OPERATIONS = (
    Operation(
        name="audit",
        method="GET",
        path="/audit",
        role=Role.VIEWER,
        says="The newest entries of the audit log that are sought, and whether the chain holds there.",
        run=_listed,
        fields=FIELDS,
    ),
    Operation(
        name="audit_entry",
        method="GET",
        path="/audit/entries/{number}",
        role=Role.VIEWER,
        says="One entry with the documents before and after it, and what differs.",
        run=lambda call: shown(call.project.records, _number(call.path["number"])),
    ),
    Operation(
        name="audit_check",
        method="GET",
        path="/audit/check",
        role=Role.VIEWER,
        says="Check the whole chain, and every document against it; no finding is proof.",
        run=_checked,
    ),
)
