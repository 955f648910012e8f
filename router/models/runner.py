"""The process in which one scikit-learn model computes: what crashes or hangs there takes nobody along.

A fork server (`router.models.runner FD`, one for all workers of a service) imports scikit-learn
once and forks a runner for every socket it is sent. A runner loads one model, tries it, and answers one call
after the other; whoever called waits no longer than the deadline. Requests and replies are lines of JSON, one
reply each. Everything ends by itself: a runner with its socket or by an alarm of the kernel, the fork server
with its control socket.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from switchpoint.experiment.language.document import from_body
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.models.sklearn_model import SklearnLoader, SklearnModel

LOAD_SECONDS = 60.0
OVERRUN_SECONDS = 2.0
MEMORY_BYTES = 4 * 1024**3
_WORST_FOR_THE_KERNEL = "1000"


def main(descriptor: int) -> None:
    """Fork a runner for every socket that arrives, until the other end of `descriptor` is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the serving process finishes its calls, then closes
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead
    _import_what_models_need()
    control = socket.socket(fileno=descriptor)
    control.settimeout(None)
    while True:
        said, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not said:
            return
        with suppress(OSError):  # no process to be had: the socket closes, which says it
            if os.fork() == 0:
                control.close()
                _become_runner(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])


def _become_runner(connection: socket.socket) -> None:
    try:
        _run(connection)
    except ConnectionError:
        pass  # nobody waits for the reply
    except BaseException:  # noqa: BLE001 - its last words
        traceback.print_exc()
    finally:
        os._exit(0)


def _import_what_models_need() -> None:
    for name in ("skops.io", "sklearn.ensemble", "sklearn.linear_model", "sklearn.pipeline"):
        import_module(name)


def _run(connection: socket.socket) -> None:
    _limit()
    connection.settimeout(None)
    connection.sendall(b"started\n")
    lines = connection.makefile("rb")
    order = orjson.loads(lines.readline())
    loaded: list[SklearnModel] = []

    def load() -> None:
        loader = SklearnLoader(Artifacts(Path(order["models"])), order["profiles"])
        model = loader.load(from_body(ModelVersion, order["version"]))
        model.rehearse()
        loaded.append(model)

    with _alarm(LOAD_SECONDS):
        connection.sendall(_reply(load))
    for model in loaded:
        _answer(model, lines, connection)


def _answer(model: SklearnModel, lines: Iterable[bytes], connection: socket.socket) -> None:
    for line in lines:
        request = orjson.loads(line)
        with _alarm(request["deadline"] + OVERRUN_SECONDS):
            reply = _reply(partial(model.predict, request["inputs"], request["deadline"]))
        connection.sendall(reply)


def _reply(work: Callable[[], object]) -> bytes:
    """The answer or the failure as a line; `open_reply` reads it."""
    try:
        return orjson.dumps({"answer": work()}) + b"\n"
    except InputsRefused as error:
        said: dict[str, Any] = {
            "refused": {"message": error.message, "field": error.field, "fix": error.fix},
            "value": _plain(error.value),
        }
    except ModelFailure as failure:
        said = {"failed": failure.cause.value, "message": failure.message}
    except orjson.JSONEncodeError as error:
        said = {"failed": Cause.ANSWER.value, "message": f"the model's answer is not JSON: {error}"}
    except Exception as error:  # noqa: BLE001 - a model raises what it likes
        said = {"failed": Cause.ERROR.value, "message": f"raised {error!r}"}
    return orjson.dumps(said) + b"\n"


def open_reply(line: bytes) -> object:
    """What `_reply` wrote. Raises InputsRefused or ModelFailure as the runner did."""
    said = orjson.loads(line)
    if "refused" in said:
        raise InputsRefused(**said["refused"], value=said["value"])
    if "failed" in said:
        raise ModelFailure(Cause(said["failed"]), said["message"])
    return said["answer"]


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | None) else repr(value)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer: SIGALRM's default action, which no loop can put off."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _limit() -> None:
    """Bound the memory; no core dump; and where memory is short this process goes before any other."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_WORST_FOR_THE_KERNEL, encoding="ascii")


if __name__ == "__main__":
    main(int(sys.argv[1]))
