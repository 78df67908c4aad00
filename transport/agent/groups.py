"""Signal everything one agent started: its process group, and what left the group by ``setsid``.

The group is the unit (07 R32). Processes outside it are known by the token that every descendant
inherits in its environment (07 R33), on systems with ``/proc``; elsewhere they are not found.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Collection, Iterable, Iterator

from . import natives
from .launcher import START_VARIABLE

PROC = "/proc"
YOUNG_S = 10.0
EXEC_LOOKS_MAX = 100
EXEC_PAUSE_S = 0.005
"""A young process without an environment is looked at again so often, with this pause."""
FORK_LOOKS_MAX = 100
"""So often the process table is read again for what the killed had started meanwhile."""
_KERNEL_THREAD = 0x00200000
_TICKS = os.sysconf("SC_CLK_TCK")
_MARK = re.compile(rb"(?:^|\0)" + START_VARIABLE.encode() + rb"=([^\0]*)")


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


def kill_strays(tokens: Collection[str]) -> dict[str, list[int]]:
    """Kill every process that carries the token of one of these starts; off the hub.

    :returns: by token, the ids of those killed.
    """
    killed: dict[str, list[int]] = {}
    seen: set[int] = set()
    for _ in range(FORK_LOOKS_MAX):
        fresh = set(_pids()) - seen
        seen |= fresh
        count = sum(map(len, killed.values()))
        unread = _look(fresh, tokens, killed)
        for _ in range(EXEC_LOOKS_MAX):
            if not unread:
                break
            natives.sleep(EXEC_PAUSE_S)
            unread = _look(unread, tokens, killed)
        if sum(map(len, killed.values())) == count:
            break
        # What was killed may have forked after the table was read.
    return killed


def _look(pids: Iterable[int], tokens: Collection[str], killed: dict[str, list[int]]) -> list[int]:
    """Kill those of ``pids`` that carry a token; returns those to be looked at again."""
    unread: list[int] = []
    for pid in pids:
        token = _token_of(pid)
        if token is not None and token in tokens:
            # The look inside `_kill` decides: the process may be starting a program since this one.
            token = _kill(pid, wanted := token)
            if token == wanted:
                killed.setdefault(token, []).append(pid)
        if token is None and _is_young(pid):
            unread.append(pid)
    return unread


def _kill(pid: int, token: str) -> str | None:
    """Kill a process if it still carries the token.

    :returns: what it carried, as :func:`_token_of` says it; blank when it was not killed.
    """
    try:
        held = os.pidfd_open(pid)
    except OSError:
        return ""
    try:
        # Looked at again under the held descriptor: the id may have passed to somebody else.
        found = _token_of(pid)
        if found != token:
            return found
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except OSError:
        return ""
    finally:
        natives.close(held)
    return token


def _token_of(pid: int) -> str | None:
    """The token in a process' environment; blank for none, and for what we may not read.

    ``None`` for no environment at all, as of a kernel thread, or of a process that is being
    replaced by another program just now: for a moment it has none, and then the old one again.
    """
    with contextlib.suppress(OSError), open(f"{PROC}/{pid}/environ", "rb") as file:
        env = file.read()
        found = _MARK.search(env)
        if found is not None:
            return found[1].decode("ascii", "replace")
        return "" if env else None
    return ""


def _is_young(pid: int) -> bool:
    """Whether a process was made so recently that it may just be starting a program.

    Zombies and threads of the kernel never do.
    """
    with contextlib.suppress(OSError), open(f"{PROC}/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        with open(f"{PROC}/uptime", "rb") as clock:
            now = float(clock.read().split()[0])
        if fields[0] in (b"Z", b"X") or int(fields[6]) & _KERNEL_THREAD:
            return False
        return now - int(fields[19]) / _TICKS < YOUNG_S
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
