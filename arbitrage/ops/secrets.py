"""Passwords: `config/secrets.yaml` with `${VAR:-default}`, systemd credentials, the redactor. Refuses files others can read.

Trading keys are not configuration and have no place here: `ops/keys.py` reads them, and only for a mode that signs.
"""

from __future__ import annotations

import base64
import os
import re
import stat
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.schema import with_types
from arbitrage.ops.tree import Branch, KeyPath, Leaf, Node, Origin, merge, plant, without
from arbitrage.ops.yaml_source import FILE_BYTES_MAX, read_bytes

CREDENTIALS: dict[str, KeyPath] = {
    "postgres_password": ("store", "postgres_password"),
    "redis_password": ("store", "redis_password"),
}
"""systemd credentials (`LoadCredential=name:path`) that are settings."""
CREDENTIAL_BYTES_MAX = 65_536
SECRET_LENGTH_MIN = 4
"""Shorter values are not redacted: hiding every `a` would hide the log."""
HIDDEN = "***"
_VARIABLE = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\$\{)")


def read_secrets(path: Path, environ: Mapping[str, str], problems: list[Problem]) -> Branch:
    """Read the secrets file, if there is one, and the systemd credentials over it, adding to `problems` what is wrong."""
    layer = Branch({}, Origin(str(path)))
    try:
        if os.path.lexists(path):
            tree = _expanded(read_bytes(read_private(path), str(path), is_text=True), environ)
            if (keys := tree.children.get("keys")) is not None:
                mend = "give each key a file of its own, mode 0600, in keys_dir, or make it a systemd credential"
                problems.append(Problem(keys.origin.at(("keys",)), "holds trading keys, which are not read from here", mend))
            layer = with_types(without(tree, ("keys",)))
    except ConfigError as error:
        problems.extend(error.problems)
    try:
        for name, leaf in _read_credentials(environ.get("CREDENTIALS_DIRECTORY", "")):
            layer = merge(layer, plant(CREDENTIALS[name], leaf))
    except ConfigError as error:
        problems.extend(error.problems)
    return layer


def read_private(path: Path) -> bytes:
    """Read a file that only its owner, who must be us, may read. Checked on the open file, so nobody swaps it in between."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        mend = "make it a plain file of your own (no link), mode 0600"
        raise ConfigError([Problem(str(path), f"cannot be read ({error.strerror})", mend)]) from None
    try:
        if (problem := _not_private(path, os.fstat(descriptor))) is not None:
            raise ConfigError([problem])
        return os.read(descriptor, FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)


def _not_private(path: Path, status: os.stat_result) -> Problem | None:
    if not stat.S_ISREG(status.st_mode):
        return Problem(str(path), "is not a plain file", "make it one, mode 0600")
    if status.st_uid != os.geteuid():
        what = f"is owned by user {status.st_uid}, not by the one running this"
        return Problem(str(path), what, f"chown {os.geteuid()} {path}")
    mode = stat.S_IMODE(status.st_mode)
    if mode not in (0o600, 0o400):
        return Problem(str(path), f"has mode {mode:04o}, so others may read it", f"chmod 600 {path}")
    return None


def _expanded(tree: Branch, environ: Mapping[str, str]) -> Branch:
    """Replace `${VAR}` and `${VAR:-default}` in every leaf, once: a variable's text is not expanded again. `$${` is `${`."""
    problems: list[Problem] = []

    def expand(node: Node, path: KeyPath) -> Node:
        if isinstance(node, Branch):
            return Branch({key: expand(child, (*path, key)) for key, child in node.children.items()}, node.origin)
        if not isinstance(node.value, str):
            problems.append(Problem(node.origin.at(path), "is a list", "secrets are single values"))
            return node
        origin = msgspec.structs.replace(node.origin, is_secret=True)
        return Leaf(_VARIABLE.sub(lambda match: value_of(match, node, path), node.value), origin, is_text=True)

    def value_of(match: re.Match[str], leaf: Leaf, path: KeyPath) -> str:
        escaped, name, default, broken = match.groups()
        if escaped:
            return "${"
        value = environ.get(name or "", "")
        if value or default is not None:
            return value or default
        what = "has a `${` that is not `${NAME}` or `${NAME:-default}`" if broken else f"wants the environment variable {name}"
        mend = "write `$${` for a literal `${`" if broken else f"set {name}, or write `${{{name}:-}}` for none"
        problems.append(Problem(leaf.origin.at(path), what, mend))
        return ""

    root = expand(tree, ())
    if problems:
        raise ConfigError(problems)
    assert isinstance(root, Branch), "expanding keeps the shape"
    return root


def _read_credentials(directory: str) -> list[tuple[str, Leaf]]:
    """Read systemd's credentials that are settings. Their folder is the service manager's: private by construction."""
    if not directory:
        return []
    found: list[tuple[str, Leaf]] = []
    try:
        for path in (path for path in sorted(Path(directory).iterdir()) if path.name in CREDENTIALS):
            with path.open("rb") as file:
                raw = file.read(CREDENTIAL_BYTES_MAX + 1)
            if len(raw) > CREDENTIAL_BYTES_MAX:
                raise ConfigError([Problem(f"credential {path.name}", "is too large", "give one password a credential")])
            found.append((path.name, Leaf(raw.decode().strip(), Origin(f"credential {path.name}", is_secret=True))))
    except OSError as error:
        mend = "check LoadCredential= of the unit"
        raise ConfigError([Problem(directory, f"cannot be read ({error.strerror})", mend)]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(directory, "holds a credential that is not UTF-8 text", "write it as text")]) from None
    return found


class Redactor:
    """Replaces known secret values in text, also where they were turned to base64, hexadecimal or URL encoding."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = tuple(value for value in values if len(value) >= SECRET_LENGTH_MIN)
        forms = {form for value in self._values for form in _forms(value)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(re.escape(form) for form in longest_first)) if forms else None

    def redact(self, text: str) -> str:
        """Return the text with every known secret replaced by `***`."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def knowing(self, values: Iterable[str]) -> Redactor:
        """Return a redactor that hides these values too (passwords that were made at run time)."""
        return Redactor((*self._values, *values))

    def __repr__(self) -> str:
        return "Redactor(***)"


def _forms(value: str) -> set[str]:
    raw = value.encode()
    plain = base64.b64encode(raw).decode()
    url_safe = base64.urlsafe_b64encode(raw).decode()
    quoted = urllib.parse.quote(value, safe="")
    lower_quoted = re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), quoted)
    escaped = msgspec.json.encode(value).decode()[1:-1]
    return _inner_base64(raw) | {
        value, plain, plain.rstrip("="), url_safe, url_safe.rstrip("="), raw.hex(), raw.hex().upper(),
        quoted, lower_quoted, urllib.parse.quote_plus(value), urllib.parse.quote(value), escaped, repr(value)[1:-1],
    }


def _inner_base64(raw: bytes) -> set[str]:
    """Return what base64 shows of the value inside longer data (`user:password`), for each of the three alignments."""
    shown: set[str] = set()
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + raw).decode()[(0, 2, 3)[offset] : (offset + len(raw)) * 8 // 6]
        if len(text) > SECRET_LENGTH_MIN:
            shown |= {text, text.replace("+", "-").replace("/", "_")}
    return shown
