"""The threading primitives of the interpreter, also in a host that gevent has monkey-patched.

The one room that asks for originals: in a patched host ``threading``, ``_thread`` and ``queue``
are gevent's, and a "thread" of theirs is a greenlet (G3). Everything here blocks the calling
*OS thread*; a greenlet waits on a :class:`~.future.GreenFuture` instead.
"""

from __future__ import annotations

import logging
from _queue import SimpleQueue
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gevent.monkey import get_original

__all__ = ["Lock", "NativeEvent", "NativeThread", "ReentrantLock", "SimpleQueue", "get_ident",
           "start_thread"]

logger = logging.getLogger(__name__)

# gevent replaces these names inside the C module as well, so importing them is not enough.
Lock: Callable[[], Any] = get_original("_thread", "allocate_lock")
ReentrantLock: Callable[[], Any] = get_original("_thread", "RLock")
get_ident: Callable[[], int] = get_original("_thread", "get_ident")
nap: Callable[[float], None] = get_original("time", "sleep")
"""Block the OS thread for so many seconds, and let other threads have the interpreter."""
_start_new_thread: Callable[..., int] = get_original("_thread", "start_new_thread")

_WAIT_MAX_S = 4_000_000.0
"""Longest wait a native lock takes (its limit is C's, about 2**63 ns)."""


def acquire(lock: Any, timeout: float | None) -> bool:
    """Acquire a native ``lock`` within ``timeout`` seconds (None: no limit)."""
    if timeout is None:
        return bool(lock.acquire())
    return bool(lock.acquire(True, min(max(timeout, 0.0), _WAIT_MAX_S)))


class NativeEvent:
    """A flag that is set once; any number of OS threads may wait for it."""

    __slots__ = ("_flag", "_gate")

    def __init__(self) -> None:
        self._flag = False
        self._gate = Lock()
        self._gate.acquire()

    def is_set(self) -> bool:
        """Whether :meth:`set` has been called."""
        return self._flag

    def set(self) -> None:
        """Let every waiter go, now and later. Setting twice does nothing."""
        if not self._flag:
            self._flag = True
            self._open()

    def wait(self, timeout: float | None = None) -> bool:
        """Block the OS thread until the flag is set or ``timeout`` seconds passed.

        :returns: whether the flag is set.
        """
        if not self._flag and acquire(self._gate, timeout):
            self._open()  # one release wakes one waiter, who wakes the next
        return self._flag

    def _open(self) -> None:
        # Two setters, or a setter and a waiter: that it is open is all that matters.
        with suppress(RuntimeError):
            self._gate.release()


class NativeThread:
    """A running OS thread; it is a daemon: it does not keep the interpreter alive.

    Attributes: ``name``, ``ident`` (as :func:`get_ident` gives it inside the thread).
    """

    __slots__ = ("_ended", "ident", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ident = 0
        self._ended = NativeEvent()

    def __repr__(self) -> str:
        return f"<NativeThread {self.name!r} {self.ident}>"

    def join(self, timeout: float | None = None) -> bool:
        """Block the OS thread until this one has ended, at most ``timeout`` seconds.

        :returns: whether it has ended.
        """
        return self._ended.wait(timeout)

    def _main(self, target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException:
            logger.exception("native thread %r ended with an error", self.name)
        finally:
            self._ended.set()


def start_thread(target: Callable[[], object], name: str) -> NativeThread:
    """Run ``target()`` in a new OS thread, also where ``threading`` is patched.

    An exception that leaves ``target`` is logged and ends the thread.
    """
    thread = NativeThread(name)
    thread.ident = _start_new_thread(thread._main, (target,))
    return thread
