"""Events as they arrive are the stored ones, looked into only when asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest
from greenroom.actors.errors import StoreValidationError
from greenroom.actors.model.event import AgentEvent, RawJSON, TokenUsage
from greenroom.storage.format.rows import ROWS_MAX, decode_row, encode_row, encode_text_row
from greenroom.transport.bus import arrived as arrived_module
from greenroom.transport.bus.arrived import arrived_events
from greenroom.transport.bus.errors import BusProtocolError
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 4, 3, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "session_id": "a", "epoch": 2, "sequence": 7, "id": "ev", "turn_id": "t", "agent_name": "n",
    "timestamp": NOW,
}  # fmt: skip
EVENTS = [
    AgentEvent(type="agent_message", turn_id="t", text="häm", timestamp=NOW),
    AgentEvent(type="usage", usage=TokenUsage(input_tokens=3), timestamp=NOW),
    AgentEvent(type="unheard_of", raw=RawJSON(b'{"a": [1, 2]}'), timestamp=NOW),
]
ROWS = [
    *(encode_row(type=event.type, event=event, **FACTS) for event in EVENTS),
    encode_text_row(type="agent_message", content=" text ", **FACTS),
    encode_text_row(type="system", content="text", **FACTS),
]


@pytest.mark.parametrize("row", ROWS)
def test_an_arrived_event_is_the_stored_one(row: bytes) -> None:
    (event,) = arrived_events(row)
    stored = decode_row(row)
    assert event == stored
    assert stored == event
    assert hash(event) == hash(stored)
    assert repr(event) == repr(stored)
    assert (event.content, event.timestamp, event.cursor) == (stored.content, NOW, (2, 7))
    assert event.event is event.event


def test_a_content_that_is_no_envelope_spoils_its_own_event_only() -> None:
    value = cbor2.loads(ROWS[0])
    first, second = arrived_events(cbor2.dumps([*value[:8], ["no envelope"]]) + ROWS[0])
    assert (first.session_id, first.sequence) == ("a", 7)
    with pytest.raises(StoreValidationError):
        _ = first.event
    assert second.event.text == "häm"
    (odd,) = arrived_events(cbor2.dumps([*value[:7], "yesterday", value[8]]))
    with pytest.raises(StoreValidationError):
        _ = odd.timestamp


@pytest.mark.parametrize("at", range(9))
def test_facts_are_checked_on_arrival(at: int) -> None:
    value = cbor2.loads(ROWS[0])
    for wrong in (None, True, 1.5, {}):
        with pytest.raises(BusProtocolError):
            arrived_events(cbor2.dumps([*value[:at], wrong, *value[at + 1 :]]))


@given(st.binary(max_size=200))
def test_whatever_the_bytes_they_are_rows_or_refused(data: bytes) -> None:
    for sample in (data, ROWS[0] + data, ROWS[0][:-1] + data):
        try:
            arrived_events(sample)
        except BusProtocolError:
            continue


def test_rows_are_bounded_and_none_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arrived_events(b"") == []
    assert ROWS_MAX > 10
    monkeypatch.setattr(arrived_module, "ROWS_MAX", 2)
    assert len(arrived_events(ROWS[0] * 2)) == 2
    with pytest.raises(BusProtocolError, match="more than 2"):
        arrived_events(ROWS[0] * 3)
