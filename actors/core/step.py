"""``step(state, input, now) -> (state, effects)``: the only thing that changes a session.

One row per input. Inputs whose rules are not built yet stand in ``LATER`` and are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..errors import OperationUnavailableError
from . import clear, comeback, lifecycle, permissions, pump, submission, turn, watching
from .effects import Effects, Report, refuse
from .inputs import (
    ActivityReported,
    AgentEventsArrived,
    AgentExited,
    AgentStarted,
    AgentStartFailed,
    AgentStopFailed,
    AgentStreamClosed,
    CancelRequested,
    CancelSettled,
    ClearRequested,
    CommitFailed,
    CooperativeStopRequested,
    Finalized,
    HookDispatched,
    Input,
    InterruptRequested,
    PermissionApproved,
    PermissionAsked,
    PermissionResolved,
    PromptStarted,
    PromptStartFailed,
    PromptSubmitted,
    QueuedPromptCancelRequested,
    SteerAnswered,
    SteerRequested,
    StopRequested,
    SyntheticPromptSubmitted,
    TimerFired,
)
from .state import SessionState

Rule = Callable[[SessionState, Any, datetime], tuple[SessionState, Effects]]

TIMERS: dict[str, Rule] = {
    turn.INTERRUPT_TIMER: submission.interrupt_timed_out,
    lifecycle.DRAIN_TIMER: lifecycle.drain_timed_out,
    comeback.RESTART_TIMER: comeback.timer_fired,
    watching.SUPERVISION_TIMER: watching.timer_fired,
}


def _timer_fired(
    state: SessionState, input: TimerFired, now: datetime
) -> tuple[SessionState, Effects]:
    return TIMERS[input.name](state, input, now)


RULES: dict[type[Any], Rule] = {
    AgentStarted: lifecycle.agent_started,
    AgentStartFailed: lifecycle.agent_start_failed,
    StopRequested: lifecycle.stop_requested,
    ClearRequested: clear.clear_requested,
    AgentStopFailed: lifecycle.agent_stop_failed,
    AgentExited: lifecycle.agent_exited,
    Finalized: lifecycle.finalized,
    CommitFailed: lifecycle.commit_failed,
    PromptSubmitted: submission.submit,
    PromptStarted: turn.started,
    PromptStartFailed: turn.start_failed,
    AgentEventsArrived: pump.events_arrived,
    AgentStreamClosed: lifecycle.turn_stream_closed,
    SteerRequested: submission.steer,
    SteerAnswered: pump.steer_answered,
    CancelRequested: submission.cancel,
    CancelSettled: submission.cancel_settled,
    InterruptRequested: submission.interrupt,
    QueuedPromptCancelRequested: submission.cancel_queued,
    PermissionApproved: permissions.approve,
    PermissionResolved: permissions.permission_resolved,
    TimerFired: _timer_fired,
    ActivityReported: watching.reported,
}

LATER: dict[type[Any], str] = {
    CooperativeStopRequested: "request_stop_with_cause",
    SyntheticPromptSubmitted: "prompt_synthetic",
    PermissionAsked: "request_permission",
    HookDispatched: "hooks",
}
"""Inputs of the vocabulary without a rule, and the operation each is refused as."""


def step(state: SessionState, input: Input, now: datetime) -> tuple[SessionState, Effects]:
    """Apply one input.

    :param now: the moment it is applied, UTC.
    :returns: the new state, and the effects in the order they must take place.
    :raises InvalidStateTransitionError: an input that the lifecycle does not allow now: a bug.
    """
    rule = RULES.get(type(input))
    if rule is not None:
        return rule(state, input, now)
    operation = LATER[type(input)]
    error = OperationUnavailableError(
        f'session "{state.id}": {operation} is not available in this version',
        session_id=state.id,
        operation=operation,
    )
    ask: int = getattr(input, "ask", 0)
    return state, refuse(ask, error) if ask else (Report("warning", str(error)),)
