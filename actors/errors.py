"""The exceptions greenroom raises about sessions, in one tree.

::

    SessionError
    +-- CallerError     the call was wrong; nothing changed
    +-- AgentError      the agent process misbehaved or failed
    +-- StorageError    the store could not keep or find something

Each carries its facts as attributes (``session_id``, ``operation``, ...); the text is for people.
Timeouts raise the builtin :class:`TimeoutError`; several errors raised together are an
:class:`ExceptionGroup`, and :func:`error_is` finds a member in it.
"""

from __future__ import annotations

from typing import Any


class GreenroomError(Exception):
    """Root of the trees of sessions and of the bus: an exception that carries facts.

    :param message: what failed, for people.
    :param fields: facts about the failure; each becomes an attribute.
    """

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), str(self), self.fields)


def _restore(kind: type[GreenroomError], message: str, fields: dict[str, Any]) -> GreenroomError:
    return kind(message, **fields)


class SessionError(GreenroomError):
    """Root of the errors about sessions."""

    session_id: str = ""
    operation: str = ""


def error_is(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether ``error``, a member of its group, or anything in its chain of causes is a ``kind``.

    :param error: the exception to look into; ``None`` is never anything.
    :param kind: the class looked for.
    """
    seen: set[int] = set()
    pending: list[BaseException] = [] if error is None else [error]
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, kind):
            return True
        if isinstance(current, BaseExceptionGroup):
            pending.extend(current.exceptions)
        if current.__cause__ is not None:
            pending.append(current.__cause__)
    return False


class CallerError(SessionError):
    """The call was wrong for the state things are in; nothing was changed by it."""


class SessionValueError(CallerError, ValueError):
    """A blank id, a bad option or argument, or a missing dependency (01 1.7)."""


class SessionNotFoundError(CallerError):
    """No such live session, no such stored session, or an id that is not a safe path segment."""


class SessionNotActiveError(CallerError):
    """The session is known but cannot take live work. Field: ``state``."""

    state: str = ""


class InvalidStateTransitionError(CallerError):
    """A transition that the table of states does not hold. Fields: ``from_state``, ``to_state``."""

    from_state: str = ""
    to_state: str = ""


class InvalidRuntimeOverrideError(CallerError):
    """A model or effort override that breaks the rules of 01 7.5."""


class OperationUnavailableError(CallerError):
    """The operation is part of the vocabulary but not built yet. Field: ``operation``."""


class ProviderUnavailableError(CallerError):
    """No provider of that name is known (01 7.5). Field: ``provider``."""

    provider: str = ""


class MissingSecretError(CallerError):
    """A secret that an agent needs is not there (01 7.8). Field: ``secret_ref``."""

    secret_ref: str = ""


class UnsupportedSecretRefError(CallerError):
    """Nobody knows how to look up a reference of that kind (01 7.8). Field: ``secret_ref``."""

    secret_ref: str = ""


class AgentNotAvailableError(CallerError):
    """No agent of that name, or its command is not installed. Fields: ``agent_name``, ``known``."""

    agent_name: str = ""
    known: tuple[str, ...] = ()


class WorkspaceNotFoundError(CallerError):
    """No workspace is registered under that reference. Field: ``workspace``."""

    workspace: str = ""


class WorkspaceRootMissingError(CallerError):
    """The workspace directory does not exist or is no directory. Field: ``path``."""

    path: str = ""


class HomeInUseError(CallerError):
    """Another runtime owns this home. Fields: ``home``, ``pid`` (0 when unknown)."""

    home: str = ""
    pid: int = 0


class PromptInProgressError(CallerError):
    """A turn is already running or being admitted (02 A4)."""


class PromptNotInProgressError(CallerError):
    """Steering was asked of an idle session (02 7.6)."""


class PromptCanceledError(CallerError):
    """The prompt was cancelled, or its caller left, before the agent had it (02 3, 11.1)."""


class SessionInputQueueFullError(CallerError):
    """The input queue is at its capacity (02 8.2). Field: ``queue_cap``."""

    queue_cap: int = 0
    item_id = "session.input_queue.full"
    code = "session_queue_full"
    category = "session"
    severity = "warn"
    freshness = "live"
    advice = "wait for the queue to drain, cancel a queued entry, or interrupt the running prompt"


class SessionInputQueueEntryNotFoundError(CallerError):
    """No queue entry of that id. Field: ``queue_entry_id``."""

    queue_entry_id: str = ""


class PendingPermissionNotFoundError(CallerError):
    """No permission request of that id is pending: unknown, resolved, timed out or cancelled."""

    request_id: str = ""


class PendingPermissionConflictError(CallerError):
    """Several requests of the turn are pending; name one by ``request_id``."""


class InvalidPermissionDecisionError(CallerError):
    """The agent did not offer that decision; the request stays pending. Field: ``decision``."""

    decision: str = ""


class ScopedInterruptNotFoundError(CallerError):
    """No tool process matches the scope (04 9)."""


class SessionMailboxFullError(CallerError):
    """The session's mailbox is at its bound; retry later."""


class PromptStreamLaggedError(CallerError):
    """The reader of a prompt stream fell behind its buffer (02 5).

    The turn goes on and every event is stored; read on with
    ``session.events(after_sequence=error.last_sequence)``.
    """

    last_sequence: int = 0


class HookFailedError(CallerError):
    """A gate of the host raised, or did not answer in time; the cause says which. Field: ``event``.

    What it guards did not happen (06 1.3).
    """

    event: str = ""


class HookDeniedError(HookFailedError):
    """A gate of the host said no. Field: ``reason``."""

    reason: str = ""


class InvalidSessionHealthError(CallerError):
    """A row or a query of session health that breaks its rules (05 2.2). Field: ``field``."""

    field: str = ""


class SessionHealthNotFoundError(CallerError):
    """The store holds no health row of that session (05 2.2)."""


class AgentError(SessionError):
    """The agent process misbehaved or failed."""


class AgentStartError(AgentError):
    """The agent did not start. Field: ``failure`` (a ``SessionFailure``)."""

    failure: Any = None


class AgentExitedError(AgentError):
    """The agent process ended by itself. Fields: ``exit_status`` (negative: signal), ``stderr``."""

    exit_status: int = 0
    stderr: str = ""


class RequestError(AgentError):
    """A JSON-RPC error, theirs or ours. Fields: ``code``, ``data``."""

    code: int = -32603
    data: Any = None


class LoadSessionFailedError(AgentError):
    """``session/load`` or ``session/resume`` was answered with an error, the cause."""


class AgentDoesNotSupportSessionError(AgentError):
    """The agent can not restore a session: it advertises neither load nor resume."""


class PermissionDeniedError(AgentError):
    """The permission policy refuses the operation. Fields: ``operation``, ``mode``."""

    mode: str = ""


class InvalidPathError(AgentError):
    """A path that is blank or holds a NUL byte. Field: ``path``."""

    path: str = ""


class PathOutsideWorkspaceError(AgentError):
    """A path that leads outside the session's directories. Field: ``path``."""

    path: str = ""


class ToolBlockedForNetworkTurnError(AgentError):
    """The operation is not allowed in a turn that came over the network."""


class StorageError(SessionError):
    """The store could not keep or find something."""


class StoreClosedError(StorageError):
    """The store is closed or closing."""


class StoreDrainTimeoutError(StorageError):
    """Writes were still queued when the budget of ``close()`` ran out."""


class StoreSyncFailedError(StorageError):
    """The log could not be synced; it takes no further writes until it is reopened (03 13)."""


class StoreOverloadedError(StorageError):
    """More writes wait for the log than it holds; retry later. Fields: ``submits``, ``bytes``."""

    submits: int = 0
    bytes: int = 0


class StoreCorruptError(StorageError):
    """A journal without a readable header, or a damaged record. Fields: ``path``, ``offset``.

    ``foreign``: the header is intact and another's, or of another version: nothing is damaged.
    """

    path: str = ""
    offset: int = 0
    foreign: bool = False


class ReadOnlyRecordEventsError(StorageError):
    """Events can not be recorded through a read-only store."""


class ReadOnlyRecordTokenUsageError(StorageError):
    """Usage can not be recorded through a read-only store."""


class StoreValidationError(StorageError):
    """A required field is missing, or a limit, cursor or enum is bad. Field: ``field``."""

    field: str = ""


class LedgerExistsError(StorageError):
    """A ledger of another history is there; it was left as it is (03 12.3). Field: ``path``."""


class InvalidLedgerRecordError(StorageError):
    """A ledger record whose ids can not name a file (03 12.3). Field: ``field``."""

    field: str = ""


class InvalidMarkerError(StorageError):
    """An unknown transcript marker kind, or a blank summary (03 2.5)."""
