"""The end of a process group: emptied for certain, and what an exit status means (04 7.3, D31)."""

from __future__ import annotations

import logging
import signal
import time

import gevent

from ...actors.errors import AgentError, AgentExitedError
from ...actors.model.secret_text import hide_values
from .groups import group_lives, signal_group
from .natives import Offload
from .sweep import Sweep

FINAL_READ_S = 1.0
"""How long the output that an ended agent left behind may take to read (D31)."""
GROUP_EMPTY_S = 1.0
"""How long the killed process group of an agent may take to be gone (04 1.3)."""
STDERR_IN_ERROR_BYTES_MAX = 2048
STDERR_SEARCHED_CHARS_MAX = 16 * 1024
"""Of the end of what an agent wrote to stderr so much is searched for secrets and shown from."""
_POLL_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)

logger = logging.getLogger(__name__)


def kill_strays_of(token: str, sweep: Sweep, whose: str) -> None:
    """Kill what left the group of one start, and say so; best effort (07 R33)."""
    try:
        strays = sweep.kill(token)
    except OSError as error:
        logger.warning("%s: what left its group could not be looked for: %s", whose, error)
        return
    if strays:
        logger.warning("%s: killed processes that had left its group: %s", whose, strays)


def empty_group(group: int, offload: Offload, seconds: float) -> bool:
    """Kill the members of a group until none runs.

    The leader may be reaped: as long as a member lives, its id is nobody else's.

    :param seconds: how long that may take.
    :returns: ``False`` when something survives.
    """
    end = time.monotonic() + seconds
    pauses = iter(_POLL_S)
    while offload(group_lives, group):
        if time.monotonic() > end:
            return False
        signal_group(group, signal.SIGKILL)
        # Nothing tells that a group became empty: it must be asked again.
        gevent.sleep(next(pauses, _POLL_S[-1]))
    return True


def exit_error(
    agent_name: str, pid: int, status: int, *, asked: bool, survived: bool, stderr: str
) -> Exception | None:
    """What the end of an agent process means.

    :param asked: whether its end was wanted when it came.
    :param survived: whether something of its group outlived SIGKILL.
    :returns: ``None`` for a wanted end and for status 0.
    """
    if survived:
        return AgentError(f"process group {pid} of {agent_name} could not be emptied")
    if asked or status == 0:
        return None
    return AgentExitedError(
        f"{agent_name}: ACP subprocess exited unexpectedly: {exit_text(status)};"
        f" stderr={shown_stderr(stderr, STDERR_IN_ERROR_BYTES_MAX)}",
        exit_status=status,
        stderr=stderr,
    )


def shown_stderr(stderr: str, bytes_max: int) -> str:
    """The end of an agent's stderr for people, what looks like a secret in it hidden (D7).

    Hidden before it is cut: half a secret would not be known as one.
    """
    end = stderr[-STDERR_SEARCHED_CHARS_MAX:]
    if len(end) < len(stderr):
        end = end.partition("\n")[2] or end
    return hide_values(end.strip()).encode()[-bytes_max:].decode(errors="ignore")


def exit_text(status: int) -> str:
    """An exit status for people."""
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
