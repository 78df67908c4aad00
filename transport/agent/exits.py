"""Learn that a child process ended, on any thread's hub, and reap it once.

By process id only, never by the end of a pipe, which a grandchild may hold (D31). Two ways: a
pidfd in the hub's loop, or, where the system has none, a native thread that waits. Both leave the
zombie alone, so that its process group can still be signalled under an id nobody else can get.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from . import natives

READABLE = 1
UNKNOWN_STATUS = 255
"""Reported when somebody else in the process reaped the child and kept its status."""


class ExitWatch:
    """Calls back once, in the hub's own greenlet, after a process ended.

    :param pid: a child of ours that nobody has reaped.
    :param loop: the loop of the hub to call back in.
    :param ended: must not block.
    :param pidfd: whether to try a pidfd first.
    """

    def __init__(
        self, pid: int, loop: Any, ended: Callable[[], None], *, pidfd: bool = True
    ) -> None:
        self.pid = pid
        self._ended = ended
        self._status: int | None = None
        self._has_ended = False
        self._closed = False
        self._fd = _open_pidfd(pid) if pidfd else -1
        if self._fd >= 0:
            self._watcher = loop.io(self._fd, READABLE)
            self._watcher.start(self._on_end)
            return
        self._watcher = loop.async_()
        self._watcher.start(self._on_end)
        natives.start_thread(_wait, pid, self._on_waited)

    def _on_waited(self, status: int | None) -> None:
        """In the waiting thread."""
        self._status = status
        self._watcher.send()

    def _on_end(self) -> None:
        self._watcher.stop()
        self._has_ended = True
        if self._closed:
            self._watcher.close()
        else:
            self._ended()

    def reap(self) -> int:
        """Take the exit status of the ended process; negative for a signal."""
        if self._status is None:
            self._status = _reap(self.pid)
        return self._status

    def close(self) -> None:
        """Stop watching. The process itself is not touched."""
        if self._closed:
            return
        self._closed = True
        # The watcher of a waiting thread stays until that thread has used it.
        if self._fd >= 0 or self._has_ended:
            self._watcher.stop()
            self._watcher.close()
        if self._fd >= 0:
            natives.close(self._fd)


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, an old kernel, or no descriptor left
        return -1


def _wait(pid: int, waited: Callable[[int | None], None]) -> None:
    """Block a native thread until the process ended; leave the zombie where the system can."""
    waitid = getattr(os, "waitid", None)
    if waitid is None:
        waited(_reap(pid, blocking=True))
        return
    with contextlib.suppress(ChildProcessError):
        waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    waited(None)


def _reap(pid: int, *, blocking: bool = False) -> int:
    try:
        found, status = natives.waitpid(pid, 0 if blocking else os.WNOHANG)
    except ChildProcessError:
        return UNKNOWN_STATUS
    return os.waitstatus_to_exitcode(status) if found == pid else UNKNOWN_STATUS
