"""Restart policies: whether a session comes back after a stall, a crash or an exit (01 9.6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ..errors import SessionValueError

RESTARTS_MAX = 1000
"""Most restarts a policy may allow within its window: each is remembered by its moment."""


class RestartMode(StrEnum):
    """Which ends of an agent nobody asked for start it again."""

    TEMPORARY = "temporary"
    """None: the session ends."""
    TRANSIENT = "transient"
    """A stall and a crash."""
    PERMANENT = "permanent"
    """Also a clean exit."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When an agent is started again, and how often (01 9.6).

    :param mode: a :class:`RestartMode` or its token.
    :param max_restarts: restarts within the window that are allowed; one more ends the session.
    :param window_s: seconds; its edge is inside it.
    :param backoff_s: seconds before the first restart; doubled for each further one within the
        window.
    :param backoff_max_s: longest wait, in seconds.
    :param replay_interrupted: whether the input of a turn that was cut is queued again, visibly.
    :raises SessionValueError: an unknown mode or a value outside its range. Field: ``field``.
    """

    mode: RestartMode = RestartMode.TEMPORARY
    max_restarts: int = 3
    window_s: float = 60.0
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    replay_interrupted: bool = False

    def __post_init__(self) -> None:
        if self.mode not in set(RestartMode):
            raise _refused("mode", self.mode)
        object.__setattr__(self, "mode", RestartMode(self.mode))
        if not 0 <= self.max_restarts <= RESTARTS_MAX:
            raise _refused("max_restarts", self.max_restarts)
        if not 0 < self.window_s < math.inf:
            raise _refused("window_s", self.window_s)
        if not 0 <= self.backoff_s < math.inf:
            raise _refused("backoff_s", self.backoff_s)
        if not self.backoff_s <= self.backoff_max_s < math.inf:
            raise _refused("backoff_max_s", self.backoff_max_s)

    @classmethod
    def of(cls, value: RestartPolicy | RestartMode | str | None) -> RestartPolicy:
        """A policy as callers give it: one, just a mode, or ``None`` for the default.

        :raises SessionValueError: an unknown mode.
        """
        match value:
            case RestartPolicy():
                return value
            case None:
                return cls()
            case _:
                return cls(value)  # type: ignore[arg-type]


def _refused(field: str, value: object) -> SessionValueError:
    return SessionValueError(f"restart.{field}: {value!r} is not allowed", field=field)
