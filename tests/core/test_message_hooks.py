"""spec 02 P5: which events open, continue and close a message."""

from __future__ import annotations

import pytest
from greenroom.actors.core import message_hooks
from greenroom.actors.core.message_hooks import OpenMessage, delta_type
from greenroom.actors.model.event import AgentEvent, EventType, RawJSON

CHUNKS = {EventType.AGENT_MESSAGE, EventType.THOUGHT}
OURS = {EventType.RUNTIME_PROGRESS, EventType.RUNTIME_WARNING}


def event(kind, text="", raw=None):
    return AgentEvent(type=kind, text=text, raw=raw)


@pytest.mark.parametrize("kind", EventType)
def test_p5_what_opens_and_closes(kind):
    closed, open_ = OpenMessage("turn-1"), OpenMessage("turn-1").opened()
    assert closed.opens(event(kind)) is (kind in CHUNKS)
    assert open_.opens(event(kind)) is False
    assert open_.continues(event(kind)) is (kind in CHUNKS)
    assert closed.closes(event(kind)) is False
    assert open_.closes(event(kind)) is (kind not in CHUNKS | OURS)


def test_p5_messages_are_numbered_per_turn_and_keep_their_text():
    message = OpenMessage("turn-1").opened()
    raw = RawJSON(b"1")
    message = message.with_chunk(event(EventType.THOUGHT, "a")).with_chunk(
        event(EventType.AGENT_MESSAGE, "b", raw)
    )
    assert (message.id, message.text, message.raw) == ("turn-1-message-1", "ab", raw)
    again = message.closed().opened()
    assert (again.id, again.text, again.raw) == ("turn-1-message-2", "", None)
    assert OpenMessage("").opened().id == "msg-message-1"


def test_p5_switching_between_thought_and_message_closes_nothing():
    open_ = OpenMessage("turn-1").opened()
    assert not open_.closes(event(EventType.THOUGHT))
    assert delta_type(event(EventType.THOUGHT)) == "thought"
    assert delta_type(event(EventType.AGENT_MESSAGE)) == "text"


def test_the_text_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(message_hooks, "MESSAGE_TEXT_CHARS_MAX", 3)
    message = OpenMessage("t").opened().with_chunk(event(EventType.AGENT_MESSAGE, "abcdef"))
    assert message.text == "abc"
