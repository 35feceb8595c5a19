"""What real orders against the simulated exchanges need: their test keys in private files, and a configuration for loopback.

Refuses to lend itself to anything else: an address that leaves this machine is refused before a key is written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arbitrage.app.child import VenueServers
from arbitrage.model.settings import Settings
from arbitrage.ops.keys import key_names
from arbitrage.ops.preflight import LIVE_PHRASE
from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.venues.transport import is_loopback

KEY_WORDS = {"binance": ("key", "secret"), "upbit": ("access_key", "secret_key")}
"""What the servers call the two parts of a key."""
LEFT_OUT = ("MODE", "CREDENTIALS_DIRECTORY")
"""Variables of the surroundings that must not reach a house on loopback: another mode, or real keys."""


@contextlib.contextmanager
def test_keys(servers: VenueServers) -> Iterator[Path]:
    """Put the servers' test keys into a private folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-test-keys-"))
    try:
        for venue, words in KEY_WORDS.items():
            for name, word in zip(key_names(venue), words, strict=True):
                descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(servers.description[venue][word])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def live_values(servers: VenueServers, keys_dir: Path) -> dict[str, Any]:
    """Return the configuration for real orders at the servers: the scenario's own, their addresses, and their keys' folder."""
    return {**servers.overlay(), "mode": "live", "confirm_live": LIVE_PHRASE, "keys_dir": str(keys_dir)}


def without_real_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the surroundings less what could bring in another mode or a real key."""
    return {name: value for name, value in environ.items() if name not in LEFT_OUT}


def check_loopback(settings: Settings) -> None:
    """Refuse a configuration that would leave this machine. Raises ConfigError."""
    problems = []
    for venue, section in settings.venues.items():
        for key in ("rest_url", "stream_url", "account_url"):
            url = getattr(section, key)
            if url is not None and not is_loopback(url):
                mend = "unset what overrides the local servers"
                problems.append(Problem(f"venues.{venue}.{key}", "leaves this machine", mend))
    if problems:
        raise ConfigError(problems)
