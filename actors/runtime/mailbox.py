"""An actor's mailbox: two lanes, a bound for the sender's side, and counters that add up.

Rules it owns: control before work, first in first out inside a lane; a full work lane does to the
sender what its :class:`MailboxPolicy` says; messages of the kernel itself (a stop, an agent's
bytes) are ``EXEMPT`` from the bound; postponed messages wait, counted, for their reader to take
them up again; accepted = handled + dead + depth, always.

Only the hub's own thread touches the lanes; other threads enter through the hub's inlet. So it
needs no lock, and a lane is a pair of plain lists: senders append to one, the reader pops the
other, reversed, from its end. An idle mailbox costs an eighth of what a deque would.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from greenlet import getcurrent
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from .backpressure import Blocked, Gate, MailboxPolicy
from .errors import HubClosedError, MailboxFullError, MessageDroppedError
from .future import GreenFuture
from .inlet import Inlet
from .originals import get_ident
from .parcels import Lane, Parcel, packed

__all__ = ["Lane", "Mailbox", "MailboxPolicy", "Parcel"]

NOTHING: Any = object()
"""What an empty lane gives: a message may be anything, None included."""


class Mailbox:
    """Pykka's ``ActorInbox`` (put, get, empty, qsize) with lanes, a bound and counters.

    :param inlet: the door of the hub whose thread reads the mailbox.
    :param bound: messages the work lane takes before it is full; None for no limit. Threads that
        send at the same moment may see the lane full one message early, never late.
    :param policy: what a full lane does.

    Attributes: ``accepted``, ``handled`` (taken out to be handled), ``dead`` (messages, since the
    beginning), ``high_water`` (greatest depth; for an unbounded mailbox as seen by its reader).
    """

    __slots__ = ("_control", "_exempt", "_gate", "_getter", "_incoming", "_outgoing", "_postponed",
                 "accepted", "bound", "closed", "dead", "handled", "high_water", "inlet",
                 "local_ident", "scheduled")

    def __init__(
        self,
        inlet: Inlet,
        bound: int | None = None,
        policy: MailboxPolicy = MailboxPolicy.RAISE,
    ) -> None:
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
        self._postponed: list[Any] | None = None
        self._gate = None if bound is None else Gate(policy)
        self._getter: GreenFuture[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} depth {self.depth}, bound {self.bound}>"

    @property
    def depth(self) -> int:
        """Messages waiting, in both lanes, the postponed ones included."""
        control = self._control
        waiting = len(self._incoming) + len(self._outgoing) + self.postponed
        return waiting if control is None else waiting + len(control)

    @property
    def postponed(self) -> int:
        """Messages put aside until :meth:`release_postponed`."""
        return 0 if self._postponed is None else len(self._postponed)

    @property
    def blocked(self) -> int:
        """Senders that wait for a place; their messages are not accepted yet."""
        return 0 if self._gate is None else len(self._gate.blocked)

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
        local = self.inlet.thread_ident == get_ident()
        gate = self._gate
        if gate is None or lane is not Lane.WORK or type(message) is _ActorStop:
            if local:
                self._accept(message, reply_to, lane)
            else:
                self.inlet.put(self._accept, message, reply_to, lane)
        elif gate.policy is MailboxPolicy.BLOCK:
            self._offer_blocking(gate, Blocked(message, reply_to), local)
        elif local:
            self._offer_local(gate, message, reply_to)
        else:
            self._offer_posted(gate, message, reply_to)

    def _offer_local(self, gate: Gate, message: Any, reply_to: Any) -> None:
        full = not self.closed and self._counted() >= (self.bound or 0)
        if full and (gate.policy is MailboxPolicy.RAISE or not self._drop_oldest()):
            raise self._full()
        self._accept(message, reply_to, Lane.WORK)

    def _offer_posted(self, gate: Gate, message: Any, reply_to: Any) -> None:
        # The place is taken before it is counted: two threads can not both get the last one.
        # Where the oldest is dropped the hub does it; here only the way to it is bounded.
        gate.posted.append(None)
        dropping = gate.policy is MailboxPolicy.DROP_OLDEST
        if (len(gate.posted) if dropping else self._counted()) > (self.bound or 0):
            gate.posted.pop()
            raise self._full()
        try:
            self.inlet.put(self._accept_posted, message, reply_to)
        except Exception:
            gate.posted.pop()
            raise

    def _offer_blocking(self, gate: Gate, entry: Blocked, local: bool) -> None:
        if not local:
            self.inlet.put(self._enter, entry)
        else:
            if self.closed or (not gate.blocked and self._counted() < (self.bound or 0)):
                self._accept(entry.message, entry.reply_to, Lane.WORK)
                return
            if self._may_not_wait():
                raise self._full()
            gate.blocked.append(entry)
        try:
            entry.admitted.get()
        except BaseException:
            if local:
                gate.withdraw(entry)
            else:
                self.inlet.put(gate.withdraw, entry)
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
        if self._gate is not None:
            self._gate.close()

    def postpone(self, item: Any) -> None:
        """Put a message that was taken aside, as it lay in its lane. Only by the reader."""
        self.handled -= 1
        if type(item) is Parcel and item.exempt:
            self._exempt += 1
        if self._postponed is None:
            self._postponed = []
        self._postponed.append(item)

    def release_postponed(self) -> None:
        """Put what was postponed back, in its order, before all other work."""
        released, self._postponed = self._postponed, None
        if released:
            self._outgoing.extend(reversed(released))
            if not self.scheduled:
                self.scheduled = True
                self._ready()

    def _enter(self, entry: Blocked) -> None:
        """A thread's message asks for a place. In the hub's thread."""
        if self.closed:
            entry.refuse()
            return
        assert self._gate is not None
        self._gate.blocked.append(entry)
        self._admit()

    def _admit(self) -> None:
        """Accept what blocked senders hold, as far as there are places."""
        gate = self._gate
        while gate is not None and gate.blocked and self._counted() < (self.bound or 0):
            entry = gate.blocked.popleft()
            self._accept(entry.message, entry.reply_to, Lane.WORK)
            entry.admitted.set(None)

    def _drop_oldest(self) -> bool:
        """Make place for one. False when all that waits is exempt or postponed."""
        if not self._outgoing:
            self._turn_over()
        for lane, places in (
            (self._outgoing, range(len(self._outgoing) - 1, -1, -1)),
            (self._incoming, range(len(self._incoming))),
        ):
            for place in places:
                item = lane[place]
                if not (type(item) is Parcel and item.exempt):
                    del lane[place]
                    self._drop(item)
                    return True
        return False

    def _drop(self, item: Any) -> None:
        """Let go of an accepted message: whoever asked is told."""
        self.dead += 1
        if type(item) is Parcel and item.reply_to is not None:
            item.reply_to.set_exception(MessageDroppedError())

    def _accept(self, message: Any, reply_to: Any, lane: Lane) -> None:
        self.accepted += 1
        if self.closed:
            self._refuse(message, reply_to)
            return
        if lane is Lane.CONTROL:
            if self._control is None:
                self._control = deque()
            self._control.append(packed(message, reply_to))
        elif self.bound is not None and (lane is Lane.EXEMPT or type(message) is _ActorStop):
            self._exempt += 1
            self._incoming.append(Parcel(message, reply_to, True))
        else:
            self._incoming.append(packed(message, reply_to))
        if self.bound is not None:
            self.high_water = max(self.high_water, self.depth)
        if not self.scheduled:
            self.scheduled = True
            self._ready()

    def _accept_posted(self, message: Any, reply_to: Any) -> None:
        gate = self._gate
        assert gate is not None
        if gate.posted:
            gate.posted.pop()
        # A place in a lane that refuses was reserved by the sender; one that drops drops here.
        if (
            gate.policy is MailboxPolicy.DROP_OLDEST
            and not self.closed
            and self._counted() - len(gate.posted) >= (self.bound or 0)
        ):
            self._drop_oldest()
        self._accept(message, reply_to, Lane.WORK)

    def _counted(self) -> int:
        waiting = len(self._incoming) + len(self._outgoing) + self.postponed - self._exempt
        return waiting if self._gate is None else waiting + len(self._gate.posted)

    def _may_not_wait(self) -> bool:
        """Whether the caller would wait for himself: the hub's own greenlet, or the reader."""
        return getcurrent() is self.inlet.hub

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
        if self._gate is not None and self._gate.blocked:
            self._admit()
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
