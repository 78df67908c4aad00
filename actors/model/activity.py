"""What a running turn was last seen doing, and the health a driver reports (01 3.2, 04 10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ..errors import SessionValueError

AGENT_WAITING = "agent_waiting"
"""The kind of a driver's heartbeat: it waits for the agent and saw nothing (02 12.2)."""
PROMPT_STARTED = "prompt_started"


class StallReason(StrEnum):
    """Why a session counts as stalled (05 3.1)."""

    ACTIVITY_TIMEOUT = "activity_timeout"
    PROMPT_DEADLINE = "prompt_deadline_exceeded"
    PROCESS_UNHEALTHY = "process_unhealthy"


@dataclass(frozen=True, slots=True)
class SessionActivityMeta:
    """The document ``liveness.activity`` (01 3.2); absent while no turn runs.

    :raises SessionValueError: a negative counter. Field: ``field``.
    """

    turn_id: str = ""
    turn_source: str = ""
    turn_started_at: datetime | None = None
    last_activity_at: datetime | None = None
    last_activity_kind: str = ""
    last_activity_detail: str = ""
    current_tool: str = ""
    tool_call_id: str = ""
    last_progress_at: datetime | None = None
    iteration_current: int = 0
    iteration_max: int = 0
    idle_seconds: int = 0

    def __post_init__(self) -> None:
        for field in ("iteration_current", "iteration_max", "idle_seconds"):
            if getattr(self, field) < 0:
                raise SessionValueError(f"activity.{field} is negative", field=field)


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """What a driver's monitor knows of an agent process (04 10); never checked is no evidence."""

    healthy: bool = False
    last_checked_at: datetime | None = None
    consecutive_failures: int = 0
    last_error: str = ""
    message: str = ""
    details: str = ""

    @property
    def is_unhealthy(self) -> bool:
        """Whether the monitor says so and has something to show for it."""
        evidence = (
            self.last_checked_at is not None
            or self.consecutive_failures > 0
            or self.last_error.strip()
            or self.message.strip()
            or self.details.strip()
        )
        return not self.healthy and bool(evidence)
