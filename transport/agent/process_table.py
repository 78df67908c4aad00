"""What the kernel knows of a process: when it started, and whether it is still the same (D35).

Linux: ``/proc``, in clock ticks since a boot that has an id. Elsewhere: ``ps``, to the second.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from . import natives

PROC = "/proc"
TOLERANCE = timedelta(seconds=2)
"""By which two start times may differ where one is not in ticks."""
_STATE, _START_TICKS = 0, 19
"""Places in ``/proc/<pid>/stat`` after the name."""


@dataclass(frozen=True, slots=True)
class Started:
    """When a process started.

    :param mark: boot and tick, or blank where the system has no such thing.
    """

    at: datetime
    mark: str = ""


def observe(pid: int) -> Started | None:
    """When the process started; ``None`` when it is not there. May block where it takes ``ps``.

    A zombie of ours is there: its id can be nobody else's.
    """
    if not os.path.isdir(PROC):
        return _observe_by_ps(pid)
    found = stat(pid)
    if not found:
        return None
    ticks = int(found[_START_TICKS])
    seconds = ticks / os.sysconf("SC_CLK_TCK")
    return Started(_boot_time() + timedelta(seconds=seconds), f"{_boot_id()}/{ticks}")


def is_same(pid: int, started_at: datetime, mark: str) -> bool:
    """Whether the process of that id that runs now is the one that started then."""
    found = observe(pid)
    if found is None or is_over(pid):
        return False
    if mark and found.mark:
        return mark == found.mark
    return abs(found.at - started_at) <= TOLERANCE


def is_over(pid: int) -> bool:
    """Whether nothing of the process runs: not there, or a zombie."""
    if not os.path.isdir(PROC):
        return _observe_by_ps(pid) is None
    found = stat(pid)
    return not found or found[_STATE] in (b"Z", b"X")


def pids() -> Iterator[int]:
    """The ids of all processes there are; none where there is no ``/proc``."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(PROC):
            if name.isdigit():
                yield int(name)


def stat(pid: int) -> list[bytes]:
    """The fields of ``stat`` after the name, which may hold anything; none of no such process."""
    with contextlib.suppress(OSError), open(f"{PROC}/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
    return []


@cache
def _boot_id() -> str:
    with contextlib.suppress(OSError), open(f"{PROC}/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


@cache
def _boot_time() -> datetime:
    with contextlib.suppress(OSError), open(f"{PROC}/stat") as file:
        for line in file:
            if line.startswith("btime "):
                return datetime.fromtimestamp(int(line.split()[1]), UTC)
    return datetime.fromtimestamp(0, UTC)


def _observe_by_ps(pid: int) -> Started | None:
    env: Mapping[str, str] = {"LC_ALL": "C", "PATH": "/bin:/usr/bin", "TZ": "UTC"}
    asked = natives.run(("ps", "-o", "lstart=", "-p", str(pid)), env)
    with contextlib.suppress(ValueError):
        at = datetime.strptime(asked.strip(), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
        return Started(at)
    return None
