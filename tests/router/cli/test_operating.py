"""plan --operating: the rule's behaviour before it freezes, from typed-in figures or from history."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.router.cli.conftest import Cli

DEFINITION = """\
key: typed
hypothesis: B converts better.
owner: team
unit: visitor
variants: [{key: a}, {key: b}]
segments:
  - {key: us, when: {country: US}, traffic: 100%, allocation: {a: 0.5, b: 0.5}}
  - {key: rest, traffic: 50%, allocation: {a: 0.5, b: 0.5}}
metrics:
  - {key: buyers, type: proportion, event: purchase, role: primary}
  - {key: spend, type: mean, event: purchase, value: amount, cap: 500, role: guardrail, margin: 10%}
window: 1d
decision: {design: sequential, alpha: 0.05, power: 0.8, mde: 20%, min_runtime: 7d, max_runtime: 28d, evidence: randomised}
source:
  shape: units
  assignment: randomised
  experiment: {key: typed}
  variant: shown
  unit: visitor
  day: day
  segment: country
  weights: equal
  columns: {buyers: bought, spend: amount}
"""
TYPED = ("--baseline", "buyers=10%", "--baseline", "spend=12:20", "--per-day", "1500", "--runs", "200")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("definitions") / "typed.yaml"
    path.write_text(DEFINITION)
    return path


def test_typed_in_baselines_give_every_design_in_json(cli: Cli, file: Path) -> None:
    done = cli("plan", str(file), "--operating", *TYPED, "--json")
    assert done.code == 0, done.err
    found = done.json()["operating"]
    assert [one["design"] for one in found] == ["sequential", "fixed", "group_sequential", "bayesian"]
    for one in found:
        null, mde, harm = one["scenarios"]
        assert null["promoted"]["share"] < (0.2 if one["design"] == "bayesian" else 0.08)
        assert mde["promoted"]["share"] > 0.5
        assert harm["promoted"]["share"] < 0.3
        assert mde["mean_days"] <= mde["longest_days"] <= 29


def test_the_text_names_what_is_true_and_compares_the_designs(cli: Cli, file: Path) -> None:
    done = cli("plan", str(file), "--operating", *TYPED)
    assert done.code == 0
    for words in (
        "no effect",
        "effect of the MDE",
        "a guardrail at its margin",
        "missed promotion",
        "group sequential",
    ):
        assert words in done.out


def test_without_the_option_nothing_is_simulated(cli: Cli, file: Path) -> None:
    done = cli("plan", str(file), "--json")
    assert "operating" not in done.json()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--per-day", "1500"), "baselines.buyers"),
        (("--baseline", "buyers=10%", "--baseline", "spend=12:20"), "--per-day"),
        ((*TYPED, "--baseline", "clicks=3%"), "--baseline"),
        ((*TYPED, "--baseline", "buyers"), "--baseline"),
        ((*TYPED, "--baseline", "buyers=many"), "--baseline"),
        ((*TYPED, "--share", "us=1"), "--share"),
        ((*TYPED, "--share", "us=0.5", "--share", "rest=0.2"), "shares"),
        ((*TYPED, "--baseline", "spend=12"), "baselines.spend"),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_the_fix(
    cli: Cli, file: Path, arguments: tuple[str, ...], named: str
) -> None:
    done = cli("plan", str(file), "--operating", *arguments)
    assert done.code == 2
    assert named in done.err
    assert "Fix:" in done.err


def test_an_experiment_with_history_needs_nothing_typed_in(cli: Cli, file: Path, tmp_path: Path) -> None:
    rows = ["visitor,shown,day,country,bought,amount"]
    for n in range(1_200):
        bought = int(n % 9 == 0)
        country = ("US", "DE")[n % 3 == 0]
        rows.append(
            f"v{n},{'ab'[n // 3 % 2]},2026-03-0{1 + n % 8},{'us' if country == 'US' else 'rest'},{bought},{bought * 20}"
        )
    table = tmp_path / "log.csv"
    table.write_text("\n".join(rows) + "\n")
    done = cli("import", str(table), "--spec", str(file))
    assert done.code == 0, done.err
    done = cli("plan", str(file), "--operating", "--runs", "100", "--json")
    assert done.code == 0, done.err
    assert done.json()["operating"][0]["per_day"] == 150
