"""In-process models in processes of their own (`router.models.runner`): the serving process's side."""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import Iterable
from pathlib import Path

import orjson

from switchpoint.experiment.language.document import to_body
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.router.models.fork_server import ForkServer
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.models.runner import LOAD_SECONDS, open_reply
from switchpoint.router.models.trust import DEFAULT_PROFILES, require_known

START_SECONDS = 60.0  # importing scikit-learn takes one or two, many on a busy machine
_CHUNK = 64 * 1024


class IsolatedLoader:
    """Loads versions of format "skops", each into a process of its own, under the operator's profiles."""

    keeps_deadlines = True

    def __init__(
        self, models: Path, profiles: Iterable[str] = DEFAULT_PROFILES, *, fork_server: ForkServer
    ) -> None:
        """`models` is the folder of the artifacts. Raises KeyError for an unknown profile name."""
        self._models, self._profiles = models, require_known(profiles)
        self._fork_server = fork_server

    def load(self, version: ModelVersion) -> IsolatedModel:
        """A process that has loaded and tried the version.

        Raises:
            ModelFailure: LOAD names what was refused; CRASHED when the process ended over it.
        """
        order = {"models": str(self._models), "profiles": self._profiles, "version": to_body(version)}
        end = time.monotonic() + START_SECONDS + LOAD_SECONDS
        try:
            model = IsolatedModel(self._fork_server.runner())
            model.await_start(time.monotonic() + START_SECONDS)
        except OSError as error:
            raise ModelFailure(Cause.LOAD, f"no process can be started for it: {error}") from error
        try:
            model.ask(order, end)
        except ModelFailure as failure:
            if failure.cause in {Cause.CRASHED, Cause.LOAD}:
                raise
            raise ModelFailure(Cause.LOAD, failure.message) from failure
        return model


class IsolatedModel:
    """One runner. It computes one call at a time; it ends when nobody refers to this any more."""

    def __init__(self, connection: socket.socket) -> None:
        """Talk to the runner at the other end."""
        self._connection, self._lock = connection, threading.Lock()
        self._owes = False  # the runner still computes for a caller who has gone
        self._received = bytearray()
        weakref.finalize(self, connection.close)

    def predict(self, inputs: object, deadline: float) -> object:
        """The model's answer within `deadline` seconds.

        Raises:
            InputsRefused, ModelFailure: as the model did; BUSY, TIMEOUT; CRASHED when the process is gone.
        """
        end = time.monotonic() + deadline
        if not self._lock.acquire(timeout=deadline):
            raise ModelFailure(Cause.BUSY, "its process answers others")
        try:
            self._await_idle(end)
            return self.ask({"inputs": inputs, "deadline": max(0.0, end - time.monotonic())}, end)
        finally:
            self._lock.release()

    def await_start(self, end: float) -> None:
        """Wait for the first word of the process. Raises OSError when there is none."""
        try:
            self._line(end)
        except ModelFailure as failure:
            raise OSError(failure.message) from None

    def _await_idle(self, end: float) -> None:
        if self._owes:
            try:
                self._line(end)
            except TimeoutError:
                raise ModelFailure(Cause.BUSY, "its process is still at an earlier call") from None
            self._owes = False

    def ask(self, request: object, end: float) -> object:
        """Send a request to an idle runner and wait for its reply."""
        try:
            line = orjson.dumps(request) + b"\n"
        except orjson.JSONEncodeError as error:
            raise InputsRefused(f"cannot be passed on: {error}", field="inputs") from None
        self._send(line, end)
        self._owes = True
        try:
            reply = self._line(end)
        except TimeoutError:
            raise ModelFailure(Cause.TIMEOUT, "no answer before the deadline") from None
        self._owes = False
        return open_reply(reply)

    def ended(self) -> bool:
        """Whether the process is gone."""
        if not self._lock.acquire(blocking=False):
            return False  # somebody is talking to it, and will see
        try:
            self._connection.settimeout(0)
            return not self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self._lock.release()

    def _send(self, line: bytes, end: float) -> None:
        self._connection.settimeout(_left(end))
        try:
            self._connection.sendall(line)
        except OSError as error:  # half a line may have gone: nothing can be said to it any more
            raise ModelFailure(Cause.CRASHED, f"its process takes no call: {error}") from None

    def _line(self, end: float) -> bytes:
        """The next line. Raises TimeoutError; ModelFailure(CRASHED) at the end of the stream."""
        while True:
            self._connection.settimeout(_left(end))
            try:
                chunk = self._connection.recv(_CHUNK)
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise ModelFailure(Cause.CRASHED, "its process ended: it crashed, or computed far too long")
            self._received += chunk
            if chunk.endswith(b"\n"):
                line = bytes(self._received)
                self._received.clear()
                return line


def _left(end: float) -> float:
    return max(0.001, end - time.monotonic())
