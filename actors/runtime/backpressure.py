"""What a full mailbox does to its senders, and the line of those that wait for a place.

Rules it owns: waiting senders get places in the order they came, greenlets and threads alike;
one that goes away while it waits leaves nothing behind; when the mailbox closes all of them are
told, and their messages were never accepted.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from enum import StrEnum
from typing import Any

from .errors import HubClosedError
from .future import GreenFuture

__all__ = ["Blocked", "Gate", "MailboxPolicy"]


class MailboxPolicy(StrEnum):
    """What a work lane at its bound does to the next message."""

    RAISE = "raise"
    """The sender gets ``MailboxFullError``; the message was not accepted."""
    BLOCK = "block"
    """The sender, greenlet or thread, waits for a place. One that can not wait (the hub's loop, a
    handler of the full actor itself) gets ``MailboxFullError``."""
    DROP_OLDEST = "drop_oldest"
    """The oldest waiting work message becomes a dead letter. A thread gets ``MailboxFullError``
    only while a whole bound of messages is on its way to a hub that does not run."""


class Blocked:
    """A message whose sender waits; ``admitted`` is set when it has been accepted."""

    __slots__ = ("admitted", "message", "reply_to")

    def __init__(self, message: Any, reply_to: Any) -> None:
        self.message = message
        self.reply_to = reply_to
        self.admitted: GreenFuture[None] = GreenFuture()

    def refuse(self) -> None:
        """Tell the sender that nobody will take it."""
        self.admitted.set_exception(HubClosedError("the mailbox is closed"))


class Gate:
    """What only a bounded mailbox has.

    Attributes: ``policy``; ``posted``, a place per message of a thread that is on its way to the
    hub; ``blocked``, the senders in line.
    """

    __slots__ = ("blocked", "policy", "posted")

    def __init__(self, policy: MailboxPolicy) -> None:
        self.policy = policy
        self.posted: list[None] = []
        self.blocked: deque[Blocked] = deque()

    def withdraw(self, entry: Blocked) -> None:
        """The sender has gone. Does nothing when the message has been accepted meanwhile."""
        with suppress(ValueError):
            self.blocked.remove(entry)

    def close(self) -> None:
        """Nobody gets a place any more."""
        while self.blocked:
            self.blocked.popleft().refuse()
