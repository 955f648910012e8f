"""The end of a server's append-only file: a transaction that was cut short is taken off before it is read.

A server that is killed while it writes a transaction leaves its beginning. The next one cuts a half-written
command off, but not the transaction around it (seen with Redis 7.0.15; Valkey mended it in its pull request
4342), and goes on behind it. Whoever reads the file again takes the beginning and the transaction behind it
for one: a part of a step is done. Ids are then seen of events that were never counted, and whoever sends them
again is told that they are there. Nobody was answered for the one that was cut short, so that it can go.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import BinaryIO

_log = logging.getLogger(__name__)
_BEGIN, _END = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
_BLOCK = 1 << 20


def mend_tail(folder: Path) -> int:
    """Cut an unfinished transaction off the newest append-only file in a server's folder.

    Returns:
        The bytes that were cut off; 0 where the file ends as it should, or there is none.

    Raises:
        OSError: the file cannot be read or written.
    """
    newest = _newest(folder / "appendonlydir")
    if newest is None:
        return 0
    with newest.open("r+b") as file:
        begin = _unfinished(file)
        if begin is None:
            return 0
        cut = file.seek(0, os.SEEK_END) - begin
        file.truncate(begin)
        os.fsync(file.fileno())
    _log.warning("%s ended in an unfinished transaction: %d bytes, answered to nobody, cut off", newest, cut)
    return cut


def _newest(folder: Path) -> Path | None:
    """The file that the server goes on with: the last one of its manifest that holds commands."""
    for manifest in folder.glob("*.manifest"):
        named = re.findall(r"^file (\S+) seq \d+ type i", manifest.read_text(), re.MULTILINE)
        path = folder / named[-1] if named else folder
        if path.is_file():
            return path
    return None


def _unfinished(file: BinaryIO) -> int | None:
    """Where the last transaction begins, if it does not end; looked for from the end of the file."""
    end = file.seek(0, os.SEEK_END)
    after = b""
    while end > 0:
        start = max(end - _BLOCK, 0)
        file.seek(start)
        # what a mark that lies across two blocks needs of the later one
        block = file.read(end - start) + after
        begin, finish = block.rfind(_BEGIN), block.rfind(_END)
        if begin >= 0 or finish >= 0:
            return start + begin if begin > finish else None
        after, end = block[: len(_BEGIN) - 1], start
    return None
