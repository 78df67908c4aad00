"""Runs real actors in an order drawn from a seed, and writes down which order that was.

::

    for seed in range(1000):
        with SeededScheduler(seed) as scheduler:
            ref = Account.start()
            ref.tell("deposit")
            other.tell("withdraw")
            scheduler.run()                  # until nothing is left to do, timers included
            assert_conserved(ref)

Rules it owns: the same seed gives the same order and the same trace, byte for byte, in every
process, as long as the actors draw on no chance, no clock but the kernel's and no other thread;
each message is one step, and after it another actor, or a greenlet that was waiting, or a timer,
may be next. The actors are unchanged; only what the kernel leaves open is decided by the seed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from math import inf
from typing import Any

import gevent
from gevent.hub import get_hub

from ..runtime.deadletters import DeadLetter
from ..runtime.dispatcher import Dispatcher, Worker
from ..runtime.inlet import Inlet
from ..runtime.ref import GreenRef
from .clock import VirtualClock

__all__ = ["STEPS_MAX", "TIMER_CHANCE", "YIELD_CHANCE", "SeededDispatcher", "SeededScheduler"]

YIELD_CHANCE = 0.25
"""How likely greenlets that wait get their turn after a message."""

TIMER_CHANCE = 0.1
"""How likely the next timer fires although there are messages left."""

STEPS_MAX = 1_000_000
"""Messages in one run after which it counts as endless."""

_ATTRIBUTE = "greenroom_dispatcher"
_OURS = "greenroom_seeded_dispatcher"
URN_PREFIX = "urn:uuid:00000000-0000-0000-0000-"


class SeededDispatcher(Dispatcher):
    """A dispatcher that takes actors from its run queue in an order drawn from a seed.

    Attributes: ``steps`` (messages handled), ``trace`` (a line per step, None: not kept).
    """

    __slots__ = ("_draw", "steps", "trace")

    def __init__(self, hub: Any, inlet: Inlet) -> None:
        super().__init__(hub, inlet)
        self.dead_letters.subscribe(self._note_letter)
        self.reseed(0, False)

    def reseed(self, seed: int, traced: bool) -> None:
        """Begin again, as if newly made."""
        self._queue: Any = []
        self._draw: Callable[[], float] = random.Random(seed).random
        self.serials = itertools.count(1)
        self.urn_prefix = URN_PREFIX
        self.steps = 0
        self.trace: list[str] | None = [f"seed {seed}"] if traced else None
        self.around = self.names = None
        self.restarts = self.retired_handled = 0

    def draw(self) -> float:
        """The next number of the seed, in [0, 1)."""
        return self._draw()

    def run_now(self, cell: Any) -> None:
        """No shortcut: whoever asks waits for his turn like everybody."""
        self.schedule(cell)

    def _turn(self, worker: Worker) -> None:
        queue, draw = self._queue, self._draw
        while queue:
            place = int(draw() * len(queue))
            queue[place], queue[-1] = queue[-1], queue[place]
            cell = queue.pop()
            self._kick_if(queue)
            worker.cell = cell
            self.steps += cell.run(1, self.around if self.trace is None else self._traced)
            if cell.scheduled:
                queue.append(cell)
            if draw() < YIELD_CHANCE:
                break
        worker.cell = None
        self._kick_if(queue)

    def _kick_if(self, waiting: Any) -> None:
        if waiting and not self.kicked:
            self.kicked = True
            self._kick_callback = self._loop.run_callback(self._kick)

    def _traced(self, ref: GreenRef[Any], message: Any, proceed: Callable[[Any], Any]) -> Any:
        self._note("<-", ref, message)
        return proceed(message) if self.around is None else self.around(ref, message, proceed)

    def _note_letter(self, letter: DeadLetter) -> None:
        self._note("dead", letter.ref, letter.message)

    def _note(self, what: str, ref: GreenRef[Any], message: Any) -> None:
        if self.trace is not None:
            name = f"{ref.actor_class.__name__}#{ref.actor_inbox.serial}"
            self.trace.append(f"{len(self.trace)} {name} {what} {_told(message)}")


class SeededScheduler:
    """Everything that is started on this thread's hub inside the ``with`` runs by the seed.

    On leaving, actors that still live are killed. Schedulers do not nest.

    :param seed: of the order; print it with every failure.
    :param trace: whether :attr:`trace` is kept.
    :param rush_s: how far ahead a timer may be that fires although there is work left: as if the
        process had been held up for so long.

    Attributes: ``seed``, ``clock`` (the :class:`VirtualClock` of the actors), ``dispatcher``.
    """

    def __init__(self, seed: int, *, trace: bool = True, rush_s: float = inf) -> None:
        self.seed = seed
        self._rush_s = rush_s
        hub = get_hub()
        ours: SeededDispatcher | None = getattr(hub, _OURS, None)
        if ours is None or ours.inlet.closed or ours.inlet.forked:
            ours = SeededDispatcher(hub, Inlet.of(hub))
            setattr(hub, _OURS, ours)
        self.dispatcher = ours
        self.dispatcher.reseed(seed, trace)
        self._hub = hub
        self._before = Dispatcher.of(hub)
        self.clock: VirtualClock

    def __enter__(self) -> SeededScheduler:
        setattr(self._hub, _ATTRIBUTE, self.dispatcher)
        self.clock = VirtualClock()
        self.clock.__enter__()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.dispatcher.around = None
        for cell in sorted(self.dispatcher.cells, key=lambda cell: cell.serial):
            cell.kill()
        try:
            self.clock.settle()
        finally:
            self.clock.__exit__()
            setattr(self._hub, _ATTRIBUTE, self._before)

    @property
    def trace(self) -> bytes:
        """What happened: one line per message, dead letter and jump of the clock."""
        return "\n".join(self.dispatcher.trace or ()).encode()

    @property
    def steps(self) -> int:
        """Messages handled so far."""
        return self.dispatcher.steps

    def draw(self) -> float:
        """A number in [0, 1) from the same seed, for the test's own choices."""
        return self.dispatcher.draw()

    def run(self, *, until_s: float = float("inf"), steps_max: int = STEPS_MAX) -> None:
        """Run until nothing is left to do, time included. Blocks the calling greenlet.

        :param until_s: no timer that is due later than this on the clock fires.
        :raises AssertionError: more than ``steps_max`` messages, timers included.
        """
        most = self.dispatcher.steps + steps_max
        jumps = 0
        while self.dispatcher.steps + jumps < most:
            busy = self.clock.busy
            if not busy or self.dispatcher.draw() < TIMER_CHANCE:
                latest = self.clock.monotonic() + self._rush_s if busy else inf
                if self.clock.jump(min(until_s, latest)):
                    jumps += 1
                    if self.dispatcher.trace is not None:
                        self.dispatcher.trace.append(f"clock {self.clock.monotonic():.6f}")
                elif not busy:
                    return
            gevent.sleep(0)
        raise AssertionError(f"seed {self.seed}: more than {steps_max} steps")


def _told(message: Any) -> str:
    """The message as text that is the same in every process: no addresses."""
    shown: Any = type(message).__repr__
    return f"<{type(message).__name__}>" if shown is object.__repr__ else repr(message)
