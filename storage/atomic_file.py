"""Replace a whole file so that a reader, or a crash, meets the old one or the new one (01 3.3).

Rules owned here: the temporary file lies beside its target and is named
``.greenroom-atomic-*``; it is written, given its mode, synced, renamed over the target, and the
directory is synced; after a failure it is gone and the target is as it was. Calls of the system
go through ``os`` by name, so that a test can make each of them fail.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from ..actors.errors import StorageError

TEMP_PREFIX = ".greenroom-atomic-"
DIRECTORY_MODE = 0o755
_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)
"""macOS: its ``fsync`` leaves data in the drive's cache; this does not."""


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Make ``path`` hold exactly ``data``, durably; missing parent directories are made.

    Any number of writers may race: one of them wins as a whole.

    :param mode: permission bits of the new file, whatever the umask says.
    :raises StorageError: the system refused a step (fields ``path``, ``operation``; the
        :class:`OSError` is its cause). The target is unchanged, unless only the last step, the
        sync of the directory, failed: then it is the new file, perhaps not yet durable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        handle, temp = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=path.parent)
        try:
            try:
                _write_all(handle, data)
                os.fchmod(handle, mode)
                sync_file(handle)
            finally:
                os.close(handle)
            os.rename(temp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temp)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError(
            f"write {path}: {error.strerror or error}", path=str(path), operation="write"
        ) from error


def sync_file(handle: int) -> None:
    """Wait until what was written to the descriptor is on the disk.

    :raises OSError: it is not; what the file holds after a crash is unknown.
    """
    if _FULL_SYNC is not None:
        fcntl.fcntl(handle, _FULL_SYNC)
    else:
        os.fsync(handle)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk.

    :raises OSError: they are not.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
