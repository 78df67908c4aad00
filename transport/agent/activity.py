"""Tell the caller of a prompt that its agent is waited for, again and again (04 4.2; 02 12.2)."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from .protocol import ActivityReporter, PromptActivityReport, PromptRequest

HEARTBEAT_S = 30.0
ACTIVE_PACE_S = 1.0
"""Signs of life are reported at most so often: a chatty command makes a thousand in a second."""

logger = logging.getLogger(__name__)


class Heartbeat:
    """One report at once, then one in every interval until :meth:`close`.

    :param report: must not block; one that raises is not called again.
    :param seconds: the interval.
    :param loop: of the hub.
    """

    def __init__(self, turn_id: str, report: ActivityReporter, seconds: float, loop: Any) -> None:
        self.turn_id = turn_id
        self._report = report
        self._active_at = -ACTIVE_PACE_S
        self._timer = loop.timer(seconds, seconds)
        self._timer.start(self._beat)
        self._beat()

    @classmethod
    def of(cls, request: PromptRequest, loop: Any) -> Heartbeat | None:
        """The heartbeat a prompt asks for; ``None`` when nobody listens."""
        if request.activity_reporter is None:
            return None
        seconds = request.activity_heartbeat_interval
        interval = seconds if seconds > 0 else HEARTBEAT_S
        return cls(request.turn_id, request.activity_reporter, interval, loop)

    def active(self, kind: str, detail: str) -> None:
        """Something happens in the turn, whatever the agent says meanwhile."""
        now = time.monotonic()
        if now - self._active_at >= ACTIVE_PACE_S:
            self._active_at = now
            self._tell(PromptActivityReport(datetime.now(UTC), kind, detail))

    def _beat(self) -> None:
        self._tell(PromptActivityReport(datetime.now(UTC)))

    def _tell(self, report: PromptActivityReport) -> None:
        if self._timer is None:
            return
        try:
            self._report(report)
        except Exception:
            logger.exception("the reporter of activity failed")
            self.close()

    def close(self) -> None:
        """No further report."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()
