"""Stops: what ``session.pre_stop`` says, the first cause, and the agent that must end (01 9.4).

===========  =====================================  ===========================================
state        a stop                                 then
===========  =====================================  ===========================================
starting     is refused, unless the agent restarts  (a restart is given up, the session ends)
active       asks ``session.pre_stop``, if heard    ``stopping``; a prompt the driver is taking
                                                    is waited for, then the agent is stopped
stopping     is one more that waits                 the agent is stopped again
finalizing   is one more that waits
===========  =====================================  ===========================================
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..model.hooks import HookEvent
from ..model.session import State, StopCause
from ..model.settings import LIFECYCLE_TIMEOUT
from . import comeback
from .admission import turn_away
from .effects import (
    ArmTimer,
    DispatchHook,
    Effect,
    Refuse,
    Report,
    RequestStop,
    StopAgent,
    WriteMeta,
    refuse,
    reply,
)
from .finalizing import finalize
from .hooking import session_payload
from .host_inputs import HookDispatched
from .inputs import AgentStopFailed, StopDelivered, StopRequested, TimerFired
from .state import SessionState, TurnPhase, transition, with_meta
from .stop import merge_cause
from .turn import SETUP_TIMER, Step, not_active

STOP_KEY = "stop"
"""Names the answer of ``session.pre_stop`` that stops wait for."""
STOP_TIMER = "stop"
"""Between two attempts to stop an agent that stalled or is dying (02 11.3, 12.5)."""
STOP_RETRY_S = LIFECYCLE_TIMEOUT
UNDENIED_KEY = "undenied-stop"
"""Names the one nobody waits for: that stop can not be denied."""


def stop_requested(state: SessionState, input: StopRequested, now: datetime) -> Step:
    """Stop with a cause, once the host has nothing against it."""
    if state.meta.state is State.STARTING and not state.restarting:
        return state, refuse(input.ask, not_active(state, "stop"))
    heard = HookEvent.SESSION_PRE_STOP in state.hooks
    if not heard or state.meta.state is not State.ACTIVE or state.exit is not None:
        return stop_now(state, input, now)
    payload = session_payload(HookEvent.SESSION_PRE_STOP, state.meta, state.workspace, now)
    if not input.deniable:
        state, effects = stop_now(state, input, now)
        return state, (DispatchHook(UNDENIED_KEY, payload), *effects)
    first = not state.stop_gate
    state = replace(state, stop_gate=(*state.stop_gate, input))
    return state, (DispatchHook(STOP_KEY, payload),) if first else ()


def pre_stop_answered(state: SessionState, input: HookDispatched, now: datetime) -> Step:
    """The host allows the stops that wait, in their order, or refuses them all."""
    if input.key == UNDENIED_KEY:
        told = f"{input.payload.event}: {input.error}" if input.error else ""
        return state, (Report("warning", told),) if told else ()
    gated, state = state.stop_gate, replace(state, stop_gate=())
    if input.error is not None:
        refused = tuple(Refuse(stop.ask, input.error) for stop in gated if stop.ask)
        return state, refused
    name = input.payload.session_name.strip()
    if gated and name and name != state.meta.name:
        state = with_meta(state, now, name=name)
    effects: list[Effect] = []
    for stop in gated:
        state, stopping = stop_now(state, stop, now)
        effects.extend(stopping)
    return state, tuple(effects)


def stop_now(state: SessionState, input: StopRequested, now: datetime) -> Step:
    """The first cause wins, every caller is answered at the end (01 9.2, 9.4)."""
    cause = StopCause.USER_REQUESTED if input.cause is StopCause.NONE else input.cause
    waits = bool(input.ask) and not input.cooperative
    asks = (*state.stop_asks, input.ask) if waits else state.stop_asks
    if state.meta.state is State.STOPPED:
        return state, reply(input.ask)
    if state.finalizing:
        return replace(state, stop_asks=asks), () if waits else reply(input.ask)
    if state.restarting:
        state, abandoned = comeback.abandon(
            replace(state, stop_asks=asks, stop_cause=cause, stop_detail=input.detail)
        )
        state, finalizing = finalize(state, now)
        return state, (*abandoned, *finalizing, *(() if waits else reply(input.ask)))
    if state.comeback is not None:
        # The agent was to come back; its last words are still waited for (01 9.6).
        state = replace(state, comeback=None, cut=None, stop_cause=cause, stop_detail=input.detail)
    elif state.exit is None:
        merged = merge_cause(state.stop_cause, state.stop_detail, cause, input.detail)
        state = replace(state, stop_cause=merged[0], stop_detail=merged[1])
    state, effects = enter_stopping(replace(state, stop_asks=asks), now)
    if state.exit is not None:
        return state, (*effects, *(() if waits else reply(input.ask)))
    if input.cooperative:
        return state, (*effects, RequestStop(input.ask))
    state, stopping = _stop_agent(state, StopAgent(cause, input.deadline_s))
    return state, (*effects, *stopping)


def stop_delivered(state: SessionState, input: StopDelivered, now: datetime) -> Step:
    """The agent was asked to end; the session stops when it has, or when a stop follows."""
    if input.error is not None and state.exit is None:
        return state, refuse(input.ask, input.error)
    if state.exit is not None and not _is_over(state):
        return replace(state, stop_asks=(*state.stop_asks, input.ask)), ()
    return state, reply(input.ask)


def agent_stop_failed(state: SessionState, input: AgentStopFailed, now: datetime) -> Step:
    """The agent lives on: the callers are told, the session stays stopping, a stop may retry."""
    if state.finalizing or state.exit is not None:
        return state, ()
    refusals = tuple(Refuse(ask, input.error) for ask in state.stop_asks)
    mandatory = bool(state.stalled or state.dying)
    again = (ArmTimer(STOP_TIMER, STOP_RETRY_S),) if mandatory else ()
    return replace(state, stop_asks=()), (*refusals, *again)


def stop_again(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """Nobody can use an agent that stalled or is dying: it is stopped until it is gone."""
    if state.finalizing or state.exit is not None or not (state.stalled or state.dying):
        return state, ()
    return state, (StopAgent(state.stop_cause, STOP_RETRY_S),)


def enter_stopping(state: SessionState, now: datetime) -> Step:
    """Enter ``stopping`` and turn away whoever waits to start a turn."""
    effects: list[Effect] = []
    if state.meta.state is State.ACTIVE:
        state = transition(state, State.STOPPING, now)
        effects.append(WriteMeta(state.meta))
    if state.replacement is not None:
        effects.append(Refuse(state.replacement.ask, not_active(state, "prompt")))
        state = replace(state, replacement=None, replaced=0)
    state, away = turn_away_unsent(state, now)
    return state, (*effects, *away)


def turn_away_unsent(state: SessionState, now: datetime) -> Step:
    """A prompt of which nothing is stored yet is not begun any more."""
    turn = state.turn
    if turn is None or turn.phase is not TurnPhase.ADMITTING:
        return state, ()
    return turn_away(state, turn, not_active(state, "prompt"), now)


def _stop_agent(state: SessionState, stop: StopAgent) -> Step:
    """A stop does not overtake a prompt that the driver is just taking (02 3)."""
    taking = state.turn is not None and state.turn.phase is TurnPhase.SETUP
    if not taking:
        return state, (stop,)
    wait_s = min(LIFECYCLE_TIMEOUT, stop.deadline_s or LIFECYCLE_TIMEOUT)
    return replace(state, held_stop=stop), (ArmTimer(SETUP_TIMER, wait_s),)


def _is_over(state: SessionState) -> bool:
    return state.meta.state is State.STOPPED
