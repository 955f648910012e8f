"""Models behind HTTP: the answer is untrusted, the address is checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from router.models.model import Cause, ModelFailure
from router.models.upstream import Upstream
from tests.waiting import HUNG


class Handler(BaseHTTPRequestHandler):
    """Answers what the path asks for."""

    ending: threading.Event

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.split("?")[0].strip("/")
        body = {
            "echo": json.dumps({"prediction": asked["inputs"]}).encode(),
            "many": b'{"predictions": [0.5]}',
            "nan": b'{"prediction": NaN}',
            "text": b"<html>",
            "empty": b"{}",
            "large": b'{"prediction": "' + b"x" * 300_000 + b'"}',
        }.get(name, b"{}")
        if name == "slow":
            self.ending.wait(HUNG)
        if name == "drip":
            self._drip()
            return
        self.send_response({"down": 500, "moved": 302}.get(name, 200))
        self.send_header("Location", "http://127.0.0.1:1/echo")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        try:
            for _ in range(99):
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
        ("down", Cause.ERROR),
        ("moved", Cause.ERROR),
    ],
)
def test_unusable_answers_are_failures(base: str, path: str, expected: Cause) -> None:
    """NaN, HTML, nothing, too much, an error status, a redirect: none is passed on."""
    assert cause(f"{base}/{path}") is expected


@pytest.mark.parametrize("path", ["slow", "drip"])
def test_slow_answers_end_at_the_deadline(base: str, path: str) -> None:
    """Also when single bytes keep coming, which would renew a plain socket timeout: what comes in the end
    would be no answer, not a timeout."""
    assert cause(f"{base}/{path}", deadline=0.15) is Cause.TIMEOUT


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
