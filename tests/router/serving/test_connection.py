"""Deadlines and allowances of connections, and who has to go when there are too many."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import gevent
import gevent.socket
import pytest
from gevent.pool import Pool
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.body import Body as GunicornBody
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.unreader import SocketUnreader

from switchpoint.router.http.problem import BadBody, SlowBody
from switchpoint.router.serving import connection as module
from switchpoint.router.serving import worker
from switchpoint.router.serving.connection import Connection, Turns
from switchpoint.router.serving.worker import Body, Peers, Rates, peer_of
from tests.waiting import HUNG, replace_time


@pytest.fixture
def pair() -> Iterator[tuple[gevent.socket.socket, gevent.socket.socket]]:
    ours, theirs = gevent.socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[gevent.socket.socket, gevent.socket.socket]


def test_a_peer_that_drips_has_one_deadline_for_all_of_it(pair: Pair) -> None:
    """Every byte would renew a plain socket timeout."""
    ours, theirs = pair
    connection = Connection(ours, Turns().of("a"), seconds=0.2, size=1000)

    def drip() -> None:
        while True:
            theirs.send(b"x")
            gevent.sleep(0.01)

    dripping = gevent.spawn(drip)
    with gevent.Timeout(HUNG):
        while connection.recv(100):
            pass
    dripping.kill()
    assert connection.late
    theirs.send(b"x")
    connection.expect(HUNG, 1000)
    assert (connection.recv(1), connection.late) == (b"x", False)


def test_a_peer_may_not_send_more_than_its_allowance(pair: Pair) -> None:
    ours, theirs = pair
    connection = Connection(ours, Turns().of("a"), seconds=HUNG, size=10)
    theirs.send(b"x" * 30)
    assert [connection.recv(10), connection.recv(10)] == [b"x" * 10, b""]
    assert (connection.spent, connection.late) == (True, False)
    connection.extend(20)
    assert connection.recv(10) == b"x" * 10


def test_a_peer_that_does_not_read_is_cut_off(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.1)
    connection = Connection(pair[0], Turns().of("a"), seconds=HUNG, size=0)
    with gevent.Timeout(HUNG), pytest.raises(ConnectionResetError):
        connection.sendall(b"x" * 100_000_000)


def test_who_reads_from_a_peer_that_is_cut_off_learns_that_it_has_gone(pair: Pair) -> None:
    """gevent tells them of a bad descriptor, which gunicorn would log with a trace."""
    connection = Connection(pair[0], Turns().of("a"), seconds=HUNG, size=10)
    reading = gevent.spawn(connection.recv, 1)
    gevent.sleep(0)
    connection.sever()
    assert (reading.get(timeout=HUNG), connection.late) == (b"", False)


def test_who_writes_to_a_peer_that_is_cut_off_learns_that_it_has_gone(pair: Pair) -> None:
    connection = Connection(pair[0], Turns().of("a"), seconds=HUNG, size=0)
    writing = gevent.spawn(connection.sendall, b"x" * 100_000_000)
    gevent.sleep(0)
    connection.sever()
    with pytest.raises(ConnectionResetError):
        writing.get(timeout=HUNG)


def test_a_peer_that_sends_without_a_pause_lets_others_run(pair: Pair) -> None:
    """Its data is always there, so that receiving never waits."""
    ours, theirs = pair
    connection, turns = Connection(ours, Turns().of("a"), seconds=HUNG, size=10**9), []

    def send() -> None:
        while True:
            theirs.sendall(b"x" * 100_000)

    def other() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0)

    greenlets = [gevent.spawn(send), gevent.spawn(other)]
    gevent.sleep(0.01)
    before = len(turns)
    for _ in range(100):
        connection.recv(8192)
    gevent.killall(greenlets)
    assert len(turns) - before > 50


def test_who_waits_for_the_network_has_a_turn_too(pair: Pair) -> None:
    """Fifty greenlets that give way with work in between; the network was looked at after all fifty."""
    ours, theirs = pair
    turns, ended = Turns(), []

    def work() -> None:
        for _ in range(20):
            end = time.monotonic() + 0.006
            while time.monotonic() < end:
                pass
            turns.give_way()
        ended.append(1)

    crowd = [gevent.spawn(work) for _ in range(5)]
    listening = gevent.spawn(ours.recv, 1)
    gevent.sleep(0)
    theirs.send(b"x")
    listening.join()
    assert not ended
    gevent.joinall(crowd)


def test_a_peer_has_one_turn_however_many_connections_it_has() -> None:
    turns, order = Turns(), []

    def ask(peer: str) -> None:
        of_peer = turns.of(peer)
        of_peer.give_way()
        order.append(peer)

    gevent.joinall([gevent.spawn(ask, peer) for peer in "aaaaaaab"])
    assert order.index("b") <= 1
    assert order.count("a") == 7


def test_a_peer_that_left_leaves_nothing() -> None:
    turns = Turns()
    of_peer = turns.of("a")
    assert turns.of("a") is of_peer
    del of_peer
    assert list(turns._peers) == []


def body(pair: Pair, kind: str, *, seconds: float = HUNG) -> tuple[Body, SimpleNamespace, Connection]:
    headers = [("CONTENT-LENGTH", "10")] if kind == "length" else [("TRANSFER-ENCODING", "chunked")]
    req = SimpleNamespace(headers=headers, must_close=False, limit_request_field_size=0, max_buffer_headers=0)
    req.force_close = lambda: setattr(req, "must_close", True)
    connection = Connection(pair[0], Turns().of("a"), seconds=seconds, size=0)
    unreader = SocketUnreader(connection)
    req.body = GunicornBody(LengthReader(unreader, 10) if kind == "length" else ChunkedReader(req, unreader))
    return Body(req, connection), req, connection


def test_a_connection_lives_on_only_after_a_body_that_was_read_to_its_end(pair: Pair) -> None:
    theirs = pair[1]
    theirs.send(b"0123456789")
    found, req, connection = body(pair, "length")
    assert (req.must_close, connection.unread) == (True, True)
    assert (found.read(4), req.must_close) == (b"0123", True)
    assert (found.read(100), req.must_close, connection.unread) == (b"456789", False, False)
    assert found.read(100) == b""


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_body_that_comes_too_slowly_is_told_from_one_that_ends_early(pair: Pair, kind: str) -> None:
    theirs = pair[1]
    theirs.send(b"5\r\n01")
    found, req, _ = body(pair, kind, seconds=0.05)
    with pytest.raises(SlowBody):
        found.read(100)
    assert req.must_close
    theirs.send(b"5\r\n01")
    theirs.shutdown(gevent.socket.SHUT_WR)
    found, req, _ = body(pair, kind)
    with pytest.raises(BadBody, match="ended early"):
        found.read(100)
    assert req.must_close


def test_chunks_of_a_byte_are_named_wherever_in_one_the_allowance_ends() -> None:
    """A chunk without its end is what is left where we stop to read, not what was sent."""
    for end in range(6):
        ours, theirs = gevent.socket.socketpair()
        theirs.send((b"1\r\n \r\n" * 2_731)[: 16_384 + end])
        found, _, connection = body((ours, theirs), "chunked")
        with pytest.raises(BadBody, match="few bytes"):
            found.read(100_000)
        assert connection.spent
        ours.close()
        theirs.close()


class Open:
    """A connection as Peers sees it."""

    def __init__(self, since: float, *, waiting: bool = True) -> None:
        self.since, self.waiting, self.severed = since, waiting, False

    def sever(self) -> None:
        self.severed, self.waiting = True, False


def test_who_waited_longest_for_its_peer_makes_room() -> None:
    """Of the same peer where that has its share already, else of all; never one that is being answered."""
    peers = Peers(total=4, each=2)
    with ExitStack() as stack:

        def admit(one: Open, host: str) -> bool:
            return stack.enter_context(peers.admitted(one, (host, 1)))  # type: ignore[arg-type]

        old, busy = Open(1.0), Open(0.0, waiting=False)
        young = Open(2.0)
        assert all(admit(one, host) for one, host in ((old, "a"), (young, "a"), (busy, "b")))
        assert admit(Open(3.0), "a")
        assert (old.severed, young.severed) == (True, False)
        assert admit(Open(4.0, waiting=False), "c")
        assert (young.severed, busy.severed) == (True, False)
        assert admit(Open(5.0, waiting=False), "b")
        assert not admit(Open(6.0), "b")
    assert admit_after(peers)


def admit_after(peers: Peers) -> bool:
    with peers.admitted(Open(0.0), ("b", 1)) as admitted:  # type: ignore[arg-type]
        return admitted


def test_a_peer_may_make_so_many_requests_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds' worth at once, then one second's each second; what others do says nothing of it."""
    now = [100.0]
    replace_time(monkeypatch, worker, monotonic=lambda: now[0])
    rates = Rates(4)

    def admitted(host: str, tries: int) -> int:
        return sum(rates.admit((host, port)) for port in range(tries))

    assert (admitted("a", 20), admitted("b", 3)) == (8, 3)
    now[0] += 1.0
    assert (admitted("a", 20), admitted("b", 20)) == (4, 8)
    now[0] += 0.125
    assert admitted("a", 20) == 0
    now[0] += 0.125
    assert admitted("a", 20) == 1
    now[0] += 3600
    assert admitted("a", 20) == 8
    assert all(Rates(0).admit(("a", 1)) for _ in range(1000))


def test_of_very_many_peers_the_quiet_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_KNOWN_PEERS", 2)
    rates = Rates(1)
    for host in ("a", "b", "a", "c"):
        assert rates.admit((host, 1))
    assert list(rates._left) == ["a", "c"]


def test_a_peer_is_an_address_or_a_network_of_ipv6() -> None:
    assert peer_of(("192.0.2.1", 5)) == peer_of(("::ffff:192.0.2.1", 6, 0, 0)) == "192.0.2.1"
    assert peer_of(("2001:db8::1", 5, 0, 0)) == peer_of(("2001:db8::ffff:2", 5, 0, 0))
    assert peer_of(("2001:db8::1", 5, 0, 0)) != peer_of(("2001:db8:0:1::1", 5, 0, 0))
    assert peer_of(("fe80::1%eth0", 5, 0, 2)) == peer_of(("fe80::1", 5, 0, 0))
    assert peer_of("") == peer_of(b"")


def test_who_was_accepted_last_is_served_though_the_port_is_closed(pair: Pair) -> None:
    """A worker that ends closes its port in the moment in which a connection has come by it."""

    def application(environ: dict[str, object], start: Callable[..., object]) -> list[bytes]:
        start("200 OK", [("Content-Length", "4")])
        return [str(environ["SERVER_PORT"])[:4].encode()]

    config = Config()
    listener = gevent.socket.create_server(("127.0.0.1", 0))
    serving = worker.Worker(1, os.getpid(), [listener], None, 30, config, Logger(config))
    serving.wsgi = application
    ours, theirs = pair
    server = serving._server(listener, Pool())
    listener.close()
    server.do_handle(ours, ("127.0.0.1", 1))
    theirs.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert theirs.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
    serving.tmp.close()
