"""The board: documents replace each other and are counted where they change, reports stay at their address."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchpoint.experiment.errors import BadInput, Corrupt, NotFound, PlatformError
from switchpoint.experiment.store.board import Board, Kept, board_path
from tests.waiting import HUNG


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = Board(board_path(tmp_path, "shop"))
    yield made
    made.close()


def kept(kind: str, key: str, body: Any, at: int = 1) -> Kept:
    return Kept(kind=kind, key=key, at=at, body=body)


def test_a_document_is_what_was_last_written_under_its_kind_and_key(board: Board) -> None:
    assert board.get("page", "home") is None
    board.put("page", "home", {"b": [1, 2.5, None], "a": "ü \ud800 <script>"}, at=7)
    board.put("page", "away", 1, at=8)
    board.put("summary", "home", [], at=9)
    found = board.get("page", "home")
    assert found == kept("page", "home", {"b": [1, 2.5, None], "a": "ü \ud800 <script>"}, 7)
    assert list(found.body) == ["b", "a"]  # a page shows what it is given in that order
    assert board.all("page") == [kept("page", "away", 1, 8), found]
    board.put("page", "home", {}, at=10)
    assert board.get("page", "home") == kept("page", "home", {}, 10)
    assert board.all("nothing") == []


def test_the_file_is_its_owners_alone_and_each_project_has_its_own(tmp_path: Path, board: Board) -> None:
    board.put("page", "home", 1, at=1)
    assert board.path == tmp_path / "console" / "shop" / "board.sqlite"
    for file in board.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(board.path.parent.stat().st_mode) == 0o700


def test_only_what_changed_is_counted(board: Board) -> None:
    assert board.changed() == 0
    board.put_many([kept("page", "a", {"n": 1}), kept("page", "b", {"n": 1})])
    assert board.changed() == 2
    board.put_many([kept("page", "a", {"n": 1}, 2), kept("page", "b", {"n": 2}, 2)])
    assert board.changed() == 3
    assert board.get("page", "a") == kept("page", "a", {"n": 1}, 2)
    board.keep_only("page", ["b", "c"])
    assert (board.changed(), board.all("page")) == (4, [kept("page", "b", {"n": 2}, 2)])
    board.keep_only("page", {"b"})
    board.put_many([])
    assert board.changed() == 4


def test_documents_are_confirmed_without_being_written_again(board: Board) -> None:
    board.put_many([kept("page", "a", 1, 5), kept("page", "b", 1, 9), kept("report", "a", 1, 5)])
    board.confirm([("page", "a"), ("page", "b"), ("page", "nothing")], at=7)
    board.confirm([], at=8)
    assert board.all("page") == [kept("page", "a", 1, 7), kept("page", "b", 1, 9)]  # no instant goes back
    assert (board.all("report"), board.changed()) == ([kept("report", "a", 1, 5)], 3)


def test_what_every_report_carries_is_kept_once(board: Board) -> None:
    library = "".join(map(str, range(50_000)))
    page = "<html><style>b{}</style><p>%d<script src=x>" + library + "</script><script>2</script></html>"
    digests = [board.keep_report("home", "day", str(n), at=n, html=page % n, document={}) for n in range(30)]
    assert [board.report(digest)[0] for digest in digests] == [page % n for n in range(30)]
    board.close()
    assert board.path.stat().st_size < 2 * len(library)


def test_documents_that_are_no_json_are_refused_and_nothing_of_their_batch_is_written(board: Board) -> None:
    for body in (float("nan"), {"a": object()}, {1, 2}):
        with pytest.raises(BadInput, match=r"not a JSON value.*Fix: use finite numbers, text and lists"):
            board.put_many([kept("page", "a", 1), kept("page", "b", body)])
    with pytest.raises(BadInput, match="not a JSON value"):
        board.keep_report("home", "day", "2026-06-01", at=1, html="", document={"a": float("inf")})
    assert (board.all("page"), board.reports("home"), board.changed()) == ([], [], 0)


def test_a_day_points_to_its_last_report_and_earlier_ones_stay_where_they_are(board: Board) -> None:
    first = board.keep_report("home", "day", "2026-06-01", at=1, html="<p>1", document={"b": 1, "a": 2})
    assert (
        board.keep_report("home", "day", "2026-06-01", at=1, html="<p>1", document={"b": 1, "a": 2}) == first
    )
    assert (board.reports("home"), board.changed()) == ([(first, "day", "2026-06-01", 1)], 1)
    second = board.keep_report("home", "day", "2026-06-01", at=5, html="<p>2", document={"b": 2})
    third = board.keep_report("home", "decision", "1", at=3, html="<p>1", document={"b": 1, "a": 2})
    assert third == first  # the same content has one address
    assert board.reports("home") == [(third, "decision", "1", 3), (second, "day", "2026-06-01", 5)]
    assert board.report(first) == ("<p>1", {"b": 1, "a": 2})
    assert list(board.report(first)[1]) == ["b", "a"]
    assert board.report(second) == ("<p>2", {"b": 2})
    assert board.reports("other") == []
    with pytest.raises(
        NotFound, match=r"report: no such report\. Fix: choose one of an experiment's reports"
    ):
        board.report("sha256:0")


HTML = st.lists(
    st.sampled_from(["<p>ä</p>", "<script>", "</script>", "<style>", "</style>", "<scripts"])
).map("".join)
CONTENT = st.tuples(HTML, st.dictionaries(st.sampled_from("ab"), st.integers(0, 2)))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("ab"), st.integers(0, 2)),
        st.tuples(st.just("keep"), st.sampled_from("xy"), st.sampled_from(["d1", "d2"]), CONTENT),
        st.tuples(st.just("only"), st.sets(st.sampled_from("ab"))),
    ),
    max_size=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_documents_reports_and_the_counter_agree_with_plain_dictionaries(
    steps: list[Any], tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "console", ignore_errors=True)
    board = Board(board_path(tmp_path, "shop"))
    documents: dict[str, int] = {}
    days: dict[tuple[str, str], str] = {}
    contents: dict[str, Any] = {}
    changed = 0
    for at, (what, *step) in enumerate(steps):
        if what == "put":
            key, body = step
            changed += documents.get(key) != body
            documents[key] = body
            board.put("page", key, body, at=at)
        elif what == "only":
            changed += len(documents.keys() - step[0])
            documents = {key: body for key, body in documents.items() if key in step[0]}
            board.keep_only("page", step[0])
        else:
            experiment, day, (html, document) = step
            digest = board.keep_report(experiment, "day", day, at=at, html=html, document=document)
            assert contents.setdefault(digest, (html, document)) == (html, document)
            changed += days.get((experiment, day)) != digest
            days[experiment, day] = digest
        assert board.changed() == changed
    assert {found.key: found.body for found in board.all("page")} == documents
    for experiment in "xy":
        kept_days = {name: digest for digest, _, name, _ in board.reports(experiment)}
        assert kept_days == {day: digest for (of, day), digest in days.items() if of == experiment}
    for digest, content in contents.items():
        assert board.report(digest) == content
    board.close()


WRITER = """
    import sys
    from pathlib import Path
    from switchpoint.experiment.store.board import Board, Kept
    board, name = Board(Path(sys.argv[1])), sys.argv[2]
    for number in range(int(sys.argv[3])):
        board.put_many(Kept(kind="page", key=f"{name}{part}", at=number, body=number) for part in "abc")
        print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once_and_every_change_is_counted(board: Board) -> None:
    with writer(board.path, "x", 60) as x, writer(board.path, "y", 60) as y:
        while x.poll() is None or y.poll() is None:
            for name in "xy":  # a batch is seen whole or not at all
                assert len({found.body for found in board.all("page") if found.key[0] == name}) <= 1
        assert (x.wait(HUNG), y.wait(HUNG)) == (0, 0)
    assert board.changed() == 2 * 3 * 60
    assert {found.body for found in board.all("page")} == {59}


def test_a_writer_killed_half_way_leaves_whole_batches(board: Board) -> None:
    for _ in range(3):
        with writer(board.path, "x", 100_000) as killed:
            assert killed.stdout is not None
            for _ in range(20):
                acknowledged = int(killed.stdout.readline())
            killed.kill()
        [body] = {found.body for found in board.all("page")}
        assert body >= acknowledged
        assert len(board.all("page")) == 3
    with sqlite3.connect(board.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_file_that_is_no_board_is_left_alone(board: Board) -> None:
    board.path.parent.mkdir(parents=True)
    board.path.write_bytes(b"something else, certainly not a database" * 100)
    with pytest.raises(Corrupt, match=r"board\.sqlite is damaged or no board .*Fix: move it away"):
        board.all("page")
    assert board.path.read_bytes().startswith(b"something else")


def test_a_damaged_document_or_report_is_said_and_not_shown(board: Board) -> None:
    board.put("page", "home", {"verdict": "keep"}, at=1)
    digest = board.keep_report("home", "day", "2026-06-01", at=1, html="<p>keep", document={})
    other = board.keep_report("home", "day", "2026-06-02", at=1, html="<p>promote", document={})
    with sqlite3.connect(board.path) as connection:
        connection.execute(
            "UPDATE document SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB)"
        )
        connection.execute(
            "UPDATE content SET parts = (SELECT parts FROM content WHERE digest = ?) WHERE digest = ?",
            (other, digest),
        )
    connection.close()
    with pytest.raises(Corrupt, match=r"^page home is damaged in .*board\.sqlite\. Fix: put a copy"):
        board.get("page", "home")
    with pytest.raises(Corrupt, match=f"^report {digest} is damaged"):
        board.report(digest)
    assert board.report(other) == ("<p>promote", {})


def test_a_board_that_cannot_be_written_says_so_and_goes_on_when_it_can(tmp_path: Path) -> None:
    (tmp_path / "console").write_text("in the way")
    board = Board(board_path(tmp_path, "shop"))
    with pytest.raises(PlatformError, match=r"^board .*board\.sqlite cannot be used: "):
        board.put("page", "home", 1, at=1)
    (tmp_path / "console").unlink()
    board.put("page", "home", 1, at=1)
    with sqlite3.connect(board.path) as connection:
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON report BEGIN SELECT RAISE(ABORT, 'no'); END")
    connection.close()
    with pytest.raises(PlatformError, match="cannot be used: no"):
        board.keep_report("home", "day", "2026-06-01", at=1, html="<p>", document={})
    rows = sqlite3.connect(board.path)
    assert rows.execute("SELECT count(*) FROM content").fetchone() == (0,)  # both or neither
    rows.close()
    board.close()


def test_a_full_disk_keeps_what_is_there(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", small)
    board.put("page", "home", "first", at=1)
    connections[0].execute("PRAGMA max_page_count = 20")
    with pytest.raises(PlatformError, match=r"^no room on the disk for board .*Fix: free some space"):
        board.put_many(
            kept("page", str(number), "".join(map(str, range(number, 50_000)))) for number in range(9)
        )
    assert board.all("page") == [kept("page", "home", "first")]
    connections[0].execute("PRAGMA max_page_count = 20000")
    board.put("page", "home", "second", at=2)
    assert board.get("page", "home") == kept("page", "home", "second", 2)
