"""PostgreSQL and Valkey of our own in the data folder, where no host is configured. One process owns them, others may use them.

The owner holds a lock for its lifetime. Whoever finds the lock taken is a guest and reads where the servers listen. A server
that a killed owner left behind is ended by its guard, and replaced by the next owner at the latest.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from arbitrage.store.endpoints import PostgresEndpoint, RedisEndpoint
from arbitrage.store.files import write_durably
from arbitrage.store.locks import FolderLock
from arbitrage.store.postgres_server import DATABASE, SUPERUSER, PostgresServer
from arbitrage.store.system_user import EmbeddedRefused
from arbitrage.store.valkey_server import ValkeyServer

STATE_FILE = "embedded.json"
GUEST_SECONDS_MAX = 20.0
_STEP_SECONDS = 0.05


class EmbeddedState(msgspec.Struct, frozen=True):
    """What is kept between starts and read by guests. The file is readable by its owner only."""

    postgres_port: int = 0
    postgres_password: str = ""
    redis_port: int = 0
    redis_password: str = ""
    redis_pid: int = 0
    owner_pid: int = 0

    def __repr__(self) -> str:
        return f"EmbeddedState(postgres_port={self.postgres_port}, redis_port={self.redis_port})"


def read_state(data_dir: Path) -> EmbeddedState:
    """Return what the last owner wrote; all empty when there is nothing usable."""
    try:
        return msgspec.json.decode((data_dir / STATE_FILE).read_bytes(), type=EmbeddedState)
    except (OSError, msgspec.DecodeError):
        return EmbeddedState()


def postgres_of(state: EmbeddedState) -> PostgresEndpoint:
    """Return where the embedded PostgreSQL listens."""
    return PostgresEndpoint("127.0.0.1", state.postgres_port, SUPERUSER, state.postgres_password, DATABASE)


def redis_of(state: EmbeddedState) -> RedisEndpoint:
    """Return where the embedded Valkey listens."""
    return RedisEndpoint("127.0.0.1", state.redis_port, state.redis_password, 0)


class Embedded:
    """The embedded servers that are wanted, as their owner or as a guest. Every call may block for seconds: not for a loop."""

    def __init__(self, data_dir: Path, *, wants_postgres: bool, wants_redis: bool) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._data_dir = data_dir.resolve()
        self._lock = FolderLock(self._data_dir / "embedded.lock")
        self._wants_postgres = wants_postgres
        self._wants_redis = wants_redis
        self._postgres: PostgresServer | None = None
        self._valkey: ValkeyServer | None = None
        self.state = EmbeddedState()
        self.messages: list[str] = []
        """One-line notes for the operator, such as which system user runs PostgreSQL."""

    @property
    def is_owner(self) -> bool:
        return self._lock.is_held

    @property
    def pids(self) -> dict[str, int]:
        """Process numbers of the servers that this process runs."""
        servers = {"postgres": self._postgres, "valkey": self._valkey}
        return {name: server.pid for name, server in servers.items() if server is not None and server.pid is not None}

    def start(self) -> None:
        """Start what is wanted, or join the servers of the process that owns them. Raises EmbeddedRefused."""
        if not (self._wants_postgres or self._wants_redis):
            return
        if self._lock.acquire():
            self.ensure_running()
        else:
            self._join()

    def ensure_running(self) -> bool:
        """Restart what died, and take over when the owner is gone. Returns whether something was started."""
        if not (self._wants_postgres or self._wants_redis):
            return False
        if not self._lock.acquire():
            self.state = read_state(self._data_dir)
            return False
        before = self.state if self.state.owner_pid == os.getpid() else read_state(self._data_dir)
        try:
            after = self._ensure_valkey(self._ensure_postgres(before))
            if after is self.state:
                return False
            self.state = msgspec.structs.replace(after, owner_pid=os.getpid())
            write_durably(self._data_dir / STATE_FILE, msgspec.json.encode(self.state))
        except OSError as error:
            raise EmbeddedRefused(f"embedded servers in {self._data_dir}: {error}") from error
        return True

    def stop(self) -> None:
        """Stop what this process started and let others own the folder. A guest stops nothing."""
        if self._valkey is not None:
            self._valkey.stop()
        if self._postgres is not None:
            self._postgres.stop()
        self._lock.release()

    def _ensure_postgres(self, state: EmbeddedState) -> EmbeddedState:
        if not self._wants_postgres or (self._postgres is not None and self._postgres.is_alive):
            return state
        if self._postgres is None:
            self._postgres = PostgresServer(self._data_dir / "postgres", self._data_dir / "postgres.log")
            self.messages += self._postgres.messages
        password = state.postgres_password or os.urandom(24).hex()
        is_new = not state.postgres_password
        port = self._postgres.start(state.postgres_port, password, is_password_new=is_new)
        return msgspec.structs.replace(state, postgres_port=port, postgres_password=password)

    def _ensure_valkey(self, state: EmbeddedState) -> EmbeddedState:
        if not self._wants_redis or (self._valkey is not None and self._valkey.is_alive):
            return state
        if self._valkey is None:
            self._valkey = ValkeyServer(self._data_dir / "valkey.log")
            self._valkey.replace_leftover(state.redis_pid, state.redis_port)
        password = state.redis_password or os.urandom(24).hex()
        port = self._valkey.start(state.redis_port, password)
        return msgspec.structs.replace(state, redis_port=port, redis_password=password, redis_pid=self._valkey.pid or 0)

    def _join(self) -> None:
        for _ in range(int(GUEST_SECONDS_MAX / _STEP_SECONDS)):
            if self._lock.acquire():
                self.ensure_running()
                return
            self.state = read_state(self._data_dir)
            is_postgres_known = self.state.postgres_port > 0 or not self._wants_postgres
            if is_postgres_known and (self.state.redis_port > 0 or not self._wants_redis):
                return
            time.sleep(_STEP_SECONDS)
        raise EmbeddedRefused(f"{self._data_dir}: another process has been starting its servers too long; stop it first")
