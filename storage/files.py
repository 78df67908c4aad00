"""The file system as the stores see it, and the only place that touches files.

Everything else in this package takes a :class:`FileSystem`, so that a test can make any call fail,
wait or forget. Rules owned here: a write is finished or raises, whatever the kernel takes at a
time; "synced" means on the medium (``F_FULLFSYNC`` where ``fsync`` does not mean that).
"""

from __future__ import annotations

import fcntl
import os
from typing import Protocol

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
PARENT_MODE = 0o755
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


class ReadFile(Protocol):
    """A file open for reading. Every call may raise :class:`OSError`."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``offset``; fewer only at the end of the file."""

    def close(self) -> None:
        """Give the descriptor back."""


class File(ReadFile, Protocol):
    """A file open for reading and appending."""

    def append(self, data: bytes) -> None:
        """Write all of ``data`` at the end; after an error, part of it may be there."""

    def size(self) -> int:
        """Length in bytes."""

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""

    def sync(self) -> None:
        """Return when the data is on the medium."""


class FileSystem(Protocol):
    """The calls the stores make. Every one may raise :class:`OSError`."""

    def open_append(self, path: str) -> File:
        """Open for reading and appending; made with mode 0600 when missing."""

    def create(self, path: str, mode: int) -> File:
        """Make a file of that mode; one that is there is :class:`FileExistsError`."""

    def open_read(self, path: str) -> File:
        """Open for reading; a missing file is :class:`FileNotFoundError`."""

    def exists(self, path: str) -> bool:
        """Whether something has that name."""

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted."""

    def make_directory(self, path: str) -> bool:
        """Make a directory with mode 0700, or give an existing one that mode; whether made."""

    def make_parents(self, path: str) -> None:
        """Make the missing directories above ``path``; existing ones are left as they are."""

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory are on the medium."""

    def remove(self, path: str) -> None:
        """Remove a file's name."""

    def rename(self, source: str, target: str) -> None:
        """Rename, replacing ``target`` in one step."""


class OsFile:
    """A descriptor of the operating system."""

    __slots__ = ("_handle",)

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def read(self, offset: int, size: int) -> bytes:
        """See :meth:`File.read`."""
        data = os.pread(self._handle, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        missing = size - len(data)
        while missing and (data := os.pread(self._handle, missing, offset + size - missing)):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def append(self, data: bytes) -> None:
        """See :meth:`File.append`."""
        written = os.write(self._handle, data)
        if written == len(data):
            return
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(self._handle, rest) :]

    def size(self) -> int:
        """See :meth:`File.size`."""
        return os.fstat(self._handle).st_size

    def truncate(self, size: int) -> None:
        """See :meth:`File.truncate`."""
        os.ftruncate(self._handle, size)

    def sync(self) -> None:
        """See :meth:`File.sync`."""
        if _FULL_SYNC is not None:
            fcntl.fcntl(self._handle, _FULL_SYNC)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(self._handle)
        else:
            os.fsync(self._handle)

    def close(self) -> None:
        """See :meth:`File.close`."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __del__(self) -> None:
        # Who reads a file that was replaced keeps it as long as the reading lasts.
        self.close()


class SharedFile:
    """A file that others read too: closing it ends this reading only."""

    __slots__ = ("_file",)

    def __init__(self, file: ReadFile) -> None:
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        """See :meth:`ReadFile.read`."""
        return self._file.read(offset, size)

    def close(self) -> None:
        """Nothing: the file closes itself when nobody has it any more."""


class OsFileSystem:
    """The file system of the operating system."""

    __slots__ = ()

    def open_append(self, path: str) -> File:
        """See :meth:`FileSystem.open_append`."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return OsFile(os.open(path, flags, FILE_MODE))

    def create(self, path: str, mode: int) -> File:
        """See :meth:`FileSystem.create`."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(path, flags, FILE_MODE)
        try:
            # What the mode is must not depend on the mask of the process.
            os.fchmod(handle, mode)
        except BaseException:
            os.close(handle)
            raise
        return OsFile(handle)

    def open_read(self, path: str) -> File:
        """See :meth:`FileSystem.open_read`."""
        return OsFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def exists(self, path: str) -> bool:
        """See :meth:`FileSystem.exists`."""
        return os.path.lexists(path)

    def names(self, path: str) -> list[str]:
        """See :meth:`FileSystem.names`."""
        return sorted(os.listdir(path))

    def make_directory(self, path: str) -> bool:
        """See :meth:`FileSystem.make_directory`."""
        try:
            os.mkdir(path, DIRECTORY_MODE)
        except FileExistsError:
            os.chmod(path, DIRECTORY_MODE)
            return False
        return True

    def make_parents(self, path: str) -> None:
        """See :meth:`FileSystem.make_parents`."""
        os.makedirs(os.path.dirname(path) or ".", PARENT_MODE, exist_ok=True)

    def sync_directory(self, path: str) -> None:
        """See :meth:`FileSystem.sync_directory`."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, path: str) -> None:
        """See :meth:`FileSystem.remove`."""
        os.unlink(path)

    def rename(self, source: str, target: str) -> None:
        """See :meth:`FileSystem.rename`."""
        os.rename(source, target)
