"""Known facts about real data: 2,471 Upworthy tests, two recommenders of the Open Bandit Dataset, the lecture."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.experiment.definition.source import Source
from switchpoint.experiment.definition.types import Experiment
from switchpoint.experiment.language.experiment import load_file, load_spec_file
from switchpoint.experiment.ledger import importing as history
from switchpoint.experiment.ledger.columns import check_columns
from switchpoint.experiment.ledger.fold import ledger_plan
from switchpoint.experiment.registry.decision import VerdictKind
from switchpoint.experiment.registry.lifecycle import create, start
from switchpoint.experiment.store import tables as table
from switchpoint.experiment.store.memory import MemoryLedger
from tests.analysis.cases import of_sums

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def read(path: Path, spec: str) -> Report | BatchReport:
    found = load_spec_file(EXAMPLES / spec)
    return analyze(table.read(path, columns=lambda names: check_columns(found.source, names)), found)


def test_broken_randomisation_of_the_upworthy_archive_is_found_where_its_authors_found_it(
    shared: Path,
) -> None:
    """The archive's authors: broken from 25 June 2013 (week 201325) to 10 January 2014 (week 201401)."""
    found = read(shared / "data" / "upworthy_exploratory_half_a.parquet", "upworthy.yaml")
    assert isinstance(found, BatchReport)
    assert len(found.rows) == 2471
    assert sum(row.n for row in found.rows) == 40_710_800
    flagged: dict[str, list[bool]] = {"before": [], "inside": [], "after": []}
    for row in found.rows:
        day = row.first_day or ""
        period = "before" if day < "2013-06-24" else "inside" if day <= "2014-01-06" else "after"
        flagged[period].append(row.srm_p is not None and row.srm_p < 0.001)
    shares = {period: sum(found) / len(found) for period, found in flagged.items()}
    assert shares["inside"] == pytest.approx(0.707, abs=5e-4)
    assert shares["before"] == pytest.approx(0.027, abs=5e-4)
    assert shares["after"] == pytest.approx(0.0017, abs=5e-5)
    assert all((row.verdict is VerdictKind.INVALID) == (row.srm.value == "invalid") for row in found.rows)
    assert sum(found.summaries[0].verdicts.values()) == 2471


@pytest.mark.parametrize(("sample", "clicks"), [("all", (38, 42)), ("men", (46, 69))])
def test_open_bandit_samples_are_too_small_to_decide(
    shared: Path, sample: str, clicks: tuple[int, int]
) -> None:
    """Published on millions of rows: +43 % and +31 %; on 20,000 rows the right verdict is to go on."""
    definition = load_file(EXAMPLES / "open_bandit.yaml")
    found = analyze(rows_of(shared, sample, definition), definition)
    assert isinstance(found, Report)
    assert [v.numerator for v in found.matured.metrics[0].values] == list(clicks)
    assert found.verdict.kind is VerdictKind.CONTINUE
    enough = found.matured.metrics[0].comparisons[0].sufficiency
    assert enough is not None
    assert enough.n_needed is not None
    assert enough.n_needed > 50_000
    assert enough.weeks_left is not None
    assert 1 <= enough.weeks_left <= 7
    assert f"{enough.n_needed:,}" in found.verdict.what_would_change[0]
    estimate = found.matured.metrics[0].comparisons[0].estimate
    assert estimate is not None
    assert estimate.p == pytest.approx({"all": 0.654, "men": 0.0315}[sample], abs=5e-4)


@pytest.mark.parametrize("sample", ["all", "men"])
def test_an_imported_log_and_its_file_agree_to_the_last_digit(shared: Path, sample: str) -> None:
    definition = load_file(EXAMPLES / "open_bandit.yaml")
    state = start(create(definition, ordinal=1, at=0, actor="a"), digests={}, at=0, actor="a")
    plan, ledger = ledger_plan([state]), MemoryLedger()
    path = shared / "data" / f"obd_small_{sample}.parquet"
    rows = table.rows(path, columns=lambda names: check_columns(source_of(definition), names))
    ledger.record(list(history.events(definition, rows)), plan, history=True)
    live = analyze_ledger(state, ledger.moments("open-bandit", plan), at=2_000_000_000_000).to_dict()
    file = analyze(rows_of(shared, sample, definition), definition).to_dict()
    assert of_sums(file) == of_sums(live)


def source_of(definition: Experiment) -> Source:
    assert definition.source is not None
    return definition.source


def rows_of(shared: Path, sample: str, definition: Experiment) -> object:
    return table.read(
        shared / "data" / f"obd_small_{sample}.parquet",
        columns=lambda names: check_columns(source_of(definition), names),
    )


def test_the_aliased_lecture_example_is_refused_with_the_reason_and_a_way_out() -> None:
    found = read(EXAMPLES / "lecture_aliased.csv", "lecture_aliased.yaml")
    assert isinstance(found, Report)
    assert found.verdict.kind is VerdictKind.INVALID
    assert "not identified" in found.verdict.headline
    assert "difference = model + country" in found.verdict.reasons[0]
    assert len(found.verdict.reasons) == 1  # no unit was lost: nobody was split
    assert found.overlap.aliased == ("model_2",)
    assert found.matured.metrics[0].comparisons[0].estimate is None
    # VanderWeele & Ding: a risk ratio of 3 has the E-value 3 + √6
    assert found.overlap.e_value == pytest.approx(3 + 6**0.5, rel=0.02)
    slice_, *others = found.overlap.ladder
    assert slice_.n is not None
    assert slice_.days is not None
    assert [rung.name for rung in others] == [
        "switchback", "difference-in-differences", "bounds with a sensitivity figure",
    ]  # fmt: skip
    assert found.evidence.grade == "descriptive"


def test_the_same_models_randomised_inside_each_country_are_accepted() -> None:
    found = read(EXAMPLES / "lecture_randomised.csv", "lecture_randomised.yaml")
    assert isinstance(found, Report)
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.PROMOTE, "model_2")
    assert [s.segment for s in found.matured.metrics[0].comparisons[0].segments] == ["US", "CA"]
