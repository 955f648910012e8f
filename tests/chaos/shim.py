"""What cannot be had of a machine: a slow disk, a wrong clock, the place in a file that a power cut leaves."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path


class Shim:
    """What `shim.c` does to a process that is started with `environ`."""

    def __init__(self, folder: Path) -> None:
        """Compile it into the folder; nothing is different yet."""
        library, page, self._synced = folder / "shim.so", folder / "shim", folder / "synced"
        source = Path(__file__).with_name("shim.c")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        page.write_bytes(bytes(mmap.PAGESIZE))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environ = {"LD_PRELOAD": str(library), "SHIM_FILE": str(page), "SHIM_SYNCED": str(self._synced)}

    def set(self, *, sync_ms: int = 0, ahead_seconds: int = 0) -> None:
        """How it is from now on."""
        self._page[:16] = struct.pack("@ll", sync_ms, ahead_seconds)

    def synced(self, path: Path) -> int:
        """The bytes of a file that were on disk when it was synced last."""
        sizes = [0]
        for line in self._synced.read_text().splitlines():
            size, _, name = line.partition(" ")
            if name == str(path):
                sizes.append(int(size))
        return sizes[-1]
