"""Requests that no description makes: broken bodies, frames and heads, as bytes."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from switchpoint.router.http.body import MAX_BODY_BYTES
from switchpoint.router.serving.launch import ServingProcess
from tests.router import world
from tests.waiting import HUNG


@dataclass(frozen=True, repr=False)
class Hostile:
    """One request as it is sent."""

    method: str
    path: str
    headers: tuple[str, ...]
    body: bytes
    frame: str

    def __repr__(self) -> str:
        """Enough of it to know it again."""
        body = f"{self.body[:300]!r} of {len(self.body)} bytes, {self.frame}"
        return f"<{self.method} {self.path[:100]} {[one[:100] for one in self.headers]} {body}>"

    def raw(self) -> bytes:
        """The bytes, of which no more follow."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: x", "Connection: close", *self.headers]
        size = len(self.body) + {"short": -1, "long": 10}.get(self.frame, 0)
        if self.frame in {"exact", "short", "long", "both"}:
            lines.append(f"Content-Length: {max(0, size)}")
        if self.frame in {"chunked", "both", "broken"}:
            lines.append("Transfer-Encoding: chunked")
        body = self.body if self.frame in {"exact", "short", "long", "none"} else self._chunks()
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _chunks(self) -> bytes:
        pieces = [self.body[at : at + 700] for at in range(0, len(self.body), 700)]
        text = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        return text + (b"zz\r\n" if self.frame == "broken" else b"0\r\nTrailer: x\r\n\r\n")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any


def send(service: ServingProcess, request: Hostile) -> Answer | None:
    """The answer; None where the service hung up without one. Raises TimeoutError where it hangs."""
    with socket.create_connection((service.host, service.port), timeout=HUNG) as sock:
        with suppress(OSError):  # it need not read to the end
            sock.sendall(request.raw())
            sock.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(sock, method=request.method)
        try:
            response.begin()
            raw = response.read()
        except ConnectionError:
            return None
    headers = {name.lower(): value for name, value in response.getheaders()}
    parsed = json.loads(raw) if raw and "json" in headers.get("content-type", "") else raw
    return Answer(response.status, headers, parsed)


def _whole_bodies() -> list[bytes]:
    event = {"id": "h", "type": "purchase", "unit": "u", "at": world.now_ms(), "properties": {"amount": 1}}
    exposure = {
        **event,
        "type": "exposure",
        "properties": None,
        "experiment": world.EXPERIMENT,
        "variant": "control",
        "segment": "us",
        "epoch": 1,
        "revision": 2,
        "propensity": 0.5,
        "dimensions": {"device": "ios"},
    }
    us = {"unit": "u", "attributes": {"country": "US", "device": "ios", "past_spend": 3}}
    documents = [
        us,
        {**us, "experiments": [world.EXPERIMENT] * 50},
        {**us, "inputs": [[1, 2]], "covariates": {"past_spend": 2.5}},
        {**us, "inputs": [1, 2]},
        {"events": [event, exposure, {}, None]},
        [event] * 30,
    ]
    return [json.dumps(document).encode() for document in documents]


WHOLE = _whole_bodies()
BROKEN = [
    b"", b" ", b"\0", b"\xef\xbb\xbf{}", b"NaN", b"[NaN]", b'{"unit": Infinity}', b'{"unit": -Infinity}',
    b'{"unit": "u", "unit": "v"}', b'{"unit": "u", "\\u0075nit": "v"}', b'{"unit": "\xff\xfe"}', b'{"unit": "\\ud800"}',
    b'{"unit": "u", "attributes": {"country": 1e400}}', b'{"unit": "u", "inputs": [1e308, -1e308]}',
    b'{"unit": "u", "inputs": [[1, 2], [3]]}', b'{"unit": "u", "inputs": [null, null]}',
    b'{"unit": "u", "inputs": [%s, 1]}' % (b"9" * 400), b'{"unit": "u", "inputs": [18446744073709551616, 1]}',
    b'{"unit": "u", "inputs": []}', b'{"unit": "u", "inputs": [[]]}', b'{"unit": "u", "inputs": ["1", true]}',
    b'{"unit": "%s"}' % (b"u" * 300), b'{"unit": "u", "attributes": {"%s": 1}}' % (b"n" * 900_000),
    b'{"unit": "u", "attributes": {"country": "%s"}}' % (b"+" * 900_000), b'{"%s": 1}' % (b"k" * 900_000),
    b'{"unit": "u", "attributes": {"country": %s}}' % (b"[" * 200 + b"]" * 200),
    b'{"unit": "u", "attributes": {%s}}' % b",".join(b'"a%d": 1' % i for i in range(50_000)),
    b'{"unit": "u", "inputs": [%s]}' % b",".join([b"[1,2]"] * 100_000), b"[%s]" % b",".join([b"{}"] * 1000),
    b"[%s]" % b",".join([b"[]"] * 300_000), b"[%s]" % b",".join([b"7"] * 1000), b'{"events": %s}' % (b"[" * 100_000),
    b'[{"id": %s}]' % (b'{"a":' * 1200 + b"1" + b"}" * 1200), b" " * (MAX_BODY_BYTES + 1), b"1" * MAX_BODY_BYTES,
    b'"%s"' % (b"\\u0000" * 100_000), gzip.compress(WHOLE[0]),
]  # fmt: skip
_NUMBERS = [b"1e400", b"-0", b"1e-400", b"0.1e1", b"9" * 400, b"18446744073709551615", b"1" + b"0" * 5000]


def _deep(depth: int, begin: bytes) -> bytes:
    end = b"]" if begin == b"[" else b"}"
    return b'{"unit": "u", "attributes": {"country": ' + begin * depth + b"1" + end * depth + b"}}"


def _spliced(whole: bytes, at: int, piece: bytes, cut: int) -> bytes:
    at %= len(whole)
    return whole[:at] + piece + whole[at + cut :]


_BODIES = st.one_of(
    st.sampled_from(BROKEN),
    st.sampled_from(WHOLE),
    st.binary(max_size=300),
    st.builds(_deep, st.integers(1, 1100), st.sampled_from([b"[", b'{"a":'])),
    st.builds(
        _spliced,
        st.sampled_from(WHOLE),
        st.integers(0, 2_000),
        st.sampled_from(_NUMBERS) | st.binary(max_size=3),
        st.integers(0, 5),
    ),
)
_HEADERS = st.sampled_from([
    "Accept: application/openmetrics-text; version=x", "Accept: ;;=,", "Accept: */*;q=abc", "Accept: " + "a/b," * 1500,
    "Accept-Encoding: gzip", "Content-Encoding: gzip", "Content-Encoding: identity", "Content-Encoding: gzip, identity",
    "Content-Type: application/x-www-form-urlencoded", "Content-Type: multipart/form-data; boundary=x", "Content-Type: \xff",
    "If-None-Match: *", 'If-None-Match: W/"\xe9", "', "If-None-Match: " + '"a",' * 1900, "X-Switchpoint-Clock: -1",
    "X-Switchpoint-Clock: 99999999999999999999", "Expect: 100-continue", "Expect: magic", "Content-Length: -1",
    "Content-Length: +1", "Content-Length: 1, 1", "Content-Length: 99999999999999999999", "Transfer-Encoding: magic",
    "Transfer-Encoding: gzip, chunked", "Range: bytes=0-1", "Cookie: a=b; a=\x80", "X-Forwarded-For: ::1, x",
    "Host: y", "Authorization: Basic \xff", "A B: c", "No colon", "X: " + "y" * 9000, "Upgrade: websocket",
    "X-Forwarded-Proto: gopher", "Script_Name: /v1", "Path_Info: /metrics", "Connection: upgrade", "TE: trailers",
])  # fmt: skip
_PATHS = st.sampled_from([
    "/v1/assign", "/v1/events", "/v1/predict/ranker", "/v1/snapshot", "/healthz", "/readyz", "/metrics", "/openapi.json",
    "/v1/predict/", "/v1/predict/%00%ff", "/v1/predict/" + "m" * 3000, "/v1/predict/ranker?a=%ff&b", "/v1/assign?x#y",
    "//v1/assign", "/v1/../healthz", "/%2e%2e/", "*", "http://other/healthz", "/healthz;a=b", "/\xff\xfe", "/a" * 3000, "?",
])  # fmt: skip
_METHODS = st.sampled_from(
    ["POST"] * 12 + ["GET"] * 4 + ["HEAD", "OPTIONS", "TRACE", "PUT", "CONNECT", "get", "P\xd6ST", "M" * 30]
)
REQUESTS = st.tuples(
    _METHODS,
    _PATHS,
    st.lists(_HEADERS, max_size=3).map(tuple),
    _BODIES,
    st.sampled_from(["exact"] * 8 + ["chunked", "short", "long", "both", "broken", "none"]),
).map(lambda parts: Hostile(*parts))
