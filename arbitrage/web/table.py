"""All endpoints of the surface in one table: probes, state, records, commands, configuration, people, pages.

Routing, guard, OpenAPI document, reference and the test of rights are all made from it. Serves nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arbitrage.web.api import (
    alert_endpoints,
    command_endpoints,
    config_endpoints,
    people_endpoints,
    probe_endpoints,
    record_endpoints,
    signing_endpoints,
    state_endpoints,
)
from arbitrage.web.api.exposition import Exposition
from arbitrage.web.endpoints import Endpoint
from arbitrage.web.openapi import encoded
from arbitrage.web.ports import Ports


def endpoints(ports: Ports, more: Sequence[Endpoint] = ()) -> tuple[Endpoint, ...]:
    """Return every row of a surface; `more` are pages and files."""
    return table(Exposition(ports).text, more)


def table(exposition: Callable[[], bytes], more: Sequence[Endpoint] = ()) -> tuple[Endpoint, ...]:
    """Return every row, for those who read the table and serve nothing, too."""
    rows: list[Endpoint] = []
    document: list[bytes] = []

    def openapi() -> bytes:
        """Write the document once: the table does not change."""
        if not document:
            document.append(encoded(rows))
        return document[0]

    rows += probe_endpoints.endpoints(exposition, openapi)
    rows += state_endpoints.ENDPOINTS
    rows += alert_endpoints.ENDPOINTS
    rows += record_endpoints.ENDPOINTS
    rows += command_endpoints.ENDPOINTS
    rows += config_endpoints.ENDPOINTS
    rows += signing_endpoints.ENDPOINTS
    rows += people_endpoints.ENDPOINTS
    rows += more
    return tuple(rows)
