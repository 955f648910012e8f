"""In what order rows are looked at: ids before a condition, serving before units are left out, days of standings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.judgement import Check, CheckName, Severity
from switchpoint.experiment.language.experiment import load_spec, load_spec_file
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.judgement.test_one_judge import same


def report(frame: Any, spec: str) -> Report:
    found = analyze(frame, load_spec(spec))
    assert isinstance(found, Report)
    return found


def of_case(shared: Path, folder: str, table: str, spec: str) -> Report | BatchReport:
    case = shared / "cases" / folder
    return analyze(pd.read_csv(case / table, dtype={"user": str}), load_spec_file(case / spec))


def check(found: Report, name: str) -> Check:
    (one,) = (c for c in found.checks if c.name == name)
    return one


# ids, before the condition -----------------------------------------------------------------------------

IDS = """
metrics: [{key: buy, type: proportion, role: primary}]
decision: {design: fixed, mde: 50%}
source: {shape: units, assignment: randomised, unit: user, variant: arm, control: A, weights: equal, eligible: {region: EU}, columns: {buy: buy}}
"""


def people(n: int = 400) -> pd.DataFrame:
    return pd.DataFrame({
        "user": [f"{100_000_000_000 + 37 * i}" for i in range(n)], "arm": ["A", "B"] * (n // 2),
        "region": "EU", "buy": [int(i % 5 == 0) for i in range(n)],
    })  # fmt: skip


def test_ids_are_looked_at_before_a_condition_leaves_their_rows_out(shared: Path) -> None:
    found = of_case(shared, "ids-after-eligible", "ids.csv", "ids.yaml")
    assert isinstance(found, Report)
    assert check(found, "ids").numbers == {"scientific notation": 8}
    assert check(found, "ids").severity is Severity.WARN
    assert "8 of 400 rows" in check(found, "ids").message


@pytest.mark.parametrize("damaged", ["1.65491E+11", "undefined", "[object Object]", " ", "123.0", "(null)"])
@pytest.mark.parametrize("arm", ["B", None])
def test_every_damage_is_seen_behind_a_condition(damaged: str, arm: str | None) -> None:
    """Also where the row has lost its variant too."""
    frame = people()
    frame.loc[7, ["user", "region", "arm"]] = [damaged, None, arm]
    assert check(report(frame, IDS), "ids").severity is Severity.WARN
    assert check(report(people(), IDS), "ids").severity is Severity.OK


def test_ids_behind_a_condition_are_counted_for_their_own_experiment() -> None:
    one, two = people().assign(test="one"), people().assign(test="two")
    two["user"] = "2" + two["user"]
    two.loc[3, ["user", "region"]] = ["1.65491E+11", "US"]
    spec = IDS.replace("unit: user", "unit: user, experiment: test")
    found = analyze(pd.concat([one, two], ignore_index=True), load_spec(spec))
    assert isinstance(found, BatchReport)
    assert [[c.name for c in row.flags] for row in found.rows] == [
        ["runtime"],
        ["eligibility", "ids", "runtime"],
    ]


# served, before contaminated units are left out ---------------------------------------------------------

SERVED = """
metrics: [{key: buy, type: proportion, role: primary}]
decision: {design: %s, mde: 50%%}
source: {shape: units, assignment: randomised, unit: user, variant: arm, control: A, served: page, weights: equal, columns: {buy: buy}}
"""


def test_serving_is_judged_before_units_of_several_variants_are_left_out(shared: Path) -> None:
    found = of_case(shared, "served-and-contaminated", "served.csv", "served.yaml")
    assert isinstance(found, Report)
    served = check(found, "served")
    assert served.severity is Severity.INVALID
    assert found.verdict.kind is VerdictKind.INVALID
    assert served.numbers["mismatches"] == 32
    assert served.numbers["kept_mismatches"] == 14
    assert "32 of 2,018 exposures (1.59%)" in served.message
    assert "it is 14 (0.71%)" in served.message


def visits(wrong: int, both: int, *, inside: bool) -> pd.DataFrame:
    """1,000 users; `both` come back in the other variant, `wrong` are shown the other page (all of them users
    that came back where `inside`)."""
    frame = people(1000).rename(columns={"region": "page"})
    frame["page"] = frame["arm"]
    again = frame.iloc[:both].copy()
    again["arm"] = again["page"] = np.where(again["arm"] == "A", "B", "A")
    first = 0 if inside else both
    rows = frame.index[first : first + wrong]
    frame.loc[rows, "page"] = np.where(frame.loc[rows, "arm"] == "A", "B", "A")
    return pd.concat([frame, again], ignore_index=True)


@pytest.mark.parametrize("design", ["fixed", "sequential", "group_sequential", "bayesian"])
def test_with_without_and_as_served_stand_side_by_side(design: str) -> None:
    found = report(visits(6, 8, inside=False), SERVED % design)
    (judged,) = found.matured.metrics[0].comparisons
    (with_them,), (served,) = found.contamination.with_them, found.contamination.as_served
    sizes = [
        (c.estimate.n_control, c.estimate.n_variant)
        for c in (judged, with_them, served)
        if c.estimate is not None
    ]
    assert sizes == [(496, 496), (500, 500), (500, 500)]
    assert served.estimate != with_them.estimate
    assert {c.name: c.severity for c in found.checks}["contamination"] is Severity.WARN
    for text in (found.to_markdown(), found.to_html()):
        assert "The same otherwise" in text
        assert all(
            name in text for name in ("as judged", "with units of several variants", "by what was served")
        )
    document = found.to_dict()["contamination"]
    assert [len(document[name]) for name in ("with_them", "as_served")] == [1, 1]
    assert "with them: B " in check(found, "contamination").message
    assert "by what was served: B " in check(found, "served").message


def test_by_what_was_served_is_the_analysis_of_that_column() -> None:
    """As served = the same table read with the served column as its variant."""
    frame = visits(40, 0, inside=False)
    (served,) = report(frame, SERVED % "fixed").contamination.as_served
    direct = report(frame.assign(arm=frame["page"]), SERVED % "fixed").matured.metrics[0].comparisons[0]
    assert served.estimate == direct.estimate


@pytest.mark.parametrize("inside", [True, False])
def test_wrong_pages_of_units_that_are_left_out_count_too(*, inside: bool) -> None:
    found = report(visits(12, 9, inside=inside), SERVED % "fixed")
    served = check(found, "served")
    assert served.numbers["mismatches"] == 12
    assert served.numbers["kept_mismatches"] == (3 if inside else 12)
    assert served.severity is Severity.INVALID


def test_nothing_stands_beside_where_nothing_differs() -> None:
    found = report(visits(0, 0, inside=False), SERVED % "fixed")
    assert (found.contamination.with_them, found.contamination.as_served) == ((), ())
    assert "The same otherwise" not in found.to_markdown()


def test_a_page_that_is_no_variant_is_served_by_nobody() -> None:
    frame = visits(5, 0, inside=False)
    frame.loc[frame.index[:5], "page"] = "teapot"
    found = report(frame, SERVED % "fixed")
    (served,) = found.contamination.as_served
    assert served.estimate is not None
    assert served.estimate.n_control + served.estimate.n_variant == 995


# many experiments --------------------------------------------------------------------------------------


def test_a_batch_says_of_the_case_what_it_says_alone(shared: Path) -> None:
    alone = of_case(shared, "batch-checks", "batch_one.csv", "batch_one.yaml")
    many = of_case(shared, "batch-checks", "batch.csv", "batch.yaml")
    assert isinstance(alone, Report)
    assert isinstance(many, BatchReport)
    same(many.rows[0], alone)
    assert [c.name for c in many.rows[0].flags] == ["eligibility", "ids", "outlier", "runtime"]
    (beside,) = (c for c in many.rows[0].checks if c.name == "other experiments")
    assert beside.checked
    assert "the assignments are independent (p = " in beside.message
    for text in (many.to_markdown(), many.to_html()):
        assert "spreadsheet shortened them" in text


# cumulative tables -------------------------------------------------------------------------------------

STANDING = """
metrics: [{key: conv, type: %s, role: primary}]
decision: {design: fixed, mde: 5%%}
source: {shape: %s, assignment: randomised, variant: arm, control: A, day: day, cumulative: true, weights: equal, columns: {conv: %s}}
"""
COUNTED = STANDING % ("proportion", "counts", "{n: n, sum: sum}")
MEASURED = STANDING % ("mean", "moments", "{n: n, mean: mean, variance: var}")
DAYS = ("sample ratio by day", "jump", "novelty")


def daily(change: dict[tuple[int, str], tuple[int, int]] | None = None) -> pd.DataFrame:
    """Sixteen days of 1,000 units and about 200 successes in either arm, as they stood at the end of each."""
    rng = np.random.default_rng(3)
    rows = []
    for day in range(16):
        for arm in "AB":
            n, x = (change or {}).get((day, arm), (1000, int(rng.binomial(1000, 0.2))))
            rows.append({"day": f"2026-03-{day + 1:02}", "arm": arm, "n": n, "sum": x})
    frame = pd.DataFrame(rows)
    frame[["n", "sum"]] = frame.groupby("arm")[["n", "sum"]].cumsum()
    return frame


def as_moments(frame: pd.DataFrame) -> pd.DataFrame:
    rate = frame["sum"] / frame["n"]
    return frame.assign(mean=rate, var=rate * (1 - rate) * frame["n"] / (frame["n"] - 1))


@pytest.mark.parametrize(
    ("spec", "made"), [(COUNTED, lambda f: f), (MEASURED, as_moments)], ids=["counts", "moments"]
)
@pytest.mark.parametrize(
    ("day", "found", "name", "words"),
    [
        ((9, "B"), (1000, 0), "jump", "conv, B: 0 on 2026-03-10"),
        ((9, "B"), (600, 120), "sample ratio by day", "on 2026-03-10"),
    ],
)
def test_days_of_standings_are_told_by_their_differences(
    spec: str, made: Any, day: tuple[int, str], found: tuple[int, int], name: str, words: str
) -> None:
    broken, sound = report(made(daily({day: found})), spec), report(made(daily()), spec)
    assert words in check(broken, name).message
    assert check(broken, name).severity is not Severity.OK
    for each in DAYS:
        assert check(sound, each).checked
        assert check(sound, each).severity is Severity.OK


def test_an_effect_that_wears_off_is_seen_in_standings() -> None:
    fading = {(day, "B"): (1000, max(420 - 30 * day, 200)) for day in range(16)}
    assert check(report(daily(fading), COUNTED), "novelty").severity is Severity.WARN


def test_standings_that_are_no_sum_of_days_are_not_checked_by_day(shared: Path) -> None:
    """From day 8 on the value moves although no unit comes."""
    found = of_case(shared, "cumulative-checks", "cum.csv", "cum.yaml")
    assert isinstance(found, Report)
    for name in ("jump", "novelty"):
        assert not check(found, name).checked
        assert "Not checked: the standings of conv on 2026-03-08" in check(found, name).message
    assert "(7 days)" in check(found, "sample ratio by day").message
    assert [c.name for c in found.checks] == list(CheckName)


@pytest.mark.parametrize(
    ("spec", "made"), [(COUNTED, lambda f: f), (MEASURED, as_moments)], ids=["counts", "moments"]
)
def test_successes_that_are_taken_back_are_no_day(spec: str, made: Any) -> None:
    frame = daily()
    frame.loc[21, "sum"] = float(frame["sum"][19]) - 30
    found = report(made(frame), spec)
    assert not check(found, "jump").checked
    assert check(found, "sample ratio by day").checked


# the randomised unit -----------------------------------------------------------------------------------

ROWS = """
metrics: [{key: buy, type: proportion, role: primary}]
decision: {design: fixed, mde: 50%%}
source: {shape: units, assignment: randomised, variant: arm, control: A, weights: equal, columns: {buy: buy}%s}
"""


def sessions(seed: int = 5) -> pd.DataFrame:
    """Users were randomised; a user has two devices, rows are sessions, pages are met by everybody."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, 300, 4000)
    return pd.DataFrame({
        "session_id": np.arange(4000), "device_id": user * 2 + rng.integers(0, 2, 4000), "user_id": user,
        "page_id": rng.integers(0, 900, 4000), "arm": np.where(user % 2, "B", "A"),
        "buy": (rng.random(4000) < 0.2).astype(int),
    })  # fmt: skip


def test_the_randomised_unit_is_found_among_columns_with_more_values() -> None:
    found = check(report(sessions(), ROWS % ""), "unit of analysis")
    assert found.severity is Severity.GATE
    assert found.numbers["column"] == "user_id"


def test_it_is_found_where_another_unit_is_named() -> None:
    """Sessions are added up by device, and devices are not what was randomised either."""
    found = check(report(sessions(), ROWS % ", unit: device_id"), "unit of analysis")
    assert found.numbers["column"] == "user_id"
    assert check(report(sessions(), ROWS % ", unit: user_id"), "unit of analysis").severity is Severity.OK
    named = check(report(sessions(), (ROWS % ", unit: session_id, cluster: user_id")), "unit of analysis")
    assert not named.checked


def test_rows_without_an_id_do_not_hide_it() -> None:
    frame = sessions()
    frame["user_id"] = frame["user_id"].astype("float").where(frame.index % 9 != 0)
    assert check(report(frame, ROWS % ""), "unit of analysis").numbers["column"] == "user_id"
