"""What may stand between a mailbox and its handler: interception, and messages that turn aside.

Rules it owns: interception is per dispatcher and costs nothing while there is none; a handler, or
whoever stands before it, gives a message back by raising a :class:`Detour`, which is no failure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .actor import GreenActor
    from .ref import GreenRef

__all__ = ["Around", "Detour", "Dropped", "Intercepted", "Postponed", "traced"]

Around = Callable[["GreenRef[Any]", Any, Callable[[Any], Any]], Any]
"""``around(ref, message, proceed)``: called in place of the handler, and answers for it.

``proceed(message)`` calls the handler. What it raises counts as raised by the handler; it may
block as a handler may.
"""


class Detour(BaseException):
    """The message was not handled. No ``Exception``, so that handlers do not catch it."""


class Postponed(Detour):
    """It waits in the mailbox until its actor takes it up again."""


class Dropped(Detour):
    """It is a dead letter; whoever asked gets :class:`MessageDroppedError`."""


class Intercepted:
    """An actor seen by its cell through an interceptor: all that the cell asks of its owner."""

    __slots__ = ("_actor", "_around")

    def __init__(self, actor: GreenActor, around: Around) -> None:
        self._actor = actor
        self._around = around

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actor, name)

    def __str__(self) -> str:
        return str(self._actor)

    def on_receive(self, message: Any) -> Any:
        """Hand a plain message to the interceptor."""
        return self._around(self._actor.actor_ref, message, self._actor.on_receive)

    def _handle_receive(self, message: Any) -> Any:
        return self._around(self._actor.actor_ref, message, self._actor._handle_receive)


def traced(tracer: Callable[[GreenRef[Any], Any], object]) -> Around:
    """An interceptor that calls ``tracer(ref, message)`` before each message is handled.

    What the tracer raises is the actor's failure, so it should not.
    """

    def around(ref: GreenRef[Any], message: Any, proceed: Callable[[Any], Any]) -> Any:
        tracer(ref, message)
        return proceed(message)

    return around
