"""Files of format version 1, as a killed runtime left them: every later version must open them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.model.query import EventQuery
from greenroom.storage.format.transcript import to_ui_messages
from greenroom.storage.home import HomeStore
from greenroom.storage.readonly import ReadOnlySessionStore

FIXTURE = Path(__file__).parent / "fixtures" / "v1"
TYPES = (
    "user_message",
    "thought",
    "tool_call",
    "tool_result",
    "agent_message",
    "permission",
    "future_kind",
    "done",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "home"))


def test_the_first_activation_is_read_from_its_sealed_part(copy: Path) -> None:
    reader = ReadOnlySessionStore.open(str(copy / "sessions" / "fixture"), "fixture")
    events = reader.query(EventQuery())
    assert [event.type for event in events] == [*TYPES]
    assert reader.damage is None


def test_the_second_is_replayed_from_the_log_and_goes_on(copy: Path, hub: Any) -> None:
    home = HomeStore.open(copy, post=hub.post)
    assert not home.report.failed
    assert home.report.copied == 18
    done: list[Any] = []
    store = home.open_session("fixture", create=False, done=done.append)
    hub.run_until(lambda: done)
    events = store.query(EventQuery())
    assert [event.type for event in events] == [*TYPES, *TYPES]
    assert [event.cursor for event in events] == [
        *((1, number) for number in range(1, 9)),
        *((2, number) for number in range(9, 17)),
    ]
    assert store.epoch() == 3
    assert events[0].event.text == "héllo"
    assert events[1].event.text == " "
    assert events[15].event.usage is not None
    assert events[15].event.usage.cost_amount == 0.5
    assert events[14].event.raw is not None
    assert store.state_documents("input_state") == {"fixture": {"input_generation": 2}}
    assert store.state_documents("input_queue") == {"q2": {"text": "later", "n": [1, None, 1.5]}}
    assert '"tool_error":true' in events[3].content
    messages = to_ui_messages(events)
    assert [message.role for message in messages] == ["user", "assistant", "user", "assistant"]
    home.close()
    hub.run_posted()
