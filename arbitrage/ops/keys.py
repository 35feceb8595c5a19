"""Trading keys: read from systemd credentials or from files that nobody else can read, and from nowhere else, ever.

Not from configuration, not from environment variables. Two names for each venue: `arbitrage-VENUE-key` (the access key) and
`arbitrage-VENUE-secret` (a shared secret, or for Binance an Ed25519 private key in PKCS#8 PEM). Only a mode that signs asks.
By the same rules: the passphrase of backups, `arbitrage-backup-key`; an alert channel's secret, `arbitrage-alert-CHANNEL`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from arbitrage.model.settings import Settings
from arbitrage.ops.alerts.routes import WANTED, wants_secret, wrong_secret
from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.secrets import read_private
from arbitrage.store.vault import PASSPHRASE_BYTES_MIN
from arbitrage.venues.trading import Credentials

KEY_BYTES_MAX = 16_384
SECRET_LENGTH_MIN = 16
"""A shorter shared secret is a cut copy: Binance's have 64 characters, Upbit's 40."""
BACKUP_KEY = "arbitrage-backup-key"
CHANNEL_PREFIX = "arbitrage-alert-"
PEM_KINDS = ("binance",)
"""Venues that take an Ed25519 key."""
_ACCESS_KEY = re.compile(rb"[!-~]{8,256}")
_SHARED = re.compile(rb"[!-~]+")


def key_names(venue: str) -> tuple[str, str]:
    """Return the names of a venue's two files, which are those of its two systemd credentials."""
    return f"arbitrage-{venue}-key", f"arbitrage-{venue}-secret"


def read_keys(settings: Settings, environ: Mapping[str, str]) -> dict[str, Credentials]:
    """Read the keys of every configured venue. Raises ConfigError with everything that is missing or not private.

    A systemd credential wins over a file of the same name.
    """
    found: dict[str, Credentials] = {}
    problems: list[Problem] = []
    for venue, section in settings.venues.items():
        texts = []
        for name in key_names(venue):
            try:
                texts.append(_read(name, settings.keys_dir, environ))
            except ConfigError as error:
                problems += error.problems
        if len(texts) == 2:
            access_key, secret = texts
            wrong = list(_wrong(venue, access_key, secret, is_pem_taken=section.kind in PEM_KINDS))
            problems += wrong
            if not wrong:
                kind = "ed25519" if _is_pem(secret) else "shared"
                found[venue] = Credentials(access_key.decode(), secret, kind)  # type: ignore[arg-type]  # one of the two words
    if problems:
        raise ConfigError(problems)
    return found


def read_backup_key(settings: Settings, environ: Mapping[str, str], key_file: str = "") -> bytes:
    """Read the passphrase of backups, from a named file or where trading keys are; empty where there is none.

    Raises ConfigError for one that others can read, or that is too short to be one.
    """
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "") or os.devnull) / BACKUP_KEY
    places = (Path(settings.keys_dir) / BACKUP_KEY if settings.keys_dir else None, credential)
    if key_file:
        raw, where = _checked(read_private(Path(key_file)), key_file), key_file
    elif any(place is not None and os.path.lexists(place) for place in places):
        raw, where = _read(BACKUP_KEY, settings.keys_dir, environ), BACKUP_KEY
    else:
        return b""
    if len(raw) < PASSPHRASE_BYTES_MIN:
        mend = f"write at least {PASSPHRASE_BYTES_MIN} letters and digits that nobody can guess: openssl rand -hex 32"
        raise ConfigError([Problem(where, "is too short for a key of backups", mend)])
    return raw


def channel_key_name(channel: str) -> str:
    """Return the name of a channel's file, which is that of its systemd credential."""
    return f"{CHANNEL_PREFIX}{channel}"


def read_channel_keys(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Read the secret of every channel of alerts that has one. Raises ConfigError with everything that is missing or wrong."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for name, section in settings.alerts.channels.items():
        if not wants_secret(section):
            continue
        try:
            secret = _read(channel_key_name(name), settings.keys_dir, environ).decode("utf-8", "replace")
        except ConfigError as error:
            problems += error.problems
            continue
        if wrong := wrong_secret(section, secret):
            mend = f"write {WANTED[section.kind]} on one line, nothing else"
            problems.append(Problem(channel_key_name(name), wrong, mend))
        found[name] = secret
    if problems:
        raise ConfigError(problems)
    return found


def hidden_key(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return every text by which a log line could give the key of backups away, for the redactor. Raises ConfigError."""
    raw = read_backup_key(settings, environ)
    return [raw.decode("utf-8", "replace")] if raw else []


def hidden_texts(keys: Mapping[str, Credentials]) -> list[str]:
    """Return every text by which a log line could give a key away, for the redactor."""
    texts: list[str] = []
    for credentials in keys.values():
        texts += [text for text in credentials.texts_to_hide() if text]
        if credentials.kind == "ed25519":
            texts += [line for line in credentials.secret().decode().splitlines() if line and not line.startswith("-----")]
            private = load_pem_private_key(credentials.secret(), None)
            assert isinstance(private, Ed25519PrivateKey), "another kind was refused"
            seed = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            texts += Credentials("seed", seed).texts_to_hide()
    return texts


def _read(name: str, keys_dir: str, environ: Mapping[str, str]) -> bytes:
    credentials_dir = environ.get("CREDENTIALS_DIRECTORY", "")
    if credentials_dir and os.path.lexists(Path(credentials_dir) / name):
        return _checked(_read_credential(Path(credentials_dir) / name), name)
    if keys_dir and os.path.lexists(Path(keys_dir) / name):
        _check_folder(Path(keys_dir))
        return _checked(read_private(Path(keys_dir) / name), str(Path(keys_dir) / name))
    mend = f"add `LoadCredential={name}:/etc/credstore/{name}` to the unit, or put a file {name}, mode 0600, into keys_dir"
    what = "secret of a channel" if name.startswith(CHANNEL_PREFIX) else "trading key"
    raise ConfigError([Problem(f"{what} {name}", "is missing", mend)])


def _read_credential(path: Path) -> bytes:
    """Read what the service manager handed over; it may belong to root, but nobody else may be let in."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        mend = "check LoadCredential= of the unit"
        raise ConfigError([Problem(str(path), f"cannot be read ({error.strerror})", mend)]) from None
    try:
        status = os.fstat(descriptor)
        is_private = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o007 and status.st_uid in (0, os.geteuid())
        if not is_private:
            mend = "let systemd make it (LoadCredential=), and nobody else"
            raise ConfigError([Problem(str(path), "is no private file of root's or ours", mend)])
        return os.read(descriptor, KEY_BYTES_MAX + 1)
    finally:
        os.close(descriptor)


def _check_folder(path: Path) -> None:
    """Refuse a folder in which somebody else could put another key under the name."""
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError([Problem(str(path), f"is owned by user {status.st_uid}", f"chown {os.geteuid()} {path}")])
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError([Problem(str(path), f"has mode {mode:04o}, so others may change it", f"chmod 700 {path}")])


def _checked(raw: bytes, where: str) -> bytes:
    if len(raw) > KEY_BYTES_MAX:
        raise ConfigError([Problem(where, f"has more than {KEY_BYTES_MAX} bytes", "put one key into it and nothing else")])
    if not raw.strip():
        raise ConfigError([Problem(where, "is empty", "put the key into it")])
    return raw.strip()


def _wrong(venue: str, access_key: bytes, secret: bytes, *, is_pem_taken: bool) -> Iterator[Problem]:
    """Tell what cannot be a key, never showing any of it."""
    names = key_names(venue)
    if not _ACCESS_KEY.fullmatch(access_key):
        yield Problem(names[0], "is no access key", "write the key's 8 to 256 letters and digits on one line, nothing else")
    if _is_pem(secret):
        if not is_pem_taken:
            yield Problem(names[1], f"is a PEM key, which {venue} does not take", "write the secret that the venue gave")
        elif not _is_ed25519(secret):
            yield Problem(names[1], "is no unencrypted Ed25519 private key", "make one: openssl genpkey -algorithm ed25519")
    elif not _SHARED.fullmatch(secret) or len(secret) < SECRET_LENGTH_MIN:
        mend = f"write the secret's letters and digits on one line, at least {SECRET_LENGTH_MIN}, nothing else"
        yield Problem(names[1], "is no secret", mend)


def _is_pem(secret: bytes) -> bool:
    return secret.startswith(b"-----BEGIN")


def _is_ed25519(secret: bytes) -> bool:
    try:
        return isinstance(load_pem_private_key(secret, None), Ed25519PrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
