"""When to restart what: OTP's tables, on the arithmetic of :mod:`..restart_arithmetic`. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from ..restart_arithmetic import doubled_delay, within_window
from .childspec import AutoShutdown, Restart, Strategy
from .errors import ChildSpecError

__all__ = [
    "RestartLimits",
    "Verdict",
    "add_restart",
    "affected",
    "backoff_delay",
    "ends_supervisor",
    "judge",
]

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """How often a supervisor restarts children, and how long it waits before.

    :param max_restarts: restarts within ``window_s`` seconds that are allowed; one more ends the
        supervisor.
    :param backoff_s: seconds before the first restart within the window; doubled for each further
        one up to ``backoff_max_s``. 0 (as OTP): restart at once.
    :param jitter: the fraction of the delay that chance may take away, 0 to 1.
    :raises ChildSpecError: a value is not one it may be.
    """

    max_restarts: int = 3
    window_s: float = 5.0
    backoff_s: float = 0.0
    backoff_max_s: float = 30.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.max_restarts, bool) or not (
            isinstance(self.max_restarts, int) and self.max_restarts >= 0
        ):
            raise ChildSpecError("max_restarts", self.max_restarts)
        if not 0 < self.window_s < math.inf:
            raise ChildSpecError("window_s", self.window_s)
        if not 0 <= self.backoff_s < math.inf:
            raise ChildSpecError("backoff_s", self.backoff_s)
        if not self.backoff_s <= self.backoff_max_s < math.inf:
            raise ChildSpecError("backoff_max_s", self.backoff_max_s)
        if not 0 <= self.jitter <= 1:
            raise ChildSpecError("jitter", self.jitter)


class Verdict(Enum):
    """What becomes of a child that ended."""

    RESTART = auto()
    KEEP = auto()
    """It stays known, not running, and can be started again by its id."""
    FORGET = auto()


def judge(restart: Restart, normal: bool) -> Verdict:
    """What a supervisor does about a child's end that it did not ask for."""
    match restart, normal:
        case Restart.PERMANENT, _:
            return Verdict.RESTART
        case Restart.TRANSIENT, False:
            return Verdict.RESTART
        case Restart.TRANSIENT, True:
            return Verdict.KEEP
        case Restart.TEMPORARY, _:
            return Verdict.FORGET
        case _:
            raise AssertionError(restart)


def affected(strategy: Strategy, ids: Sequence[K], failed: K) -> Sequence[K]:
    """Who is ended and started again with ``failed``, itself included, in order of starting."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (failed,)
        case Strategy.ONE_FOR_ALL:
            return ids
        case Strategy.REST_FOR_ONE:
            return ids[ids.index(failed) :]
        case _:
            raise AssertionError(strategy)


def ends_supervisor(rule: AutoShutdown, significant: bool, others_running: bool) -> bool:
    """Whether the end of a child that is not restarted ends its supervisor.

    :param others_running: whether another significant child runs, or is to be restarted.
    """
    match rule, significant:
        case AutoShutdown.NEVER, _:
            return False
        case _, False:
            return False
        case AutoShutdown.ANY_SIGNIFICANT, True:
            return True
        case AutoShutdown.ALL_SIGNIFICANT, True:
            return not others_running
        case _:
            raise AssertionError(rule)


def add_restart(
    times: Sequence[float], now: float, limits: RestartLimits
) -> tuple[tuple[float, ...], bool]:
    """The restarts within the window, this one included, and whether that is too many."""
    kept = within_window((*times, now), now, limits.window_s)
    return kept, len(kept) > limits.max_restarts


def backoff_delay(limits: RestartLimits, attempt: int, draw: Callable[[], float]) -> float:
    """Seconds to wait before the ``attempt``-th restart (from 1) within the window.

    :param draw: gives chance, in [0, 1); asked only where there is jitter.
    """
    delay = doubled_delay(limits.backoff_s, limits.backoff_max_s, attempt)
    return delay * (1 - limits.jitter * draw()) if limits.jitter and delay else delay
