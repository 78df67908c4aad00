"""One command of a terminal: its process group, its output, its end (04 5.5)."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import AsyncResult

from . import natives
from .exits import ExitWatch
from .groups import group_lives, signal_group
from .natives import Offload
from .output_ring import OutputRing
from .tool_processes import ProcessHandle

READ_BYTES = 64 * 1024
READ_PACE_S = 0.002
"""Pause after each read: a flood is slowed down to a pipe's worth of bytes in this time."""
GROUP_EMPTY_S = 0.25
"""How long what a command left in its group may take to be gone."""
FINAL_READS_MAX = 32
"""Reads after the end; a pipe holds far less, but somebody outside the group may still write."""
READABLE = 1
_POLL_S = 0.002

logger = logging.getLogger(__name__)


class TerminalProcess:
    """A running command. Made by :func:`start_command`.

    :param popen: keeps ``subprocess`` from reaping behind our back.
    :param fd: non-blocking read end of its output; owned from here on.
    """

    def __init__(
        self,
        popen: Any,
        fd: int,
        argv: tuple[str, ...],
        cwd: str,
        ring: OutputRing,
        offload: Offload,
        pidfd: bool,
    ) -> None:
        loop = gevent.get_hub().loop
        self.pid: int = popen.pid
        self.argv = argv
        self.cwd = cwd
        self.turn_id = ""
        self.wrote: Callable[[], None] = lambda: None
        """Called after each piece of output; must not block."""
        self._record: ProcessHandle | None = None
        self._status = 0
        self.exited: AsyncResult[dict[str, Any]] = AsyncResult()
        """How it ended, once the group is empty and the output is read."""
        self._popen = popen
        self._fd = fd
        self._ring = ring
        self._offload = offload
        self._is_zombie = False
        self._loop = loop
        self._pause: Any = None
        self._reader = loop.io(fd, READABLE)
        self._reader.start(self._on_readable)
        self._watch = ExitWatch(self.pid, loop, self._at_exit, pidfd=pidfd)

    def answer(self) -> dict[str, Any]:
        """The result of ``terminal/output``."""
        ended = self.exited.ready()
        found: dict[str, Any] = {"output": self._ring.text(ended), "truncated": False}
        found["truncated"] = self._ring.truncated
        if ended:
            found["exitStatus"] = self.exited.get(block=False)
        return found

    def attach(self, record: ProcessHandle) -> None:
        """Complete this record at the end, or now if that has come (D35)."""
        self._record = record
        if self.exited.ready():
            record.settle(exit_code=self._status)

    def kill(self) -> None:
        """SIGKILL to the group, unless the command is gone (D22)."""
        if not self._is_zombie:
            signal_group(self.pid, signal.SIGKILL)

    # ---- output

    def _on_readable(self) -> None:
        size = self._read()
        if size == 0:
            self._end_reading()
        elif size > 0:
            self._reader.stop()
            self._pause = self._loop.timer(READ_PACE_S)
            self._pause.start(self._read_on)

    def _read_on(self) -> None:
        self._end_pause()
        self._reader.start(self._on_readable)

    def _end_pause(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.stop()
            pause.close()

    def _read(self) -> int:
        """Take one piece: its size, 0 at the end, -1 when there is none now."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return -1
        except OSError:
            return 0
        self._ring.add(data)
        if data:
            self.wrote()
        return len(data)

    def _end_reading(self) -> None:
        if self._fd >= 0:
            self._end_pause()
            self._reader.stop()
            self._reader.close()
            natives.close(self._fd)
            self._fd = -1

    # ---- the end

    def _at_exit(self) -> None:
        # The leader is a zombie, so the group's id is still its own: the last moment to signal.
        # One signal is enough, for no member can fork its way past it.
        signal_group(self.pid, signal.SIGKILL)
        self._is_zombie = True
        gevent.spawn(self._finish)

    def _finish(self) -> None:
        self._status = self._popen.returncode = self._watch.reap()
        self._watch.close()
        try:
            self._await_empty_group()
            for _ in range(FINAL_READS_MAX):
                if self._fd < 0 or self._read() <= 0:
                    break
        finally:
            self._end_reading()
            self.exited.set(exit_status(self._status))
        if self._record is not None:
            self._record.settle(exit_code=self._status)

    def _await_empty_group(self) -> None:
        end = time.monotonic() + GROUP_EMPTY_S
        while self._offload(group_lives, self.pid):
            if time.monotonic() > end:
                logger.warning("terminal %d: a process outlived SIGKILL", self.pid)
                return
            gevent.sleep(_POLL_S)  # nothing tells that a group became empty


def start_command(
    argv: tuple[str, ...],
    directory: int,
    cwd: str,
    env: Mapping[str, str],
    *,
    limit: int,
    offload: Offload,
    pidfd: bool,
) -> TerminalProcess:
    """Start a command in an open directory.

    :param directory: descriptor; owned from here on.
    :param cwd: its path, for systems that can not enter a directory by its descriptor.
    :raises OSError: the system refused.
    """
    place = f"/proc/self/fd/{directory}"
    fds: list[int] = []
    try:
        fds += os.pipe()
        source = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        fds.append(source)
        popen = natives.native_popen()(
            argv,
            stdin=source,
            stdout=fds[1],
            stderr=fds[1],
            cwd=place if os.path.isdir("/proc/self/fd") else cwd,
            env=dict(env),
            process_group=0,
        )
    except BaseException:
        for fd in fds:
            natives.close(fd)
        raise
    finally:
        natives.close(directory)
    natives.close(fds[1])
    natives.close(fds[2])
    os.set_blocking(fds[0], False)
    return TerminalProcess(popen, fds[0], argv, cwd, OutputRing(limit), offload, pidfd)


def exit_status(status: int) -> dict[str, Any]:
    """The members of an exit: a code, or the text of a signal (04 5.5.3)."""
    if status >= 0:
        return {"exitCode": status}
    try:
        name = signal.strsignal(-status) or str(-status)
    except ValueError:
        name = str(-status)
    return {"signal": f"signal: {name.lower()}"}
