"""The exceptions of the actor kernel, in one tree of their own.

::

    ActorError
    +-- MailboxFullError     the bounded work lane is full; the message was not accepted
    +-- MessageDroppedError  the message was accepted, then dropped to make room for newer ones
    +-- HubClosedError       the hub is closing or closed; nothing was accepted
    +-- ForkedError          the handle belongs to the parent process of a fork
    +-- StartFailedError     ``on_start`` did not return; the cause is chained
    +-- WorkerFullError      the line of a native worker is full
    +-- WorkerClosedError    the native worker takes no more work
    +-- LinkBrokenError      why an actor was ended: another it was linked to ended badly
    +-- StalledError         why an actor was ended: it made no progress
    +-- NameTakenError       the name belongs to another actor that lives
    +-- SupervisionError     of supervisors
        +-- ChildSpecError           a value in a child's or a supervisor's description is wrong
        +-- ChildStartError          the child did not start; the cause is chained
        +-- ChildExistsError         a child of that id is there already
        +-- ChildNotFoundError       there is no child of that id
        +-- ChildStateError          the child is not in the state that the call needs
        +-- TooManyChildrenError     the supervisor is at its ``max_children``
        +-- RestartIntensityError    why a supervisor ended: too many restarts in its window

A dead actor is :class:`pykka.ActorDeadError`, a future that is not set in time
:class:`pykka.Timeout`: both are Pykka's, so that code written for Pykka goes on working.
"""

from __future__ import annotations


class ActorError(Exception):
    """Root of the kernel's own errors."""


class MailboxFullError(ActorError):
    """The work lane is at its bound and the message was not accepted; try again later.

    Fields: ``actor_urn`` (empty for a mailbox without an actor), ``depth_max`` (messages).
    """

    def __init__(self, actor_urn: str, depth_max: int) -> None:
        super().__init__(actor_urn, depth_max)
        self.actor_urn = actor_urn
        self.depth_max = depth_max

    def __str__(self) -> str:
        return f"mailbox of {self.actor_urn!r} holds {self.depth_max} messages already"


class MessageDroppedError(ActorError):
    """The answer to an ``ask`` whose message was dropped to make room for newer ones."""


class HubClosedError(ActorError):
    """The hub is closing or closed, and what was asked of it was not accepted."""


class ForkedError(ActorError):
    """The handle was made before a fork and this is the child: the hub's thread is not here."""


class StartFailedError(ActorError):
    """The actor did not start; the error of ``on_start`` is the cause. Field: ``actor_urn``."""

    def __init__(self, actor_urn: str) -> None:
        super().__init__(actor_urn)
        self.actor_urn = actor_urn

    def __str__(self) -> str:
        return f"actor {self.actor_urn!r} did not start"


class WorkerFullError(ActorError):
    """The line of a native worker is full. Fields: ``worker`` (its name), ``queue_max`` (calls)."""

    def __init__(self, worker: str, queue_max: int) -> None:
        super().__init__(worker, queue_max)
        self.worker = worker
        self.queue_max = queue_max

    def __str__(self) -> str:
        return f"worker {self.worker!r} has {self.queue_max} calls waiting already"


class WorkerClosedError(ActorError):
    """The native worker is closing or closed. Field: ``worker`` (its name)."""

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self.worker = worker

    def __str__(self) -> str:
        return f"worker {self.worker!r} is closed"


class LinkBrokenError(ActorError):
    """An actor was ended because one it is linked to ended badly; its error is the cause.

    Field: ``actor_urn`` (of the other).
    """

    def __init__(self, actor_urn: str) -> None:
        super().__init__(actor_urn)
        self.actor_urn = actor_urn

    def __str__(self) -> str:
        return f"linked actor {self.actor_urn!r} ended"


class StalledError(ActorError):
    """An actor was ended because it made no progress. Fields: ``kind``, ``stack`` (text)."""

    def __init__(self, kind: str, stack: str) -> None:
        super().__init__(kind, stack)
        self.kind = kind
        self.stack = stack

    def __str__(self) -> str:
        return f"no progress ({self.kind})\n{self.stack}".rstrip()


class NameTakenError(ActorError):
    """The name is registered for another living actor. Field: ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"name {self.name!r} is taken"


class SupervisionError(ActorError):
    """Root of what supervisors answer with. Field: ``child_id`` (None: of none in particular)."""

    def __init__(self, child_id: object = None) -> None:
        super().__init__(child_id)
        self.child_id = child_id

    def __str__(self) -> str:
        return f"child {self.child_id!r}: {_sentence(self)}"


class ChildSpecError(SupervisionError, ValueError):
    """A value is not one it may be. Fields: ``field`` (its name), ``value``, ``child_id``."""

    def __init__(self, field: str, value: object, child_id: object = None) -> None:
        super().__init__(child_id)
        self.args = (field, value, child_id)
        self.field = field
        self.value = value

    def __str__(self) -> str:
        return f"{self.field} may not be {self.value!r}"


class ChildStartError(SupervisionError):
    """The child did not start; what it raised, or gave instead of a ref, is the cause."""


class ChildExistsError(SupervisionError):
    """A child of that id is there already, running or not."""


class ChildNotFoundError(SupervisionError):
    """There is no child of that id."""


class ChildStateError(SupervisionError):
    """The child is running, or restarting, or neither, and the call needs it otherwise."""


class TooManyChildrenError(SupervisionError):
    """The supervisor has as many children as it may."""


class RestartIntensityError(SupervisionError):
    """A supervisor ended because its children ended too often. Fields: ``child_id`` (the last one),
    ``max_restarts``, ``window_s``."""

    def __init__(self, child_id: object, max_restarts: int, window_s: float) -> None:
        super().__init__(child_id)
        self.args = (child_id, max_restarts, window_s)
        self.max_restarts = max_restarts
        self.window_s = window_s

    def __str__(self) -> str:
        return (
            f"child {self.child_id!r}: more than {self.max_restarts} restarts "
            f"in {self.window_s:g} s"
        )


def _sentence(error: Exception) -> str:
    return (type(error).__doc__ or "").partition(";")[0].partition(".")[0].lower()
