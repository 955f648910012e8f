"""Model files by content: nothing is handed out that is not what its digest says."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from switchpoint.experiment.errors import BadInput, Corrupt, NotFound
from switchpoint.experiment.store.artifacts import Artifacts

CONTENT = b"a fitted model" * 1000
DIGITS = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "models")


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.skops"
    path.write_bytes(CONTENT)
    return path


def test_a_file_is_kept_under_its_digest(artifacts: Artifacts, model_file: Path, tmp_path: Path) -> None:
    assert artifacts.put(model_file) == f"sha256:{DIGITS}"
    path = artifacts.open(f"sha256:{DIGITS}")
    assert path == tmp_path / "models" / "sha256" / DIGITS[:2] / DIGITS
    assert path.read_bytes() == artifacts.read(f"sha256:{DIGITS}") == CONTENT
    assert path.stat().st_mode & 0o777 == 0o444


def test_keeping_the_same_bytes_again_changes_nothing(artifacts: Artifacts, model_file: Path) -> None:
    digest = artifacts.put(model_file)
    before = artifacts.open(digest).stat()
    assert artifacts.put_bytes(CONTENT) == digest
    assert artifacts.open(digest).stat().st_mtime_ns == before.st_mtime_ns
    assert len(list(artifacts.open(digest).parent.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT + b"x", b"X" + CONTENT[1:]])
def test_a_damaged_file_is_corrupt_before_anything_can_parse_it(
    artifacts: Artifacts, model_file: Path, damage: bytes
) -> None:
    digest = artifacts.put(model_file)
    path = artifacts.open(digest)
    path.chmod(0o644)
    path.write_bytes(damage)
    with pytest.raises(Corrupt, match="register the model file again"):
        artifacts.open(digest)
    with pytest.raises(Corrupt):
        artifacts.read(digest)
    artifacts.put(model_file)
    assert artifacts.read(digest) == CONTENT


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        DIGITS,
        "sha256:../../etc/passwd",
        f"sha256:{DIGITS.upper()}",
        f"md5:{DIGITS}",
        f"sha256:{DIGITS}\n",
    ],
)
def test_what_is_not_a_digest_reaches_no_file(artifacts: Artifacts, digest: str) -> None:
    with pytest.raises(BadInput, match="not a digest"):
        artifacts.open(digest)


def test_a_missing_artifact_and_a_missing_file_are_not_found(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"is missing\. Fix: register the model file again"):
        artifacts.open("sha256:" + "0" * 64)
    with pytest.raises(NotFound, match="no such file"):
        artifacts.put(tmp_path / "missing.skops")
    with pytest.raises(NotFound, match="no such file"):
        artifacts.put(tmp_path)


def test_writers_of_one_file_do_not_disturb_each_other(artifacts: Artifacts) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(artifacts.put_bytes, [CONTENT] * 32))
    [digest] = digests
    assert [path.name for path in artifacts.open(digest).parent.iterdir()] == [DIGITS]


def test_a_write_that_fails_leaves_nothing(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("switchpoint.experiment.store.artifacts.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        artifacts.put_bytes(CONTENT)
    assert [path for path in (tmp_path / "models").rglob("*") if path.is_file()] == []
