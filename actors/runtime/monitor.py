"""Learning of an actor's end: what a :class:`Down` says, and one delivery of it per monitor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ref import GreenRef

__all__ = ["Down", "DownReason", "Monitor"]

logger = logging.getLogger(__name__)


class DownReason(StrEnum):
    """Why an actor ended."""

    STOPPED = "stopped"
    """It was asked to, and its ``on_stop`` returned."""
    CRASHED = "crashed"
    """A callback of it raised, or the greenlet that ran one was killed."""
    KILLED = "killed"
    """``kill()``, a broken link or a stall ended it; ``on_stop`` did not run."""
    SHUTDOWN = "shutdown"
    """A supervisor whose work was done: a significant child had ended."""
    ESCALATED = "escalated"
    """A supervisor that gave up: its children had ended too often."""
    HUB_CLOSED = "hub_closed"
    """Its hub was closed while it lived; ``on_stop`` did not run."""

    @property
    def normal(self) -> bool:
        """Whether it is an end that a transient child may have without being restarted."""
        return self in _NORMAL


_NORMAL = frozenset({DownReason.STOPPED, DownReason.SHUTDOWN})


@dataclass(frozen=True, slots=True)
class Down:
    """An actor's end. ``error`` is what a callback raised, or None."""

    ref: GreenRef[Any]
    reason: DownReason
    error: BaseException | None


class Monitor:
    """One subscription to one actor's end, made by ``ref.monitor(callback)``."""

    __slots__ = ("_callback", "_forget")

    def __init__(
        self, callback: Callable[[Down], object], forget: Callable[[Monitor], None]
    ) -> None:
        self._callback: Callable[[Down], object] | None = callback
        self._forget = forget

    def __repr__(self) -> str:
        return f"<Monitor {'over' if self._callback is None else 'waiting'}>"

    def cancel(self) -> None:
        """Call nobody from now on. After the delivery, or a second time, it does nothing."""
        if self._callback is not None:
            self._callback = None
            self._forget(self)

    def deliver(self, down: Down) -> None:
        """Call the callback, unless that was done or cancelled; what it raises is logged."""
        callback, self._callback = self._callback, None
        if callback is None:
            return
        try:
            callback(down)
        except BaseException:
            logger.exception("a monitor of %s failed", down.ref)
