"""Attacks on a service: `python -m bench.attacks NAME PORT UPSTREAM` attacks until its input ends.

It comes from 127.0.0.2, a neighbour of the callers whose answers are measured, says `begun` before its first
request, and at its end how many it made. Two attacks need a server that the service calls: it listens on
UPSTREAM.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from typing import BinaryIO

SOURCE = ("127.0.0.2", 0)
SENDERS = 3
WAITING = 64
CROWD = 2_600
DEAF = 60
_PATIENCE = 30.0
_ENDLESS = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000000\r\n\r\n"
_CHUNKED = b"POST /v1/assign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_SLOW = b"POST /v1/assign HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n{"
_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_SNAPSHOT = b"GET /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n"
_DOORS = ("/v1/assign", "/v1/events", "/v1/predict/ranker")
_HOSTILE = [
    _CHUNKED + b"zz\r\n",
    _CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /v1/events HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
]
_EXPOSURE = {
    "type": "exposure", "unit": "u", "at": 1_700_000_000_000, "experiment": "nothing", "variant": "control",
    "segment": "us", "epoch": 1, "revision": 1, "propensity": 0.5,
}  # fmt: skip

Sender = Callable[[], None]
made = {"requests": 0}


def connect(port: int) -> socket.socket:
    """A connection of the attacker's address."""
    return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE, source_address=SOURCE)


def post(path: str, body: bytes) -> bytes:
    """A whole request."""
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


def read_answer(reader: BinaryIO) -> None:
    """Take one answer. Raises ConnectionError where there is none."""
    length = 0
    while (line := reader.readline()) != b"\r\n":
        if not line:
            raise ConnectionError
        if line[:15].lower() == b"content-length:":
            length = int(line[15:])
    reader.read(length)


def asking(port: int, requests: Sequence[bytes]) -> Sender:
    """Whole requests in turn, on one connection as long as it lives, each after the answer to the last."""
    turn = cycle(requests)

    def send() -> None:
        with connect(port) as sock, sock.makefile("rb") as reader:
            while True:
                count()
                sock.sendall(next(turn))
                read_answer(reader)

    return send


def compute() -> None:
    """Ask nothing of the service: what an attacker costs that only shares the machine."""
    count()
    sum(range(100_000))


def unread_body(port: int, path: bytes) -> Sender:
    """A body that nobody asked for, for as long as it is taken."""

    def send() -> None:
        with connect(port) as sock:
            count()
            sock.sendall(_ENDLESS % path)
            while True:
                sock.sendall(b" " * 262_144)

    return send


def small_chunks(port: int) -> Sender:
    """900 kB in chunks of a byte."""

    def send() -> None:
        with connect(port) as sock:
            count()
            sock.sendall(_CHUNKED + b"1\r\n \r\n" * 150_000)
            sock.recv(65_536)

    return send


def pipeline(port: int) -> Sender:
    """Requests that wait for no answer, and a reader of the answers."""

    def send() -> None:
        with connect(port) as sock:
            threading.Thread(target=_swallow, args=(sock,), daemon=True).start()
            while True:
                count(500)
                sock.sendall(_HEALTH * 500)

    return send


def _swallow(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(1_000_000):
            pass


def crowd(port: int, said: bytes) -> Sender:
    """As many connections as one may hold that say no more than `said`, one new after the other."""
    held: deque[socket.socket] = deque()

    def send() -> None:
        held.append(connect(port))
        count()
        held[-1].sendall(said)
        if len(held) > CROWD // 2:
            held.popleft().close()

    return send


def deaf(port: int) -> Sender:
    """Clients that ask and never read an answer; one that was cut off is replaced."""
    held: list[socket.socket] = []

    def send() -> None:
        if len(held) < DEAF // SENDERS:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            sock.bind(SOURCE)
            sock.connect(("127.0.0.1", port))
            sock.settimeout(0)
            count()
            held.append(sock)
        for sock in list(held):
            try:
                sock.send(_SNAPSHOT * 100)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                sock.close()
                held.remove(sock)

    return send


def hostile(port: int) -> Sender:
    """Broken chunks and heads, each on a connection of its own."""
    turn = cycle(_HOSTILE)

    def send() -> None:
        with connect(port) as sock:
            count()
            sock.sendall(next(turn))
            while sock.recv(65_536):
                pass

    return send


def of_a_thousand(event: dict[str, object]) -> bytes:
    """A request of a thousand events like this one."""
    return post("/v1/events", json.dumps([event | {"id": f"b{n}"} for n in range(1_000)]).encode())


def predicting(model: str, inputs: bytes = b"[1, 2]") -> bytes:
    """A request for a prediction."""
    return post(
        f"/v1/predict/{model}", b'{"unit": "u", "attributes": {"country": "US"}, "inputs": %s}' % inputs
    )


def attribute(name: str, value: bytes) -> bytes:
    """A body with one attribute."""
    return b'{"unit": "u", "inputs": [1, 2], "attributes": {"%s": %s}}' % (name.encode(), value)


def largest() -> list[bytes]:
    """Bodies of 1 MB full of the smallest values, to every door."""
    values = [b"[]", b"[1,2]", b'{"":1}', b'"ab"', b"1.5"]
    bodies = [b"[%s]" % b",".join([value] * (990_000 // (len(value) + 1))) for value in values]
    return [post(path, body) for path in _DOORS for body in bodies]


def dripping(sock: socket.socket) -> None:
    """An upstream's answer that never gets past its head."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        sock.sendall(b"a")
        time.sleep(0.05)


def deep(sock: socket.socket) -> None:
    """An upstream's answer of 300 nested lists."""
    body = b'{"prediction": ' + b"[" * 300 + b"]" * 300 + b"}"
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def upstream(port: int, answer: Callable[[socket.socket], None]) -> None:
    """Answer everybody this way from now on."""
    server = socket.create_server(("127.0.0.1", port), backlog=1_024)

    def one(sock: socket.socket) -> None:
        with suppress(OSError), sock:
            while sock.recv(65_536):
                answer(sock)

    def accept() -> None:
        while True:
            threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def remote(
    port: int, upstream_port: int, answer: Callable[[socket.socket], None], senders: int
) -> list[Sender]:
    """Predictions of the model whose upstream answers in this way."""
    upstream(upstream_port, answer)
    return [asking(port, [predicting("remote")]) for _ in range(senders)]


def several(send: Callable[..., Sender], *arguments: object) -> list[Sender]:
    """The same from some connections at once."""
    return [send(*arguments) for _ in range(SENDERS)]


_REFUSED = [of_a_thousand({"type": "BAD", "unit": "u", "at": 1})]
_NESTED = [post(path, attribute("country", b"[" * 1_000 + b"]" * 1_000)) for path in _DOORS]
_LONG = [post("/v1/assign", attribute("email", b'"%s"' % (b"a" * 4_096)))]
ATTACKS: dict[str, Callable[[int, int], list[Sender]]] = {
    "none: a process that only computes": lambda _port, _end: [compute],
    "bodies that nobody reads": lambda port, _: [
        unread_body(port, path) for path in (b"/nothing", b"/healthz", b"/v1/events")
    ],
    "chunks of a byte": lambda port, _: several(small_chunks, port),
    "pipelines without a pause": lambda port, _: several(pipeline, port),
    "idle and half-sent crowds": lambda port, _: [crowd(port, said) for said in (b"", _SLOW)],
    "clients that never read": lambda port, _: several(deaf, port),
    "1,000 refused events a request": lambda port, _: several(asking, port, _REFUSED),
    "1,000 exposures of nothing": lambda port, _: several(asking, port, [of_a_thousand(_EXPOSURE)]),
    "JSON nested 1,000 levels": lambda port, _: several(asking, port, _NESTED),
    "long attributes, a pattern": lambda port, _: several(asking, port, _LONG),
    "inputs that no model can bear": lambda port, _: several(
        asking, port, [predicting("ranker", b"[1e308, 1e308]")]
    ),
    "an upstream that drips": lambda port, end: remote(port, end, dripping, WAITING),
    "an upstream of deep lists": lambda port, end: remote(port, end, deep, SENDERS),
    "broken chunks and heads": lambda port, _: several(hostile, port),
    "1 MB of smallest values": lambda port, _: several(asking, port, largest()),
}


def count(requests: int = 1) -> None:
    """Requests are about to be made."""
    made["requests"] += requests


def repeat(send: Sender) -> None:
    """For ever, whatever the service does about it."""
    while True:
        with suppress(OSError):
            send()


def main() -> None:
    """Attack until the input ends."""
    name, port, upstream_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    ready = ATTACKS[name](port, upstream_port)
    print("begun", flush=True)
    for send in ready:
        threading.Thread(target=repeat, args=(send,), daemon=True).start()
    sys.stdin.read()
    print(made["requests"], flush=True)
    os._exit(0)  # the connections' own ends would take their time


if __name__ == "__main__":
    main()
