"""The fast encoder makes the bytes of the general one, whatever the events are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from greenroom.actors.errors import StoreValidationError
from greenroom.actors.model.event import NO_TIME, AgentEvent, EventType, RawJSON
from greenroom.actors.model.runs import TextRun
from greenroom.storage.format import envelope
from greenroom.storage.format.cbor_items import TEXT, head
from greenroom.storage.format.envelope import FACTLESS
from greenroom.storage.format.row_encoder import RowEncoder, encode_text
from greenroom.storage.format.rows import ROW_BYTES_MAX, decode_row, encode_row
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
TEXTS = st.sampled_from(["", " ", "a", "é" * 12, "x" * 23, "x" * 24, "x" * 255, "x" * 1024]) | (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
)
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])
)
EVENTS = st.builds(
    AgentEvent,
    type=st.sampled_from(["agent_message", "thought", "usage", "plan", "odd"]),
    session_id=TEXTS,
    turn_id=TEXTS,
    timestamp=TIMES,
    text=TEXTS,
    title=st.sampled_from(["", "", "", "Bash"]),
    request_id=st.sampled_from(["", "", "", "r"]),
    error=st.sampled_from(["", "", "", "no"]),
    raw=st.none() | st.sampled_from([RawJSON(b'{"title": "Read"}'), RawJSON(b"[]")]),
)


def general(sequence: int, timestamp: datetime, event: AgentEvent, agent: str) -> bytes:
    facts: dict[str, Any] = {"session_id": "s-é", "epoch": 3, "sequence": sequence, "id": "ev-1"}
    facts |= {"turn_id": event.turn_id, "type": event.type, "agent_name": agent}
    return encode_row(timestamp=timestamp, event=event, **facts)


@given(
    events=st.lists(st.tuples(EVENTS, st.sampled_from(["demo", "ägent"])), max_size=6),
    sequence=st.integers(1, 1 << 40),
)
def test_one_encoder_after_many_rows_makes_the_rows_of_the_general_one(
    events: list[tuple[AgentEvent, str]], sequence: int
) -> None:
    encoder = RowEncoder("s-é", 3)
    for event, agent in events:
        row = encoder.encode(sequence, "ev-1", agent, event.timestamp, event)
        assert row == general(sequence, event.timestamp, event, agent)


@given(
    event=EVENTS,
    texts=st.lists(st.text(max_size=5) | st.just("long " * 300), min_size=1, max_size=4),
    sequence=st.integers(1, 1 << 40),
)
def test_a_run_makes_the_rows_of_its_events(
    event: AgentEvent, texts: list[str], sequence: int
) -> None:
    run = TextRun(event, texts, [None] * len(texts))
    rows = RowEncoder("s-é", 3).encode_run(
        sequence, ["ev-1"] * len(texts), "demo", event.timestamp, run
    )
    assert rows == [
        general(number, event.timestamp, one, "demo") for number, one in enumerate(run, sequence)
    ]


def test_a_run_with_a_text_that_is_no_chunk_any_more_makes_the_same_rows() -> None:
    event = AgentEvent(type="thought", turn_id="t", timestamp=NOON)
    run = TextRun(event, ["a", "b" * (ROW_BYTES_MAX // 8 + 1)], [None, None])
    rows = RowEncoder("s-é", 3).encode_run(7, ["ev-1", "ev-1"], "demo", NOON, run)
    assert rows == [general(number, NOON, one, "demo") for number, one in enumerate(run, 7)]


def test_a_row_has_its_own_time_when_the_event_has_none() -> None:
    event = AgentEvent(type="agent_message", turn_id="t", timestamp=NO_TIME, text="x")
    row = RowEncoder("s-é", 3).encode(1, "ev-1", "demo", NOON, event)
    assert row == general(1, NOON, event, "demo")
    assert decode_row(row).timestamp == NOON


def test_the_zero_time_is_a_time_too() -> None:
    event = AgentEvent(type="agent_message", turn_id="t", timestamp=NO_TIME, text="x")
    row = RowEncoder("s-é", 3).encode(1, "ev-1", "demo", event.timestamp, event)
    assert row == general(1, NO_TIME, event, "demo")


@pytest.mark.parametrize("member", ["text", "turn_id", "session_id"])
def test_text_that_is_no_unicode_is_refused_and_the_next_row_is_right(member: str) -> None:
    encoder = RowEncoder("s-é", 3)
    bad = AgentEvent(**{"type": "thought", "timestamp": NOON, "turn_id": "t", member: "\ud800"})
    with pytest.raises(StoreValidationError):
        encoder.encode(1, "ev-1", "demo", NOON, bad)
    good = AgentEvent(type="thought", turn_id="t", timestamp=NOON, text="x")
    assert encoder.encode(1, "ev-1", "demo", NOON, good) == general(1, NOON, good, "demo")


def test_a_time_without_a_zone_is_refused() -> None:
    event = AgentEvent(type="agent_message", turn_id="t", timestamp=datetime(2026, 1, 1))
    with pytest.raises(StoreValidationError):
        RowEncoder("s", 1).encode(1, "ev-1", "demo", event.timestamp, event)


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 1023, 1024, 70000])
def test_a_text_of_any_length(size: int) -> None:
    assert encode_text("x" * size) == head(TEXT, size) + b"x" * size


@pytest.mark.parametrize("kind", sorted(FACTLESS))
def test_3_1_raw_of_a_type_without_tool_facts_is_not_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_facts(event: AgentEvent) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(envelope, "tool_facts", no_facts)
    raw = RawJSON(b'{"content": {"text": "x"}}')
    event = AgentEvent(type=kind, turn_id="t", timestamp=NOON, text="x", raw=raw)
    assert decode_row(general(1, NOON, event, "demo")).event.raw is None
    with pytest.raises(AssertionError, match="decoded"):
        call = AgentEvent(type=EventType.TOOL_CALL, turn_id="t", timestamp=NOON, raw=raw)
        general(1, NOON, call, "demo")
