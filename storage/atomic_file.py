"""Replace a whole file so that a reader, or a crash, meets the old one or the new one (01 3.3).

Rules owned here: the temporary file lies beside its target and is named
``.greenroom-atomic-*``; it is made with its mode, written, synced, renamed over the target, and the
directory is synced; after a failure it is gone and the target is as it was.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from ..actors.errors import StorageError
from .files import FileSystem, OsFileSystem

TEMP_PREFIX = ".greenroom-atomic-"


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o644, fs: FileSystem | None = None
) -> None:
    """Make ``path`` hold exactly ``data``, durably; missing parent directories are made.

    Any number of writers may race: one of them wins as a whole.

    :param mode: permission bits of the new file, whatever the umask says.
    :raises StorageError: the system refused a step (fields ``path``, ``operation``; the
        :class:`OSError` is its cause). The target is unchanged, unless only the last step, the
        sync of the directory, failed: then it is the new file, perhaps not yet durable.
    """
    fs = fs or OsFileSystem()
    target, directory = str(path), str(path.parent)
    try:
        fs.make_parents(target)
        temp = f"{directory}/{TEMP_PREFIX}{secrets.token_hex(8)}"
        try:
            file = fs.create(temp, mode)
            try:
                file.append(data)
                file.sync()
            finally:
                file.close()
            fs.rename(temp, target)
        except BaseException:
            with contextlib.suppress(OSError):
                fs.remove(temp)
            raise
        fs.sync_directory(directory)
    except OSError as error:
        raise StorageError(
            f"write {path}: {error.strerror or error}", path=target, operation="write"
        ) from error
