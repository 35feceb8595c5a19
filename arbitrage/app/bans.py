"""Remembers until when a venue banned us, in the data folder: a restart must not ask before that. Asks nobody anything."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from arbitrage.store.files import write_durably

logger = logging.getLogger("arbitrage.daemon")
FILE_NAME = "bans.json"


class BanFile:
    """The end of each venue's ban in engine time; the file is written only when one begins or is prolonged."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._until: dict[str, int] = self._read()

    def until_ns(self, venue: str) -> int:
        """Return when a venue may be asked again; 0 when it never banned us."""
        return self._until.get(venue, 0)

    def note(self, held_until_ns: Mapping[str, int], now_ns: int) -> None:
        """Keep bans that are still in force and not known yet."""
        fresh = {venue: until for venue, until in held_until_ns.items() if until > max(now_ns, self.until_ns(venue))}
        if not fresh:
            return
        self._until.update(fresh)
        try:
            write_durably(self._path, msgspec.json.encode(self._until))
        except OSError as error:
            logger.error("%s not written: %s; a restart would not know of the ban", self._path, error)

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            logger.error("%s cannot be read (%s): bans from before are not known", self._path, error)
            return {}
