"""Model files by content: a file is found by the digest of its bytes and verified whenever it is opened."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from switchpoint.experiment.errors import BadInput, Corrupt, NotFound
from switchpoint.experiment.registry.model import ModelVersion, State

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def read_regular(path: Path) -> bytes:
    """All bytes of a file that has an end: a pipe is not waited for, a device not read for ever.

    Raises:
        OSError: it cannot be read, or is a directory, a pipe, a socket or a device; `strerror` says which.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a file", str(path))
    return path.read_bytes()


class Artifacts:
    """Files under `<folder>/sha256/<first two digits>/<digits>`; `folder` is `<data>/models`.

    Files are written once, synced to disk before they get their name, and never changed.
    """

    def __init__(self, folder: Path) -> None:
        """A store in `folder`, which need not exist yet."""
        self._folder = folder / "sha256"

    def put(self, path: Path) -> str:
        """Keep a copy of a file; returns its digest. Keeping the same bytes again changes nothing.

        Raises:
            NotFound: there is no such file, or it cannot be read.
        """
        try:
            content = read_regular(path)
        except OSError as error:
            raise NotFound(
                f"no such file: {error.strerror}", field="artifact", value=str(path), fix="give a model file"
            ) from error
        return self.put_bytes(content)

    def put_bytes(self, content: bytes) -> str:
        """Keep bytes; returns their digest."""
        digits = hashlib.sha256(content).hexdigest()
        target = self._folder / digits[:2] / digits
        if not (target.is_file() and _digits(target.read_bytes()) == digits):
            _write(target, content)
        return f"sha256:{digits}"

    def open(self, digest: str) -> Path:
        """The path of a file whose bytes have just been verified.

        Raises:
            NotFound: no such artifact here.
            Corrupt: the file is not what its digest says.
        """
        self.read(digest)
        return self._path(digest)

    def read(self, digest: str) -> bytes:
        """The verified bytes themselves: nobody can change them between the check and their use.

        Raises:
            NotFound: no such artifact here.
            Corrupt: the file is not what its digest says.
        """
        path = self._path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(
                f"{path} is missing",
                field="artifact",
                value=digest,
                fix="register the model file again, or copy this one back from another data directory",
            ) from error
        found = _digits(content)
        if f"sha256:{found}" != digest:
            raise Corrupt(
                f"{path} was changed, it holds sha256:{found}. "
                "Fix: register the model file again, or copy this one back from another data directory"
            )
        return content

    def _path(self, digest: str) -> Path:
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise BadInput("not a digest", field="artifact", value=digest, fix="give sha256:<64 hex>")
        digits = match.group(1)
        return self._folder / digits[:2] / digits


def check_files(artifacts: Artifacts, versions: Iterable[ModelVersion]) -> list[str]:
    """What is wrong with the files of registered versions, one sentence with its fix each; [] is sound.

    An archived version may have lost its files, but what is there is what its digest says.
    """
    findings = []
    for version in versions:
        for name, digest in sorted(version.artifact.items()):
            try:
                artifacts.read(digest)
            except NotFound as error:
                if version.state is not State.ARCHIVED:
                    findings.append(f"{version.ref}, {name}: {error}")
            except (Corrupt, OSError) as error:
                findings.append(f"{version.ref}, {name}: {error}")
    return findings


def _digits(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(target: Path, content: bytes) -> None:
    """Write a file in one step: synced under another name first, so no crash leaves half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o444)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    for folder in (target.parent, *target.parent.parents[:2]):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
