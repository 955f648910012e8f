"""The demo's own data directory: started clean or continued, never somebody's real one."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store.embedded.server import attach
from switchpoint.router.demo.plan import DemoPlan

_MARK = "demo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run came: days 0 .. next_day - 1 are sent."""

    plan: DemoPlan
    next_day: int = 0

    def save(self, folder: Path) -> None:
        """Write it where `open_folder` finds it."""
        (folder / _MARK).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def open_folder(folder: Path, plan: DemoPlan, *, resume: bool) -> Progress:
    """Make a clean folder for `plan`, or continue the run that is in it.

    Raises:
        BadInput: a demo runs there now; the folder is not a demo's; there is nothing to continue, or it is
            another run than the one asked for.
    """
    if attach(folder):
        raise BadInput(
            "a demo is running there", field="--data", value=str(folder), fix="stop it, or choose another"
        )
    found = _read(folder)
    if resume:
        if found is None:
            raise BadInput(
                "holds no demo to continue", field="--continue", value=str(folder), fix="leave it out"
            )
        if found.plan != plan:
            raise BadInput(
                f"the run in {folder} is another one: {found.plan}",
                field="--continue",
                value=str(plan),
                fix="give the same --seed, --shoppers and --aa, or --fresh",
            )
        return found
    if folder.exists():
        if found is None and any(folder.iterdir()):
            raise BadInput(
                "is not a demo's directory", field="--data", value=str(folder), fix="choose another"
            )
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True)
    progress = Progress(plan=plan)
    progress.save(folder)
    return progress


def _read(folder: Path) -> Progress | None:
    try:
        raw = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        return Progress(plan=DemoPlan(**raw["plan"]), next_day=int(raw["next_day"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
