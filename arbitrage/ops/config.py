"""The configuration, layered and explained: files, scenario, environment, secrets; typed whole or refused whole.

Lowest first: defaults in `model/settings.py`, `base.yaml`, `environments/{ENV}.yaml`, a scenario's overlay, environment
variables, `secrets.yaml`, systemd credentials, `overrides.json` in the data folder. Blocks merge key by key; a list replaces
the list below it. Never half applied: `load` returns a complete frozen configuration or raises ConfigError with all problems,
and touches nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from arbitrage.model.settings import Settings, StoreSettings
from arbitrage.ops.consistency import clashes
from arbitrage.ops.environment import read_environment
from arbitrage.ops.overrides import FILE_NAME, Overrides, layer_of, read_overrides
from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.schema import SECRET_KEYS, check, plain
from arbitrage.ops.secrets import Redactor, read_secrets
from arbitrage.ops.tree import DEFAULT, Branch, Leaf, Node, Origin, find, from_values, leaves, merge, plant, without
from arbitrage.ops.yaml_source import read_file

ENV_DEFAULT = "development"
CONFIG_DIR_VARIABLE = "ARBITRAGE_CONFIG_DIR"
_ENV = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
RESTART_PREFIXES = (
    "env", "mode", "confirm_live", "keys_dir", "session_name", "venues", "store", "backup", "paper", "hot_path",
    "web",
    "log.directory", "log.file_bytes_max", "log.files_kept", "log.queue_max", "log.stream_length_max",
    "alerts.channels", "alerts.waiting_max", "alerts.group_ms",
    "strategy.reporting_asset", "strategy.legs_max", "strategy.cycles_max", "strategy.fx_assets", "strategy.transfers",
)
"""Keys (and all below them) that a running process cannot take over: they shape connections, the graph, or stored state."""


class Overlay(NamedTuple):
    """What a scenario, by its name, lays over the files. A None in place of a block (a venue, the inventory) takes it away."""

    name: str
    values: Mapping[str, object]


class Loaded(msgspec.Struct, frozen=True):
    """A complete configuration and where each value came from."""

    settings: Settings
    origins: dict[str, Origin]
    """By dotted key, for every leaf."""
    version: str
    """Hash of all values except secrets: equal settings have equal versions."""
    redactor: Redactor


class Change(msgspec.Struct, frozen=True):
    """One key whose value differs; secrets are shown as `***`."""

    key: str
    before: str
    after: str


class Reload(msgspec.Struct, frozen=True):
    """What a newly read configuration would change in the running one: taken over whole, or refused whole."""

    changes: tuple[Change, ...]
    needs_restart: tuple[str, ...]
    """Changed keys that a running process cannot take over; if there is one, nothing is taken over."""

    @property
    def is_accepted(self) -> bool:
        return not self.needs_restart

    def __str__(self) -> str:
        if self.needs_restart:
            return f"configuration refused: restart to change {', '.join(self.needs_restart)}; the running one stays whole"
        if not self.changes:
            return "configuration reloaded: nothing changed"
        changed = ", ".join(f"{change.key} {change.before} -> {change.after}" for change in self.changes)
        return f"configuration reloaded: {changed}"


def find_config_dir(environ: Mapping[str, str]) -> Path:
    """Return the configuration folder: ARBITRAGE_CONFIG_DIR, else `config` here, else the one beside the package."""
    named = environ.get(CONFIG_DIR_VARIABLE, "")
    if named:
        return Path(named)
    here = Path("config")
    return here if (here / "base.yaml").is_file() else Path(__file__).resolve().parents[2] / "config"


class Read(Protocol):
    """Reads the configuration of one daemon anew, with the overrides of its data folder or with others."""

    def __call__(self, overrides: Overrides | None = None) -> Loaded: ...


def load(
    config_dir: Path, environ: Mapping[str, str], overlay: Overlay | None = None, overrides: Overrides | None = None
) -> Loaded:
    """Read all layers, check types and consistency, and return the whole. Raises ConfigError with every problem found.

    `overrides` stand in the place of those in the data folder. Reads only files; safe to call in a thread. Takes about
    15 ms, so a running loop should do that.
    """
    tree = _overridden(_layered(config_dir, environ, overlay), overrides)
    if problems := check(tree):
        raise ConfigError(problems)
    try:
        settings = msgspec.convert(plain(tree), Settings)
    except msgspec.ValidationError as error:
        raise ConfigError([Problem(str(config_dir), str(error), "correct that key")]) from None
    origins = _origins(settings, tree)
    if found := clashes(settings):
        raise ConfigError(Problem(f"{_where(origins, clash.key)} {clash.key}", clash.what, clash.mend) for clash in found)
    secret_values = (str(value) for key, value in flat(settings).items() if tuple(key.split(".")) in SECRET_KEYS)
    return Loaded(settings, origins, version_of(settings), Redactor(secret_values))


def flat(settings: Settings) -> dict[str, object]:
    """List every leaf of the settings by dotted key. A list is one leaf; so is an empty block."""
    return _leaves(msgspec.to_builtins(settings))


def flat_of(body: Mapping[str, object]) -> dict[str, object]:
    """List every leaf of a configuration that was kept as JSON, or could be: its lists compare with those of another."""
    return _leaves(msgspec.json.decode(msgspec.json.encode(body)))


def _leaves(body: object) -> dict[str, object]:
    found: dict[str, object] = {}

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict) and value:
            for name, child in value.items():
                walk(child, f"{key}.{name}" if key else str(name))
        else:
            found[key] = value

    walk(body, "")
    return found


def version_of(settings: Settings) -> str:
    """Hash all values except secrets."""
    public = {key: value for key, value in flat(settings).items() if tuple(key.split(".")) not in SECRET_KEYS}
    return hashlib.sha256(msgspec.json.encode(public, order="sorted")).hexdigest()[:16]


def shown(key: str, value: object, origin: Origin = DEFAULT) -> str:
    """Print a value for people: secrets as `***`."""
    if origin.is_secret or tuple(key.split(".")) in SECRET_KEYS:
        return "***" if value else "(not set)"
    return msgspec.json.encode(value).decode()


def compare(before: Loaded, after: Loaded) -> Reload:
    """Say what would change and whether a running process can take it over."""
    old, new = flat(before.settings), flat(after.settings)
    absent = object()
    changes = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key, absent) != new.get(key, absent):
            left = shown(key, old[key], before.origins[key]) if key in old else "(absent)"
            right = shown(key, new[key], after.origins[key]) if key in new else "(absent)"
            changes.append(Change(key, left, right))
    stuck = tuple(change.key for change in changes if needs_restart(change.key))
    return Reload(tuple(changes), stuck)


def needs_restart(key: str) -> bool:
    """Tell whether a changed key cannot be taken over by a running process."""
    return any(key == prefix or key.startswith(prefix + ".") for prefix in RESTART_PREFIXES)


def _layered(config_dir: Path, environ: Mapping[str, str], overlay: Overlay | None) -> Branch:
    """Read every layer, collecting the problems of all of them, and merge."""
    problems: list[Problem] = []
    env, env_origin = _environment_name(environ)
    tree = Branch({}, Origin(str(config_dir)))
    for file in (config_dir / "base.yaml", _environment_file(config_dir, env)):
        try:
            tree = merge(tree, _without_env(read_file(file)))
        except ConfigError as error:
            problems.extend(error.problems)
    if overlay is not None:
        tree = _overlaid(tree, overlay)
    tree = merge(tree, read_environment(environ, tree, problems))
    secrets = read_secrets(config_dir / "secrets.yaml", environ, problems)
    try:
        tree = merge(tree, _without_env(secrets))
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError([*problems, *_type_problems(tree)])
    return merge(tree, plant(("env",), Leaf(env, env_origin)))


def _overridden(tree: Branch, overrides: Overrides | None) -> Branch:
    """Lay single keys over everything. Raises ConfigError for one that a running process could not take over."""
    leaf = find(tree, ("store", "data_dir"))
    data_dir = Path(leaf.value if isinstance(leaf, Leaf) and isinstance(leaf.value, str) else StoreSettings().data_dir)
    found = read_overrides(data_dir) if overrides is None else overrides
    if stuck := [key for key in found if needs_restart(key)]:
        place = str(data_dir / FILE_NAME)
        raise ConfigError([Problem(f"{place} {key}", "cannot be set while running", "set it in the files") for key in stuck])
    return merge(tree, layer_of(found, data_dir))


def _overlaid(tree: Branch, overlay: Overlay) -> Branch:
    layer = from_values(dict(overlay.values), Origin(overlay.name))
    assert isinstance(layer, Branch), "a scenario's overlay is a block"
    dropped = [path for path, leaf in leaves(layer) if leaf.value is None and isinstance(find(tree, path), Branch)]
    for path in dropped:
        tree, layer = without(tree, path), without(layer, path)
    return merge(tree, layer)


def _type_problems(tree: Branch) -> list[Problem]:
    """List what else is wrong in the layers that could be read; a missing key may just be in the one that could not."""
    return [problem for problem in check(tree) if problem.what != "is required and missing"]


def _environment_name(environ: Mapping[str, str]) -> tuple[str, Origin]:
    env = environ.get("ENV", "")
    if not env:
        return ENV_DEFAULT, DEFAULT
    if not _ENV.match(env):
        raise ConfigError([Problem("environment variable ENV", "is not a name", "set development, staging or production")])
    return env, Origin("environment variable ENV")


def _environment_file(config_dir: Path, env: str) -> Path:
    path = config_dir / "environments" / f"{env}.yaml"
    known = sorted(file.stem for file in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    if known and env not in known:
        what = f"is {env}, and there is no {path}"
        raise ConfigError([Problem("environment variable ENV", what, f"set it to one of {', '.join(known)}")])
    return path


def _without_env(layer: Branch) -> Branch:
    node: Node | None = layer.children.get("env")
    if node is None:
        return layer
    raise ConfigError([Problem(node.origin.at(("env",)), "cannot be set in a file", "set the environment variable ENV")])


def _origins(settings: Settings, tree: Branch) -> dict[str, Origin]:
    origins: dict[str, Origin] = {}
    written = {".".join(path): leaf.origin for path, leaf in leaves(tree)}
    for key in flat(settings):
        if key in written:
            origins[key] = written[key]
        else:
            node = find(tree, tuple(key.split(".")))
            origins[key] = DEFAULT if node is None else node.origin
    return origins


def _where(origins: dict[str, Origin], key: str) -> Origin:
    """Find the place of a key, or of the first leaf below it."""
    for candidate, origin in origins.items():
        if candidate == key or candidate.startswith(key + "."):
            return origin
    return DEFAULT
