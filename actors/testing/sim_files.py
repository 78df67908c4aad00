"""A simulated file system with a memory of its own: what a power loss may leave of it.

::

    disk = SimFileSystem()
    ...                                     # run the stores on it
    for state in disk.after_power_loss(random.Random(seed), 100):
        ...                                 # open the stores on what is left

Rules owned here: a sync makes the data of a file durable, a sync of a directory its names; a sync
that fails makes the file forget what it was to bring, which is still shown; of what was not synced,
each write survives whole, in part, as zeros or not at all; a change of a name survives or not, a
rename as a whole, and names of a directory in the order they were changed.
"""

from __future__ import annotations

import errno
import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from ...storage.files import File
from ..runtime.originals import ReentrantLock
from .sim_sectors import Inode, after_loss, lost_sectors

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _atomic(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """One call at a time, whichever threads make them."""

    @functools.wraps(call)
    def locked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with args[0].lock:  # type: ignore[attr-defined]
            return call(*args, **kwargs)

    return locked


Fault = Callable[[int, str, str], int | None]
"""Asked before each call with its number, its name and the path; see :class:`SimFileSystem`."""


@dataclass(slots=True)
class _Change:
    """One change of a directory that is not durable: names to set, ``None`` to remove."""

    names: dict[str, Inode | None]


class SimFileSystem:
    """The calls of :class:`~greenroom.storage.files.FileSystem`, in memory.

    :param fault: asked before each call with its number, name and path; it may raise, and for an
        append it may return how many bytes reach the file before ``OSError`` is raised.
    """

    def __init__(self) -> None:
        self.names_now: dict[str, Inode] = {}
        self.names_durable: dict[str, Inode] = {}
        self.directories: set[str] = {"/"}
        self.directories_durable: set[str] = {"/"}
        self.changes: dict[str, list[_Change]] = {}
        self.calls = 0
        self.fault: Fault | None = None
        self.lock = ReentrantLock()

    # The calls.

    @_atomic
    def open_append(self, path: str) -> File:
        self.meet("open_append", path)
        inode = self.names_now.get(path)
        return self._made(path) if inode is None else _SimFile(self, path, inode)

    @_atomic
    def create(self, path: str, mode: int) -> File:
        self.meet("create", path)
        if path in self.names_now:
            raise FileExistsError(errno.EEXIST, "file exists", path)
        return self._made(path)

    @_atomic
    def open_read(self, path: str) -> File:
        self.meet("open_read", path)
        inode = self.names_now.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return _SimFile(self, path, inode)

    @_atomic
    def exists(self, path: str) -> bool:
        return path in self.names_now or path in self.directories

    @_atomic
    def names(self, path: str) -> list[str]:
        self.meet("names", path)
        every = [*self.names_now, *self.directories]
        return sorted({one[len(path) + 1 :] for one in every if _directory(one) == path})

    @_atomic
    def make_directory(self, path: str) -> bool:
        self.meet("make_directory", path)
        if path in self.directories:
            return False
        self.directories.add(path)
        return True

    @_atomic
    def make_parents(self, path: str) -> None:
        self.directories.add(_directory(path))

    @_atomic
    def sync_directory(self, path: str) -> None:
        self.meet("sync_directory", path)
        for change in self.changes.pop(path, []):
            _apply(self.names_durable, change)
        self.directories_durable |= {
            one for one in self.directories if _directory(one) == path or one == path
        }

    @_atomic
    def remove(self, path: str) -> None:
        self.meet("remove", path)
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        self._change(path, {path: None})

    @_atomic
    def rename(self, source: str, target: str) -> None:
        self.meet("rename", source)
        inode = self.names_now.get(source)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", source)
        self._change(target, {source: None, target: inode})

    def meet(self, call: str, path: str) -> int | None:
        """A call is about to be made."""
        self.calls += 1
        return None if self.fault is None else self.fault(self.calls, call, path)

    # What is left.

    def copy(self) -> SimFileSystem:
        """The same disk, durable and not, to be looked at later."""
        state = SimFileSystem()
        inodes: dict[int, Inode] = {}

        def of(inode: Inode) -> Inode:
            found = inodes.get(id(inode))
            if found is None:
                found = inode.copy()
                inodes[id(inode)] = found
            return found

        state.names_now = {path: of(inode) for path, inode in self.names_now.items()}
        state.names_durable = {path: of(inode) for path, inode in self.names_durable.items()}
        state.directories = set(self.directories)
        state.directories_durable = set(self.directories_durable)
        state.changes = {
            path: [
                _Change({name: inode and of(inode) for name, inode in change.names.items()})
                for change in changes
            ]
            for path, changes in self.changes.items()
        }
        return state

    def after_kill(self) -> SimFileSystem:
        """The state after the process was killed: everything written is there."""
        state = SimFileSystem()
        state.directories = set(self.directories)
        state.directories_durable = set(self.directories)
        state.names_now = {path: _whole(inode) for path, inode in self.names_now.items()}
        state.names_durable = dict(state.names_now)
        return state

    def after_power_loss(self, chance: random.Random, count: int) -> Iterator[SimFileSystem]:
        """That many states a power loss may leave, drawn at random."""
        for _ in range(count):
            yield self._power_loss(chance)

    def after_lost_sectors(self, path: str) -> Iterator[SimFileSystem]:
        """Every state a power loss may leave of the last append to a file, sector by sector.

        All before it is durable. Each subset of the n sectors it touched is lost twice, which makes
        ``2 * 2**n`` states: as zeros, and in a file that ends behind the last sector left.
        """
        for left in lost_sectors(self.names_now[path]):
            state = self.after_kill()
            state.names_now[path] = state.names_durable[path] = left
            yield state

    def _power_loss(self, chance: random.Random) -> SimFileSystem:
        state = SimFileSystem()
        names = dict(self.names_durable)
        kind = chance.randrange(4)
        for changes in self.changes.values():
            kept = {0: 0, 1: len(changes)}.get(kind, chance.randint(0, len(changes)))
            for change in changes[:kept]:
                _apply(names, change)
        state.directories = set(self.directories_durable)
        for path in names:
            state.directories.add(_directory(path))
        state.directories_durable = set(state.directories)
        survivors: dict[int, Inode] = {}
        for path, inode in names.items():
            left = survivors.get(id(inode))
            if left is None:
                left = survivors[id(inode)] = after_loss(inode, chance, kind)
            state.names_now[path] = left
        state.names_durable = dict(state.names_now)
        return state

    def _change(self, path: str, names: dict[str, Inode | None]) -> None:
        change = _Change(names)
        _apply(self.names_now, change)
        self.changes.setdefault(_directory(path), []).append(change)

    def _made(self, path: str) -> _SimFile:
        if _directory(path) not in self.directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        inode = Inode()
        self._change(path, {path: inode})
        return _SimFile(self, path, inode)


class _SimFile:
    def __init__(self, disk: SimFileSystem, path: str, inode: Inode) -> None:
        self._disk, self._path, self._inode = disk, path, inode
        self.lock = disk.lock

    @_atomic
    def read(self, offset: int, size: int) -> bytes:
        self._disk.meet("read", self._path)
        return bytes(self._inode.data[offset : offset + size])

    @_atomic
    def append(self, data: bytes) -> None:
        short = self._disk.meet("append", self._path)
        taken = data if short is None else data[:short]
        inode = self._inode
        inode.writes.append((len(inode.data), bytes(taken)))
        inode.data += taken
        if short is not None:
            raise OSError(errno.ENOSPC, "no space left", self._path)

    @_atomic
    def size(self) -> int:
        self._disk.meet("size", self._path)
        return len(self._inode.data)

    @_atomic
    def truncate(self, size: int) -> None:
        self._disk.meet("truncate", self._path)
        self._inode.cut(size)

    @_atomic
    def sync(self) -> None:
        inode = self._inode
        try:
            self._disk.meet("sync", self._path)
        except OSError:
            inode.forget()
            raise
        inode.sync()

    def close(self) -> None:
        """Nothing is kept open."""


def _whole(inode: Inode) -> Inode:
    whole = inode.copy()
    whole.sync()
    return whole


def _apply(names: dict[str, Inode], change: _Change) -> None:
    for path, inode in change.names.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "/"
