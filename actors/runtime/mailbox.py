"""An actor's mailbox: two lanes, a bound for the sender's side, and counters that add up.

Rules it owns: control before work, first in first out inside a lane; a full work lane refuses at
the sender (:class:`MailboxFullError`) and loses nothing; messages of the kernel itself (a stop,
an agent's bytes) are ``EXEMPT`` from the bound; accepted = handled + dead + depth, always.

Only the hub's own thread touches the lanes; other threads enter through the hub's inlet. So it
needs no lock, and a lane is a pair of plain lists: senders append to one, the reader pops the
other, reversed, from its end. An idle mailbox costs an eighth of what a deque would.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any

from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from .errors import HubClosedError, MailboxFullError
from .future import GreenFuture
from .inlet import Inlet
from .originals import get_ident

__all__ = ["Lane", "Mailbox", "Parcel"]

NOTHING: Any = object()
"""What an empty lane gives: a message may be anything, None included."""


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


class Mailbox:
    """Pykka's ``ActorInbox`` (put, get, empty, qsize) with lanes, a bound and counters.

    :param inlet: the door of the hub whose thread reads the mailbox.
    :param bound: messages the work lane takes before it refuses; None for no limit. Threads that
        send at the same moment may see the lane full one message early, never late.

    Attributes: ``accepted``, ``handled`` (taken out to be handled), ``dead`` (messages, since the
    beginning), ``high_water`` (greatest depth; for an unbounded mailbox as seen by its reader).
    """

    __slots__ = ("_control", "_exempt", "_getter", "_incoming", "_outgoing", "_posted", "accepted",
                 "bound", "closed", "dead", "handled", "high_water", "inlet", "local_ident",
                 "scheduled")

    def __init__(self, inlet: Inlet, bound: int | None = None) -> None:
        self.inlet = inlet
        self.bound = bound
        self.closed = False
        # The hub's thread while a message may simply be appended, else 0: one comparison tells a
        # sender that the mailbox is open, unbounded, not forked, and his own thread's.
        self.local_ident = inlet.thread_ident if bound is None else 0
        self.scheduled = False
        self.accepted = 0
        self.handled = 0
        self.dead = 0
        self.high_water = 0
        self._incoming: list[Any] = []
        self._outgoing: list[Any] = []
        self._control: deque[Any] | None = None
        self._exempt = 0
        self._posted: list[None] | None = None if bound is None else []
        self._getter: GreenFuture[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} depth {self.depth}, bound {self.bound}>"

    @property
    def depth(self) -> int:
        """Messages waiting, in both lanes."""
        control = self._control
        waiting = len(self._incoming) + len(self._outgoing)
        return waiting if control is None else waiting + len(control)

    def qsize(self) -> int:
        """Messages waiting, in both lanes."""
        return self.depth

    def empty(self) -> bool:
        """Whether no message waits."""
        return self.depth == 0

    def put(self, envelope: Envelope[Any], lane: Lane = Lane.WORK) -> None:
        """Accept a message, from any thread.

        :raises MailboxFullError: the work lane is at its bound.
        :raises HubClosedError: the reader's hub is closed.
        :raises ForkedError: the reader lives in the parent process.
        """
        self.offer(envelope.message, envelope.reply_to, lane)

    def offer(self, message: Any, reply_to: Any, lane: Lane) -> None:
        """:meth:`put` without the envelope."""
        inlet = self.inlet
        if inlet.thread_ident == get_ident():
            self._accept(message, reply_to, lane)
            return
        if lane is not Lane.WORK or self._posted is None or type(message) is _ActorStop:
            inlet.put(self._accept, message, reply_to, lane)
            return
        # The place is taken before it is counted: two threads can not both get the last one.
        self._posted.append(None)
        if self._counted() > (self.bound or 0):
            self._posted.pop()
            raise self._full()
        try:
            inlet.put(self._accept_posted, message, reply_to)
        except Exception:
            self._posted.pop()
            raise

    def take(self) -> Envelope[Any] | None:
        """The next message, counted as handled, or None. Only in the hub's thread."""
        item = self._take_item()
        if item is NOTHING:
            return None
        if type(item) is Parcel:
            return Envelope(item.message, item.reply_to)
        return Envelope(item)

    def get(self) -> Envelope[Any]:
        """The next message; waits for one. Only in a greenlet of the hub's thread."""
        while (envelope := self.take()) is None:
            self._getter = GreenFuture()
            self.scheduled = False
            self._getter.get()
        return envelope

    def close(self) -> None:
        """Accept nothing from now on: what still arrives goes to :meth:`_refuse`."""
        self.closed = True
        self.local_ident = 0

    def _accept(self, message: Any, reply_to: Any, lane: Lane, reserved: bool = False) -> None:
        if self.closed:
            self.accepted += 1
            self._refuse(message, reply_to)
            return
        if lane is Lane.CONTROL:
            if self._control is None:
                self._control = deque()
            self._control.append(_packed(message, reply_to))
        elif self.bound is None:
            self._incoming.append(_packed(message, reply_to))
        else:
            self._accept_bounded(message, reply_to, lane, reserved)
        self.accepted += 1
        if self.bound is not None:
            self.high_water = max(self.high_water, self.depth)
        if not self.scheduled:
            self.scheduled = True
            self._ready()

    def _accept_posted(self, message: Any, reply_to: Any) -> None:
        if self._posted:
            self._posted.pop()
        self._accept(message, reply_to, Lane.WORK, True)

    def _accept_bounded(
        self, message: Any, reply_to: Any, lane: Lane, reserved: bool
    ) -> None:
        if lane is Lane.EXEMPT or type(message) is _ActorStop:
            self._exempt += 1
            self._incoming.append(Parcel(message, reply_to, True))
        else:
            self._incoming.append(_packed(message, reply_to))
            # A reserved place was counted when it was taken, in the sender's thread.
            if not reserved and self._counted() > (self.bound or 0):
                self._incoming.pop()
                raise self._full()

    def _counted(self) -> int:
        waiting = len(self._incoming) + len(self._outgoing) - self._exempt
        return waiting + len(self._posted or ())

    def _take_item(self) -> Any:
        """The next item as it lies in its lane, or :data:`NOTHING`."""
        if self._control:
            item = self._control.popleft()
        elif self._outgoing or self._turn_over():
            item = self._outgoing.pop()
        else:
            return NOTHING
        self.handled += 1
        if type(item) is Parcel and item.exempt:
            self._exempt -= 1
        return item

    def _turn_over(self) -> bool:
        """Hand the senders' list to the reader. False when there is nothing in it."""
        if not self._incoming:
            return False
        depth = self.depth
        if depth > self.high_water:
            self.high_water = depth
        self._incoming, self._outgoing = self._outgoing, self._incoming
        self._outgoing.reverse()
        return True

    def _ready(self) -> None:
        """Called when a message arrives and nobody has been told since the last one was taken."""
        getter, self._getter = self._getter, None
        if getter is not None:
            getter.set(None)

    def _refuse(self, message: Any, reply_to: Any) -> None:
        """Called for a message that arrives after :meth:`close`."""
        self.dead += 1
        if reply_to is not None:
            reply_to.set_exception(HubClosedError("the mailbox is closed"))

    def _full(self) -> MailboxFullError:
        return MailboxFullError("", self.bound or 0)


def _packed(message: Any, reply_to: Any) -> Any:
    return message if reply_to is None else Parcel(message, reply_to, False)
