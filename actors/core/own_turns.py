"""Turns that the agent opens itself (07 4.9), and what it does beside them (07 4.6, 4.10).

Such a turn is the session's turn like any other when the session has none: it can be cancelled, it
is watched, and what is queued waits for its end. Has the session a turn already, its events are
recorded under its own id all the same, and it becomes the session's turn when that one is over. A
prompt that is just being taken waits in the driver.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from ..model.event import AgentEvent
from ..model.prompt_meta import PromptMeta, PromptSyntheticMeta
from ..model.turn import TurnSource
from . import watching
from .prompt_meta import enriched
from .state import OwnTurn, SessionState, Turn, TurnPhase
from .watching import Step
from .work_inputs import AgentTurnOpened, AgentWorkChanged

AGENT_INITIATED = "agent_initiated"
"""The reason of such a turn."""
BLOCKED = "blocked"
META = PromptMeta(TurnSource.SYNTHETIC, synthetic=PromptSyntheticMeta(reason=AGENT_INITIATED))


def opened(state: SessionState, input: AgentTurnOpened, now: datetime) -> Step:
    """The agent began to work by itself."""
    own = OwnTurn(input.turn_id, input.at_s)
    return promote(replace(state, own_turns=(*state.own_turns, own)), now)


def promote(state: SessionState, now: datetime) -> Step:
    """Make the one that still goes on the session's turn, if there is none."""
    if not state.takes_input or state.turn is not None or state.settling:
        return state, ()
    going_on = [own for own in state.own_turns if not own.ended]
    if not going_on:
        return state, ()
    own = going_on[0]
    turn = Turn(own.turn_id, TurnSource.SYNTHETIC, phase=TurnPhase.STREAMING, meta=META)
    return watching.begin(replace(closed(state, own.turn_id), turn=turn), turn, now, own.opened_s)


def recorded_beside(
    state: SessionState, turn_id: str, events: Iterable[AgentEvent]
) -> tuple[SessionState, list[AgentEvent]]:
    """What is to be recorded of a turn beside the session's: nothing after its terminal event."""
    own = next((o for o in state.own_turns if o.turn_id == turn_id and not o.ended), None)
    if own is None:
        return state, []
    kept: list[AgentEvent] = []
    for event in events:
        kept.append(enriched(event, META))
        if event.is_terminal:
            break
    now = replace(own, ended=bool(kept) and kept[-1].is_terminal)
    turns = tuple(now if other is own else other for other in state.own_turns)
    return replace(state, own_turns=turns), kept


def is_open(state: SessionState, turn_id: str) -> bool:
    """Whether that turn goes on beside the session's."""
    return any(own.turn_id == turn_id for own in state.own_turns)


def waits(state: SessionState) -> bool:
    """Whether the agent works by itself, so that whatever waits has to wait on."""
    return any(not own.ended for own in state.own_turns)


def closed(state: SessionState, turn_id: str) -> SessionState:
    """The stream of one ended, or it became the session's."""
    left = tuple(own for own in state.own_turns if own.turn_id != turn_id)
    return state if left == state.own_turns else replace(state, own_turns=left)


def work_changed(state: SessionState, input: AgentWorkChanged, now: datetime) -> Step:
    """What the agent does has changed; while it waits for its user its silence is none."""
    blocked = input.state == BLOCKED
    state = replace(state, blocked=blocked, background=input.background)
    return watching.work_changed(state, blocked, now, input.at_s)
