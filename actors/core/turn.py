"""One turn at a time: submitted, started, streaming, closed, and what comes next (02 3-7).

``idle -> setup -> streaming -> ending -> idle``: a turn exists from the moment its input row is
submitted to the log until the driver's stream has closed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..errors import (
    PromptCanceledError,
    PromptInProgressError,
    SessionError,
    SessionNotActiveError,
    SessionValueError,
    StorageError,
)
from ..model.event import AgentEvent, EventType
from ..model.failure import FailureKind, failure
from ..model.ids import TURN_PREFIX
from ..model.marker import MarkerKind
from ..model.session import State
from ..model.turn import (
    MESSAGE_BYTES_MAX,
    BusyInputMode,
    QueueEntry,
    SendPromptResult,
    TurnSource,
)
from . import busy_input, watching
from .effects import (
    ArmTimer,
    CancelPrompt,
    CloseStream,
    Commit,
    DisarmTimer,
    Effect,
    Effects,
    Refuse,
    Reply,
    SendPrompt,
    TableChange,
    refuse,
)
from .inputs import (
    Ask,
    PromptStarted,
    PromptStartFailed,
    PromptSubmitted,
)
from .markers import marker, queue_evidence
from .state import SessionState, Turn, TurnPhase, mint

Step = tuple[SessionState, Effects]

INTERRUPT_TIMER = "interrupt"


def not_active(state: SessionState, operation: str) -> SessionNotActiveError:
    """The refusal of live work by a session that is not active."""
    return SessionNotActiveError(
        f'{operation}: session "{state.id}" is not active ({state.meta.state})',
        session_id=state.id,
        operation=operation,
        state=state.meta.state,
    )


def check_message(message: str, session_id: str) -> str:
    """The trimmed prompt.

    :raises SessionValueError: not text, blank, or longer than ``MESSAGE_BYTES_MAX``.
    """
    if not isinstance(message, str):
        raise SessionValueError("prompt: message must be a string", session_id=session_id)
    trimmed = message.strip()
    if not trimmed:
        raise SessionValueError("prompt: message is required", session_id=session_id)
    if len(trimmed.encode("utf-8", "replace")) > MESSAGE_BYTES_MAX:
        raise SessionValueError(
            f"prompt: message exceeds {MESSAGE_BYTES_MAX} bytes", session_id=session_id
        )
    return trimmed


def begin(
    state: SessionState,
    now: datetime,
    message: str,
    *,
    submitted: PromptSubmitted | None = None,
    result: SendPromptResult | None = None,
    entry: QueueEntry | None = None,
) -> Step:
    """Open a turn: its input row and, for a queued input, the entry's end in one commit."""
    turn_id = submitted.turn_id.strip() if submitted else ""
    if not turn_id:
        state, turn_id = mint(state, TURN_PREFIX)
    ask = submitted.ask if submitted else 0
    source = submitted.source if submitted else TurnSource.USER
    if result is not None:
        result = replace(result, new_turn_id=turn_id)
    events = [
        AgentEvent(
            type=EventType.USER_MESSAGE,
            session_id=state.meta.acp_session_id,
            turn_id=turn_id,
            request_id=entry.id if entry else "",
            timestamp=now,
            text=message,
        )
    ]
    changes: tuple[TableChange, ...] = ()
    if entry is not None:
        queue, changes = busy_input.sent(state.queue, entry, now)
        state = replace(state, queue=queue)
        events.append(_accepted_marker(entry, turn_id, now))
    turn = Turn(turn_id=turn_id, source=source, message=message, ask=ask, result=result)
    meta = dict(submitted.meta) if submitted else {}
    owed = (Reply(ask, result, stream_turn_id=turn_id),) if ask else ()
    return replace(state, turn=turn), (
        Commit(tuple(events), changes, durable=True, deliver=False, owed=owed),
        SendPrompt(
            turn_id,
            message,
            {**meta, "turn_source": str(source)},
            state.supervision.activity_heartbeat_interval,
        ),
    )


def _accepted_marker(entry: QueueEntry, turn_id: str, now: datetime) -> AgentEvent:
    if entry.mode is BusyInputMode.STEER:
        return marker(
            MarkerKind.PROMPT_STEERED,
            "Staged steering input fell back to queued dispatch.",
            turn_id=turn_id,
            now=now,
            evidence={**queue_evidence(entry), "fallback_to_queue": True},
        )
    return marker(
        MarkerKind.PROMPT_ACCEPTED,
        "Queued input accepted for dispatch.",
        turn_id=turn_id,
        now=now,
        evidence=queue_evidence(entry),
    )


def started(state: SessionState, input: PromptStarted, now: datetime) -> Step:
    """The driver took the prompt: the caller gets its stream."""
    turn = state.turn
    if turn is None or turn.turn_id != input.turn_id:
        return state, ()
    effects: list[Effect] = []
    if turn.ask:
        effects.append(Reply(turn.ask, turn.result, stream_turn_id=turn.turn_id))
    if turn.cancel_requested:
        effects.append(CancelPrompt(turn.turn_id))
    turn = replace(turn, phase=TurnPhase.STREAMING, ask=0)
    state, watching_it = watching.begin(replace(state, turn=turn), turn, now, input.at_s)
    return state, (*effects, *watching_it)


def start_failed(state: SessionState, input: PromptStartFailed, now: datetime) -> Step:
    """The prompt never reached the agent; a stored input gets its terminal event (02 3)."""
    turn = state.turn
    if turn is None or turn.turn_id != input.turn_id:
        return state, ()
    effects: Effects = ()
    if not isinstance(input.error, StorageError):
        cancelled = isinstance(input.error, PromptCanceledError)
        kind = FailureKind.CANCELLATION if cancelled else FailureKind.PROMPT
        event = error_event(state, turn.turn_id, str(input.error), kind, now)
        effects = (Commit((event,), durable=True),)
    refused = refuse(turn.ask, input.error)
    state, closing = close(state, replace(turn, ask=0), now)
    return state, (*effects, *refused, *closing)


def close(state: SessionState, turn: Turn, now: datetime) -> Step:
    """End the turn: its stream closes and whatever waits is next.

    An active session never leaves a turn open-ended: one that ended without a terminal event gets
    an ``error`` (02 3). A requested stop ends it silently (04 4.2).
    """
    effects: list[Effect] = []
    silent = turn.terminal or turn.phase is TurnPhase.SETUP or state.meta.state is not State.ACTIVE
    if not silent:
        text = "agent ended the turn without an answer"
        event = error_event(state, turn.turn_id, text, FailureKind.PROMPT, now)
        effects.append(Commit((event,), durable=True))
    if turn.ask:
        effects.append(Refuse(turn.ask, not_active(state, "prompt")))
    effects.extend(Reply(ask) for ask, _ in state.approvals)
    effects.append(CloseStream(turn.turn_id))
    state, unwatched = watching.end(state, now)
    effects.extend(unwatched)
    state = replace(state, turn=None, last_turn_id=turn.turn_id, approvals=())
    state, following = next_input(state, now)
    return state, (*effects, *following)


def next_input(state: SessionState, now: datetime) -> Step:
    """Start what waits: the prompt that interrupted, else the oldest queued input (02 6)."""
    if not state.takes_input or state.turn is not None:
        return state, ()
    if (replacement := state.replacement) is not None:
        result = SendPromptResult(
            status="accepted",
            mode=BusyInputMode.INTERRUPT,
            interrupted=True,
            queue_generation=state.queue.generation,
            previous_turn_id=state.replaced_turn_id,
            canceled_queued_entries=state.replaced,
        )
        state = replace(state, replacement=None, replaced=0, replaced_turn_id="")
        state, effects = begin(
            state, now, replacement.message, submitted=replacement, result=result
        )
        return state, (DisarmTimer(INTERRUPT_TIMER), *effects)
    entry = busy_input.next_entry(state.queue)
    return (state, ()) if entry is None else begin(state, now, entry.text, entry=entry)


def in_progress(state: SessionState, ask: Ask, operation: str) -> Effects:
    """The refusal of a second prompt."""
    error = PromptInProgressError(
        f'{operation}: session "{state.id}" is already working on a prompt',
        session_id=state.id,
        operation=operation,
    )
    return refuse(ask, error)


def arm_interrupt(state: SessionState) -> ArmTimer:
    """How long an interrupting prompt waits for the running turn to end (02 7.4)."""
    return ArmTimer(INTERRUPT_TIMER, state.supervision.timeout_cancel_grace)


def error_event(
    state: SessionState, turn_id: str, text: str, kind: FailureKind, now: datetime
) -> AgentEvent:
    """The terminal event of a turn that failed on our side."""
    return AgentEvent(
        type=EventType.ERROR,
        session_id=state.meta.acp_session_id,
        turn_id=turn_id,
        timestamp=now,
        error=text,
        failure=failure(kind, text),
    )


def as_session_error(error: BaseException, session_id: str, operation: str) -> SessionError:
    """Any failure as a member of the tree, the original as its cause."""
    if isinstance(error, SessionError):
        return error
    wrapped = SessionError(
        f'{operation}: session "{session_id}": {error}', session_id=session_id, operation=operation
    )
    wrapped.__cause__ = error
    return wrapped
