"""Durable small files: written whole or not at all, and there after a power cut. Knows no formats."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Create a folder that only its owner may read, parents included."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)


def sync_folder(path: Path) -> None:
    """Make the names in a folder (created, renamed, removed) survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes, halfway: Callable[[], None] | None = None) -> None:
    """Write every byte or raise OSError; a short write is continued. `halfway` is called when half of it is written."""
    view = memoryview(content)
    if halfway is not None:
        view = view[os.write(descriptor, view[: len(view) // 2]) :]
        halfway()
    while view:
        view = view[os.write(descriptor, view) :]


def write_durably(path: Path, content: bytes, halfway: Callable[[], None] | None = None) -> None:
    """Replace `path` by `content`: temporary file, fsync, rename, folder fsync. Raises OSError; the old file then stands.

    `halfway` is called when half of the temporary file is written.
    """
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, content, halfway)
        os.fsync(descriptor)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_folder(path.parent)
