"""What the events of a session tell somebody who is attached to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.event import EventType, SessionEvent

STARTS = frozenset({EventType.USER_MESSAGE, EventType.SYNTHETIC_REENTRY})
"""The first event of a turn."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A session as its events tell.

    :param turn_id: the running turn, blank when idle.
    :param asks: the permission requests that wait for an answer, oldest first: id and title.
    :param shown: epoch and sequence of the last event.
    """

    turn_id: str = ""
    asks: tuple[tuple[str, str], ...] = ()
    stopped: bool = False
    shown: tuple[int, int] = (0, 0)

    @property
    def asked(self) -> str:
        """The id of the request that an answer is for, blank if there is none."""
        return self.asks[0][0] if self.asks else ""

    @property
    def status(self) -> str:
        """One line for people."""
        if self.stopped:
            return "stopped"
        if self.asks:
            more = f" (and {len(self.asks) - 1} more)" if len(self.asks) > 1 else ""
            return f"{self.asks[0][1]}: allow? y / a / n / r{more}"
        return "working" if self.turn_id else "idle"


def fold(seen: Watched, row: SessionEvent) -> Watched:
    """What is known after one more event."""
    event = row.event
    known = replace(seen, shown=row.cursor, stopped=False)
    if row.type in STARTS:
        return replace(known, turn_id=row.turn_id)
    if row.type == EventType.PERMISSION:
        rest = tuple(ask for ask in seen.asks if ask[0] != event.request_id)
        title = event.title or event.resource or "the agent"
        asks = rest if event.decision else (*rest, (event.request_id, title))
        return replace(known, asks=asks)
    if row.type == EventType.SESSION_STOPPED:
        return Watched(stopped=True, shown=row.cursor)
    if event.is_terminal and row.turn_id == seen.turn_id:
        return replace(known, turn_id="", asks=())
    return known
