"""Faults on purpose: the nth message crashes its actor, is dropped, comes late, or never returns.

::

    plan = FaultPlan().crash(Worker, nth=3).stall(ref, nth=10).drop(when=is_heartbeat)
    with plan:
        ...
    assert plan.fired == [...]

Rules it owns: actors are unchanged and do not know; rules are tried in the order they were made
and the first that applies is the message's; the messages of a rule are counted for each rule on
its own, over all actors it is about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from gevent.event import Event

from ..runtime.actor import GreenActor
from ..runtime.clock import clock_of
from ..runtime.detours import Dropped
from ..runtime.dispatcher import Dispatcher
from ..runtime.future import GreenFuture
from ..runtime.ref import GreenRef

__all__ = ["Fault", "FaultKind", "FaultPlan", "InjectedError"]

Target = type[GreenActor] | GreenRef[Any] | None


class InjectedError(Exception):
    """What a planned crash raises, unless the plan says otherwise."""


class FaultKind(StrEnum):
    """What happens to a message."""

    CRASH = "crash"
    DROP = "drop"
    DELAY = "delay"
    STALL = "stall"


@dataclass(slots=True)
class Fault:
    """One rule of a plan, and how many messages it has seen."""

    kind: FaultKind
    target: Target
    nth: int | None
    when: Callable[[Any], object] | None
    error: BaseException | type[BaseException] = InjectedError
    seconds: float = 0.0
    seen: int = field(default=0, compare=False)

    def applies(self, ref: GreenRef[Any], message: Any) -> bool:
        """Whether this is the rule's message; counts it if it might be."""
        match self.target:
            case None:
                pass
            case GreenRef():
                if ref != self.target:
                    return False
            case _:
                if not issubclass(ref.actor_class, self.target):
                    return False
        if self.when is not None and not self.when(message):
            return False
        self.seen += 1
        return self.nth is None or self.seen == self.nth


class FaultPlan:
    """Rules for the messages of the actors of this thread's hub, in force inside a ``with``.

    ``target`` is a class, a ref, or None for every actor; ``nth`` counts from 1, None: every one;
    ``when(message)`` picks messages. Attribute: ``fired``: ``(kind, ref, message)`` of each fault.
    """

    def __init__(self) -> None:
        self.fired: list[tuple[FaultKind, GreenRef[Any], Any]] = []
        self._rules: list[Fault] = []
        self._chance: tuple[Callable[[], float], tuple[tuple[float, Fault], ...]] | None = None
        self._dispatcher: Dispatcher | None = None
        self._before: Any = None

    def crash(
        self,
        target: Target = None,
        *,
        nth: int | None = 1,
        when: Callable[[Any], object] | None = None,
        error: BaseException | type[BaseException] = InjectedError,
    ) -> Self:
        """Raise ``error`` in place of the handler."""
        return self._add(Fault(FaultKind.CRASH, target, nth, when, error))

    def drop(
        self,
        target: Target = None,
        *,
        nth: int | None = 1,
        when: Callable[[Any], object] | None = None,
    ) -> Self:
        """Make the message a dead letter; who asked gets :class:`MessageDroppedError`."""
        return self._add(Fault(FaultKind.DROP, target, nth, when))

    def delay(
        self,
        seconds: float,
        target: Target = None,
        *,
        nth: int | None = 1,
        when: Callable[[Any], object] | None = None,
    ) -> Self:
        """Handle the message ``seconds`` later, by the actors' clock; the actor waits meanwhile."""
        return self._add(Fault(FaultKind.DELAY, target, nth, when, seconds=seconds))

    def stall(
        self,
        target: Target = None,
        *,
        nth: int | None = 1,
        when: Callable[[Any], object] | None = None,
    ) -> Self:
        """Never return from the message."""
        return self._add(Fault(FaultKind.STALL, target, nth, when))

    def by_chance(
        self,
        draw: Callable[[], float],
        *,
        crash: float = 0.0,
        drop: float = 0.0,
        delay: float = 0.0,
        stall: float = 0.0,
        delay_s: float = 1.0,
    ) -> Self:
        """Besides the rules, let each message meet a fault with these probabilities.

        :param draw: gives numbers in [0, 1): ``SeededScheduler.draw``, ``Random(seed).random``.
        """
        odds = (
            (crash, Fault(FaultKind.CRASH, None, None, None)),
            (drop, Fault(FaultKind.DROP, None, None, None)),
            (delay, Fault(FaultKind.DELAY, None, None, None, seconds=delay_s)),
            (stall, Fault(FaultKind.STALL, None, None, None)),
        )
        self._chance = (draw, odds)
        return self

    def __enter__(self) -> Self:
        self._dispatcher = Dispatcher.current()
        self._before, self._dispatcher.around = self._dispatcher.around, self._around
        return self

    def __exit__(self, *_exc_info: object) -> None:
        assert self._dispatcher is not None
        self._dispatcher.around = self._before

    def _add(self, fault: Fault) -> Self:
        self._rules.append(fault)
        return self

    def _around(self, ref: GreenRef[Any], message: Any, proceed: Callable[[Any], Any]) -> Any:
        fault = self._fault_for(ref, message)
        if fault is not None:
            self.fired.append((fault.kind, ref, message))
            match fault.kind:
                case FaultKind.CRASH:
                    raise fault.error
                case FaultKind.DROP:
                    raise Dropped
                case FaultKind.DELAY:
                    over: GreenFuture[None] = GreenFuture()
                    clock_of(ref.actor_inbox.dispatcher).call_later(fault.seconds, over.set, None)
                    over.get()
                case FaultKind.STALL:
                    Event().wait()
        return proceed(message)

    def _fault_for(self, ref: GreenRef[Any], message: Any) -> Fault | None:
        for rule in self._rules:
            if rule.applies(ref, message):
                return rule
        if self._chance is not None:
            draw, odds = self._chance
            drawn = draw()
            for chance, fault in odds:
                if drawn < chance:
                    return fault
                drawn -= chance
        return None
