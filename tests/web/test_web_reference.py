"""The OpenAPI document and the reference say what the table says, and are fresh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbitrage import web
from arbitrage.app.drills.catalog import DRILLS as CATALOG
from arbitrage.web.access.sessions import COOKIE
from arbitrage.web.api.drills import DRILLS
from arbitrage.web.callers import Role
from arbitrage.web.endpoints import Endpoint, Kind, Table
from arbitrage.web.openapi import document, documented_errors
from arbitrage.web.reference import text
from arbitrage.web.table import table

ROWS = table(bytes)
DOCUMENT = document(ROWS)
REFERENCE = Path(__file__).parents[2] / "docs" / "API_REFERENCE.md"


def references(value: Any) -> set[str]:
    """Find every schema that a document refers to."""
    return set(re.findall(r"#/components/schemas/([\w.-]+)", msgspec.json.encode(value).decode()))


def test_the_reference_is_fresh() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == text(ROWS), "run: make api-reference"


def test_every_endpoint_for_programs_is_documented_once_and_no_page_is() -> None:
    described = {(method.upper(), path) for path, row in DOCUMENT["paths"].items() for method in row}
    assert described == {(row.method, row.path) for row in ROWS if row.kind is Kind.API}
    names = [operation["operationId"] for row in DOCUMENT["paths"].values() for operation in row.values()]
    assert len(set(names)) == len(names)


def test_the_document_names_the_cookie_that_is_set() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["session"]["name"] == COOKIE
    operations = [operation for row in DOCUMENT["paths"].values() for operation in row.values()]
    assert {name for each in operations for way in each.get("security", ()) for name in way} == set(schemes)
    assert DOCUMENT["paths"]["/metrics"]["get"]["security"] == [{"bearer": []}, {"session": []}, {}], "also without any"


def test_every_schema_that_is_referred_to_is_there() -> None:
    assert references(DOCUMENT["paths"]) | references(DOCUMENT["components"]) <= set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind is Kind.API], ids=lambda row: row.name)
def test_an_endpoint_says_what_it_may_answer(row: Endpoint) -> None:
    operation = DOCUMENT["paths"][row.path][row.method.lower()]
    assert set(operation["responses"]) == {str(row.status), *map(str, documented_errors(row))}
    assert row.role is None or 401 in documented_errors(row)
    in_path = set(re.findall(r"{(\w+)}", row.path))
    assert {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"} == in_path
    assert ("requestBody" in operation) == (row.body is not None)


def test_what_changes_something_is_no_get_and_needs_somebody() -> None:
    for row in ROWS:
        assert row.method != "GET" or not row.is_write, row.name
        if row.method in ("PUT", "DELETE"):
            assert row.is_write and row.role is not None, row.name


def test_only_admins_change_the_configuration_and_only_operators_trade() -> None:
    for row in ROWS:
        if row.path.startswith("/api/v1/config") and row.is_write:
            assert row.role is Role.ADMIN, row.name
        if row.scope.value == "trade":
            assert row.role is not None and row.role >= Role.OPERATOR, row.name


def test_troubleshooting_explains_words_that_the_surface_does_say() -> None:
    guide = (REFERENCE.parent / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
    section = guide.partition("## The dashboard or the API does not let you in\n")[2].partition("\n## ")[0]
    said = [words for row in re.findall(r"^\| (.+?) \|", section, re.M) for words in re.findall(r"`([^`]+)`", row)]
    room = Path(web.__file__).parent
    sources = [*room.rglob("*.py"), *room.rglob("*.js"), room.parent / "app" / "surface.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    prose = [words for words in said if " " in words and not words.startswith(("up ==", '"'))]
    assert len(prose) > 14
    assert [words for words in prose if any(part.strip() not in code for part in words.split("…"))] == []


def test_the_drills_are_those_of_the_catalog() -> None:
    assert tuple((drill.name, drill.story) for drill in CATALOG) == DRILLS


def test_a_path_leads_to_its_row_with_its_parameters_and_head_to_that_of_get() -> None:
    found = Table(ROWS)
    book = found.find("GET", "/api/v1/books/upbit/KRW-BTC")
    assert book.endpoint is not None and book.parameters == {"venue": "upbit", "symbol": "KRW-BTC"}
    assert found.find("HEAD", "/health").endpoint is found.find("GET", "/health").endpoint
    assert found.find("DELETE", "/health").allowed == ("GET", "HEAD")
    assert found.find("GET", "/api/v1/books/upbit").endpoint is None
    assert found.find("GET", "/api/v1/books/upbit/").endpoint is None
    assert found.find("GET", "/api/v1/books/upbit/a/b").endpoint is None
