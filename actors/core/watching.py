"""Supervision of the running turn as effects of the session (02 12).

One timer looks when there is something to do. The deadline's warning is recorded before anything
it causes, and rows leave in order, so a caller always sees it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from ..model.activity import SessionActivityMeta
from ..model.event import AgentEvent
from ..model.restart import RestartMode
from ..model.session import SessionLivenessMeta, StallState, State, StopCause
from . import activity, supervision
from .activity import (
    CancelTurn,
    ClearActivity,
    Decision,
    EmitEvent,
    SaveActivity,
    StopStalled,
    Supervision,
)
from .effects import (
    ArmTimer,
    CancelPrompt,
    Commit,
    DisarmTimer,
    Effect,
    Effects,
    StopAgent,
    WriteMeta,
)
from .inputs import ActivityReported, TimerFired
from .state import SessionState, Turn

SUPERVISION_TIMER = "supervision"
Step = tuple[SessionState, Effects]


def begin(state: SessionState, turn: Turn, now: datetime, at_s: float) -> Step:
    """The driver has the prompt: watch it from here on."""
    liveness = state.meta.liveness
    watch, decisions = supervision.started(
        turn_id=turn.turn_id,
        turn_source=turn.source,
        config=state.supervision,
        now=now,
        at_s=at_s,
        stall_reason=liveness.stall_reason if liveness else "",
        blocked=state.blocked,
    )
    return _apply(state, watch, decisions, now, at_s, arm=True)


def observe(state: SessionState, events: Sequence[AgentEvent], now: datetime, at_s: float) -> Step:
    """What the agent brings is a sign of life; only an unsaved one moves the timer."""
    watch = state.watch
    if watch is None:
        return state, ()
    after, decisions = supervision.observed(watch, events, now, at_s)
    return _apply(state, after, decisions, now, at_s, arm=after.dirty and not watch.dirty)


def reported(state: SessionState, input: ActivityReported, now: datetime) -> Step:
    """The driver's sign of life; one of a turn that is over is ignored (02 12.2, 17)."""
    watch = state.watch
    if watch is None or watch.turn_id != input.turn_id:
        return state, ()
    after, decisions = supervision.reported(
        watch, input.kind, input.detail, now, input.at_s, unhealthy=input.unhealthy
    )
    return _apply(state, after, decisions, now, input.at_s, arm=after.dirty and not watch.dirty)


def work_changed(state: SessionState, is_blocked: bool, now: datetime, at_s: float) -> Step:
    """The agent began to wait for its user, or goes on (07 4.6)."""
    if state.watch is None or state.watch.blocked is is_blocked:
        return state, ()
    watch = activity.blocked(state.watch, is_blocked, now, at_s)
    return _apply(state, watch, (), now, at_s, arm=True)


def before_error(state: SessionState, event: AgentEvent, now: datetime, at_s: float) -> Step:
    """An ``error`` is about to be recorded: a deadline nobody was told of comes first (12.6)."""
    if state.watch is None:
        return state, ()
    watch, decisions = supervision.error_arrived(state.watch, event, now, at_s)
    return _apply(state, watch, decisions, now, at_s)


def timer_fired(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """Look whether something is due."""
    if state.watch is None:
        return state, ()
    watch, decisions = supervision.ticked(state.watch, now, input.at_s, unhealthy=input.unhealthy)
    return _apply(state, watch, decisions, now, input.at_s, arm=True)


def end(state: SessionState, now: datetime) -> Step:
    """The turn is over."""
    if state.watch is None:
        return state, ()
    watch, decisions = supervision.ended(state.watch)
    state, effects = _apply(state, watch, decisions, now, 0.0)
    return replace(state, watch=None), (DisarmTimer(SUPERVISION_TIMER), *effects)


def _apply(
    state: SessionState,
    watch: Supervision,
    decisions: Iterable[Decision],
    now: datetime,
    at_s: float,
    *,
    arm: bool = False,
) -> Step:
    state = replace(state, watch=watch)
    effects: list[Effect] = []
    for decision in decisions:
        state, caused = _decided(state, decision, now, at_s)
        effects.extend(caused)
    if arm and state.watch is not None:
        due = supervision.next_tick_s(state.watch, at_s)
        if due is not None:
            effects.append(ArmTimer(SUPERVISION_TIMER, due))
    return state, tuple(effects)


def _decided(state: SessionState, decision: Decision, now: datetime, at_s: float) -> Step:
    match decision:
        case EmitEvent(event, deliver, is_deadline):
            told: Effects = (Commit((event,), deliver=deliver),)
            if not is_deadline or state.watch is None:
                return state, told
            watch, following = supervision.deadline_delivered(state.watch, at_s)
            state, caused = _apply(state, watch, following, now, at_s)
            return state, (*told, *caused)
        case SaveActivity(activity, stall_reason, last_update_at):
            return _with_liveness(state, activity, stall_reason, last_update_at)
        case ClearActivity():
            return _with_liveness(state, None, "", now)
        case CancelTurn():
            return _cancel(state)
        case StopStalled(reason, bound_s):
            return _stop(state, str(reason), bound_s)
        case _:
            assert_never(decision)


def _with_liveness(
    state: SessionState,
    activity: SessionActivityMeta | None,
    stall_reason: str,
    at: datetime,
) -> Step:
    liveness = replace(
        state.meta.liveness or SessionLivenessMeta(),
        activity=activity,
        stall_state=StallState.STALLED if stall_reason else StallState.NONE,
        stall_reason=stall_reason,
        last_update_at=at,
    )
    state = replace(state, meta=replace(state.meta, liveness=liveness))
    return state, (WriteMeta(state.meta, activity_only=True),)


def _cancel(state: SessionState) -> Step:
    turn = state.turn
    if turn is None:
        return state, ()
    cancelled = replace(turn, cancel_requested=True)
    return replace(state, turn=cancelled), (CancelPrompt(turn.turn_id),)


def _stop(state: SessionState, reason: str, bound_s: float) -> Step:
    """A turn that ignored its cancel takes its agent with it; the policy says what is next."""
    stop = StopAgent(StopCause.TIMEOUT, bound_s)
    if state.meta.state is not State.ACTIVE:
        # Somebody stopped it already, without success if it still has a turn.
        return replace(state, stalled=reason), (stop,)
    if state.restart.mode is not RestartMode.TEMPORARY:
        return replace(state, dying=f"agent stalled: {reason}"), (stop,)
    return replace(state, stalled=reason), (stop,)
