"""aa-check on the command line: figures from the user's own ledger, exit code 1 when they are not right."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.router.cli.conftest import Cli

DEFINITION = """\
key: {key}
hypothesis: B gets more clicks.
owner: team
unit: visitor
variants: [{{key: a}}, {{key: b}}]
metrics: [{{key: ctr, type: proportion, event: click, role: primary}}]
window: 1d
decision: {{design: sequential, alpha: 0.05, power: 0.8, mde: 20%, min_runtime: 7d, max_runtime: 56d, evidence: randomised}}
source:
  shape: units
  assignment: randomised
  experiment: {{key: {key}}}
  variant: shown
  unit: visitor
  day: day
  weights: equal
  columns: {{ctr: clicked}}
"""


def bring(cli: Cli, folder: Path, key: str, visitors: int, every: int) -> None:
    """Import a log in which every n-th visitor clicked, whatever was shown."""
    table, spec = folder / f"{key}.csv", folder / f"{key}.yaml"
    spec.write_text(DEFINITION.format(key=key))
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["visitor", "shown", "day", "clicked"])
        for n in range(visitors):
            writer.writerow([f"{key}-{n}", "ab"[n % 2], f"2026-03-0{1 + n % 8}", int(n % every == 0)])
    done = cli("import", str(table), "--spec", str(spec))
    assert done.code == 0, done.err


@pytest.fixture(scope="module")
def logs(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("logs")
    bring(cli, folder, "healthy", 2_000, 7)
    bring(cli, folder, "sparse", 200, 50)


def test_a_healthy_log_is_ok_with_every_figure_in_json(cli: Cli, logs: None) -> None:
    done = cli("aa-check", "healthy", "--rounds", "400", "--json")
    assert done.code == 0, done.err
    document = done.json()
    assert (document["outcome"], document["rounds"], document["units"]) == ("ok", 400, 2_000)
    metric = document["metrics"][0]
    assert metric["fixed"]["trials"] == 400
    assert abs(metric["fixed"]["share"] - 0.05) < 4 * metric["fixed"]["error"]
    assert metric["sequential_daily"]["share"] < 0.05


def test_the_text_says_the_verdict_first_and_names_the_rates(cli: Cli, logs: None) -> None:
    done = cli("aa-check", "healthy", "--rounds", "200", "--seed", "5")
    assert done.code == 0
    first, *rest = done.out.splitlines()
    assert first.startswith("healthy: ok.")
    text = "\n".join(rest)
    assert "2,000 units randomised again 200 times (seed 5)" in text
    assert "fixed if read daily" in text
    assert "±" in text


def test_too_few_events_end_with_exit_code_1_and_the_reason(cli: Cli, logs: None) -> None:
    done = cli("aa-check", "sparse", "--rounds", "100")
    assert done.code == 1
    assert "not enough units" in done.out
    assert "enough events" in done.out


def test_a_thousand_rounds_are_the_default(cli: Cli, logs: None) -> None:
    done = cli("aa-check", "healthy")
    assert done.code == 0
    assert "randomised again 1,000 times" in done.out


@pytest.mark.parametrize("arguments", [("missing",), ("healthy", "--rounds", "3")])
def test_bad_input_ends_with_exit_code_2_and_no_traceback(
    cli: Cli, logs: None, arguments: tuple[str, ...]
) -> None:
    done = cli("aa-check", *arguments)
    assert done.code == 2
    assert "Traceback" not in done.err
