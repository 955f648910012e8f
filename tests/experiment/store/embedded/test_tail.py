"""Of a transaction within which the server was killed nothing is done, however often it is started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.store.embedded import tail
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.embedded.tail import mend_tail
from tests.waiting import patient, until

BEGIN, END = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
SET = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"


def log_of(data: Path) -> Path:
    (path,) = (data / "redis" / "appendonlydir").glob("*.incr.aof")
    return path


def killed(server: EmbeddedServer) -> None:
    """End the server as a crash would, and wait for its end."""
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.alive())
    server.stop()


def write(server: EmbeddedServer, key: str) -> None:
    """Two keys in one transaction, as every step of the ledger is one."""
    client = patient(server.url)
    step = client.pipeline(transaction=True)
    step.set(f"{key}-1", "x" * 100)
    step.set(f"{key}-2", "y" * 100)
    step.execute()
    client.close()


@pytest.mark.parametrize(
    "left", [len(BEGIN), len(BEGIN) + 10, len(BEGIN) + 150, -len(END), -len(END) + 5, -1]
)
def test_a_transaction_that_was_cut_short_is_never_done_in_part(
    engine: object, tmp_path: Path, left: int
) -> None:
    """`left` bytes of the last transaction reached the disk."""
    server = EmbeddedServer.start(tmp_path)
    write(server, "before")
    write(server, "cut short")
    killed(server)
    whole = log_of(tmp_path).read_bytes()
    log_of(tmp_path).write_bytes(whole[: whole.rindex(BEGIN) + left] if left > 0 else whole[:left])
    for key in ("first", "second"):
        server = EmbeddedServer.start(tmp_path)
        write(server, key)
        killed(server)
    with EmbeddedServer.start(tmp_path) as last:
        client = patient(last.url)
        keys = sorted(client.keys())
        client.close()
    assert keys == [f"{name}-{n}".encode() for name in ("before", "first", "second") for n in (1, 2)]


def folder(tmp_path: Path, *files: bytes) -> list[Path]:
    """Append-only files beside their manifest."""
    place = tmp_path / "appendonlydir"
    place.mkdir(parents=True, exist_ok=True)
    names = [f"appendonly.aof.{number}.incr.aof" for number in range(1, len(files) + 1)]
    lines = ["file appendonly.aof.1.base.rdb seq 1 type b"]
    lines += [f"file {name} seq {number} type i" for number, name in enumerate(names, start=1)]
    (place / "appendonly.aof.manifest").write_text("\n".join([*lines, ""]))
    for name, content in zip(names, files, strict=True):
        (place / name).write_bytes(content)
    return [place / name for name in names]


@given(
    before=st.lists(st.sampled_from([SET, BEGIN + SET + END, BEGIN + SET * 3 + END]), max_size=4),
    unfinished=st.sampled_from([b"", BEGIN, BEGIN + SET, BEGIN + SET * 2 + SET[:7], BEGIN + SET + END[:-1]]),
    block=st.integers(15, 64),
)
def test_an_unfinished_transaction_alone_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, before: list[bytes], unfinished: bytes, block: int
) -> None:
    """However the file is read in blocks, and only the newest one."""
    kept = b"".join(before)
    older, newest = folder(tmp_path_factory.mktemp("server"), BEGIN + SET, kept + unfinished)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "_BLOCK", block)
        assert mend_tail(newest.parents[1]) == len(unfinished)
    assert newest.read_bytes() == kept
    assert older.read_bytes() == BEGIN + SET
    assert mend_tail(newest.parents[1]) == 0


def test_a_server_without_a_file_has_no_tail(tmp_path: Path) -> None:
    assert mend_tail(tmp_path) == 0
    (tmp_path / "appendonlydir").mkdir()
    assert mend_tail(tmp_path) == 0
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\n"
    )
    assert mend_tail(tmp_path) == 0
    (file,) = folder(tmp_path, b"")
    assert mend_tail(tmp_path) == 0
    file.unlink()
    assert mend_tail(tmp_path) == 0
