"""The gunicorn worker: gevent's, which no single peer can stop.

Every head, body and answer has a deadline and a bound, the requests of all peers take turns, and a request
whose body was not read to its end is the last one of its connection. A peer that opens too many connections
loses those that have kept the worker waiting longest. A worker that joins others takes requests once it is
ready; one that is ended takes no more of them at once, and finishes those under way.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, NoReturn

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http import errors
from gunicorn.workers.ggevent import GeventWorker

from switchpoint.router.http import problem
from switchpoint.router.serving.connection import Connection, Turns
from switchpoint.router.serving.environment import Limits

HEAD_BYTES = 64 * 1024
BODY_SECONDS = 10.0
_FIRST_PIECE, _PIECE = 1024, 8 * 1024
_AHEAD = 8 * 1024
_ANNOUNCE = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING"})
_NO_LIMIT = nullcontext()
_KNOWN_PEERS = 10_000

_STATUSES: dict[type[Exception], int] = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
}


class Peers:
    """The open connections of a worker, by the address they come from."""

    def __init__(self, *, total: int, each: int) -> None:
        """Keep at most `total` connections, and `each` of one peer."""
        self._total, self._each = total, each
        self._open: dict[Connection, str] = {}
        self._by_peer: defaultdict[str, set[Connection]] = defaultdict(set)

    @contextmanager
    def admitted(self, connection: Connection, address: object) -> Iterator[bool]:
        """Whether the connection may be served, while it is; others may have to make room for it."""
        peer = peer_of(address)
        of_peer = self._by_peer[peer]
        crowd = (
            of_peer if len(of_peer) >= self._each else self._open if len(self._open) >= self._total else ()
        )
        slowest = min((one for one in crowd if one.waiting), key=lambda one: one.since, default=None)
        if slowest is not None:
            slowest.sever()
        self._open[connection] = peer
        of_peer.add(connection)
        try:
            yield not crowd or slowest is not None
        finally:
            del self._open[connection]
            of_peer.discard(connection)
            if not of_peer:
                self._by_peer.pop(peer, None)


class Rates:
    """How many requests each peer may make: two seconds' worth at once, then one second's each second."""

    def __init__(self, per_second: int) -> None:
        """0 for no limit."""
        self._per_second = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # peer → requests, and when

    def admit(self, address: object) -> bool:
        """Whether the peer may make a request now, which is counted."""
        if not self._per_second:
            return True
        peer, now, most = peer_of(address), time.monotonic(), 2.0 * self._per_second
        left, counted = self._left.pop(peer, (most, now))
        left = min(most, left + (now - counted) * self._per_second)
        self._left[peer] = (left - (left >= 1), now)
        if len(self._left) > _KNOWN_PEERS:
            self._left.popitem(last=False)  # the one that was quiet longest, and has all of its requests back
        return left >= 1


def peer_of(address: object) -> str:
    """What counts as one peer: an IPv4 address, the network of an IPv6 one, all of a Unix socket."""
    host = str(address[0]) if isinstance(address, tuple) else ""
    if ":" not in host:
        return host
    ip = ipaddress.IPv6Address(host.partition("%")[0])
    return str(ip.ipv4_mapped or ip.packed[:8].hex())


class Body:
    """A request's body as the application reads it; what is wrong with it is the caller's fault.

    Until it has been read to its end, its request is the last one of the connection: nobody knows where the
    next one begins.
    """

    def __init__(self, req: Any, connection: Connection) -> None:
        """Take the place of gunicorn's body."""
        self._req, self._body, self._connection = req, req.body, connection
        self._missing = next((int(value) for name, value in req.headers if name == "CONTENT-LENGTH"), 0)
        self._close_anyway = req.must_close
        req.force_close()
        connection.unread = True

    def read(self, size: int) -> bytes:
        """At most `size` bytes, fewer at the end. Raises SlowBody, BadBody."""
        kept = bytearray()
        try:
            while wanted := min(max(len(kept), _FIRST_PIECE), _PIECE, size - len(kept)):
                # chunks may double what is sent, not more: one byte of them costs as much as a thousand
                self._connection.extend(2 * (len(kept) + wanted) + _AHEAD)
                piece = self._body.read(wanted)
                kept += piece
                if len(piece) < wanted:
                    break
        except errors.ParseException as error:
            if self._connection.late or self._connection.spent:
                self._refuse()  # the chunks are broken where we stopped to read
            raise problem.BadBody(f"the body's chunks are broken: {error}", fix="send a length") from None
        except errors.NoMoreData:
            self._refuse()
        self._missing -= len(kept)
        if len(kept) < size:
            if self._missing > 0:
                self._refuse()
            self._req.must_close, self._connection.unread = self._close_anyway, False
        return bytes(kept)

    def _refuse(self) -> NoReturn:
        if self._connection.late:
            raise problem.SlowBody(f"the body did not arrive within {BODY_SECONDS:g} s")
        if self._connection.spent:
            raise problem.BadBody("the body's chunks hold a few bytes each", fix="send larger chunks")
        raise problem.BadBody("the body ended early", fix="send all of it")


class Named:
    """What gunicorn asks of a listening socket, which may be closed before its last connection is served."""

    def __init__(self, listener: Any) -> None:
        """Ask now."""
        self._name = listener.getsockname()

    def getsockname(self) -> object:
        """The address it had."""
        return self._name


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no annotations
    """What gunicorn runs (`worker_class`)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As gunicorn makes it, before the fork."""
        super().__init__(*args, **options)
        limits = Limits.read()
        self._turns = Turns()
        self._peers = Peers(total=limits.connections, each=limits.peer_connections)
        self._rates = Rates(limits.peer_rate)
        # gunicorn stops accepting there, and nobody could be told apart any more
        self.worker_connections = 2 * limits.connections
        self.patience = 0.0  # seconds to wait for its readiness before it takes requests
        self._ending = Event()

    def serves(self) -> bool:
        """Whether it takes requests, also as the master sees it."""
        return os.fstat(self.tmp.fileno()).st_size > 0

    def run(self) -> None:
        """Serve until SIGTERM, and then what was begun: connections without a request close in their time."""
        # seen at once; gunicorn's handler is heard between two naps of a second
        gevent.signal_handler(signal.SIGTERM, self._end)
        self._await_readiness()
        gc.freeze()  # else every large request has all of this looked through, which takes 20 ms
        pool = Pool(self.worker_connections)
        servers = [self._server(listener, pool) for listener in self.sockets]
        for server in servers:
            server.start()
        os.ftruncate(self.tmp.fileno(), 1)  # needs no room on the disk
        while self.alive:
            self.notify()
            self._ending.wait(1.0)
        for server in servers:
            server.close()
        end = time.monotonic() + self.cfg.graceful_timeout
        while not pool.join(timeout=min(1.0, max(0.0, end - time.monotonic()))):
            self.notify()
            if time.monotonic() > end:
                self.log.warning("cutting off %d connections", len(pool))
                return

    def _server(self, listener: Any, pool: Pool) -> StreamServer:
        server = StreamServer(listener, handle=partial(self.handle, Named(listener)), spawn=pool)
        server.max_accept = 1  # one of those that wait on the same socket
        return server

    def _await_readiness(self) -> None:
        """The application may have `ready()` and `open()`; without them it is ready and need not be told."""
        end = time.monotonic() + self.patience
        ready, opened = getattr(self.wsgi, "ready", lambda: True), getattr(self.wsgi, "open", bool)
        while self.alive and time.monotonic() < end and not ready():
            self.notify()
            self._ending.wait(0.1)
        opened()

    def _end(self) -> None:
        self.alive = False
        self._ending.set()

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """Nothing: the connection's own deadline holds while a head is awaited."""
        return _NO_LIMIT

    def handle(self, listener: Any, client: gevent.socket.socket, addr: object) -> None:
        """Serve one connection until it closes."""
        turns = self._turns.of(peer_of(addr))
        connection = Connection(client, turns, seconds=self.cfg.keepalive, size=HEAD_BYTES)
        with self._peers.admitted(connection, addr) as admitted:
            if admitted:
                super().handle(listener, connection, addr)
            else:
                self._answer(connection, 503, "too many connections", {"Retry-After": problem.RETRY_SECONDS})
                connection.close()

    def handle_request(self, listener_name: Any, req: Any, sock: Connection, addr: object) -> None:
        """Serve one request; every other peer has its turn before it."""
        sock.give_way()
        if not self._rates.admit(addr):
            sock.unread = True
            self._answer(sock, 429, "too many requests of one address", {"Retry-After": "1"})
            raise StopIteration  # gunicorn's word for: the last one of this connection
        sock.expect(BODY_SECONDS, 0)
        if any(name in _ANNOUNCE and value != "0" for name, value in req.headers):
            req.body = Body(req, sock)
        sock.hold()
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.flush()
        sock.expect(self.cfg.keepalive, HEAD_BYTES)

    def handle_error(self, req: Any, client: Connection, _addr: object, exc: BaseException) -> None:
        """Answer what never reached the application, or was not answered by it."""
        own = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)
        if isinstance(exc, errors.ParseException) and not isinstance(exc, own):
            client.unread = True
            self._answer(client, _STATUSES.get(type(exc), 400), str(exc))
        else:
            self.log.error("error handling %s", getattr(req, "uri", "a request's head"), exc_info=exc)
            self._answer(client, 500, "an unexpected error; the log has it")

    def _answer(
        self, client: Connection, status: int, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a problem, after which the connection closes."""
        code = {429: "too_many_requests", 500: "internal", 503: "busy"}.get(status, "bad_request")
        with suppress(OSError):
            client.sendall(problem.whole_answer(status, code, detail, headers or {}))
