"""The end of an incarnation: classified, recorded, told to everybody who waits (01 9.1, 10.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from ..model.event import AgentEvent, EventType
from ..model.failure import FailureKind, SessionFailure, failure
from ..model.ids import TURN_PREFIX
from ..model.session import SessionLivenessMeta, State, StopCause, StopReason
from . import busy_input, host_permissions, synthetic_turns
from .effects import CloseStream, Commit, Effect, Finalize, Refuse, Reply, Retire, reply
from .inputs import AgentExited, Finalized
from .state import SessionState, mint, with_meta
from .stop import classify_stop
from .stop_markers import marker_for
from .turn import Step


def finalize(state: SessionState, now: datetime) -> Step:
    """Classify the end, record it, and start the rest of finalization (01 10.1 steps 2-8)."""
    exited = state.exit or AgentExited()
    wait = exited.failure or exit_failure(exited.error)
    ending = classify_stop(state.stop_cause, state.stop_detail, exited.error, wait)
    state = with_meta(
        state,
        now,
        stop_reason=ending.reason,
        stop_detail=ending.detail,
        failure=ending.failure,
        liveness=cleared(state.meta.liveness),
    )
    state, rows = _last_rows(state, exited, wait if exited.error else None, now)
    final = replace(state.meta, state=State.STOPPED, updated_at=now)
    gated = tuple(request.ask for request in state.stop_gate if request.ask)
    closing = tuple(CloseStream(turn_id) for turn_id in state.settling)
    asks = (*state.stop_asks, *gated)
    state, dropped = synthetic_turns.drop_all(state, now)
    state, undecided = host_permissions.session_ended(state)
    state, changes = busy_input.take_back_steering(state, now)
    state = replace(state, finalizing=True, stop_asks=asks, stop_gate=(), settling=())
    owed = tuple(Reply(ask) for ask in asks)
    keeps_history = state.stop_cause is not StopCause.CLEAR_CONVERSATION
    return state, (
        Commit(rows, changes, durable=True, owed=owed),
        *closing,
        *dropped,
        *undecided,
        Finalize(final, exited.error, ledger=keeps_history),
    )


def _last_rows(
    state: SessionState, exited: AgentExited, failed: SessionFailure | None, now: datetime
) -> tuple[SessionState, tuple[AgentEvent, ...]]:
    """The exit that was a failure, the stop, and its marker (10.1 steps 3 and 4)."""
    events: list[AgentEvent] = []
    if failed is not None:
        state, fresh = mint(state, TURN_PREFIX)
        events.append(
            AgentEvent(
                type=EventType.ERROR,
                session_id=state.meta.acp_session_id,
                turn_id=state.unended or fresh,
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
        stop_reason=state.meta.stop_reason or "",
    )
    if failed is not None:
        stopped = msgspec.structs.replace(
            stopped, error=failed.summary, text=exited.stderr, failure=failed
        )
    note = marker_for(stopped, now)
    return state, (*events, stopped, *(() if note is None else (note,)))


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
        liveness=cleared(state.meta.liveness),
    )


def exit_failure(error: str) -> SessionFailure | None:
    """The failure that the end of a process is, if it ended badly."""
    return failure(FailureKind.PROCESS_EXIT, error) if error else None


def cleared(liveness: SessionLivenessMeta | None) -> SessionLivenessMeta | None:
    """What stays of the liveness of a process that is gone (01 17.2)."""
    if liveness is None:
        return None
    return SessionLivenessMeta(last_update_at=liveness.last_update_at)
