"""The one door by which callbacks enter a gevent loop, from any thread, in order.

Rules it owns: what was accepted runs exactly once, and what can not run any more is refused with
an error at the caller; a callback's error never reaches the hub; after a fork nothing enters.

It takes no lock: a callback lies in a one-item list, and whoever pops it (the loop to run it, or
a caller who finds the inlet closed behind his back) has it.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from .errors import ForkedError, HubClosedError
from .originals import get_ident

__all__ = ["INLET_BATCH", "Inlet"]

logger = logging.getLogger(__name__)

INLET_BATCH = 256
"""Callbacks that run before the loop may look at anything else."""

_ATTRIBUTE = "greenroom_inlet"
_inlets: weakref.WeakSet[Inlet] = weakref.WeakSet()


class Inlet:
    """The door of one gevent hub; get it with :meth:`of`.

    Attributes: ``hub`` and ``loop`` (gevent's), ``thread_ident`` (of the hub's thread, 0 once
    closed or forked, because the system gives idents of ended threads to new ones), ``greenlets``
    (ours in this hub, which must end before it does), ``on_empty`` (called when the last of them
    has left a closed inlet), ``timekeeper`` (the clock that was put in, None: the system's).
    """

    __slots__ = ("__weakref__", "_at_close", "_items", "_rung", "closed", "forked", "greenlets",
                 "hub", "loop", "on_empty", "thread_ident", "timekeeper")

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.loop = hub.loop
        self.thread_ident: int = hub.thread_ident
        self.closed = False
        self.forked = False
        self._items: deque[list[tuple[Callable[..., object], tuple[Any, ...]]]] = deque()
        self._rung = False
        self._at_close: list[Callable[[bool], None]] = []
        self.greenlets: set[Any] = set()
        self.on_empty: Callable[[], object] | None = None
        self.timekeeper: Any = None
        _inlets.add(self)

    @classmethod
    def of(cls, hub: Any) -> Inlet:
        """The inlet of this gevent hub; made on first use, and anew in the child of a fork."""
        inlet: Inlet | None = getattr(hub, _ATTRIBUTE, None)
        if inlet is None or inlet.forked:
            inlet = cls(hub)
            setattr(hub, _ATTRIBUTE, inlet)
        return inlet

    @property
    def local(self) -> bool:
        """Whether the caller runs in the hub's own thread."""
        return self.thread_ident == get_ident()

    def check(self) -> None:
        """Raise what :meth:`put` would raise.

        :raises ForkedError: this is the child of a fork.
        :raises HubClosedError: the hub is closed.
        """
        if self.forked:
            raise ForkedError("the hub belongs to the parent process")
        if self.closed:
            raise HubClosedError("the hub is closed")

    def put(self, fn: Callable[..., object], *args: Any) -> None:
        """Have ``fn(*args)`` called in the hub's loop, after all that was put before.

        May be called from any thread. ``fn`` must not block; what it raises is logged.

        :raises ForkedError: this is the child of a fork.
        :raises HubClosedError: the hub is closed; ``fn`` will not be called.
        """
        self.check()
        item = [(fn, args)]
        self._items.append(item)
        if self.closed:
            return self._withdraw(item)
        if not self._rung:
            self._rung = True
            try:
                self._ring()
            except Exception:  # the loop was destroyed since the last line: withdraw or it ran
                return self._withdraw(item)
        return None

    def at_close(self, fn: Callable[[bool], None]) -> None:
        """Have ``fn(forked)`` called when the hub closes (False) or was left behind by a fork."""
        self._at_close.append(fn)

    def leave(self, worker: Any) -> None:
        """Note that one of :attr:`greenlets` is about to end."""
        self.greenlets.discard(worker)
        if self.closed and not self.greenlets and self.on_empty is not None:
            self.on_empty()

    def close(self) -> None:
        """Refuse what comes, run what is here, then tell everybody who asked to know.

        Only in the hub's thread.
        """
        if self.closed:
            return
        self.closed = True
        while self._items:
            self._run_some(len(self._items))
        for fn in reversed(self._at_close):
            fn(False)
        self.thread_ident = 0

    def _ring(self) -> None:
        if self.thread_ident == get_ident():
            self.loop.run_callback(self._answer)
        else:
            self.loop.run_callback_threadsafe(self._answer)

    def _answer(self) -> None:
        # Cleared first: whoever adds from here on rings again, or is counted below.
        self._rung = False
        self._run_some(min(len(self._items), INLET_BATCH))
        if self._items and not self._rung:
            self._rung = True
            self._ring()

    def _run_some(self, count: int) -> None:
        for _ in range(count):
            try:
                fn, args = self._items.popleft().pop()
            except IndexError:  # withdrawn
                continue
            try:
                fn(*args)
            except BaseException:
                logger.exception("a callback posted to the hub failed: %r", fn)

    def _withdraw(self, item: list[Any]) -> None:
        try:
            item.pop()
        except IndexError:
            return  # the loop was faster: it ran
        raise HubClosedError("the hub is closed")

    def _abandon(self) -> None:
        """In the child of a fork: the thread that served this inlet is not here."""
        self.forked = True
        self.thread_ident = 0
        self._items.clear()
        for fn in self._at_close:
            fn(True)


def _after_fork_in_child() -> None:
    for inlet in list(_inlets):
        inlet._abandon()


os.register_at_fork(after_in_child=_after_fork_in_child)
