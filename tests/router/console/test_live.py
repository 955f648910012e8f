"""The stream that tells pages of changes."""

from __future__ import annotations

from pathlib import Path

from switchpoint.experiment.store.board import Board
from switchpoint.router.console.live import STREAMS, changes


def test_beyond_so_many_streams_a_page_is_told_to_look_by_itself_until_one_ends(tmp_path: Path) -> None:
    """Each keeps a thread, and the pages themselves need some."""
    board = Board(tmp_path / "board.sqlite")
    opened = [changes(board, sleep=lambda _: None) for _ in range(STREAMS)]
    assert {next(stream) for stream in opened} == {"retry: 2000\n\n"}
    assert list(changes(board)) == ["retry: 15000\n\n"]
    opened.pop().close()
    opened.append(changes(board))
    assert next(opened[-1]) == "retry: 2000\n\n"
    for stream in opened:
        stream.close()
