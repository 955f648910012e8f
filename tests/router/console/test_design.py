"""The design page and its operation: what `switchpoint power` says, with what is wrong beside the field."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from switchpoint.experiment.definition.types import Design
from switchpoint.router.cli.main import cli
from switchpoint.router.console.access import Role
from tests.router import world
from tests.router.console.conftest import Browser

LogIn = Callable[[Role], Browser]


@pytest.fixture
def viewer(log_in: LogIn) -> Browser:
    return log_in(Role.VIEWER)


def of_command(*options: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["power", *options, "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.output)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize(
    "figures",
    [
        {"rate": "10%", "mde": "5%", "per_day": "4000"},
        {"mean": "12.5", "sd": "40", "mde": "0.4", "correlation": "0.6", "treatment_share": "10%"},
    ],
)
def test_every_design_is_planned_as_the_command_line_plans_it(
    viewer: Browser, design: Design, figures: dict[str, str]
) -> None:
    asked = {**figures, "design": design.value}
    answer = viewer.json(f"/power?{urlencode(asked)}")
    options = [part for name, value in asked.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert answer == of_command(*options)
    page = viewer.get(f"/design?{urlencode(asked)}")
    assert isinstance(answer, dict)
    assert f"{answer['units']:,} under the {design.value.replace('_', ' ')} design" in page
    assert page.count('class="chart"') == 2
    assert urlencode(asked).replace("&", "&amp;") in page  # the JSON of the same question


def test_the_empty_page_asks_and_plans_nothing(viewer: Browser) -> None:
    page = viewer.get("/design")
    assert 'name="rate"' in page
    assert "<table" not in page
    assert "mistake" not in page


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"mde": "5%"}, "rate"),
        ({"rate": "110%"}, "rate"),
        ({"rate": "ten"}, "rate"),
        ({"rate": "10%", "mean": "1", "sd": "1"}, "rate"),
        ({"mean": "1"}, "sd"),
        ({"sd": "1"}, "mean"),
        ({"mean": "much", "sd": "1"}, "mean"),
        ({"mean": "nan", "sd": "1"}, "mean"),
        ({"mean": "1", "sd": "-1"}, "sd"),
        ({"rate": "10%", "mde": "0"}, "mde"),
        ({"rate": "10%", "mde": "1e-9"}, "mde"),
        ({"rate": "90%", "mde": "20%"}, "mde"),
        ({"rate": "10%", "alpha": "5"}, "alpha"),
        ({"rate": "10%", "power": "0.1"}, "power"),
        ({"rate": "10%", "design": "clever"}, "design"),
        ({"rate": "10%", "looks": "101"}, "looks"),
        ({"rate": "10%", "looks": "few"}, "looks"),
        ({"rate": "10%", "prior_sd": "0"}, "prior_sd"),
        ({"rate": "10%", "correlation": "1"}, "correlation"),
        ({"rate": "10%", "treatment_share": "100%"}, "treatment_share"),
        ({"rate": "10%", "per_day": "0"}, "per_day"),
        ({"rate": "10%", "metric": "ctr"}, "experiment"),
        ({"rate": "10%", "experiment": world.EXPERIMENT}, "rate"),
        ({"experiment": "none"}, "experiment"),
        ({"experiment": world.EXPERIMENT}, "experiment"),  # nobody came yet
        ({"experiment": world.EXPERIMENT, "metric": "moon"}, "metric"),
        ({"rate": "10%", "moon": "1"}, "moon"),
        # beyond what the arithmetic of floats can answer
        ({"mean": "5e-324", "sd": "1"}, "mean"),
        ({"mean": "1", "sd": "1e154"}, "sd"),
        ({"rate": "1e-300"}, "rate"),
        ({"rate": "10%", "mde": "1e-300%"}, "mde"),
        ({"rate": "10%", "alpha": "5e-324"}, "alpha"),
        ({"rate": "10%", "power": "0.9999999999999999"}, "power"),
        ({"rate": "10%", "per_day": "1e-300"}, "per_day"),
    ],
)
def test_what_makes_no_sense_is_told_beside_its_field(
    viewer: Browser, asked: dict[str, str], field: str
) -> None:
    page = viewer.get(f"/design?{urlencode(asked)}")
    told = re.findall(r'class="mistake" id="wrong-([^"]*)" role="alert">[^<]*What to do: ', page)
    assert told == [field]
    for name, value in asked.items():  # what was typed stays
        assert f'value="{value}"' in page or name in {"design", "moon"}
    answer = viewer.client.get(f"/api/v1/power?{urlencode(asked)}")
    assert answer.status_code in {400, 404}
    assert answer.get_json(force=True)["errors"][0]["field"] == field


def test_what_is_typed_is_shown_and_never_run(viewer: Browser) -> None:
    evil = '"><script>alert(1)</script>'
    for name in ("rate", "experiment", "mde", "design", "moon"):
        page = viewer.get(f"/design?{urlencode({'mean': '1', 'sd': '1', name: evil})}")
        assert "<script>alert" not in page
