"""The events of one turn on their way to one reader, with a mark that slows the agent down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gevent.event import Event

from ...actors.model.event import AgentEvent
from ...actors.model.runs import Run, TextRun, of_runs

PROMPT_BUFFER_SIZE = 128
"""Events that may wait for the reader before the agent is no longer read (04 1.3)."""


class TurnStream:
    """Filled in the hub, taken by one greenlet.

    It is a mark and not a hard bound: what one read of the pipe decodes to is never dropped, so a
    stream holds at most the mark and the events of one more read.

    :param taken: called when the reader emptied a stream that was full.
    :param mark: events from which on the stream counts as full.
    """

    __slots__ = ("_closed", "_count", "_mark", "_runs", "_taken", "_wake", "suspect", "turn_id")

    def __init__(self, turn_id: str, taken: Callable[[], None], mark: int) -> None:
        self.turn_id = turn_id
        self.suspect = False
        """Set at the end: the process may answer later prompts wrongly (07 R3)."""
        self._runs: list[Run] = []
        self._count = 0
        self._wake = Event()
        self._closed = False
        self._taken = taken
        self._mark = mark

    @property
    def is_full(self) -> bool:
        """Whether the reader is behind by the mark or more."""
        return self._count >= self._mark and not self._closed

    @property
    def waiting(self) -> int:
        """Events that wait for the reader."""
        return self._count

    def put(self, runs: Sequence[Run]) -> None:
        """Add events, by the run. In the hub."""
        self._runs.extend(runs)
        self._count += sum(len(run) if isinstance(run, TextRun) else 1 for run in runs)
        self._wake.set()

    def close(self, suspect: bool) -> None:
        """Nothing more will come. In the hub."""
        self.suspect = suspect
        self._closed = True
        self._wake.set()

    def take(self) -> Sequence[AgentEvent]:
        """Wait for events and take all there are; none means the stream is over."""
        while not self._runs and not self._closed:
            self._wake.clear()
            self._wake.wait()
        was_full = self.is_full
        events = self.rest()
        if was_full:
            self._taken()
        return events

    def rest(self) -> Sequence[AgentEvent]:
        """What nobody took. In the hub."""
        runs, self._runs, self._count = self._runs, [], 0
        return of_runs(runs)

    def __iter__(self) -> Iterator[AgentEvent]:
        """Events one by one, to the end of the stream."""
        while events := self.take():
            yield from events
