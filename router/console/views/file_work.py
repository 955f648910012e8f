"""The process of one file: reads or judges it with the functions of `analyze`, and writes what came of it."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path

from switchpoint.experiment.errors import BadInput, SwitchpointError
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.store.board import Board, board_path
from switchpoint.router.console.operation import Object
from switchpoint.router.console.views.files import KIND
from switchpoint.router.tables import judged, suggested

_log = logging.getLogger(__name__)


def main() -> None:
    """Work on a file, in its folder; the arguments are data directory, project and key."""
    data, project, key = sys.argv[1:]
    board = Board(board_path(Path(data), project))
    kept = board.get(KIND, key)
    if kept is None:
        return  # deleted before this began
    try:
        made = _read(kept.body) if kept.body["step"] == "read" else _judge(board, key, kept.body)
        made = {**made, "status": "done"}
    except SwitchpointError as error:
        made = {"status": "failed", "problem": _problem(error)}
    except Exception:  # noqa: BLE001 - whatever it is, whoever waits must hear of it
        _log.exception("the file %s", key)
        problem = {"field": "", "message": "an unexpected error; the log of the file has it", "fix": ""}
        made = {"status": "failed", "problem": problem}
    board.put(KIND, key, {**kept.body, **made}, at=kept.at)


def _read(body: Object) -> Object:
    suggestion = suggested(body["table"])
    return {"suggestion": asdict(suggestion), "spec": suggestion.spec}


def _judge(board: Board, key: str, body: Object) -> Object:
    at = time.time_ns() // 1_000_000
    report = judged(body["table"], load_spec(body["spec"], file="spec"), at=at)
    digest = board.keep_report(
        f"file {key}", "file", str(at), at=at, html=report.to_html(), document=report.to_dict()
    )
    return {"report": digest}


def _problem(error: SwitchpointError) -> Object:
    if isinstance(error, BadInput):
        return {"field": error.field, "message": error.message, "fix": error.fix}
    return {"field": "", "message": str(error), "fix": ""}
