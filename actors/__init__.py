"""Actors: the kernel, sessions as actors, and the manager that runs them.

Names are imported when they are first used, so the vocabulary costs no gevent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exports import lazy_names

if TYPE_CHECKING:
    from .errors import (
        AgentError,
        AgentExitedError,
        AgentNotAvailableError,
        AgentStartError,
        CallerError,
        HomeInUseError,
        InvalidPermissionDecisionError,
        MailboxFullError,
        OperationUnavailableError,
        PendingPermissionConflictError,
        PendingPermissionNotFoundError,
        PromptInProgressError,
        PromptNotInProgressError,
        PromptStreamLaggedError,
        SessionError,
        SessionInputQueueEntryNotFoundError,
        SessionInputQueueFullError,
        SessionNotActiveError,
        SessionNotFoundError,
        SessionValueError,
        StorageError,
        WorkspaceNotFoundError,
        WorkspaceRootMissingError,
        error_is,
    )
    from .manager.handle import Session
    from .manager.manager import AsyncSessionManager, SessionManager
    from .model.agent import AgentDef, PermissionDecision, PermissionMode
    from .model.event import EVENT_TYPE_SESSION_STOPPED, AgentEvent, EventType, SessionEvent
    from .model.failure import FailureKind, SessionFailure
    from .model.ids import IDGenerator
    from .model.query import EventQuery, TurnHistory
    from .model.session import (
        SessionInfo,
        SessionLineage,
        SessionMeta,
        SessionType,
        State,
        StopCause,
        StopReason,
    )
    from .model.settings import (
        DEFAULT_LIVENESS_STALL_AFTER,
        SessionBusyInputConfig,
        SessionSupervisionConfig,
    )
    from .model.turn import BusyInputMode, InputQueueSummary, SendPromptResult, TurnSource
    from .runtime.actor import GreenActor
    from .runtime.errors import ActorError
    from .runtime.future import GreenFuture
    from .runtime.hub import Hub
    from .runtime.mailbox import Lane
    from .runtime.ref import GreenRef
    from .session.stream import PromptStream

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
__all__ = sorted(_HOME)  # noqa: PLE0605
