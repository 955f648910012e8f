"""Tables that people bring: kept for a day in a private folder, read and judged by a process of their own.

Nothing leaves the machine. What the process found out is a document on the board. It goes on when the tab is
closed or the console starts again; whoever looks is told when it was killed half-way.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from flask import Request
from werkzeug.datastructures import FileStorage

from switchpoint.experiment.errors import BadInput, NotFound, PlatformError, Refused
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.store.board import Kept, console_folder
from switchpoint.experiment.store.tables import ENDINGS
from switchpoint.router.console.access import Role
from switchpoint.router.console.operation import Call, Field, Form, Object, Operation
from switchpoint.router.console.project import Project

MAX_FILE_BYTES = 500_000_000
LIFE_MS = 24 * 3600 * 1000
AT_ONCE = 2
"""Processes that read or judge files at one time; each may need as much memory as its table."""
KIND, RUNNING = "file", "running"
_WORK = "from switchpoint.router.console.views.file_work import main; main()"
_starting = threading.Lock()


def files_folder(data: Path, project: str) -> Path:
    """Where the files of a project's console lie."""
    return console_folder(data, project) / "files"


def request_class(folder: Path) -> type[Request]:
    """Requests whose uploads are streamed into a folder of ours, where they have no name."""

    class Uploading(Request):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.streams: list[IO[bytes]] = []

        def close(self) -> None:  # those, too, of a body that was refused half-way
            super().close()
            for stream in self.streams:
                stream.close()

        def _get_file_stream(self, *_: object, **__: object) -> IO[bytes]:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stream = tempfile.TemporaryFile("rb+", dir=folder)  # noqa: SIM115 - closed with the request
            self.streams.append(stream)
            return stream

    return Uploading


def add(call: Call) -> Object:
    """Take a file in and begin to read it."""
    project, upload = call.project, call.given["file"]
    assert isinstance(upload, FileStorage)  # noqa: S101 - as its field says
    name = Path((upload.filename or "").replace("\\", "/")).name[:200]
    ending = next((one for one in ENDINGS if name.lower().endswith(one)), None)
    if ending is None:
        raise BadInput(
            "not a table this reads", field="file", value=name, fix=f"bring one of {', '.join(ENDINGS)}"
        )
    _clear(project)
    key, table = secrets.token_hex(8), f"table{ending}"
    folder = files_folder(project.data, project.name) / key
    try:
        folder.mkdir(mode=0o700, parents=True)
        upload.save(folder / table)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise PlatformError(f"the file cannot be stored: {error}") from error
    body = {
        "name": name, "table": table, "bytes": (folder / table).stat().st_size, "by": call.actor,
        "suggestion": None, "spec": "", "report": None,
    }  # fmt: skip
    try:
        return _begin(project, key, {**body, "step": "read"})
    except Refused:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def judge(call: Call) -> Object:
    """Judge a file by a spec; the report gets a permanent address."""
    key = call.path["id"]
    spec = call.text("spec").replace("\r\n", "\n") + "\n"
    body = show(call)
    load_spec(spec, file="spec")  # says what is wrong before anything starts
    return _begin(call.project, key, {**body, "step": "judge", "spec": spec, "report": None})


def show(call: Call) -> Object:
    """One file: how it is read, and what came of it."""
    return _state(call.project, call.path["id"])


def every(call: Call) -> object:
    """The files of the last day, the newest first."""
    project = call.project
    _clear(project)
    kept = sorted(project.board.all(KIND), key=lambda one: -one.at)
    return [_state(project, one.key) for one in kept]


def cancel(call: Call) -> Object:
    """End what a file's process does."""
    project, key = call.project, call.path["id"]
    body = _state(project, key)
    if body["status"] == RUNNING:
        with _starting:  # once it has begun its number is known
            _kill(_folder(project, key))
        body = {**body, "status": "cancelled", "problem": None}
        project.board.put(KIND, key, body, at=body["at"])
    return body


def remove(call: Call) -> Object:
    """Delete a file and what was found out; reports that were made of it stay."""
    project, key = call.project, call.path["id"]
    _state(project, key)
    _forget(project, {key})
    return {"id": key}


def pages_of_all(project: Project, _path: Mapping[str, str], _query: Mapping[str, str]) -> dict[str, Any]:
    """The files there are, and the form that takes another."""
    call = Call(project=project, actor="", path={}, given={})
    return {"files": every(call), "limit": MAX_FILE_BYTES, "endings": ENDINGS}


def page_of_one(project: Project, path: Mapping[str, str], _query: Mapping[str, str]) -> dict[str, Any]:
    """One file."""
    return {"file": _state(project, path["id"])}


def _state(project: Project, key: str) -> Object:
    # the lock first: who has let go of it has written what it found out
    running = _held(_folder(project, key))
    kept = project.board.get(KIND, key)
    if kept is None:
        raise NotFound(
            "no such file", field="id", value=key, fix="it was deleted, after a day or by somebody"
        )
    body: Object = {"id": key, **kept.body}
    if body["status"] == RUNNING and not running:
        ended = {
            "field": "", "message": "the process ended half-way: it was killed, or had no memory left",
            "fix": "try again, or take a part of the rows",
        }  # fmt: skip
        return {**body, "status": "failed", "problem": ended}
    return body


def _begin(project: Project, key: str, body: Object) -> Object:
    """Start the process of a file; the lock that it inherits says that it lives."""
    folder = _folder(project, key)
    with _starting:
        running = [kept.key for kept in project.board.all(KIND) if _runs(project, kept)]
        if key in running:
            raise Refused("it is being worked on", field="id", value=key, fix="wait, or cancel that first")
        if len(running) >= AT_ONCE:
            raise Refused(
                f"{AT_ONCE} files are being worked on", field="id", fix="wait until one of them is done"
            )
        body = {**body, "id": key, "status": RUNNING, "problem": None, "at": project.wall_clock()}
        project.board.put(KIND, key, body, at=body["at"])
        with (folder / "lock").open("a") as lock, (folder / "log").open("ab") as log:
            fcntl.flock(lock, fcntl.LOCK_EX)  # waits for one that has said all and is about to end
            lock.truncate(0)
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-P", "-c", _WORK, str(project.data), project.name, key],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock.fileno(),),
                start_new_session=True,
            )  # fmt: skip
            lock.write(str(process.pid))
    threading.Thread(target=process.wait, daemon=True).start()  # or it would stay as a zombie
    return body


def _runs(project: Project, kept: Kept) -> bool:
    return kept.body["status"] == RUNNING and _held(_folder(project, kept.key))


def _held(folder: Path) -> bool:
    """Whether the process of a file lives."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _kill(folder: Path) -> None:
    """End the process that holds a file's lock: as long as it does, the number is its own."""
    if _held(folder):
        with suppress(ProcessLookupError):  # it ended by itself just now
            os.killpg(int((folder / "lock").read_text()), signal.SIGKILL)


def _folder(project: Project, key: str) -> Path:
    if len(key) != 16 or not set(key) <= set("0123456789abcdef"):
        raise NotFound("no such file", field="id", value=key, fix="choose one of /file")
    return files_folder(project.data, project.name) / key


def _clear(project: Project) -> None:
    """Delete what is older than a day."""
    oldest = project.wall_clock() - LIFE_MS
    if old := {kept.key for kept in project.board.all(KIND) if kept.at < oldest}:
        _forget(project, old)


def _forget(project: Project, keys: set[str]) -> None:
    with _starting:
        for key in keys:
            _kill(_folder(project, key))
            shutil.rmtree(_folder(project, key), ignore_errors=True)
        project.board.keep_only(KIND, {kept.key for kept in project.board.all(KIND)} - keys)


def _of_file(
    name: str, path: str, says: str, run: Any, *fields: Field, back: str = "/file/{id}"
) -> Operation:
    return Operation(
        name=name, method="POST", path=path, role=Role.ANALYST, says=says, run=run, fields=fields, back=back,
        audited=False,
    )  # fmt: skip


OPERATIONS = (
    Operation(
        name="files", method="GET", path="/files", role=Role.ANALYST, says="The files of the last day.",
        run=every,
    ),
    Operation(name="file", method="GET", path="/files/{id}", role=Role.ANALYST, says="One file.", run=show),
    _of_file(
        "add_file", "/files", "Take a table in (multipart/form-data) and say how it is read.", add,
        Field("file", Form.FILE, f"A table of at most {MAX_FILE_BYTES // 1_000_000} MB.", required=True),
    ),
    _of_file(
        "judge_file", "/files/{id}/judge", "Judge a file by a spec.", judge,
        Field("spec", Form.TEXT, "The spec as YAML text.", required=True),
    ),
    _of_file("cancel_file", "/files/{id}/cancel", "End the work on a file.", cancel),
    _of_file("remove_file", "/files/{id}/remove", "Delete a file.", remove, back="/file"),
)  # fmt: skip
