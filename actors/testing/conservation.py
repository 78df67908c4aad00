"""The law that nothing vanishes: accepted = handled + dead letters + still waiting."""

from __future__ import annotations

from typing import Any

from ..runtime.dispatcher import Dispatcher
from ..runtime.mailbox import Mailbox
from ..runtime.ref import GreenRef

__all__ = ["assert_conserved"]


def assert_conserved(*what: GreenRef[Any] | Mailbox | Dispatcher) -> None:
    """Check the law for actors, dead or alive, for mailboxes, and for all actors of a dispatcher.

    Call it where the actors' hub is at rest: in its thread, outside of handlers.

    :raises AssertionError: a mailbox has lost, or made up, a message.
    """
    boxes: list[Mailbox] = []
    for one in what or (Dispatcher.current(),):
        match one:
            case Dispatcher():
                boxes.extend(one.cells)
            case GreenRef():
                boxes.append(one.actor_inbox)
            case _:
                boxes.append(one)
    for box in boxes:
        told = box.handled + box.dead + box.depth
        assert box.accepted == told, (
            f"{box!r}: accepted {box.accepted}, but handled {box.handled} + dead {box.dead} "
            f"+ waiting {box.depth} = {told}"
        )
