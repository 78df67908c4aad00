"""``step(state, input, now) -> (state, effects)``: the only thing that changes a session.

One row per input.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..model.hooks import HookEvent
from . import (
    cancelling,
    clear,
    comeback,
    finalizing,
    host_permissions,
    lifecycle,
    own_turns,
    permissions,
    pump,
    stopping,
    submission,
    synthetic_turns,
    turn,
    watching,
)
from .effects import Effects
from .host_inputs import HookDispatched, TurnEndNotified, TurnEndNotifierSet
from .inputs import (
    Activated,
    ActivityReported,
    AgentEventsArrived,
    AgentExited,
    AgentGone,
    AgentStarted,
    AgentStartFailed,
    AgentStopFailed,
    AgentStreamClosed,
    CancelRequested,
    CancelSettled,
    ClearRequested,
    CommitFailed,
    Finalized,
    Input,
    InterruptRequested,
    PermissionApproved,
    PermissionAsked,
    PermissionResolved,
    PromptAbandoned,
    PromptStarted,
    PromptStartFailed,
    PromptSubmitted,
    QueuedPromptCancelRequested,
    SteerAnswered,
    SteerRequested,
    StopDelivered,
    StopRequested,
    SyntheticPromptSubmitted,
    TimerFired,
)
from .prompt_meta import correlated
from .state import SessionState
from .work_inputs import AgentTurnOpened, AgentWorkChanged

Rule = Callable[[SessionState, Any, datetime], tuple[SessionState, Effects]]

TIMERS: dict[str, Rule] = {
    turn.INTERRUPT_TIMER: submission.interrupt_timed_out,
    turn.SETUP_TIMER: turn.setup_timed_out,
    lifecycle.DRAIN_TIMER: lifecycle.drain_timed_out,
    stopping.STOP_TIMER: stopping.stop_again,
    lifecycle.QUEUE_TIMER: lifecycle.let_go,
    comeback.RESTART_TIMER: comeback.timer_fired,
    watching.SUPERVISION_TIMER: watching.timer_fired,
}


def _timer_fired(
    state: SessionState, input: TimerFired, now: datetime
) -> tuple[SessionState, Effects]:
    if input.name.startswith(host_permissions.HOST_PERMISSION_TIMER):
        return host_permissions.timed_out(state, input, now)
    return TIMERS[input.name](state, input, now)


HOOKS: dict[HookEvent, Rule] = {
    HookEvent.SESSION_PRE_STOP: stopping.pre_stop_answered,
    HookEvent.INPUT_PRE_SUBMIT: lifecycle.ending(turn.hook_answered),
    HookEvent.TURN_START: lifecycle.ending(turn.hook_answered),
    HookEvent.TURN_END: lifecycle.ending(turn.hook_answered),
}
"""The dispatch points whose answer the step waits for; the others are the shells'."""


def _hook_dispatched(
    state: SessionState, input: HookDispatched, now: datetime
) -> tuple[SessionState, Effects]:
    return HOOKS[input.payload.event](state, input, now)


RULES: dict[type[Any], Rule] = {
    AgentStarted: lifecycle.agent_started,
    Activated: lifecycle.activated,
    AgentStartFailed: lifecycle.agent_start_failed,
    StopRequested: stopping.stop_requested,
    StopDelivered: stopping.stop_delivered,
    ClearRequested: clear.clear_requested,
    AgentStopFailed: stopping.agent_stop_failed,
    AgentGone: lifecycle.agent_gone,
    AgentExited: lifecycle.agent_exited,
    Finalized: finalizing.finalized,
    CommitFailed: lifecycle.commit_failed,
    PromptSubmitted: submission.submit,
    PromptAbandoned: lifecycle.ending(cancelling.abandoned),
    PromptStarted: turn.started,
    PromptStartFailed: lifecycle.ending(turn.start_failed),
    AgentEventsArrived: pump.events_arrived,
    AgentStreamClosed: lifecycle.ending(pump.stream_closed),
    SteerRequested: submission.steer,
    SteerAnswered: pump.steer_answered,
    CancelRequested: lifecycle.ending(cancelling.cancel),
    CancelSettled: cancelling.cancel_settled,
    InterruptRequested: submission.interrupt,
    QueuedPromptCancelRequested: submission.cancel_queued,
    SyntheticPromptSubmitted: synthetic_turns.submit,
    PermissionAsked: host_permissions.asked,
    PermissionApproved: permissions.approve,
    PermissionResolved: permissions.permission_resolved,
    TimerFired: _timer_fired,
    ActivityReported: watching.reported,
    AgentTurnOpened: own_turns.opened,
    AgentWorkChanged: own_turns.work_changed,
    HookDispatched: _hook_dispatched,
    TurnEndNotified: turn.settled,
    TurnEndNotifierSet: turn.notifier_set,
}


def step(state: SessionState, input: Input, now: datetime) -> tuple[SessionState, Effects]:
    """Apply one input.

    :param now: the moment it is applied, UTC.
    :returns: the new state, and the effects in the order they must take place.
    :raises InvalidStateTransitionError: an input that the lifecycle does not allow now: a bug.
    """
    after, effects = RULES[type(input)](state, input, now)
    if (running := state.turn or after.turn) is not None and running.meta.synthetic:
        effects = correlated(effects, running.meta)
    return after, effects
