"""The OpenAPI document (3.1), made from the table of endpoints and from nothing else. Documents no page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from arbitrage import __version__
from arbitrage.web.access.sessions import COOKIE
from arbitrage.web.endpoints import JSON_MEDIA, Endpoint, Kind
from arbitrage.web.problems import PROBLEM_MEDIA, Problem

REF = "#/components/schemas/{name}"
ANYBODY_ERRORS = (400, 403, 421, 429, 431, 503)
"""What every endpoint may answer, the public ones too: a bad request, a wrong address or host, too often, too slow."""


def documented_errors(endpoint: Endpoint) -> tuple[int, ...]:
    """Return every status of a problem that an endpoint may answer."""
    found = {*ANYBODY_ERRORS, *endpoint.errors}
    if endpoint.role is not None:
        found.add(401)
    if endpoint.body is not None:
        found |= {413, 415}
    if "{" in endpoint.path:
        found.add(404)
    return tuple(sorted(found))


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the document as plain values."""
    rows = [endpoint for endpoint in endpoints if endpoint.kind is Kind.API]
    kinds = [kind for endpoint in rows for kind in (endpoint.query, endpoint.body, endpoint.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components([*kinds, Problem], ref_template=REF)
    by_kind = dict(zip([*kinds, Problem], schemas, strict=True))
    queries = {_name(by_kind[endpoint.query]) for endpoint in rows if endpoint.query is not None}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in rows:
        path = re.sub(r"\{(\w+):path\}", r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_kind, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "arbitrage", "version": __version__, "description": "The operator's surface of one daemon."},
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (`ak_...`) or a token made of one."},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def encoded(endpoints: Sequence[Endpoint]) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document(endpoints))


def _operation(endpoint: Endpoint, by_kind: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    media = {endpoint.produces: {"schema": by_kind[endpoint.answer] if endpoint.answer is not None else _raw(endpoint)}}
    problems = {PROBLEM_MEDIA: {"schema": by_kind[Problem]}}
    answers = {str(endpoint.status): {"description": _sentence(endpoint), "content": media}}
    for status in documented_errors(endpoint):
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": problems}
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()}_{endpoint.path}").strip("_"),
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "responses": answers,
        "x-role": endpoint.role.word if endpoint.role is not None else "anybody",
        "x-scope": endpoint.scope.value,
    }
    if endpoint.query is not None:
        operation["parameters"] = list(_parameters(endpoint, components[_name(by_kind[endpoint.query])]))
    if endpoint.streams:
        header = {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 40}}
        operation.setdefault("parameters", []).append(header)
    if endpoint.body is not None:
        is_needed = any(field.required for field in msgspec.structs.fields(endpoint.body))
        operation["requestBody"] = {"required": is_needed, "content": {JSON_MEDIA: {"schema": by_kind[endpoint.body]}}}
    if endpoint.role is not None:
        operation["security"] = [{"bearer": []}, {"session": []}, *([{}] if endpoint.is_probe else [])]
    return operation


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _parameters(endpoint: Endpoint, schema: dict[str, Any]) -> Any:
    """Give every path and query parameter of a struct."""
    required = set(schema.get("required", ()))
    for name, kind in schema["properties"].items():
        is_path = f"{{{name}}}" in endpoint.path or f"{{{name}:path}}" in endpoint.path
        row = {"name": name, "in": "path" if is_path else "query", "required": is_path or name in required, "schema": kind}
        if "description" in kind:
            row["description"] = kind["description"]
        yield row


def _raw(endpoint: Endpoint) -> dict[str, Any]:
    return {"type": "object"} if endpoint.produces == JSON_MEDIA else {"type": "string"}


def _sentence(endpoint: Endpoint) -> str:
    text = (endpoint.answer.__doc__ or "").strip().splitlines()[0] if endpoint.answer is not None else ""
    return text or endpoint.summary
