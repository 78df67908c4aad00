"""What one call of the client has to tell, in order: outputs, runs of events, timers."""

from __future__ import annotations

from ...actors.model.runs import Run, of_runs
from .jsonrpc import excerpt
from .options import LOG_LINES_MAX
from .outputs import EventsEmitted, Logged, Output, TimerArmed, TimerCancelled


class Outbox:
    """Collects outputs until they are drained; neighbouring events become one output."""

    def __init__(self) -> None:
        self.events: list[Run] = []
        """Append events here; they keep their place among the outputs."""
        self._outputs: list[Output] = []
        self._armed: set[str] = set()
        self._log_lines_left = LOG_LINES_MAX

    def put(self, output: Output) -> None:
        """Append an output, after all events so far."""
        self._cut()
        self._outputs.append(output)

    def drain(self) -> list[Output]:
        """All outputs since the last drain."""
        self._cut()
        outputs, self._outputs = self._outputs, []
        return outputs

    def _cut(self) -> None:
        if self.events:
            self._outputs.append(EventsEmitted(of_runs(self.events)))
            self.events.clear()

    def log(self, level: str, text: str) -> None:
        """One line for the log, bounded; of a flood only the start is kept."""
        if self._log_lines_left == 0:
            return
        self._log_lines_left -= 1
        last = "" if self._log_lines_left else " (further lines about this agent are left out)"
        self.put(Logged(level, excerpt(text) + last))

    def arm(self, name: str, seconds: float) -> None:
        """Start or restart a timer."""
        self._armed.add(name)
        self.put(TimerArmed(name, seconds))

    def disarm(self, name: str) -> None:
        """Stop a timer, if it runs."""
        if name in self._armed:
            self._armed.discard(name)
            self.put(TimerCancelled(name))

    def disarm_all(self) -> None:
        """Stop every timer."""
        for name in sorted(self._armed):
            self.disarm(name)

    def fired(self, name: str) -> bool:
        """Whether a timer that ran out was still wanted; it is not any more."""
        wanted = name in self._armed
        self._armed.discard(name)
        return wanted
