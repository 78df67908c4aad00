"""Signal everything one agent started: its process group, and what left the group by ``setsid``.

The group is the unit (07 R32). Processes outside it are known by the token that every descendant
inherits in its environment (07 R33), on systems with ``/proc``; elsewhere they are not found.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from .launcher import START_VARIABLE

PROC = "/proc"


def signal_group(group: int, number: signal.Signals) -> bool:
    """Signal every member; ``False`` when there is none that we may signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # macOS reports a group of zombies as forbidden; `group_lives` has the last word.
        return False
    return True


def group_lives(group: int) -> bool:
    """Whether a member still runs; zombies whose parent does not reap them do not count.

    Reads the whole process table, off the hub, unless the group is plainly empty.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    members = [state for pid in _pids() for state in _state_in_group(pid, group)]
    return any(state not in "ZX" for state in members) if os.path.isdir(PROC) else True


def kill_strays(token: str) -> list[int]:
    """Kill every process that carries the start's token; off the hub.

    :returns: the ids of those killed, for the log.
    """
    mark = f"{START_VARIABLE}={token}".encode()
    return [pid for pid in _pids() if _kill_if_marked(pid, mark)]


def _kill_if_marked(pid: int, mark: bytes) -> bool:
    if not _is_marked(pid, mark):
        return False
    try:
        held = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at again under the held descriptor: the id may have passed to somebody else.
        if not _is_marked(pid, mark):
            return False
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(held)
    return True


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"{PROC}/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        for name in os.listdir(PROC):
            if name.isdigit():
                yield int(name)


def _state_in_group(pid: int, group: int) -> Iterator[str]:
    """The state letter of a process, if it belongs to the group."""
    with contextlib.suppress(OSError), open(f"{PROC}/{pid}/stat", "rb") as file:
        # The name in parentheses may hold anything, so count from its last one.
        fields = file.read().rpartition(b")")[2].split()
        if int(fields[2]) == group:
            yield fields[0].decode()
