"""The health row of a session: whether it lives and may be woken (05 2.1, 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ..errors import InvalidSessionHealthError


class SessionHealthState(StrEnum):
    """What a session is doing, as far as its health goes."""

    IDLE = "idle"
    PROMPTING = "prompting"
    STOPPED = "stopped"
    DETACHED = "detached"


class SessionHealthStatus(StrEnum):
    """How it is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    STALE = "stale"
    DEAD = "dead"
    UNKNOWN = "unknown"


class IneligibilityReason(StrEnum):
    """Why a session can not be woken; a closed set, and blank is none."""

    NONE = ""
    PROMPT_ACTIVE = "session_prompt_active"
    NOT_ATTACHABLE = "session_not_attachable"
    UNHEALTHY = "session_unhealthy"
    STALE = "session_health_stale"
    HUNG = "session_health_hung"
    DEAD = "session_health_dead"
    UNKNOWN = "session_health_unknown"


@dataclass(frozen=True, slots=True)
class SessionHealth:
    """One row; :meth:`validate` before it is stored."""

    session_id: str
    workspace_id: str
    agent_name: str
    state: SessionHealthState
    health: SessionHealthStatus
    active_prompt: bool = False
    attachable: bool = False
    eligible_for_wake: bool = False
    ineligibility_reason: IneligibilityReason = IneligibilityReason.NONE
    last_activity_at: datetime | None = None
    last_presence_at: datetime | None = None
    last_error: str = ""
    updated_at: datetime | None = None

    def validate(self) -> SessionHealth:
        """The row itself, if it may be stored (05 2.2).

        :raises InvalidSessionHealthError: the first member that is wrong, in their order.
        """
        for field in ("session_id", "workspace_id", "agent_name"):
            if not getattr(self, field).strip():
                raise _invalid(self.session_id, field, "is required")
        _check_member(self.session_id, "state", self.state, SessionHealthState)
        _check_member(self.session_id, "health", self.health, SessionHealthStatus)
        reason = self.ineligibility_reason
        _check_member(self.session_id, "ineligibility_reason", reason, IneligibilityReason)
        if self.updated_at is None:
            raise _invalid(self.session_id, "updated_at", "is required")
        return self


@dataclass(frozen=True, slots=True)
class SessionHealthListQuery:
    """Which rows to list; blank and ``None`` are any, conditions are ANDed (05 2.2).

    :param limit: most rows; 0 is all.
    :raises InvalidSessionHealthError: an unknown state or health, or a negative limit.
    """

    workspace_id: str = ""
    agent_name: str = ""
    session_id: str = ""
    state: str = ""
    health: str = ""
    eligible_for_wake: bool | None = None
    limit: int = 0

    def __post_init__(self) -> None:
        if self.state:
            _check_member(self.session_id, "state", self.state, SessionHealthState)
        if self.health:
            _check_member(self.session_id, "health", self.health, SessionHealthStatus)
        if self.limit < 0:
            raise _invalid(self.session_id, "limit", f"{self.limit} is negative")

    def matches(self, row: SessionHealth) -> bool:
        """Whether a row is one of those asked for; the limit is the lister's."""
        texts = ("workspace_id", "agent_name", "session_id", "state", "health")
        for name in texts:
            wanted = getattr(self, name)
            if wanted and wanted != getattr(row, name):
                return False
        return self.eligible_for_wake in (None, row.eligible_for_wake)


@dataclass(frozen=True, slots=True)
class HealthRecoveryResult:
    """What ``recover_session_health`` (05 2.7) did."""

    refreshed_active: int = 0
    recomputed: int = 0
    marked_stale: int = 0


def _check_member(session_id: str, field: str, value: str, members: type[StrEnum]) -> None:
    if value not in set(members):
        raise _invalid(session_id, field, f'"{value}" is unknown')


def _invalid(session_id: str, field: str, why: str) -> InvalidSessionHealthError:
    return InvalidSessionHealthError(
        f'session health of "{session_id}": {field} {why}', session_id=session_id, field=field
    )
