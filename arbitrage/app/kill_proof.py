"""When the kill switch last proved itself, in `{data_dir}/kill-proof.json`: how, and what was seen. Proves nothing itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import msgspec

from arbitrage.store.files import write_durably

logger = logging.getLogger("arbitrage.daemon")
FILE_NAME = "kill-proof.json"


class KillProof(msgspec.Struct, frozen=True):
    """One proof."""

    at_ns: int
    how: Literal["exercise", "kill"]
    """`exercise`: the daily one on paper; `kill`: the venues were asked after a real one."""
    text: str


class KillProofs:
    """The newest proof, in memory and on disk."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self.last = self._read()

    def keep(self, proof: KillProof) -> None:
        """Take a new one; a file that cannot be written is logged and costs no more than that a restart proves anew."""
        self.last = proof
        try:
            write_durably(self._path, msgspec.json.encode(proof))
        except OSError as error:
            logger.error("%s not written: %s", self._path, error)

    def _read(self) -> KillProof | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=KillProof)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            logger.error("%s cannot be read (%s): the kill switch counts as not proven", self._path, error)
            return None
