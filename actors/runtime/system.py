"""An actor system: a hub, a supervisor at the top, names, metrics; started and stopped as one.

Rules it owns: a stop ends the supervision tree in its order, then the actors outside it, and when
its deadline is over kills what is left; after it no actor of the system lives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from pykka.messages import _ActorStop

from .actor import GreenActor
from .children import within
from .childspec import ChildSpec, Strategy
from .clock import Timekeeper, clock_of
from .deadletters import DeadLetters
from .detours import traced
from .dispatcher import Dispatcher
from .hub import Hub
from .metrics import Meter, MetricsSnapshot
from .names import Names
from .parcels import Lane
from .ref import GreenRef
from .restarts import RestartLimits
from .supervisor import Supervisor, SupervisorRef
from .watchdog import BlockReport, Watchdog

__all__ = ["STOP_TIMEOUT_S", "ActorSystem"]

STOP_TIMEOUT_S = 10.0
"""Seconds a system's stop takes at most, unless it is told otherwise."""

A = TypeVar("A", bound=GreenActor)
P = ParamSpec("P")


class ActorSystem:
    """Actors that live and end together; every method may be called from any thread.

    ``with ActorSystem.start("fleet", [ChildSpec(...)]) as system:`` starts a thread with a hub of
    its own; with ``hub=Hub.current()`` the actors live in the calling thread, which must then let
    the hub run.

    Attributes: ``hub``, ``supervisor`` (the top one), ``names``, ``clock``, ``dead_letters``.
    """

    __slots__ = ("_dispatcher", "_meter", "_owns_hub", "_stopped", "_watchdog", "clock",
                 "dead_letters", "hub", "names", "supervisor")

    def __init__(self, hub: Hub, owns_hub: bool) -> None:
        self.hub = hub
        self._owns_hub = owns_hub
        self._dispatcher = Dispatcher.of(hub.gevent_hub)
        self._watchdog: Watchdog | None = None
        self._stopped = False
        self._meter = Meter(self._dispatcher)
        self.names: Names = Names.of(self._dispatcher)
        self.clock: Timekeeper = clock_of(self._dispatcher)
        self.dead_letters: DeadLetters = self._dispatcher.dead_letters
        self.supervisor: SupervisorRef

    @classmethod
    def start(
        cls,
        name: str = "actors",
        children: Sequence[ChildSpec] = (),
        *,
        hub: Hub | None = None,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        limits: RestartLimits | None = None,
        on_block: Callable[[BlockReport], object] | None = None,
        watchdog: bool = True,
        timeout: float | None = None,
    ) -> ActorSystem:
        """Start a system, and return when all its children have started.

        :param on_block: told when the hub is blocked; None: it is logged.
        :param watchdog: False: nobody watches for blocks.
        :param timeout: seconds for the children to start; None: no limit.
        :raises StartFailedError: a child did not start; nothing is left running.
        """
        chosen = Hub.start(name) if hub is None else hub
        try:
            system = chosen.call(cls, chosen, hub is None)
            system.supervisor = chosen.call(
                Supervisor.start_acknowledged,
                tuple(children),
                strategy=strategy,
                limits=limits,
                timeout=timeout,
            )
            if watchdog:
                system._watchdog = Watchdog(chosen, on_block)
                system._watchdog.start()
        except BaseException:
            if hub is None:
                chosen.close()
            raise
        return system

    def __enter__(self) -> ActorSystem:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.stop()

    def spawn(self, actor_class: type[A], *args: Any, **kwargs: Any) -> GreenRef[A]:
        """Start an actor that nobody supervises, and wait until it runs.

        :raises StartFailedError: its ``on_start`` raised.
        :raises HubClosedError: the system is stopped.
        """
        started: GreenRef[A] = self.hub.call(actor_class.start_acknowledged, *args, **kwargs)
        return started

    def supervise(self, spec: ChildSpec, timeout: float | None = None) -> GreenRef[Any] | None:
        """Start a child of the top supervisor; see :meth:`SupervisorRef.start_child`."""
        return self.supervisor.start_child(spec, timeout=timeout)

    def metrics(self) -> MetricsSnapshot:
        """Where the system stands; rates are since the last call."""
        return self.hub.call(self._meter.look)

    def trace(self, tracer: Callable[[GreenRef[Any], Any], object] | None) -> None:
        """Have ``tracer(ref, message)`` called, in the hub, before each message; None: no more.

        Takes effect with the next turn of the actors; costs nothing while it is off.
        """
        self._dispatcher.around = None if tracer is None else traced(tracer)

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> bool:
        """End all actors, the supervised ones in their order. A second time it does nothing.

        :param timeout: seconds after which those that are left are killed.
        :returns: whether all of them ended by themselves.
        """
        if self._stopped:
            return True
        self._stopped = True
        if self._watchdog is not None:
            self._watchdog.stop()
        clean = self.hub.call(self._stop_actors, timeout)
        if self._owns_hub:
            self.hub.close()
        return clean

    def _stop_actors(self, timeout: float) -> bool:
        deadline = self.clock.monotonic() + timeout
        clean = self._await_stop([self.supervisor], deadline)
        others = [cell.ref for cell in self._dispatcher.cells] if self._owns_hub else []
        clean = self._await_stop(others, deadline) and clean
        for ref in [self.supervisor, *others]:
            ref.kill()
        return clean

    def _await_stop(self, refs: Sequence[GreenRef[Any]], deadline: float) -> bool:
        clean = True
        for stop in [ref.ask(_ActorStop(), block=False, lane=Lane.CONTROL) for ref in refs]:
            left = max(0.0, deadline - self.clock.monotonic())
            clean = within(stop, left, self.clock) and clean
        return clean
