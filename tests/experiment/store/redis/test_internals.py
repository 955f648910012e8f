"""docs/internals.md and docs/redis.md against the scripts and the keys: what is sent is what is written there."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
import redis

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.ledger.protocol import DeadLetter
from switchpoint.experiment.registry.audit import Note
from switchpoint.experiment.registry.records import Kind, Put
from switchpoint.experiment.store import redis as package
from switchpoint.experiment.store.redis.keys import ProjectKeys, ShardKeys
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from tests.experiment.store.ledgers import ONE, START, exposure, outcome

DOCS = Path(__file__).resolve().parents[4] / "docs"
TEXTS_OF_FILES = {
    "_RECORD": "`ledger_record.lua`",
    "_REFOLD": "`ledger_refold.lua`",
    "_SCRIPT": "`records.lua`",
}
BEGINNINGS = {"SAME_STORE", "_SHARED"}
BUCKETS = 4
SETTINGS = 5


def scripts() -> dict[str, str]:
    """Every script of the package, by the name that the page has for it."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(package.__path__):
        names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        found |= {
            TEXTS_OF_FILES.get(name, f"`{name}` in `{module.name}.py`"): text
            for name, text in names.items()
            if isinstance(text, str) and "redis.call(" in text and name not in BEGINNINGS
        }
    return found


def described() -> dict[str, tuple[str, str]]:
    """The table of the page: how many KEYS and ARGV a script has."""
    page = (DOCS / "internals.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \| ([\dA-Z+ ]+) \| ([\dA-Z+ ]+) \|", page, flags=re.MULTILINE)
    return {name: (keys, arguments) for name, keys, arguments in rows}


def count(formula: str, of: dict[str, int]) -> int:
    """`2 + P + 2N`, of these."""
    terms = [re.fullmatch(r"(\d*)([A-Z]?)", term) for term in formula.split(" + ")]
    return sum(int(term[1] or 1) * (of[term[2]] if term[2] else 1) for term in terms if term)


@pytest.fixture
def sent(ledger_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What is sent to the server from now on: the KEYS and ARGV of each script's last call."""
    calls: dict[str, list[Any]] = {}
    names = {sha1(text.encode(), usedforsecurity=False).hexdigest(): name for name, text in scripts().items()}
    execute: Callable[..., object] = ledger_client.execute_command

    def spy(*command: Any, **options: Any) -> object:
        if command[0] in {"EVAL", "EVALSHA"}:
            _, script, keys, *rest = command
            digest = (
                sha1(script.encode(), usedforsecurity=False).hexdigest() if command[0] == "EVAL" else script
            )
            calls[names[digest]] = [rest[:keys], rest[keys:]]
        return execute(*command, **options)

    monkeypatch.setattr(ledger_client, "execute_command", spy)
    return calls


def send_each(client: redis.Redis) -> dict[str, dict[str, int]]:
    """Send every script once; what its letters stand for, where its arguments do not say so."""
    RedisRecords(client, "default").commit(
        [Put(kind=Kind.MODEL, key=key, body={}, expected_version=0) for key in "ab"],
        Note(at=START, actor="ana", action="test", subject="s", reason="r"),
    )
    ledger = RedisLedger(client, unit_buckets=8, id_buckets=BUCKETS)
    ledger.record([outcome("o", "u", START + 1), exposure("x", "u", START + 2)], ONE)
    ledger.record([exposure("y", "u", START), exposure("y", "v", START)], ONE)  # of u too late to be settled
    assert ledger.refold(ONE) == 1
    letters = [DeadLetter(raw="{}", reason="r", cause=cause) for cause in ("id", "id", "at")]
    ledger.refuse(letters, token="t", uncounted={"type": 7})
    ledger.record([exposure("z", "w", START + 8 * DAY_MS)], ONE)
    assert ledger.sweep() == 1
    # as a version of before could leave it: a newest day that the store's clock has not reached
    today = int(client.time()[0]) * 1000
    ledger.record([exposure("x", "n", today)], ONE)
    client.hset(ShardKeys("default", 0).facts(), "newest", today // DAY_MS + 30)
    ledger.forget()
    ledger.record([outcome("late", "n", today)], ONE)
    assert ledger.repair_clock(ONE) == 1
    return {
        "`records.lua`": {"C": 2},
        "`_CREATE` in `ledger.py`": {"F": SETTINGS},
        "`_REFUSE` in `log.py`": {"R": 3, "L": 3},
        "`_SWEEP` in `days.py`": {"B": BUCKETS},
        "`_TAKE_BACK` in `days.py`": {},
        "`_SETTLE` in `days.py`": {},
    }


def test_the_page_has_every_script_with_its_keys_and_arguments(
    ledger_client: redis.Redis, sent: dict[str, list[Any]]
) -> None:
    known, table = send_each(ledger_client), described()
    assert set(table) == set(scripts()) == set(sent)
    for name, (keys, arguments) in sent.items():
        if name in known:
            letters = known[name]
        elif arguments[0].startswith("{"):
            letters = {k: v for k, v in json.loads(arguments[0]).items() if k in "PUN"}
        else:
            letters = {"V": len(arguments) - 2}
        assert (len(keys), len(arguments)) == tuple(count(formula, letters) for formula in table[name]), name


def test_every_key_is_of_a_kind_that_is_described(ledger_client: redis.Redis) -> None:
    """redis.md has a line for every key of keys.py, and nothing else is there when all scripts have run."""
    send_each(ledger_client)
    lines = re.findall(
        r"^\| `(\w+):\{P(?::S)?\}", (DOCS / "redis.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    built = set()
    for keys in (ProjectKeys("p"), ShardKeys("p", 0)):
        for name, method in vars(type(keys)).items():
            if not name.startswith("_"):
                arguments = [1] * (method.__code__.co_argcount - 1)
                built.add(method(keys, *arguments).partition(":")[0])
    assert set(lines) == built
    assert {key.decode().partition(":")[0] for key in ledger_client.scan_iter()} <= built
