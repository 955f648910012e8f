"""Models behind HTTP: the answer is untrusted, the address is checked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from switchpoint.router.models import upstream
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.models.upstream import Upstream, _is_public
from tests.waiting import HUNG, until


class Handler(BaseHTTPRequestHandler):
    """Answers what the path asks for."""

    ending: threading.Event

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.split("?")[0].strip("/")
        body = {
            "echo": json.dumps({"prediction": asked["inputs"]}).encode(),
            "many": b'{"predictions": [0.5]}',
            "none": b'{"predictions": []}',
            "number": b'{"predictions": 1}',
            "twice": b'{"prediction": 1, "prediction": 2}',
            "deep": b'{"prediction": ' + b"[" * 300 + b"]" * 300 + b"}",
            "nan": b'{"prediction": NaN}',
            "text": b"<html>",
            "empty": b"{}",
            "large": b'{"prediction": "' + b"x" * 300_000 + b'"}',
        }.get(name, b"{}")
        if name == "slow":
            self.ending.wait(HUNG)
        if name.startswith("drip"):
            self._drip(head=name == "drip-head")
            return
        self.send_response({"down": 500, "moved": 302, "refuses": 422}.get(name, 200))
        self.send_header("Location", "http://127.0.0.1:1/echo")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, *, head: bool) -> None:
        self.send_response(200)
        if not head:
            self.send_header("Content-Length", "100")
            self.end_headers()
        else:
            self.flush_headers()
            self.wfile.write(b"X: ")
        try:
            for _ in range(99 if not head else 60_000):
                self.wfile.write(b" ")
                self.wfile.flush()
                if self.ending.wait(0.02):
                    break
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    Handler.ending = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.ending.set()
    server.shutdown()
    thread.join()
    server.server_close()


def ask(url: str, *, private: bool = True, deadline: float = HUNG) -> object:
    return Upstream.parse(url, private=private).predict([1, 2.5, "x"], deadline)


def cause(url: str, *, private: bool = True, deadline: float = HUNG) -> Cause:
    with pytest.raises(ModelFailure) as caught:
        ask(url, private=private, deadline=deadline)
    return caught.value.cause


def test_inputs_go_out_and_the_prediction_comes_back(base: str) -> None:
    assert ask(f"{base}/echo?version=2") == [1, 2.5, "x"]
    assert ask(f"{base}/many") == [0.5]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nan", Cause.ANSWER),
        ("text", Cause.ANSWER),
        ("empty", Cause.ANSWER),
        ("large", Cause.ANSWER),
        ("none", Cause.ANSWER),
        ("number", Cause.ANSWER),
        ("twice", Cause.ANSWER),
        ("deep", Cause.ANSWER),
        ("down", Cause.ERROR),
        ("moved", Cause.ERROR),
    ],
)
def test_unusable_answers_are_failures(base: str, path: str, expected: Cause) -> None:
    """NaN, HTML, nothing, too much, too few, too deep, an error status, a redirect: none is passed on."""
    assert cause(f"{base}/{path}") is expected


def test_predictions_are_as_many_as_the_rows_asked_for(base: str) -> None:
    for rows in ([[1, 2]], [{"a": 1}]):
        assert Upstream.parse(f"{base}/many", private=True).predict(rows, HUNG) == [0.5]
        with pytest.raises(ModelFailure, match="list of 2"):
            Upstream.parse(f"{base}/many", private=True).predict(rows * 2, HUNG)


def test_inputs_that_the_upstream_refuses_are_the_callers_fault(base: str) -> None:
    with pytest.raises(InputsRefused, match="422"):
        ask(f"{base}/refuses")


@pytest.mark.parametrize("path", ["slow", "drip", "drip-head"])
def test_slow_answers_end_at_the_deadline(base: str, path: str) -> None:
    """Also when single bytes keep coming, which would renew a plain socket timeout: what comes in the end
    would be no answer, not a timeout."""
    assert cause(f"{base}/{path}", deadline=0.15) is Cause.TIMEOUT


def test_a_handshake_that_drips_ends_at_the_deadline() -> None:
    """Three bytes of a TLS record at a time, for as long as anybody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            peer, _ = listening.accept()
            with peer, contextlib.suppress(OSError):
                peer.sendall(b"\x16\x03\x03\x40\x00")
                while True:
                    peer.sendall(b"\x00")
                    time.sleep(0.01)

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert cause(f"https://127.0.0.1:{listening.getsockname()[1]}/", deadline=0.2) is Cause.TIMEOUT
        dripping.join()


def test_a_name_server_that_is_silent_costs_every_call_its_deadline_and_one_lookup(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a call after it answered asks anew."""
    answers, lookups, resolve = threading.Event(), [], socket.getaddrinfo

    def silent(host: str, *arguments: Any, **options: Any) -> Any:
        if host != "models.example":
            return resolve(host, *arguments, **options)
        lookups.append(host)
        assert answers.wait(HUNG)
        return resolve("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    url = base.replace("127.0.0.1", "models.example") + "/echo"
    with ThreadPoolExecutor(20) as callers:
        causes = list(callers.map(lambda _: cause(url, deadline=0.2), range(20)))
    assert (causes, lookups) == ([Cause.TIMEOUT] * 20, ["models.example"])
    answers.set()
    until(lambda: not upstream._lookups._under_way)
    assert ask(url) == [1, 2.5, "x"]
    assert lookups == ["models.example"] * 2


def test_a_name_that_is_none_is_an_error() -> None:
    assert cause(f"http://{'a' * 64}.example/") is Cause.ERROR


def test_nobody_listening_is_an_error() -> None:
    assert cause("http://127.0.0.1:1/") is Cause.ERROR


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "192.168.1.1", "[::1]", "[::ffff:127.0.0.1]",
     "0.0.0.0", "2130706433", "0x7f000001", "100.64.0.1", "[fe80::1]", "224.0.0.1"],
)  # fmt: skip
def test_private_addresses_need_the_operators_word(host: str) -> None:
    """Also in decimal, hexadecimal and mapped forms: the resolved address is what is checked."""
    assert cause(f"http://{host}:9/", private=False) is Cause.LOAD


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://x/", "ftp://x/", "http://", "http://u:p@x/", "http://x:99999/"]
)
def test_urls_that_are_not_plain_http_are_refused(url: str) -> None:
    assert cause(url) is Cause.LOAD


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("64:ff9b::7f00:1", False), ("64:ff9b::a9fe:a9fe", False), ("64:ff9b:1::a9fe:a9fe", False),
        ("2002:7f00:1::1", False), ("2002:a9fe:a9fe::1", False), ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False), ("2001:0:a9fe:a9fe::1", False), ("ff02::1", False), ("fec0::1", False),
        ("3fff::1", False), ("5f00::1", False), ("192.88.99.1", False), ("fd00::1", False), ("::", False),
        ("::ffff:10.0.0.1", False), ("fe80::1%eth0", False),
        ("8.8.8.8", True), ("2606:4700::1111", True), ("64:ff9b::808:808", True), ("::ffff:8.8.8.8", True),
    ],
)  # fmt: skip
def test_ipv6_hides_no_private_ipv4(address: str, public: bool) -> None:
    """NAT64 of a public address is public: networks of IPv6 alone reach the rest of the world by it."""
    assert _is_public(address) is public
