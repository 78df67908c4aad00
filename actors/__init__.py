"""Actors: the kernel, sessions as actors, and the manager that runs them.

Names are imported when they are first used, so the vocabulary costs no gevent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exports import lazy_names

if TYPE_CHECKING:
    from .errors import (
        AgentError as AgentError,
    )
    from .errors import (
        AgentExitedError as AgentExitedError,
    )
    from .errors import (
        AgentNotAvailableError as AgentNotAvailableError,
    )
    from .errors import (
        AgentStartError as AgentStartError,
    )
    from .errors import (
        CallerError as CallerError,
    )
    from .errors import (
        HomeInUseError as HomeInUseError,
    )
    from .errors import (
        InvalidPermissionDecisionError as InvalidPermissionDecisionError,
    )
    from .errors import (
        MailboxFullError as MailboxFullError,
    )
    from .errors import (
        OperationUnavailableError as OperationUnavailableError,
    )
    from .errors import (
        PendingPermissionConflictError as PendingPermissionConflictError,
    )
    from .errors import (
        PendingPermissionNotFoundError as PendingPermissionNotFoundError,
    )
    from .errors import (
        PromptInProgressError as PromptInProgressError,
    )
    from .errors import (
        PromptNotInProgressError as PromptNotInProgressError,
    )
    from .errors import (
        PromptStreamLaggedError as PromptStreamLaggedError,
    )
    from .errors import (
        SessionError as SessionError,
    )
    from .errors import (
        SessionInputQueueEntryNotFoundError as SessionInputQueueEntryNotFoundError,
    )
    from .errors import (
        SessionInputQueueFullError as SessionInputQueueFullError,
    )
    from .errors import (
        SessionNotActiveError as SessionNotActiveError,
    )
    from .errors import (
        SessionNotFoundError as SessionNotFoundError,
    )
    from .errors import (
        SessionValueError as SessionValueError,
    )
    from .errors import (
        StorageError as StorageError,
    )
    from .errors import (
        WorkspaceNotFoundError as WorkspaceNotFoundError,
    )
    from .errors import (
        WorkspaceRootMissingError as WorkspaceRootMissingError,
    )
    from .errors import (
        error_is as error_is,
    )
    from .manager.handle import (
        Session as Session,
    )
    from .manager.manager import (
        AsyncSessionManager as AsyncSessionManager,
    )
    from .manager.manager import (
        SessionManager as SessionManager,
    )
    from .model.agent import (
        AgentDef as AgentDef,
    )
    from .model.agent import (
        PermissionDecision as PermissionDecision,
    )
    from .model.agent import (
        PermissionMode as PermissionMode,
    )
    from .model.event import (
        EVENT_TYPE_SESSION_STOPPED as EVENT_TYPE_SESSION_STOPPED,
    )
    from .model.event import (
        AgentEvent as AgentEvent,
    )
    from .model.event import (
        EventType as EventType,
    )
    from .model.event import (
        SessionEvent as SessionEvent,
    )
    from .model.failure import (
        FailureKind as FailureKind,
    )
    from .model.failure import (
        SessionFailure as SessionFailure,
    )
    from .model.ids import (
        IDGenerator as IDGenerator,
    )
    from .model.query import (
        EventQuery as EventQuery,
    )
    from .model.query import (
        TurnHistory as TurnHistory,
    )
    from .model.session import (
        SessionInfo as SessionInfo,
    )
    from .model.session import (
        SessionLineage as SessionLineage,
    )
    from .model.session import (
        SessionMeta as SessionMeta,
    )
    from .model.session import (
        SessionType as SessionType,
    )
    from .model.session import (
        State as State,
    )
    from .model.session import (
        StopCause as StopCause,
    )
    from .model.session import (
        StopReason as StopReason,
    )
    from .model.settings import (
        DEFAULT_LIVENESS_STALL_AFTER as DEFAULT_LIVENESS_STALL_AFTER,
    )
    from .model.settings import (
        SessionBusyInputConfig as SessionBusyInputConfig,
    )
    from .model.settings import (
        SessionSupervisionConfig as SessionSupervisionConfig,
    )
    from .model.turn import (
        BusyInputMode as BusyInputMode,
    )
    from .model.turn import (
        InputQueueSummary as InputQueueSummary,
    )
    from .model.turn import (
        SendPromptResult as SendPromptResult,
    )
    from .model.turn import (
        TurnSource as TurnSource,
    )
    from .runtime.actor import (
        GreenActor as GreenActor,
    )
    from .runtime.errors import (
        ActorError as ActorError,
    )
    from .runtime.future import (
        GreenFuture as GreenFuture,
    )
    from .runtime.hub import (
        Hub as Hub,
    )
    from .runtime.mailbox import (
        Lane as Lane,
    )
    from .runtime.ref import (
        GreenRef as GreenRef,
    )
    from .session.stream import (
        PromptStream as PromptStream,
    )

_HOME: dict[str, str] = {
    **dict.fromkeys(
        (
            "AgentError",
            "AgentExitedError",
            "AgentNotAvailableError",
            "AgentStartError",
            "CallerError",
            "HomeInUseError",
            "InvalidPermissionDecisionError",
            "MailboxFullError",
            "OperationUnavailableError",
            "PendingPermissionConflictError",
            "PendingPermissionNotFoundError",
            "PromptInProgressError",
            "PromptNotInProgressError",
            "PromptStreamLaggedError",
            "SessionError",
            "SessionInputQueueEntryNotFoundError",
            "SessionInputQueueFullError",
            "SessionNotActiveError",
            "SessionNotFoundError",
            "SessionValueError",
            "StorageError",
            "WorkspaceNotFoundError",
            "WorkspaceRootMissingError",
            "error_is",
        ),
        "errors",
    ),
    "Session": "manager.handle",
    **dict.fromkeys(("AsyncSessionManager", "SessionManager"), "manager.manager"),
    **dict.fromkeys(("AgentDef", "PermissionDecision", "PermissionMode"), "model.agent"),
    **dict.fromkeys(
        ("EVENT_TYPE_SESSION_STOPPED", "AgentEvent", "EventType", "SessionEvent"), "model.event"
    ),
    **dict.fromkeys(("FailureKind", "SessionFailure"), "model.failure"),
    "IDGenerator": "model.ids",
    **dict.fromkeys(("EventQuery", "TurnHistory"), "model.query"),
    **dict.fromkeys(
        (
            "SessionInfo",
            "SessionLineage",
            "SessionMeta",
            "SessionType",
            "State",
            "StopCause",
            "StopReason",
        ),
        "model.session",
    ),
    **dict.fromkeys(
        ("DEFAULT_LIVENESS_STALL_AFTER", "SessionBusyInputConfig", "SessionSupervisionConfig"),
        "model.settings",
    ),
    **dict.fromkeys(
        ("BusyInputMode", "InputQueueSummary", "SendPromptResult", "TurnSource"), "model.turn"
    ),
    "GreenActor": "runtime.actor",
    "ActorError": "runtime.errors",
    "GreenFuture": "runtime.future",
    "Hub": "runtime.hub",
    "Lane": "runtime.mailbox",
    "GreenRef": "runtime.ref",
    "PromptStream": "session.stream",
}
"""Where each public name lives."""

__getattr__, __dir__ = lazy_names(__name__, _HOME)
__all__ = sorted(_HOME)
