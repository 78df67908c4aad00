"""The runtime half of an actor: runs its handlers, contains what they raise, sees to its end.

Rules it owns (K1 to K4): nothing a callback raises, ``GreenletExit``, ``gevent.Timeout`` and
``SystemExit`` included, gets further than its own actor; an actor that ends leaves the registry,
its waiting messages become dead letters, whoever asked gets :class:`pykka.ActorDeadError`, and
every monitor hears of it exactly once, however it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from . import census
from .deadletters import DeadLetter
from .dispatcher import Dispatcher
from .mailbox import Mailbox, Parcel
from .monitor import Down, DownReason, Monitor
from .ref import GreenRef

if TYPE_CHECKING:
    from .actor import GreenActor

__all__ = ["Cell", "Probe"]

# Pykka's logger and its wording, so that a host finds the same records in the same place.
logger = logging.getLogger("pykka")

class Probe:
    """A message the cell answers with None itself: ``on_start`` has returned."""

    __slots__ = ()


_PROXIED = frozenset({ProxyCall, ProxyGetAttr, ProxySetAttr})
_KERNEL = frozenset({*_PROXIED, _ActorStop, Probe})
_SPECIAL = frozenset({*_KERNEL, Parcel})


class Cell(Mailbox):
    """A mailbox with an actor in it. Everything here happens in the hub's own thread.

    Attributes: ``dispatcher``, ``owner`` (the actor while it lives), ``actor_class``, ``reason``
    and ``error`` (of its end; None while it lives).
    """

    __slots__ = ("_monitors", "_serial", "_started", "actor_class", "dispatcher", "error",
                 "owner", "reason")

    actor_class: type[GreenActor]

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher.inlet)
        self.dispatcher = dispatcher
        self.owner: GreenActor | None = None
        self.reason: DownReason | None = None
        self.error: BaseException | None = None
        self.scheduled = True  # until start(): messages to an actor under construction wait
        self._serial = next(dispatcher.serials)
        self._started = False
        self._monitors: dict[Monitor, None] | None = None

    @property
    def urn(self) -> str:
        """The actor's URN: a UUID in its form, drawn once per dispatcher and counted up.

        It is made when asked for: a random UUID per actor costs more than the rest of its start.
        """
        return f"{self.dispatcher.urn_prefix}{self._serial:012x}"

    @property
    def ref(self) -> GreenRef[Any]:
        """A ref to the actor. It is not kept: cell and ref would hold each other."""
        return GreenRef.of(self)

    def adopt(self, owner: GreenActor) -> None:
        """Take the actor in, with the bound its class wants. Only before the first message."""
        self.owner = owner
        self.actor_class = type(owner)
        if owner.mailbox_bound is not None:
            self.bound = owner.mailbox_bound
            self.local_ident = 0
            self._posted = []

    def start(self) -> None:
        """Let the actor run: ``on_start`` first, then its messages."""
        self.dispatcher.cells.add(self)
        self.dispatcher.schedule(self)

    def run_now(self) -> None:
        """Run in the turn of the calling greenlet, which waits for the answer."""
        self.dispatcher.run_now(self)

    def run(self, quota: int) -> int:
        """Handle up to ``quota`` messages and return how many were.

        ``scheduled`` tells afterwards whether there are more. Called by a worker, which the
        handler may block; nothing is ever raised.
        """
        if not self._started:
            self._started = True
            self._on_start()
        owner: Any = self.owner
        done = 0
        try:
            # An actor that ends on the way has no messages left, so the loop ends with it.
            for done in range(1, quota + 1):  # noqa: B007 - it is what we return
                if self._control:
                    item = self._control.popleft()
                elif self._outgoing or self._turn_over():
                    item = self._outgoing.pop()
                else:
                    break
                self.handled += 1
                if type(item) in _SPECIAL:
                    self._handle_special(owner, item)
                else:
                    try:
                        owner.on_receive(item)
                    except BaseException as error:
                        self._crash(error)
        except BaseException as error:  # even reporting a failure failed
            self._leave()
            self._finish(DownReason.CRASHED, error)
        self.scheduled = bool(self._outgoing or self._incoming or self._control)
        return done

    def add_monitor(self, monitor: Monitor) -> None:
        """Deliver the actor's end to ``monitor``, in the hub's loop; soon, if it has ended."""
        if self.reason is not None:
            self._deliver(monitor)
        elif self._monitors is None:
            self._monitors = {monitor: None}
        else:
            self._monitors[monitor] = None

    def drop_monitor(self, monitor: Monitor) -> None:
        """Forget a monitor that was cancelled."""
        if self._monitors is not None:
            self._monitors.pop(monitor, None)

    def down(self) -> Down:
        """What monitors are told. Only after the end."""
        assert self.reason is not None
        return Down(self.ref, self.reason, self.error)

    def abandon(self) -> None:
        """End the actor without a word to it, because its hub closes."""
        self._leave()
        self._finish(DownReason.HUB_CLOSED, None)

    def disown(self) -> None:
        """In the child of a fork: the actor lives in the parent; here, nothing of it runs on."""
        self.local_ident = 0
        self.owner = None
        self._empty()
        census.unregister(self.ref)

    def halt(self) -> None:
        """End the actor without ``on_stop``, after the message it is at, if any."""
        self._leave()
        self._finish(DownReason.STOPPED, None)

    def _ready(self) -> None:
        self.dispatcher.schedule(self)

    def _full(self) -> Exception:  # type: ignore[override]
        error = super()._full()
        error.actor_urn = self.urn
        return error

    def _handle_special(self, owner: GreenActor, item: Any) -> None:
        reply_to = None
        message = item
        if type(item) is Parcel:
            message, reply_to = item.message, item.reply_to
            if item.exempt:
                self._exempt -= 1
        try:
            if type(message) not in _KERNEL:
                response = owner.on_receive(message)
            elif type(message) is _ActorStop:
                return self._stop(owner, reply_to)
            elif type(message) is Probe:
                response = None
            else:
                response = owner._handle_receive(message)
        except BaseException as error:
            if reply_to is None:
                self._crash(error)
            else:
                self._fail_ask(owner, reply_to, error)
        else:
            if reply_to is not None:
                try:
                    reply_to.set(response)
                except BaseException as error:  # the asker has set it himself
                    self._note(error)
        return None

    def _fail_ask(self, owner: GreenActor, reply_to: Any, error: BaseException) -> None:
        if not isinstance(error, Exception):
            # An exit or a timeout of this greenlet is none of the asker's; raised in his, it
            # would take him along.
            dead = ActorDeadError(f"{self.ref} died while handling the message")
            dead.__cause__ = error
            self._crash(error, reply_to, dead)
        elif owner.crash_on_ask_error and not isinstance(error, owner.reply_errors):
            self._crash(error, reply_to, error)
        else:
            self._contain(_log_returned, owner, error)
            self._contain(reply_to.set_exception, error)

    def _on_start(self) -> None:
        owner = self.owner
        if owner is None:
            return
        try:
            owner.on_start()
        except BaseException as error:
            self._leave()
            self._contain(_log_unhandled, owner, error)
            self._finish(DownReason.CRASHED, error)

    def _stop(self, owner: GreenActor, reply_to: Any) -> None:
        self._leave()
        reason, failure = DownReason.STOPPED, None
        try:
            owner.on_stop()
        except BaseException as error:
            reason, failure = DownReason.CRASHED, error
            self._contain(_log_unhandled, owner, error)
        self._finish(reason, failure)
        if reply_to is not None:
            self._contain(reply_to.set, None)

    def _crash(
        self, error: BaseException, reply_to: Any = None, answer: BaseException | None = None
    ) -> None:
        owner = self.owner
        self._leave()
        if reply_to is not None:
            self._contain(reply_to.set_exception, answer)
        if owner is None or self.reason is not None:
            return  # it had ended while its handler was blocked
        self._contain(_log_unhandled, owner, error)
        try:
            owner.on_failure(type(error), error, error.__traceback__)
        except BaseException as second:
            self._contain(_log_unhandled, owner, second)
        self._finish(DownReason.CRASHED, error)

    def _leave(self) -> None:
        """Be dead for everybody outside; first, so that nothing is accepted any more."""
        self.close()
        census.unregister(self.ref)

    def _finish(self, reason: DownReason, error: BaseException | None) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        self.error = error
        self.owner = None  # the reference that keeps a living actor alive
        self.dispatcher.cells.discard(self)
        self._drain()
        monitors, self._monitors = self._monitors, None
        for monitor in monitors or ():
            self._deliver(monitor)

    def _drain(self) -> None:
        for lane in (self._control, reversed(self._outgoing), self._incoming):
            for item in lane or ():
                if type(item) is Parcel:
                    self._refuse(item.message, item.reply_to)
                else:
                    self._refuse(item, None)
        self._empty()

    def _empty(self) -> None:
        self._control = None
        self._outgoing, self._incoming = [], []

    def _refuse(self, message: Any, reply_to: Any) -> None:
        if type(message) is _ActorStop:
            self.handled += 1  # it has what it wanted
            if reply_to is not None:
                self._contain(reply_to.set, None)
            return
        self.dead += 1
        asked = reply_to is not None
        if asked:
            dead = ActorDeadError(f"{self.ref} stopped before handling the message")
            self._contain(reply_to.set_exception, dead)
        self.dispatcher.dead_letters.add(DeadLetter(self.ref, message, asked))

    def _deliver(self, monitor: Monitor) -> None:
        if self.inlet.closed:
            monitor.deliver(self.down())
        else:
            self.inlet.loop.run_callback(monitor.deliver, self.down())

    def _contain(self, fn: Callable[..., object], *args: Any) -> None:
        """Call what may not stop the actor's end: loggers and futures run code of others."""
        try:
            fn(*args)
        except BaseException as error:
            self._note(error)

    def _note(self, error: BaseException) -> None:
        logging.getLogger(__name__).error("a step of %s failed", self.ref, exc_info=error)


def _log_unhandled(owner: GreenActor, error: BaseException) -> None:
    logger.error(f"Unhandled exception in {owner}:", exc_info=error)


def _log_returned(owner: GreenActor, error: BaseException) -> None:
    logger.info(f"Exception returned from {owner} to caller:", exc_info=error)
