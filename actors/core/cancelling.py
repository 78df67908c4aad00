"""Turns that end early: who cancels one, what the agent is told, and the marker of it (02 11.1).

==============  ==========================================
phase           a cancel
==============  ==========================================
``admitting``   takes the prompt back; nothing is stored
``setup``       ends the turn's context at once
later           asks the agent to end its turn
==============  ==========================================
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..errors import PromptInProgressError
from ..model.marker import MarkerKind
from . import host_permissions
from .admission import canceled
from .effects import CancelPrompt, Commit, Refuse, Report, refuse, reply
from .inputs import CancelRequested, CancelSettled, PromptAbandoned
from .markers import marker
from .state import SessionState, Turn, TurnPhase
from .turn import Step, give_up


def cancel(state: SessionState, input: CancelRequested, now: datetime) -> Step:
    """Cancel the running turn; a session that is not prompting is left alone (02 11.1).

    The caller is answered once the driver has delivered it; before the driver has the prompt, at
    once.
    """
    turn = state.turn
    if turn is None:
        return state, reply(input.ask)
    if turn.phase in (TurnPhase.STREAMING, TurnPhase.ENDING):
        state = replace(state, turn=replace(turn, cancel_requested=True))
        state, unwanted = host_permissions.turn_ended(state, turn.turn_id, now)
        return state, (CancelPrompt(turn.turn_id, input.ask), *unwanted)
    state, marked = mark_cancel(state, turn.turn_id, now)
    state, effects = cancel_turn(state, turn, now)
    return state, (*marked, *effects, *reply(input.ask))


def abandoned(state: SessionState, input: PromptAbandoned, now: datetime) -> Step:
    """The caller left: a prompt the agent does not have yet is taken back (02 3)."""
    waiting, turn = state.replacement, state.turn
    if waiting is not None and waiting.ask == input.asked:
        return drop_replacement(state, "its caller left")
    if turn is None or turn.ask != input.asked:
        return state, ()
    return cancel_turn(state, turn, now)


def cancel_settled(state: SessionState, input: CancelSettled, now: datetime) -> Step:
    """The cancel was delivered: marked once per turn, for whoever asked for it (02 11.1)."""
    if input.error is not None:
        told = Report("warning", f"cancel of {input.turn_id} failed: {input.error}")
        return state, (*refuse(input.ask, input.error), told)
    if not input.ask or state.finalizing:
        # After the last row of the session there is nothing to mark any more.
        return state, reply(input.ask)
    state, marked = mark_cancel(state, input.turn_id, now)
    return state, (*marked, *reply(input.ask))


def mark_cancel(
    state: SessionState, turn_id: str, now: datetime, source: str = "cancel_prompt"
) -> Step:
    """The marker of a cancelled turn, once per turn; ``source`` is who cancelled it (02 13)."""
    if state.cancel_marked == turn_id:
        return state, ()
    note = marker(
        MarkerKind.PROMPT_CANCEL,
        "Prompt canceled by operator.",
        turn_id=turn_id,
        now=now,
        evidence={"source": source},
    )
    return replace(state, cancel_marked=turn_id), (Commit((note,), deliver=False),)


def cancel_turn(state: SessionState, turn: Turn, now: datetime) -> Step:
    """End a turn early: take it back, end its context, or tell the agent, by its phase."""
    if turn.phase is TurnPhase.ADMITTING:
        return give_up(state, turn, canceled(state, "canceled before it was stored"), now)
    before = turn.phase is TurnPhase.SETUP
    state = replace(state, turn=replace(turn, cancel_requested=True))
    state, unwanted = host_permissions.turn_ended(state, turn.turn_id, now)
    return state, (CancelPrompt(turn.turn_id, before_start=before), *unwanted)


def drop_replacement(state: SessionState, why: str) -> Step:
    """The prompt that was to take the turn over does not."""
    waiting = state.replacement
    if waiting is None:
        return state, ()
    error = PromptInProgressError(
        f'prompt: session "{state.id}": {why} before it started', session_id=state.id
    )
    return replace(state, replacement=None, replaced=0), (Refuse(waiting.ask, error),)
