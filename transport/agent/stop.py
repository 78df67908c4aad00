"""End an agent: ask, then insist, then kill; within the caller's deadline (04 7.2).

=====  ==========================================================  ==================
step   action                                                      at most
=====  ==========================================================  ==================
1      ask: cancel the turn, close the session where offered       ``CLOSE_S``
2      show the end of input, wait for the exit                    ``stop_timeout``
3      SIGTERM to the group                                        ``TERMINATED_S``
4      SIGKILL to the group                                        ``KILLED_S``
5      wait for the last output, reaping and the empty group       ``FINISHED_S``
=====  ==========================================================  ==================

An exit ends the sequence at any step. Nothing waits for a write.
"""

from __future__ import annotations

import logging
import signal

from gevent.event import Event

from ...actors.errors import AgentError
from .context import CallContext
from .ending import FINAL_READ_S, GROUP_EMPTY_S
from .groups import signal_group
from .process import TERMINALS_END_S, ACPAgentProcess
from .tool_records import ProcessState

STOP_TIMEOUT_S = 5.0
TERMINATED_S = 0.25
KILLED_S = 1.0
FINISHED_S = FINAL_READ_S + GROUP_EMPTY_S + TERMINALS_END_S + 1.0
CLOSE_S = 1.0
RESERVED_S = 1.5
"""Of a caller's deadline kept for steps 3 to 5 (D29)."""

logger = logging.getLogger(__name__)


def stop_process(ctx: CallContext, process: ACPAgentProcess, stop_timeout: float) -> None:
    """Stop a process; safe at any time, any number of times, from several greenlets.

    A deadline that passes on the way shortens the waits and is no error: a stop that ended the
    process has succeeded. A context that is over at the beginning ends the call after step 1, and
    the process stays the caller's.

    :raises TimeoutError: the context was over before step 2, or another stop took longer.
    :raises AgentError: the process, or its group, outlived SIGKILL.
    """
    if process.done.is_set():
        return
    if process.stopping is not None:
        ctx.wait(process.stopping)
        if not process.done.is_set():
            ctx.check()
        return
    process.stopping = through = Event()
    try:
        process.request_stop()
        _note_stop(process)
        ctx.wait(process.channel.session_closed, _patience(ctx, CLOSE_S))
        ctx.check()
        _escalate(ctx, process, stop_timeout)
    finally:
        process.stopping = None
        through.set()
    if ctx.cancelled.is_set():
        ctx.check()


def _note_stop(process: ACPAgentProcess) -> None:
    """Let the record say so; a store that fails keeps nobody from stopping (04 7.2)."""
    if process.record is not None:
        try:
            process.record.checkpoint(state=ProcessState.INTERRUPTING, error="ACP stop requested")
        except Exception as error:
            logger.warning("%s (pid %d): %s", process.agent_name, process.pid, error)


def _escalate(ctx: CallContext, process: ACPAgentProcess, stop_timeout: float) -> None:
    process.link.close_writing()
    if not ctx.wait(process.exited, _patience(ctx, stop_timeout)):
        signal_group(process.pid, signal.SIGTERM)
        if not ctx.wait(process.exited, TERMINATED_S):
            signal_group(process.pid, signal.SIGKILL)
            process.exited.wait(KILLED_S)
    process.done.wait(FINISHED_S)
    if not process.done.is_set():
        raise AgentError(f"{process.agent_name} (pid {process.pid}) outlived SIGKILL")
    if process.survived:
        raise AgentError(f"a process of {process.agent_name} (pid {process.pid}) outlived SIGKILL")


def _patience(ctx: CallContext, seconds: float) -> float:
    """What a wait may take so that the rest still fits the caller's deadline (D29)."""
    left = ctx.remaining()
    return seconds if left is None else min(seconds, max(0.0, left - RESERVED_S))
