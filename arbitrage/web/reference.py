"""The API reference as a document for people, made from the table of endpoints. Says nothing that the table does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from arbitrage.web.endpoints import Endpoint, Kind
from arbitrage.web.openapi import ANYBODY_ERRORS, document, documented_errors

TAGS = {
    "probes": "Probes", "state": "State: from memory, there with every database down", "records": "Records: from PostgreSQL",
    "commands": "Commands", "configuration": "Configuration", "events": "Events", "people": "People",
}  # fmt: skip
HEAD = """# API reference

Made by `make api-reference` out of the table of endpoints, as the OpenAPI document at `/api/v1/openapi.json` is; a test
holds it fresh.

- Who asks: a session cookie (browsers; a write needs the header `x-csrf-token`), or `Authorization: Bearer` with an API
  key or a token. Roles: viewer < analyst < operator < admin; a key is narrowed to scopes besides.
- Amounts are exact decimals as text, times RFC 3339 in UTC with nanoseconds since 1970 beside. Unknown parameters and
  fields are refused.
- Errors are problem documents (RFC 9457, `application/problem+json`): `status`, a stable `code`, a `detail` for people,
  `errors` line by line. Every endpoint may answer {anybody}, and 401 unless anybody may ask; 413 and 415 where there is
  a body.
- Every write leaves a line in the audit log: actor, address, before, after. Only `kill`, `pause` and signing in work
  while that log is full.
- Lines of records come newest first; the page after is asked for with `before_ns` or `cursor`.
- Events: `id` and `event` as server-sent events have them. `happening` and `report` are kept for `Last-Event-ID`;
  `status` and `spreads` are pictures, of which only the newest counts. `gap`: older ones are not kept. `dropped`: this
  client was too slow. `closing`: the end.
"""


def text(endpoints: Sequence[Endpoint]) -> str:
    """Return the whole document."""
    described = document(endpoints)
    lines = [HEAD.replace("{anybody}", ", ".join(map(str, ANYBODY_ERRORS)))]
    for tag, title in TAGS.items():
        rows = [endpoint for endpoint in endpoints if endpoint.tag == tag and endpoint.kind is Kind.API]
        lines += [f"## {title}", ""]
        for endpoint in rows:
            lines += _endpoint(endpoint, described["paths"][endpoint.path][endpoint.method.lower()])
    lines += ["## Values", ""]
    for name, schema in sorted(described["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _endpoint(endpoint: Endpoint, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {endpoint.method} {endpoint.path}"
    yield ""
    who = "anybody" if endpoint.role is None else f"{endpoint.role.word}, scope `{endpoint.scope.value}`"
    who += ", or without any key whom `web.probes_open_to` names" if endpoint.is_probe else ""
    marks = [" Audited." if endpoint.is_write else "", " Works with every database down." if endpoint.is_urgent else ""]
    yield f"{endpoint.summary}. For: {who}.{''.join(marks)}"
    yield ""
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | what |"
        yield "| --- | --- | --- |"
        for row in parameters:
            yield f"| `{row['name']}`{' (required)' if row['required'] else ''} | {row['in']} | {_kind(row['schema'])} |"
        yield ""
    body = operation.get("requestBody")
    if body is not None:
        schema = next(iter(body["content"].values()))["schema"]
        yield f"Body{'' if body['required'] else ' (may be left out)'}: {_kind(schema)}."
        yield ""
    own = sorted(set(documented_errors(endpoint)) - {*ANYBODY_ERRORS, 401, 413, 415} | set(endpoint.errors) - {*ANYBODY_ERRORS})
    media, schema = next(iter(operation["responses"][str(endpoint.status)]["content"].items()))
    answer = _kind(schema["schema"]) if endpoint.answer is not None else f"`{media}`"
    errors = f" Also: {', '.join(map(str, own))}." if own else ""
    yield f"Answer {endpoint.status}: {answer}.{errors}"
    yield ""


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if description := schema.get("description", "").splitlines():
        yield description[0]
        yield ""
    if "enum" in schema:
        yield _kind(schema)
        yield ""
        return
    required = set(schema.get("required", ()))
    yield "| field | what |"
    yield "| --- | --- |"
    for field, kind in schema.get("properties", {}).items():
        yield f"| `{field}`{' (required)' if field in required else ''} | {_kind(kind)} |"
    yield ""


def _kind(schema: dict[str, Any]) -> str:
    """Say what a schema takes, on one line."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" if value != "" else "empty" for value in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_kind(schema.get('items') or {})}"
        case "object":
            inner = schema.get("additionalProperties")
            return f"map of {_kind(inner)}" if isinstance(inner, dict) and inner else "map"
        case "integer" | "number":
            bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
            default = f", default {schema['default']}" if schema.get("default") is not None else ""
            return " ".join(["whole number" if schema["type"] == "integer" else "number", *bounds]) + default
        case "string":
            default = f", default `{schema['default']}`" if schema.get("default") else ""
            length = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
            return f"text{length}{default}"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case _:
            return "any JSON"
