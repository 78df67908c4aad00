"""Drain an agent's stderr for as long as it lives, and keep the end of it (04 2.4, 07 R31)."""

from __future__ import annotations

import os
from typing import Any

from . import natives

STDERR_TAIL_BYTES_MAX = 128 * 1024
READ_BYTES = 64 * 1024
READABLE = 1


class StderrTail:
    """The last bytes of a pipe, which is closed at its end.

    :param fd: non-blocking read end; owned from here on.
    :param loop: the loop of the hub that drains it.
    """

    def __init__(self, fd: int, loop: Any) -> None:
        self._fd = fd
        self._kept = bytearray()
        self._watcher = loop.io(fd, READABLE)
        self._watcher.start(self._on_readable)

    def _on_readable(self) -> None:
        if not self._read():
            self.close()

    def _read(self) -> bool:
        """Take one piece; ``False`` at the end of the pipe."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._kept += data
        # Twice the size before cutting: the cost of moving bytes stays constant per byte.
        if len(self._kept) > 2 * STDERR_TAIL_BYTES_MAX:
            del self._kept[:-STDERR_TAIL_BYTES_MAX]
        return bool(data)

    def text(self) -> str:
        """What is kept, invalid UTF-8 replaced."""
        return self._kept[-STDERR_TAIL_BYTES_MAX:].decode("utf-8", "replace")

    def close(self) -> None:
        """Take what lies in the pipe, then give it back; a writer left behind gets an error."""
        if self._fd < 0:
            return
        self._watcher.stop()
        self._watcher.close()
        # At most the capacity of a pipe: a flood by somebody who survived must not keep us here.
        for _ in range(2):
            self._read()
        natives.close(self._fd)
        self._fd = -1
