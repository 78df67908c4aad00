"""The exceptions of the actor kernel, in one tree of their own.

::

    ActorError
    +-- MailboxFullError     the bounded work lane is full; the message was not accepted
    +-- HubClosedError       the hub is closing or closed; nothing was accepted
    +-- ForkedError          the handle belongs to the parent process of a fork
    +-- StartFailedError     ``on_start`` did not return; the cause is chained
    +-- WorkerFullError      the line of a native worker is full
    +-- WorkerClosedError    the native worker takes no more work

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
