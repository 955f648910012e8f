"""The columnar verdicts of simulated and re-randomised runs, by the same table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from switchpoint.analysis.judgement import verdicts
from switchpoint.analysis.judgement.rule import KINDS
from switchpoint.analysis.judgement.verdicts import Guarded, Judged
from switchpoint.analysis.results.numbers import Finding
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.experiment.definition.types import Design
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.judgement.table import (
    CONTINUE,
    DESIGNS,
    FROZEN,
    KEEP,
    PROMOTE,
    ROLLBACK,
    TABLE,
    Line,
    holds,
    known,
    line,
)


def judged(lines: list[Line]) -> Judged:
    def column(values: list[list[object]]) -> np.ndarray:
        return np.array(values)[:, None, :]

    rows = [known(one) for one in lines]
    return Judged(
        shown=column([[v.finding in {Finding.BETTER, Finding.WORSE} for v in row] for row in rows]),
        gain=column([[float(v.gain) for v in row] for row in rows]),
        cheap=column([[v.cheap for v in row] for row in rows]),
        gate=column([[not holds(one, "few")] * len(row) for one, row in zip(lines, rows, strict=True)]),
        complete=column([[v.complete for v in row] for row in rows]),
        futile=column([[v.futile for v in row] for row in rows]),
    )


def guarded(lines: list[Line], *, rest: bool = False) -> Guarded:
    """The table's guardrail; or one that is fine everywhere."""
    rows = [known(one) for one in lines]
    return Guarded(
        safe=np.array([[rest or v.guard is Finding.SAFE for v in row] for row in rows])[:, None, :],
        harmed=np.array([[not rest and v.guard is Finding.HARMED for v in row] for row in rows])[:, None, :],
    )


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize(("held", "days"), [("", 20), ("overdue", 42), ("held", 13)])
def test_simulated_runs_reach_the_verdict_of_the_table(
    width: int, design: Design, held: str, days: int
) -> None:
    """Runs know neither broken data nor weak evidence; what holds them is the runtime and the events."""
    lines = [
        one for one in TABLE
        if len(one.variants) == width
        and not holds(one, "invalid") and not holds(one, "weak")
        and holds(one, "held") == (held == "held") and holds(one, "overdue") == (held == "overdue")
    ]  # fmt: skip
    assert lines
    guards = [guarded(lines, rest=True), guarded(lines), guarded(lines, rest=True)]
    found = verdicts.decide(judged(lines), guards, DESIGNS[design], np.array([days]))
    for place, one in enumerate(lines):
        assert KINDS[found.kind[place]] is one.kind, one
        assert found.variant[place] + 1 == one.best, one


def test_a_run_ends_at_the_first_look_that_is_not_continue() -> None:
    course = [line("open", "", CONTINUE), line("win", "", PROMOTE, 1), line("harmful win", "", ROLLBACK)]
    primary = judged(course)
    together = Judged(
        **{key: np.swapaxes(getattr(primary, key), 0, 1) for key in Judged.__dataclass_fields__}
    )
    rail = guarded(course)
    guard = Guarded(safe=np.swapaxes(rail.safe, 0, 1), harmed=np.swapaxes(rail.harmed, 0, 1))
    found = verdicts.decide(together, [guard], FROZEN, np.array([20, 21, 22]))
    assert (KINDS[found.kind[0]], found.look[0], found.variant[0]) == (PROMOTE, 1, 0)
    early = verdicts.decide(together, [guard], FROZEN, np.array([12, 13, 13]))
    assert (KINDS[early.kind[0]], early.look[0], early.variant[0]) == (ROLLBACK, 2, -1)
    never = verdicts.decide(together, [], FROZEN, np.array([11, 12, 13]))
    assert (KINDS[never.kind[0]], never.look[0], never.variant[0]) == (CONTINUE, 2, -1)
    assert never.share(CONTINUE).tolist() == [True]


def test_every_run_ends_at_its_own_look() -> None:
    """Four runs in one call: one goes on to the end, one ends at the first look, one at the last, one between."""
    go, win, lose = line("open", "", CONTINUE), line("win", "", PROMOTE, 1), line("loss", "", KEEP)
    courses = [[go, go, go], [win, go, lose], [go, go, lose], [go, win, lose]]
    flat = judged([one for course in courses for one in course])
    primary = Judged(**{key: getattr(flat, key).reshape(4, 3, 1) for key in Judged.__dataclass_fields__})
    found = verdicts.decide(primary, [], FROZEN, np.array([20, 21, 22]))
    assert [KINDS[kind] for kind in found.kind] == [CONTINUE, PROMOTE, KEEP, PROMOTE]
    assert found.look.tolist() == [2, 0, 2, 1]
    assert found.variant.tolist() == [-1, 0, -1, 0]
    assert found.share(PROMOTE).tolist() == [False, True, False, True]


@pytest.mark.parametrize(("minimum", "days", "kind"), [(3, 6, CONTINUE), (3, 7, PROMOTE), (14, 13, CONTINUE), (14, 14, PROMOTE)])  # fmt: skip
def test_a_run_is_read_from_the_minimum_runtime_and_a_whole_week_on(
    minimum: int, days: int, kind: VerdictKind
) -> None:
    lines = [line("win", "", PROMOTE, 1)]
    found = verdicts.decide(
        judged(lines), [], replace(FROZEN, min_runtime_days=minimum), np.array([days]), DEFAULT
    )
    assert KINDS[found.kind[0]] is kind


@pytest.mark.parametrize("gates", [(True, False, False), (False, False, True)])
def test_a_run_has_too_few_events_only_where_no_comparison_has_enough(gates: tuple[bool, ...]) -> None:
    lines = [line("win, open, open", "", PROMOTE, 1)]
    given = replace(judged(lines), gate=np.array([[list(gates)]]))
    assert KINDS[verdicts.decide(given, [], FROZEN, np.array([20])).kind[0]] is PROMOTE
    none = replace(given, gate=np.zeros_like(given.gate))
    assert KINDS[verdicts.decide(none, [], FROZEN, np.array([20])).kind[0]] is CONTINUE
