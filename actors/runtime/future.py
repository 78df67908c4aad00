"""A future that greenlets of any hub, plain threads and asyncio tasks can wait for.

Rules it owns: a result is set once, by any thread; whoever waits is woken through his own loop
(his hub's, asyncio's, or a native lock for a thread without one); no thread gets a gevent hub by
waiting. A waiting thread's hub is held alive, so that a result that comes from a foreign thread
does not end it with ``LoopExit``.

It takes no lock: the instance dict's ``setdefault`` decides who sets, and a callback that is
added while the result arrives is popped, and called, by exactly one side.
"""

from __future__ import annotations

import logging
import queue
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gevent._hub_local import get_hub_if_exists
from greenlet import getcurrent
from pykka import Future, Timeout

from .originals import Lock, acquire
from .waking import Lender, Sleep, Waking, wake_up

__all__ = ["GreenFuture", "derived"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
J = TypeVar("J")
M = TypeVar("M")
R = TypeVar("R")

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
Callback = Callable[[Any], object]

_UNSET: Any = object()


class GreenFuture(Future[T]):
    """Pykka's future on gevent: ``get``, ``set``, ``map`` and the rest behave as Pykka's do.

    :meth:`get` blocks the greenlet, or the thread where there is no hub; ``await`` it in asyncio.
    """

    # Class-level defaults instead of an ``__init__``: creating one costs a bare allocation.
    _outcome: tuple[Any, ExcInfo | None] | None = None
    _first: Waking | None = None
    _waiters: list[Callback] | None = None
    _sources: tuple[Future[Any], ...] = ()
    _get_hook: Callable[[float | None], T] | None = None
    _get_hook_result: Any = _UNSET

    if not TYPE_CHECKING:
        __init__ = object.__init__

    def __repr__(self) -> str:
        return f"<GreenFuture {'done' if self.done else 'pending'}>"

    @property
    def done(self) -> bool:
        """Whether :meth:`get` would return, or raise, at once."""
        if self._outcome is not None or self._get_hook_result is not _UNSET:
            return True
        leaves = self._leaves() if self._get_hook is not None else None
        return bool(leaves) and all(leaf.done for leaf in leaves or ())

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the result and return it, or raise the exception that was set.

        :param timeout: seconds; None waits for ever.
        :raises pykka.Timeout: nothing was set in time.
        """
        if self._get_hook is not None:
            return self._run_hook(timeout)
        if self._outcome is None:
            self._wait(timeout)
        outcome = self._outcome
        if outcome is None:
            raise Timeout(f"{timeout} seconds")
        value, exc_info = outcome
        if exc_info is None:
            return cast("T", value)
        kind, error, traceback = exc_info
        if error is None:
            error = RuntimeError("set_exception() outside an except block") if kind is None \
                else kind()
        raise error.with_traceback(traceback)

    def set(self, value: T | None = None) -> None:
        """Set the result and wake everybody who waits.

        :raises queue.Full: a result, an exception or a get hook is set already.
        """
        # The same as _settle(), written out: this is what every answer goes through.
        outcome = (value, None)
        if (
            self._get_hook is not None
            or self.__dict__.setdefault("_outcome", outcome) is not outcome
        ):
            raise queue.Full
        if self._first is not None:
            wake_up(*self._first)
        if self._waiters is not None:
            self._call_waiters()

    def set_exception(self, exc_info: Any = None) -> None:
        """Set an exception, to be raised by :meth:`get`.

        :param exc_info: an exception, a ``sys.exc_info()`` triple, or None for the exception that
            is being handled.
        :raises queue.Full: a result, an exception or a get hook is set already.
        """
        if isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        self._settle((None, exc_info or sys.exc_info()))

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let ``func(timeout)`` make the result when somebody asks for it; it runs once.

        :raises queue.Full: a result is set already.
        """
        if self._outcome is not None:
            raise queue.Full
        self._get_hook = func

    def add_done_callback(self, fn: Callable[[GreenFuture[T]], object]) -> None:
        """Have ``fn(self)`` called once, when the result is there: at once if it is already.

        It runs in the thread, and the greenlet, of whoever sets the result and must not block.
        What it raises is logged. On a future with a get hook of unknown origin it runs when
        somebody has called :meth:`get`.
        """
        if self._get_hook is None or not (leaves := self._leaves()):
            return self._add_waiter(fn)
        for leaf in leaves:
            if not leaf.done:
                leaf._add_waiter(lambda _: self.add_done_callback(fn))
                return None
        _call(fn, self)
        return None

    def map(self, func: Callable[[T], M]) -> GreenFuture[M]:
        """Return a future of ``func(result)``; see Pykka."""
        return cast("GreenFuture[M]", derived(super().map(func), (self,)))

    def filter(self: Future[Iterable[J]], func: Callable[[J], bool]) -> GreenFuture[Iterable[J]]:
        """Return a future of the items ``func`` accepts; see Pykka."""
        return cast("GreenFuture[Iterable[J]]", derived(Future.filter(self, func), (self,)))

    def join(self: Future[Any], *futures: Future[Any]) -> GreenFuture[Iterable[Any]]:
        """Return a future of the list of all results; see Pykka."""
        joined = derived(Future.join(self, *futures), (self, *futures))
        return cast("GreenFuture[Iterable[Any]]", joined)

    def reduce(self: Future[Iterable[J]], func: Callable[[R, J], R], *args: R) -> GreenFuture[R]:
        """Return a future of the items reduced by ``func``; see Pykka."""
        return cast("GreenFuture[R]", derived(Future.reduce(self, func, *args), (self,)))

    def __await__(self) -> Generator[None, None, T]:
        """Wait in an asyncio task; the loop goes on meanwhile."""
        if not self.done:
            import asyncio  # only a program that awaits pays for it

            loop = asyncio.get_running_loop()
            leaves = self._leaves() if self._get_hook is not None else [self]
            if not leaves:  # a hook we know nothing of may block, so it may not run here
                return (yield from loop.run_in_executor(None, self.get).__await__())
            for leaf in leaves:
                yield from leaf._await_done(loop)
        return self.get()

    __iter__ = __await__

    def _settle(self, outcome: tuple[Any, ExcInfo | None]) -> None:
        if (
            self._get_hook is not None
            or self.__dict__.setdefault("_outcome", outcome) is not outcome
        ):
            raise queue.Full
        if self._first is not None:
            wake_up(*self._first)
        if self._waiters is not None:
            self._call_waiters()

    def _run_hook(self, timeout: float | None) -> T:
        deadline = None if timeout is None else monotonic() + timeout
        while self._get_hook_result is _UNSET:
            turn: GreenFuture[None] = GreenFuture()
            running = self.__dict__.setdefault("_hook_running", turn)
            if running is not turn:  # another greenlet or thread is at it; it may yet fail
                running.get(timeout=None if deadline is None else deadline - monotonic())
                continue
            try:
                assert self._get_hook is not None
                self._get_hook_result = self._get_hook(timeout)
            finally:
                del self.__dict__["_hook_running"]
                turn.set(None)
            self._call_waiters()
        return cast("T", self._get_hook_result)

    def _leaves(self) -> list[GreenFuture[Any]] | None:
        """The futures the get hook waits for; None when that is not known."""
        leaves: list[GreenFuture[Any]] = []
        for source in self._sources:
            if not isinstance(source, GreenFuture):
                return None
            below = source._leaves() if source._get_hook is not None else [source]
            if below is None:
                return None
            leaves += below
        return leaves or None

    def _add_waiter(self, fn: Callback) -> None:
        waiters = self.__dict__.setdefault("_waiters", [])
        waiters.append(fn)
        if self._outcome is not None or self._get_hook_result is not _UNSET:
            self._call_waiters()

    def _call_waiters(self) -> None:
        waiters = self._waiters
        while waiters:
            try:
                fn = waiters.pop(0)
            except IndexError:  # another thread took the last one
                return
            _call(fn, self)

    def _drop_waiter(self, fn: Callback) -> None:
        with suppress(ValueError):  # it was called meanwhile
            cast("list[Callback]", self._waiters).remove(fn)

    def _wait(self, timeout: float | None, lender: Lender | None = None) -> None:
        """Wait for the result, or for the time to be over.

        :param lender: runs in this greenlet's turn, instead of the hub, and wakes it; it must see
            to it that the hub has its turn soon. Only in a hub's thread and without a timeout.
        """
        if timeout is not None and timeout <= 0:
            return
        hub = get_hub_if_exists()
        if hub is None:
            self._wait_in_thread(timeout)
            return
        sleep = Sleep()
        sleep.greenlet = getcurrent()
        sleep.unset_alarm = None
        loop = hub.loop
        waking = (sleep.end, loop if lender is None else lender.dispatcher, hub.thread_ident)
        if self.__dict__.setdefault("_first", waking) is not waking:
            self._wait_behind(hub, sleep, waking, timeout)
            return
        loop.ref()  # only a foreign thread may be left to wake us: the loop must not run out
        try:
            if timeout is not None:
                sleep.set_alarm(hub, timeout)
            if self._outcome is None:  # else it came before the setter could know of us
                if lender is not None:
                    lender.run_now()
                while sleep.greenlet is not None:  # others may switch to us by mistake
                    hub.switch()
        finally:
            loop.unref()
            sleep.close()
            if self._outcome is None:
                del self._first

    def _wait_in_thread(self, timeout: float | None) -> None:
        gate = Lock()
        gate.acquire()

        def wake(_: object) -> None:
            gate.release()

        self._add_waiter(wake)
        try:
            acquire(gate, timeout)
        finally:
            if self._outcome is None:
                self._drop_waiter(wake)

    def _wait_behind(self, hub: Any, sleep: Sleep, waking: Waking, timeout: float | None) -> None:
        """Wait where another greenlet waits already."""

        def wake(_: object) -> None:
            wake_up(*waking)

        self._add_waiter(wake)
        hub.loop.ref()
        try:
            if timeout is not None:
                sleep.set_alarm(hub, timeout)
            while self._outcome is None and sleep.greenlet is not None:
                hub.switch()
        finally:
            hub.loop.unref()
            sleep.close()
            if self._outcome is None:
                self._drop_waiter(wake)

    def _await_done(self, loop: Any) -> Generator[None, None, None]:
        arrived = loop.create_future()

        def arrive() -> None:
            if not arrived.done():
                arrived.set_result(None)

        def wake(_: object) -> None:
            loop.call_soon_threadsafe(arrive)

        self._add_waiter(wake)
        try:
            yield from arrived.__await__()
        finally:
            if self._outcome is None:
                self._drop_waiter(wake)


def derived(future: Future[Any], sources: tuple[Future[Any], ...]) -> Future[Any]:
    """Note what ``future`` waits for, so that awaiting it needs no thread."""
    cast("GreenFuture[Any]", future)._sources = sources
    return future


def _call(fn: Callback, future: Future[Any]) -> None:
    # Whoever sets a result must not suffer for those who wait for it.
    try:
        fn(future)
    except BaseException:
        logger.exception("a done callback of a future failed: %r", fn)
