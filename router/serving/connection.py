"""One peer's connection: whatever the peer has to do has an end, and it never has the event loop to itself.

gevent's `recv` and `sendall` wait without a limit, and let nobody else run while the peer keeps up with them.
"""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress
from weakref import WeakValueDictionary

import gevent
import gevent.socket
from gevent.event import Event

WRITE_SECONDS = 10.0
LINGER_SECONDS = 2.0
LINGER_BYTES = 16 * 1024 * 1024
_PIECE = 64 * 1024
_BURST = 16 * 1024
_TURN_SECONDS = 0.005


class Turns:
    """The turns that the peers of one event loop take."""

    def __init__(self) -> None:
        self._iteration, self._since = -1, 0.0
        self._peers: WeakValueDictionary[str, PeerTurns] = WeakValueDictionary()

    def of(self, peer: str) -> PeerTurns:
        """Those of one peer, however many connections it has."""
        return self._peers.setdefault(peer, PeerTurns(self))

    def give_way(self) -> None:
        """Let everybody else who can run do so; and who waits for the network, every few milliseconds.

        gevent runs up to 50 of those that called `sleep(0)` before it looks at the network again, which takes
        a second where each of them has much to do.
        """
        iteration, now = gevent.get_hub().loop.iteration, time.monotonic()
        if iteration != self._iteration:
            self._iteration, self._since = iteration, now
        gevent.sleep(0 if now - self._since < _TURN_SECONDS else 0.001)


class PeerTurns:
    """The turns of one peer: of its connections one at a time stands in line with other peers."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._last: Event | None = None  # set once whoever came last has had its turn

    def give_way(self) -> None:
        """As `Turns.give_way`, after those of the same peer that came before."""
        before, self._last = self._last, (mine := Event())
        try:
            if before is not None:
                before.wait()
            self._turns.give_way()
        finally:
            mine.set()
            if self._last is mine:
                self._last = None


class Connection:
    """A socket as gunicorn uses it. `expect` gives the peer an allowance of time and of bytes.

    A peer that has used it up seems to have hung up: `recv` returns nothing more, and `late` or `spent` says
    which of the two it was. A peer that does not take an answer within WRITE_SECONDS is cut off.
    """

    __slots__ = (
        "_answer_by",
        "_bytes",
        "_end",
        "_held",
        "_received",
        "_sock",
        "give_way",
        "late",
        "since",
        "unread",
        "waiting",
    )

    def __init__(self, sock: gevent.socket.socket, turns: PeerTurns, *, seconds: float, size: int) -> None:
        """Wrap an accepted socket of the peer that has these turns; its first request's head is expected."""
        self._sock, self.give_way = sock, turns.give_way
        self._held: bytearray | None = None
        self.unread = False  # the rest of a body is on its way that nobody wants
        self.waiting = False  # for the peer, and not for the application
        self.expect(seconds, size)

    def expect(self, seconds: float, size: int) -> None:
        """Allow the peer to send at most `size` more bytes within `seconds` from now."""
        self.since = time.monotonic()
        self._end, self._bytes, self._received = self.since + seconds, size, 0
        self._answer_by = 0.0
        self.late = False

    def extend(self, size: int) -> None:
        """Allow `size` bytes in all since `expect`; its time stays."""
        self._bytes = size

    @property
    def spent(self) -> bool:
        """Whether the bytes are used up."""
        return self._received >= self._bytes

    def recv(self, size: int) -> bytes:
        """What the peer sent, at most 64 KiB; nothing once it hung up or has used up its allowance."""
        if self._received > _BURST:
            self.give_way()
        left = self._end - time.monotonic()
        if left <= 0 or self.spent:
            self.late = left <= 0
            return b""
        self._sock.settimeout(left)
        self.waiting = True
        try:
            data: bytes = self._sock.recv(min(size, _PIECE))
        except TimeoutError:
            data = self._arrived(min(size, _PIECE))
            self.late = not data
        except OSError as error:
            if error.errno != errno.EBADF:  # gevent's word to whoever waits for what is severed
                raise
            data = b""
        finally:
            self.waiting = False
        self._received += len(data)
        return data

    def _arrived(self, size: int) -> bytes:
        """What came while a busy loop was on its way to the deadline: a request begun in time is answered."""
        self._sock.settimeout(0)
        try:
            return self._sock.recv(size)
        except BlockingIOError:
            return b""

    def hold(self) -> None:
        """Keep what is sent until `flush`: gunicorn sends the head of an answer before its body."""
        self._held = bytearray()

    def flush(self) -> None:
        """Send what was kept in one piece. Raises as `sendall`."""
        data, self._held = self._held, None
        if data:
            self.sendall(data)

    def sendall(self, data: bytes | bytearray) -> None:
        """Send everything. Raises ConnectionResetError where the peer does not take it in time."""
        if self._held is not None and len(self._held) < _PIECE:
            self._held += data
            return
        if self._held:
            data, self._held = self._held + data, bytearray()
        now = time.monotonic()
        self._answer_by = self._answer_by or now + WRITE_SECONDS
        self._sock.settimeout(max(0.001, self._answer_by - now))
        self.waiting = True
        try:
            self._sock.sendall(data)
        except OSError as error:
            if not isinstance(error, TimeoutError) and error.errno != errno.EBADF:
                raise
            # gunicorn logs no reset
            raise ConnectionResetError(errno.ECONNRESET, "the peer does not read") from None
        finally:
            self.waiting = False

    def send(self, data: bytes) -> int:
        """Send everything at once: gunicorn's `100 Continue`, which the body waits for."""
        held, self._held = self._held, None
        self.sendall(data)
        self._held, self._answer_by = held, 0.0
        return len(data)

    def sever(self) -> None:
        """Hang up; whoever waits for the peer learns that it has gone."""
        self.unread = self.waiting = False
        self.shutdown(socket.SHUT_RDWR)

    def shutdown(self, how: int) -> None:
        """End one or both directions."""
        with suppress(OSError):
            self._sock.shutdown(how)

    def close(self) -> None:
        """Close; what is left of a body is read a while, because a reset would overtake the answer."""
        if self.unread:
            self.shutdown(socket.SHUT_WR)
            self.expect(LINGER_SECONDS, LINGER_BYTES)
            with suppress(OSError):
                while self.recv(_PIECE):
                    pass
        self._held = None
        self._sock.close()

    # gunicorn's own way to bound its waiting, which `expect` replaces

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - a socket's signature
        """Nothing: every wait has its end already."""

    def settimeout(self, seconds: float | None) -> None:
        """Nothing, as `setblocking`."""

    def gettimeout(self) -> float:
        """0: nothing is left to be set."""
        return 0.0
