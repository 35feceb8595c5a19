"""The reception: signs people in, opens the house to its first admin, and keeps what the guard looks at. Guards no endpoint."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from arbitrage.model.settings import WebSettings
from arbitrage.store.people import PeopleRefused, PeopleStore
from arbitrage.store.postgres import POSTGRES_FAULTS
from arbitrage.web.access.guard import LOOPBACK, Guard, Rules
from arbitrage.web.access.origin import LOOPBACK_NAMES
from arbitrage.web.access.passwords import Passwords, TooManyWaiting
from arbitrage.web.access.people import People, is_within, networks_of
from arbitrage.web.access.people_changes import Changes
from arbitrage.web.access.sessions import Session, Sessions, SessionTimes
from arbitrage.web.access.set_up import VALID_S, SetUpLink
from arbitrage.web.access.throttle import Rates, SignInThrottle, network_of
from arbitrage.web.access.tokens import Tokens
from arbitrage.web.callers import Role
from arbitrage.web.counts import Access
from arbitrage.web.problems import Problem, problem

RECEPTION = "arbitrage.reception"
"""Key of the ASGI scope."""
BURST_SECONDS = 2
"""Requests of so many seconds may come at once."""
SIGN_INS_PER_S_MAX, SIGN_INS_BURST = 20, 40
"""Of everybody together: about what the one hashing thread can do."""
AWAY_RETRY_S, BUSY_RETRY_S = 5, 1


class SignedIn(msgspec.Struct, frozen=True):
    """A session that was just opened, and the token that is its cookie."""

    token: str
    session: Session


class Reception:
    """All that the surface knows of people. Made by `open_reception`; `run` keeps it fresh."""

    def __init__(self, store: PeopleStore, token_key: bytes, settings: WebSettings, clock: Callable[[], int]) -> None:
        """`clock` gives nanoseconds since 1970. Raises ValueError for networks that are none."""
        self._clock = clock
        self._is_listed = bool(settings.allowed_addresses)
        """Then the guard has let in nobody else."""
        self.people = People(store, clock)
        self.passwords = Passwords()
        self.changes = Changes(store, self.passwords, clock)
        times = SessionTimes(settings.session_idle_minutes_max * 60, settings.session_minutes_max * 60)
        self.sessions = Sessions(clock, times, self.people.generation)
        self.tokens = Tokens(token_key, clock, seconds_max=settings.token_minutes_max * 60)
        self.link = SetUpLink(clock)
        self.throttle = SignInThrottle(clock)
        per_minute = settings.logins_per_minute_max
        everybody = (SIGN_INS_PER_S_MAX, SIGN_INS_BURST)
        self._tries = Rates(clock, per_client=(per_minute / 60, per_minute), everybody=everybody)
        self.guard = Guard(rules_of(settings), self.people, self.sessions, self.tokens, rates=_rates(settings, clock))
        self.people.on_change.append(self._heed)

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Wrap an application with the guard (`application.Guard`), and hand its handlers this reception."""
        guarded = self.guard.around(inner)

        async def received(scope: Scope, receive: Receive, send: Send) -> None:
            scope[RECEPTION] = self
            await guarded(scope, receive, send)

        return received

    async def sign_in(self, name: str, password: str, *, address: str, agent: str) -> SignedIn | Problem:
        """Sign a user in by its password. What is wrong is not told, and takes as long whoever it was."""
        if not self.people.is_known:
            return problem(503, "people_away", "users were not read yet: is PostgreSQL away?", retry_after_s=AWAY_RETRY_S)
        wait_s = self._tries.take(network_of(address)) or self.throttle.begin(name, address)
        if wait_s:
            return problem(429, "too_many_tries", "too many tries to sign in", retry_after_s=wait_s)
        user = self.people.user(name)
        known = user is not None and not user.is_disabled
        try:
            is_right = await self.passwords.verify(user.password_hash if user is not None and known else "", password)
        except TooManyWaiting:
            self.throttle.take_back(name, address)
            return problem(429, "too_many_tries", "too many sign in at once", retry_after_s=BUSY_RETRY_S)
        if not is_right or user is None or self.people.generation(name) != user.generation:
            return problem(401, "wrong_password", "name or password is wrong")
        self.throttle.succeed(name, address)
        return self._opened(name, address, agent)

    async def set_up(self, token: str, name: str, password: str, *, address: str, agent: str) -> SignedIn | Problem:
        """Make the first admin, by the set-up link, and sign it in. The link is used up only when that came about."""
        if not self._is_listed and not is_within(address, LOOPBACK):
            return problem(403, "address_not_allowed", "the first admin is made from loopback or one of web.allowed_addresses")
        if wait_s := self._tries.take(network_of(address)):
            return problem(429, "too_many_tries", "too many tries", retry_after_s=wait_s)
        give_back = self.link.take(token)
        if give_back is None:
            return problem(403, "link_ended", "the set-up link was used, has expired, or is not whole")
        is_done = False
        try:
            await self.changes.add_user(name, Role.ADMIN.word, password, is_first_admin=True)
            is_done = True
        except PeopleRefused as refusal:
            return problem(422, "not_possible", str(refusal))
        except (TooManyWaiting, *POSTGRES_FAULTS):
            return problem(503, "people_away", "PostgreSQL does not take a user now", retry_after_s=AWAY_RETRY_S)
        finally:
            if not is_done:
                give_back()
        await self.refresh()
        if self.people.generation(name) is None:
            return problem(503, "people_away", "you are admin now: sign in", retry_after_s=AWAY_RETRY_S)
        return self._opened(name, address, agent)

    def access(self) -> Access:
        """Say who is signed in and how many were turned away."""
        guard = self.guard
        return Access(
            sessions=len(self.sessions.of()), refused=guard.refused, requests_hurried=guard.refused["too_many_requests"],
            sign_ins_held=self.throttle.refused, sign_ins_hurried=self._tries.refused,
        )  # fmt: skip

    async def refresh(self) -> None:
        """Read everybody after a change of ours; where that fails `run` does it later."""
        try:
            await self.people.refresh()
        except POSTGRES_FAULTS as error:
            self.people.trouble = f"PostgreSQL does not answer ({type(error).__name__})"

    async def run(self, announce: Callable[[str], None]) -> None:
        """Keep the picture fresh; announce the path of the set-up link once no admin is known, and "" at its end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.people.run(), name="web.people")
            group.create_task(self._offer(announce), name="web.set-up")

    async def close(self) -> None:
        """Write what waits and let the threads go."""
        self.passwords.close()
        await self.people.close()

    async def _offer(self, announce: Callable[[str], None]) -> None:
        await self.people.known.wait()
        if not self.people.has_admin:
            announce(self.link.make())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(VALID_S):
                    await self.link.ended.wait()
            announce("")

    def _opened(self, name: str, address: str, agent: str) -> SignedIn | Problem:
        opened = self.sessions.open(name, address=address, agent=agent)
        if opened is None:
            return problem(503, "too_many_sessions", "too many are signed in", retry_after_s=AWAY_RETRY_S)
        return SignedIn(*opened)

    def _heed(self) -> None:
        """Heed a new picture: who was changed is signed out, and no link counts once there is an admin."""
        self.sessions.sweep()
        if self.people.has_admin:
            self.link.end()


def rules_of(settings: WebSettings) -> Rules:
    """Return who may come at all. Raises ValueError for networks that are none."""
    names: frozenset[str] | None = None
    if not settings.certificate_file:
        public = urlsplit(settings.public_url).hostname or "localhost"
        names = LOOPBACK_NAMES | {settings.host, f"[{settings.host}]", public}
    allowed, proxies = networks_of(settings.allowed_addresses), networks_of(settings.trusted_proxies)
    return Rules(allowed, proxies, names, settings.probes_open_to)


def _rates(settings: WebSettings, clock: Callable[[], int]) -> Rates:
    one, every = settings.client_requests_per_s_max, settings.requests_per_s_max
    return Rates(clock, per_client=(one, one * BURST_SECONDS), everybody=(every, every * BURST_SECONDS))
