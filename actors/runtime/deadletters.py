"""Messages that were accepted and never handled: counted, the last ones kept, told to whoever asks.

The law: for every mailbox, accepted = handled + dead + still waiting. Nothing vanishes silently.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ref import GreenRef

__all__ = ["DEAD_LETTERS_KEPT", "DeadLetter", "DeadLetters"]

logger = logging.getLogger(__name__)

DEAD_LETTERS_KEPT = 128
"""How many of the last dead letters a dispatcher remembers, messages included."""

Subscriber = Callable[["DeadLetter"], object]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message its actor did not live to handle. ``asked``: somebody waited for the answer."""

    ref: GreenRef[Any]
    message: Any
    asked: bool


class DeadLetters:
    """The dead letters of one dispatcher. Attribute: ``count``, since the beginning."""

    __slots__ = ("_recent", "_subscribers", "count")

    def __init__(self) -> None:
        self.count = 0
        self._recent: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS_KEPT)
        self._subscribers: tuple[Subscriber, ...] = ()

    @property
    def recent(self) -> tuple[DeadLetter, ...]:
        """The last ones, oldest first, at most :data:`DEAD_LETTERS_KEPT`."""
        return tuple(self._recent)

    def subscribe(self, fn: Subscriber) -> Callable[[], None]:
        """Have ``fn(letter)`` called for every letter from now on, in the hub; it must not block.

        What ``fn`` raises is logged.

        :returns: a function that ends the subscription.
        """
        self._subscribers = (*self._subscribers, fn)

        def cancel() -> None:
            self._subscribers = tuple(other for other in self._subscribers if other is not fn)

        return cancel

    def add(self, letter: DeadLetter) -> None:
        """Record a letter and tell the subscribers."""
        self.count += 1
        self._recent.append(letter)
        for subscriber in self._subscribers:
            try:
                subscriber(letter)
            except BaseException:
                logger.exception("a subscriber of dead letters failed: %r", subscriber)
