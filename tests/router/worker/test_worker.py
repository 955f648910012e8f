"""The worker over a real store: the board says what `report` says, and nothing is judged without a cause."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from switchpoint.analysis.report.page import page_of, summary_of
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import PlatformError
from switchpoint.experiment.language.document import canonical, to_body
from switchpoint.experiment.registry.promotion import Promotion
from switchpoint.experiment.store.board import Board
from switchpoint.experiment.store.redis.keys import ShardKeys
from switchpoint.router.judging import Case, Look, decide, look
from tests.router.worker.shop import START, Shop
from tests.router.worker.shop import shop as opened

FIRST, SECOND = "2024-10-04", "2024-10-05"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each experiment was judged."""
    counted: Counter[str] = Counter()
    real = Case.look

    def counting(case: Case, **options: Any) -> Look:
        counted[case.state.key] += 1
        return real(case, **options)

    monkeypatch.setattr(Case, "look", counting)
    return counted


def expected(shop: Shop, key: str, at: int) -> dict[str, Any]:
    return look(shop.catalog, shop.ledger, key, at=at).report.to_dict()


def test_the_board_says_what_a_report_of_the_same_instant_says(shop: Shop) -> None:
    shop.open("home", "cart")
    shop.open("later", start=False)
    shop.expose("home", 40)
    shop.now += 3 * DAY_MS
    shop.expose("home", 30)
    shop.expose("cart")
    assert shop.worker().step() is False
    for key in ("home", "cart"):
        found = look(shop.catalog, shop.ledger, key, at=shop.now).report
        assert shop.body("report", key) == found.to_dict()
        assert shop.body("page", key) == json.loads(canonical(to_body(page_of(found))))
        assert shop.at("report", key) == shop.at("page", key) == shop.at("summary", key) == shop.now
        summary = shop.body("summary", key)
        assert summary["state"]["status"] == "running"
        assert summary["state"]["owner"] == "ana"
        assert (summary["problem"], summary["summary"]) == (None, to_body(summary_of(found)))
    draft = shop.body("summary", "later")
    assert (draft["state"]["status"], draft["summary"], draft["problem"]) == ("draft", None, None)
    assert shop.board.get("report", "later") is None
    beat = shop.body("worker", "heartbeat")
    assert (beat["experiments"], beat["judged"], beat["unjudged"], beat["problems"]) == (3, 3, [], [])
    assert shop.at("worker", "heartbeat") == shop.now


def test_a_changed_experiment_is_judged_again_and_an_unchanged_one_is_not(
    shop: Shop, looks: Counter[str]
) -> None:
    shop.open("home", "cart")
    worker = shop.worker()
    worker.step()
    assert looks == {"home": 1, "cart": 1}
    changed = shop.board.changed()
    for _ in range(3):
        shop.now += 1000
        worker.step()
    assert looks == {"home": 1, "cart": 1}
    assert shop.board.changed() == changed
    shop.catalog.ramp("cart", {"all": 5000}, at=shop.now, actor="ana")
    for _ in range(3):
        worker.step()
    assert looks == {"home": 1, "cart": 2}
    assert shop.body("summary", "cart")["state"]["traffic"] == {"all": 0.5}
    shop.catalog.pause("home", at=shop.now, actor="ana")
    worker.step()
    assert looks == {"home": 2, "cart": 2}
    shop.expose("cart")  # what arrived is said in every report of the project
    for _ in range(2):
        worker.step()
    assert looks == {"home": 3, "cart": 3}
    for key in ("home", "cart"):
        assert shop.body("report", key) == expected(shop, key, shop.now)


def test_what_has_not_moved_is_said_to_hold_within_the_minute(shop: Shop, looks: Counter[str]) -> None:
    shop.open("home")
    worker = shop.worker()
    worker.step()
    for _ in range(90):
        shop.now += 1000
        worker.step()
        assert shop.now - shop.at("report", "home") < 60_000
    assert looks == {"home": 1}


def test_running_experiments_take_turns_while_events_arrive(shop: Shop, looks: Counter[str]) -> None:
    keys = [f"e{number}" for number in range(60)]
    shop.open(*keys)
    worker = shop.worker()
    worker.step()
    assert looks == Counter(keys)
    shop.expose("e7")
    for number in range(1, 31):
        worker.step()
        assert looks.total() == 60 + 2 * number  # a share of 60 in 40 rounds
    assert set(looks.values()) == {2}
    worker.step()
    assert looks.total() == 120


def test_what_a_round_asks_of_the_store_grows_with_what_there_is_to_judge_only(shop: Shop) -> None:
    asked = []
    for keys in ([f"a{n}" for n in range(20)], [f"b{n}" for n in range(40)]):
        shop.open(*keys)
        worker, before = shop.worker(), shop.calls()
        worker.step()
        first = shop.calls() - before
        before = shop.calls()
        worker.step()
        idle = shop.calls() - before
        shop.catalog.ramp(keys[0], {"all": 5000}, at=shop.now, actor="ana")
        before = shop.calls()
        worker.step()
        asked.append((first.total(), idle, (shop.calls() - before).total()))
    (few, idle, one), (many, idle_of_many, one_of_many) = asked
    assert few < 20 * 5 + 40
    assert many < 60 * 5 + 40
    assert idle == idle_of_many
    assert idle.total() <= 8
    assert one_of_many <= one + 10  # two of sixty have a turn, where one of twenty had


def test_a_day_that_ended_is_kept_once_and_a_stopped_experiment_matures(
    shop: Shop, looks: Counter[str]
) -> None:
    shop.open("home")
    shop.expose("home", 20)
    worker = shop.worker()
    worker.step()
    assert shop.board.reports("home") == []
    shop.now += DAY_MS + 1000
    worker.step()
    [kept] = shop.board.reports("home")
    assert (kept.kind, kept.name, kept.at) == ("day", FIRST, shop.now)
    html, document = shop.board.report(kept.digest)
    assert document == expected(shop, "home", shop.now)
    assert html == look(shop.catalog, shop.ledger, "home", at=shop.now).report.to_html()
    shop.now += 60_000
    shop.expose("home")
    worker.step()
    shop.worker().step()  # another process finds it there
    assert shop.board.reports("home") == [kept]
    shop.catalog.stop("home", at=shop.now, actor="ana")
    for _ in range(9):  # until the last day's window of a week has closed
        worker.step()
        assert shop.body("report", "home") == expected(shop, "home", shop.now)
        shop.now += DAY_MS
    assert [name for _, _, name, _ in shop.board.reports("home")] == [FIRST, SECOND]
    looks.clear()
    shop.open("other")
    shop.expose("other")
    for _ in range(3):
        worker.step()
        shop.now += DAY_MS
    assert looks["home"] == 0


def test_a_decision_is_kept_with_its_report(shop: Shop) -> None:
    shop.open("home")
    shop.expose("home", 20)
    worker = shop.worker()
    worker.step()
    decided = []
    for _ in range(2):
        shop.now += 1000
        found = look(shop.catalog, shop.ledger, "home", at=shop.now)
        decide(shop.catalog, shop.ledger, found, at=shop.now, actor="ana")
        decided.append(found.report)
    shop.now += 5000
    worker.step()
    kept = shop.board.reports("home")
    assert [(address.kind, address.name) for address in kept] == [("decision", "1"), ("decision", "2")]
    for address, report in zip(kept, decided, strict=True):
        assert shop.board.report(address.digest) == (report.to_html(), report.to_dict())
    worker.step()
    shop.worker().step()
    assert shop.board.reports("home") == kept


def test_models_with_their_champions_and_since_when(shop: Shop) -> None:
    shop.open("home")
    shop.now += 1000
    request = Promotion(variant="treatment", at=shop.now, actor="ana", override="for the test")
    shop.catalog.promote("home", request)
    shop.worker().step()
    [ranker] = shop.body("models", "all")
    assert ranker["name"] == "ranker"
    assert [(v["version"], v["state"]) for v in ranker["versions"]] == [(1, "registered"), (2, "registered")]
    assert ranker["serving"] == [{"segment": "all", "version": 2, "since": START + 1000}]
    assert [change["move"] for change in ranker["history"]] == ["start", "promote"]


def test_one_bad_experiment_is_said_and_the_others_are_judged(shop: Shop) -> None:
    shop.open("home", "cart")
    shop.expose("home")
    shop.expose("cart")
    worker = shop.worker()
    worker.step()
    cells = ShardKeys("default", 0).cells(1)
    [field, *_] = shop.client.hkeys(cells)
    sound = shop.client.hget(cells, field)
    shop.client.hset(cells, field, b"damaged")
    shop.now += 1000
    shop.expose("cart")
    for _ in range(3):
        worker.step()
    damaged = shop.body("summary", "home")
    assert damaged["summary"] is None
    assert damaged["problem"]
    assert shop.body("worker", "heartbeat")["unjudged"] == ["home"]
    assert shop.at("report", "home") < shop.now  # the last one there was
    assert shop.body("report", "cart") == expected(shop, "cart", shop.now)
    shop.client.hset(cells, field, sound or b"")
    for _ in range(3):
        worker.step()
    assert shop.body("summary", "home")["problem"] is None
    assert shop.body("report", "home") == expected(shop, "home", shop.now)


def test_units_that_wait_are_refolded(shop: Shop) -> None:
    shop.open("home")
    shop.now += 60_000
    shop.expose("home", 1)
    shop.now -= 30_000
    shop.units -= 1
    plan = shop.catalog.plan()
    late = next(iter(shop.ledger.events()))
    shop.ledger.record([replace(late, id="earlier", at=shop.now)], plan)
    assert shop.ledger.pending() == 1
    shop.now += 60_000
    shop.worker().step()
    assert shop.ledger.pending() == 0
    assert shop.body("report", "home") == expected(shop, "home", shop.now)


def test_a_store_that_is_killed_and_comes_back(shop: Shop) -> None:
    shop.open("home")
    worker = shop.worker()
    worker.step()
    before = shop.board.get("report", "home")
    process = shop.server._process
    assert process is not None
    process.kill()
    process.wait()
    shop.now += 90_000
    worker.step()
    [problem] = shop.body("worker", "heartbeat")["problems"]
    assert "cannot be reached" in problem
    assert shop.at("worker", "heartbeat") == shop.now
    assert shop.board.get("report", "home") == before
    shop.server.relaunch()
    shop.now += 1000
    worker.step()
    assert shop.body("worker", "heartbeat")["problems"] == []
    assert shop.at("report", "home") == shop.now


def test_a_store_that_was_emptied_changes_nothing_on_the_board(shop: Shop) -> None:
    shop.open("home")
    worker = shop.worker()
    worker.step()
    before = shop.board.all("summary")
    shop.client.flushall()
    shop.now += 90_000
    worker.step()
    assert shop.body("worker", "heartbeat")["problems"][0].startswith("the store is empty")
    assert shop.board.all("summary") == before


def test_a_board_without_room_gets_what_was_found_out_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, looks: Counter[str]
) -> None:
    shop.open("home")
    worker = shop.worker()

    def full(*_: object) -> None:
        raise PlatformError("no room on the disk")

    with monkeypatch.context() as patch:
        patch.setattr(Board, "put_many", full)
        with pytest.raises(PlatformError, match="no room"):
            worker.step()
    assert shop.board.all("summary") == []
    worker.step()
    assert looks == {"home": 1}
    assert shop.body("report", "home") == expected(shop, "home", shop.now)


def test_a_board_that_is_damaged_is_filled_anew_in_its_place(shop: Shop) -> None:
    shop.open("home")
    worker = shop.worker()
    worker.step()
    shop.board.close()
    for file in shop.board.path.parent.glob("board*"):
        file.unlink()
    shop.board.path.write_bytes(b"no database" * 1000)
    with pytest.raises(PlatformError, match="Fix: move it away"):
        worker.step()
    shop.board.path.unlink()
    worker.step()
    assert shop.body("report", "home") == expected(shop, "home", shop.now)
    assert shop.body("models", "all")


def test_a_simulated_clock_stands_at_the_newest_time_on_record(shop: Shop) -> None:
    shop.open("home")
    worker = shop.worker(simulated=True)
    shop.now = START + 5 * DAY_MS
    worker.step()
    assert shop.body("report", "home") == expected(shop, "home", START)
    assert shop.at("report", "home") == shop.now  # how old it is, a wall clock says
    shop.now = START + 1000
    shop.expose("home", 10)
    shop.now = START + 9 * DAY_MS
    worker.step()
    newest = max(event.at for event in shop.ledger.events())
    assert newest < START + 2000
    assert shop.body("report", "home") == expected(shop, "home", newest)
    shop.catalog.pause("home", at=START + DAY_MS, actor="ana")
    worker.step()
    assert shop.body("report", "home") == expected(shop, "home", START + DAY_MS)
    assert shop.body("worker", "heartbeat")["clock"] == START + DAY_MS
    assert [name for _, _, name, _ in shop.board.reports("home")] == [FIRST]
