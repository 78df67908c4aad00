"""Runs the actors of one gevent hub, without a greenlet per actor.

Actors with messages stand in a run queue; a worker greenlet takes them in turn, for at most
:data:`TURN_BUDGET_S`, then lets the loop look at its files and timers. A handler that blocks
keeps its worker, and the next worker takes over.

The invariant: *while the run queue is not empty, a kick is pending in the loop.* Whoever leaves
the queue filled, or puts the first actor in, sees to it.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from gevent.hub import get_hub
from greenlet import GreenletExit, getcurrent, greenlet

from .deadletters import DeadLetters
from .inlet import Inlet
from .originals import nap

if TYPE_CHECKING:
    from .cell import Cell
    from .detours import Around
    from .waking import Sleep

__all__ = ["CHECK_EVERY", "IDLE_WORKERS_MAX", "TURN_BUDGET_S", "Dispatcher", "Worker"]

logger = logging.getLogger(__name__)

TURN_BUDGET_S = 0.002
"""How long actors run before the loop may look at its files and timers."""

CHECK_EVERY = 32
"""Messages between two looks at the clock, while handlers are fast; also how many messages one
actor may take while others wait."""

SLOW_CHECK_S = TURN_BUDGET_S / 4
"""When that many took longer than this, the clock is looked at after every message."""

NAP_EVERY_S = 0.005
NAP_S = 0.00005
"""While actors fill every turn, the hub's thread sleeps this long this often.

A thread that waits for the interpreter asks for it after 5 ms without a sign of life, and each
poll is such a sign, too short to catch: without the nap a native thread was seen to wait
for a second behind one flooding actor.
"""

IDLE_WORKERS_MAX = 16
"""Worker greenlets kept for reuse; what blocked handlers needed beyond that is let go."""

_ATTRIBUTE = "greenroom_dispatcher"
_GO = object()


class Worker(greenlet):  # type: ignore[misc]
    """A greenlet that runs actors. ``cell``: the one whose callback it is in now, or None."""

    cell: Cell | None = None


class Dispatcher:
    """The actors of one hub: their run queue, their workers, their dead letters.

    Get it with :meth:`current` or :meth:`of`; it hangs on the gevent hub itself. Attributes:
    ``inlet``, ``dead_letters``, ``cells`` (of all actors alive), ``urn_prefix`` and ``serials``
    (of which the URNs of its actors are made), ``kicked`` (whether a kick is pending),
    ``around`` (what stands between mailboxes and handlers, None: nothing, and it costs nothing),
    ``names`` (their registry, made on first use), ``restarts`` (of supervised actors) and
    ``retired_handled`` (messages handled by actors that have ended), for metrics.
    """

    __slots__ = ("_after_poll", "_hub", "_idle", "_kick_callback", "_lent", "_loop",
                 "_loop_due", "_napped", "_queue",
                 "_workers", "around", "cells", "dead_letters", "inlet", "kicked", "names",
                 "restarts", "retired_handled", "serials", "urn_prefix")

    def __init__(self, hub: Any, inlet: Inlet) -> None:
        self.inlet = inlet
        self.dead_letters = DeadLetters()
        self.cells: set[Cell] = set()
        self.urn_prefix = f"urn:uuid:{str(uuid.uuid4())[:24]}"
        self.serials = itertools.count(1)
        self._hub = hub
        self._loop = inlet.loop
        self._queue: deque[Cell] = deque()
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self.around: Around | None = None
        self.names: Any = None
        self.restarts = 0
        self.retired_handled = 0
        self.kicked = False
        self._kick_callback: Any = None
        self._napped = 0.0
        self._lent: Any = None
        self._loop_due = 0.0
        self._after_poll: Any = self._loop.async_()
        inlet.at_close(self._close)

    @classmethod
    def current(cls) -> Dispatcher:
        """The dispatcher of the calling thread's hub; gevent makes a hub if there is none."""
        return cls.of(get_hub())

    @classmethod
    def of(cls, hub: Any) -> Dispatcher:
        """The dispatcher of this gevent hub; made on first use, and anew in a forked child."""
        dispatcher: Dispatcher | None = getattr(hub, _ATTRIBUTE, None)
        if dispatcher is None or dispatcher.inlet.forked:
            dispatcher = cls(hub, Inlet.of(hub))
            setattr(hub, _ATTRIBUTE, dispatcher)
        return dispatcher

    def __repr__(self) -> str:
        return f"<Dispatcher {len(self.cells)} actors, {len(self._queue)} runnable>"

    @property
    def runnable(self) -> int:
        """Actors that wait for a worker."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Workers that run or are blocked in a handler."""
        return len(self._workers) - len(self._idle)

    @property
    def idle(self) -> int:
        """Workers kept for reuse, at most :data:`IDLE_WORKERS_MAX`."""
        return len(self._idle)

    def worker_of(self, cell: object) -> Worker | None:
        """The worker that runs, or is blocked in, a callback of this actor."""
        for worker in self._workers:
            if worker.cell is cell:
                return worker
        return None

    def busy_cells(self) -> dict[Cell, Worker]:
        """The actors in whose callbacks workers are now, and which."""
        return {worker.cell: worker for worker in list(self._workers) if worker.cell is not None}

    def schedule(self, cell: Cell) -> None:
        """Put an actor into the run queue. Only in the hub's thread, and only if it is in none."""
        self._queue.append(cell)
        if not self.kicked:
            self.kicked = True
            self._kick_callback = self._loop.run_callback(self._kick)

    def run_now(self, cell: Cell) -> None:
        """Run an actor with the calling greenlet's turn, which is over: it waits for the answer.

        Only while nothing is :attr:`kicked`. The worker gives the turn back to the caller, unless
        the loop has not had its own for :data:`TURN_BUDGET_S`.
        """
        if self._idle:
            self._queue.append(cell)
            self._idle.pop().switch(_GO)
        else:
            self.schedule(cell)

    def run_callback(self, end: Callable[[], object]) -> None:
        """Wake a greenlet that lent its turn to an actor; in the loop, unless a worker is faster.

        The hand-over from greenlet to greenlet spares a whole iteration of the loop. The callback
        is there all the same: the worker may block before its turn is over.
        """
        self._lent = (end, self._loop.run_callback(end))

    def run_callback_threadsafe(self, end: Callable[[], object]) -> None:
        """:meth:`run_callback`, from another thread."""
        self._loop.run_callback_threadsafe(end)

    def _give_back(self) -> Any:
        """Go on where the turn came from, if that may be; what the worker is switched to with."""
        (end, callback), self._lent = self._lent, None
        now = monotonic()
        if now >= self._loop_due or self.kicked:
            self._loop_due = now + TURN_BUDGET_S
            return None
        sleep: Sleep = end.__self__
        lender, sleep.greenlet = sleep.greenlet, None
        if lender is None:  # it went on for another reason
            return None
        callback.stop()
        return lender.switch()

    def _kick(self) -> None:
        """In the hub greenlet: let a worker have its turn."""
        self.kicked = False
        if not self._queue or self.inlet.forked:
            return
        if self._idle:
            self._idle.pop().switch(_GO)
            return
        worker = Worker(self._work, parent=self._hub)
        self._workers.add(worker)
        self.inlet.greenlets.add(worker)
        worker.switch()

    def _work(self) -> None:
        worker: Any = getcurrent()
        idle, hub = self._idle, self._hub
        try:
            while True:
                self._turn(worker)
                if len(idle) >= IDLE_WORKERS_MAX or self.inlet.closed:
                    return
                idle.append(worker)
                told = None if self._lent is None else self._give_back()
                # Something a handler left behind may still switch to this greenlet: go back.
                while told is not _GO:
                    told = hub.switch()
        except GreenletExit:
            return  # killed while idle, by somebody who remembered the greenlet of a handler
        except BaseException:
            # Thrown in while idle (a gevent.Timeout a handler forgot): another worker is made.
            logger.exception("an idle worker was ended by an exception")
        finally:
            self._workers.discard(worker)
            if worker in idle:
                idle.remove(worker)
            self.inlet.leave(worker)

    def _turn(self, worker: Worker) -> None:
        queue, around = self._queue, self.around
        # The clock starts after the first message: most turns have no second one.
        deadline = looked = 0.0
        quota = 1
        while queue:
            cell = queue.popleft()
            if queue and not self.kicked:
                # This handler may block, and then the next kick must be there already.
                self.kicked = True
                self._kick_callback = self._loop.run_callback(self._kick)
            worker.cell = cell
            quota -= cell.run(quota, around)
            if cell.scheduled:
                queue.append(cell)
            if quota <= 0 and queue:
                now = monotonic()
                if not deadline:
                    deadline = now + TURN_BUDGET_S
                    quota = 1
                elif now >= deadline:
                    self._let_threads_run(now)
                    break
                else:
                    quota = CHECK_EVERY if now - looked < SLOW_CHECK_S else 1
                looked = now
        worker.cell = None
        if queue:
            self._kick_after_poll()

    def _let_threads_run(self, now: float) -> None:
        if now - self._napped >= NAP_EVERY_S:
            nap(NAP_S)
            self._napped = now

    def _kick_after_poll(self) -> None:
        # gevent runs up to 50 callbacks before it polls, which would be 50 of our budgets. An
        # async watcher fires after the poll; a timer of zero would make epoll wait for 1 ms.
        if self._kick_callback is not None:
            self._kick_callback.stop()
            self._kick_callback = None
        self.kicked = True
        if not self._after_poll.active:
            self._after_poll.start(self._polled)
        self._after_poll.send()

    def _polled(self) -> None:
        self._after_poll.stop()
        self._kick()

    def _close(self, forked: bool) -> None:
        cells = list(self.cells)
        self.cells.clear()
        self._queue.clear()
        for cell in cells:
            if forked:
                cell.disown()
            else:
                cell.abandon()
        if not forked:
            self._after_poll.stop()
            self._after_poll.close()
