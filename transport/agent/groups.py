"""Signal everything in the process group of one agent: the group is the unit (07 R32)."""

from __future__ import annotations

import os
import signal

from . import process_table

_STATE, _GROUP = 0, 2
"""Places in ``/proc/<pid>/stat`` after the name."""


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
    if not os.path.isdir(process_table.PROC):
        return True
    states = (process_table.stat(pid) for pid in process_table.pids())
    return any(
        int(fields[_GROUP]) == group and fields[_STATE] not in (b"Z", b"X")
        for fields in states
        if fields
    )
