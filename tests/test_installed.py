"""A user's own `router.py`, `analysis.py`, `experiment.py` and `store.py` change nothing; the wheel holds one package.

Everything runs in a folder where importing one of these fails, which a process started there has first on its
path (`python -c`, `python -m`, gunicorn): from the checkout, and from the wheel in an environment of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchpoint.router.cli.main import COMMANDS
from switchpoint.router.serving.launch import free_port
from tests.router.world import model_bytes
from tests.test_architecture import PACKAGES, ROOT
from tests.waiting import HUNG, until

EXAMPLES = ROOT / "docs" / "examples"
pytestmark = pytest.mark.slow
HELP = """
import click
from switchpoint.router.cli.main import cli
def show(command, *path):
    cli([*path, "--help"], prog_name="switchpoint", standalone_mode=False)
    for name in command.list_commands(None) if isinstance(command, click.Group) else ():
        show(command.get_command(None, name), *path, name)
show(cli)
"""
DOOR = "import switchpoint as s; [getattr(s, name) for name in s.__all__]; print(s.__file__)"


def built(kind: str, source: Path, target: Path) -> Path:
    """What the build backend makes of a tree, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=HUNG)
    [file] = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Installed:
    """Switchpoint in an interpreter, and a folder with a user's modules to work in."""

    scripts: Path
    package: Path
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment without what tests need to find the checkout."""
        ours = ("SWITCHPOINT_", "PYTHONPATH")
        own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return own | {"SWITCHPOINT_ACTOR": "tester", "SWITCHPOINT_DATA": str(self.folder / "data")}

    def run(self, command: str, *arguments: str) -> str:
        """What a command of this installation prints; it has to succeed."""
        done = subprocess.run(
            [str(self.scripts / command), *arguments], cwd=self.folder, env=self.environ,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True, timeout=HUNG,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The URL of `switchpoint serve`."""
        url = f"http://127.0.0.1:{(port := free_port())}"
        command = [str(self.scripts / "switchpoint"), "serve", "--port", str(port), "--workers", "1"]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environ, stderr=subprocess.DEVNULL
        ) as process:
            try:
                until(lambda: process.poll() is not None or healthy(url))
                assert process.poll() is None
                yield url
            finally:
                process.terminate()


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=HUNG) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture(scope="module", params=["checkout", "wheel"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("project")
    for name in (*PACKAGES, "store"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the user has a module {name}')\n")
    if request.param == "checkout":
        return Installed(Path(sysconfig.get_path("scripts")), ROOT / "switchpoint", folder)
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=HUNG
    )
    paths = {"base": str(environment), "platbase": str(environment)}
    scripts, packages = (Path(sysconfig.get_path(name, "venv", paths)) for name in ("scripts", "purelib"))
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--quiet",
            "--disable-pip-version-check", "--no-index", "--no-deps", str(request.getfixturevalue("wheel")),
        ],
        check=True, timeout=HUNG,
    )  # fmt: skip
    # the dependencies are where these tests have them: a line of a .pth file adds that folder and reads none of
    # its own .pth files, so the checkout does not come along
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(scripts, packages / "switchpoint", folder)


def test_the_wheel_installs_one_package_with_every_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    assert {re.sub(r"-.*\.", ".", name) for name in top} == {"switchpoint", "switchpoint.dist-info"}
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES]
    ours = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    there = {name for name in ours if (ROOT / name).is_file()}
    assert {name.removeprefix("switchpoint/") for name in names if name.count("/") > 1} >= there


def test_a_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Its package holds folders where the checkout has links: the builder skips a folder that it has met already."""
    with tarfile.open(built("sdist", ROOT, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.glob("switchpoint-*/")
    again = zipfile.ZipFile(built("wheel", unpacked, tmp_path / "again"))
    assert sorted(again.namelist()) == sorted(zipfile.ZipFile(wheel).namelist())
    assert not [path for path in unpacked.rglob("*") if path.is_symlink()]


def test_the_door_and_every_help_beside_modules_of_these_names(installed: Installed) -> None:
    """The user's modules do come first."""
    with pytest.raises(AssertionError, match="the user has a module router"):
        installed.run("python", "-c", "import router")
    assert "from switchpoint.router.cli.main" in (installed.scripts / "switchpoint").read_text(
        encoding="utf-8"
    )
    assert installed.run("python", "-c", DOOR).strip() == str(installed.package / "__init__.py")
    shown = installed.run("python", "-c", HELP)
    usages = re.findall(r"^Usage: switchpoint *(\S*)", shown, flags=re.MULTILINE)
    assert set(usages) == {"[OPTIONS]", *COMMANDS}
    assert "Usage: switchpoint model register" in shown
    assert "Exit codes: 0 done" in installed.run("switchpoint", "--help")


def test_a_table_is_judged_beside_modules_of_these_names(installed: Installed) -> None:
    spec, table = (str(EXAMPLES / f"lecture_randomised.{kind}") for kind in ("yaml", "csv"))
    assert "PROMOTE model_2" in installed.run("switchpoint", "analyze", table, "--spec", spec)
    page = installed.run("switchpoint", "analyze", table, "--spec", spec, "--format", "html")
    assert page.startswith("<!doctype html>")  # the templates came along, with style sheet and script
    assert ":root {" in page
    assert "vegaEmbed(place" in page


def test_the_service_and_the_readmes_app_beside_modules_of_these_names(installed: Installed) -> None:
    """A model is loaded in a process of its own (`python -m`), gunicorn has the folder first on its path."""
    installed.run("switchpoint", "init", "home-ranker.yaml")
    installed.run("switchpoint", "validate", "home-ranker.yaml")
    (installed.folder / "m1.skops").write_bytes(model_bytes(1))
    assert "ranker@1" in installed.run("switchpoint", "model", "register", "ranker", "m1.skops")
    [app] = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    visit = "from shop import app; c = app.test_client(); print(c.get('/home/u').text, c.post('/buy/u').text)"
    with installed.serving() as url:
        (installed.folder / "shop.py").write_text(app.replace("http://127.0.0.1:8000", url))
        assert "ranked by None thanks" in installed.run("python", "-c", visit)
