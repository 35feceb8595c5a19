"""What the drills of one command share: embedded stores, a folder, the operator's configuration. Gone afterwards.

Nothing of the operator's is touched: addresses, keys, stores, folders and the session are replaced in the typed configuration
itself, after every layer was read, so that no variable and no secret can bring them back. Nobody is told of a rehearsed mishap
either: no channel of the alerts and no surface is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from arbitrage.app.child import ACCOUNT_WORDS, STREAM_PATHS, VenueServers
from arbitrage.app.drills.books import VENUES, Books, pair_of, scenario_of
from arbitrage.app.loopback_house import check_loopback, test_keys
from arbitrage.model.settings import StoreSettings, VenueSettings
from arbitrage.ops.config import Loaded, version_of
from arbitrage.ops.preflight import LIVE_PHRASE
from arbitrage.store.embedded import Embedded, postgres_of, redis_of

HURRIED_MS = 1_500
"""How long a period lasts that is shortened for a drill."""


class Configuration(msgspec.Struct, frozen=True):
    """The operator's configuration for one drill, and which of its periods were shortened."""

    loaded: Loaded
    shortened: tuple[str, ...]


class Stage:
    """Stores that wait for a daemon, and its configuration."""

    def __init__(self, own: Loaded, scenario: str, embedded: Embedded, folder: Path) -> None:
        self._own = own
        self._scenario = scenario
        self._embedded = embedded
        self._folder = folder

    @contextlib.asynccontextmanager
    async def exchanges(self) -> AsyncIterator[tuple[VenueServers, Path]]:
        """Start the exchanges of one drill; give them and the folder of their keys. Raises ServersFailed.

        Each drill has its own: a venue counts the requests of a minute by address, and a new daemon knows nothing of the last.
        """
        servers = await VenueServers.start(self._scenario, seed=1, speed=1.0)
        try:
            with test_keys(servers) as keys:
                yield servers, keys
        finally:
            await servers.stop()

    def books(self, servers: VenueServers) -> Books:
        """Return the exchanges' books, to be moved."""
        return Books(servers, self._own.settings)

    def configuration(self, session: str, servers: VenueServers, keys: Path, hurried: Sequence[str]) -> Configuration:
        """Return the operator's configuration for one drill."""
        settings, shortened = self._own.settings, []
        venues = {}
        for name in VENUES:
            section = settings.venues[name]
            urls = servers.description[name] | {"account": servers.description[name][ACCOUNT_WORDS[name]]}
            periods = {key: HURRIED_MS for key in hurried if getattr(section, key) > HURRIED_MS}
            shortened += [f"venues.{name}.{key}: {HURRIED_MS} for {getattr(section, key)}" for key in periods]
            venues[name] = _replaced(section, urls, STREAM_PATHS.get(name, ""), periods)
        home = self._folder / session
        changed = msgspec.structs.replace(
            settings, venues=venues, mode="live", confirm_live=LIVE_PHRASE, keys_dir=str(keys), session_name=session,
            store=self._store(settings.store, home),
            log=msgspec.structs.replace(settings.log, directory=str(home / "logs"), level="INFO"),
            hot_path=msgspec.structs.replace(settings.hot_path, busy_poll=False),
            web=msgspec.structs.replace(settings.web, enabled=False),
            alerts=msgspec.structs.replace(settings.alerts, channels={}),
        )  # fmt: skip
        check_loopback(changed)
        loaded = Loaded(changed, self._own.origins, version_of(changed), self._own.redactor)
        return Configuration(loaded, tuple(shortened))

    def _store(self, own: StoreSettings, home: Path) -> StoreSettings:
        postgres, redis = postgres_of(self._embedded.state), redis_of(self._embedded.state)
        return msgspec.structs.replace(
            own, data_dir=str(home), postgres_host=postgres.host, postgres_port=postgres.port, postgres_user=postgres.user,
            postgres_password=postgres.password, postgres_database=postgres.database, redis_host=redis.host,
            redis_port=redis.port, redis_password=redis.password, redis_db=redis.db,
        )  # fmt: skip


def _replaced(section: VenueSettings, urls: dict[str, str], path: str, periods: dict[str, int]) -> VenueSettings:
    return msgspec.structs.replace(
        section, rest_url=urls["rest"], stream_url=urls["ws"] + path, account_url=urls["account"], **periods
    )


def make_folder() -> Path:
    """Make a private folder that another system user can pass: as root, PostgreSQL runs as one."""
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-drill-"))
    folder.chmod(0o711)
    return folder


@contextlib.asynccontextmanager
async def opened(own: Loaded) -> AsyncIterator[Stage]:
    """Start the stores. Raises Unfit and EmbeddedRefused."""
    pair_of(own.settings)
    scenario = scenario_of(own.settings)
    folder = make_folder()
    embedded = Embedded(folder / "stores", wants_postgres=True, wants_redis=True)
    try:
        await asyncio.to_thread(embedded.start)
        yield Stage(own, scenario, embedded, folder)
    finally:
        await asyncio.to_thread(embedded.stop)
        shutil.rmtree(folder, ignore_errors=True)
