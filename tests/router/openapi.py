"""The service's own description, as the judge of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from switchpoint.router.serving.openapi import document

METHODS = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_ROOT = "urn:openapi"


class Description:
    """The document, its objects closed: an answer has no field that is not described."""

    def __init__(self) -> None:
        self.document = json.loads(json.dumps(document()))
        for name, schema in self.document["components"]["schemas"].items():
            if (
                name != "Definition"
            ):  # closed by itself; what it says of properties under conditions stays open
                _close(schema)
        resource = DRAFT202012.create_resource(self.document)
        self._registry: Registry[Any] = Registry().with_resource(_ROOT, resource)

    def routes(self) -> Iterator[tuple[str, str]]:
        """Path and method of everything described."""
        for path, item in self.document["paths"].items():
            for method in item:
                yield path, method.upper()

    def schema(self, name: str) -> Draft202012Validator:
        """One of the schemas."""
        return self._validator({"$ref": f"{_ROOT}#/components/schemas/{name}"})

    def check(
        self,
        path: str,
        method: str,
        status: int,
        headers: Mapping[str, str],
        body: object,
        *,
        stated: bool = True,
    ) -> None:
        """Raise AssertionError or ValidationError where an answer is not as described.

        `headers` by lower-case name; `stated`: its status is among those of its operation, none of `default`.
        """
        responses = self.document["paths"][path][method.lower()]["responses"]
        assert str(status) in responses or not stated, (
            f"{method} {path} does not say that it answers {status}"
        )
        response = responses.get(str(status), responses["default"])
        for name in response["headers"]:
            header = self.document["components"]["headers"][name]
            assert name.lower() in headers or not header.get("required"), f"{name} is missing"
            if name.lower() in headers:
                self._validator(header["schema"]).validate(headers[name.lower()])
        content = response.get("content")
        if content is None:
            assert not body, body
            return
        kind = headers["content-type"].partition(";")[0]
        assert kind in content, f"{kind} is not described for {status}"
        if "json" in kind:
            self._validator(content[kind]["schema"]).validate(body)

    def _validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        return Draft202012Validator(_absolute(schema), registry=self._registry)


def _absolute(schema: Mapping[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    return {**schema, "$ref": _ROOT + reference} if reference.startswith("#") else dict(schema)


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)
