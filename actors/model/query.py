"""Questions to the store of a session, and the answer grouped by turn (03 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..errors import StoreValidationError
from .event import NO_TIME, SessionEvent

TAIL = "tail"
HEAD = "head"


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events to return; conditions are ANDed, the result ascends by sequence (03 7).

    :param type: exact type; blank is any. So with ``agent_name`` and ``turn_id``; all trimmed.
    :param since: earliest timestamp; ``None`` and the zero time are any.
    :param limit: most events returned; 0 is no limit.
    :param after_sequence: only later ones; 0 is from the start.
    :param order: which end ``limit`` keeps: ``tail`` the last matches, ``head`` the first, for
        paging forward.
    :raises StoreValidationError: a negative limit or sequence, or another order. Field: ``field``.
    """

    type: str = ""
    agent_name: str = ""
    turn_id: str = ""
    since: datetime | None = None
    limit: int = 0
    after_sequence: int = 0
    order: str = TAIL

    def __post_init__(self) -> None:
        for name in ("type", "agent_name", "turn_id"):
            object.__setattr__(self, name, getattr(self, name).strip())
        if self.since == NO_TIME:
            object.__setattr__(self, "since", None)
        if self.limit < 0:
            raise StoreValidationError(f"store: invalid event limit {self.limit}", field="limit")
        if self.after_sequence < 0:
            raise StoreValidationError(
                f"store: invalid event after sequence {self.after_sequence}",
                field="after_sequence",
            )
        if self.order not in (TAIL, HEAD):
            raise StoreValidationError(f'store: invalid event order "{self.order}"', field="order")

    @property
    def has_filter(self) -> bool:
        """Whether rows must be looked into to answer."""
        return bool(self.type or self.agent_name or self.turn_id or self.since)


@dataclass(frozen=True, slots=True)
class TurnHistory:
    """The events of one turn, in sequence order, interleaved or not (03 7)."""

    turn_id: str
    events: tuple[SessionEvent, ...]
