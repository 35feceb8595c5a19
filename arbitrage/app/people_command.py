"""`arbitrage user | key`: who may use the operator's surface, kept in the database, beside a running daemon or without one.

A password is read from the terminal or from standard input, never from the command line, where every user of the machine could
see it. The daemon learns of a change within a second.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from arbitrage.app.clock import wall_ns
from arbitrage.app.exits import Exit
from arbitrage.model.settings import Settings
from arbitrage.ops.config import find_config_dir, load
from arbitrage.ops.problems import ConfigError
from arbitrage.store import migrations
from arbitrage.store.audit import AuditDraft, append_now
from arbitrage.store.embedded import Embedded, postgres_of
from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, configured_postgres
from arbitrage.store.people import KeyRow, PeopleRefused, PeopleStore, UserRow
from arbitrage.store.rows import Scope
from arbitrage.store.stores import STORE_REFUSALS
from arbitrage.web.access.passwords import Passwords
from arbitrage.web.access.people_changes import KEY_DAYS_DEFAULT, ROLE_LIST, SCOPE_LIST, Changes, KeyWish
from arbitrage.web.api.people_endpoints import entry_of
from arbitrage.web.api.signing_endpoints import at_text

Noun = Literal["user", "key"]
PASSWORD_LINE_MAX = 2_048
USER_ACTS = (
    ("add", "add a user; the password is asked for", "arbitrage user add anna --role operator"),
    ("role", "give a user another role; it is signed out everywhere", "arbitrage user role anna viewer"),
    ("password", "give a user another password; it is signed out everywhere", "arbitrage user password anna"),
    ("disable", "let a user, and its keys, in no more", "arbitrage user disable anna"),
    ("enable", "let a disabled user in again", "arbitrage user enable anna"),
    ("list", "list everybody", "arbitrage user list --json"),
)
KEY_ACTS = (
    ("add", "make a key; its text is shown this once", "arbitrage key add anna --role viewer --scope read --days 30"),
    ("revoke", "end a key and its tokens for good", "arbitrage key revoke 0123456789abcdef"),
    ("list", "list every key", "arbitrage key list --json"),
)


class PeopleCommand:
    """One of the two words on the command line, with what can be done below it."""

    def __init__(self, noun: Noun) -> None:
        self._noun = noun

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what can be done, each with its own options."""
        acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
        for act, summary, example in USER_ACTS if self._noun == "user" else KEY_ACTS:
            word = acts.add_parser(
                act, help=summary, description=summary, epilog=f"example:\n  {example}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )  # fmt: skip
            _add_options(word, self._noun, act)
            word.add_argument("--json", action="store_true", help="print one JSON object")

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and leave a line in the audit log; return the exit status."""
        try:
            settings = load(find_config_dir(os.environ), os.environ).settings
            password = _password(arguments.name) if _needs_password(self._noun, arguments.act) else ""
            return with_postgres(settings, lambda endpoint: self._carry_out(arguments, settings, endpoint, password))
        except (ConfigError, NoPassword) as error:
            print(error, file=sys.stderr)
            return Exit.USAGE

    async def _carry_out(
        self, arguments: argparse.Namespace, settings: Settings, endpoint: PostgresEndpoint, password: str
    ) -> int:
        if await migrations.plan(endpoint, migrations.migrations_dir()):
            print("the database has no tables for people yet: start the daemon once, or `arbitrage migrate`", file=sys.stderr)
            return Exit.CHECK_FAILED
        store, passwords = PeopleStore(lambda: endpoint, wall_ns), Passwords()
        desk = _Desk(store, Changes(store, passwords, wall_ns), arguments, password)
        try:
            said = await (desk.of_users() if self._noun == "user" else desk.of_keys())
        except PeopleRefused as refusal:
            print(refusal, file=sys.stderr)
            return Exit.CHECK_FAILED
        finally:
            passwords.close()
        if desk.subject:
            await _note(endpoint, settings, f"{self._noun} {arguments.act}", desk)
        print(msgspec.json.encode(said.body).decode() if arguments.json else said.text)
        return Exit.DONE


class NoPassword(Exception):
    """No password was given; the text says how to give one."""


class _Said(msgspec.Struct):
    text: str
    body: Any


class _Desk:
    """One act on users or keys."""

    def __init__(self, store: PeopleStore, changes: Changes, arguments: argparse.Namespace, password: str) -> None:
        self._store = store
        self._changes = changes
        self._arguments = arguments
        self._password = password
        self.subject = ""
        """What was changed; empty where nothing was."""
        self.after: dict[str, object] = {}

    async def of_users(self) -> _Said:
        """Carry out an act on users. Raises PeopleRefused."""
        name, act = getattr(self._arguments, "name", ""), self._arguments.act
        if act == "list":
            users = (await self._store.read()).users
            return _Said("\n".join(map(_user_text, users)) or "nobody", {"users": [_user_body(user) for user in users]})
        match act:
            case "add":
                await self._changes.add_user(name, self._arguments.role, self._password)
                self.after = {"role": self._arguments.role}
            case "role":
                await self._changes.edit_user(name, role=self._arguments.role)
                self.after = {"role": self._arguments.role}
            case "password":
                await self._changes.edit_user(name, password=self._password)
                self.after = {"password": "changed"}
            case _:
                await self._changes.edit_user(name, is_disabled=act == "disable")
                self.after = {"is_disabled": act == "disable"}
        self.subject = name
        return _Said(f"user {name}: {act} done; a running daemon heeds it within a second", {"done": True, "name": name})

    async def of_keys(self) -> _Said:
        """Carry out an act on keys. Raises PeopleRefused."""
        arguments = self._arguments
        match arguments.act:
            case "list":
                keys = (await self._store.read()).keys
                return _Said("\n".join(map(_key_text, keys)) or "no key", {"keys": [entry_of(key) for key in keys]})
            case "revoke":
                await self._changes.revoke_key(arguments.key)
                self.subject = arguments.key
                return _Said(f"key {arguments.key}: revoked", {"done": True, "key": arguments.key})
        wish = KeyWish(
            arguments.owner, arguments.role, tuple(arguments.scope), arguments.label, tuple(arguments.address), arguments.days
        )
        text, key = await self._changes.add_key(wish)
        self.subject, self.after = key.key_id, {"owner": key.owner, "role": key.role, "scopes": list(key.scopes)}
        shown = f"{text}\n\nThis is the only time that the key is shown. It ends {at_text(key.expires_at_ns)}."
        return _Said(shown, {"text": text, "key": entry_of(key)})


def _add_options(parser: argparse.ArgumentParser, noun: Noun, act: str) -> None:
    if noun == "user" and act != "list":
        parser.add_argument("name", metavar="NAME", help="the user")
    if noun == "user" and act == "role":
        parser.add_argument("role", metavar="ROLE", help=ROLE_LIST)
    if act == "add":
        if noun == "key":
            parser.add_argument("owner", metavar="OWNER", help="the user whose key it is; whose role bounds the key's")
            parser.add_argument("--scope", action="append", default=[], metavar="SCOPE", help=f"{SCOPE_LIST}; may be repeated")
            parser.add_argument("--label", default="", metavar="TEXT", help="what the key is for")
            parser.add_argument("--address", action="append", default=[], metavar="NETWORK", help="from where; may be repeated")
            parser.add_argument("--days", type=int, default=KEY_DAYS_DEFAULT, help=f"how long it lasts ({KEY_DAYS_DEFAULT})")
        parser.add_argument("--role", required=True, metavar="ROLE", help=ROLE_LIST)
    if act == "revoke":
        parser.add_argument("key", metavar="KEY", help="the key's number: the 16 digits after ak_")


def with_postgres(settings: Settings, work: Callable[[PostgresEndpoint], Coroutine[Any, Any, int]]) -> int:
    """Run work against the configured or the embedded PostgreSQL, which is started where no daemon runs it."""
    fixed = configured_postgres(settings.store)
    embedded = None if fixed is not None else Embedded(Path(settings.store.data_dir), wants_postgres=True, wants_redis=False)
    try:
        if embedded is not None:
            embedded.start()
        endpoint = fixed or postgres_of(embedded.state)  # type: ignore[union-attr]  # one of the two is there
        return asyncio.run(work(endpoint))
    except STORE_REFUSALS as refusal:
        print(refusal, file=sys.stderr)
    except POSTGRES_FAULTS as error:
        print(f"PostgreSQL: {error}; start it, or name another with POSTGRES_HOST", file=sys.stderr)
    finally:
        if embedded is not None:
            embedded.stop()
    return Exit.CHECK_FAILED


def _needs_password(noun: Noun, act: str) -> bool:
    return noun == "user" and act in ("add", "password")


def _password(name: str) -> str:
    """Read a password, twice from a terminal, else one line of standard input. Raises NoPassword."""
    if sys.stdin.isatty():
        first = getpass.getpass(f"password of {name}: ")
        if getpass.getpass("again: ") != first:
            raise NoPassword("the two are not the same: nothing was changed")
        return first
    line = sys.stdin.readline(PASSWORD_LINE_MAX).rstrip("\r\n")
    if not line:
        raise NoPassword("no password: type it at a terminal, or give it as one line on standard input")
    return line


async def _note(endpoint: PostgresEndpoint, settings: Settings, action: str, desk: _Desk) -> None:
    """Leave a line in the audit log; where that fails the change stands, and it is said."""
    draft = AuditDraft(
        at_ns=wall_ns(), actor=f"cli:{actor(os.environ)}", address="", action=action, subject=desk.subject, after=desk.after
    )
    try:
        await append_now(endpoint, Scope(settings.env, settings.session_name, ()), [draft])
    except POSTGRES_FAULTS as error:
        print(f"done, but not written into the audit log: {error}", file=sys.stderr)


def actor(environ: Mapping[str, str]) -> str:
    """Say which user of this machine it is, and on whose behalf."""
    behalf = environ.get("SUDO_USER", "")
    own = f"uid {os.getuid()}"
    return f"{own} for {behalf[:64]}" if behalf.isprintable() and behalf else own


def _user_text(user: UserRow) -> str:
    standing = "disabled" if user.is_disabled else ""
    return f"{user.name:<32} {user.role:<9} since {at_text(user.created_at_ns)} {standing}".rstrip()


def _user_body(user: UserRow) -> dict[str, object]:
    return {
        "name": user.name, "role": user.role, "is_disabled": user.is_disabled, "created_at": at_text(user.created_at_ns),
        "changed_at": at_text(user.changed_at_ns),
    }  # fmt: skip


def _key_text(key: KeyRow) -> str:
    ends = f"revoked {at_text(key.revoked_at_ns)}" if key.revoked_at_ns is not None else f"until {at_text(key.expires_at_ns)}"
    return f"{key.key_id} {key.owner:<16} {key.role:<9} {','.join(key.scopes)} {ends} {key.label}".rstrip()
