"""A way to Redis that can be disturbed: what every attack on the store goes through."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 262_144


def always(_request: bytes) -> bool:
    """Every request is disturbed."""
    return True


def scripts(request: bytes) -> bool:
    """Only scripts are: what records events, not what reads revisions."""
    return b"EVAL" in request[:60].upper()


class Proxy:
    """Forwards TCP connections to a server's Unix socket, as `mode` says.

    pass; hole: nothing is answered; drop: requests arrive, answers are cut; delay:SECONDS; error:TEXT: the
    request does not arrive and TEXT is Redis's answer; garble: the first byte of an answer is wrong.
    """

    def __init__(self, target: Path | str) -> None:
        """Listen on a free port; nothing is disturbed yet."""
        self.target, self.mode = target, "pass"
        self.disturbed: Callable[[bytes], bool] = always
        self.errors = 0  # answered
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=500)
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """The address of the way through."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def set(self, mode: str, disturbed: Callable[[bytes], bool] = always) -> None:
        """Behave so from now on, for old connections too: they are cut."""
        self.mode, self.disturbed = mode, disturbed
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Forwarding."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        self._open |= {client, server}
        try:
            server.connect(str(self.target))
            self._exchange(client, server)
        except OSError:
            pass
        finally:
            self._open -= {client, server}
            client.close()
            server.close()

    def _exchange(self, client: socket.socket, server: socket.socket) -> None:
        request = b""
        while True:
            for end in select.select([client, server], [], [])[0]:
                data = end.recv(_CHUNK)
                if not data:
                    return
                if end is client:
                    begins = data.startswith(b"*")  # otherwise the rest of a long request
                    request = data if begins else request
                    self._ask(request, data, client, server)
                elif not self._answered(request, data, client):
                    return

    def _ask(self, request: bytes, data: bytes, client: socket.socket, server: socket.socket) -> None:
        mode = self.mode if self.disturbed(request) else "pass"
        if mode.startswith("error:"):
            if data is request:
                self.errors += 1
                client.sendall(f"-{mode.removeprefix('error:')}\r\n".encode())
        elif mode != "hole":
            if mode.startswith("delay:"):
                time.sleep(float(mode.removeprefix("delay:")))
            server.sendall(data)

    def _answered(self, request: bytes, answer: bytes, client: socket.socket) -> bool:
        mode = self.mode if self.disturbed(request) else "pass"
        if mode == "drop":
            return False
        client.sendall(b"?" + answer[1:] if mode == "garble" else answer)
        return True
