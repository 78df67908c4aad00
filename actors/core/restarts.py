"""Whether a session whose agent ended starts it again, and after how long (01 9.6).

=============  =========  =========  =========  =============================================
the agent      temporary  transient  permanent  if it comes back too often, or not at all
=============  =========  =========  =========  =============================================
stalled        stop       restart    restart    end, reason ``agent_crashed``
crashed        stop       restart    restart    end, reason ``agent_crashed``
exited         stop       stop       restart    end, reason ``agent_crashed``
=============  =========  =========  =========  =============================================

``stop`` is the end by the tables of 01 9.1. A requested stop never restarts. How often and how fast
is :mod:`..restart_arithmetic`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ..model.event import AgentEvent
from ..model.marker import MarkerKind
from ..model.restart import RestartMode, RestartPolicy
from ..restart_arithmetic import doubled_delay, within_window
from .markers import marker


class AgentEnd(StrEnum):
    """How an agent that nobody stopped came to its end."""

    STALLED = "stalled"
    """Alive, but silent for too long or past its deadline (02 12.5, 12.6)."""
    CRASHED = "crashed"
    """Left with an error, or in the middle of a turn (01 9.5)."""
    EXITED = "exited"
    """Left cleanly while idle."""
    RESUME_FAILED = "resume_failed"
    """Could not be started again."""


class Verdict(StrEnum):
    """What becomes of the session."""

    STOP = "stop"
    RESTART = "restart"
    GIVE_UP = "give_up"
    """Finalize with stop reason ``agent_crashed``."""


RESTARTED: dict[AgentEnd, frozenset[RestartMode]] = {
    AgentEnd.STALLED: frozenset({RestartMode.TRANSIENT, RestartMode.PERMANENT}),
    AgentEnd.CRASHED: frozenset({RestartMode.TRANSIENT, RestartMode.PERMANENT}),
    AgentEnd.EXITED: frozenset({RestartMode.PERMANENT}),
}
"""The modes that start the agent again, by how it ended."""

RECOVERED = "Session recovered after agent restart."


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """The verdict.

    :param delay_s: seconds to wait before the restart.
    :param count: restarts within the window, this one included.
    :param moments: what to remember for the next decision, in seconds of the caller's clock.
    """

    verdict: Verdict
    delay_s: float = 0.0
    count: int = 0
    moments: tuple[float, ...] = ()


def end_of(*, stalled: bool, wait_error: str, prompting: bool) -> AgentEnd:
    """How an agent ended: a clean exit in the middle of a turn is a crash (01 9.5)."""
    if stalled:
        return AgentEnd.STALLED
    return AgentEnd.CRASHED if wait_error or prompting else AgentEnd.EXITED


def decide_restart(
    policy: RestartPolicy,
    end: AgentEnd,
    moments: tuple[float, ...],
    now_s: float,
    *,
    requested: bool,
) -> RestartDecision:
    """What follows the end of an agent.

    :param moments: those of the last decision; empty at first.
    :param now_s: monotonic seconds.
    :param requested: whether a caller, the manager or a shutdown asked the session to stop.
    """
    if requested:
        return RestartDecision(Verdict.STOP, moments=moments)
    if end is AgentEnd.RESUME_FAILED:
        return RestartDecision(Verdict.GIVE_UP, count=len(moments), moments=moments)
    if policy.mode not in RESTARTED[end]:
        return RestartDecision(Verdict.STOP, moments=moments)
    recent = within_window((*moments, now_s), now_s, policy.window_s)
    if len(recent) > policy.max_restarts:
        return RestartDecision(Verdict.GIVE_UP, count=len(recent), moments=recent)
    delay_s = backoff_delay(policy, len(recent))
    return RestartDecision(Verdict.RESTART, delay_s, len(recent), recent)


def backoff_delay(policy: RestartPolicy, count: int) -> float:
    """Seconds to wait before the ``count``-th restart (from 1) within the window."""
    return doubled_delay(policy.backoff_s, policy.backoff_max_s, count)


def restart_marker(
    *,
    turn_id: str,
    now: datetime,
    restart_count: int,
    stop_reason: str = "",
    stall_reason: str = "",
    failure_kind: str = "",
) -> AgentEvent:
    """The marker of a restart (02 13).

    :param turn_id: the turn that was cut, else a fresh id.
    :param stall_reason: of a stall; a crash or exit has a ``stop_reason`` instead.
    """
    evidence = {
        "stall_reason": stall_reason,
        "stop_reason": "" if stall_reason else stop_reason,
        "failure_kind": failure_kind,
    }
    told = {name: str(value) for name, value in evidence.items() if value}
    return marker(
        MarkerKind.SESSION_RECOVERED,
        RECOVERED,
        turn_id=turn_id,
        now=now,
        evidence={**told, "restart_count": restart_count},
    )
