"""What callers ask of a session: prompt, queue, steer, interrupt (02 7).

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
from .cancelling import cancel_turn, drop_replacement
from .effects import (
    Commit,
    Effects,
    Refuse,
    carried_out,
    refuse,
)
from .inputs import (
    InterruptRequested,
    PromptSubmitted,
    QueuedPromptCancelRequested,
    SteerRequested,
    TimerFired,
)
from .markers import marker, queue_evidence
from .state import SessionState, mint
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
    if not state.is_busy and not (state.settling and input.mode and state.queue.entries):
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
    state, dropped = drop_replacement(state, "interrupted")
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
    state, dropped = drop_replacement(state, "replaced by a later interrupt")
    state = replace(
        state,
        replacement=input,
        replaced=len(state.queue.entries),
        replaced_turn_id=previous,
    )
    summary = "Prompt interrupted and replaced by operator input."
    state, fenced, cancelling, _ = _fence(state, now, summary, {"new_turn_id": input.turn_id})
    armed = (arm_interrupt(state),) if state.replacement is not None else ()
    return state, (*dropped, fenced, *cancelling, *armed)


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
        state, cancelling = cancel_turn(state, state.turn, now)
    return state, fenced, cancelling, cancelled


def _current_or_fresh(state: SessionState) -> tuple[SessionState, str]:
    """The turn a marker belongs to: the current one, else a fresh id (02 13)."""
    if state.turn is not None:
        return state, state.turn.turn_id
    return mint(state, TURN_PREFIX)
