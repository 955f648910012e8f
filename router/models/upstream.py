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
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.router.http.body import JsonError, parse
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure

MAX_ANSWER_BYTES = 256 * 1024
_SCHEMES = {"http": 80, "https": 443}
_CHUNK = 16 * 1024
_REFUSALS = frozenset({400, 413, 415, 422})
"""Statuses that say something of the inputs and nothing of the model."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
# 6to4 and Teredo carry an IPv4 address; documentation
_NOT_UNICAST = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/32", "3fff::/20")))
_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")


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
        """Ask the upstream and check its answer, all of it in time. Raises ModelFailure, InputsRefused."""
        end = time.monotonic() + deadline
        try:
            status, body = self._post(orjson.dumps({"inputs": inputs}), end)
        except TimeoutError as error:
            raise ModelFailure(Cause.TIMEOUT, f"{self.host}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            cause = Cause.TIMEOUT if time.monotonic() >= end else Cause.ERROR
            raise ModelFailure(cause, f"{self.host}: {error}") from error
        if status in _REFUSALS:
            raise InputsRefused(f"{self.host} answered status {status}", field="inputs")
        if status != http.client.OK:
            raise ModelFailure(Cause.ERROR, f"{self.host} answered status {status}")
        return _prediction(body, inputs)

    def ended(self) -> bool:
        """Never: nothing runs here."""
        return False

    def _post(self, body: bytes, end: float) -> tuple[int, bytes]:
        sock = self._connect(end)
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.sock = sock
        # a peer that drips renews every timeout of a socket, in TLS and in the head of its answer too
        cut = threading.Timer(_left(end), _hang_up, (sock,))
        cut.daemon = True
        cut.start()
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                return response.status, self._read(response, sock, end)
        finally:
            cut.cancel()
            connection.close()

    def _read(self, response: http.client.HTTPResponse, sock: socket.socket, end: float) -> bytes:
        kept = bytearray()
        while chunk := response.read1(_CHUNK):
            kept += chunk
            if len(kept) > MAX_ANSWER_BYTES:
                raise ModelFailure(Cause.ANSWER, f"{self.host} sent more than {MAX_ANSWER_BYTES} bytes")
            sock.settimeout(_left(end))
        _left(end)
        return bytes(kept)

    def _connect(self, end: float) -> socket.socket:
        address = self._checked_address(end)
        sock = socket.create_connection((address, self.port), timeout=_left(end))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(
                    sock, server_hostname=self.host, do_handshake_on_connect=False
                )
            sock.settimeout(_left(end))
        except BaseException:
            sock.close()
            raise
        return sock

    def _checked_address(self, end: float) -> str:
        address = _lookups.address(self.host, self.port, end)
        if not self.private and not _is_public(address):
            raise ModelFailure(
                Cause.LOAD,
                f"{self.host} is the private address {address}. "
                "Fix: set SWITCHPOINT_UPSTREAM_PRIVATE=1 if upstreams of this network are meant",
            )
        return address


class _Lookups:
    """Names that are being resolved: once, however many calls wait for it, each until its own deadline.

    The system's resolver knows no deadline: a silent name server would hold every call for many seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, int], Future[str]] = {}

    def address(self, host: str, port: int, end: float) -> str:
        """The first address of a name. Raises OSError, of which TimeoutError."""
        name = (host, port)
        with self._lock:
            found = self._under_way.get(name)
            if found is None:
                found = self._under_way[name] = Future()
                threading.Thread(target=self._resolve, args=(name, found), daemon=True).start()
        return found.result(timeout=_left(end))

    def _resolve(self, name: tuple[str, int], found: Future[str]) -> None:
        try:
            address = str(socket.getaddrinfo(*name, type=socket.SOCK_STREAM)[0][4][0])
        except (OSError, UnicodeError) as error:
            self._end(name)
            found.set_exception(OSError(f"its name cannot be resolved: {error}"))
        else:
            self._end(name)
            found.set_result(address)

    def _end(self, name: tuple[str, int]) -> None:
        with self._lock:  # a call that begins now asks anew
            del self._under_way[name]


_lookups = _Lookups()


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or (ipaddress.IPv4Address(ip.packed[12:]) if ip in _NAT64 else None)
        if carried is None:
            return ip in _UNICAST and ip.is_global and not any(ip in network for network in _NOT_UNICAST)
        ip = carried
    return ip.is_global and not ip.is_multicast and ip not in _RELAYS


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        # of TLS, too, the socket below: its own method takes away what the handshake works on
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline passed")
    return left


def _prediction(body: bytes, inputs: object) -> object:
    """The `prediction` of an answer, or its `predictions`, one for every row of the inputs."""
    try:
        answer = parse(body)
    except JsonError as error:
        raise ModelFailure(Cause.ANSWER, f"the upstream's answer is no JSON: {error}") from None
    if not isinstance(answer, dict):
        answer = {}
    if answer.get("prediction") is not None:
        return answer["prediction"]
    predictions = answer.get("predictions")
    if predictions is None:
        raise ModelFailure(Cause.ANSWER, 'the upstream\'s answer has no "prediction"')
    rows = isinstance(inputs, list) and all(isinstance(row, list | dict) for row in inputs)
    wanted = len(inputs) if rows and isinstance(inputs, list) else 1
    if not isinstance(predictions, list) or len(predictions) != wanted:
        raise ModelFailure(Cause.ANSWER, f'"predictions" of {wanted} rows is no list of {wanted}')
    return predictions
