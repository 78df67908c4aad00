"""After a sync that failed, what a file shows need not be what the medium has (03 13).

The kernel drops the data it could not write and still shows it to readers; the next sync says that
all is well. So a file whose sync failed is noted beside it, and the next writer copies what it
shows into a file of its own. The note need not survive a power loss: what was shown does not.
"""

from __future__ import annotations

import contextlib

from .files import FileSystem

NOTE = ".unsynced"
COPY = ".copy"
COPY_BYTES = 1024 * 1024
"""Bytes copied at a time."""


def note_unsynced(fs: FileSystem, path: str) -> None:
    """Say that a sync of the file failed, as well as it can be said."""
    with contextlib.suppress(OSError):
        fs.open_append(f"{path}{NOTE}").close()


def forget_unsynced(fs: FileSystem, path: str) -> None:
    """The file is gone, or whole on the medium."""
    if fs.exists(f"{path}{NOTE}"):
        fs.remove(f"{path}{NOTE}")


def copy_unsynced(fs: FileSystem, path: str) -> None:
    """Bring a file whose sync failed to the medium, as it is shown; others are left alone.

    :raises OSError: it can not be read or written; the next call does it again.
    """
    if not fs.exists(f"{path}{NOTE}"):
        return
    if fs.exists(path):
        _copy(fs, path, f"{path}{COPY}")
        fs.rename(f"{path}{COPY}", path)
        fs.sync_directory(path.rpartition("/")[0] or ".")
    forget_unsynced(fs, path)


def _copy(fs: FileSystem, path: str, target: str) -> None:
    if fs.exists(target):
        fs.remove(target)
    source = fs.open_read(path)
    try:
        made = fs.open_append(target)
        try:
            offset = 0
            while data := source.read(offset, COPY_BYTES):
                made.append(data)
                offset += len(data)
            made.sync()
        finally:
            made.close()
    finally:
        source.close()
