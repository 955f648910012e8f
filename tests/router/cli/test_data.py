"""analyze, import, report, power and verify on data with known figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from switchpoint.experiment.ledger.protocol import DeadLetter
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.redis.batch import Settings
from switchpoint.experiment.store.redis.keys import ShardKeys, bucket_of, unit_digest
from switchpoint.experiment.store.redis.ledger import RedisLedger
from tests.router.cli.conftest import Cli
from tests.waiting import patient

DEFINITION = """\
key: outside
hypothesis: B gets more clicks.
owner: team
unit: visitor
variants: [{key: a}, {key: b}]
metrics: [{key: ctr, type: proportion, event: click, role: primary}]
window: 1d
decision: {design: sequential, alpha: 0.05, power: 0.8, mde: 20%, min_runtime: 7d, max_runtime: 56d, evidence: randomised}
source:
  shape: units
  assignment: randomised
  experiment: {key: outside}
  variant: shown
  unit: visitor
  day: day
  weights: equal
  columns: {ctr: clicked}
"""
DAYS = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A log of 1,600 visitors: 10 % of a click, 20 % of b."""
    folder = tmp_path_factory.mktemp("files")
    table, spec = folder / "log.csv", folder / "outside.yaml"
    spec.write_text(DEFINITION)
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["visitor", "shown", "day", "clicked"])
        for n in range(1_600):
            shown = "ab"[n % 2]
            every = 10 if shown == "a" else 5
            writer.writerow([f"v{n}", shown, f"2026-03-0{1 + n // 2 % DAYS}", int(n // 16 % every == 0)])
    return table, spec


@pytest.fixture(scope="module")
def imported(cli: Cli, files: tuple[Path, Path]) -> None:
    table, spec = files
    done = cli("import", str(table), "--spec", str(spec), "--json")
    assert done.code == 0, done.err
    assert done.json()["events"] == {"stored": 1_600 + 80 + 160}


def test_importing_again_changes_nothing(cli: Cli, files: tuple[Path, Path], imported: None) -> None:
    table, spec = files
    assert cli("import", str(table), "--spec", str(spec), "--json").json()["events"] == {"duplicate": 1_840}


def test_the_live_report_and_the_analysis_of_the_file_agree_to_the_last_digit(
    cli: Cli, files: tuple[Path, Path], imported: None
) -> None:
    table, spec = files
    live = cli("report", "outside", "--json").json()
    file = cli("analyze", str(table), "--spec", str(spec), "--json").json()
    for part in ("verdict", "matured", "overlap", "evidence", "contamination"):
        assert live[part] == file[part]
    values = {v["variant"]: v["value"] for v in live["matured"]["metrics"][0]["values"]}
    assert values == {"a": 0.1, "b": 0.2}
    assert live["verdict"]["kind"] == "promote"


def test_status_names_refused_events_by_cause_where_there_are_any(
    cli: Cli, server: EmbeddedServer, imported: None
) -> None:
    before = cli("status", "outside")
    assert "Refused events" not in before.out
    with patient(server.url) as client:
        letters = [DeadLetter(raw="{}", reason="tab", cause=cause) for cause in ("unit", "unit", "at")]
        RedisLedger(client).refuse(letters, token="t", uncounted={"unit": 1_500})
    text = "Refused events of the project: 1,503 (unit 1,502, at 1); see `switchpoint events --refused`\n"
    assert cli("status", "outside").out == before.out + text
    assert cli("status", "outside", "--json").json()["refused"] == {"unit": 1_502, "at": 1}


def test_covariates_of_a_file_adjust_the_live_report_as_they_adjust_the_file(
    cli: Cli, tmp_path: Path
) -> None:
    """Of every seventh visitor nothing is known; a covariate of three decimals is kept in hundredths."""
    table, spec = tmp_path / "log.csv", tmp_path / "adjusted.yaml"
    declared = "role: primary, covariate: {value: score, decimals: 2}}"
    text = DEFINITION.replace("key: outside", "key: adjusted").replace("role: primary}", declared)
    spec.write_text(text + "  covariate: {ctr: past}\n")
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["visitor", "shown", "day", "clicked", "past"])
        for n in range(1_600):
            keen = n // 16 % 10 == 0
            clicked = int(keen or (n % 2 and n // 16 % 5 == 0))
            past = "" if n % 7 == 0 else 0.115 + 0.5 * keen
            writer.writerow([f"w{n}", "ab"[n % 2], f"2026-03-0{1 + n // 2 % DAYS}", clicked, past])
    done = cli("import", str(table), "--spec", str(spec), "--json")
    assert done.code == 0, done.err
    live = cli("report", "adjusted", "--json").json()
    file = cli("analyze", str(table), "--spec", str(spec), "--json").json()
    for part in ("verdict", "matured", "overlap", "evidence", "contamination"):
        assert live[part] == file[part]
    [comparison] = live["matured"]["metrics"][0]["comparisons"]
    assert 0.2 < comparison["unadjusted"]["reduction"] < 0.9
    assert cli("verify").code == 0


EVENTS = """\
metrics:
  - {key: ctr, type: proportion, event: click, role: primary}
  - {key: spend, type: mean, event: buy, value: amount, decimals: 2, cap: 90}
window: 1d
decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}
source:
  shape: events
  assignment: randomised
  unit: user
  variant: arm
  control: old
  weights: equal
  exposures: {table: exposures.csv, id: id, at: at}
  outcomes: {table: outcomes.csv, id: id, type: kind, at: at, value: amount}
"""


def test_two_tables_of_events_are_analysed_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """FILE holds the exposures; the outcomes are found beside it by the name in the spec."""
    exposures, outcomes = ["id,user,arm,at"], ["id,user,kind,at,amount"]
    for n in range(2_000):
        arm, day = ("old", "new")[n % 2], 1 + n // 2 % 8
        exposures.append(f"x{n},u{n},{arm},2026-03-0{day}T10:00:00Z")
        if n // 2 % (10 if arm == "old" else 5) == 0:
            outcomes += [
                f"c{n},u{n},click,2026-03-0{day}T11:00:00Z,0",
                f"b{n},u{n},buy,2026-03-0{day}T11:00:00Z,9.5",
            ]
    (tmp_path / "exposures.csv").write_text("\n".join(exposures))
    (tmp_path / "spec.yaml").write_text(EVENTS)
    command = ("analyze", str(tmp_path / "exposures.csv"), "--spec", str(tmp_path / "spec.yaml"))
    missing = cli(*command)
    assert missing.code == 2
    assert "source.outcomes.table" in missing.err
    assert "put outcomes.csv beside exposures.csv" in missing.err
    (tmp_path / "outcomes.csv").write_text("\n".join(outcomes))
    found = cli(*command, "--json").json()
    values = {v["variant"]: v["value"] for v in found["matured"]["metrics"][0]["values"]}
    assert values == {"old": 0.1, "new": 0.2}
    (tmp_path / "outcomes.csv").write_text("\n".join(outcomes).replace(",9.5", ",nine", 1))
    wrong = cli(*command)
    assert wrong.code == 2
    assert "outcomes.csv: row 2, column amount" in wrong.err


def test_two_variants_are_compared_with_each_other_from_the_command_line(
    cli: Cli, imported: None, tmp_path: Path
) -> None:
    found = cli("report", "outside", "--compare", "b", "a", "--json").json()
    (pair,) = found["pairs"][0]["comparisons"]
    plain = found["matured"]["metrics"][0]["comparisons"][0]
    assert (pair["control"], pair["variant"]) == ("b", "a")
    assert pair["estimate"]["effect"] == -plain["estimate"]["effect"]
    assert "a against b" in cli("report", "outside", "--compare", "b", "a").out
    wrong = cli("report", "outside", "--compare", "b", "c")
    assert (wrong.code, "no variant 'c'" in wrong.err) == (2, True)
    (tmp_path / "three.csv").write_text("variant,users,clicks\nA,10000,1000\nB,10000,1299\nC,10000,1300\n")
    (tmp_path / "three.yaml").write_text(
        "metrics: [{key: ctr, type: proportion, role: primary}]\n"
        "decision: {design: fixed, mde: 20%, evidence: randomised}\n"
        "source: {shape: counts, assignment: randomised, variant: variant, weights: equal,\n"
        "         columns: {ctr: {n: users, sum: clicks}}}\n"
    )
    command = ("analyze", str(tmp_path / "three.csv"), "--spec", str(tmp_path / "three.yaml"))
    done = cli(*command, "--compare", "C", "B", "--compare", "A", "B")
    assert done.code == 0
    assert "B against C" in done.out
    assert "not distinguishable from each other" in done.out


def test_a_verdict_of_promote_is_recorded_with_exit_code_0(cli: Cli, imported: None) -> None:
    done = cli("decide", "outside", "--json")
    assert done.code == 0
    assert done.json()["finding"]["kind"] == "promote"


def test_promoting_an_experiment_without_models_is_refused(cli: Cli, imported: None) -> None:
    done = cli("promote", "outside", "b")
    assert done.code == 1
    assert "model" in done.err


def test_power_draws_its_curves_and_lists_their_points(cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "power.html"
    asked = ("power", "--rate", "10%", "--mde", "20%", "--design", "fixed")
    assert cli(*asked, "--format", "html", "--output", str(page)).code == 0
    assert "<svg" in page.read_text(encoding="utf-8")
    found = cli(*asked, "--json").json()
    planned = [p["units"] for p in found["curves"][0]["powers"] if p["power"] == 0.8]
    assert planned == [found["units"]]


def test_power_learns_from_history_what_typed_figures_give(cli: Cli, imported: None) -> None:
    history = cli("power", "outside", "--mde", "20%", "--design", "fixed", "--json").json()
    typed = cli("power", "--rate", "10%", "--mde", "20%", "--design", "fixed", "--json").json()
    # R: power.prop.test(p1=.1, p2=.12, power=.8) gives 3840.8 per variant (pooled); unpooled 3,838
    assert typed["units_control"] == pytest.approx(3_838, abs=3)
    # b clicks twice as often, so one unit varies more than control's rate says
    assert 1.0 < history["units"] / typed["units"] < 1.5
    assert cli("power", "--rate", "10%", "--mde", "20%", "--per-day", "500", "--json").json()["weeks"] >= 3


def test_power_learns_from_the_table_of_an_earlier_test(cli: Cli) -> None:
    """15.61 % of control clicked, strata of 10.3 and 26 % leave less variance than one rate; 3,000 a day."""
    examples = Path(__file__).parents[3] / "docs" / "examples"
    table, spec = examples / "lecture_randomised.csv", examples / "lecture_randomised.yaml"
    asked = ("power", "--mde", "5%", "--design", "fixed", "--json")
    found = cli(*asked, "--file", str(table), "--spec", str(spec)).json()
    typed = cli(*asked, "--rate", "15.61%").json()
    assert found["baseline"] == pytest.approx(0.1561, abs=1e-4)
    assert 0.93 < found["units"] / typed["units"] < 1
    assert found["days"] == pytest.approx(found["units"] / (42_128 / 14), rel=0.06)
    asked_for = cli("power", "--file", str(table))
    assert (asked_for.code, "--spec" in asked_for.err) == (2, True)


def test_power_with_a_covariate_needs_what_is_left_of_the_variance(cli: Cli) -> None:
    asked = ("power", "--mean", "12.5", "--sd", "40", "--mde", "3%", "--json")
    alone, with_it = (cli(*asked, *more).json()["units"] for more in ((), ("--correlation", "-0.6")))
    assert with_it / alone == pytest.approx(0.64, abs=1e-4)


def test_power_of_a_mean_of_zero_is_planned_by_the_effect_itself(cli: Cli, tmp_path: Path) -> None:
    """R: power.t.test(delta = .2, sd = 1, power = .8) gives 393.4 with the t distribution, 392.4 with the normal."""
    asked = ("power", "--mean", "0", "--sd", "1", "--mde", "0.2", "--design", "fixed")
    found = cli(*asked, "--json").json()
    assert (found["units_control"], found["units_treatment"], found["lift"]) == (393, 393, None)
    assert "393" in cli(*asked).out
    page = tmp_path / "power.html"
    assert cli(*asked, "--format", "html", "--output", str(page)).code == 0
    assert "an effect of +0.2" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("figures", "option"),
    [
        ("--mean 0 --sd 1 --mde 5%", "--mde"),
        ("--mean nan --sd 1 --mde 0.2", "--mean"),
        ("--mean inf --sd 1 --mde 0.2", "--mean"),
        ("--mean 1 --sd nan", "--sd"),
        ("--mean 1 --sd inf", "--sd"),
        ("--mean 1 --sd 0", "--sd"),
        ("--mean 1", "--sd"),
        ("--mean 1 --sd 1 --mde inf", "--mde"),
        ("--mean 1 --sd 1 --mde 1e-300", "--mde"),
        ("--mean 1e200 --sd 1e200 --mde 1", "--mean"),
        ("--mean 1e10 --sd 1e-300 --mde 1", "--sd"),
        ("--rate 10% --per-day inf", "--per-day"),
        ("--rate 10% --alpha nan", "--alpha"),
        ("--rate 10% --power nan", "--power"),
        ("--rate 10% --correlation nan", "--correlation"),
        ("--mean 0 --sd 1 --mde 0.2 --design bayesian", "--design"),
    ],
)
def test_power_names_the_option_whose_figure_makes_no_sense(cli: Cli, figures: str, option: str) -> None:
    done = cli("power", *figures.split())
    assert done.code == 2
    assert option in done.err
    assert not done.out


def test_power_takes_what_the_spec_decides_by(cli: Cli, tmp_path: Path) -> None:
    """Its design, alpha, power and MDE, unless they are typed in; a plan's looks are those of its rule."""
    table, spec = tmp_path / "table.csv", tmp_path / "spec.yaml"
    table.write_text("arm,units,buyers\na,10000,1000\nb,10000,1000\n")
    text = """
metrics: [{key: buyers, type: proportion, role: primary}]
decision: {design: %s, alpha: 0.01, power: 0.9, mde: 20%%, min_runtime: 7d, max_runtime: 28d}
source: {shape: counts, assignment: randomised, variant: arm, control: a, weights: equal, columns: {buyers: {n: units, sum: buyers}}}
"""
    learnt = ("power", "--file", str(table), "--spec", str(spec), "--json")
    typed = (
        "power",
        "--mean",
        "0.1",
        "--sd",
        "0.3",
        "--mde",
        "0.02",
        "--alpha",
        "0.01",
        "--power",
        "0.9",
        "--json",
    )
    for design, more in (("fixed", ()), ("sequential", ()), ("group_sequential", ("--looks", "4"))):
        spec.write_text(text % design)
        found = cli(*learnt).json()
        assert (found["design"], found["alpha"], found["power"]) == (design, 0.01, 0.9)
        assert found["effect"] == pytest.approx(0.02)
        assert found["units"] == pytest.approx(
            cli(*typed, "--design", design, *more).json()["units"], rel=1e-3
        )
    assert cli(*learnt, "--design", "fixed", "--alpha", "0.05").json()["alpha"] == 0.05


def test_power_knows_the_pace_of_the_experiment(cli: Cli, imported: None) -> None:
    found = cli("power", "outside", "--mde", "20%", "--json").json()
    # 1,600 visitors in 8 days
    assert found["days"] == pytest.approx(found["units"] / (1_600 / DAYS), abs=1)
    slower = cli("power", "outside", "--mde", "20%", "--per-day", "20", "--json").json()
    assert slower["days"] == pytest.approx(found["days"] * 10, abs=10)


def test_an_import_that_cannot_be_read_names_the_table(
    cli: Cli, files: tuple[Path, Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("visitor,shown\nv1,a\n")
    done = cli("import", str(bad), "--spec", str(files[1]))
    assert done.code == 2
    assert f"error: {bad}: source." in done.err


def test_a_batch_of_experiments_is_judged_in_one_call(shared: Path, cli: Cli) -> None:
    done = cli(
        "analyze", str(shared / "data" / "upworthy_exploratory_half_a.parquet"), "--spec",
        "docs/examples/upworthy.yaml", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["rows"]) == 2_471


def test_a_row_that_cannot_be_read_is_named_and_nothing_of_its_batch_is_half_counted(
    cli: Cli, files: tuple[Path, Path], tmp_path: Path
) -> None:
    table, spec = files
    bad = tmp_path / "bad.csv"
    bad.write_text("".join(table.read_text().splitlines(keepends=True)[:40]) + "v9999,c,2026-03-01,0\n")
    done = cli("import", str(bad), "--spec", str(spec))
    assert done.code == 2
    assert "row 40" in done.err
    assert "Traceback" not in done.err


def test_verify_names_a_corrupted_cell_and_a_units_first_event(
    cli: Cli, server: EmbeddedServer, imported: None
) -> None:
    """Last in this module: it breaks the ledger on purpose."""
    keys = ShardKeys("default", 0)
    with patient(server.url) as client:
        cells = client.hgetall(keys.cells(1))
        field = min(cells)
        client.hset(keys.cells(1), field, next(value for value in cells.values() if value != cells[field]))
        done = cli("verify", "--json")
        assert done.code == 1
        named = [d["cell"] for d in done.json()["ledger"] if d["cell"]]
        assert len(named) == 1
        assert named[0]["experiment"] == "outside"
        (said,) = [line for line in cli("verify").out.splitlines() if line.startswith("cell ")]
        assert said.startswith("cell experiment outside · epoch 1 · segment ")
        assert not set("()") & set(said.replace("(click)", "")), "no reprs"
        client.hset(keys.cells(1), field, cells[field])
        assert cli("verify").code == 0

        ledger = RedisLedger(client)
        first = min((e for e in ledger.events() if e.unit == "v7"), key=lambda e: (e.at, e.id))
        mine, other = (keys.units(bucket_of(unit_digest(u), Settings().unit_buckets)) for u in ("v7", "v8"))
        # the records of v7's bucket become that of a unit which met the other variant
        (record, *_) = client.hvals(other)
        client.hset(mine, mapping=dict.fromkeys(client.hkeys(mine), record))
        broken = cli("verify", "--json")
        assert broken.code == 1
        units_named = {d["unit"]: d["first_event"] for d in broken.json()["ledger"] if d["unit"]}
        assert units_named["v7"]["id"] == first.id
        assert "v7" in cli("verify").out
