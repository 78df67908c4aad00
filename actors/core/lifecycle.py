"""Starting, active, stopping, stopped: activation, stop, exit, the end (01 7-10).

Whatever ends a session, its process is gone first (``AgentExited``), its turn's stream is drained,
and only then is it finalized, once.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from ..errors import SessionError
from ..model.event import AgentEvent, EventType
from ..model.failure import FailureKind, SessionFailure, failure
from ..model.ids import TURN_PREFIX
from ..model.restart import RestartMode
from ..model.session import SessionLivenessMeta, State, StopCause, StopReason
from ..model.settings import LIFECYCLE_TIMEOUT
from . import busy_input, comeback
from .effects import (
    ArmTimer,
    Commit,
    DisarmTimer,
    Effect,
    Effects,
    Finalize,
    Refuse,
    Reply,
    Report,
    Retire,
    StopAgent,
    WriteMeta,
    refuse,
    reply,
)
from .inputs import (
    AgentExited,
    AgentStarted,
    AgentStartFailed,
    AgentStopFailed,
    AgentStreamClosed,
    CommitFailed,
    Finalized,
    StopRequested,
    TimerFired,
)
from .pump import stream_closed
from .restarts import RestartDecision, Verdict
from .state import SessionState, mint, transition, with_meta
from .stop import classify_stop, failed_start_reason, merge_cause
from .stop_markers import marker_for
from .turn import Step, close, next_input, not_active

DRAIN_TIMER = "drain"
"""Bounds the wait for the last events of a turn whose agent is gone."""


def agent_started(state: SessionState, input: AgentStarted, now: datetime) -> Step:
    """Activation (01 7.12, 2.4): a crash resumed from stays visible until the next stop."""
    if state.finalizing:
        return state, ()
    recovered: Effects = ()
    if state.restarting:
        state, recovered = comeback.came_back(state, now)
    liveness = SessionLivenessMeta(input.pid, input.started_at, now)
    state = transition(
        replace(state, caps=input.caps, stop_cause=StopCause.NONE, stop_detail=""),
        State.ACTIVE,
        now,
        acp_session_id=input.acp_session_id,
        liveness=liveness,
    )
    if state.meta.stop_reason is not StopReason.AGENT_CRASHED:
        state = with_meta(state, now, stop_reason=None, stop_detail="", failure=None)
    activated = (WriteMeta(state.meta), *recovered, *reply(input.ask, state.meta))
    state, following = next_input(state, now)
    return state, (*activated, *following)


def agent_start_failed(state: SessionState, input: AgentStartFailed, now: datetime) -> Step:
    """A failed start is a stopped session one can look into (01 7.13)."""
    if state.finalizing:
        return state, ()
    if state.restarting:
        failed = AgentExited(input.failure.summary, input.failure)
        state, abandoned = comeback.abandon(
            replace(state, exit=failed, stop_cause=StopCause.PROCESS_EXITED)
        )
        state, finalizing = finalize(state, now)
        return state, (*abandoned, *finalizing)
    reason = failed_start_reason(input.failure.kind)
    state, first = mint(state, TURN_PREFIX)
    state, second = mint(state, TURN_PREFIX)
    text = input.failure.summary
    events = (
        AgentEvent(
            type=EventType.ERROR,
            turn_id=first,
            timestamp=now,
            error=text,
            failure=input.failure,
        ),
        AgentEvent(
            type=EventType.SESSION_STOPPED,
            turn_id=second,
            timestamp=now,
            stop_reason=reason,
            error=text,
            failure=input.failure,
        ),
    )
    final = input.restore or replace(
        state.meta, stop_reason=reason, stop_detail=text, failure=input.failure, liveness=None
    )
    final = replace(final, state=State.STOPPED, updated_at=now)
    state = replace(state, finalizing=True, start_ask=input.ask)
    return state, (Commit(events, durable=True), Finalize(final))


def stop_requested(state: SessionState, input: StopRequested, now: datetime) -> Step:
    """Stop with a cause; the first wins, every caller is answered at the end (01 9.2, 9.4)."""
    if state.meta.state is State.STARTING and not state.restarting:
        return state, refuse(input.ask, not_active(state, "stop"))
    asks = (*state.stop_asks, input.ask) if input.ask else state.stop_asks
    if state.finalizing or state.meta.state is State.STOPPED:
        return replace(state, stop_asks=asks), ()
    cause = StopCause.USER_REQUESTED if input.cause is StopCause.NONE else input.cause
    if state.restarting:
        state, abandoned = comeback.abandon(
            replace(state, stop_asks=asks, stop_cause=cause, stop_detail=input.detail)
        )
        state, finalizing = finalize(state, now)
        return state, (*abandoned, *finalizing)
    if state.exit is None:
        merged = merge_cause(state.stop_cause, state.stop_detail, cause, input.detail)
        state = replace(state, stop_cause=merged[0], stop_detail=merged[1])
    state, stopping = _stopping(replace(state, stop_asks=asks), now)
    if state.exit is not None:
        return state, stopping
    return state, (*stopping, StopAgent(cause, input.deadline_s))


def agent_stop_failed(state: SessionState, input: AgentStopFailed, now: datetime) -> Step:
    """The agent lives on: the callers are told, the session stays stopping, a stop may retry."""
    if state.finalizing or state.exit is not None:
        return state, ()
    refusals = tuple(Refuse(ask, input.error) for ask in state.stop_asks)
    return replace(state, stop_asks=()), refusals


def agent_exited(state: SessionState, input: AgentExited, now: datetime) -> Step:
    """The process is gone, asked for or not (01 9.5)."""
    if state.finalizing or state.exit is not None:
        return state, ()
    exited = input
    if state.stalled and state.stop_cause is StopCause.NONE:
        state = replace(state, stop_cause=StopCause.TIMEOUT, stop_detail=state.stalled)
    if state.dying and not exited.error:
        exited = replace(exited, error=state.dying, failure=_exit_failure(state.dying))
    if state.stop_cause is StopCause.NONE and state.meta.state is State.ACTIVE:
        decision = comeback.decide(state, exited, now)
        if decision.verdict is Verdict.RESTART:
            return _cut_off(state, exited, decision, now)
    if state.stop_cause is StopCause.NONE:
        cause = StopCause.PROCESS_EXITED if exited.error else StopCause.COMPLETED
        if state.turn is not None and not exited.error:
            text = "process exited during active prompt"
            cause = StopCause.PROCESS_EXITED
            exited = replace(exited, error=text, failure=failure(FailureKind.PROCESS_EXIT, text))
        state = replace(state, stop_cause=cause)
    state, stopping = _stopping(replace(state, exit=exited), now)
    if state.turn is not None:
        return state, (*stopping, ArmTimer(DRAIN_TIMER, LIFECYCLE_TIMEOUT))
    state, finalizing = finalize(state, now)
    return state, (*stopping, *finalizing)


def _cut_off(
    state: SessionState, exited: AgentExited, decision: RestartDecision, now: datetime
) -> Step:
    """The agent comes back, once what it last said is recorded (01 9.6)."""
    state = comeback.cut_turn(replace(state, exit=exited, comeback=decision))
    if state.turn is not None:
        return state, (ArmTimer(DRAIN_TIMER, LIFECYCLE_TIMEOUT),)
    return comeback.begin(replace(state, comeback=None), decision, now)


def turn_stream_closed(state: SessionState, input: AgentStreamClosed, now: datetime) -> Step:
    """A turn ended; a dead or dying agent takes the session with it (02 6, 11.3)."""
    state, effects = stream_closed(state, input, now)
    if (decision := state.comeback) is not None and state.turn is None:
        state, restarting = comeback.begin(replace(state, comeback=None), decision, now)
        return state, (*effects, DisarmTimer(DRAIN_TIMER), *restarting)
    if state.exit is not None and state.turn is None and not state.finalizing:
        state, finalizing = finalize(state, now)
        return state, (*effects, DisarmTimer(DRAIN_TIMER), *finalizing)
    if not state.dying or state.meta.state is not State.ACTIVE or state.turn is not None:
        return state, effects
    if state.restart.mode is not RestartMode.TEMPORARY:
        return state, (*effects, StopAgent(StopCause.PROCESS_EXITED))
    request = StopRequested(0, StopCause.PROCESS_EXITED, state.dying)
    state, stopping = stop_requested(state, request, now)
    return state, (*effects, *stopping)


def drain_timed_out(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """The stream of a dead agent's turn did not close by itself."""
    if state.exit is None or state.turn is None:
        return state, ()
    state, closing = close(state, state.turn, now)
    if (decision := state.comeback) is not None:
        state, restarting = comeback.begin(replace(state, comeback=None), decision, now)
        return state, (*closing, *restarting)
    state, finalizing = finalize(state, now)
    return state, (*closing, *finalizing)


def finalize(state: SessionState, now: datetime) -> Step:
    """Classify the end, record it, and start the rest of finalization (01 10.1 steps 2-8)."""
    exited = state.exit or AgentExited()
    wait = exited.failure or _exit_failure(exited.error)
    ending = classify_stop(state.stop_cause, state.stop_detail, exited.error, wait)
    state = with_meta(
        state,
        now,
        stop_reason=ending.reason,
        stop_detail=ending.detail,
        failure=ending.failure,
        liveness=_cleared(state.meta.liveness),
    )
    failed = wait if exited.error else None
    events: list[AgentEvent] = []
    if failed is not None:
        state, turn_id = mint(state, TURN_PREFIX)
        events.append(
            AgentEvent(
                type=EventType.ERROR,
                session_id=state.meta.acp_session_id,
                turn_id=turn_id,
                timestamp=now,
                error=failed.summary,
                text=exited.stderr,
                failure=failed,
            )
        )
    state, turn_id = mint(state, TURN_PREFIX)
    stopped = AgentEvent(
        type=EventType.SESSION_STOPPED,
        session_id=state.meta.acp_session_id,
        turn_id=turn_id,
        timestamp=now,
        stop_reason=ending.reason,
    )
    if failed is not None:
        stopped = msgspec.structs.replace(
            stopped, error=failed.summary, text=exited.stderr, failure=failed
        )
    events.append(stopped)
    note = marker_for(stopped, now)
    if note is not None:
        events.append(note)
    final = replace(state.meta, state=State.STOPPED, updated_at=now)
    state = replace(state, finalizing=True)
    owed = tuple(Reply(ask) for ask in state.stop_asks)
    return state, (Commit(tuple(events), durable=True, owed=owed), Finalize(final))


def finalized(state: SessionState, input: Finalized, now: datetime) -> Step:
    """The incarnation is over: everybody who waited for it is answered."""
    state = with_meta(state, now, state=State.STOPPED)
    answer: list[Effect] = []
    for ask in state.stop_asks:
        if input.errors:
            group = ExceptionGroup(f'stop session "{state.id}"', list(input.errors))
            answer.append(Refuse(ask, group))
        else:
            answer.append(Reply(ask))
    answer.extend(reply(state.start_ask))
    return replace(state, stop_asks=(), start_ask=0), (*answer, Retire())


def crashed(state: SessionState, error: str, now: datetime) -> SessionState:
    """The state a session is left in by a bug of ours: over, with what is known about it."""
    told = failure(FailureKind.UNKNOWN, f"session actor crashed: {error}")
    return with_meta(
        state,
        now,
        state=State.STOPPED,
        stop_reason=StopReason.ERROR,
        stop_detail=told.summary,
        failure=told,
        liveness=_cleared(state.meta.liveness),
    )


def commit_failed(state: SessionState, input: CommitFailed, now: datetime) -> Step:
    """Rejected rows never happened: the queue is again what the store holds."""
    queue = busy_input.load(input.queue_documents, input.generation)
    return replace(state, queue=queue), (Report("error", str(input.error)),)


def _stopping(state: SessionState, now: datetime) -> Step:
    """Enter ``stopping`` and turn away whoever waits to start a turn."""
    effects: list[Effect] = []
    if state.meta.state is State.ACTIVE:
        state = transition(state, State.STOPPING, now)
        effects.append(WriteMeta(state.meta))
    if state.replacement is not None:
        refused: SessionError = not_active(state, "prompt")
        effects.append(Refuse(state.replacement.ask, refused))
        state = replace(state, replacement=None, replaced=0)
    return state, tuple(effects)


def _exit_failure(error: str) -> SessionFailure | None:
    return failure(FailureKind.PROCESS_EXIT, error) if error else None


def _cleared(liveness: SessionLivenessMeta | None) -> SessionLivenessMeta | None:
    if liveness is None:
        return None
    return SessionLivenessMeta(last_update_at=liveness.last_update_at)
