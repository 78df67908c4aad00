"""An actor that keeps what it is told, for tests to look at and to wait for.

::

    probe = Probe.start_probe()
    service.tell(Subscribe(probe.ref))
    assert probe.expect(Event).name == "ready"
    probe.expect_nothing()

Rule it owns: what was expected is taken out, so each message is seen once and in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent

from ..runtime.actor import GreenActor
from ..runtime.future import GreenFuture
from ..runtime.monitor import Down
from ..runtime.ref import GreenRef

__all__ = ["EXPECT_TIMEOUT_S", "Probe", "ProbeActor"]

EXPECT_TIMEOUT_S = 5.0
"""Seconds (of the system's clock) an expectation waits, unless it is told otherwise."""

Expected = type | Callable[[Any], object] | None


class ProbeActor(GreenActor):
    """The actor behind a :class:`Probe`; answers an ``ask`` with :attr:`answer`."""

    def __init__(self) -> None:
        super().__init__()
        self.got: deque[Any] = deque()
        self.answer: Any = None
        self.waiter: GreenFuture[None] | None = None

    def on_receive(self, message: Any) -> Any:
        """Keep a message and wake who expects one."""
        self.got.append(message)
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.set(None)
        return self.answer


class Probe:
    """A :class:`ProbeActor` seen from the test, which runs in a greenlet of the same hub.

    Attribute: ``ref``, to be handed to actors.
    """

    def __init__(self, actor: ProbeActor) -> None:
        self._actor = actor
        self.ref: GreenRef[ProbeActor] = actor.actor_ref

    @classmethod
    def start_probe(cls) -> Probe:
        """Start a probe on the calling thread's hub."""
        actor = ProbeActor.start()._actor_weakref()
        assert actor is not None
        return cls(actor)

    @property
    def waiting(self) -> tuple[Any, ...]:
        """What has come and was not expected yet."""
        return tuple(self._actor.got)

    def answer_with(self, answer: Any) -> None:
        """What an ``ask`` of the probe returns from now on."""
        self._actor.answer = answer

    def watch(self, ref: GreenRef[Any]) -> None:
        """Have the probe told the :class:`Down` of an actor."""
        ref.monitor(self._tell_down)

    def expect(self, what: Expected = None, timeout: float = EXPECT_TIMEOUT_S) -> Any:
        """Wait for the next message and take it.

        :param what: the class it must have, or what must hold for it; None: any.
        :raises AssertionError: none came in time, or another one did.
        """
        with gevent.Timeout(timeout, AssertionError(f"nothing came in {timeout:g} s")):
            while not self._actor.got:
                self._actor.waiter = waiter = GreenFuture[None]()
                waiter.get()
        message = self._actor.got.popleft()
        assert _fits(message, what), f"expected {what!r}, got {message!r}"
        return message

    def expect_nothing(self) -> None:
        """Let the hub do what it has to do, and check that nothing has come.

        :raises AssertionError: something did.
        """
        for _ in range(3):
            gevent.sleep(0)
        assert not self._actor.got, f"expected nothing, got {list(self._actor.got)!r}"

    def _tell_down(self, down: Down) -> None:
        if self.ref.is_alive():
            self.ref.tell(down)


def _fits(message: Any, what: Expected) -> bool:
    if what is None:
        return True
    return isinstance(message, what) if isinstance(what, type) else bool(what(message))
