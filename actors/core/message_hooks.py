"""The open message of a turn: which chunks open, continue and close it for the hooks (02 P5).

========================  ============================  ==================================
event                     no message is open            one is open
========================  ============================  ==================================
``agent_message``,        ``message.start``, then       ``message.delta``
``thought``               ``message.delta``
``runtime_*``             nothing                       nothing
anything else             nothing                       ``message.end`` before it
========================  ============================  ==================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.event import AgentEvent, EventType, RawJSON

CHUNK_TYPES = frozenset({EventType.AGENT_MESSAGE.value, EventType.THOUGHT.value})
TRANSPARENT_TYPES = frozenset({EventType.RUNTIME_PROGRESS.value, EventType.RUNTIME_WARNING.value})
"""Our own events: they come between the chunks of a message without closing it."""
MESSAGE_TEXT_CHARS_MAX = 1_000_000
"""Longest text kept for ``message.end``; what comes behind it is left out."""
TEXT, THOUGHT = "text", "thought"


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """The messages of one turn so far.

    :param number: of the message that is open, or was last; from 1.
    """

    turn_id: str
    number: int = 0
    is_open: bool = False
    text: str = ""
    raw: RawJSON | None = None

    @property
    def id(self) -> str:
        """The id the hooks know it by."""
        return f"{self.turn_id or 'msg'}-message-{self.number}"

    def opens(self, event: AgentEvent) -> bool:
        """Whether the event is the first chunk of a message."""
        return event.type in CHUNK_TYPES and not self.is_open

    def continues(self, event: AgentEvent) -> bool:
        """Whether the event is a chunk at all."""
        return event.type in CHUNK_TYPES

    def closes(self, event: AgentEvent) -> bool:
        """Whether the message that is open ends before the event."""
        return self.is_open and event.type not in CHUNK_TYPES | TRANSPARENT_TYPES

    def opened(self) -> OpenMessage:
        """A new message."""
        return OpenMessage(self.turn_id, self.number + 1, is_open=True)

    def with_chunk(self, event: AgentEvent) -> OpenMessage:
        """The message with one more chunk."""
        text = (self.text + event.text)[:MESSAGE_TEXT_CHARS_MAX]
        return replace(self, text=text, raw=event.raw)

    def closed(self) -> OpenMessage:
        """No message is open."""
        return replace(self, is_open=False, text="", raw=None)


def delta_type(event: AgentEvent) -> str:
    """What a chunk is called (06 1.4)."""
    return THOUGHT if event.type == EventType.THOUGHT else TEXT
