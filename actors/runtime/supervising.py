"""What every supervisor does: hears of ends, counts restarts, gives up, watches for stalls.

Rules it owns: children never outlive their supervisor, however it ends; more restarts than the
limits allow end it, with a reason its own supervisor sees (``ESCALATED``); the end of significant
children may end it (``SHUTDOWN``); every failure is reported once. As OTP's, it does one thing at
a time: while it starts or ends a child, other ends and calls wait for it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from pykka import ActorDeadError

from .actor import GreenActor
from .children import Child, ChildStatus, Ending, launch
from .childspec import AutoShutdown, StallPolicy, checked
from .clock import Timekeeper, TimerHandle, clock_of
from .errors import (
    ChildStartError,
    LinkBrokenError,
    RestartIntensityError,
    StalledError,
    SupervisionError,
)
from .monitor import Down, DownReason
from .parcels import Lane
from .ref import GreenRef
from .restarts import (
    RestartLimits,
    Verdict,
    add_restart,
    backoff_delay,
    ends_supervisor,
    judge,
)
from .stalls import LATE_MAX, stack_of, take_vitals

__all__ = ["ReportContext", "Supervising", "SupervisorReport"]

logger = logging.getLogger(__name__)

A = TypeVar("A", bound="Supervising")


class ReportContext(StrEnum):
    """What a report is about; OTP's four, and the stall."""

    START_ERROR = "start_error"
    CHILD_TERMINATED = "child_terminated"
    SHUTDOWN_ERROR = "shutdown_error"
    SHUTDOWN = "shutdown"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class SupervisorReport:
    """Something an operator may want to know. ``detail``: a stall's kind and stack, else empty."""

    context: ReportContext
    child_id: object
    ref: GreenRef[Any] | None
    reason: DownReason | None = None
    error: BaseException | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChildDown:
    """A child has ended."""

    child: Child
    down: Down


@dataclass(frozen=True, slots=True)
class BackoffOver:
    """It is time to start a child again."""

    child: Child


@dataclass(frozen=True, slots=True)
class TryAgain:
    """A child did not start again."""

    child: Child


@dataclass(frozen=True, slots=True)
class LookDue:
    """It is time to look whether a child has stalled."""


class Supervising(GreenActor):
    """The common half of :class:`Supervisor` and :class:`DynamicSupervisor`.

    :param limits: of restarts, over all children together.
    :param auto_shutdown: which ends of significant children end this supervisor.
    :param clock: for windows, graces, backoffs and looks; None: the dispatcher's.
    :param draw: gives the chance in a jittered backoff, in [0, 1).
    """

    __slots__ = ("_auto_shutdown", "_clock", "_draw", "_limits", "_look", "_looked", "_times")

    crash_on_ask_error: ClassVar[bool] = True
    reply_errors: ClassVar[tuple[type[BaseException], ...]] = (SupervisionError,)
    outlives_grace: ClassVar[bool] = True

    def __init__(
        self,
        *,
        limits: RestartLimits | None = None,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        clock: Timekeeper | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()
        self._limits = RestartLimits() if limits is None else limits
        self._auto_shutdown: AutoShutdown = checked(AutoShutdown, "auto_shutdown", auto_shutdown)
        self._clock = clock_of(self.actor_inbox.dispatcher) if clock is None else clock
        self._draw = draw
        self._times: Sequence[float] = ()
        self._look: TimerHandle | None = None
        self._looked = 0.0

    def on_report(self, report: SupervisorReport) -> None:
        """Called for every report; logs it. Override to send it elsewhere; it must not block."""
        logger.warning(
            "supervisor %s: child %r: %s %s %s",
            self.actor_urn,
            report.child_id,
            report.context,
            report.reason or "",
            report.detail,
            exc_info=report.error,
        )

    def on_start(self) -> None:
        """Make sure the children end with this actor. Overriders call it first."""
        self.actor_ref.monitor(self._leave_no_orphan)

    def on_stop(self) -> None:
        """End all children."""
        self._cancel_look()
        self._end_all()

    # What the two kinds differ in.

    def _children(self) -> Iterable[Child]:
        raise NotImplementedError

    def _extra_args(self) -> tuple[Any, ...]:
        return ()

    def _end_all(self) -> None:
        """End all children, with their graces."""
        raise NotImplementedError

    def _restart(self, child: Child) -> None:
        """Start a child again, and whoever else that concerns.

        :raises ChildStartError: one did not start; it is the one to try again.
        """
        raise NotImplementedError

    def _set_aside(self, child: Child) -> None:
        """A child waits for its backoff: end those now who are restarted with it."""

    def _dismiss(self, child: Child, verdict: Verdict) -> None:
        """A child ended for good."""
        raise NotImplementedError

    def _failed(self, child: Child, error: ChildStartError) -> Child:
        """Which one did not start when ``child`` was to be restarted."""
        return child

    # The common course.

    def on_event(self, message: Any) -> None:
        """Handle what comes from children and timers."""
        match message:
            case ChildDown(child, down) if child.ref == down.ref and child.running:
                self._on_down(child, down)
            case BackoffOver(child) if child.status is ChildStatus.RESTARTING:
                child.pending = None
                self._try_restart(child)
            case TryAgain(child) if child.status is ChildStatus.RESTARTING:
                self._count_restart(child)
            case LookDue():
                self._look_at_children()
            case _:  # of a child that has been ended or forgotten meanwhile
                pass

    def _start(self, child: Child) -> None:
        """Start a child.

        :raises ChildStartError: it did not start.
        """
        try:
            ref = launch(child.spec, self._extra_args(), self._clock)
        except ChildStartError as error:
            context, cause = ReportContext.START_ERROR, error.__cause__
            self.on_report(SupervisorReport(context, child.spec.id, None, None, cause))
            raise
        child.ended()
        if ref is not None:
            child.started(ref, lambda down: self._hear(ChildDown(child, down)))
            self._watch(child)

    def _end(self, children: Sequence[Child], *, together: bool = False) -> None:
        """End children, one after the other in this order, or all at once."""
        endings = []
        for child in children:
            ref, running = child.ref, child.running
            child.ended()
            if ref is not None and running:
                ending = Ending(child.spec, ref, self._clock)
                endings.append((child, ending))
                if not together:
                    self._see_end(*endings.pop())
        for child, ending in endings:
            self._see_end(child, ending)

    def _see_end(self, child: Child, ending: Ending) -> None:
        down = ending.wait()
        if down is None or down.reason is DownReason.CRASHED:
            reason, error = (None, None) if down is None else (down.reason, down.error)
            context = ReportContext.SHUTDOWN_ERROR
            self.on_report(SupervisorReport(context, child.spec.id, child.ref, reason, error))

    def _on_down(self, child: Child, down: Down) -> None:
        verdict = judge(child.spec.restart, down.reason.normal)
        if verdict is Verdict.RESTART or not down.reason.normal:
            context = ReportContext.CHILD_TERMINATED
            self.on_report(
                SupervisorReport(context, child.spec.id, down.ref, down.reason, down.error)
            )
        child.ended()
        if verdict is Verdict.RESTART:
            self._count_restart(child)
            return
        others = any(c.spec.significant and c.status is not ChildStatus.STOPPED
                     for c in self._children() if c is not child)
        self._dismiss(child, verdict)
        if ends_supervisor(self._auto_shutdown, child.spec.significant, others):
            self._give_up(DownReason.SHUTDOWN, None)

    def _count_restart(self, child: Child) -> None:
        """One more restart: too many, later, or now."""
        limits = self._limits
        self._times, too_many = add_restart(self._times, self._clock.monotonic(), limits)
        child.status = ChildStatus.RESTARTING
        if too_many:
            error = RestartIntensityError(child.spec.id, limits.max_restarts, limits.window_s)
            self.on_report(
                SupervisorReport(ReportContext.SHUTDOWN, child.spec.id, child.ref, None, error)
            )
            self._give_up(DownReason.ESCALATED, error)
            return
        delay = backoff_delay(limits, len(self._times), self._draw)
        if delay > 0:
            self._set_aside(child)
            child.status = ChildStatus.RESTARTING
            child.pending = self._clock.call_later(delay, self._hear, BackoffOver(child))
        else:
            self._try_restart(child)

    def _try_restart(self, child: Child) -> None:
        try:
            self._restart(child)
            self.actor_inbox.dispatcher.restarts += 1
        except ChildStartError as error:
            failed = self._failed(child, error)
            failed.status = ChildStatus.RESTARTING
            # In line with the callers, one of whom may want to end a child that never starts.
            self._hear(TryAgain(failed), Lane.EXEMPT)

    def _give_up(self, reason: DownReason, error: BaseException | None) -> None:
        self._cancel_look()
        self._end_all()
        self.actor_inbox.halt(reason, error)

    def _hear(self, message: Any, lane: Lane = Lane.CONTROL) -> None:
        """Send this actor a message; from anywhere."""
        with suppress(ActorDeadError):
            self.actor_ref.tell(message, lane=lane)

    def _leave_no_orphan(self, down: Down) -> None:
        self._cancel_look()
        self._kill_all(LinkBrokenError(down.ref.actor_urn))

    def _kill_all(self, error: BaseException) -> None:
        for child in reversed(list(self._children())):
            ref = child.ref
            child.ended()
            if ref is not None:
                ref.kill(error)

    # Stalls.

    def _watch(self, child: Child) -> None:
        if child.watch is not None and self._look is None:
            self._looked = self._clock.monotonic()
            self._look_later(child.watch.interval_s)

    def _look_later(self, interval_s: float) -> None:
        self._look = self._clock.call_later(interval_s, self._hear, LookDue())

    def _cancel_look(self) -> None:
        if self._look is not None:
            self._look.cancel()

    def _look_at_children(self) -> None:
        self._look = None
        watched = [c for c in self._children() if c.running and c.watch is not None]
        if not watched:
            return
        interval = min(c.watch.interval_s for c in watched if c.watch is not None)
        now = self._clock.monotonic()
        elapsed = min(now - self._looked, LATE_MAX * interval)
        self._looked = now
        busy = self.actor_inbox.dispatcher.busy_cells()
        for child in watched:
            assert child.ref is not None
            assert child.watch is not None
            cell = child.ref.actor_inbox
            kind = child.watch.look(take_vitals(cell, busy), elapsed)
            if kind is not None:
                self._on_stall(child, StalledError(kind, stack_of(busy.get(cell))))
        self._look_later(interval)

    def _on_stall(self, child: Child, error: StalledError) -> None:
        assert child.ref is not None
        detail = f"{error.kind}\n{error.stack}"
        self.on_report(
            SupervisorReport(ReportContext.STALLED, child.spec.id, child.ref, None, None, detail)
        )
        if child.spec.on_stall is StallPolicy.RESTART:
            child.ref.kill(error)
