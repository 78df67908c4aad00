"""A file system that fails or waits on command, over the real one.

::

    files = FaultyFileSystem()
    manager = SessionManager(home=..., file_system=files)
    with files.failing("append", OSError(errno.ENOSPC, "no space")):
        ...                      # every append fails, nothing reaches the disk
    with files.holding("sync"):
        ...                      # every sync waits until the block is left

Faults apply to the calls of open files: ``append``, ``sync``, ``read``, ``truncate``. ``only``
limits a fault to paths that contain a text, such as ``"wal/"``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...storage.files import File, OsFileSystem
from ..runtime.originals import NativeEvent


@dataclass(slots=True, eq=False)
class Fault:
    """One fault while it is in force.

    :param call: the name of a method of an open file.
    :param error: what it raises; ``None`` for a fault that only makes it wait.
    :param only: a text the path must contain.
    """

    call: str
    error: OSError | None = None
    only: str = ""
    hits: int = 0
    reached: NativeEvent = field(default_factory=NativeEvent)
    """Set when a call met the fault."""
    over: NativeEvent = field(default_factory=NativeEvent)


class FaultyFileSystem(OsFileSystem):
    """The real file system with faults in it."""

    def __init__(self) -> None:
        super().__init__()
        self._faults: list[Fault] = []

    @contextlib.contextmanager
    def failing(self, call: str, error: OSError, only: str = "") -> Iterator[Fault]:
        """Every such call raises ``error`` while the block runs."""
        yield from self._during(Fault(call, error, only))

    @contextlib.contextmanager
    def holding(self, call: str, only: str = "") -> Iterator[Fault]:
        """Every such call waits until the block is left."""
        yield from self._during(Fault(call, None, only))

    def _during(self, fault: Fault) -> Iterator[Fault]:
        self._faults.append(fault)
        try:
            yield fault
        finally:
            self._faults.remove(fault)
            fault.over.set()

    def meet(self, call: str, path: str) -> None:
        """A call is about to be made: raise or wait as the faults say."""
        for fault in list(self._faults):
            if fault.call != call or fault.only not in path:
                continue
            fault.hits += 1
            fault.reached.set()
            if fault.error is not None:
                raise fault.error
            fault.over.wait()

    def open_append(self, path: str) -> File:
        """See :class:`~greenroom.storage.files.FileSystem`."""
        return _FaultyFile(super().open_append(path), path, self)

    def create(self, path: str, mode: int) -> File:
        self.meet("create", path)
        return _FaultyFile(super().create(path, mode), path, self)

    def open_read(self, path: str) -> File:
        """See :class:`~greenroom.storage.files.FileSystem`."""
        return _FaultyFile(super().open_read(path), path, self)


class _FaultyFile:
    def __init__(self, file: File, path: str, faults: FaultyFileSystem) -> None:
        self._file = file
        self._path = path
        self._faults = faults

    def read(self, offset: int, size: int) -> bytes:
        self._faults.meet("read", self._path)
        return self._file.read(offset, size)

    def append(self, data: bytes) -> None:
        self._faults.meet("append", self._path)
        self._file.append(data)

    def size(self) -> int:
        return self._file.size()

    def truncate(self, size: int) -> None:
        self._faults.meet("truncate", self._path)
        self._file.truncate(size)

    def sync(self) -> None:
        self._faults.meet("sync", self._path)
        self._file.sync()

    def close(self) -> None:
        self._file.close()
