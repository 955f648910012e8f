"""The JSON Schema describes the language the parser accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from switchpoint.experiment.errors import DefinitionError
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language.experiment import to_document
from switchpoint.experiment.language.schema import json_schema
from switchpoint.experiment.language.template import INIT_YAML
from tests.experiment.definitions import DESIGN_EXAMPLE, minimal


def blocks(schema: Any) -> Iterator[dict[str, Any]]:
    """Every sub-schema with properties."""
    if isinstance(schema, dict):
        if "properties" in schema and "type" in schema:
            yield schema
        for part in schema.values():
            yield from blocks(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from blocks(part)


def test_every_block_is_closed_and_every_property_documented() -> None:
    found = list(blocks(json_schema()))
    assert len(found) > 8
    for block in found:
        assert block["additionalProperties"] is False
        assert set(block["required"]) <= set(block["properties"])
        for name, schema in block["properties"].items():
            assert schema.get("title"), name
            assert schema.get("description"), name


def test_it_is_json() -> None:
    assert json.loads(json.dumps(json_schema()))["$schema"].startswith("http://json-schema.org/draft-07/")


def test_the_top_level_knows_the_keys_the_parser_knows() -> None:
    with pytest.raises(DefinitionError) as caught:
        parsing.from_document({"zzzzzz": 1})
    known = caught.value.fix.removeprefix("known: ").rstrip(".").split(", ")
    assert set(known) == set(json_schema()["properties"])


def test_what_the_schema_requires_the_parser_requires() -> None:
    for name in json_schema()["required"]:
        with pytest.raises(DefinitionError, match=f"{name!r} is missing"):
            parsing.from_document(minimal(**{name: None}))


@pytest.mark.parametrize("text", [DESIGN_EXAMPLE, INIT_YAML], ids=["design", "template"])
def test_examples_validate(text: str) -> None:
    import jsonschema
    from ruamel.yaml import YAML

    validator = jsonschema.Draft7Validator(json_schema())
    jsonschema.Draft7Validator.check_schema(json_schema())
    validator.validate(YAML(typ="safe", pure=True).load(text))
    validator.validate(to_document(parsing.load(text)))
    assert not validator.is_valid(minimal(windw="7d"))
    assert not validator.is_valid(minimal(window="7 days"))
