"""Tell the caller of a prompt that its agent is waited for, again and again (04 4.2; 02 12.2)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from .protocol import ActivityReporter, PromptActivityReport, PromptRequest

HEARTBEAT_S = 30.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """One report at once, then one in every interval until :meth:`close`.

    :param report: must not block; one that raises is not called again.
    :param seconds: the interval.
    :param loop: of the hub.
    """

    def __init__(self, report: ActivityReporter, seconds: float, loop: Any) -> None:
        self._report = report
        self._timer = loop.timer(seconds, seconds)
        self._timer.start(self._beat)
        self._beat()

    @classmethod
    def of(cls, request: PromptRequest, loop: Any) -> Heartbeat | None:
        """The heartbeat a prompt asks for; ``None`` when nobody listens."""
        if request.activity_reporter is None:
            return None
        seconds = request.activity_heartbeat_interval
        return cls(request.activity_reporter, seconds if seconds > 0 else HEARTBEAT_S, loop)

    def _beat(self) -> None:
        try:
            self._report(PromptActivityReport(datetime.now(UTC)))
        except Exception:
            logger.exception("the reporter of activity failed")
            self.close()

    def close(self) -> None:
        """No further report."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()
