"""The handle on an actor that everybody else holds: tell, ask, stop, proxy, monitor.

Rules it owns: every method may be called from any thread; a message to a dead actor raises
:class:`pykka.ActorDeadError` at the sender, one to a parent process's actor :class:`ForkedError`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from pykka import ActorDeadError, ActorRef, Timeout
from pykka.messages import _ActorStop

from .errors import HubClosedError
from .future import GreenFuture, derived
from .mailbox import Lane, Parcel
from .monitor import Down, DownReason, Monitor
from .originals import get_ident

if TYPE_CHECKING:
    from .actor import GreenActor
    from .cell import Cell

__all__ = ["GreenRef", "StopFlag"]

A = TypeVar("A", bound="GreenActor")

_WORK = Lane.WORK


class GreenRef(ActorRef[A]):
    """Pykka's ref for a :class:`GreenActor`; equal to every other ref to the same actor."""

    __slots__ = ("_cell",)

    def __init__(self, actor: A) -> None:
        self._cell: Cell = actor.actor_inbox

    @classmethod
    def of(cls, cell: Cell) -> GreenRef[A]:
        """A ref to the actor in ``cell``, alive or dead."""
        ref = cls.__new__(cls)
        ref._cell = cell
        return ref

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GreenRef) and other._cell is self._cell

    def __hash__(self) -> int:
        return hash(self._cell)

    @property
    def actor_class(self) -> type[A]:  # type: ignore[override]
        """The class of the actor."""
        return cast("type[A]", self._cell.actor_class)

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """The URN of the actor."""
        return self._cell.urn

    @property
    def actor_inbox(self) -> Cell:  # type: ignore[override]
        """The actor's mailbox: its depth, bound and counters."""
        return self._cell

    @property
    def actor_stopped(self) -> StopFlag:  # type: ignore[override]
        """Whether the actor takes no more messages, as a flag."""
        return StopFlag(self._cell)

    def _actor_weakref(self) -> A | None:  # type: ignore[override]
        """What Pykka's proxy calls to look at the actor's attributes."""
        return cast("A | None", self._cell.owner)

    def is_alive(self) -> bool:
        """Whether the actor takes messages."""
        return not (self._cell.closed or self._cell.inlet.forked)

    def tell(self, message: Any, *, lane: Lane = _WORK) -> None:
        """Send a message and forget it. From any thread.

        Blocks only where the actor's class says ``mailbox_policy = BLOCK``, until there is room.

        :raises pykka.ActorDeadError: the actor is dead; the message was not accepted.
        :raises MailboxFullError: its work lane is at its bound; the message was not accepted.
        :raises ForkedError: the actor lives in the parent process.
        """
        cell = self._cell
        if cell.local_ident == get_ident() and lane is _WORK:
            cell._incoming.append(message)
            cell.accepted += 1
            if not cell.scheduled:
                cell.scheduled = True
                cell.dispatcher.schedule(cell)
            return
        if cell.closed:
            raise self._dead()
        try:
            cell.offer(message, None, lane)
        except HubClosedError:
            raise self._dead() from None

    @overload
    def ask(
        self, message: Any, *, block: Literal[False], timeout: float | None = ..., lane: Lane = ...
    ) -> GreenFuture[Any]: ...

    @overload
    def ask(
        self, message: Any, *, block: bool = ..., timeout: float | None = ..., lane: Lane = ...
    ) -> Any: ...

    def ask(
        self,
        message: Any,
        *,
        block: bool = True,
        timeout: float | None = None,
        lane: Lane = _WORK,
    ) -> Any:
        """Send a message and wait for the answer, or get a future of it. From any thread.

        :param block: False returns a :class:`GreenFuture` at once.
        :param timeout: seconds to wait for the answer; None waits for ever.
        :raises pykka.Timeout: no answer in time.
        :raises pykka.ActorDeadError: the actor is, or ended, dead without an answer (like any
            error of the handler it is in the future, if one was asked for).
        :raises MailboxFullError: its work lane is at its bound; the message was not accepted.
        :raises ForkedError: the actor lives in the parent process.
        """
        cell = self._cell
        future = cell.actor_class._create_future()
        if cell.local_ident == get_ident() and lane is _WORK:
            cell._incoming.append(Parcel(message, future, False))
            cell.accepted += 1
            if not cell.scheduled:
                cell.scheduled = True
                if block and timeout is None and not cell.dispatcher.kicked:
                    future._wait(None, cell)
                else:
                    cell.dispatcher.schedule(cell)
        elif cell.closed:
            future.set_exception(self._dead())
        else:
            try:
                cell.offer(message, future, lane)
            except HubClosedError:
                future.set_exception(self._dead())
        return future.get(timeout=timeout) if block else future

    @overload
    def stop(
        self, *, block: Literal[True] = ..., timeout: float | None = ..., lane: Lane = ...
    ) -> bool: ...

    @overload
    def stop(
        self, *, block: Literal[False], timeout: float | None = ..., lane: Lane = ...
    ) -> GreenFuture[bool]: ...

    @overload
    def stop(
        self, *, block: bool = ..., timeout: float | None = ..., lane: Lane = ...
    ) -> bool | GreenFuture[bool]: ...

    def stop(
        self, *, block: bool = True, timeout: float | None = None, lane: Lane = Lane.EXEMPT
    ) -> bool | GreenFuture[bool]:
        """Ask the actor to stop, after the messages sent before; with ``CONTROL``, before them.

        :returns: True if it lived, False if it was dead already; or a future of that.
        :raises pykka.Timeout: it did not stop in time.
        """
        asked = self.ask(_ActorStop(), block=False, lane=lane)

        def stopped(timeout: float | None) -> bool:
            try:
                asked.get(timeout=timeout)
            except ActorDeadError:
                return False
            return True

        future: GreenFuture[bool] = GreenFuture()
        future.set_get_hook(stopped)
        derived(future, (asked,))
        return future.get(timeout=timeout) if block else future

    def kill(self, error: BaseException | None = None) -> None:
        """End the actor here and now, without ``on_stop``; monitors hear ``killed``.

        A handler that has blocked is ended with a ``GreenletExit``; waiting messages become dead
        letters. One that never yields goes on until it does. Does nothing to a dead actor. From
        any thread.

        :param error: why, for those who monitor.
        :raises ForkedError: the actor lives in the parent process.
        """
        inlet = self._cell.inlet
        if inlet.local:
            self._cell.kill(error)
        else:
            with suppress(HubClosedError):
                inlet.put(self._cell.kill, error)

    def monitor(self, callback: Callable[[Down], object]) -> Monitor:
        """Have ``callback(down)`` called once when the actor ends; soon, if it has ended.

        It is called in the hub's loop and must not block; what it raises is logged. If the hub
        is closed it is called here and now. From any thread.

        :raises ForkedError: the actor lives in the parent process.
        """
        cell = self._cell
        monitor = Monitor(callback, self._forget)
        if cell.inlet.local:
            cell.add_monitor(monitor)
            return monitor
        try:
            cell.inlet.put(cell.add_monitor, monitor)
        except HubClosedError:
            monitor.deliver(Down(self, cell.reason or DownReason.HUB_CLOSED, cell.error))
        return monitor

    def _forget(self, monitor: Monitor) -> None:
        inlet = self._cell.inlet
        if inlet.local:
            self._cell.drop_monitor(monitor)
        elif not (inlet.closed or inlet.forked):
            inlet.put(self._cell.drop_monitor, monitor)

    def _dead(self) -> ActorDeadError:
        return ActorDeadError(f"{self} not found")


class StopFlag:
    """``actor_stopped`` as Pykka has it, seen through the cell instead of a ``threading.Event``."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def is_set(self) -> bool:
        """Whether the actor takes no more messages."""
        return self._cell.closed

    def set(self) -> None:
        """End the actor without ``on_stop``, after the message it is at."""
        if self._cell.inlet.local:
            self._cell.halt()
        else:
            self._cell.inlet.put(self._cell.halt)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the actor has ended, at most ``timeout`` seconds.

        :returns: whether it has.
        """
        ended: GreenFuture[Down] = GreenFuture()
        monitor = self._cell.ref.monitor(ended.set)
        try:
            ended.get(timeout=timeout)
        except Timeout:
            return False
        finally:
            monitor.cancel()
        return True
