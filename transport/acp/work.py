"""What the agent is doing, as far as turns do not tell it (07 4.1, 4.6, 4.10)."""

from __future__ import annotations

from .outbox import Outbox
from .outputs import WorkChanged

IDLE = "idle"
RUNNING = "running"
BLOCKED = "blocked"
UNKNOWN = "unknown"
REQUIRES_ACTION = "requires_action"
MEANINGS = {IDLE: RUNNING, RUNNING: RUNNING, REQUIRES_ACTION: BLOCKED}
"""Of the agent's own words within a turn; a word that is not here is busy in an unknown way."""


class Work:
    """Tells changes of state and background, once each.

    :param outbox: takes them.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._told = WorkChanged(IDLE)
        self.state = IDLE
        """The agent's own word for what it does."""
        self.background: tuple[str, ...] = ()
        self.is_asking = False
        """Whether a permission or a question of the agent waits for somebody."""

    def tell(self, in_turn: bool) -> None:
        """Report what has changed; that turns begin and end is told by others."""
        state = IDLE
        if in_turn:
            state = BLOCKED if self.is_asking else MEANINGS.get(self.state, UNKNOWN)
        told, self._told = self._told, WorkChanged(state, self.background)
        plain = {told.state, state} <= {IDLE, RUNNING}
        if self.background != told.background or (told.state != state and not plain):
            if state == IDLE and told.background == self.background:
                return  # the end of the turn says so
            self._outbox.put(self._told)
