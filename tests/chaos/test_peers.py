"""Peers that flood, drip, ask for nothing or hang on: one worker goes on answering everybody else."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.router.conftest import Project, shared_project
from tests.router.http import post, request
from tests.waiting import HUNG, until

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["shared_project"]

CHUNKED = b"POST /v1/assign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000000\r\n\r\n"
ELSEWHERE = ("127.0.0.2", 0)


@pytest.fixture(scope="module")
def service(shared_project: Project) -> Iterator[ServingProcess]:
    with shared_project.serving(workers=1, environ={"SWITCHPOINT_CONNECTIONS": "60"}) as serving:
        yield serving


def connect(service: ServingProcess, source: tuple[str, int] = ("127.0.0.1", 0)) -> socket.socket:
    return socket.create_connection((service.host, service.port), timeout=HUNG, source_address=source)


def answer_of(sock: socket.socket) -> tuple[int, dict[str, str], dict[str, object]]:
    response = http.client.HTTPResponse(sock)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, json.loads(response.read())


def closed(sock: socket.socket) -> bool:
    """Whether the service hung up (or will, within HUNG) without sending anything more."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def everybody_is_served_while(service: ServingProcess, attack: Callable[[threading.Event], None]) -> None:
    """The attack goes on until the event is set, which is after everybody was served."""
    served = threading.Event()
    attackers = [threading.Thread(target=attack, args=(served,)) for _ in range(3)]
    for attacker in attackers:
        attacker.start()
    try:
        for i in range(20):
            assert post(service, "/v1/assign", {"unit": f"u{i}"})[0] == 200
    finally:
        served.set()
        for attacker in attackers:
            attacker.join()


@pytest.mark.parametrize("path", [b"/v1/events", b"/v1/assign", b"/healthz", b"/nothing"])
def test_a_body_that_nobody_reads_stops_nobody(service: ServingProcess, path: bytes) -> None:
    """The application refuses without reading; gunicorn then read on for the next request, for ever."""

    def attack(served: threading.Event) -> None:
        while not served.is_set():
            with contextlib.suppress(ConnectionError), connect(service) as sock:
                sock.sendall(ENDLESS % path)
                while not served.is_set():
                    sock.sendall(b" " * 262_144)

    everybody_is_served_while(service, attack)


def test_requests_without_a_pause_take_turns_with_others(service: ServingProcess) -> None:
    """Pipelined and answered from memory, a connection's requests never waited for anything."""

    def attack(served: threading.Event) -> None:
        def read(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while sock.recv(1_000_000):
                    pass

        with connect(service) as sock:
            reader = threading.Thread(target=read, args=(sock,))
            reader.start()
            while not served.is_set():
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
            sock.shutdown(socket.SHUT_RDWR)
            reader.join()

    everybody_is_served_while(service, attack)


def test_chunks_of_a_byte_are_refused_after_a_few(service: ServingProcess) -> None:
    """However many were to come; 100 bytes a chunk are welcome."""
    with connect(service) as sock:
        sock.sendall(CHUNKED)
        answered: list[socket.socket] = []
        while not answered:
            sock.sendall(b"1\r\n \r\n" * 1_000)
            answered, _, _ = select.select([sock], [], [], 0)
        status, headers, answer = answer_of(sock)
    assert (status, answer["code"], headers["connection"]) == (400, "bad_json", "close")
    assert "few bytes" in str(answer["detail"])
    body = json.dumps({"unit": "u", "attributes": {"a": 1}}).encode() + b" " * 200_000
    pieces = [body[i : i + 100] for i in range(0, len(body), 100)]
    with connect(service) as sock:
        sock.sendall(CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n")
        assert answer_of(sock)[0] == 200
        sock.sendall(CHUNKED + b'c\r\n{"unit": "u"\r\n1\r\n}\r\n0\r\n\r\n')  # the connection lives on
        assert answer_of(sock)[0] == 200


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"1\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n", b"1;=\r\na\r\n0\r\n\r\n", b"5\r\nab"]
)
@pytest.mark.parametrize("path", [b"/v1/assign", b"/v1/events", b"/v1/predict/ranker"])
def test_broken_chunks_are_the_callers_fault(service: ServingProcess, path: bytes, body: bytes) -> None:
    with connect(service) as sock:
        sock.sendall(CHUNKED.replace(b"/v1/assign", path) + body)
        sock.shutdown(socket.SHUT_WR)
        status, headers, answer = answer_of(sock)
        assert (status, answer["code"]) == (400, "bad_json")
        assert headers["connection"] == "close"
        assert closed(sock)


def test_an_unread_body_is_never_taken_for_the_next_request(service: ServingProcess) -> None:
    inside = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(service) as sock:
        sock.sendall(
            b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inside) + inside
        )
        status, headers, _ = answer_of(sock)
        assert (status, headers["connection"]) == (405, "close")
        assert closed(sock)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nX: y\n\n\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nExpect: magic\r\n\r\n", 417),
        (b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: magic\r\n\r\n", 501),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ],
)
def test_heads_that_cannot_be_read_are_answered_as_every_other_problem(
    service: ServingProcess, head: bytes, status: int
) -> None:
    with connect(service) as sock:
        sock.sendall(head)
        found, headers, answer = answer_of(sock)
        assert (found, answer["status"], headers["content-type"]) == (
            status,
            status,
            "application/problem+json",
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert closed(sock)


def test_a_peer_beyond_its_rate_is_refused_and_others_are_served(shared_project: Project) -> None:
    limited = ServingProcess(
        redis_url=shared_project.server.url, data=shared_project.data, port=free_port(), workers=1,
        environ={"SWITCHPOINT_PEER_RATE": "1"},
    )  # fmt: skip
    with limited as serving:
        with connect(serving, ELSEWHERE) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
            reader = sock.makefile("rb")
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            rest = reader.read()
        assert b"HTTP/1.1 429 Too Many Requests" in rest
        assert b"Retry-After: 1" in rest
        assert b'"code":"too_many_requests"' in rest
        until(lambda: post(serving, "/v1/assign", {"unit": "u"})[0] == 200)  # its start was asked about, too


def test_idle_connections_of_one_peer_make_room(service: ServingProcess) -> None:
    """Of 60 connections one address gets 30: its idle ones go, the oldest first."""
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect(service, ELSEWHERE)) for _ in range(90)]
        for i in range(30):
            assert post(service, "/v1/assign", {"unit": f"u{i}"})[0] == 200
        crowd[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(crowd[-1])[0] == 200
        assert closed(crowd[0])


def frozen() -> WSGIApplication:
    """Says how many objects the garbage collection leaves alone."""

    def say(_environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        start("200 OK", [("Content-Type", "application/json")])
        return [str(gc.get_freeze_count()).encode()]

    return say


def test_what_a_worker_began_with_is_not_looked_through_for_every_large_request(tmp_path: Path) -> None:
    with ServingProcess(
        redis_url="",
        data=tmp_path,
        port=free_port(),
        workers=1,
        application="tests.chaos.test_peers:frozen()",
    ) as serving:
        assert request(serving, "GET", "/")[2] > 10_000
