"""Watches one turn: activity, progress, warnings, unhealthy process, timeout, deadline (02 12).

Every function takes the state, the time of day and monotonic seconds, and returns the new state
and decisions, in the order they must take place.

==============  =======================================  =========================================
phase           input                                    goes to
==============  =======================================  =========================================
watching        ``ticked``: idle >= inactivity_timeout   cancelling: stall, marker, warning, cancel
watching        ``ticked``: past the prompt's deadline   deadline_told: stall, marker, warning
watching        ``error_arrived`` at or about a          over: stall, marker, warning; the error
                deadline nobody was told of              itself ends the turn
deadline_told   ``deadline_delivered``, or               cancelling: cancel
                ``DELIVERY_WAIT_S`` passed
cancelling      ``ticked``: the grace passed             over: stop or restart the session
any             the turn ended (``ended``)               activity and stall cleared
==============  =======================================  =========================================

Only a watching supervision takes note of activity: what an agent says while it is being cancelled
is no recovery.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from ..model.activity import AGENT_WAITING, StallReason
from ..model.event import AgentEvent, EventType, RawJSON
from ..model.marker import MarkerKind
from ..model.settings import LIFECYCLE_TIMEOUT, SessionSupervisionConfig
from .activity import (
    CancelTurn,
    ClearActivity,
    Decision,
    EmitEvent,
    SaveActivity,
    StopStalled,
    Supervision,
    Watch,
    bounded_detail,
    deadline_at,
    deadline_text,
    elapsed_s,
    idle_s,
    progress_text,
    runtime_payload,
    seen,
    snapshot,
    timeout_text,
    warning_text,
)
from .markers import marker

SAVE_INTERVAL_S = 5.0
"""Metadata of a busy turn is written at most once in so many seconds: 05 2.5 asks for 0.25 or
more, and each write is two syncs of the disk."""
DELIVERY_WAIT_S = LIFECYCLE_TIMEOUT
"""Longest wait for the deadline's warning to be delivered before the turn is cancelled anyway."""
STOP_BOUND_S = 30.0
"""Bound of a stop when there is no grace."""
TICK_S_MIN = 0.001
"""A timer is never armed for less: what is due is due at the next look."""
DEADLINE_ERROR = "context deadline exceeded"

MARKER_SUMMARIES = {
    MarkerKind.PROMPT_TIMEOUT: "Runtime activity timed out.",
    MarkerKind.SESSION_UNHEALTHY: "Runtime health check failed.",
    MarkerKind.SESSION_RECOVERED: "Runtime activity recovered.",
}
"""What the markers of supervision say (02 13)."""


Step = tuple[Supervision, tuple[Decision, ...]]


def started(
    *,
    turn_id: str,
    turn_source: str,
    config: SessionSupervisionConfig,
    now: datetime,
    at_s: float,
    stall_reason: str = "",
    blocked: bool = False,
) -> Step:
    """A turn begins.

    :param config: resolved (:func:`~.activity.resolve_supervision`).
    :param stall_reason: of a stall that is still on record; the prompt is the sign of recovery.
    :param blocked: whether the agent waits for its user.
    """
    state = Supervision(
        config=config,
        turn_id=turn_id,
        turn_source=turn_source,
        started_at=now,
        started_s=at_s,
        last_activity_at=now,
        last_activity_s=at_s,
        ticked_s=at_s,
        saved_s=at_s,
        stall_reason=stall_reason,
        blocked=blocked,
    )
    state, recovered = _recovered(state, now)
    state, saved = _save(state, now, at_s)
    return state, (*saved, *recovered)


def observed(state: Supervision, events: Sequence[AgentEvent], now: datetime, at_s: float) -> Step:
    """The driver brought events of the turn, all at once or one by one (02 12.2)."""
    if state.phase is not Watch.WATCHING:
        return state, ()
    changes = seen(state, events)
    return _touched(state, changes, now, at_s) if changes else (state, ())


def reported(
    state: Supervision,
    kind: str,
    detail: str,
    now: datetime,
    at_s: float,
    *,
    unhealthy: str = "",
    iteration: tuple[int, int] | None = None,
) -> Step:
    """The driver reports that it waits (also a blank kind), or what the agent does (02 12.2).

    :param unhealthy: :func:`~.activity.unhealthy_text` of the process now.
    :param iteration: current and most, if the driver knows.
    """
    if state.phase is not Watch.WATCHING:
        return state, ()
    changes: dict[str, Any] = {
        "kind": kind.strip() or AGENT_WAITING,
        "detail": bounded_detail(detail),
    }
    if iteration is not None:
        changes["iteration_current"], changes["iteration_max"] = iteration
    if changes["kind"] != AGENT_WAITING:
        return _touched(state, changes, now, at_s)
    state, decisions = _check_health(state, unhealthy, now, at_s)
    if state.unhealthy:
        return state, decisions
    state, saved = _save_later(replace(state, **changes), now, at_s)
    return state, (*decisions, *saved)


def ticked(state: Supervision, now: datetime, at_s: float, *, unhealthy: str = "") -> Step:
    """Time has passed (02 12.3).

    :param unhealthy: :func:`~.activity.unhealthy_text` of the process now.
    """
    state = replace(state, ticked_s=at_s)
    match state.phase:
        case Watch.WATCHING:
            return _watch(state, unhealthy, now, at_s)
        case Watch.DEADLINE_TOLD if at_s - state.phase_s >= DELIVERY_WAIT_S:
            return deadline_delivered(state, at_s)
        case Watch.CANCELLING if at_s - state.phase_s >= state.config.timeout_cancel_grace:
            grace = state.config.timeout_cancel_grace
            bound = max(grace, LIFECYCLE_TIMEOUT) if grace > 0 else STOP_BOUND_S
            stop = StopStalled(StallReason(state.stall_reason), bound)
            return replace(state, phase=Watch.OVER), (stop,)
        case _:
            return state, ()


def deadline_delivered(state: Supervision, at_s: float) -> Step:
    """The caller has the deadline's warning, or nobody reads: now the turn is cancelled."""
    if state.phase is not Watch.DEADLINE_TOLD:
        return state, ()
    return _cancel(state, StallReason.PROMPT_DEADLINE, at_s)


def error_arrived(state: Supervision, event: AgentEvent, now: datetime, at_s: float) -> Step:
    """An ``error`` of the driver is about to be recorded: its deadline is told first (02 12.6)."""
    limit = state.config.prompt_deadline
    if event.type != EventType.ERROR or limit <= 0 or state.phase is not Watch.WATCHING:
        return state, ()
    if elapsed_s(state, at_s) < limit and DEADLINE_ERROR not in f"{event.error} {event.text}":
        return state, ()
    state, decisions = _tell_deadline(state, now, at_s)
    return replace(state, phase=Watch.OVER), decisions


def ended(state: Supervision) -> Step:
    """The turn ended, however (02 12.7)."""
    state = replace(state, phase=Watch.OVER, stall_reason="", unhealthy="", dirty=False)
    return state, (ClearActivity(state.last_activity_at),)


def next_tick_s(state: Supervision, at_s: float) -> float | None:
    """Seconds until :func:`ticked` has something to do; ``None`` when it never has again.

    Activity only moves it later, except that an unsaved snapshot wants to be written soon.
    """
    config = state.config
    match state.phase:
        case Watch.OVER:
            return None
        case Watch.DEADLINE_TOLD:
            due = [state.phase_s + DELIVERY_WAIT_S]
        case Watch.CANCELLING:
            due = [state.phase_s + config.timeout_cancel_grace]
        case _:
            due = [state.ticked_s + config.activity_heartbeat_interval]
            if config.prompt_deadline > 0:
                due.append(state.started_s + config.prompt_deadline)
            if config.inactivity_timeout > 0 and not state.blocked:
                due.append(state.last_activity_s + config.inactivity_timeout)
            if config.inactivity_warning_after > 0 and not (state.warned or state.blocked):
                due.append(state.last_activity_s + config.inactivity_warning_after)
            if config.progress_notify_interval > 0 and not state.unhealthy:
                due.append(_progress_base(state) + config.progress_notify_interval)
            if state.dirty:
                due.append(state.saved_s + SAVE_INTERVAL_S)
    return max(min(due) - at_s, TICK_S_MIN)


def _watch(state: Supervision, unhealthy: str, now: datetime, at_s: float) -> Step:
    config, idle = state.config, idle_s(state, at_s)
    if 0 < config.prompt_deadline <= elapsed_s(state, at_s):
        state, told = _tell_deadline(state, now, at_s)
        return replace(state, phase=Watch.DEADLINE_TOLD, phase_s=at_s), told
    state, decisions = _check_health(state, unhealthy, now, at_s)
    interval = config.progress_notify_interval
    if not state.unhealthy and 0 < interval <= at_s - _progress_base(state):
        state = replace(state, last_progress_at=now, last_progress_s=at_s)
        text = progress_text(state, at_s)
        state, told = _tell(state, EventType.RUNTIME_PROGRESS, text, now, at_s)
        decisions += told
    if not state.warned and 0 < config.inactivity_warning_after <= idle:
        state = replace(state, warned=True, kind="warning", detail="runtime activity is stale")
        text = warning_text(state, at_s)
        state, told = _tell(state, EventType.RUNTIME_WARNING, text, now, at_s)
        decisions += told
    if 0 < config.inactivity_timeout <= idle:
        state, stalled = _stall(
            replace(state, kind="timeout"), StallReason.ACTIVITY_TIMEOUT, now, at_s
        )
        text = timeout_text(state, at_s)
        warning = EmitEvent(_event(state, EventType.RUNTIME_WARNING, text, now, at_s))
        state, cancelled = _cancel(state, StallReason.ACTIVITY_TIMEOUT, at_s)
        return state, (*decisions, *stalled, warning, *cancelled)
    if state.dirty:
        state, saved = _save_later(state, now, at_s)
        decisions += saved
    return state, decisions


def _progress_base(state: Supervision) -> float:
    return state.last_progress_s if state.last_progress_at else state.started_s


def _touched(state: Supervision, changes: dict[str, Any], now: datetime, at_s: float) -> Step:
    # The stall of an unhealthy process stays: only its monitor ends the episode.
    state = replace(state, last_activity_at=now, last_activity_s=at_s, warned=False, **changes)
    return _save_later(state, now, at_s)


def _check_health(state: Supervision, unhealthy: str, now: datetime, at_s: float) -> Step:
    """Once per episode: its begin is told, and its end (02 12.4)."""
    if bool(unhealthy) is bool(state.unhealthy):
        return state, ()
    if not unhealthy:
        state, recovered = _recovered(replace(state, unhealthy=""), now)
        state, saved = _save(state, now, at_s)
        return state, (*saved, *recovered)
    state = replace(state, unhealthy=unhealthy, stall_reason=StallReason.PROCESS_UNHEALTHY)
    state, saved = _save(state, now, at_s)
    note = _marker(state, MarkerKind.SESSION_UNHEALTHY, now)
    warning = EmitEvent(_event(state, EventType.RUNTIME_WARNING, unhealthy, now, at_s))
    return state, (*saved, note, warning)


def _recovered(state: Supervision, now: datetime) -> Step:
    if not state.stall_reason:
        return state, ()
    note = _marker(state, MarkerKind.SESSION_RECOVERED, now)
    return replace(state, stall_reason=""), (note,)


def _tell_deadline(state: Supervision, now: datetime, at_s: float) -> Step:
    state, stalled = _stall(state, StallReason.PROMPT_DEADLINE, now, at_s)
    elapsed_ms = int(elapsed_s(state, at_s) * 1000)
    raw = RawJSON.of({"elapsed_ms": elapsed_ms, "deadline_at": deadline_at(state)})
    event = _event(state, EventType.RUNTIME_WARNING, deadline_text(elapsed_ms), now, at_s)
    return state, (*stalled, EmitEvent(replace(event, raw=raw), is_deadline=True))


def _stall(state: Supervision, reason: StallReason, now: datetime, at_s: float) -> Step:
    state, saved = _save(replace(state, stall_reason=reason), now, at_s)
    return state, (*saved, _marker(state, MarkerKind.PROMPT_TIMEOUT, now))


def _cancel(state: Supervision, reason: StallReason, at_s: float) -> Step:
    state = replace(state, phase=Watch.CANCELLING, phase_s=at_s)
    return state, (CancelTurn(reason, state.config.timeout_cancel_grace),)


def _tell(state: Supervision, kind: EventType, text: str, now: datetime, at_s: float) -> Step:
    state, saved = _save(state, now, at_s)
    return state, (*saved, EmitEvent(_event(state, kind, text, now, at_s)))


def _save_later(state: Supervision, now: datetime, at_s: float) -> Step:
    if at_s - state.saved_s < SAVE_INTERVAL_S:
        return (state if state.dirty else replace(state, dirty=True)), ()
    return _save(state, now, at_s)


def _save(state: Supervision, now: datetime, at_s: float) -> Step:
    state = replace(state, saved_s=at_s, dirty=False)
    kept = SaveActivity(
        activity=snapshot(state, at_s),
        stall_reason=state.stall_reason,
        last_update_at=now if state.stall_reason else state.last_activity_at,
        activity_at=state.last_activity_at,
        last_error=state.unhealthy,
    )
    return state, (kept,)


def _event(
    state: Supervision, kind: EventType, text: str, now: datetime, at_s: float
) -> AgentEvent:
    runtime = runtime_payload(state, at_s)
    return AgentEvent(type=kind, turn_id=state.turn_id, timestamp=now, text=text, runtime=runtime)


def _marker(state: Supervision, kind: MarkerKind, now: datetime) -> EmitEvent:
    evidence = {"stall_reason": str(state.stall_reason)}
    note = marker(kind, MARKER_SUMMARIES[kind], turn_id=state.turn_id, now=now, evidence=evidence)
    return EmitEvent(note, deliver=False)
