"""A shell command of the demo agent, killable with everything it started."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator

READ_BYTES = 65536


class Command:
    """A running ``sh -c``. It stays in the agent's process group: what kills us kills it too.

    :param command: shell text.
    :param cwd: where it runs.
    """

    def __init__(self, command: str, cwd: str) -> None:
        # Cancel comes from another thread and must end a read that a grandchild keeps open.
        self._wake, self._waker = os.pipe()
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def output(self) -> Iterator[str]:
        """What it prints, as it comes, until it ends or is killed."""
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while True:
            ready, _, _ = select.select([out, self._wake], [], [])
            data = b"" if self._wake in ready else os.read(out, READ_BYTES)
            if piece := decode(data, final=not data):
                yield piece
            if not data:
                return

    def wait(self) -> int:
        """The exit status; negative for a signal."""
        return self._process.wait()

    def kill(self) -> None:
        """Kill it and its descendants; safe at any time and from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._waker, b"!")
        if self._process.poll() is None:
            for pid in (*_descendants(self._process.pid), self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill what still runs and give the descriptors back."""
        self.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        os.close(self._wake)
        os.close(self._waker)


def _descendants(pid: int) -> Iterator[int]:
    """Children and theirs, deepest first; none where there is no ``/proc``."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = [int(child) for child in file.read().split()]
    except OSError:
        return
    for child in children:
        yield from _descendants(child)
        yield child
