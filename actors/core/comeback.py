"""An agent that comes back: the session restarts it by its policy (01 9.6).

A restart is not a stop: no ``session_stopped``, one ``session_recovered`` marker. The turn that was
cut has its terminal event already; its input is queued again only where the policy says so, and
visibly. A requested stop ends a pending restart.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..errors import SessionInputQueueFullError
from ..model.ids import TURN_PREFIX
from ..model.marker import MarkerKind
from ..model.session import SessionLivenessMeta, StallState, State, StopReason
from ..model.turn import BusyInputMode
from . import busy_input
from .effects import ArmTimer, Commit, DisarmTimer, Effects, Report, RestartAgent, WriteMeta
from .inputs import AgentExited, TimerFired
from .markers import marker, queue_evidence
from .restarts import RestartDecision, decide_restart, end_of, restart_marker
from .state import CutTurn, SessionState, mint, transition

RESTART_TIMER = "restart"
Step = tuple[SessionState, Effects]


def decide(state: SessionState, exited: AgentExited, now: datetime) -> RestartDecision:
    """What the policy says about the end of the agent."""
    end = end_of(stalled=False, wait_error=exited.error, prompting=state.turn is not None)
    return decide_restart(
        state.restart, end, state.restart_moments, now.timestamp(), requested=False
    )


def begin(state: SessionState, decision: RestartDecision, now: datetime) -> Step:
    """The agent is gone and its turn drained: wait for the backoff."""
    state = transition(state, State.STARTING, now, liveness=_no_process(state))
    state = replace(state, restarting=True, restart_moments=decision.moments)
    return state, (WriteMeta(state.meta), ArmTimer(RESTART_TIMER, decision.delay_s))


def cut_turn(state: SessionState) -> SessionState:
    """Remember the turn that is being cut; one that a caller has called off is none."""
    turn, liveness = state.turn, state.meta.liveness
    stalled = liveness is not None and liveness.stall_state is StallState.STALLED
    if turn is None or (turn.cancel_requested and not stalled):
        return state
    return replace(state, cut=CutTurn(turn.turn_id, turn.message))


def timer_fired(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """The backoff is over."""
    return (state, (RestartAgent(),)) if state.restarting else (state, ())


def came_back(state: SessionState, now: datetime) -> Step:
    """The agent runs again: say so, and queue the cut input again where that was asked for."""
    cut, exited = state.cut, state.exit
    state = replace(state, restarting=False, exit=None, cut=None, dying="")
    state, fresh = mint(state, TURN_PREFIX)
    note = restart_marker(
        turn_id=cut.turn_id if cut else fresh,
        now=now,
        restart_count=len(state.restart_moments),
        stop_reason=StopReason.AGENT_CRASHED,
        failure_kind=exited.failure.kind if exited and exited.failure else "",
    )
    recovered = Commit((note,), deliver=False)
    if cut is None or not state.restart.replay_interrupted:
        return state, (recovered,)
    state, replayed = _replay(state, cut, now)
    return state, (recovered, *replayed)


def abandon(state: SessionState) -> Step:
    """A stop, or a failed start: there will be no restart."""
    return replace(state, restarting=False), (DisarmTimer(RESTART_TIMER),)


def _replay(state: SessionState, cut: CutTurn, now: datetime) -> Step:
    state, entry = busy_input.new_entry(state, cut.message, BusyInputMode.QUEUE, now)
    try:
        queue, entry, position = busy_input.enqueue(state.queue, entry, state.busy_input.queue_cap)
    except SessionInputQueueFullError as error:
        return state, (Report("warning", f"cut input was not queued again: {error}"),)
    note = marker(
        MarkerKind.PROMPT_QUEUED,
        "Input of an interrupted turn queued again.",
        turn_id=cut.turn_id,
        now=now,
        evidence=queue_evidence(entry, position),
    )
    change = Commit((note,), (busy_input.put(entry),), durable=True, deliver=False)
    return replace(state, queue=queue), (change,)


def _no_process(state: SessionState) -> SessionLivenessMeta | None:
    liveness = state.meta.liveness
    return None if liveness is None else SessionLivenessMeta(last_update_at=liveness.last_update_at)
