"""Single keys that an operator set while the daemon runs, as the topmost layer, in the data folder. Refuses secrets and damage.

Only what a running process can take over may be set so; what shapes connections or stored state belongs into the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.tree import Branch, Origin, from_values, merge, plant
from arbitrage.store.files import make_private_folder, write_durably

FILE_NAME = "overrides.json"
FILE_BYTES_MAX = 1_000_000
KEYS_MAX = 500


class Override(msgspec.Struct, frozen=True):
    """One key's value, and who set it when and why."""

    value: Any
    actor: str
    at_ns: int
    """Wall clock."""
    reason: str = ""


Overrides = Mapping[str, Override]
"""By dotted key."""


def read_overrides(data_dir: Path) -> dict[str, Override]:
    """Read what is set; nothing where the file is missing. Raises ConfigError."""
    path = data_dir / FILE_NAME
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=dict[str, Override])
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        return {}
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be read ({error.strerror})", "make it readable")]) from None
    except msgspec.MsgspecError as error:
        raise ConfigError([Problem(str(path), f"is damaged ({error})", "correct it, or remove it to reset all keys")]) from None
    if len(found) > KEYS_MAX:
        raise ConfigError([Problem(str(path), f"sets more than {KEYS_MAX} keys", "put them into the files")])
    return found


def write_overrides(data_dir: Path, overrides: Overrides) -> None:
    """Keep them whole. Raises OSError; what was kept before then stands."""
    make_private_folder(data_dir)
    write_durably(data_dir / FILE_NAME, msgspec.json.format(msgspec.json.encode(dict(overrides)), indent=1))


def layer_of(overrides: Overrides, data_dir: Path) -> Branch:
    """Make the layer; each value's origin names who set it."""
    tree = Branch({}, Origin(str(data_dir / FILE_NAME)))
    for key, override in overrides.items():
        origin = Origin(f"{data_dir / FILE_NAME} (set by {override.actor})")
        tree = merge(tree, plant(tuple(key.split(".")), _leaf(override.value, origin)))
    return tree


def _leaf(value: object, origin: Origin) -> Any:
    return from_values(value, origin)
