"""Starting and what follows it: activation, a failed start, the exit of the agent (01 7-9).

Whatever ends a session, its process is gone first (``AgentExited``), its turn's stream is drained,
and only then is it finalized, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..errors import StoreSyncFailedError
from ..model.event import AgentEvent, EventType
from ..model.failure import FailureKind, failure
from ..model.ids import TURN_PREFIX
from ..model.restart import RestartMode
from ..model.session import SessionLivenessMeta, State, StopCause, StopReason
from ..model.settings import LIFECYCLE_TIMEOUT
from . import busy_input, comeback
from .effects import (
    AcceptCommits,
    ArmTimer,
    Commit,
    DisarmTimer,
    Effects,
    Finalize,
    Report,
    StopAgent,
    WriteMeta,
    reply,
)
from .finalizing import exit_failure, finalize
from .inputs import (
    Activated,
    AgentExited,
    AgentGone,
    AgentStarted,
    AgentStartFailed,
    CommitFailed,
    StopRequested,
    TimerFired,
)
from .restarts import RestartDecision, Verdict
from .state import SessionState, mint, transition, with_meta
from .stop import failed_start_reason
from .stopping import enter_stopping, stop_requested, turn_away_unsent
from .turn import Step, close, next_input

DRAIN_TIMER = "drain"
"""Bounds the wait for the last events of a turn whose agent is gone."""
QUEUE_TIMER = "queue"
QUEUE_RETRY_S = LIFECYCLE_TIMEOUT
"""How long queued input waits after the store refused a write."""
LOST_CONVERSATION = "The agent no longer has this conversation; a new one was opened for it."
Rule = Callable[[SessionState, Any, datetime], Step]


def agent_started(state: SessionState, input: AgentStarted, now: datetime) -> Step:
    """Activation (01 7.12, 2.4): a crash resumed from stays visible until the next stop."""
    if state.finalizing:
        return state, ()
    recovered: Effects = ()
    known = state.meta.acp_session_id
    lost = state.lost or (state.restarting and known not in ("", input.acp_session_id))
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
    state, told = _tell_lost(state, now) if lost else (state, ())
    state = replace(state, held=bool(input.ask), lost=False)
    begun = (WriteMeta(state.meta), *recovered, *told, *reply(input.ask, state.meta))
    state, following = next_input(state, now)
    return state, (*begun, *following)


def _tell_lost(state: SessionState, now: datetime) -> Step:
    """A new conversation of the agent is never shown as the old one (07 8)."""
    state, turn_id = mint(state, TURN_PREFIX)
    warning = AgentEvent(
        type=EventType.RUNTIME_WARNING, turn_id=turn_id, timestamp=now, text=LOST_CONVERSATION
    )
    return state, (Commit((warning,), deliver=False),)


def activated(state: SessionState, input: Activated, now: datetime) -> Step:
    """Everybody knows of the session: input that waited in its queue goes on (02 7.7)."""
    return next_input(replace(state, held=False), now)


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


def agent_gone(state: SessionState, input: AgentGone, now: datetime) -> Step:
    """Nothing is sent to a dead process while its crash bundle is written (01 9.5, 11.3)."""
    over = state.finalizing or state.exit is not None or state.meta.state is not State.ACTIVE
    if over or state.stop_cause is not StopCause.NONE:
        return state, ()
    state = replace(state, dying=state.dying or input.error)
    if state.restart.mode is not RestartMode.TEMPORARY or state.stalled:
        return state, ()
    return enter_stopping(replace(state, stop_cause=StopCause.PROCESS_EXITED), now)


def agent_exited(state: SessionState, input: AgentExited, now: datetime) -> Step:
    """The process is gone, asked for or not (01 9.5)."""
    if state.finalizing or state.exit is not None:
        return state, ()
    exited = input
    if state.stalled and state.stop_cause is StopCause.NONE:
        state = replace(state, stop_cause=StopCause.TIMEOUT, stop_detail=state.stalled)
    if state.dying and not exited.error:
        told = exited.failure or exit_failure(state.dying)
        exited = replace(exited, error=state.dying, failure=told)
    if state.stop_cause is StopCause.NONE and state.meta.state is State.ACTIVE:
        decision = comeback.decide(state, exited, now)
        if decision.verdict is Verdict.RESTART:
            return _cut_off(state, exited, decision, now)
    if state.stop_cause is StopCause.NONE:
        cause = StopCause.PROCESS_EXITED if exited.error else StopCause.COMPLETED
        if state.turn is not None and not exited.error:
            text = "process exited during active prompt"
            cause = StopCause.PROCESS_EXITED
            cut = exited.failure or failure(FailureKind.PROCESS_EXIT, text)
            exited = replace(exited, error=text, failure=cut)
        state = replace(state, stop_cause=cause)
    state, stopping = enter_stopping(replace(state, exit=exited), now)
    if state.turn is not None:
        return state, (*stopping, ArmTimer(DRAIN_TIMER, LIFECYCLE_TIMEOUT))
    state, finalizing = finalize(state, now)
    return state, (*stopping, *finalizing)


def _cut_off(
    state: SessionState, exited: AgentExited, decision: RestartDecision, now: datetime
) -> Step:
    """The agent comes back, once what it last said is recorded (01 9.6)."""
    state, away = turn_away_unsent(replace(state, exit=exited, comeback=decision), now)
    state = comeback.cut_turn(state)
    if state.turn is not None:
        return state, (*away, ArmTimer(DRAIN_TIMER, LIFECYCLE_TIMEOUT))
    state, restarting = comeback.begin(replace(state, comeback=None), decision, now)
    return state, (*away, *restarting)


def ending(rule: Rule) -> Rule:
    """A rule that may end a turn: a dead or dying agent takes the session with it (02 6, 11.3)."""

    def apply(state: SessionState, input: Any, now: datetime) -> Step:
        had_turn = state.turn is not None
        state, effects = rule(state, input, now)
        return _turn_over(state, effects, now) if had_turn else (state, effects)

    return apply


def _turn_over(state: SessionState, effects: Effects, now: datetime) -> Step:
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
    request = StopRequested(0, StopCause.PROCESS_EXITED, state.dying, deniable=False)
    state, stopping = stop_requested(state, request, now)
    return state, (*effects, *stopping)


def drain_timed_out(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """The stream of a dead agent's turn did not close by itself."""
    if state.exit is None or state.turn is None:
        return state, ()
    state, closing = close(state, state.turn, now, waits=False)
    if (decision := state.comeback) is not None:
        state, restarting = comeback.begin(replace(state, comeback=None), decision, now)
        return state, (*closing, *restarting)
    state, finalizing = finalize(state, now)
    return state, (*closing, *finalizing)


def commit_failed(state: SessionState, input: CommitFailed, now: datetime) -> Step:
    """Rejected rows never happened: the queue is again what the store holds.

    It waits, and is tried again after a while; a store whose sync failed takes nothing any more
    until the home is opened again.
    """
    queue = busy_input.load(input.queue_documents, input.generation)
    state = replace(state, queue=queue, held=True)
    told: Effects = (AcceptCommits(), Report("error", str(input.error)))
    if isinstance(input.error, StoreSyncFailedError):
        return state, told
    return state, (*told, ArmTimer(QUEUE_TIMER, QUEUE_RETRY_S))


def let_go(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """The store may work again: go on with the queue."""
    return next_input(replace(state, held=False), now)
