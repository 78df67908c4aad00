"""One word for the state of a session, and whether somebody may attach to it (01 18).

The first row that holds gives the badge; *over* is a stopped session or health row.

====  ===========================================================  ================
row   holds when                                                   badge
====  ===========================================================  ================
1     over, with a failure other than ``cancellation``             failed
2     over                                                         stopped
3     waits for auth, or an auth or permission failure             waiting-for-auth
4     stalled                                                      hung
5     health ``dead`` or ``stale``, or ``session_health_hung``     hung
6     health ``degraded``, or ``session_unhealthy``                unhealthy
7     starting, stopping or prompting                              running
8     active, or health state ``idle`` or ``detached``             idle
9     anything else                                                unknown
====  ===========================================================  ================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ..model.failure import FailureKind, SessionFailure
from ..model.health import (
    IneligibilityReason,
    SessionHealth,
    SessionHealthState,
    SessionHealthStatus,
)
from ..model.session import SessionInfo, StallState, State


class Badge(StrEnum):
    """What a list of sessions shows of one (01 18.1)."""

    RUNNING = "running"
    IDLE = "idle"
    UNHEALTHY = "unhealthy"
    HUNG = "hung"
    WAITING_FOR_AUTH = "waiting-for-auth"
    STOPPED = "stopped"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BadgeInputs:
    """What a badge is made of; blank is not known."""

    state: str = ""
    health_state: str = ""
    health: str = ""
    failure: SessionFailure | None = None
    pending_auth: bool = False
    active_prompt: bool = False
    stalled: bool = False
    ineligibility_reason: str = ""


AUTH_KINDS = frozenset({FailureKind.PROVIDER_AUTH, FailureKind.PERMISSION})
HUNG_HEALTH = frozenset({SessionHealthStatus.DEAD, SessionHealthStatus.STALE})
CHANGING_STATES = frozenset({State.STARTING, State.STOPPING})
QUIET_HEALTH_STATES = frozenset({SessionHealthState.IDLE, SessionHealthState.DETACHED})


def _is_over(i: BadgeInputs) -> bool:
    return i.state == State.STOPPED or i.health_state == SessionHealthState.STOPPED


def _kind(i: BadgeInputs) -> str:
    return i.failure.kind if i.failure else ""


def _is_prompting(i: BadgeInputs) -> bool:
    return i.active_prompt or i.health_state == SessionHealthState.PROMPTING


ROWS: tuple[tuple[Callable[[BadgeInputs], bool], Badge], ...] = (
    (lambda i: _is_over(i) and _kind(i) not in ("", FailureKind.CANCELLATION), Badge.FAILED),
    (_is_over, Badge.STOPPED),
    (lambda i: i.pending_auth or _kind(i) in AUTH_KINDS, Badge.WAITING_FOR_AUTH),
    (lambda i: i.stalled, Badge.HUNG),
    (
        lambda i: i.health in HUNG_HEALTH or i.ineligibility_reason == IneligibilityReason.HUNG,
        Badge.HUNG,
    ),
    (
        lambda i: (
            i.health == SessionHealthStatus.DEGRADED
            or i.ineligibility_reason == IneligibilityReason.UNHEALTHY
        ),
        Badge.UNHEALTHY,
    ),
    (lambda i: i.state in CHANGING_STATES or _is_prompting(i), Badge.RUNNING),
    (lambda i: i.state == State.ACTIVE or i.health_state in QUIET_HEALTH_STATES, Badge.IDLE),
)
"""One row per line of the table; no row is ``unknown``."""

UNATTACHABLE = frozenset({Badge.HUNG, Badge.FAILED, Badge.STOPPED, Badge.UNKNOWN})


def canonical_badge(inputs: BadgeInputs) -> Badge:
    """The badge of what is known of a session (01 18.1)."""
    return next((badge for holds, badge in ROWS if holds(inputs)), Badge.UNKNOWN)


def badge_for_info(info: SessionInfo | None) -> Badge:
    """The badge of a snapshot, without a health row (01 18.1)."""
    if info is None:
        return Badge.UNKNOWN
    activity = getattr(info.liveness, "activity", None)
    return canonical_badge(
        BadgeInputs(
            state=info.state,
            failure=info.failure,
            active_prompt=activity is not None and bool(activity.turn_id.strip()),
            stalled=is_stalled_info(info),
        )
    )


def badge_for_health(info: SessionInfo | None, health: SessionHealth) -> Badge:
    """The badge of a health row; the snapshot adds state and failure only (01 18.1)."""
    return canonical_badge(
        BadgeInputs(
            state=info.state if info else "",
            failure=info.failure if info else None,
            health_state=health.state,
            health=health.health,
            active_prompt=health.active_prompt,
            ineligibility_reason=health.ineligibility_reason,
        )
    )


def attachable_for_info(info: SessionInfo | None, now: datetime) -> bool:
    """Whether a caller may attach to the session now (01 18.2); not the health row's word.

    :param now: UTC.
    """
    if info is None or info.state is not State.ACTIVE or info.failure is not None:
        return False
    if badge_for_info(info) in UNATTACHABLE or is_stalled_info(info):
        return False
    holder: str = getattr(info, "attached_to", "")
    expires: datetime | None = getattr(info, "attach_expires_at", None)
    return not holder.strip() or expires is None or expires <= now


def is_stalled_info(info: SessionInfo) -> bool:
    """Whether the snapshot says that the agent is stuck."""
    return info.liveness is not None and info.liveness.stall_state is StallState.STALLED
