"""The description of the console's API, and requests made from it: no server error, no status it does not name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import GenerationMode

from switchpoint.router.console.access import Role
from tests.router import world
from tests.router.console.conftest import Browser

LogIn = Callable[[Role], Browser]
EXAMPLES = 150


def test_the_document_is_openapi(app: Flask) -> None:
    validate(app.test_client().get("/api/v1/openapi.json").get_json(force=True))


def test_generated_requests_are_answered_as_described(app: Flask, log_in: LogIn) -> None:
    """As the document describes them and as it does not; names that are there make half of them get far."""
    browser = log_in(Role.ADMIN)
    word = browser.csrf
    described = json.loads(json.dumps(app.test_client().get("/api/v1/openapi.json").get_json(force=True)))
    names = {"key": [world.EXPERIMENT, "none"], "name": ["ranker", "none"]}
    for item in described["paths"].values():
        for operation in item.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path" and parameter["name"] in names:
                    parameter["schema"] = {"enum": names[parameter["name"]]}
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url="http://localhost")
    operations = [cast("Any", found).ok() for found in schema.get_all_operations()]
    cases: st.SearchStrategy[Any] = st.one_of(
        [operation.as_strategy(generation_mode=mode) for operation in operations for mode in GenerationMode]
    )

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(cases)
    def answered(case: Any) -> None:
        kwargs = case.as_transport_kwargs(base_url="http://localhost")
        answer = browser.client.open(
            kwargs["url"],
            method=kwargs["method"],
            json=kwargs.get("json"),
            data=kwargs.get("data"),
            query_string=kwargs.get("params"),
            headers={"X-CSRF-Token": word},
        )
        assert answer.status_code < 500, answer.get_data(as_text=True)
        operation = described["paths"].get(case.path, {}).get(case.method.lower(), {})
        assert str(answer.status_code) in operation.get("responses", {str(answer.status_code): None}) or (
            answer.status_code in {404, 405}
        )
        if answer.status_code >= 400:
            assert answer.content_type == "application/problem+json"

    answered()
