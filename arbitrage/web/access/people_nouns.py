"""What the endpoints about people take and answer. Nothing here ever shows a password, a hash, or a key a second time."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

NameText = Annotated[str, Meta(max_length=64)]
PasswordText = Annotated[str, Meta(max_length=512)]
TokenText = Annotated[str, Meta(max_length=128)]
_SHORT = Annotated[str, Meta(max_length=64)]


class Hiding(msgspec.Struct, frozen=True):
    """What holds a secret: its text is only its name."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


class SignIn(Hiding, frozen=True, forbid_unknown_fields=True):
    """Name and password."""

    name: NameText
    password: PasswordText


class FirstAdmin(Hiding, frozen=True, forbid_unknown_fields=True):
    """Who is to be the first admin, and the token of the set-up link."""

    token: TokenText
    name: NameText
    password: PasswordText


class PasswordChange(Hiding, frozen=True, forbid_unknown_fields=True):
    """The caller's own password, and the one that it is to be."""

    password: PasswordText
    new_password: PasswordText


class Me(Hiding, frozen=True):
    """Who is asking."""

    name: str
    role: str
    how: str
    """`session`, `key` or `token`."""
    scopes: tuple[str, ...]
    """What a key or token may be used for; a session has all."""
    expires_at: str = ""
    """RFC 3339, UTC; when the session ends if nothing more is asked."""
    csrf_token: str = ""
    """Goes with every write of this session, in the header `X-CSRF-Token`."""


class SessionEntry(msgspec.Struct, frozen=True):
    """One browser that is signed in."""

    session: str
    user: str
    address: str
    agent: str
    created_at: str
    seen_at: str
    expires_at: str
    is_own: bool
    """The one that asks."""


class SessionList(msgspec.Struct, frozen=True):
    """Sessions, newest first."""

    sessions: tuple[SessionEntry, ...]


class SessionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose sessions."""

    everybody: bool = False
    """Also those of others; for admins."""


class SessionName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One session."""

    session: _SHORT


class TokenWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token is to be good for."""

    scopes: tuple[_SHORT, ...] = ()
    """Some of the key's; empty: all of them."""
    seconds: Annotated[int, Meta(ge=0, le=86_400)] = 0
    """0: as long as a token may last (`web.token_minutes_max`)."""


class TokenAnswer(Hiding, frozen=True):
    """A token, as OAuth's token endpoints give it (RFC 6749, 5.1)."""

    access_token: str
    token_type: str
    expires_in: int


class UserEntry(msgspec.Struct, frozen=True):
    """One user."""

    name: str
    role: str
    is_disabled: bool
    created_at: str
    changed_at: str
    sessions: int


class UserList(msgspec.Struct, frozen=True):
    """Everybody, disabled ones too, by name."""

    users: tuple[UserEntry, ...]


class NewUser(Hiding, frozen=True, forbid_unknown_fields=True):
    """A user to be."""

    name: NameText
    role: _SHORT
    password: PasswordText


class UserName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One user."""

    name: NameText


class UserEdit(Hiding, frozen=True, forbid_unknown_fields=True):
    """What is to be different of a user; what is not named stays."""

    role: _SHORT | None = None
    password: PasswordText | None = None
    is_disabled: bool | None = None


class KeyEntry(msgspec.Struct, frozen=True):
    """One API key, without its secret."""

    key: str
    owner: str
    label: str
    role: str
    scopes: tuple[str, ...]
    addresses: tuple[str, ...]
    created_at: str
    expires_at: str
    revoked_at: str
    """Empty: it was not."""
    last_used_at: str
    """To the minute; empty: never."""


class KeyList(msgspec.Struct, frozen=True):
    """Keys, newest first."""

    keys: tuple[KeyEntry, ...]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be."""

    role: _SHORT
    scopes: tuple[_SHORT, ...]
    owner: NameText = ""
    """Empty: who asks."""
    label: _SHORT = ""
    addresses: tuple[_SHORT, ...] = ()
    days: Annotated[int, Meta(ge=1, le=366)] = 90


class KeyMade(Hiding, frozen=True):
    """A new key: the only time that its text is shown."""

    text: str
    key: KeyEntry


class KeyName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key."""

    key: _SHORT


class Nothing(msgspec.Struct, frozen=True):
    """It is done, and there is nothing more to say."""

    done: bool = True
