"""What an agent tells about its session outside turns, kept until somebody listens (07 R11)."""

from __future__ import annotations

import logging
from collections import deque

from ...actors.model.event import AgentEvent
from .protocol import EventSink

HELD_FACTS_MAX = 256
"""Session facts kept until somebody takes them; later ones are dropped and logged."""

logger = logging.getLogger(__name__)


class SessionFacts:
    """Facts on their way to one sink, in the hub.

    :param whose: the agent, for the log.
    """

    def __init__(self, whose: str) -> None:
        self._whose = whose
        self._sink: EventSink | None = None
        self._held: deque[AgentEvent] = deque()
        self._dropped = False

    @property
    def sink(self) -> EventSink | None:
        """Takes the facts; those held so far come at once."""
        return self._sink

    @sink.setter
    def sink(self, sink: EventSink | None) -> None:
        self._sink = sink
        if sink is not None and self._held:
            facts = tuple(self._held)
            self._held.clear()
            sink(facts)

    def offer(self, facts: tuple[AgentEvent, ...]) -> None:
        """Hand facts on, or hold them."""
        if self._sink is not None:
            self._sink(facts)
            return
        room = HELD_FACTS_MAX - len(self._held)
        self._held.extend(facts[:room])
        if len(facts) > room and not self._dropped:
            self._dropped = True
            logger.warning("%s: session facts dropped", self._whose)
