"""What travels: the lane of a message, and how a message lies in it."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

__all__ = ["Lane", "Parcel", "packed"]


class Lane(IntEnum):
    """Which way a message travels."""

    CONTROL = 0
    """Overtakes all work; not bounded."""
    WORK = 1
    """In order; counted against the mailbox's bound."""
    EXEMPT = 2
    """In order with work, but not counted against the bound."""


class Parcel:
    """A queued message with something to it: an answer is wanted, or the bound does not count it.

    A plain message lies in its lane as it is, which spares an object per message.
    """

    __slots__ = ("exempt", "message", "reply_to")

    def __init__(self, message: Any, reply_to: Any, exempt: bool) -> None:
        self.message = message
        self.reply_to = reply_to
        self.exempt = exempt


def packed(message: Any, reply_to: Any) -> Any:
    """The message as it lies in its lane: plain, unless somebody wants an answer."""
    return message if reply_to is None else Parcel(message, reply_to, False)
