"""A model behind plain HTTP: POST {"inputs": ...}, answer {"prediction": ...} (or "predictions").

The answer is untrusted: status, size, JSON and finite numbers are checked. The address is resolved once per
call and the checked address is the one connected to, so a name cannot point elsewhere in between; redirects
are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from experiment.model import ModelVersion
from router.models.model import Cause, ModelFailure

MAX_ANSWER_BYTES = 256 * 1024
_SCHEMES = {"http": 80, "https": 443}
_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLoader:
    """Loads versions of format "http". `private` lets upstreams live on private or loopback addresses."""

    private: bool = False
    keeps_deadlines = False

    def load(self, version: ModelVersion) -> Upstream:
        """Check the URL; nothing is sent yet. Raises ModelFailure(LOAD)."""
        return Upstream.parse(version.upstream or "", private=self.private)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One checked upstream address."""

    scheme: str
    host: str
    port: int
    path: str
    private: bool

    @classmethod
    def parse(cls, url: str, *, private: bool) -> Upstream:
        """Split and check a URL. Raises ModelFailure(LOAD) naming what is wrong."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ModelFailure(Cause.LOAD, f"upstream URL {url!r}: {error}") from None
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ModelFailure(Cause.LOAD, f"upstream URL {url!r} must be http:// or https:// with a host")
        if parts.username or parts.password:
            raise ModelFailure(Cause.LOAD, "an upstream URL may not carry a password")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or _SCHEMES[parts.scheme],
            path=path,
            private=private,
        )

    def predict(self, inputs: object, deadline: float) -> object:
        """Ask the upstream and check its answer. Raises ModelFailure."""
        end = time.monotonic() + deadline
        try:
            status, body = self._post(orjson.dumps({"inputs": inputs}), end)
        except TimeoutError as error:
            raise ModelFailure(Cause.TIMEOUT, f"{self.host}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise ModelFailure(Cause.ERROR, f"{self.host}: {error}") from error
        if status != http.client.OK:
            raise ModelFailure(Cause.ERROR, f"{self.host} answered status {status}")
        return _prediction(body)

    def ended(self) -> bool:
        """Never: nothing runs here."""
        return False

    def _post(self, body: bytes, end: float) -> tuple[int, bytes]:
        sock = self._connect(end)
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.sock = sock
        try:
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                return response.status, self._read(response, sock, end)
        finally:
            connection.close()

    def _read(self, response: http.client.HTTPResponse, sock: socket.socket, end: float) -> bytes:
        kept = bytearray()
        while chunk := response.read1(_CHUNK):
            kept += chunk
            if len(kept) > MAX_ANSWER_BYTES:
                raise ModelFailure(Cause.ANSWER, f"{self.host} sent more than {MAX_ANSWER_BYTES} bytes")
            sock.settimeout(_left(end))
        return bytes(kept)

    def _connect(self, end: float) -> socket.socket:
        address = self._checked_address()
        sock = socket.create_connection((address, self.port), timeout=_left(end))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self.host)
            sock.settimeout(_left(end))
        except BaseException:
            sock.close()
            raise
        return sock

    def _checked_address(self) -> str:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        address = str(found[0][4][0])
        if not self.private and not _is_public(address):
            raise ModelFailure(
                Cause.LOAD,
                f"{self.host} is the private address {address}. "
                "Fix: set SWITCHPOINT_UPSTREAM_PRIVATE=1 if upstreams of this network are meant",
            )
        return address


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_global and not (mapped or ip).is_multicast


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline passed")
    return left


def _prediction(body: bytes) -> object:
    """The `prediction` of an answer; orjson refuses NaN, infinities and broken text."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ModelFailure(Cause.ANSWER, f"the upstream's answer is not JSON: {error}") from None
    if isinstance(answer, dict):
        for key in ("prediction", "predictions"):
            if answer.get(key) is not None:
                return answer[key]
    raise ModelFailure(Cause.ANSWER, 'the upstream\'s answer has no "prediction"')
