"""What the health row of a session says, computed from what is known of it (05 2.3, 2.4).

=============  =======================  ======================================
info           state                    health
=============  =======================  ======================================
none           detached                 unknown
stopped        stopped                  dead
active         prompting with a prompt  degraded when stalled, else healthy
active         detached, if not         (the same)
               attachable
active         idle                     (the same)
anything else  detached                 degraded when stalled, else unknown
=============  =======================  ======================================

The first row of ``ELIGIBILITY`` that holds makes a session ineligible for wake, and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from ..model.failure import FAILURE_SUMMARY_BYTES_MAX, bound_text
from ..model.health import (
    IneligibilityReason,
    SessionHealth,
    SessionHealthState,
    SessionHealthStatus,
)
from ..model.session import SessionInfo, StallState, State


@dataclass(frozen=True, slots=True)
class HealthInputs:
    """What a writer of a row knows (05 2.4).

    :param attachable: active, with a process handle whose process has not exited.
    :param activity_at: of the last real activity, if the writer saw one.
    :param last_error: redacted; blank keeps the previous one until the session is healthy.
    """

    active_prompt: bool = False
    attachable: bool = False
    touch_presence: bool = False
    activity_at: datetime | None = None
    last_error: str = ""


ELIGIBILITY: tuple[tuple[Callable[[SessionHealth], bool], IneligibilityReason], ...] = (
    (lambda row: row.health == SessionHealthStatus.STALE, IneligibilityReason.STALE),
    (lambda row: row.health == SessionHealthStatus.DEAD, IneligibilityReason.DEAD),
    (lambda row: row.health == SessionHealthStatus.UNKNOWN, IneligibilityReason.UNKNOWN),
    (lambda row: row.health == SessionHealthStatus.DEGRADED, IneligibilityReason.HUNG),
    (
        lambda row: row.active_prompt or row.state == SessionHealthState.PROMPTING,
        IneligibilityReason.PROMPT_ACTIVE,
    ),
    (
        lambda row: not row.attachable or row.state == SessionHealthState.DETACHED,
        IneligibilityReason.NOT_ATTACHABLE,
    ),
    (lambda row: row.state != SessionHealthState.IDLE, IneligibilityReason.UNHEALTHY),
)


def compute_health(
    info: SessionInfo | None,
    previous: SessionHealth | None,
    now: datetime,
    inputs: HealthInputs,
    *,
    session_id: str = "",
) -> SessionHealth:
    """The row of a session (05 2.3).

    :param info: its snapshot; ``None`` when nothing of it is left but the previous row.
    :param now: UTC; ``updated_at`` never goes back behind the previous row's.
    :param session_id: needed only when there is neither info nor a previous row.
    """
    health = _health(info)
    error = inputs.last_error
    if not error and previous is not None and health is not SessionHealthStatus.HEALTHY:
        error = previous.last_error
    row = SessionHealth(
        session_id=info.id if info else previous.session_id if previous else session_id,
        workspace_id=info.workspace_id if info else previous.workspace_id if previous else "",
        agent_name=info.agent_name if info else previous.agent_name if previous else "",
        state=_state(info, inputs),
        health=health,
        active_prompt=inputs.active_prompt,
        attachable=inputs.attachable,
        last_activity_at=inputs.activity_at or _seen(info) or _of(previous, "last_activity_at"),
        last_presence_at=now if inputs.touch_presence else _of(previous, "last_presence_at"),
        last_error=bound_text(error, FAILURE_SUMMARY_BYTES_MAX),
        updated_at=max(now, _of(previous, "updated_at") or now),
    )
    return with_eligibility(row)


def with_eligibility(row: SessionHealth) -> SessionHealth:
    """The row with its two eligibility members set by the table (05 2.3)."""
    held = (reason for holds, reason in ELIGIBILITY if holds(row))
    reason = next(held, IneligibilityReason.NONE)
    return replace(row, ineligibility_reason=reason, eligible_for_wake=not reason)


def is_changed(before: SessionHealth | None, after: SessionHealth) -> bool:
    """Whether the health hook is told of a new row (05 2.9)."""
    if before is None:
        return True
    watched = ("state", "health", "eligible_for_wake", "ineligibility_reason")
    return any(getattr(before, name) != getattr(after, name) for name in watched)


def _state(info: SessionInfo | None, inputs: HealthInputs) -> SessionHealthState:
    if info is not None and info.state is State.STOPPED:
        return SessionHealthState.STOPPED
    if info is None or info.state is not State.ACTIVE:
        return SessionHealthState.DETACHED
    if inputs.active_prompt:
        return SessionHealthState.PROMPTING
    return SessionHealthState.IDLE if inputs.attachable else SessionHealthState.DETACHED


def _health(info: SessionInfo | None) -> SessionHealthStatus:
    if info is None:
        return SessionHealthStatus.UNKNOWN
    if info.state is State.STOPPED:
        return SessionHealthStatus.DEAD
    if info.liveness is not None and info.liveness.stall_state is StallState.STALLED:
        return SessionHealthStatus.DEGRADED
    return (
        SessionHealthStatus.HEALTHY if info.state is State.ACTIVE else SessionHealthStatus.UNKNOWN
    )


def _seen(info: SessionInfo | None) -> datetime | None:
    activity = getattr(info.liveness, "activity", None) if info else None
    seen: datetime | None = activity.last_activity_at if activity else None
    return seen


def _of(previous: SessionHealth | None, name: str) -> datetime | None:
    moment: datetime | None = getattr(previous, name, None)
    return moment
