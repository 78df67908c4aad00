"""The events of one turn on their way to one reader, with a mark that slows the agent down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gevent.event import Event

from ...actors.model.event import AgentEvent

PROMPT_BUFFER_SIZE = 128
"""Events that may wait for the reader before the agent is no longer read (04 1.3)."""


class TurnStream:
    """Filled in the hub, taken by one greenlet.

    It is a mark and not a hard bound: what one read of the pipe decodes to is never dropped, so a
    stream holds at most the mark and the events of one more read.

    :param taken: called when the reader emptied a stream that was full.
    :param mark: events from which on the stream counts as full.
    """

    __slots__ = ("_closed", "_events", "_mark", "_taken", "_wake", "suspect", "turn_id")

    def __init__(self, turn_id: str, taken: Callable[[], None], mark: int) -> None:
        self.turn_id = turn_id
        self.suspect = False
        """Set at the end: the process may answer later prompts wrongly (07 R3)."""
        self._events: list[AgentEvent] = []
        self._wake = Event()
        self._closed = False
        self._taken = taken
        self._mark = mark

    @property
    def is_full(self) -> bool:
        """Whether the reader is behind by the mark or more."""
        return len(self._events) >= self._mark and not self._closed

    @property
    def waiting(self) -> int:
        """Events that wait for the reader."""
        return len(self._events)

    def put(self, events: Iterable[AgentEvent]) -> None:
        """Add events. In the hub."""
        self._events.extend(events)
        self._wake.set()

    def close(self, suspect: bool) -> None:
        """Nothing more will come. In the hub."""
        self.suspect = suspect
        self._closed = True
        self._wake.set()

    def take(self) -> list[AgentEvent]:
        """Wait for events and take all there are; an empty list means the stream is over."""
        while not self._events and not self._closed:
            self._wake.clear()
            self._wake.wait()
        was_full = self.is_full
        events, self._events = self._events, []
        if was_full:
            self._taken()
        return events

    def rest(self) -> list[AgentEvent]:
        """What nobody took. In the hub."""
        events, self._events = self._events, []
        return events

    def __iter__(self) -> Iterator[AgentEvent]:
        """Events one by one, to the end of the stream."""
        while events := self.take():
            yield from events
