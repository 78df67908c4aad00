"""End a process that an earlier runtime started: no child of ours, so it is asked after (04 9)."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import gevent

from . import process_table
from .groups import signal_group
from .tool_records import ProcessRecord

TERMINATED_S = 0.25
KILLED_S = 1.0
_POLL_S = 0.005


def end_recovered(record: ProcessRecord) -> bool:
    """SIGTERM, then SIGKILL; each only to the very process of the record, verified before.

    :returns: whether it is gone.
    """
    for number, seconds in ((signal.SIGTERM, TERMINATED_S), (signal.SIGKILL, KILLED_S)):
        if not _runs(record):
            return True
        _signal(record, number)
        end = time.monotonic() + seconds
        while _runs(record) and time.monotonic() < end:
            gevent.sleep(_POLL_S)  # it is nobody's child here: its end is not announced
    return not _runs(record)


def _runs(record: ProcessRecord) -> bool:
    return process_table.is_same(record.pid, record.started_at, record.start_mark)


def _signal(record: ProcessRecord, number: signal.Signals) -> None:
    """To the group where the process leads one, which is never ours."""
    if record.process_group_id == record.pid and record.pid != os.getpgid(0):
        signal_group(record.pid, number)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(record.pid, number)
