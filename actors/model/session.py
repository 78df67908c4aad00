"""Sessions: states, types, stop causes, the stored meta document and the public snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from .activity import SessionActivityMeta
from .agent import Caps
from .failure import SessionFailure
from .restart import RestartPolicy


class State(StrEnum):
    """The life of one incarnation of a session (01 2.3)."""

    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"
    STOPPED = "stopped"


class SessionType(StrEnum):
    """What a session is for (01 2.2); anything unknown reads as ``user``."""

    USER = "user"
    DREAM = "dream"
    SYSTEM = "system"
    COORDINATOR = "coordinator"
    SPAWNED = "spawned"


class StopCause(StrEnum):
    """Why a session was asked to stop, or ended (01 9.1)."""

    NONE = "none"
    COMPLETED = "completed"
    FAILED = "failed"
    USER_REQUESTED = "user_requested"
    SHUTDOWN = "shutdown"
    HOOK_DENIED = "hook_denied"
    PROCESS_EXITED = "process_exited"
    TIMEOUT = "timeout"
    CLEAR_CONVERSATION = "clear_conversation"


class StopReason(StrEnum):
    """What is stored about the end of a session (01 9.3)."""

    COMPLETED = "completed"
    USER_CANCELED = "user_canceled"
    MAX_ITERATIONS = "max_iterations"
    LOOP_DETECTED = "loop_detected"
    TIMEOUT = "timeout"
    BUDGET_EXCEEDED = "budget_exceeded"
    ERROR = "error"
    AGENT_CRASHED = "agent_crashed"
    HOOK_STOPPED = "hook_stopped"
    SHUTDOWN = "shutdown"


class StallState(StrEnum):
    """Whether the agent is known to be stuck (01 3.2)."""

    NONE = ""
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class SessionLivenessMeta:
    """Persisted evidence about the agent process (01 3.2)."""

    subprocess_pid: int = 0
    subprocess_started_at: datetime | None = None
    last_update_at: datetime | None = None
    stall_state: StallState = StallState.NONE
    stall_reason: str = ""
    activity: SessionActivityMeta | None = None


@dataclass(frozen=True, slots=True)
class SessionLineage:
    """Where a session comes from (05 1.7)."""

    root_session_id: str = ""
    parent_session_id: str = ""
    spawn_depth: int = 0


@dataclass(frozen=True, slots=True)
class SessionMeta:
    """The document ``meta.json`` (01 3.1, 3.3). Unknown members are ignored on reading."""

    id: str
    agent_name: str
    workspace_id: str
    state: State
    created_at: datetime
    updated_at: datetime
    name: str = ""
    provider: str = ""
    model: str = ""
    reasoning_effort: str = ""
    effective_permissions: str = ""
    channel: str = ""
    session_type: SessionType = SessionType.USER
    lineage: SessionLineage | None = None
    stop_reason: StopReason | None = None
    stop_detail: str = ""
    failure: SessionFailure | None = None
    acp_session_id: str = ""
    liveness: SessionLivenessMeta | None = None
    restart: RestartPolicy | None = None
    prompt_overlay: str = ""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A snapshot of a session, live or stored (01 3.1)."""

    id: str
    name: str
    agent_name: str
    provider: str
    model: str
    reasoning_effort: str
    workspace_id: str
    workspace: str
    channel: str
    type: SessionType
    lineage: SessionLineage
    state: State
    stop_reason: StopReason | None
    stop_detail: str
    failure: SessionFailure | None
    acp_session_id: str
    acp_caps: Caps = field(default_factory=Caps)
    liveness: SessionLivenessMeta | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
