"""What the pipe of an agent says about its health: ACP itself has no question for it (D36; 07 R3).

Nothing is asked and nothing is measured in between: the evidence is looked at when somebody asks.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from .link import Link
from .protocol import HealthState

WRITE_STALL_S = 30.0
"""An agent that took nothing of its input for so long, and said nothing either, is unhealthy."""
NO_EVIDENCE = HealthState()


class AgentHealth:
    """Looks at one link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def state(self, suspect: bool) -> HealthState:
        """The evidence there is.

        :param suspect: whether the last turn ended in a way that puts later ones in doubt; the
            next clean turn clears it (07 R3).
        """
        if suspect:
            return _unhealthy("the last turn did not end as it should; later ones may fail")
        # A frame from the agent is a sign of life, whatever it does not read (D36).
        silent = time.monotonic() - self._link.heard_at
        stalled = min(self._link.write_stalled_s, silent)
        if stalled > WRITE_STALL_S:
            return _unhealthy(f"the agent has not read its input for {stalled:.0f} s")
        return NO_EVIDENCE


def _unhealthy(message: str) -> HealthState:
    return HealthState(message=message, last_checked_at=datetime.now(UTC))
