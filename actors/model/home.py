"""How a runtime's home is, as the runtime itself sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HomeStatus:
    """The state of the store of a running runtime (03 13).

    :param error: why the home takes no more writes, or why journals fall behind the log; blank
        when all is well.
    :param read_only: whether no write is acknowledged any more, until the home is reopened.
    :param live_sessions: sessions that run.
    """

    home: str
    read_only: bool
    error: str
    live_sessions: int
