"""One turn at a time: started, streaming, closed, and what comes next (02 3-7).

``idle -> admitting -> setup -> streaming -> ending -> idle``: a turn exists from the moment it is
reserved until the driver's stream has closed and its last hook has answered.
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
from ..model.hooks import HookEvent
from ..model.prompt_meta import PromptMeta
from ..model.session import State, StopCause
from ..model.turn import (
    MESSAGE_BYTES_MAX,
    BusyInputMode,
    QueueEntry,
    SendPromptResult,
    TurnSource,
)
from . import admission, busy_input, host_permissions, own_turns, synthetic, watching
from .effects import (
    ArmTimer,
    CancelPrompt,
    CloseStream,
    Commit,
    DisarmTimer,
    Effect,
    Effects,
    NotifyTurnEnd,
    ObserveHook,
    Reply,
    refuse,
)
from .hooking import turn_payload
from .host_inputs import HookDispatched, TurnEndNotified, TurnEndNotifierSet
from .inputs import (
    Ask,
    PromptStarted,
    PromptStartFailed,
    PromptSubmitted,
    TimerFired,
)
from .state import SessionState, Turn, TurnPhase
from .synthetic import SyntheticPrompt

Step = tuple[SessionState, Effects]

INTERRUPT_TIMER = "interrupt"
SETUP_TIMER = "setup"
"""Bounds the wait of a stop for the driver to have taken a prompt."""


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
    """Open a turn for a caller's prompt or for a queued input."""
    turn = Turn(
        turn_id=submitted.turn_id.strip() if submitted else "",
        source=submitted.source if submitted else TurnSource.USER,
        message=message,
        ask=submitted.ask if submitted else 0,
        result=result,
        meta=submitted.meta if submitted else PromptMeta(),
        entry=entry,
    )
    state, effects = admission.admit(state, turn, now)
    return _next_if_idle(state, effects, now)


def begin_synthetic(state: SessionState, now: datetime, prompt: SyntheticPrompt, ask: Ask) -> Step:
    """Open a turn for a prompt of the daemon; without an ask its stream is out already."""
    turn = Turn(
        turn_id=prompt.turn_id,
        source=TurnSource.SYNTHETIC,
        message=prompt.message,
        ask=ask,
        meta=prompt.meta,
    )
    state, effects = admission.admit(state, turn, now)
    return _next_if_idle(state, effects, now)


def hook_answered(state: SessionState, input: HookDispatched, now: datetime) -> Step:
    """A gate of the admission, or the last word on a turn; one of an earlier turn is no news."""
    turn = state.turn
    if turn is None or turn.turn_id != input.key:
        return state, ()
    if input.payload.event is HookEvent.TURN_END:
        turn = replace(turn, end_answered=True)
        state = replace(state, turn=turn)
        return _clear(state, turn, now) if turn.closing else (state, ())
    if turn.phase is not TurnPhase.ADMITTING:
        return state, ()
    if input.error is not None:
        state, effects = admission.turn_away(state, turn, input.error, now)
    else:
        state, effects = admission.answered(state, turn, input.payload, now)
    return _next_if_idle(state, effects, now)


def give_up(state: SessionState, turn: Turn, error: SessionError, now: datetime) -> Step:
    """Take back a prompt of which nothing is stored yet; its hooks answer to nobody."""
    state, effects = admission.turn_away(state, turn, error, now)
    return _next_if_idle(state, effects, now)


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
    state, stopping = release_stop(state)
    return state, (*effects, *watching_it, *stopping)


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
    elif turn.source is TurnSource.SYNTHETIC:
        state, effects = admission.let_go(state, turn, input.error, now)
    refused = refuse(turn.ask, input.error)
    state, stopping = release_stop(state)
    state, closing = close(state, replace(turn, ask=0, terminal=EventType.ERROR), now)
    return state, (*effects, *refused, *stopping, *closing)


def release_stop(state: SessionState) -> Step:
    """The setup of the turn is over: the stop that waited for it goes on."""
    if state.held_stop is None:
        return state, ()
    return replace(state, held_stop=None), (state.held_stop, DisarmTimer(SETUP_TIMER))


def setup_timed_out(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """The driver still takes the prompt: the stop waits no longer."""
    return release_stop(state)


def terminated(state: SessionState, turn: Turn, now: datetime) -> Step:
    """The terminal event is recorded: ``turn.end`` is told of right behind it (02 P12)."""
    if not turn.announced or turn.end_asked:
        return state, ()
    payload = turn_payload(HookEvent.TURN_END, state, turn, now)
    state = replace(state, turn=replace(turn, end_asked=True))
    return state, (ObserveHook(turn.turn_id, payload),)


def close(state: SessionState, turn: Turn, now: datetime, *, waits: bool = True) -> Step:
    """The driver is done with the turn.

    An active session never leaves a turn open-ended: one that ended without a terminal event gets
    an ``error`` (02 3). A requested stop ends it silently (04 4.2). ``turn.end`` is waited for,
    unless the agent is gone and nothing waits any more.
    """
    state, cancelled = host_permissions.turn_ended(state, turn.turn_id, now)
    effects: list[Effect] = list(cancelled)
    stored = turn.phase is not TurnPhase.ADMITTING
    silent = turn.terminal or not stored or state.meta.state is not State.ACTIVE
    if not silent:
        text = "agent ended the turn without an answer"
        event = error_event(state, turn.turn_id, text, FailureKind.PROMPT, now)
        effects.append(Commit((event,), durable=True))
        turn = replace(turn, terminal=EventType.ERROR)
    elif not turn.terminal and stored:
        # The process is gone and nobody asked for it: its exit is the end of this turn too.
        cut = state.exit is not None and state.stop_cause is StopCause.PROCESS_EXITED
        state = replace(state, unended=turn.turn_id if cut else "")
    state, unwatched = watching.end(state, now)
    effects.extend(unwatched)
    turn = replace(turn, phase=TurnPhase.ENDING, closing=True)
    state, told = terminated(replace(state, turn=turn), turn, now)
    effects.extend(told)
    turn = state.turn or turn
    if waits and turn.end_asked and not turn.end_answered:
        return state, tuple(effects)
    state, clearing = _clear(state, turn, now)
    return state, (*effects, *clearing)


def _clear(state: SessionState, turn: Turn, now: datetime) -> Step:
    """End the turn: the host hears of it, its stream closes, and whatever waits is next (02 6)."""
    effects: list[Effect] = list(refuse(turn.ask, not_active(state, "prompt")))
    effects.extend(Reply(ask) for ask, _ in state.approvals)
    queue, _ = synthetic.stream_ended(state.synthetic, turn.turn_id, busy=True)
    state = replace(state, turn=None, last_turn_id=turn.turn_id, approvals=(), synthetic=queue)
    if state.notifies_turn_end:
        effects.append(NotifyTurnEnd(turn.turn_id))
        return replace(state, settling=(*state.settling, turn.turn_id)), tuple(effects)
    effects.append(CloseStream(turn.turn_id))
    return _next_if_idle(state, tuple(effects), now)


def settled(state: SessionState, input: TurnEndNotified, now: datetime) -> Step:
    """The host was told of the end: what it started goes first (02 6)."""
    if input.turn_id not in state.settling:
        return state, ()
    left = tuple(turn_id for turn_id in state.settling if turn_id != input.turn_id)
    state, following = next_input(replace(state, settling=left), now)
    return state, (CloseStream(input.turn_id), *following)


def notifier_set(state: SessionState, input: TurnEndNotifierSet, now: datetime) -> Step:
    """The host installed, replaced or took away its notifier."""
    return replace(state, notifies_turn_end=input.installed), ()


def next_input(state: SessionState, now: datetime) -> Step:
    """Start what waits: the prompt that interrupted, a queued input, the daemon's (02 6).

    All of them wait for the agent, if it works by itself (07 4.9).
    """
    if not state.takes_input or state.turn is not None or state.settling:
        return state, ()
    if own_turns.waits(state):
        return own_turns.promote(state, now)
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
    entry = None if state.held else busy_input.next_entry(state.queue)
    if entry is not None:
        return begin(state, now, entry.text, entry=entry)
    waiting, submit = synthetic.woken(state.synthetic, busy=False)
    if submit is None:
        return state, ()
    return begin_synthetic(replace(state, synthetic=waiting), now, submit.prompt, 0)


def _next_if_idle(state: SessionState, effects: Effects, now: datetime) -> Step:
    state, following = next_input(state, now)
    return state, (*effects, *following)


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
