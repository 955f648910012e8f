"""Fourteen good days of ranker@2, then ranker@3 takes its place: nothing promotes ranker@3 on them.

The whole story on a real server, read and decided by the commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from switchpoint.experiment.definition.types import DAY_MS, ModelRef
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from tests.router.cli.conftest import DEFINITION, Cli
from tests.waiting import patient

START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * 1000
UNITS = 80
"""Of each variant on a day."""


def day(number: int) -> str:
    return datetime.fromtimestamp((START + number * DAY_MS) / 1000, UTC).isoformat()


class Project:
    """The stores of the module's server, at instants of the past."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.client = patient(server.url)
        self.catalog, self.ledger = Catalog(RedisRecords(self.client)), RedisLedger(self.client)

    def apply(self, treatment: str, at: int) -> None:
        definition = parsing.load(DEFINITION.replace("ranker@2", treatment))
        self.catalog.apply(definition, at=START + at * DAY_MS, actor="ana")

    def traffic(self, days: range, epoch: int, clicks: dict[str, int]) -> None:
        """On every day new units of both variants, each with one impression, so many of them with a click."""
        plan = self.catalog.plan()
        for number in days:
            events: list[Event] = []
            for variant, clicked in clicks.items():
                for place in range(UNITS):
                    unit, at = f"{epoch}-{number}-{variant}-{place}", START + number * DAY_MS + 1000 * place
                    shown = Exposure(
                        experiment="home", variant=variant, segment="us", epoch=epoch, revision=1,
                        propensity=0.5, served=variant,
                    )  # fmt: skip
                    kinds = ["impression", "click"] if place < clicked else ["impression"]
                    events.append(Event(id=unit, type="exposure", unit=unit, at=at, exposure=shown))
                    events += [Event(id=f"{unit}-{k}", type=k, unit=unit, at=at + 10) for k in kinds]
            assert set(self.ledger.record(events, plan)) == {"stored"}


@pytest.fixture(scope="module")
def project(server: EmbeddedServer) -> Iterator[Project]:
    made = Project(server)
    for letter in "abc":
        content = Content(format=Format.SKOPS, artifact={"model.skops": "sha256:" + letter * 64})
        made.catalog.register_model("ranker", content, at=START, actor="ana")
    made.apply("ranker@2", 0)
    made.catalog.start("home", at=START, actor="ana")
    made.traffic(range(14), 1, {"control": 20, "treatment": 44})
    yield made
    made.client.close()


@pytest.fixture(scope="module")
def decided(project: Project, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the decision on ranker@2 said, before ranker@3 came with two days of its own."""
    done = cli("decide", "home", "--at", day(16))
    assert done.code == 0, done.out + done.err
    changed = tmp_path_factory.mktemp("changed") / "home.yaml"
    changed.write_text(DEFINITION.replace("ranker@2", "ranker@3"))
    plan = cli("plan", str(changed))
    assert "what was measured of treatment so far would be history, not evidence" in plan.out
    assert cli("plan", str(changed), "--json").json()["outdated"] == ["treatment"]
    project.apply("ranker@3", 16)
    project.traffic(range(16, 18), 2, {"control": 20, "treatment": 20})
    return done.out


def champions(project: Project) -> set[int | None]:
    incumbents = project.catalog.champion("ranker").incumbents
    return {incumbents.version_for(segment) for segment in ("us", "rest", None)}


def test_the_decision_names_the_models_it_is_about(project: Project, decided: str) -> None:
    assert "promote treatment" in decided
    (record,) = project.catalog.decisions("home")[:1]
    one, two, _ = project.catalog.models("ranker")
    assert record.digests == {"control": one.digest, "treatment": two.digest}


def test_the_decision_on_ranker_2_does_not_promote_ranker_3(project: Project, cli: Cli, decided: str) -> None:
    done = cli("promote", "home", "treatment")
    assert done.code == 1
    one, two, three = project.catalog.models("ranker")
    said = f"treatment was {two.digest}, it is {three.digest} (ranker@3) now"
    assert done.err.startswith("refused: decision home/1 is not about the models in force: ")
    assert said in done.err
    assert one.digest not in done.err
    assert champions(project) == {1}


def test_a_new_decision_waits_for_the_days_of_ranker_3(project: Project, cli: Cli, decided: str) -> None:
    done = cli("decide", "home", "--at", day(19))
    assert done.code == 1
    assert "continue" in done.out
    assert "2 matured days of the 14" in done.out
    assert cli("promote", "home", "treatment").code == 1
    assert cli("promote", "home", "treatment", "--segment", "us").code == 1
    assert champions(project) == {1}


def test_every_report_shows_the_fourteen_days_as_history(cli: Cli, decided: str) -> None:
    at = ("--at", day(19))
    found = cli("report", "home", *at, "--json").json()
    assert found["matured"]["n"] == found["live"]["n"] == 2 * 2 * UNITS
    assert found["matured"]["days"] == 2
    past = found["history"]
    assert past["units"] == 14 * 2 * UNITS
    (pair,) = past["pairs"]
    assert (pair["variant_model"], pair["control_model"]) == ("ranker@2", "ranker@1")
    assert (pair["epochs"], pair["first_day"], pair["last_day"]) == ([1], "2026-03-02", "2026-03-15")
    assert (pair["n_control"], pair["n_variant"]) == (14 * UNITS, 14 * UNITS)
    assert pair["estimate"]["effect"] == pytest.approx(24 / 80)
    assert cli("status", "home", *at, "--json").json()["history"] == past
    for form in ("text", "md", "html"):
        text = re.sub(r"<[^>]*>|\\", "", cli("report", "home", *at, "--format", form).out)
        assert "History: not evidence" in text
        assert "ranker@2 against ranker@1" in text
        assert "2,240 units met models that are no longer in force: history, not evidence." in text
    assert "2,240 units met models that are no longer in force" in cli("status", "home", *at).out


def test_a_look_before_the_start_is_bad_input(cli: Cli, decided: str) -> None:
    for command in (("status",), ("report",), ("decide",), ("aa-check",)):
        done = cli(*command, "home", "--at", "2026-03-01T23:59:59Z")
        assert done.code == 2
        assert "home had not started yet" in done.err
        assert "2026-03-02T00:00:00+00:00" in done.err
    assert cli("status", "home", "--at", "2026-03-02T00:00:00Z").code == 0


def test_rollback_of_a_model_nobody_registered_is_bad_input(cli: Cli, decided: str) -> None:
    done = cli("rollback", "rankr")
    assert done.code == 2
    assert "unknown model rankr" in done.err
    assert "known: ranker" in done.err
    assert cli("rollback", "ranker").code == 1, "it has no earlier champion"


def test_a_champion_that_moved_meanwhile_is_the_rules_no_and_not_a_failure(
    project: Project, cli: Cli, decided: str
) -> None:
    """ranker@2 comes back with its days and is decided on; then somebody crowns ranker@3 by hand."""
    project.apply("ranker@2", 20)
    back = cli("decide", "home", "--at", day(21))
    assert back.code == 0, back.out
    assert "promote treatment" in back.out
    assert cli("report", "home", "--at", day(21), "--json").json()["matured"]["days"] == 14
    project.catalog.crown(ModelRef("ranker", 3), reason="hot fix", at=START + 22 * DAY_MS, actor="bo")
    done = cli("promote", "home", "treatment")
    assert done.code == 1
    assert done.err.startswith("refused: champion ranker: us is at version 3, expected 1")
    project.catalog.rollback("ranker", reason="fixed", at=START + 23 * DAY_MS, actor="bo")
    assert cli("promote", "home", "treatment").code == 0
    assert champions(project) == {2}
