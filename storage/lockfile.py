"""One runtime per home: an advisory lock that dies with the process that holds it (01 4).

The lock is ``flock`` on an open file, never the file's presence or its text: a killed runtime
leaves the file behind and locks nothing. The file is never removed, as a waiter could then hold
the lock of a file that has no name any more. The pid in it is only a hint for the message.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from ..actors.errors import HomeInUseError, StorageError

LOCK_MODE = 0o600
_PID_BYTES_MAX = 32


class HomeLock:
    """The right to be the one runtime of a home, from :meth:`acquire` to :meth:`release`."""

    __slots__ = ("_handle", "_owner", "path")

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._owner = os.getpid()

    @classmethod
    def acquire(cls, path: Path) -> HomeLock:
        """Take the lock, or fail at once.

        The descriptor is close-on-exec: an agent started by the runtime does not keep the lock.

        :param path: the lock file; it is made when missing, its directory must exist.
        :raises HomeInUseError: another process, or this one already, holds it. Fields: ``home``
            (the directory), ``pid`` (0 when unknown).
        :raises StorageError: the file can not be opened or written. Field: ``path``.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, LOCK_MODE)
        except OSError as error:
            raise _failed(path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            pid = _pid_in(handle)
            os.close(handle)
            owner = f"process {pid}" if pid else "another process"
            raise HomeInUseError(
                f'home "{path.parent}" is in use by {owner}; stop it, or choose another home',
                home=str(path.parent),
                pid=pid,
                operation="acquire",
            ) from error
        except OSError as error:
            os.close(handle)
            raise _failed(path, error) from error
        return cls(path, handle)

    @property
    def held(self) -> bool:
        """Whether this object still holds the lock; never in a forked child."""
        return self._handle >= 0 and self._owner == os.getpid()

    def release(self) -> None:
        """Give the lock back; further calls do nothing.

        A forked child only closes its copy of the descriptor: unlocking would unlock the parent.
        """
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        try:
            if self._owner == os.getpid():
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, 0)
                fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock; nothing is made or written.

    :raises StorageError: the file can not be opened. Field: ``path``.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _failed(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"lock {path}: {error.strerror or error}", path=str(path), operation="acquire"
    )


def _pid_in(handle: int) -> int:
    try:
        text = os.pread(handle, _PID_BYTES_MAX, 0)
    except OSError:
        return 0
    return int(text) if text.strip().isdigit() else 0
