"""Where the events of one agent go: to a stream for each open turn, all else to the facts.

A turn is opened by a prompt, or by the agent itself (07 4.9). Rules it owns: while any reader is
behind the agent is not read; and nobody is waited for who does not listen, so the turns of an
agent's own that nobody takes end up among the facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from gevent.event import Event

from ...actors.model.event import AgentEvent
from ...actors.model.runs import Run, head_of, of_runs, runs_of
from .facts import SessionFacts
from .link import Link
from .protocol import TurnSink
from .stream import TurnStream

UNCLAIMED_TURNS_MAX = 8
"""Turns of an agent's own that wait for somebody to take them; of more the oldest is given up."""


class TurnStreams:
    """The streams of one agent, in the hub.

    :param link: paused while a reader is behind.
    :param facts: takes what belongs to no stream.
    :param mark: events a stream holds before its reader counts as behind.
    """

    def __init__(self, link: Link, facts: SessionFacts, mark: int) -> None:
        self._link = link
        self._facts = facts
        self._mark = mark
        self._open: dict[str, TurnStream] = {}
        self._unclaimed: dict[str, TurnStream] = {}
        self._sink: TurnSink | None = None
        self.own_over: Event | None = None
        """While the agent works in a turn of its own; set when that is over."""

        self._own_id = ""

    @property
    def sink(self) -> TurnSink | None:
        """Takes the stream of each turn that the agent opens; those held so far come at once."""
        return self._sink

    @sink.setter
    def sink(self, sink: TurnSink | None) -> None:
        self._sink = sink
        while sink is not None and self._unclaimed:
            sink(self._unclaimed.pop(next(iter(self._unclaimed))))

    def open(self, turn_id: str) -> TurnStream:
        """The stream of a prompt."""
        stream = self._open[turn_id] = TurnStream(turn_id, self._read_on, self._mark)
        return stream

    def open_own(self, turn_id: str) -> None:
        """The agent began to work by itself; it has at most one such turn at a time."""
        stream = self.open(turn_id)
        self.own_over = Event()
        self._own_id = turn_id
        if self._sink is not None:
            self._sink(stream)
            return
        self._unclaimed[turn_id] = stream
        if len(self._unclaimed) > UNCLAIMED_TURNS_MAX:
            oldest = self._unclaimed.pop(next(iter(self._unclaimed)))
            self._facts.offer(tuple(oldest.rest()))

    def emit(self, events: Sequence[AgentEvent]) -> None:
        """Hand events on."""
        for turn_id, of_turn in groupby(runs_of(events), key=_turn_id):
            runs = list(of_turn)
            stream = self._open.get(turn_id)
            if stream is None:
                self._facts.offer(tuple(of_runs(runs)))
                continue
            stream.put(runs)
            if not stream.is_full:
                continue
            if turn_id in self._unclaimed:
                self._facts.offer(tuple(stream.rest()))
            else:
                self._link.pause()

    def close(self, turn_id: str, suspect: bool) -> None:
        """The turn is over; whoever reads its stream is no longer waited for."""
        stream = self._open.pop(turn_id, None)
        if stream is not None:
            stream.close(suspect)
            self._read_on()
        if self.own_over is not None and turn_id == self._own_id:
            self.own_over.set()
            self.own_over = None

    def _read_on(self) -> None:
        if not any(stream.is_full for stream in self._open.values()):
            self._link.resume()


def _turn_id(run: Run) -> str:
    return head_of(run).turn_id
