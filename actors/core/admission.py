"""From a reserved turn to a prompt the driver has: hooks, input row, driver (02 3).

==============  =======================================  ==============================
phase           waits for                                then
==============  =======================================  ==============================
``admitting``   ``input.pre_submit``, ``turn.start``     the input row is submitted
``setup``       the row's commit, augmenter and driver   ``PromptStarted`` or its failure
==============  =======================================  ==============================

The turn is reserved before the first hook hears of it, so no hook is told of a prompt that loses a
race. Nothing is stored of a prompt that is refused while admitting. Without hooks the first phase
takes no time: its row goes out with the step that reserved the turn.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..errors import (
    HookFailedError,
    PromptCanceledError,
    SessionError,
    SessionNotActiveError,
)
from ..model.event import AgentEvent, EventType
from ..model.hooks import HookEvent, HookPayload, InputPayload
from ..model.ids import TURN_PREFIX
from ..model.marker import MarkerKind
from ..model.turn import BusyInputMode, QueueEntry, TurnSource
from . import busy_input, synthetic
from .effects import (
    Commit,
    DispatchHook,
    DropStream,
    Effect,
    Effects,
    ObserveHook,
    Reply,
    SendPrompt,
    TableChange,
    refuse,
)
from .hooking import input_payload, turn_payload
from .markers import marker, queue_evidence
from .state import SessionState, Turn, TurnPhase, mint

Step = tuple[SessionState, Effects]

GATES = (HookEvent.INPUT_PRE_SUBMIT, HookEvent.TURN_START)
"""What is asked before anything is stored, in order (02 A2, A3)."""


def admit(state: SessionState, turn: Turn, now: datetime) -> Step:
    """Reserve the turn; a blank id is minted."""
    if not turn.turn_id:
        state, turn_id = mint(state, TURN_PREFIX)
        turn = replace(turn, turn_id=turn_id)
    if turn.result is not None:
        turn = replace(turn, result=replace(turn.result, new_turn_id=turn.turn_id))
    return _ask_from(0, state, replace(turn, phase=TurnPhase.ADMITTING), now)


def answered(state: SessionState, turn: Turn, payload: HookPayload, now: datetime) -> Step:
    """A gate let the prompt pass; the first one may have changed its message."""
    if isinstance(payload, InputPayload):
        if not isinstance(payload.message, str) or not payload.message.strip():
            blank = HookFailedError(
                f'session: dispatch {payload.event}: session "{state.id}": the message is blank',
                session_id=state.id,
                event=payload.event,
            )
            return turn_away(state, turn, blank, now)
        turn = replace(turn, message=payload.message)
    return _ask_from(GATES.index(payload.event) + 1, state, turn, now)


def turn_away(state: SessionState, turn: Turn, error: SessionError, now: datetime) -> Step:
    """End a turn that never began: nothing of it is stored but what became of its queue entry.

    An entry that could not run because the session ends stays queued; any other error is its end.
    """
    effects: list[Effect] = list(refuse(turn.ask, error))
    if turn.source is TurnSource.SYNTHETIC:
        state, dropped = let_go(state, turn, error, now)
        effects.extend(dropped)
    entry = turn.entry
    gone = entry is None or not busy_input.holds(state.queue, entry.id)
    if entry is not None and not gone and not isinstance(error, SessionNotActiveError):
        queue, changes = busy_input.failed(state.queue, entry, str(error), now)
        note = marker(
            MarkerKind.PROMPT_DROPPED,
            "Queued input failed before dispatch.",
            turn_id=turn.turn_id,
            now=now,
            evidence=queue_evidence(entry),
        )
        state = replace(state, queue=queue)
        effects.append(Commit((note,), changes, durable=True, deliver=False))
    if turn.announced:
        ended = turn_payload(HookEvent.TURN_END, state, turn, now)
        effects.append(ObserveHook(turn.turn_id, ended))
    return replace(state, turn=None), tuple(effects)


def canceled(state: SessionState, why: str) -> PromptCanceledError:
    """The end of a prompt that nobody wants any more."""
    return PromptCanceledError(
        f'prompt: session "{state.id}": {why}', session_id=state.id, operation="prompt"
    )


def let_go(state: SessionState, turn: Turn, error: SessionError, now: datetime) -> Step:
    """A synthetic prompt is over; one whose caller reads already is told so on its stream."""
    queue, _ = synthetic.stream_ended(state.synthetic, turn.turn_id, busy=True)
    out, state = state.synthetic.out, replace(state, synthetic=queue)
    if out is None or turn.ask:
        return state, ()
    event = synthetic.drop_event(out, error, now, session_id=state.id)
    return state, (DropStream(turn.turn_id, event),)


def _ask_from(first: int, state: SessionState, turn: Turn, now: datetime) -> Step:
    for event in GATES[first:]:
        if event in state.hooks:
            if event is HookEvent.TURN_START:
                turn = replace(turn, announced=True)
                payload: HookPayload = turn_payload(event, state, turn, now)
            else:
                payload = input_payload(state, turn, now)
            return replace(state, turn=turn), (DispatchHook(turn.turn_id, payload),)
    return _record(state, turn, now)


def _record(state: SessionState, turn: Turn, now: datetime) -> Step:
    """The input row and, for a queued input, the entry's end in one commit; then the prompt."""
    entry = turn.entry
    if entry is not None and not busy_input.holds(state.queue, entry.id):
        return turn_away(state, turn, canceled(state, "its queue entry was taken back"), now)
    synthetic_meta = turn.meta.synthetic
    is_synthetic = turn.source is TurnSource.SYNTHETIC
    events = [
        AgentEvent(
            type=EventType.SYNTHETIC_REENTRY if is_synthetic else EventType.USER_MESSAGE,
            session_id=state.meta.acp_session_id,
            turn_id=turn.turn_id,
            request_id=entry.id if entry else "",
            timestamp=now,
            text=turn.message,
            synthetic=synthetic_meta.as_json() if is_synthetic and synthetic_meta else None,
        )
    ]
    changes: tuple[TableChange, ...] = ()
    if entry is not None:
        queue, changes = busy_input.sent(state.queue, entry, now)
        state = replace(state, queue=queue)
        events.append(_accepted_marker(entry, turn.turn_id, now))
    sent = replace(turn, phase=TurnPhase.SETUP, entry=None)
    meta = {**turn.meta.as_json(), "turn_source": str(turn.source)}
    heartbeat_s = state.supervision.activity_heartbeat_interval
    owed = (Reply(turn.ask, turn.result, stream_turn_id=turn.turn_id),) if turn.ask else ()
    return replace(state, turn=sent), (
        Commit(tuple(events), changes, durable=True, deliver=False, owed=owed),
        SendPrompt(turn.turn_id, turn.message, meta, heartbeat_s),
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
