"""The beginning and the end of an actor's mailbox: monitors, kills, what is left behind.

Rules it owns (K2, K3): an actor that ends leaves the registry, its waiting messages become dead
letters, whoever asked gets :class:`pykka.ActorDeadError`, and every monitor hears of it exactly
once, however it ended. A kill needs nobody's cooperation but the hub's: a handler that has
blocked is thrown out of, one that never yields can not be reached.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from greenlet import GreenletExit
from pykka import ActorDeadError
from pykka.messages import _ActorStop

from . import census
from .deadletters import DeadLetter
from .dispatcher import Dispatcher, Worker
from .errors import MessageDroppedError
from .mailbox import Mailbox, Parcel
from .monitor import Down, DownReason, Monitor
from .ref import GreenRef

if TYPE_CHECKING:
    from .actor import GreenActor
    from .cell import Cell

__all__ = ["KILL_THROWS", "ActorKilled", "Mortal"]

KILL_THROWS = 3
"""How often the exit is thrown into a handler that swallows it, before it is left to itself."""


class ActorKilled(GreenletExit):  # type: ignore[misc]
    """Thrown into the handler of an actor that was killed."""


class Mortal(Mailbox):
    """A mailbox whose reader begins and ends. Everything here happens in the hub's own thread.

    Attributes: ``dispatcher``, ``owner`` (the actor while it lives), ``actor_class``, ``reason``
    and ``error`` (of its end; None while it lives), ``beats`` (signs of life it gave itself).
    """

    __slots__ = ("_monitors", "_serial", "_started", "actor_class", "beats", "dispatcher", "error",
                 "owner", "reason")

    actor_class: type[GreenActor]

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher.inlet)
        self.dispatcher = dispatcher
        self.owner: GreenActor | None = None
        self.reason: DownReason | None = None
        self.error: BaseException | None = None
        self.beats = 0
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
    def serial(self) -> int:
        """The how-manieth actor of its dispatcher it is, from 1."""
        return self._serial

    @property
    def _cell(self) -> Cell:
        return cast("Cell", self)  # the two halves are one object

    @property
    def ref(self) -> GreenRef[Any]:
        """A ref to the actor. It is not kept: cell and ref would hold each other."""
        return GreenRef.of(self._cell)

    @property
    def worker(self) -> Worker | None:
        """The greenlet that runs a callback of the actor now, or is blocked in it."""
        return self.dispatcher.worker_of(self)

    def start(self) -> None:
        """Let the actor run: ``on_start`` first, then its messages."""
        self.dispatcher.cells.add(self._cell)
        self.dispatcher.schedule(self._cell)

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

    def halt(
        self, reason: DownReason = DownReason.STOPPED, error: BaseException | None = None
    ) -> None:
        """End the actor without ``on_stop``, after the message it is at, if any."""
        self._leave()
        self._finish(reason, error)

    def kill(self, error: BaseException | None = None) -> None:
        """End the actor here and now; a handler that has blocked gets :class:`ActorKilled`."""
        if self.reason is None:
            self.halt(DownReason.KILLED, error)
            worker = self.worker
            if worker is not None:
                self._throw(worker, KILL_THROWS)

    def _throw(self, worker: Worker, times: int) -> None:
        # From the hub's loop, where no worker is running, so all of them can be thrown into.
        self.dispatcher.inlet.loop.run_callback(self._throw_now, worker, times)

    def _throw_now(self, worker: Worker, times: int) -> None:
        if worker.cell is not self:
            return
        if times:
            worker.throw(ActorKilled)
            self._throw(worker, times - 1)
            return
        self._note(RuntimeError("a killed actor's handler goes on: it swallows every exit"))
        reply_to = _asked_in(worker.gr_frame)
        if reply_to is not None:
            self._contain(reply_to.set_exception, ActorDeadError(f"{self.ref} was killed"))

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
        self.dispatcher.cells.discard(self._cell)
        self._drain()
        self.dispatcher.retired_handled += self.handled
        monitors, self._monitors = self._monitors, None
        for monitor in monitors or ():
            self._deliver(monitor)

    def _drain(self) -> None:
        lanes = (self._control, self._postponed, reversed(self._outgoing), self._incoming)
        for lane in lanes:
            for item in lane or ():
                if type(item) is Parcel:
                    self._refuse(item.message, item.reply_to)
                else:
                    self._refuse(item, None)
        self._empty()

    def _empty(self) -> None:
        self._control = self._postponed = None
        self._outgoing, self._incoming = [], []

    def _refuse(self, message: Any, reply_to: Any) -> None:
        if type(message) is _ActorStop:
            self.handled += 1  # it has what it wanted
            if reply_to is not None:
                self._contain(reply_to.set, None)
            return
        dead = ActorDeadError(f"{self.ref} stopped before handling the message")
        self._bury(message, reply_to, dead)

    def _drop(self, item: Any) -> None:
        if type(item) is Parcel:
            self._bury(item.message, item.reply_to, MessageDroppedError())
        else:
            self._bury(item, None, None)

    def _bury(self, message: Any, reply_to: Any, answer: BaseException | None) -> None:
        """Make an accepted message a dead letter, and tell whoever asked."""
        self.dead += 1
        asked = reply_to is not None
        if asked:
            self._contain(reply_to.set_exception, answer)
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


def _asked_in(frame: FrameType | None) -> Any:
    """The future of the ask whose handler is blocked in ``frame``.

    The only case that needs it is the rarest, so nothing is kept for it on every message's way.
    """
    while frame is not None and frame.f_code.co_name != "_handle_special":
        frame = frame.f_back
    return None if frame is None else frame.f_locals.get("reply_to")
