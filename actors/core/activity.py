"""What supervision knows of a turn, what it may want, and how it says it (02 12.2, 12.3).

Idle and elapsed times come from the caller's monotonic seconds; the times of day are for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from ..errors import SessionValueError
from ..model.activity import PROMPT_STARTED, ProcessHealth, SessionActivityMeta, StallReason
from ..model.event import AgentEvent, EventType
from ..model.failure import FAILURE_SUMMARY_BYTES_MAX, bound_text
from ..model.runs import TextRun, runs_of
from ..model.settings import SessionSupervisionConfig
from .redaction import Redactor

ACTIVITY_DETAIL_CHARS_MAX = 512
"""Longest detail kept: it is for one line of a status view."""
PROGRESS_TEXT = "Still working..."
UNHEALTHY_TEXT = "Runtime health check failed; prompt may be stalled."

TOOL_CALL = EventType.TOOL_CALL.value
TOOL_RESULT = EventType.TOOL_RESULT.value
TOOL_TYPES = frozenset({TOOL_CALL, TOOL_RESULT})
RUNTIME_TYPES = frozenset({EventType.RUNTIME_PROGRESS.value, EventType.RUNTIME_WARNING.value})
"""Our own events: they never count as activity."""
TOOL_DETAIL = ("title", "text", "tool_call_id")
OTHER_DETAIL = ("title", "text", "error", "action", "resource")
"""Where the detail of an activity comes from: the first that is not blank."""
POSITIVE_KEYS = ("activity_heartbeat_interval", "timeout_cancel_grace")
"""Settings that can not be switched off."""


class Watch(StrEnum):
    """Where the supervision of a turn is."""

    WATCHING = "watching"
    DEADLINE_TOLD = "deadline_told"
    """The deadline's warning is on its way to the caller; only then the turn is cancelled."""
    CANCELLING = "cancelling"
    """The turn was cancelled and has its grace to end."""
    OVER = "over"


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """The supervision of one turn. Fields in ``_s`` are monotonic seconds."""

    config: SessionSupervisionConfig
    turn_id: str
    turn_source: str
    started_at: datetime
    started_s: float
    last_activity_at: datetime
    last_activity_s: float
    ticked_s: float
    saved_s: float
    dirty: bool = False
    """Whether something is known that was not saved yet."""
    phase: Watch = Watch.WATCHING
    phase_s: float = 0.0
    kind: str = PROMPT_STARTED
    detail: str = "prompt started"
    current_tool: str = ""
    tool_call_id: str = ""
    last_progress_at: datetime | None = None
    last_progress_s: float = 0.0
    iteration_current: int = 0
    iteration_max: int = 0
    warned: bool = False
    blocked: bool = False
    """The agent waits for its user: that is no inactivity of its own (07 4.6)."""
    stall_reason: str = ""
    unhealthy: str = ""
    """What the health monitor says, during an episode."""


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Record, publish and notify an event of ours; ``deliver`` it to the caller's stream too.

    ``is_deadline``: the one warning of a deadline; tell ``deadline_delivered`` when it is out.
    """

    event: AgentEvent
    deliver: bool = True
    is_deadline: bool = False


@dataclass(frozen=True, slots=True)
class SaveActivity:
    """Write ``liveness`` of the metadata and the health row of a prompting session.

    :param last_update_at: of the liveness record.
    :param activity_at: the last real activity, for the health row.
    :param last_error: what the health row says about an unhealthy process.
    """

    activity: SessionActivityMeta
    stall_reason: str
    last_update_at: datetime
    activity_at: datetime
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class ClearActivity:
    """Write metadata without activity and stall, and the health row of an idle session."""

    activity_at: datetime


@dataclass(frozen=True, slots=True)
class CancelTurn:
    """Cancel the turn; it has ``grace_s`` seconds to end."""

    reason: StallReason
    grace_s: float


@dataclass(frozen=True, slots=True)
class StopStalled:
    """The turn did not end: stop the session with cause ``timeout`` and this detail, within
    ``bound_s`` seconds, or restart it if its policy says so (01 9.6)."""

    reason: StallReason
    bound_s: float


Decision = EmitEvent | SaveActivity | ClearActivity | CancelTurn | StopStalled


def resolve_supervision(config: SessionSupervisionConfig) -> SessionSupervisionConfig:
    """The settings as they apply: all zero means all defaults (02 12.1).

    :raises SessionValueError: a value outside its range, named ``session.supervision.<key>``.
    """
    values = {name: getattr(config, name) for name in config.__slots__}
    if not any(values.values()):
        return SessionSupervisionConfig()
    for name, value in values.items():
        if not value >= 0 or (value == 0 and name in POSITIVE_KEYS):
            raise SessionValueError(f"session.supervision.{name}: {value} is not allowed")
    warning, timeout = config.inactivity_warning_after, config.inactivity_timeout
    if 0 < timeout < warning:
        raise SessionValueError(
            f"session.supervision.inactivity_warning_after ({warning}) is longer than "
            f"session.supervision.inactivity_timeout ({timeout})"
        )
    return config


def seen(state: Supervision, events: Sequence[AgentEvent]) -> dict[str, Any]:
    """What a batch of a driver's events changes; nothing if all of them are our own (02 12.2)."""
    changes: dict[str, Any] = {}
    tool, call_id = state.current_tool, state.tool_call_id
    last: AgentEvent | None = None
    for run in runs_of(events):
        event = run.last if isinstance(run, TextRun) else run
        kind = event.type
        if kind in RUNTIME_TYPES:
            continue
        last = event
        if kind == TOOL_CALL:
            kept = tool if event.tool_call_id == call_id else ""
            tool, call_id = event.title or event.resource or kept, event.tool_call_id
        elif kind == TOOL_RESULT:
            tool = call_id = ""
    if last is not None:
        fields = TOOL_DETAIL if last.type in TOOL_TYPES else OTHER_DETAIL
        texts = (getattr(last, name) for name in fields)
        detail = next((text for text in texts if text.strip()), "")
        changes = {
            "kind": str(last.type),
            "detail": bounded_detail(detail),
            "current_tool": tool,
            "tool_call_id": call_id,
        }
    return changes


def bounded_detail(detail: str) -> str:
    """A detail short enough for the metadata."""
    return detail[:ACTIVITY_DETAIL_CHARS_MAX]


def blocked(state: Supervision, is_blocked: bool, now: datetime, at_s: float) -> Supervision:
    """The agent began to wait for its user, or goes on: its idle time begins anew then."""
    if is_blocked:
        return replace(state, blocked=True)
    return replace(state, blocked=False, last_activity_at=now, last_activity_s=at_s, warned=False)


def idle_s(state: Supervision, at_s: float) -> float:
    """Seconds since the last real activity, never negative; none while it waits for its user."""
    return 0.0 if state.blocked else max(0.0, at_s - state.last_activity_s)


def elapsed_s(state: Supervision, at_s: float) -> float:
    """Seconds since the turn began, never negative."""
    return max(0.0, at_s - state.started_s)


def deadline_at(state: Supervision) -> datetime | None:
    """When the prompt must be done, if there is a deadline."""
    if state.config.prompt_deadline <= 0:
        return None
    return state.started_at + timedelta(seconds=state.config.prompt_deadline)


def snapshot(state: Supervision, at_s: float) -> SessionActivityMeta:
    """What is stored as ``liveness.activity``."""
    return SessionActivityMeta(
        turn_id=state.turn_id,
        turn_source=state.turn_source,
        turn_started_at=state.started_at,
        last_activity_at=state.last_activity_at,
        last_activity_kind=state.kind,
        last_activity_detail=state.detail,
        current_tool=state.current_tool,
        tool_call_id=state.tool_call_id,
        last_progress_at=state.last_progress_at,
        iteration_current=state.iteration_current,
        iteration_max=state.iteration_max,
        idle_seconds=int(idle_s(state, at_s)),
    )


def runtime_payload(state: Supervision, at_s: float) -> dict[str, Any]:
    """The member ``runtime`` of an event, empty members left out (03 2.2)."""
    activity = snapshot(state, at_s)
    members: dict[str, Any] = {name: getattr(activity, name) for name in activity.__slots__}
    members["deadline_at"] = deadline_at(state)
    members["elapsed_seconds"] = int(elapsed_s(state, at_s))
    members["elapsed_ms"] = int(elapsed_s(state, at_s) * 1000)
    return {name: value for name, value in members.items() if value}


def progress_text(state: Supervision, at_s: float) -> str:
    """What a progress event says (02 12.3)."""
    minutes = int(elapsed_s(state, at_s) // 60)
    if not minutes:
        return PROGRESS_TEXT
    told = f"{minutes} min elapsed"
    if state.iteration_current and state.iteration_max:
        told += f" - iteration {state.iteration_current}/{state.iteration_max}"
    if state.current_tool:
        return f"{PROGRESS_TEXT} ({told}, running: {state.current_tool})"
    return f"{PROGRESS_TEXT} ({told}, last activity: {state.kind})"


def warning_text(state: Supervision, at_s: float) -> str:
    """What the stale warning says."""
    return f"Runtime activity is stale ({int(idle_s(state, at_s))} seconds idle)."


def timeout_text(state: Supervision, at_s: float) -> str:
    """What the inactivity timeout says."""
    return f"Runtime activity timed out ({int(idle_s(state, at_s))} seconds idle)."


def deadline_text(elapsed_ms: int) -> str:
    """What the deadline's warning says (02 12.6)."""
    return (
        f"Prompt deadline exceeded after {elapsed_ms} ms."
        if elapsed_ms
        else ("Prompt deadline exceeded.")
    )


def unhealthy_text(health: ProcessHealth | None, redactor: Redactor) -> str:
    """What an unhealthy process is reported as; blank when it is healthy or unknown (02 12.4)."""
    if health is None or not health.is_unhealthy:
        return ""
    texts = (UNHEALTHY_TEXT, health.message.strip(), health.last_error.strip())
    told = redactor.redact(" ".join(text for text in texts if text))
    return bound_text(told, FAILURE_SUMMARY_BYTES_MAX)
