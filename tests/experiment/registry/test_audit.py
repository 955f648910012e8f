"""The audit chain breaks at exactly the entry somebody touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.errors import Corrupt
from switchpoint.experiment.language.document import Document
from switchpoint.experiment.registry.audit import (
    GENESIS,
    AuditEntry,
    Head,
    Note,
    chain,
    check_chain,
    decode_entry,
    encode_entry,
    written_documents,
)


def entries(count: int) -> list[AuditEntry]:
    made: list[AuditEntry] = []
    head = Head()
    for number in range(1, count + 1):
        note = Note(at=number * 1000, actor="ana", action="apply", subject=f"e{number}")
        document = Document(kind="experiment", key="e", body={"n": number}, version=number)
        entry = chain(head, note, [document])
        made.append(entry)
        head = Head(entry.seq, entry.hash)
    return made


def test_an_untouched_chain_is_whole() -> None:
    assert check_chain([]) is None
    assert check_chain(entries(5)) is None


def test_the_hash_can_be_recomputed_with_sha256_and_json_alone() -> None:
    """The outside check: no code of ours, only the documented form of a line."""
    raw = json.loads(encode_entry(entries(1)[0]))
    stated = raw.pop("hash")
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == stated
    assert raw["prev"] == GENESIS == "0" * 64


_FORGERIES = {
    "at": 1,
    "actor": "mallory",
    "action": "promote",
    "subject": "other",
    "reason": "none",
    "seq": 99,
    "prev": "f" * 64,
    "hash": "f" * 64,
    "changes": (),
}


@given(index=st.integers(0, 4), field=st.sampled_from(sorted(_FORGERIES)))
def test_changing_any_field_of_any_entry_breaks_the_chain_there(index: int, field: str) -> None:
    log = entries(5)
    forged: dict[str, Any] = {field: _FORGERIES[field]}
    log[index] = replace(log[index], **forged)
    assert check_chain(log) == index + 1


@given(index=st.integers(0, 3))
def test_removing_repeating_or_swapping_entries_breaks_the_chain_there(index: int) -> None:
    log = entries(5)
    removed = log[:index] + log[index + 1 :]
    repeated = log[: index + 1] + log[index:]
    swapped = [*log[:index], log[index + 1], log[index], *log[index + 2 :]]
    assert check_chain(removed) == check_chain(swapped) == index + 1
    assert check_chain(repeated) == index + 2


def test_a_chain_can_be_checked_from_a_trusted_head() -> None:
    log = entries(4)
    assert check_chain(log[2:], Head(2, log[1].hash)) is None
    assert check_chain(log[2:], Head(2, "0" * 64)) == 3


@given(
    reason=st.text(),
    body=st.dictionaries(
        st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    ),
)
def test_an_entry_is_read_back_as_it_was_written(reason: str, body: dict[str, Any]) -> None:
    note = Note(at=1, actor="ana", action="a", subject="s", reason=reason)
    entry = chain(Head(), note, [Document(kind="model", key="m@1", body=body, version=1)])
    assert decode_entry(encode_entry(entry)) == entry
    assert encode_entry(entry).isascii()
    assert "\n" not in encode_entry(entry)


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"seq": 1}', "[" * 100_000, b"\xff"])
def test_what_is_not_an_entry_is_corrupt(text: str | bytes) -> None:
    with pytest.raises(Corrupt, match="not an audit entry"):
        decode_entry(text)


def test_the_documents_are_the_last_ones_written() -> None:
    [document] = written_documents(entries(3)).values()
    assert (document.body, document.version) == ({"n": 3}, 3)
