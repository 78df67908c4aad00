"""A gevent hub as a thing other threads can talk to; or a new one, in an OS thread of its own.

Rules it owns: an own hub never ends before it is closed, whatever its greenlets do (no
``LoopExit``, no ``SystemExit`` from a handler); what was accepted is run or answered with
:class:`HubClosedError`; after a fork every handle raises :class:`ForkedError`; a hub that nobody
closed is closed when the interpreter exits.
"""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from gevent.hub import Waiter, get_hub
from greenlet import GreenletExit, greenlet
from pykka import Timeout

from .errors import ForkedError, HubClosedError
from .future import GreenFuture
from .inlet import Inlet
from .originals import NativeThread, start_thread

__all__ = ["CLOSE_GRACE_S", "Hub"]

logger = logging.getLogger(__name__)

CLOSE_GRACE_S = 1.0
"""Seconds the greenlets of a closing hub have for their ``finally`` blocks."""

EXIT_CLOSE_S = 5.0
"""Seconds an own hub that nobody closed has to end when the interpreter exits."""

_ATTRIBUTE = "greenroom_hub"
_started: weakref.WeakSet[Hub] = weakref.WeakSet()

P = ParamSpec("P")
T = TypeVar("T")


class Hub:
    """A handle on a gevent hub; every method may be called from any thread.

    ``Hub.start()`` owns a hub in a thread of its own and is a context manager that closes it;
    ``Hub.current()`` wraps the hub of the calling thread, which goes on when the handle is closed.
    """

    __slots__ = ("__weakref__", "_calls", "_closing", "_ended", "_inlet", "_main_waiter",
                 "_owned", "_ready", "_thread", "name")

    _inlet: Inlet
    _thread: NativeThread

    def __init__(self, name: str, *, owned: bool) -> None:
        self.name = name
        self._owned = owned
        self._closing = False
        self._ended: GreenFuture[None] = GreenFuture()
        self._ready: GreenFuture[None] = GreenFuture()
        self._calls: dict[Any, GreenFuture[Any]] = {}
        self._main_waiter: Any = None

    @classmethod
    def start(cls, name: str = "greenroom-hub") -> Hub:
        """Start an OS thread with a gevent hub of its own, and wait until it runs."""
        hub = cls(name, owned=True)
        hub._thread = start_thread(hub._serve, name)
        hub._ready.get()
        _started.add(hub)
        return hub

    @classmethod
    def current(cls) -> Hub:
        """The hub of the calling thread; inside an own hub's thread, that very object.

        gevent makes a hub for a thread that has none.
        """
        return cls.of(Inlet.of(get_hub()))

    @classmethod
    def of(cls, inlet: Inlet) -> Hub:
        """The hub behind an inlet, as :meth:`current` gives it; from any thread."""
        own: Hub | None = getattr(inlet.hub, _ATTRIBUTE, None)
        if own is not None and not inlet.forked and own._inlet is inlet:
            return own
        hub = cls(inlet.hub.name or "current", owned=False)
        hub._inlet = inlet
        return hub

    def __repr__(self) -> str:
        return f"<Hub {self.name!r} {'closed' if self.closed else 'open'}>"

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called, or the hub has ended."""
        return self._closing or self._inlet.closed

    @property
    def gevent_hub(self) -> Any:
        """gevent's own hub object, for code that runs in its thread."""
        return self._inlet.hub

    @property
    def loop(self) -> Any:
        """gevent's event loop, for watchers; only the hub's own thread may touch it."""
        return self._inlet.loop

    @property
    def thread_ident(self) -> int:
        """The ident of the hub's thread, as the system gives it; 0 when closed or forked."""
        return self._inlet.thread_ident

    def is_current(self) -> bool:
        """Whether the caller runs in this hub's thread."""
        return self._inlet.local

    def post(self, fn: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call ``fn`` in the hub's loop, in the order of posting. It must not block.

        What ``fn`` raises is logged.

        :raises HubClosedError: the hub is closed; ``fn`` will not be called.
        :raises ForkedError: this is the child of a fork.
        """
        self._check()
        if kwargs:
            self._inlet.put(lambda: fn(*args, **kwargs))
        else:
            self._inlet.put(fn, *args)

    def submit(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> GreenFuture[T]:
        """Call ``fn`` in a new greenlet of the hub; its result or any exception is the future's.

        :raises HubClosedError: the hub is closed. A call that is cut by :meth:`close` has this
            exception in its future.
        :raises ForkedError: this is the child of a fork.
        """
        self._check()
        future: GreenFuture[T] = GreenFuture()
        self._inlet.put(self._spawn, future, fn, args, kwargs)
        return future

    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn`` in the hub's thread and return its result: directly when already there.

        :raises HubClosedError: the hub is closed.
        :raises ForkedError: this is the child of a fork.
        """
        self._check()
        if self._inlet.local:
            return fn(*args, **kwargs)
        return self.submit(fn, *args, **kwargs).get()

    def close(self, timeout: float | None = None) -> bool:
        """Take nothing more in, finish what was posted, cut what was submitted, end the thread.

        A wrapped hub belongs to its host and goes on: only this handle ends. May be called again.
        From the hub's own thread it can not wait, and only asks.

        :param timeout: seconds to wait for the end; None waits for it.
        :returns: whether the hub has ended (or, wrapped, the handle has).
        :raises ForkedError: this is the child of a fork.
        """
        if self._inlet.forked:
            raise ForkedError(f"hub {self.name!r} belongs to the parent process")
        first, self._closing = not self._closing, True
        if not self._owned:
            if first:
                self._ended.set(None)
            return True
        if first:
            with suppress(HubClosedError):  # another closer was as fast, and it has ended
                self._inlet.put(self._end)
        if not self._inlet.local:
            return self._wait_for_end(timeout)
        return self._ended.done

    def _wait_for_end(self, timeout: float | None) -> bool:
        try:
            self._ended.get(timeout=timeout)
        except Timeout:
            return False
        return self._thread.join(timeout)

    def _check(self) -> None:
        if self._closing and not self._inlet.forked:
            raise HubClosedError(f"hub {self.name!r} is closed")
        self._inlet.check()

    # The rest runs in the hub's thread.

    def _spawn(
        self,
        future: GreenFuture[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        worker = greenlet(self._run, parent=self._inlet.hub)
        self._calls[worker] = future
        self._inlet.greenlets.add(worker)
        worker.switch(worker, future, fn, args, kwargs)

    def _run(
        self,
        worker: Any,
        future: GreenFuture[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            cut = self._inlet.closed and isinstance(error, GreenletExit)
            if self._calls.pop(worker, None) is not None:
                future.set_exception(self._cut() if cut else error)
        else:
            if self._calls.pop(worker, None) is not None:
                future.set(result)
        finally:
            self._inlet.leave(worker)

    def _cut(self) -> HubClosedError:
        return HubClosedError(f"hub {self.name!r} closed while the call ran")

    def _end(self) -> None:
        self._inlet.loop.run_callback(self._main_waiter.switch, None)

    def _serve(self) -> None:
        try:
            gevent_hub = get_hub()
            gevent_hub.name = self.name
            self._inlet = Inlet.of(gevent_hub)
            setattr(gevent_hub, _ATTRIBUTE, self)
            # A started watcher keeps the loop from running out when nothing else is pending.
            keep_alive = self._inlet.loop.async_()
            keep_alive.start(_nothing)
            self._main_waiter = Waiter(gevent_hub)
            self._inlet.put(self._ready.set, None)
        except BaseException as error:  # no descriptors for another loop
            self._ready.set_exception(error)
            raise
        try:
            self._serve_until_end()
            self._inlet.close()
            self._cut_greenlets()
        finally:
            keep_alive.stop()
            keep_alive.close()
            gevent_hub.destroy(destroy_loop=True)
            self._ended.set(None)

    def _serve_until_end(self) -> None:
        while True:
            try:
                self._main_waiter.get()
                return
            except BaseException:
                # gevent throws a SystemExit or KeyboardInterrupt of any greenlet in here: one
                # greenlet's end is not the end of all.
                logger.exception("hub %r: a greenlet raised an error meant for the main one",
                                 self.name)
                if self._inlet.hub.dead:  # somebody destroyed it
                    return
                self._main_waiter = Waiter(self._inlet.hub)

    def _cut_greenlets(self) -> None:
        inlet = self._inlet
        self._main_waiter = waiter = Waiter(inlet.hub)
        inlet.on_empty = self._end
        for worker in inlet.greenlets:
            inlet.loop.run_callback(worker.throw, GreenletExit)
        grace = inlet.loop.timer(CLOSE_GRACE_S if inlet.greenlets else 0)
        grace.start(waiter.switch, None)
        try:
            self._serve_until_end()
        finally:
            grace.stop()
            grace.close()
        while self._calls:  # these swallowed the exit
            self._calls.popitem()[1].set_exception(self._cut())


def _nothing(*_args: object) -> None:
    """Do nothing."""


def _close_all() -> None:
    # A loop that still runs while the interpreter is taken down crashes the process.
    for hub in list(_started):
        if not hub._inlet.forked:
            hub.close(timeout=EXIT_CLOSE_S)


atexit.register(_close_all)
