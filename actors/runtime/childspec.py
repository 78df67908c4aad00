"""What a supervisor is told about a child, as data: how to start it, when to restart it, how to end
it, and when it counts as stalled. Pure.

Rules it owns (OTP's, but for the stall): a permanent child is restarted whatever its end, a
transient one after an abnormal end, a temporary one never; a permanent child can not be
significant, because it never ends for good. A wrong value is refused where it is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from .errors import ChildSpecError

__all__ = [
    "FOREVER",
    "KILL",
    "WORKER_SHUTDOWN_S",
    "AutoShutdown",
    "ChildSpec",
    "Restart",
    "Shutdown",
    "StallPolicy",
    "Strategy",
    "checked",
]

WORKER_SHUTDOWN_S = 5.0
"""Seconds a worker has to stop before it is killed, unless its spec says otherwise."""

KILL: Literal["kill"] = "kill"
"""As a shutdown: no grace, no ``on_stop``."""

FOREVER = math.inf
"""As a shutdown: wait for the child however long it takes; what a supervisor among them gets."""

Shutdown = float | Literal["kill"]


class Restart(StrEnum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Strategy(StrEnum):
    """Who else is restarted with a child."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """Those that were started after it."""


class AutoShutdown(StrEnum):
    """Which ends of significant children end the supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class StallPolicy(StrEnum):
    """What is done about a stalled child; it is always reported."""

    RESTART = "restart"
    """Kill it; then its :class:`Restart` decides, as after any abnormal end."""
    REPORT = "report"
    """Nothing more."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child. Compared and hashed by its fields, as far as these can be.

    :param id: names the child within its supervisor; a dynamic supervisor lets it repeat.
    :param start: an actor class, started with an acknowledgement, or a function that returns the
        ref of an actor it started, or None for a child that is not wanted now.
    :param args: positional arguments for ``start``; ``kwargs``: its keywords.
    :param restart: when to start it again.
    :param shutdown: seconds to stop before it is killed, :data:`KILL`, :data:`FOREVER`, or None:
        :data:`WORKER_SHUTDOWN_S` for a worker and :data:`FOREVER` for a supervisor.
    :param significant: whether its end counts for the supervisor's :class:`AutoShutdown`.
    :param start_timeout_s: seconds for ``on_start`` of an actor class; None: no limit.
    :param stall_after_s: seconds without progress, while there is something to do, that make a
        stall: the same message in the handler, or nothing but postponed messages in the mailbox.
        ``self.beat()`` is progress. None: not watched.
    :param heartbeat_s: seconds between two ``self.beat()`` at most, idle or not; None: not watched.
    :param on_stall: what is done then.
    :raises ChildSpecError: a value is not one it may be.
    """

    id: Hashable
    start: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    restart: Restart = Restart.PERMANENT
    shutdown: Shutdown | None = None
    significant: bool = False
    start_timeout_s: float | None = None
    stall_after_s: float | None = None
    heartbeat_s: float | None = None
    on_stall: StallPolicy = StallPolicy.RESTART

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "restart", checked(Restart, "restart", self.restart, self.id))
        put(self, "on_stall", checked(StallPolicy, "on_stall", self.on_stall, self.id))
        if self.id is None or not isinstance(self.id, Hashable):
            raise ChildSpecError("id", self.id)
        if not callable(self.start):
            raise ChildSpecError("start", self.start, self.id)
        if not isinstance(self.args, tuple):
            raise ChildSpecError("args", self.args, self.id)
        if not isinstance(self.kwargs, Mapping):
            raise ChildSpecError("kwargs", self.kwargs, self.id)
        if not _is_shutdown(self.shutdown):
            raise ChildSpecError("shutdown", self.shutdown, self.id)
        if self.significant is not False and (
            self.significant is not True or self.restart is Restart.PERMANENT
        ):
            raise ChildSpecError("significant", self.significant, self.id)
        for name in ("start_timeout_s", "stall_after_s", "heartbeat_s"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < FOREVER):
                raise ChildSpecError(name, value, self.id)

    @property
    def watched(self) -> bool:
        """Whether it can stall."""
        return self.stall_after_s is not None or self.heartbeat_s is not None


def checked(kind: type[Any], name: str, value: object, child_id: object = None) -> Any:
    """``value`` as a member of the enum ``kind``.

    :raises ChildSpecError: it is none of it.
    """
    try:
        return kind(value)
    except ValueError:
        raise ChildSpecError(name, value, child_id) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_shutdown(value: object) -> bool:
    match value:
        case None | "kill":
            return True
        case int() | float() if _is_number(value):
            return value >= 0
        case _:
            return False
