"""The running half of an actor: takes its messages one by one, contains what its handlers raise.

Rules it owns (K1, K4): nothing a callback raises, ``GreenletExit``, ``gevent.Timeout`` and
``SystemExit`` included, gets further than its own actor; which errors of an answer also end the
actor is its class's word; a message that is postponed or dropped is not a failure.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent
from pykka import ActorDeadError
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from .backpressure import Gate
from .detours import Around, Detour, Dropped, Intercepted
from .life import Mortal
from .mailbox import Parcel
from .monitor import DownReason

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


class Cell(Mortal):
    """A mailbox with an actor in it. Everything here happens in the hub's own thread."""

    __slots__ = ()

    def adopt(self, owner: GreenActor) -> None:
        """Take the actor in, with the bound its class wants. Only before the first message."""
        self.owner = owner
        self.actor_class = type(owner)
        if owner.mailbox_bound is not None:
            self.bound = owner.mailbox_bound
            self.local_ident = 0
            self._gate = Gate(owner.mailbox_policy)

    def run_now(self) -> None:
        """Run in the turn of the calling greenlet, which waits for the answer."""
        self.dispatcher.run_now(self)

    def run(self, quota: int, around: Around | None = None) -> int:
        """Handle up to ``quota`` messages and return how many were.

        ``around`` stands between the mailbox and the handler, if given.

        ``scheduled`` tells afterwards whether there are more. Called by a worker, which the
        handler may block; nothing is ever raised.
        """
        if not self._started:
            self._started = True
            self._on_start()
        owner: Any = self.owner
        if around is not None and owner is not None:
            owner = Intercepted(owner, around)
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
                    except Detour as detour:
                        self._turn_aside(item, detour)
                    except BaseException as error:
                        self._crash(error)
        except BaseException as error:  # even reporting a failure failed
            self._leave()
            self._finish(DownReason.CRASHED, error)
        if self._gate is not None and self._gate.blocked:
            self._admit()
        self.scheduled = bool(self._outgoing or self._incoming or self._control)
        return done

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
        except Detour as detour:
            self._turn_aside(item, detour)
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
            if self.reason is not None:
                return  # killed meanwhile
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
            if self.reason is None:  # else it was killed meanwhile
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

    def _turn_aside(self, item: Any, detour: Detour) -> None:
        """The handler gave the message back, or somebody before it swallowed it."""
        if self.reason is not None:  # killed meanwhile
            self._crash(detour, getattr(item, "reply_to", None), ActorDeadError(f"{self.ref}"))
        elif isinstance(detour, Dropped):
            self.handled -= 1
            self._drop(item)
        else:
            self.postpone(item)

    def _may_not_wait(self) -> bool:
        return super()._may_not_wait() or getattr(getcurrent(), "cell", None) is self


def _log_unhandled(owner: GreenActor, error: BaseException) -> None:
    logger.error(f"Unhandled exception in {owner}:", exc_info=error)


def _log_returned(owner: GreenActor, error: BaseException) -> None:
    logger.info(f"Exception returned from {owner} to caller:", exc_info=error)
