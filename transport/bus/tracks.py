"""What the subscriber machine knows about one session; pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from .positions import Position


class Phase(StrEnum):
    """What the machine does about one session."""

    SYNCING = "syncing"
    LIVE = "live"
    LAGGING = "lagging"
    FENCED = "fenced"


@dataclass(slots=True)
class Track:
    """One session; ``epoch`` and ``sequence`` are of the last row queued for the caller."""

    epoch: int = 0
    sequence: int = 0
    confirmed: int = 0
    """The epoch in which the store is known to hold that position."""
    phase: Phase = Phase.SYNCING
    held: deque[bytes] = field(default_factory=deque)
    asked: int = 0
    """How many of the held frames had arrived when the store was asked last."""
    dropped: bool = False
    """A frame was let go since the store was asked last."""
    resets_in_a_row: int = 0

    @property
    def position(self) -> Position:
        """Of the last row queued for the caller."""
        return self.epoch, self.sequence
