"""Find and kill what left the process group of an agent, by the token it inherited (07 R33).

Every descendant of a start carries its token in its environment, on systems with ``/proc``;
elsewhere nothing is found. No clock decides anything: a process whose environment can not be read
yet because it is just being given a program says so in its ``stat``, and one that ended while the
table was read may have left a child behind, so the table is read once more.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Collection, Iterable
from enum import Enum

from . import natives, process_table
from .launcher import START_VARIABLE

TABLE_LOOKS_MAX = 100
"""So often the process table is read again for what was started meanwhile."""
UNREAD_LOOKS_MAX = 200
UNREAD_PAUSE_S = 0.005
"""A process of which nothing can be told yet is looked at again so often, with this pause."""
_KERNEL_THREAD, _EXITING = 0x00200000, 0x00000004
_STATE, _FLAGS, _END_CODE, _ENV_START, _ENV_END = 0, 6, 24, 47, 48
"""Places in ``/proc/<pid>/stat`` after the name."""
_MARK = re.compile(rb"(?:^|\0)" + START_VARIABLE.encode() + rb"=([^\0]*)")


class Look(Enum):
    """What a look at one process says, where it is not a token."""

    FOREIGN = "foreign"
    """It carries no token of ours, or we may not know."""
    UNREAD = "unread"
    """It can not be told yet: another program is just taking it over, or descriptors are short."""
    GONE = "gone"
    """It ended since the table was read."""


def kill_strays(tokens: Collection[str]) -> dict[str, list[int]]:
    """Kill every process that carries the token of one of these starts; off the hub.

    :returns: by token, the ids of those killed.
    """
    killed: dict[str, list[int]] = {}
    seen: set[int] = set()
    for _ in range(TABLE_LOOKS_MAX):
        fresh = set(process_table.pids()) - seen
        seen |= fresh
        if _is_quiet(fresh, tokens, killed):
            break
        # Whatever was killed, or ended, may have started another after the table was read.
    return killed


def _is_quiet(pids: Iterable[int], tokens: Collection[str], killed: dict[str, list[int]]) -> bool:
    """Kill those of ``pids`` that carry a token; ``False`` if they may have left children."""
    is_quiet = True
    for _ in range(UNREAD_LOOKS_MAX):
        unread: list[int] = []
        for pid in pids:
            match found := _kill(pid, tokens):
                case Look.UNREAD:
                    unread.append(pid)
                case Look.GONE:
                    is_quiet = False
                case str():
                    is_quiet = False
                    killed.setdefault(found, []).append(pid)
        if not unread:
            break
        pids = unread
        natives.sleep(UNREAD_PAUSE_S)
    return is_quiet


def _kill(pid: int, tokens: Collection[str]) -> str | Look:
    """Kill a process if it carries one of the tokens, and say which, or what it is instead."""
    found = _token_of(pid)
    if isinstance(found, Look):
        return found
    if found not in tokens:
        return Look.FOREIGN
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return Look.GONE
    except OSError:  # no descriptor left just now
        return Look.UNREAD
    try:
        # Looked at again under the held descriptor: the id may have passed to somebody else, and
        # the process may be taking another program since the first look.
        again = _token_of(pid)
        if again != found:
            return Look.FOREIGN if isinstance(again, str) else again
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        return Look.GONE
    finally:
        natives.close(held)
    return found


def _token_of(pid: int) -> str | Look:
    """The token in a process' environment."""
    try:
        with open(f"{process_table.PROC}/{pid}/environ", "rb") as file:
            env = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return Look.GONE
    except PermissionError:
        return Look.FOREIGN
    except OSError:
        return Look.UNREAD
    found = _MARK.search(env)
    if found is not None:
        return found[1].decode("ascii", "replace")
    return Look.FOREIGN if env else _without_environment(pid)


def _without_environment(pid: int) -> Look:
    """What a process is whose environment is empty: for one that takes a program it is so at first.

    The kernel notes where the code of a new program ends when its environment is complete.
    """
    fields = process_table.stat(pid)
    if not fields or fields[_STATE] in (b"Z", b"X"):
        return Look.GONE
    flags = int(fields[_FLAGS])
    if flags & _EXITING:
        return Look.GONE
    if flags & _KERNEL_THREAD:
        return Look.FOREIGN
    is_bare = int(fields[_END_CODE]) != 0 and fields[_ENV_START] == fields[_ENV_END]
    return Look.FOREIGN if is_bare else Look.UNREAD
