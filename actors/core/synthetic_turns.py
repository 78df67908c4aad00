"""Prompts that the daemon made, as turns of the session (02 10).

What waits is decided by ``synthetic.py``; here it becomes turns, streams and refusals.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..errors import CallerError
from ..model.ids import TURN_PREFIX
from . import synthetic
from .cancelling import cancel_turn, mark_cancel
from .effects import DropStream, Effects, Reply, refuse
from .inputs import SyntheticPromptSubmitted
from .state import SessionState, TurnPhase, mint
from .synthetic import Business, Queued, Refused, Submit, SyntheticPrompt
from .turn import Step, begin_synthetic, check_message, not_active


def submit(state: SessionState, input: SyntheticPromptSubmitted, now: datetime) -> Step:
    """Run, queue or refuse a prompt of the daemon; who queues gets a stream at once."""
    try:
        message = check_message(input.message, state.id)
    except CallerError as error:
        return state, refuse(input.ask, error)
    if not state.takes_input and not state.comes_back:
        return state, refuse(input.ask, not_active(state, "prompt_synthetic"))
    turn_id = input.turn_id.strip()
    if not turn_id:
        state, turn_id = mint(state, TURN_PREFIX)
    prompt = SyntheticPrompt(
        turn_id,
        message,
        input.meta,
        input.skip_if_busy,
        input.interrupt_if_agent_waiting,
    )
    queue, decision = synthetic.submitted(
        state.synthetic, prompt, _business(state), session_id=state.id
    )
    state = replace(state, synthetic=queue)
    match decision:
        case Submit():
            return begin_synthetic(state, now, prompt, input.ask)
        case Refused(_, refusal):
            return state, refuse(input.ask, refusal)
        case Queued(_, interrupts):
            opened: Effects = (Reply(input.ask, stream_turn_id=turn_id),)
            if not interrupts or state.turn is None:
                return state, opened
            state, marked = mark_cancel(state, state.turn.turn_id, now, "synthetic")
            turn = state.turn
            state, cancelling = cancel_turn(state, turn, now) if turn else (state, ())
            return state, (*opened, *marked, *cancelling)


def drop_all(state: SessionState, now: datetime) -> Step:
    """The session ends: whoever waits is told on the stream (10.1 step 11)."""
    queue, waiting = synthetic.dropped(state.synthetic)
    gone = not_active(state, "prompt_synthetic")
    told = tuple(
        DropStream(prompt.turn_id, synthetic.drop_event(prompt, gone, now, session_id=state.id))
        for prompt in waiting
    )
    return replace(state, synthetic=queue), told


def _business(state: SessionState) -> Business:
    turn, watch = state.turn, state.watch
    return Business(
        busy=state.is_busy or bool(state.settling) or not state.takes_input,
        past_setup=turn is not None and turn.phase is TurnPhase.STREAMING,
        activity_kind=watch.kind if watch is not None else "",
    )
