"""The environment as a layer: a documented table of names, and `ARBITRAGE__SECTION__KEY` for everything. Refuses unknown keys.

A named variable that is empty counts as not set, so that an environment file may list all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.schema import known_keys, with_types
from arbitrage.ops.tree import Branch, KeyPath, Leaf, Origin, find, merge, plant

NAMED: dict[str, KeyPath] = {
    "MODE": ("mode",),
    "LOG_LEVEL": ("log", "level"),
    "REDIS_HOST": ("store", "redis_host"),
    "REDIS_PORT": ("store", "redis_port"),
    "REDIS_PASSWORD": ("store", "redis_password"),
    "REDIS_DB": ("store", "redis_db"),
    "POSTGRES_HOST": ("store", "postgres_host"),
    "POSTGRES_PORT": ("store", "postgres_port"),
    "POSTGRES_USER": ("store", "postgres_user"),
    "POSTGRES_PASSWORD": ("store", "postgres_password"),
    "POSTGRES_DB": ("store", "postgres_database"),
}
"""Besides these, ENV chooses the environment file and is no layer of its own."""
PREFIX = "ARBITRAGE__"
VARIABLES_MAX = 1_000


def read_environment(environ: Mapping[str, str], below: Branch, problems: list[Problem]) -> Branch:
    """Read all variables that name settings, adding to `problems` what is wrong with them.

    `below` tells how free names (venues, assets) are spelt in the files.
    """
    layer = Branch({}, Origin("environment"))
    general = sorted(name for name in environ if name.startswith(PREFIX))
    if len(general) > VARIABLES_MAX:
        problems.append(Problem(f"environment variables {PREFIX}*", f"are more than {VARIABLES_MAX}", "use a file"))
        return layer
    for name in (*sorted(key for key in NAMED if environ.get(key)), *general):
        path = NAMED[name] if name in NAMED else _path_of(name, below)
        if path == ("env",):
            problems.append(Problem(f"environment variable {name}", "cannot choose the environment", "set ENV instead"))
            continue
        try:
            layer = merge(layer, with_types(plant(path, _leaf(name, environ[name]))))
        except ConfigError as error:
            problems.extend(error.problems)
    return layer


def variable_table() -> list[tuple[str, str]]:
    """List every named variable with the key that it sets, for the documentation and `config show`."""
    return [("ENV", "chooses config/environments/{ENV}.yaml"), *((name, ".".join(path)) for name, path in NAMED.items())]


def _leaf(name: str, text: str) -> Leaf:
    return Leaf(text, Origin(f"environment variable {name}", is_secret="PASSWORD" in name), is_text=True)


def _path_of(name: str, below: Branch) -> KeyPath:
    path: KeyPath = ()
    for word in name.removeprefix(PREFIX).split("__"):
        path = (*path, _spelt(word, path, below))
    return path


def _spelt(word: str, path: KeyPath, below: Branch) -> str:
    """Find how a word of a variable's name is spelt as a key: declared keys are lower case, free names as in the files."""
    if known_keys(path):
        return word.lower()
    block = find(below, path)
    if isinstance(block, Branch):
        for key in block.children:
            if key.lower() == word.lower():
                return key
    return word
