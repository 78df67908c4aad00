"""Starting one child and ending one child, for supervisors.

Rules it owns (K5): a start is acknowledged or failed, and a failed one leaves no actor behind;
an end is asked for, waited for as long as the grace lasts, then enforced. A stop overtakes the
child's queued work. What a start raises, ``SystemExit`` included, is the start's failure and
nobody else's.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any

from pykka import ActorDeadError

from .actor import GreenActor
from .cell import Probe
from .childspec import FOREVER, WORKER_SHUTDOWN_S, ChildSpec
from .clock import Timekeeper, TimerHandle
from .errors import ChildStartError, HubClosedError
from .future import GreenFuture
from .life import ActorKilled
from .monitor import Down, Monitor
from .parcels import Lane
from .ref import GreenRef
from .stalls import StallWatch

__all__ = ["KILL_WAIT_S", "Child", "ChildStatus", "Ending", "launch", "within"]

KILL_WAIT_S = 1.0
"""Seconds to wait for a killed child to be gone; longer takes only one of another, hung hub."""


class ChildStatus(StrEnum):
    """What a supervisor knows of a child."""

    RUNNING = "running"
    RESTARTING = "restarting"
    """It ended, and will be started again: when its backoff is over, or the next try succeeds."""
    STOPPED = "stopped"
    """It is not wanted now: it ended for good, was terminated, or declined to start."""


class Child:
    """One child and what its supervisor holds of it. ``ref``: of its last life, None before."""

    __slots__ = ("monitor", "pending", "ref", "spec", "status", "watch")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ref: GreenRef[Any] | None = None
        self.status = ChildStatus.STOPPED
        self.monitor: Monitor | None = None
        self.pending: TimerHandle | None = None
        self.watch: StallWatch | None = None

    @property
    def running(self) -> bool:
        """Whether it runs, as far as its supervisor knows."""
        return self.status is ChildStatus.RUNNING

    def started(self, ref: GreenRef[Any], on_down: Callable[[Down], object]) -> None:
        """It runs, as ``ref``; ``on_down`` hears of its end."""
        self.ref = ref
        self.status = ChildStatus.RUNNING
        self.monitor = ref.monitor(on_down)
        self.watch = StallWatch(self.spec) if self.spec.watched else None

    def ended(self, status: ChildStatus = ChildStatus.STOPPED) -> None:
        """It does not run any more, and nothing is pending for it."""
        self.status = status
        if self.monitor is not None:
            self.monitor.cancel()
        if self.pending is not None:
            self.pending.cancel()
        self.monitor = self.pending = self.watch = None


def launch(
    spec: ChildSpec, extra_args: tuple[Any, ...], clock: Timekeeper
) -> GreenRef[Any] | None:
    """Start a child and wait until it runs; None if it declined.

    :raises ChildStartError: it did not start; the cause is chained.
    """
    cause: BaseException
    try:
        made = spec.start
        args = (*extra_args, *spec.args)
        if isinstance(made, type) and issubclass(made, GreenActor):
            return _launch_actor(made, args, spec, clock)
        given = made(*args, **spec.kwargs)
        if given is None or isinstance(given, GreenRef):
            return given
        cause = TypeError(f"{given!r} is neither the ref of an actor nor None")
    except ActorKilled:
        raise  # meant for the supervisor that waits here
    except BaseException as error:
        cause = error
    raise ChildStartError(spec.id) from cause


def _launch_actor(
    made: type[GreenActor], args: tuple[Any, ...], spec: ChildSpec, clock: Timekeeper
) -> GreenRef[Any]:
    ref = made.start(*args, **spec.kwargs)
    acknowledged = ref.ask(Probe(), block=False, lane=Lane.CONTROL)
    try:
        if not within(acknowledged, spec.start_timeout_s, clock):
            raise TimeoutError(f"on_start took more than {spec.start_timeout_s:g} s")
        acknowledged.get()
    except ActorDeadError as error:
        raise ref.actor_inbox.error or error from None
    except BaseException:
        ref.kill()
        raise
    return ref


def within(future: GreenFuture[Any], seconds: float | None, clock: Timekeeper) -> bool:
    """Wait for a future, at most so many seconds of ``clock``; whether it is done."""
    if seconds is None or seconds == FOREVER:
        turn: GreenFuture[None] = GreenFuture()
        future.add_done_callback(lambda _: turn.set(None))
        turn.get()
        return True
    turn = GreenFuture()

    def over(*_: object) -> None:
        with suppress(queue.Full):  # done and late at the same time
            turn.set(None)

    future.add_done_callback(over)
    alarm = clock.call_later(seconds, over)
    try:
        turn.get()
    finally:
        alarm.cancel()
    return future.done


class Ending:
    """The end of one child: begins when made, is waited for with :meth:`wait`.

    So that several may end at the same time, each with its own grace.
    """

    __slots__ = ("_clock", "_deadline", "_down", "_ref")

    def __init__(self, spec: ChildSpec, ref: GreenRef[Any], clock: Timekeeper) -> None:
        self._ref = ref
        self._clock = clock
        self._down: GreenFuture[Down] = GreenFuture()
        ref.monitor(self._down.set)
        grace = spec.shutdown
        if grace is None:
            grace = FOREVER if ref.actor_class.outlives_grace else WORKER_SHUTDOWN_S
        if isinstance(grace, str):  # KILL
            self._deadline = clock.monotonic()
            ref.kill()
        else:
            self._deadline = clock.monotonic() + grace
            with suppress(HubClosedError):
                ref.stop(block=False, lane=Lane.CONTROL)

    def wait(self) -> Down | None:
        """Wait for the end, and enforce it when the grace is over.

        :returns: how it ended; None if even a kill did not reach it.
        """
        if not self._down.done:
            left = self._deadline - self._clock.monotonic()
            if not within(self._down, max(left, 0.0), self._clock):
                self._ref.kill()
                if not within(self._down, KILL_WAIT_S, self._clock):
                    return None
        return self._down.get()
