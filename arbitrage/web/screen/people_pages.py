"""The page of users, keys' owners and open sessions. Shows no secret; changes are made by `arbitrage user` or over the API."""

from __future__ import annotations

import msgspec

from arbitrage.web.api.signing_endpoints import reception_of
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.screen.render import Pages
from arbitrage.web.screen.screens import page


class PeoplePages:
    """Handlers; `endpoints` are their rows in the table."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        row = page("/users", self.users, Role.ADMIN, "Users, keys and who is signed in", query=None)
        return (msgspec.structs.replace(row, scope=Scope.PEOPLE),)

    async def users(self, call: Call) -> Answer:
        """Show who there is."""
        reception = reception_of(call)
        people, sessions = reception.people, reception.sessions.of()
        return self._pages.page(call, "users.html", users=people.list_users(), keys=people.list_keys(), sessions=sessions)
