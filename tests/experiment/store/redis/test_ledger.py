"""What only the Redis ledger has to prove: atomic steps, bounds, forgetting, faults, and its memory twin."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchpoint.experiment.definition.types import DAY_MS, Covariate, Measure, Metric, MetricType
from switchpoint.experiment.errors import BadInput, Conflict, Corrupt, DefinitionError, StoreUnavailable
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import LedgerPlan, fold, fold_unit
from switchpoint.experiment.ledger.protocol import DeadLetter, settle
from switchpoint.experiment.ledger.verify import verify
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.memory import MemoryLedger
from switchpoint.experiment.store.redis import log
from switchpoint.experiment.store.redis.batch import LAYOUT
from switchpoint.experiment.store.redis.connection import connect
from switchpoint.experiment.store.redis.days import NewestDay
from switchpoint.experiment.store.redis.keys import ShardKeys, bucket_of, shard_of, unit_digest
from switchpoint.experiment.store.redis.ledger import RedisLedger
from tests.experiment.store.conftest import ENGINES
from tests.experiment.store.ledgers import (
    ADJUSTED,
    COVARIATES,
    HOUR,
    ONE,
    START,
    THREE,
    WINDOW,
    a_plan,
    exposure,
    hash_of,
    log_of,
    outcome,
    purchase,
    traffic,
)
from tests.waiting import patient

_numbers = count(1)
KEYS = ShardKeys("default", 0)


@pytest.fixture
def ledger(ledger_client: redis.Redis) -> RedisLedger:
    """An empty ledger of one shard with few buckets."""
    return RedisLedger(ledger_client, unit_buckets=8, id_buckets=4)


def everything(client: redis.Redis) -> dict[bytes, Any]:
    """The whole content of the server."""
    return {
        key: hash_of(client, key.decode()) if client.type(key) == b"hash" else client.dump(key)
        for key in client.scan_iter()
    }


# --- the twin ----------------------------------------------------------------------------------------------

times = st.integers(0, 12).map(lambda half: START + half * WINDOW // 4) | st.integers(
    START, START + 3 * WINDOW
)
units = st.sampled_from(["u1", "u2", "u3"])
events = st.one_of(
    st.builds(
        lambda name, unit, at, variant, key, segment, epoch, served, cause, device, before: exposure(
            f"x{name}", unit, at, variant, key, segment=segment, epoch=epoch, served=served, cause=cause,
            dimensions={"device": device}, covariates=before,
        ),
        st.integers(0, 9), units, times, st.sampled_from(["control", "treatment"]), st.sampled_from(list(THREE.by_key)),
        st.sampled_from(["us", "rest"]), st.sampled_from([1, 1, 2]), st.sampled_from(["control", "treatment"]),
        st.sampled_from([None, "timeout"]), st.sampled_from(["ios", "web", ""]),
        st.dictionaries(
            st.sampled_from(COVARIATES),
            st.floats(-1e9, 1e9) | st.integers(-10**9, 10**9) | st.sampled_from([2**40 / 1000, 0.0005, 2.5]),
        ),
    ),
    st.builds(
        lambda name, unit, at, amount: purchase(f"p{name}", unit, at, amount),
        st.integers(0, 9), units, times, st.floats(-1e10, 1e10) | st.integers(-10**10, 10**10),
    ),
    st.builds(
        lambda name, unit, at, ms: outcome(f"l{name}", unit, at, "prediction", latency_ms=ms),
        st.integers(0, 9), units, times, st.integers(0, 10**6),
    ),
    st.builds(
        lambda name, unit, at, kind: outcome(f"o{name}", unit, at, kind),
        st.integers(0, 9), units, times, st.sampled_from(["click", "impression", "rating"]),
    ),
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=st.lists(events, max_size=40, unique_by=lambda e: (e.unit, e.id, e.at // DAY_MS)),
    again=st.lists(st.integers(0, 39), max_size=10),
    rng=st.randoms(use_true_random=False),
    batch=st.integers(1, 50),
    shards=st.sampled_from([1, 2]),
)
def test_any_order_repeats_and_batches_give_what_memory_gives(
    ledger_client: redis.Redis,
    sent: list[Event],
    again: list[int],
    rng: random.Random,
    batch: int,
    shards: int,
) -> None:
    memory = MemoryLedger()
    memory.record(sent, THREE)
    shuffled = [*sent, *(sent[index] for index in again if index < len(sent))]
    rng.shuffle(shuffled)
    ledger = RedisLedger(
        ledger_client, f"h{next(_numbers)}", shards, unit_buckets=2, id_buckets=2, batch=batch
    )
    for start in range(0, len(shuffled), 7):
        ledger.record(shuffled[start : start + 7], THREE)
        if rng.random() < 0.2:
            ledger.refold(THREE)
    ledger.refold(THREE)
    assert ledger.pending() == 0
    for key in THREE.by_key:
        assert ledger.moments(key, THREE) == memory.moments(key, THREE)
    assert dict(ledger.units(THREE)) == dict(memory.units(THREE))
    assert verify(ledger, THREE) == []


def test_sums_of_large_totals_are_exact_beyond_doubles(ledger: RedisLedger) -> None:
    big = Metric(key="m", type=MetricType.RATIO, numerator=Measure(event="a", value="v"),
                 denominator=Measure(event="b", value="v"), cap=2**40)  # fmt: skip
    plan = LedgerPlan((a_plan("home", 1, metrics=(big,), dimensions=()),))
    rng = random.Random(5)
    sent = []
    for number in range(300):
        unit = f"u{number}"
        sent.append(exposure("x", unit, START))
        for kind in "ab":
            value = rng.choice(
                [2**40, -(2**40), 2**40 - 1, 2**20 + 1, -(2**20), rng.randrange(-(2**40), 2**40)]
            )
            sent.append(outcome(f"{kind}1", unit, START + 1, kind, v=value))
    ledger.record(sent, plan)
    assert {len(found) for found in ledger.moments("home", plan)} == {8}
    assert ledger.moments("home", plan) == fold(sent, plan)
    assert max(cell.metrics[0].xx for cell in ledger.moments("home", plan).values()) > 2**80


def test_sums_of_large_covariates_are_exact_beyond_doubles(ledger: RedisLedger) -> None:
    plan = LedgerPlan((a_plan("home", 1, metrics=ADJUSTED[:3], dimensions=()),))
    rng = random.Random(6)
    edges = [2**40, -(2**40), 2**40 - 1, 2**20 + 1, 12_345_678_901]
    sent = []
    for number in range(300):
        before: dict[str, float] = {name: rng.choice(edges) for name in COVARIATES[:2]}
        before |= {"score": int(rng.choice(edges) / 1000), "past_spend": int(rng.choice(edges) / 100)}
        unit = f"u{number}"
        sent.append(exposure("x", unit, START, covariates=before))
        sent += [outcome(f"c{i}", unit, START + i, rng.choice(["click", "impression"])) for i in range(3)]
        sent += [purchase("p", unit, START + 1, rng.choice([500, -499.99, 3]))]
    for start in range(0, len(sent), 500):
        ledger.record(sent[start : start + 500], plan)
    assert ledger.moments("home", plan) == fold(sent, plan)
    assert max(abs(n) for c in ledger.moments("home", plan).values() for n in c.covariates[0]) > 2**80


def test_the_low_limb_of_every_sum_of_products_stays_below_its_bound(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    """Only then is there room for as many units as docs/redis.md says."""
    mean = Metric(key="m", type=MetricType.MEAN, numerator=Measure(event="a", value="v"), cap=2**40)
    ratio = replace(mean, key="r", type=MetricType.RATIO, denominator=Measure(event="b", value="v"))
    one, two = (Covariate(names=names, decimals=0) for names in (("score",), ("score", "past_clicks")))
    plain = Metric(key="p", type=MetricType.PROPORTION, numerator=Measure(event="a"), cap=1, covariate=one)
    metrics = (
        mean,
        ratio,
        replace(mean, key="n", covariate=one),
        replace(ratio, key="s", covariate=two),
        plain,
    )
    plan = LedgerPlan((a_plan("home", 1, metrics=metrics, dimensions=()),))
    # single numbers and pairs of limbs, in the order of the metrics
    pairs = "hl"
    layout = "nnnnn" + ("n" + pairs) + ("nn" + 3 * pairs) + ("n" + pairs + "n" + 2 * pairs)
    layout += "nn" + 3 * pairs + "nn" + 7 * pairs + "n" + "n" + 2 * pairs
    rng, lows = random.Random(8), []
    for number in range(60):
        known = {name: rng.randrange(2**39, 2**40) for name in ("score", "past_clicks")}
        sent = [exposure("x", f"u{number}", START, covariates=known)]
        sent += [outcome(kind, f"u{number}", START, kind, v=rng.randrange(2**39, 2**40)) for kind in "ab"]
        ledger.record(sent, plan)
        (blob,) = hash_of(ledger_client, KEYS.cells(1)).values()
        cell = struct.unpack(f"<{len(layout)}d", blob)
        lows.append([number for number, place in zip(cell, layout, strict=True) if place == "l"])
    assert len(lows[0]) == 1 + 3 + 1 + 2 + 3 + 7 + 2
    assert all(0 <= low < 2**40 for found in lows for low in found)
    assert verify(ledger, plan) == []


def test_a_record_of_units_without_covariates_is_no_longer_for_those_of_another_experiment(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([exposure("x", "u", START, covariates={"past_spend": 5})], ONE)
    raw = ledger_client.hget(KEYS.units(bucket_of(unit_digest("u"), 8)), "u")
    assert raw is not None
    assert len(raw) == 66
    assert {len(blob) for blob in hash_of(ledger_client, KEYS.cells(1)).values()} == {8 * (5 + 8 + 1 + 3 + 8)}


def test_totals_that_outgrow_four_bytes_widen_the_record(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    sent = [exposure("x", "u", START), *(purchase(f"p{i}", "u", START + i, 9e9) for i in range(5))]
    for event in sent:
        ledger.record([event], ONE)
    assert dict(ledger.units(ONE)) == {"u": fold_unit(sent, ONE)}
    back = [purchase(f"q{i}", "u", START + i, -9e9) for i in range(5)]
    ledger.record(back, ONE)
    raw = ledger_client.hget(KEYS.units(bucket_of(unit_digest("u"), 8)), "u")
    assert raw is not None
    assert len(raw) == 66 + 3, "one type in its latest hour; back in four bytes a total"
    assert verify(ledger, ONE) == []


def test_a_unit_with_more_than_65535_exposures_is_counted(ledger: RedisLedger) -> None:
    many = [exposure(f"x{i}", "u", START + i) for i in range(66_000)]
    RedisLedger(ledger._client, batch=1000).record(many, ONE)
    assert {cell.exposures for cell in ledger.moments("home", ONE).values()} == {66_000}


def record_of(client: redis.Redis, unit: str = "u") -> bytes:
    return hash_of(client, KEYS.units(bucket_of(unit_digest(unit), 8))).get(unit.encode(), b"")


def put_record(client: redis.Redis, raw: bytes, unit: str = "u") -> None:
    client.hset(KEYS.units(bucket_of(unit_digest(unit), 8)), unit, raw)


@pytest.mark.parametrize(
    ("place", "event"),
    [
        ("exposures", exposure("y", "u", START + 1)),
        ("early", outcome("o", "u", START - 1)),
        ("counted", outcome("o", "u", START + 1)),
    ],
)
def test_a_count_of_65536_widens_the_record(
    ledger: RedisLedger, ledger_client: redis.Redis, place: str, event: Event
) -> None:
    """65,535 is the largest that two bytes hold."""
    ledger.record([exposure("x", "u", START)], ONE)
    narrow = record_of(ledger_client)
    at = 15 + 4 + 11 + 2 * ["exposures", "fallbacks", "mismatches", "early", "counted"].index(place)
    for before, size in ((65_534, len(narrow)), (65_535, len(narrow) + 5 * 4 + 6 * 4)):
        put_record(ledger_client, narrow[:at] + struct.pack("<H", before) + narrow[at + 2 :])
        ledger.record([replace(event, id=f"{event.id}{before}")], ONE)
        raw = record_of(ledger_client)
        assert len(raw) == size + 3 * (raw[14] % 128)
        (_, found), *_ = ledger.units(ONE)
        assert found is not None
        assert getattr(found.standings["home"], place) == before + 1


@pytest.mark.parametrize("sign", [1, -1])
def test_totals_of_four_bytes_are_kept_to_the_last_one(
    ledger: RedisLedger, ledger_client: redis.Redis, sign: int
) -> None:
    """±2,147,483,647 fit; one more, or less, takes the wide form and comes back."""
    steps = [2_147_483_647, 1, -1, -2_147_483_647]
    ledger.record([exposure("x", "u", START)], ONE)
    sizes = []
    for number, step in enumerate(steps):
        ledger.record([purchase(f"p{number}", "u", START, sign * step / 100)], ONE)
        sizes.append(len(record_of(ledger_client)))
    assert [size - sizes[0] for size in sizes] == [0, 5 * 4 + 6 * 4, 0, 0]
    assert verify(ledger, ONE) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_a_unit_total_stops_at_its_bound_on_both_sides(ledger: RedisLedger, sign: int) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    ledger.record([purchase(f"p{i}", "u", START + 1, sign * 2**40 / 100) for i in range(1000)], ONE)
    assert totals_of(ledger) == sign * 1000 * 2**40
    for start in range(1000, 8191, 1000):
        ids = range(start, min(start + 1000, 8191))
        ledger.record([purchase(f"p{i}", "u", START + 1, sign * 2**40 / 100) for i in ids], ONE)
    rest = sign * (2**40 - 1) / 100
    assert ledger.record([purchase("q", "u", START + 1, rest)], ONE) == [Status.STORED]
    assert totals_of(ledger) == sign * (2**53 - 1)
    assert ledger.record([purchase("r", "u", START + 1, sign / 100)], ONE) == [Status.REJECTED]
    assert ledger.record([purchase("s", "u", START + 1, -sign / 100)], ONE) == [Status.STORED]


def totals_of(ledger: RedisLedger) -> int:
    (_, found), *_ = ledger.units(ONE)
    assert found is not None
    return found.standings["home"].totals[3]


@pytest.mark.parametrize("more", [1, 8])
def test_a_cell_or_record_that_is_longer_than_it_should_be_is_refused(
    ledger: RedisLedger, ledger_client: redis.Redis, more: int
) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    good = hash_of(ledger_client, KEYS.cells(1))
    raw = record_of(ledger_client)
    for change in (
        lambda: ledger_client.hset(KEYS.cells(1), mapping={f: b + b"\0" * more for f, b in good.items()}),
        lambda: put_record(ledger_client, raw + b"\0" * more),
        lambda: put_record(ledger_client, raw[:17] + bytes([raw[17] + more]) + raw[18:] + b"\0" * more),
    ):
        change()
        before = everything(ledger_client)
        with pytest.raises(Corrupt):
            ledger.record([outcome("o", "u", START)], ONE)
        assert everything(ledger_client) == before
        assert verify(ledger, ONE)
        ledger_client.hset(KEYS.cells(1), mapping={**good})
        put_record(ledger_client, raw)
    assert ledger.record([outcome("o", "u", START)], ONE) == [Status.STORED]


def test_a_process_with_an_older_plan_keeps_the_bytes_of_what_it_does_not_know(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    """Its refold leaves the unit to one that knows, whatever came in between."""
    ledger.record([exposure("x", "u", START, experiment="checkout"), exposure("y", "u", START)], THREE)
    older = RedisLedger(ledger_client)
    entry = record_of(ledger_client)[15:]
    older.record([exposure("z", "u", START + 1, "treatment")], ONE)
    changed = record_of(ledger_client)[15:]
    checkout = next(entry[i:] for i in range(len(entry)) if entry[i : i + 2] == b"\x07\0")
    size = struct.unpack("<H", checkout[2:4])[0]
    assert checkout[:size] in changed
    older.record([purchase("p", "u", START + 2, 7), outcome("early", "u", START - 1)], ONE)
    assert (older.refold(ONE), older.pending()) == (0, 1)
    assert ledger.refold(THREE) == 1
    assert verify(ledger, THREE) == []
    arrived = ledger.arrivals(THREE)
    assert arrived["counted", "checkout", "control"] == arrived["counted", "home", "control"] == 1
    assert arrived["early", "checkout", "control"] == arrived["early", "home", "control"] == 1


def test_a_record_that_ends_too_early_is_refused_by_a_process_that_does_not_know_its_end(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([exposure("x", "u", START, experiment="checkout")], THREE)
    put_record(ledger_client, record_of(ledger_client)[:-1])
    with pytest.raises(Corrupt):
        RedisLedger(ledger_client).record([outcome("o", "u", START)], ONE)


@pytest.mark.parametrize("name", ["variants", "segments", "dimensions"])
def test_a_plan_that_a_byte_cannot_number_is_refused(ledger: RedisLedger, name: str) -> None:
    names: dict[str, Any] = {name: tuple(f"n{i}" for i in range(256))}
    many = replace(ONE.experiments[0], **names)
    with pytest.raises(DefinitionError, match="keep fewer than 256"):
        ledger.record([outcome("o", "u", START)], LedgerPlan((many,)))


# --- one atomic step ---------------------------------------------------------------------------------------


def test_a_total_without_room_is_rejected_and_writes_nothing(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    most = 2**40 / 100
    ledger.record([exposure("x", "u", START)], ONE)
    for start in range(0, 8191, 1000):
        ids = range(start, min(start + 1000, 8191))
        ledger.record([purchase(f"p{i}", "u", START + 1, most) for i in ids], ONE)
    before = everything(ledger_client)
    assert ledger.record([purchase("q", "u", START + 1, most)], ONE) == [Status.REJECTED]
    assert everything(ledger_client) == before
    good = [outcome("c", "u", START + 2), exposure("x", "v", START)]
    statuses = ledger.record([good[0], purchase("q", "u", START + 1, most), good[1]], ONE)
    assert statuses == [Status.STORED, Status.REJECTED, Status.STORED]
    assert verify(ledger, ONE) == []


def test_a_cell_without_room_rejects_the_one_event_that_needs_it(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([exposure("x", "u", START), exposure("x", "v", START, "treatment")], ONE)
    key = KEYS.cells(1)
    cells = hash_of(ledger_client, key)
    field = next(f for f in cells if f.split(b":")[2] == b"0" and f.endswith(b":0:0"))
    blob = bytearray(cells[field])
    blob[40:48] = _double(2**53 - 1)  # x of the first metric
    ledger_client.hset(key, field, bytes(blob))
    before = everything(ledger_client)
    assert ledger.record([outcome("c", "u", START + 1)], ONE) == [Status.REJECTED]
    assert everything(ledger_client) == before
    statuses = ledger.record([outcome("c", "u", START + 1), outcome("c", "v", START + 1)], ONE)
    assert statuses == [Status.REJECTED, Status.STORED]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_cell_sum_stops_at_its_bound_on_both_sides(
    ledger: RedisLedger, ledger_client: redis.Redis, sign: int
) -> None:
    """Two cents of room are left: two fit, a third does not, and one the other way fits again."""
    ledger.record([exposure("x", "u", START)], ONE)
    key, place = KEYS.cells(1), 8 * (5 + 8 + 1)  # x of the third metric
    for field, blob in hash_of(ledger_client, key).items():
        full = blob[:place] + _double(sign * (2**53 - 3)) + blob[place + 8 :]
        ledger_client.hset(key, field, full)
    sent = [purchase(f"p{i}", "u", START + 1, sign * step / 100) for i, step in enumerate((2, 1, -1))]
    statuses = [ledger.record([event], ONE)[0] for event in sent]
    assert statuses == [Status.STORED, Status.REJECTED, Status.STORED]


def test_the_units_of_a_cell_stop_at_their_bound(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    for field, blob in hash_of(ledger_client, KEYS.cells(1)).items():
        ledger_client.hset(KEYS.cells(1), field, _double(2**53 - 2) + blob[8:])
    sent = [exposure("x", unit, START) for unit in "vw"]
    assert [ledger.record([event], ONE)[0] for event in sent] == [Status.STORED, Status.REJECTED]


def _double(number: float) -> bytes:
    return struct.pack("<d", number)


@pytest.mark.parametrize("key", [KEYS.facts(), KEYS.log(), KEYS.dirty(), KEYS.days(), KEYS.cells(1),
                                 KEYS.arrivals(),
                                 *(KEYS.units(b) for b in range(8)), *(KEYS.ids(START // DAY_MS, b) for b in range(4))])  # fmt: skip
def test_a_foreign_key_in_the_way_stops_the_step_before_any_write(
    ledger: RedisLedger, ledger_client: redis.Redis, key: str
) -> None:
    ledger.record([], ONE)
    sent = [exposure(f"x{i}", f"u{i}", START) for i in range(64)] + [exposure("y", "u1", START - 1)]
    ledger._numbers.learn(map(ONE.check, sent), ONE)
    ledger_client.set(key, "foreign")
    before = everything(ledger_client)
    with pytest.raises(Corrupt):
        ledger.record(sent, ONE)
    assert everything(ledger_client) == before
    ledger_client.delete(key)
    assert set(ledger.record(sent, ONE)) == {Status.STORED}


def test_a_broken_record_or_cell_stops_the_step_before_any_write(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    for key in (KEYS.units(bucket_of(unit_digest("u"), 8)), KEYS.cells(1)):
        good = hash_of(ledger_client, key)
        for bad in (b"", b"\xff" * 30):
            ledger_client.hset(key, mapping=dict.fromkeys(good, bad))
            before = everything(ledger_client)
            with pytest.raises(Corrupt):
                ledger.record([outcome("o", "u", START)], ONE)
            assert everything(ledger_client) == before
        ledger_client.hset(key, mapping={**good})
    assert ledger.record([outcome("o", "u", START)], ONE) == [Status.STORED]


def test_a_broken_count_of_arrivals_stops_the_step_before_any_write(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    ledger_client.hset(KEYS.arrivals(), "t:1", "many")
    before = everything(ledger_client)
    with pytest.raises(Corrupt):
        ledger.record([outcome("o", "u", START)], ONE)
    assert everything(ledger_client) == before
    assert any("arrivals cannot be read" in found.problem for found in verify(ledger, ONE))


def test_events_counted_in_another_form_are_refused(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    key = ledger._keys.settings()
    for layout in (1, None):
        ledger_client.hdel(key, "layout")
        if layout is not None:
            ledger_client.hset(key, "layout", layout)
        with pytest.raises(Conflict, match="another form"):
            RedisLedger(ledger_client).moments("home", ONE)


class Bound:
    """A ledger that writes to one store only, and the identity of the store that answers."""

    def __init__(self, client: redis.Redis) -> None:
        self.client, self.meant = client, "A"
        self.ledger = RedisLedger(client, shards=2, unit_buckets=8, id_buckets=4, store=lambda: self.meant)

    def answers(self, identity: str) -> None:
        self.client.set(self.ledger._keys.identity(), identity)

    def record(self, *names: str) -> list[Status]:
        return self.ledger.record([outcome(name, name, START) for name in names], ONE)

    def refused(self, match: str, *, letters: bool = True) -> None:
        """Nothing is written; `letters`: also of events that were refused."""
        before = everything(self.client)
        with pytest.raises(StoreUnavailable, match=match):
            self.record("a", "b", "c", "d")
        if letters:
            with pytest.raises(StoreUnavailable):
                self.ledger.refuse([DeadLetter(raw="{}", reason="r", cause="c")], token="t")
        assert everything(self.client) == before


@pytest.mark.parametrize("cached", [True, False])
def test_nothing_is_written_to_another_store_than_the_one_that_is_meant(
    ledger_client: redis.Redis, cached: bool
) -> None:
    """A failover between two looks, to an empty store and to another project's; whatever is kept of the first."""
    bound = Bound(ledger_client)
    bound.answers("A")
    assert bound.record("a", "b", "c", "d") == [Status.STORED] * 4
    ledger_client.flushall()
    if not cached:
        bound.ledger.forget()
    bound.refused("another store answers")
    bound.answers("B")
    bound.refused("another store answers")
    with pytest.raises(StoreUnavailable, match="another store answers"):  # its number is asked for first
        bound.ledger.record([replace(outcome("x", "x", START), type="unheard-of")], ONE)
    theirs = RedisLedger(ledger_client, shards=2, unit_buckets=8, id_buckets=4, store=lambda: "B")
    assert theirs.record([outcome(name, name, START) for name in "abcd"], ONE) == [Status.STORED] * 4
    bound.answers("A")  # as it would look between the check and the call
    bound.refused("another store answers", letters=False)


def test_a_ledger_of_before_and_one_without_records_belong_to_the_first_store_that_is_meant(
    ledger_client: redis.Redis, ledger: RedisLedger
) -> None:
    assert ledger.record([outcome("a", "a", START)], ONE) == [Status.STORED]
    bound = Bound(ledger_client)
    bound.ledger = RedisLedger(ledger_client, store=lambda: bound.meant)
    bound.meant = ""
    assert bound.record("b") == [Status.STORED]
    assert ledger_client.hget(KEYS.facts(), "store") is None
    bound.meant = "A"
    bound.answers("A")
    assert bound.record("a", "c") == [Status.DUPLICATE, Status.STORED]
    assert ledger_client.hget(KEYS.facts(), "store") == b"A"
    bound.ledger.refuse([DeadLetter(raw="{}", reason="r", cause="c")], token="t")
    assert bound.ledger.refusals() == {"c": 1}
    assert ledger.record([outcome("d", "d", START)], ONE) == [Status.STORED]  # told nothing, it takes any


def test_nothing_is_written_before_a_store_was_seen(ledger_client: redis.Redis) -> None:
    bound = Bound(ledger_client)
    bound.ledger = RedisLedger(ledger_client, store=lambda: None)
    bound.refused("before its records were seen")


def test_a_ledger_beside_which_records_were_restored_goes_on(ledger_client: redis.Redis) -> None:
    bound = Bound(ledger_client)
    bound.answers("A")
    bound.record("a", "b", "c", "d")
    bound.meant = "B"
    bound.answers("B")
    bound.refused("another store answers", letters=False)
    bound.ledger.adopt("B")
    assert bound.record("a", "b", "c", "e") == [Status.DUPLICATE] * 3 + [Status.STORED]
    fresh = ShardKeys("default", 2)
    bound.ledger.adopt("C")
    assert ledger_client.exists(fresh.facts()) == 0


def test_a_ledger_that_is_lost_begins_with_the_settings_of_before(ledger_client: redis.Redis) -> None:
    """In the form of this version, whichever wrote it before."""
    assert RedisLedger(ledger_client).settings() == {}
    RedisLedger(ledger_client).begin({})
    assert RedisLedger(ledger_client).settings() == {}
    RedisLedger(ledger_client).begin({"shards": 3, "dedupe_days": 9, "layout": 1})
    ledger = RedisLedger(ledger_client)
    assert ledger.record([outcome("o", "u", START)], ONE) == [Status.STORED]
    settings = ledger.settings()
    assert (settings["shards"], settings["dedupe_days"], settings["layout"]) == (3, 9, LAYOUT)


def test_a_full_memory_refuses_before_any_write(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    limit = str(ledger_client.config_get("maxmemory")["maxmemory"])
    before = everything(ledger_client)
    ledger_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="raise maxmemory"):
            ledger.record([outcome("o", "u", START)], ONE)
        assert len(ledger.moments("home", ONE)) == 3
    finally:
        ledger_client.config_set("maxmemory", limit)
    assert everything(ledger_client) == before
    assert ledger.record([outcome("o", "u", START)], ONE) == [Status.STORED]


def test_what_waits_is_refolded_by_a_full_server_and_waits_in_one_that_takes_no_writes(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    """Reports and proofs need no room; where they cannot settle they say how many units wait."""
    ledger.record([outcome("o", "u", START + 1), outcome("p", "v", START + 1)], ONE)
    ledger.record([exposure("x", "u", START), exposure("y", "v", START)], ONE)
    limit = str(ledger_client.config_get("maxmemory")["maxmemory"])
    try:
        ledger_client.config_set("min-replicas-to-write", 1)
        fresh = RedisLedger(ledger_client)
        assert settle(fresh, ONE) == 2
        assert verify(fresh, ONE)[0].problem.startswith(
            "2 pending units cannot be refolded: Redis refused: too few"
        )
        ledger_client.config_set("min-replicas-to-write", 0)
        ledger_client.config_set("maxmemory", 1)
        assert settle(RedisLedger(ledger_client), ONE) == 0
        assert verify(RedisLedger(ledger_client), ONE) == []
    finally:
        ledger_client.config_set("min-replicas-to-write", 0)
        ledger_client.config_set("maxmemory", limit)


def test_one_batch_is_one_log_entry_and_large_calls_are_split(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([outcome(f"o{i}", "u", START + i) for i in range(450)], ONE)
    assert ledger_client.xlen(KEYS.log()) == 3
    ledger.record([outcome(f"o{i}", "u", START + i) for i in range(450)], ONE)
    assert ledger_client.xlen(KEYS.log()) == 3


def test_scripts_forgotten_by_the_server_are_sent_again(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([exposure("x", "u", START)], ONE)
    ledger_client.script_flush()
    assert ledger.record([outcome("o", "u", START)], ONE) == [Status.STORED]


# --- refold ------------------------------------------------------------------------------------------------


def test_a_unit_that_gets_events_during_the_refold_waits_for_the_next(
    ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record([exposure("x", "u", START + 5), outcome("o", "u", START + 6)], ONE)
    ledger.record([exposure("y", "u", START)], ONE)
    from switchpoint.experiment.store.redis import refold as redis_refold

    def fold_slowly(events: list[Event], plan: LedgerPlan, types: Collection[str]) -> Any:
        record = fold_unit(events, plan, types)
        ledger.record([outcome("meanwhile", "u", START + 7)], ONE)
        return record

    with monkeypatch.context() as patch:
        patch.setattr(redis_refold, "fold_unit", fold_slowly)
        assert ledger.refold(ONE) == 0
    assert ledger.pending() == 1
    assert ledger.refold(ONE) == 1
    assert verify(ledger, ONE) == []


def test_a_refold_reads_the_log_from_the_first_event_of_its_units_on(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([outcome("old", "other", START)], ONE)
    ledger.record([exposure("x", "u", START + 5)], ONE)
    # as if the other unit's entry were hours old: it lies before everything the dirty unit needs
    (first, fields), *rest = log_of(ledger_client, KEYS.log())
    ledger_client.delete(KEYS.log())
    ledger_client.xadd(KEYS.log(), {b"e": b'"unit":"u" not to be read'}, id="1-1")
    for entry, content in rest:
        ledger_client.xadd(KEYS.log(), {**content}, id=entry)
    ledger.record([exposure("y", "u", START)], ONE)
    assert ledger.refold(ONE) == 1
    with pytest.raises(Corrupt, match="log entry 1-1"):
        list(ledger.events())
    assert first
    assert fields


def test_a_refold_takes_no_exposure_away_that_the_log_has_lost(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    ledger.record([exposure("x", "u", START + 5)], ONE)
    ledger.record([exposure("y", "u", START)], ONE)
    for entry, fields in log_of(ledger_client, KEYS.log()):
        ledger_client.xdel(KEYS.log(), entry)
        changed = fields[b"e"].replace(b'"home"', b'"gone"')
        assert changed != fields[b"e"]
        ledger_client.xadd(KEYS.log(), {b"e": changed})
    before = everything(ledger_client)
    with pytest.raises(Corrupt, match="no exposure of a unit to experiment 1 in the log"):
        ledger.refold(ONE)
    assert everything(ledger_client) == before
    assert verify(ledger, ONE)


def test_a_refold_adds_an_exposure_that_the_log_has_and_the_record_has_not(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    events = [
        exposure("x", "u", START + 5, experiment="checkout"), exposure("y", "u", START, experiment="checkout"),
        outcome("o", "u", START + 1), outcome("early", "u", START - 1),
    ]  # fmt: skip
    for event in events:
        ledger.record([event], THREE)
    ((_, _), (entry, fields), *_) = log_of(ledger_client, KEYS.log())
    ledger_client.xdel(KEYS.log(), entry)
    ledger_client.xadd(KEYS.log(), {b"e": fields[b"e"].replace(b'"checkout"', b'"home"')})
    events[1] = exposure("y", "u", START)
    assert ledger.refold(THREE) == 1
    assert ledger.moments("home", THREE) == fold(events[1:], ONE, {})
    assert verify(ledger, THREE) == []
    arrived = ledger.arrivals(THREE)
    assert (arrived["early", "home", "control"], arrived["counted", "home", "control"]) == (1, 1)


def test_refolding_twice_changes_nothing(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    for start in range(0, 400, 40):
        ledger.record(traffic(8, 100)[::-1][start : start + 40], ONE)
    assert ledger.refold(ONE) > 0
    before = everything(ledger_client)
    assert ledger.refold(ONE) == 0
    assert everything(ledger_client) == before


# --- shards, days, settings --------------------------------------------------------------------------------


def test_every_key_of_a_unit_lies_in_its_shard(ledger_client: redis.Redis) -> None:
    ledger = RedisLedger(ledger_client, "shop", shards=4)
    ledger.record([exposure("x", "u", START), outcome("o", "u", START)], ONE)
    tag = f"{{shop:{shard_of(unit_digest('u'), 4)}}}"
    shard_keys = [
        key.decode() for key in ledger_client.scan_iter() if b":" in key.partition(b"}")[0].partition(b"{")[2]
    ]
    assert shard_keys
    assert all(tag in key for key in shard_keys)


def test_another_number_of_shards_is_refused_and_none_adopts_the_projects(ledger_client: redis.Redis) -> None:
    RedisLedger(ledger_client, shards=3).record([exposure("x", "u", START)], ONE)
    with pytest.raises(Conflict, match="created with 3 shards, not 2"):
        RedisLedger(ledger_client, shards=2).record([outcome("o", "u", START)], ONE)
    adopted = RedisLedger(ledger_client, unit_buckets=5)
    assert adopted.record([exposure("x", "u", START)], ONE) == [Status.DUPLICATE]


def test_reading_creates_nothing(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    assert verify(ledger, ONE) == []
    assert (ledger.late(), ledger.sweep(), ledger_client.dbsize()) == (0, 0, 0)


def test_projects_do_not_see_each_other(ledger_client: redis.Redis) -> None:
    one, other = RedisLedger(ledger_client, "one"), RedisLedger(ledger_client, "other")
    one.record([exposure("x", "u", START)], ONE)
    assert other.record([exposure("x", "u", START)], ONE) == [Status.STORED]
    assert [cell.n for cell in one.moments("home", ONE).values()] == [1, 1, 1]


@pytest.mark.parametrize("name", ["", "A", "a b", "{x}", "a:b", "x" * 64, "ü"])
def test_project_names_that_could_leave_their_keys_are_refused(ledger_client: redis.Redis, name: str) -> None:
    with pytest.raises(BadInput):
        RedisLedger(ledger_client, name)


@pytest.mark.parametrize("unit", ["{other:1}", "a}b{c", "*", "\u202e", "漢字", "a b", "'\"\\"])
def test_any_unit_name_stays_in_its_place(ledger: RedisLedger, unit: str) -> None:
    sent = [exposure("x", unit, START), outcome("}:{", unit, START)]
    assert set(ledger.record(sent, ONE)) == {Status.STORED}
    assert list(ledger.events()) == sent
    assert verify(ledger, ONE) == []


def test_a_sweep_forgets_ids_that_only_late_events_could_hit(
    ledger: RedisLedger, ledger_client: redis.Redis
) -> None:
    old, day = exposure("x", "u", START), START // DAY_MS
    ledger.record([old], ONE)
    ledger.record([exposure("y", "v", START + 7 * DAY_MS)], ONE)
    assert ledger.sweep() == 0
    ledger.record([exposure("z", "w", START + 8 * DAY_MS)], ONE)
    assert ledger.sweep() == 1
    assert not ledger_client.exists(*(KEYS.ids(day, bucket) for bucket in range(4)))
    assert ledger.sweep() == 0
    assert ledger.record([old], ONE) == [Status.LATE]


def test_a_newest_day_ahead_of_the_stores_clock_stays_in_its_shard_and_sweeps_nothing_of_today(
    ledger_client: redis.Redis,
) -> None:
    """Versions of before let one wrong clock set it: what they left behind spreads no further."""
    shards, today = 2, int(ledger_client.time()[0]) * 1000
    ledger = RedisLedger(ledger_client, shards=shards, unit_buckets=8, id_buckets=4)
    units = [f"u{i}" for i in range(20)]
    ledger.record([exposure("x", unit, today) for unit in units], ONE)
    ledger_client.hset(KEYS.facts(), "newest", today // DAY_MS + 30)
    for attempt in ("y", "z"):  # the second call knows what the shard of the first one answered
        found = ledger.record([exposure(attempt, unit, today, "control") for unit in units], ONE)
        of_shard = [shard_of(unit_digest(unit), shards) for unit in units]
        assert found == [Status.LATE if shard == 0 else Status.STORED for shard in of_shard]
    assert ledger.sweep() == 0
    assert ledger_client.smembers(KEYS.days()) == {str(today // DAY_MS).encode()}


def poison(client: redis.Redis, ledger: RedisLedger, shard: int, *, days: int) -> None:
    """What an event of a gateway `days` ahead left behind, in a version of before, and the sweep after it."""
    keys, newest = ShardKeys("default", shard), int(client.time()[0]) * 1000 // DAY_MS + days
    client.hset(keys.facts(), "newest", newest)
    client.sadd(keys.days(), newest)
    for day in map(int, client.smembers(keys.days())):
        if day < newest - 7:
            sets = [keys.history_days(), keys.swept_days(), keys.days()]
            ledger._days_of(shard, ledger._open())._sweep(
                keys=[*sets, *(keys.ids(day, bucket) for bucket in range(4))], args=[day]
            )


@pytest.mark.parametrize("shards", [1, 2])
def test_a_newest_day_ahead_is_taken_back_and_what_was_late_for_it_counts_once(
    ledger_client: redis.Redis, shards: int
) -> None:
    ledger = RedisLedger(ledger_client, shards=shards, unit_buckets=8, id_buckets=4)
    today = int(ledger_client.time()[0]) * 1000
    units = [f"u{i}" for i in range(12)]
    before = [exposure("x", unit, today - 3 * DAY_MS) for unit in units]
    during = [outcome("o", unit, today - 2 * DAY_MS) for unit in units]
    old = [outcome("w", unit, today - 9 * DAY_MS) for unit in units]  # was late by right
    ledger.record([*before, exposure("y", "v", today - DAY_MS), exposure("y", "w", today - DAY_MS)], ONE)
    for shard in range(shards):
        poison(ledger_client, ledger, shard, days=30)
    assert set(ledger.record([*during, *old], ONE)) == {Status.LATE}
    assert ledger.late() == len(during) + len(old)
    found = ledger.clocks()
    assert {(shard.newest - shard.right) for shard in found} == {31}
    assert sum(shard.late for shard in found) == len(during)
    assert ledger.days_ahead() == 31

    assert ledger.repair_clock(ONE) == len(during)
    assert (ledger.late(), ledger.days_ahead(), ledger.pending()) == (len(old), 0, 0)
    assert ledger.clocks() == [replace(shard, newest=shard.right, late=0) for shard in found]
    assert ledger.repair_clock(ONE) == 0
    assert ledger.late() == len(old)
    assert set(ledger.record([*before, *during], ONE)) == {Status.DUPLICATE}
    assert ledger.record([exposure("z", "n", today - 12 * DAY_MS)], ONE) == [Status.LATE]
    memory = MemoryLedger()
    memory.record([*before, exposure("y", "v", today - DAY_MS), exposure("y", "w", today - DAY_MS)], ONE)
    memory.record(during, ONE)
    assert ledger.moments("home", ONE) == memory.moments("home", ONE)
    assert verify(ledger, ONE) == []


def test_a_repair_that_was_cut_off_is_finished_by_the_next(
    ledger: RedisLedger, ledger_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = int(ledger_client.time()[0]) * 1000
    ledger.record([exposure("x", "u", today)], ONE)
    poison(ledger_client, ledger, 0, days=30)
    for number in range(3):
        ledger.record([outcome(f"o{number}", "u", today)], ONE)
    settle, settled = NewestDay.settle, count()

    def cut_off(self: NewestDay, entry: str, events: int) -> None:
        if next(settled) == 1:
            raise StoreUnavailable("gone")
        settle(self, entry, events)

    monkeypatch.setattr(NewestDay, "settle", cut_off)
    with pytest.raises(StoreUnavailable):
        ledger.repair_clock(ONE)
    assert ledger.late() == 2
    assert ledger.repair_clock(ONE) == 2
    assert (ledger.late(), ledger.repair_clock(ONE)) == (0, 0)
    assert verify(ledger, ONE) == []


def test_of_two_repairs_at_once_one_gives_up(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    """Neither the newest day nor the count of late events is changed by what another has done meanwhile."""
    today = int(ledger_client.time()[0]) * 1000
    ledger.record([exposure("x", "u", today)], ONE)
    poison(ledger_client, ledger, 0, days=30)
    ledger.record([outcome("o", "u", today)], ONE)
    (one,), (two,) = ledger._newest_days(), ledger._newest_days()
    ((entry, events),), ((same, _),) = one.wrongly_late(), two.wrongly_late()
    assert (entry, len(events)) == (same, 1)
    one.settle(entry, 1)
    with pytest.raises(Conflict, match="somebody else mends"):
        two.settle(entry, 1)
    assert ledger.late() == 0
    days = one.days()
    ledger_client.hset(KEYS.facts(), "newest", days[0] + 1)
    two.days = lambda: days  # type: ignore[method-assign]
    with pytest.raises(Conflict, match="moves its newest day"):
        two.take_back()
    assert int(ledger_client.hget(KEYS.facts(), "newest") or 0) == days[0] + 1


def test_a_sound_ledger_has_nothing_to_repair(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    assert (ledger.days_ahead(), ledger.repair_clock(ONE)) == (0, 0)
    ledger.record([exposure("x", "u", START)], ONE)
    ledger.record([exposure("y", "u", START - 9 * DAY_MS)], ONE)
    kept = everything(ledger_client)
    assert (ledger.days_ahead(), ledger.repair_clock(ONE), ledger.late()) == (0, 0, 1)
    assert everything(ledger_client) == kept


def test_an_import_counts_nothing_again_whether_ids_were_swept_or_not(ledger: RedisLedger) -> None:
    live = [exposure("x", "u", START), outcome("o", "u", START)]
    ledger.record(live, ONE)
    ledger.record([exposure("z", "w", START + 30 * DAY_MS)], ONE)
    assert ledger.sweep() == 1
    statuses = ledger.record([*live, exposure("new", "v", START)], ONE, history=True)
    assert statuses == [Status.DUPLICATE, Status.DUPLICATE, Status.STORED]
    assert ledger.sweep() == 0, "the ids of imported days are kept"
    assert set(ledger.record([*live, exposure("new", "v", START)], ONE, history=True)) == {Status.DUPLICATE}
    assert verify(ledger, ONE) == []


# --- faults ------------------------------------------------------------------------------------------------


def test_text_replies_and_impossible_batches_are_refused(ledger_client: redis.Redis) -> None:
    with pytest.raises(BadInput):
        RedisLedger(ledger_client, batch=1001)
    with redis.Redis(decode_responses=True) as texts, pytest.raises(BadInput):
        RedisLedger(texts)


def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    with connect(f"unix://{tmp_path}/nobody.sock") as client:
        ledger = RedisLedger(client)
        for call in (
            lambda: ledger.record([exposure("x", "u", START)], ONE), lambda: ledger.moments("home", ONE),
            ledger.pending, ledger.late, ledger.position, ledger.sweep, lambda: ledger.refold(ONE),
            lambda: list(ledger.events()), lambda: list(ledger.units(ONE)), ledger.refusals,
            lambda: ledger.refuse([], token="t"),
        ):  # fmt: skip
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                call()


def test_a_frozen_store_says_that_a_resend_is_needed(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server, connect(server.url, timeout=0.2) as client:
        ledger = RedisLedger(client)
        ledger.record([exposure("x", "u", START)], ONE)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                ledger.record([outcome("o", "u", START)], ONE)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert ledger.record([outcome("o", "u", START)], ONE)[0] in (Status.STORED, Status.DUPLICATE)
        assert verify(ledger, ONE) == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_killing_the_server_loses_no_acknowledged_batch(tmp_path: Path, engine: str) -> None:
    rng = random.Random(1)
    sent = sorted(traffic(11, 400), key=lambda event: event.at)
    with EmbeddedServer.start(tmp_path, binary=ENGINES[engine]) as server, patient(server.url) as client:
        ledger = RedisLedger(client, unit_buckets=8, id_buckets=4)
        batches = [sent[start : start + 20] for start in range(0, len(sent), 20)]
        for number, batch in enumerate(batches):
            if number % 8 == 3:
                killer = threading.Timer(rng.random() * 0.003, os.kill, (server.pid, signal.SIGKILL))
                killer.start()
                _send(ledger, batch, killer.join, server.relaunch)
            else:
                ledger.record(batch, ONE)
        assert {e.id + e.unit + str(e.at // DAY_MS) for e in ledger.events()} == {
            e.id + e.unit + str(e.at // DAY_MS) for e in sent
        }
        assert verify(ledger, ONE) == []
        assert ledger.moments("home", ONE) == fold(sent, ONE)


def _send(
    ledger: RedisLedger, batch: list[Event], dead: Callable[[], None], restart: Callable[[], None]
) -> None:
    """Send until acknowledged, as the recorder does; the server dies at some moment of the first attempt."""
    acknowledged = False
    try:
        ledger.record(batch, ONE)
        acknowledged = True
    except StoreUnavailable:
        pass
    dead()
    restart()
    statuses = set(ledger.record(batch, ONE))
    assert statuses <= ({Status.DUPLICATE} if acknowledged else {Status.STORED, Status.DUPLICATE})


def test_several_writers_at_once_count_everything_once(ledger_client: redis.Redis) -> None:
    sent = traffic(12, 300)
    seen: list[Status] = []

    def write(seed: int) -> None:
        mine = random.Random(seed).sample(sent, len(sent))
        ledger = RedisLedger(ledger_client, unit_buckets=8, id_buckets=4, batch=30)
        for start in range(0, len(mine), 60):
            seen.extend(ledger.record(mine[start : start + 60], ONE))
            if seed == 0:
                ledger.refold(ONE)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert seen.count(Status.STORED) == len({(e.unit, e.id, e.at // DAY_MS) for e in sent})
    assert verify(RedisLedger(ledger_client), ONE) == []
    assert HOUR < WINDOW


def test_a_long_log_is_searched_for_a_unit_from_its_end_and_not_to_its_beginning(
    ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_SEARCHED_ENTRIES", 3)
    for number, unit in enumerate(["u", "v", "u", "v"]):
        ledger.record([outcome(f"o{number}", unit, START + number)], ONE)
    found = ledger.unit("u", ONE)
    assert found.record is not None
    assert (found.record.events, [event.id for event in found.events]) == (2, ["o2"])
    assert [event.id for event in ledger.unit("v", ONE).events] == ["o3", "o1"]


def test_a_log_entry_that_cannot_be_read_is_named(ledger: RedisLedger, ledger_client: redis.Redis) -> None:
    ledger.record([outcome("o", "u", START)], ONE)
    ledger_client.xadd(ShardKeys("default", 0).log(), {"e": '[{"unit":"u"'})
    for read in (ledger.newest, lambda: ledger.unit("u", ONE, limit=5)):
        with pytest.raises(Corrupt, match="log entry"):
            read()
