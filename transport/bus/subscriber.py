"""A subscriber's end of the bus: stored events in order, gap-free, each once.

Plain pyzmq, for any thread of any process; in the hub of the publisher's own runtime it would wait
for itself: a greenlet uses :class:`~.green_subscriber.GreenSubscriber`, a coroutine
:class:`~.async_subscriber.AsyncSubscriber`. It works only while it is called: there is no thread
behind it. Rules owned here: one thread reads at a time; who leaves last after ``close()`` ends the
sockets.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from ...actors.model.event import SessionEvent
from . import following
from .following import Following


class Subscriber(Following):
    """Follows one session, or all sessions of a runtime; parameters as :class:`Following`.

    Iterating blocks and ends when the subscriber is closed, also from another thread. One thread
    reads at a time.

    :raises BusTimeoutError: ``after=NOW``, and the runtime does not answer.
    """

    def _begin(self) -> None:
        self._lock = self._make_lock()
        if self._seeks_now:
            self._find_now()

    def next(self, timeout: float | None = None) -> SessionEvent | None:
        """The next event.

        :param timeout: seconds to wait; ``None`` waits for ever.
        :returns: ``None`` when the time is up or the subscriber was closed meanwhile.
        :raises BusClosedError: it is closed, or was made before a fork.
        :raises BusProtocolError: the runtime speaks another version.
        :raises BusRemoteError: the runtime failed to answer, again and again.
        """
        self._check_open()
        return self._follower.take() or self._wait(timeout)

    def read(self, timeout: float | None = None) -> list[SessionEvent]:
        """The events that are there, after waiting for the first as :meth:`next` does."""
        event = self.next(timeout)
        return [] if event is None else [event, *self._follower.take_all()]

    def run(self, callback: Callable[[SessionEvent], object]) -> None:
        """Call ``callback`` with each event, here, until the subscriber is closed.

        What it raises ends this; :meth:`cursor` is then after the event it was called with.
        """
        for event in self:
            callback(event)

    def __iter__(self) -> Iterator[SessionEvent]:
        while not self._closed and self._owner == os.getpid():
            event = self._follower.take() or self._wait(None)
            if event is not None:
                yield event

    def close(self) -> None:
        """Stop; a reader in another thread returns. Idempotent."""
        if self._owner != os.getpid():
            return
        self._closed = True
        self._connection.wake()
        self._settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- how a thread waits ---------------------------------------------------------------------

    def _make_lock(self) -> Any:
        return threading.Lock()

    def _pause(self, seconds: float) -> None:
        self._connection.wait(seconds)

    # -- work -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """The sockets belong to one thread at a time; who leaves last after close() ends them."""
        try:
            with self._lock:
                yield
        finally:
            self._settle()

    def _settle(self) -> None:
        while self._closed and self._lock.acquire(blocking=False):
            try:
                if self._connection.destroyed:
                    return
                self._connection.destroy()
            finally:
                self._lock.release()

    def _wait(self, timeout: float | None) -> SessionEvent | None:
        event: SessionEvent | None = None
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        with self._reading():
            in_time = True
            while event is None and in_time and not self._closed:
                in_time = self._work(deadline)
                event = self._follower.take()
        return event

    def _work(self, deadline: float) -> bool:
        """Ask, wait and take in, once; whether there is time left."""
        self._pause(self._follower.begin(deadline))
        self._follower.take_in()
        return time.monotonic() < deadline

    def _find_now(self) -> None:
        deadline = time.monotonic() + following.NOW_TIMEOUT_S
        with self._reading():
            while not self._machine.synced and self._work(deadline):
                pass
        if not self._machine.synced:
            self.close()
            raise self._no_answer()
