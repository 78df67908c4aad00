"""What callers ask of a session: prompt, queue, steer, interrupt, cancel (02 7-11).

=============  ============================  ===========================================
mode           idle                          busy
=============  ============================  ===========================================
none           accepted                      ``PromptInProgressError``
``queue``      accepted                      appended to the durable queue
``interrupt``  accepted                      queue fenced, turn cancelled, then accepted
``steer``      accepted                      staged for the next tool boundary
=============  ============================  ===========================================

While the agent is started again, ``queue`` queues and everything else is refused. Finding the
session idle and reserving the turn are one step.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from ..errors import (
    CallerError,
    PromptInProgressError,
    PromptNotInProgressError,
    SessionValueError,
)
from ..model.ids import TURN_PREFIX
from ..model.marker import MarkerKind
from ..model.session import State
from ..model.turn import (
    BusyInputMode,
    SendPromptResult,
    TurnSource,
)
from . import busy_input
from .effects import (
    CancelPrompt,
    Commit,
    Effects,
    Refuse,
    Report,
    carried_out,
    refuse,
    reply,
)
from .inputs import (
    CancelRequested,
    CancelSettled,
    InterruptRequested,
    PromptSubmitted,
    QueuedPromptCancelRequested,
    SteerRequested,
    TimerFired,
)
from .markers import marker, queue_evidence
from .state import SessionState, Turn, TurnPhase, mint
from .turn import (
    Step,
    arm_interrupt,
    begin,
    check_message,
    in_progress,
    not_active,
)


def submit(state: SessionState, input: PromptSubmitted, now: datetime) -> Step:
    """Admit a prompt by its mode (02 3, 7.1)."""
    try:
        message = check_message(input.message, state.id)
        if input.source is TurnSource.SYNTHETIC:
            raise SessionValueError("prompt: synthetic turns have a submission path of their own")
    except CallerError as error:
        return state, refuse(input.ask, error)
    if state.comes_back and input.mode == BusyInputMode.QUEUE:
        return _queue(state, input, message, now)
    if not state.takes_input:
        return state, refuse(input.ask, not_active(state, "prompt"))
    if state.turn is None and state.replacement is None:
        result = None if input.mode is None else SendPromptResult("accepted", input.mode)
        return begin(state, now, message, submitted=input, result=result)
    match input.mode:
        case None:
            return state, in_progress(state, input.ask, "prompt")
        case BusyInputMode.QUEUE:
            return _queue(state, input, message, now)
        case BusyInputMode.INTERRUPT:
            return _interrupt_and_replace(state, replace(input, message=message), now)
        case BusyInputMode.STEER:
            return _stage(state, input.ask, message, now)


def steer(state: SessionState, input: SteerRequested, now: datetime) -> Step:
    """Stage a text for the running turn (02 7.6)."""
    try:
        message = check_message(input.message, state.id)
    except SessionValueError as error:
        return state, refuse(input.ask, error)
    if state.meta.state is not State.ACTIVE:
        return state, refuse(input.ask, not_active(state, "steer_prompt"))
    if state.turn is None:
        idle = PromptNotInProgressError(
            f'steer_prompt: session "{state.id}" has no prompt in progress', session_id=state.id
        )
        return state, refuse(input.ask, idle)
    return _stage(state, input.ask, message, now)


def interrupt(state: SessionState, input: InterruptRequested, now: datetime) -> Step:
    """Fence the queue and cancel the running turn; valid on an idle session (02 7.5)."""
    if state.meta.state is not State.ACTIVE:
        return state, refuse(input.ask, not_active(state, "interrupt_prompt"))
    previous = state.turn.turn_id if state.turn else ""
    state, dropped = _drop_replacement(state, "interrupted")
    state, fenced, cancelling, cancelled = _fence(
        state, now, "Prompt interrupted by operator.", {"new_turn_id": ""}
    )
    result = SendPromptResult(
        status="interrupted",
        mode=BusyInputMode.INTERRUPT,
        interrupted=True,
        previous_turn_id=previous,
        queue_generation=state.queue.generation,
        canceled_queued_entries=cancelled,
    )
    return state, (*dropped, *cancelling, *carried_out(fenced, input.ask, result))


def cancel(state: SessionState, input: CancelRequested, now: datetime) -> Step:
    """Cancel the running turn; a session that is not prompting is left alone (02 11.1).

    The caller is answered once the driver has delivered it; before the driver has the prompt, at
    once.
    """
    turn = state.turn
    if turn is None:
        return state, reply(input.ask)
    state = replace(state, turn=replace(turn, cancel_requested=True))
    if turn.phase is not TurnPhase.SETUP:
        return state, (CancelPrompt(turn.turn_id, input.ask),)
    state, marked = _mark_cancel(state, turn.turn_id, now)
    return state, (CancelPrompt(turn.turn_id, before_start=True), *marked, *reply(input.ask))


def cancel_settled(state: SessionState, input: CancelSettled, now: datetime) -> Step:
    """The cancel was delivered: marked once per turn, for whoever asked for it (02 11.1)."""
    if input.error is not None:
        told = Report("warning", f"cancel of {input.turn_id} failed: {input.error}")
        return state, (*refuse(input.ask, input.error), told)
    if not input.ask:
        return state, ()
    state, marked = _mark_cancel(state, input.turn_id, now)
    return state, (*marked, *reply(input.ask))


def _mark_cancel(state: SessionState, turn_id: str, now: datetime) -> Step:
    if state.cancel_marked == turn_id:
        return state, ()
    note = marker(
        MarkerKind.PROMPT_CANCEL,
        "Prompt canceled by operator.",
        turn_id=turn_id,
        now=now,
        evidence={"source": "cancel_prompt"},
    )
    return replace(state, cancel_marked=turn_id), (Commit((note,), deliver=False),)


def cancel_queued(state: SessionState, input: QueuedPromptCancelRequested, now: datetime) -> Step:
    """Take a queued input back (02 7.8)."""
    if state.meta.state is not State.ACTIVE:
        return state, refuse(input.ask, not_active(state, "cancel_queued_prompt"))
    try:
        (queue, changes), entry = busy_input.cancel(state.queue, input.queue_entry_id.strip(), now)
    except CallerError as error:
        return state, refuse(input.ask, error)
    state, turn_id = _current_or_fresh(replace(state, queue=queue))
    note = marker(
        MarkerKind.PROMPT_DROPPED,
        "Queued input canceled by operator.",
        turn_id=turn_id,
        now=now,
        evidence=queue_evidence(entry),
    )
    result = SendPromptResult(
        status="canceled",
        mode=entry.mode,
        queue_entry_id=entry.id,
        queue_generation=entry.session_generation,
    )
    change = Commit((note,), changes, durable=True, deliver=False)
    return state, carried_out(change, input.ask, result)


def interrupt_timed_out(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """The running turn did not end in time for the prompt that interrupts it (02 7.4)."""
    waiting = state.replacement
    if waiting is None:
        return state, ()
    error = TimeoutError(f'session "{state.id}": wait for prompt interrupt: deadline exceeded')
    return replace(state, replacement=None, replaced=0), (Refuse(waiting.ask, error),)


def _queue(state: SessionState, input: PromptSubmitted, message: str, now: datetime) -> Step:
    state, turn_id = _current_or_fresh(state)
    try:
        text = busy_input.check_text(message, state.busy_input.max_text_bytes)
        state, entry = busy_input.new_entry(state, text, BusyInputMode.QUEUE, now)
        queue, entry, position = busy_input.enqueue(state.queue, entry, state.busy_input.queue_cap)
    except SessionValueError as error:
        return state, refuse(input.ask, error)
    except CallerError as error:
        note = marker(
            MarkerKind.PROMPT_DROPPED,
            "Queued input rejected because the session input queue is full.",
            turn_id=turn_id,
            now=now,
            evidence={
                "queue_generation": state.queue.generation,
                "queue_cap": state.busy_input.queue_cap,
            },
        )
        return state, (Commit((note,), deliver=False), *refuse(input.ask, error))
    note = marker(
        MarkerKind.PROMPT_QUEUED,
        "Input queued while the session is busy.",
        turn_id=turn_id,
        now=now,
        evidence=queue_evidence(entry, position),
    )
    result = SendPromptResult(
        status="queued",
        mode=BusyInputMode.QUEUE,
        queued=True,
        queue_entry_id=entry.id,
        queue_position=position,
        queue_generation=entry.session_generation,
    )
    change = Commit((note,), (busy_input.put(entry),), durable=True, deliver=False)
    return replace(state, queue=queue), carried_out(change, input.ask, result)


def _stage(state: SessionState, ask: int, message: str, now: datetime) -> Step:
    try:
        text = busy_input.check_text(message, state.busy_input.max_text_bytes)
    except SessionValueError as error:
        return state, refuse(ask, error)
    state, turn_id = _current_or_fresh(state)
    state, entry = busy_input.new_entry(state, text, BusyInputMode.STEER, now)
    (queue, changes), entry = busy_input.stage(state.queue, entry, now)
    note = marker(
        MarkerKind.PROMPT_STEERED,
        "Steering input staged while the session is busy.",
        turn_id=turn_id,
        now=now,
        evidence=queue_evidence(entry),
    )
    result = SendPromptResult(
        status="staged",
        mode=BusyInputMode.STEER,
        staged=True,
        queue_entry_id=entry.id,
        queue_generation=entry.session_generation,
        fallback_mode_if_no_tool_result=BusyInputMode.QUEUE,
    )
    change = Commit((note,), changes, durable=True, deliver=False)
    return replace(state, queue=queue), carried_out(change, ask, result)


def _interrupt_and_replace(state: SessionState, input: PromptSubmitted, now: datetime) -> Step:
    """The prompt owns the session from here on: nothing else starts before it (02 7.4)."""
    previous = state.turn.turn_id if state.turn else state.replaced_turn_id
    if not input.turn_id.strip():
        state, fresh = mint(state, TURN_PREFIX)
        input = replace(input, turn_id=fresh)
    state, dropped = _drop_replacement(state, "replaced by a later interrupt")
    summary = "Prompt interrupted and replaced by operator input."
    state, fenced, cancelling, cancelled = _fence(
        state, now, summary, {"new_turn_id": input.turn_id}
    )
    state = replace(state, replacement=input, replaced=cancelled, replaced_turn_id=previous)
    return state, (*dropped, fenced, *cancelling, arm_interrupt(state))


def _drop_replacement(state: SessionState, why: str) -> Step:
    waiting = state.replacement
    if waiting is None:
        return state, ()
    error = PromptInProgressError(
        f'prompt: session "{state.id}": {why} before it started', session_id=state.id
    )
    return replace(state, replacement=None, replaced=0), (Refuse(waiting.ask, error),)


def _fence(
    state: SessionState, now: datetime, summary: str, evidence: dict[str, Any]
) -> tuple[SessionState, Commit, Effects, int]:
    """Advance the generation, cancel older entries and the running turn, and mark it."""
    (queue, changes), cancelled = busy_input.fence(state.queue, now)
    state, turn_id = _current_or_fresh(replace(state, queue=queue))
    told = {name: value for name, value in evidence.items() if value}
    note = marker(
        MarkerKind.PROMPT_INTERRUPTED,
        summary,
        turn_id=turn_id,
        now=now,
        evidence={
            "queue_generation": queue.generation,
            "canceled_queue_entries": cancelled,
            **told,
        },
    )
    fenced = Commit((note,), changes, durable=True, deliver=False)
    cancelling: Effects = ()
    if state.turn is not None:
        state, cancelling = _cancel_turn(state, state.turn)
    return state, fenced, cancelling, cancelled


def _cancel_turn(state: SessionState, turn: Turn) -> Step:
    """Once the driver has the prompt the agent is told; before, the turn's context ends."""
    before = turn.phase is TurnPhase.SETUP
    state = replace(state, turn=replace(turn, cancel_requested=True))
    return state, (CancelPrompt(turn.turn_id, before_start=before),)


def _current_or_fresh(state: SessionState) -> tuple[SessionState, str]:
    """The turn a marker belongs to: the current one, else a fresh id (02 13)."""
    if state.turn is not None:
        return state, state.turn.turn_id
    return mint(state, TURN_PREFIX)
