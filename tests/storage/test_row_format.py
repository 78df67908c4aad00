"""Rows and envelopes: what is stored of an event, and that it comes back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import cbor2
import pytest
from greenroom.actors.errors import StoreValidationError
from greenroom.actors.model.event import (
    NO_TIME,
    AgentEvent,
    EventType,
    RawJSON,
    SessionEvent,
    TokenUsage,
)
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.storage.format import rows as rows_module
from greenroom.storage.format.envelope import EVENT_MEMBERS, decode_envelope, encode_envelope
from greenroom.storage.format.rows import (
    content_text,
    decode_row,
    decode_rows,
    encode_row,
    encode_text_row,
    parse_time,
    row_position,
    split_rows,
    time_text,
)
from greenroom.storage.format.times import short_time
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "session_id": "sess-1",
    "epoch": 3,
    "sequence": 17,
    "id": "ev-0011223344556677",
    "turn_id": "turn-1",
    "type": "agent_message",
    "agent_name": "demo",
    "timestamp": NOON,
}

texts = st.text(st.characters(codec="utf-8"), max_size=20)
trimmed = texts.map(str.strip)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
json_objects = st.dictionaries(texts, st.integers() | texts | st.none(), max_size=3)
usages = st.builds(
    TokenUsage,
    turn_id=trimmed,
    input_tokens=st.none() | st.integers(0, 2**63),
    cost_amount=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    timestamp=st.none() | times,
)
failures = st.builds(SessionFailure, kind=st.sampled_from(FailureKind), summary=texts)
events = st.builds(
    AgentEvent,
    type=st.sampled_from([item.value for item in EventType]) | trimmed.filter(bool),
    session_id=trimmed,
    turn_id=trimmed,
    request_id=trimmed,
    lease_until=st.none() | times,
    timestamp=st.just(NO_TIME) | times,
    text=texts,
    title=texts,
    tool_call_id=trimmed,
    error=trimmed,
    failure=st.none() | failures,
    synthetic=st.none() | st.dictionaries(texts, texts.filter(bool), min_size=1, max_size=3),
    usage=st.none() | usages.filter(lambda usage: usage != TokenUsage()),
    runtime=st.none() | st.dictionaries(texts, st.integers() | texts.filter(bool), min_size=1),
    raw=st.none() | json_objects.map(RawJSON.of),
)


def row_of(event: AgentEvent, **facts: Any) -> bytes:
    return encode_row(**{**FACTS, **facts}, event=event)


@given(events)
def test_an_event_comes_back_as_it_was_but_for_what_the_rules_drop(event: AgentEvent) -> None:
    stored = decode_row(row_of(event))
    back = stored.event
    # A blank title shows the tool's name, and not every type keeps its raw value (3.1).
    for name in EVENT_MEMBERS:
        if name not in ("raw", "title"):
            assert getattr(back, name) == getattr(event, name), name
    if event.title.strip():
        assert back.title == event.title
    kept = {"permission", "plan", "system", "transcript_marker.created"}
    if event.type in kept:
        assert back.raw == event.raw


@given(events)
def test_content_is_canonical_json_and_the_same_before_and_after_storing(
    event: AgentEvent,
) -> None:
    text = decode_row(row_of(event)).content
    assert text == content_text(event)
    members = json.loads(text)
    assert next(iter(members)) == "schema"
    assert members["schema"] == "greenroom.event.v1"
    assert "timestamp" in members
    assert "" not in members.values()
    assert None not in members.values()
    order = ["schema", *EVENT_MEMBERS, "tool_name", "tool_input", "tool_result", "tool_error"]
    assert list(members) == [name for name in order if name in members]


@given(st.lists(events, min_size=1, max_size=5))
def test_a_sequence_of_rows_is_cut_into_the_same_rows(found: list[AgentEvent]) -> None:
    rows = [row_of(event, sequence=index + 1) for index, event in enumerate(found)]
    data = b"".join(rows)
    assert split_rows(data) == rows
    assert decode_rows(data) == [decode_row(row) for row in rows]
    assert [row_position(row) for row in rows] == [
        ("sess-1", 3, index + 1) for index in range(len(rows))
    ]


@given(st.binary(max_size=60))
def test_garbage_is_refused_by_its_own_error(data: bytes) -> None:
    for read in (decode_row, row_position):
        with pytest.raises(StoreValidationError):
            read(data)
    for read_all in (split_rows, decode_rows):
        try:
            assert not data or read_all(data)
        except StoreValidationError:
            continue


@given(st.data())
def test_a_cut_row_is_refused(data: st.DataObject) -> None:
    row = row_of(AgentEvent(type="usage", timestamp=NOON, usage=TokenUsage(input_tokens=2**40)))
    cut = row[: data.draw(st.integers(1, len(row) - 1))]
    for read in (decode_row, decode_rows, split_rows):
        with pytest.raises(StoreValidationError):
            read(cut)


def test_whitespace_only_text_is_kept_byte_for_byte() -> None:
    assert decode_row(row_of(AgentEvent(type="agent_message", text=" \n "))).event.text == " \n "


def test_strings_other_than_text_and_title_are_trimmed_on_reading() -> None:
    event = AgentEvent(type="tool_call", tool_call_id=" t1 ", title=" a ", text=" b ")
    back = decode_row(row_of(event)).event
    assert (back.tool_call_id, back.title, back.text) == ("t1", " a ", " b ")


def test_the_zero_time_is_written_and_read() -> None:
    stored = decode_row(row_of(AgentEvent(type="done")))
    assert '"timestamp":"0001-01-01T00:00:00Z"' in stored.content
    assert stored.event.timestamp == NO_TIME


def test_times_in_nested_maps_are_stored_wide_and_shown_short() -> None:
    half = NOON + timedelta(milliseconds=500)
    event = AgentEvent(
        type="runtime_progress",
        timestamp=half,
        runtime={"deadline_at": half, "idle_seconds": 0, "current_tool": "", "turn_id": "t"},
        usage=TokenUsage(timestamp=half),
    )
    row = row_of(event)
    assert b"2026-04-03T12:00:00.500000000Z" in row
    members = json.loads(decode_row(row).content)
    assert members["timestamp"] == "2026-04-03T12:00:00.5Z"
    assert members["runtime"] == {
        "deadline_at": "2026-04-03T12:00:00.5Z",
        "idle_seconds": 0,
        "turn_id": "t",
    }
    assert members["usage"] == {"timestamp": "2026-04-03T12:00:00.5Z"}


def test_empty_maps_and_flags_in_memory_are_not_stored() -> None:
    event = AgentEvent(type="done", usage=TokenUsage(), synthetic={"reason": ""}, persisted=False)
    back = decode_row(row_of(event)).event
    assert (back.usage, back.synthetic, back.persisted) == (None, None, True)


def test_a_row_carries_raw_json_under_tag_262_as_it_came() -> None:
    raw = b'{"a": 1.50,  "b":[1]}'
    row = row_of(AgentEvent(type="permission", timestamp=NOON, raw=RawJSON(raw)))
    content = cbor2.loads(row)[8]
    assert cbor2.CBORTag(262, raw) in content
    assert '"raw":{"a":1.50,"b":[1]}' in decode_row(row).content


def test_raw_is_dropped_unless_its_type_keeps_it_and_it_is_an_object() -> None:
    for kind, raw, kept in (
        ("tool_call", b'{"x":1}', False),
        ("plan", b'{"x":1}', True),
        ("system", b'{"x":1}', True),
        ("a_kind_of_tomorrow", b'{"x":1}', True),
        ("permission", b"[1]", False),
        ("permission", b"{broken", False),
        ("permission", b"[" * 5000, False),
    ):
        back = decode_row(row_of(AgentEvent(type=kind, raw=RawJSON(raw)))).event
        assert (back.raw is not None) is kept, (kind, raw)


def test_text_content_is_the_text_of_what_a_person_said_and_nothing_else() -> None:
    said = decode_row(encode_text_row(**FACTS, content=" hello "))
    assert (said.content, said.event.text) == (" hello ", "hello")
    assert (said.event.type, said.event.turn_id, said.event.timestamp) == (
        "agent_message",
        "turn-1",
        NOON,
    )
    other = decode_row(encode_text_row(**{**FACTS, "type": "plan"}, content="{}"))
    assert (other.content, other.event.text) == ("{}", "")


@pytest.mark.parametrize(
    "event",
    [
        AgentEvent(type="done", timestamp=datetime(2026, 1, 1)),
        AgentEvent(type="done", text="\ud800"),
        AgentEvent(type="done", runtime={"x": object()}),
    ],
    ids=["naive time", "no unicode", "no stored form"],
)
def test_what_has_no_stored_form_is_refused_when_it_is_encoded(event: AgentEvent) -> None:
    with pytest.raises(StoreValidationError):
        row_of(event)
    with pytest.raises(StoreValidationError):
        content_text(event)


def test_a_row_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "ROW_BYTES_MAX", 300)
    row_of(AgentEvent(type="agent_message", text="x" * 100))
    with pytest.raises(StoreValidationError):
        row_of(AgentEvent(type="agent_message", text="x" * 400))


def test_more_rows_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "ROWS_MAX", 3)
    row = row_of(AgentEvent(type="done"))
    assert len(split_rows(row * 3)) == len(decode_rows(row * 3)) == 3
    for read in (split_rows, decode_rows):
        with pytest.raises(StoreValidationError):
            read(row * 4)


def test_a_stray_break_does_not_hide_what_follows() -> None:
    row = row_of(AgentEvent(type="done"))
    with pytest.raises(StoreValidationError):
        decode_rows(row + b"\xff" + row)


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 1), (1, "3"), (2, True), (7, "yesterday"), (7, "2026-04-03T12:00:00"), (8, 5)],
)
def test_a_fact_of_the_wrong_type_is_refused(position: int, value: object) -> None:
    facts = cbor2.loads(row_of(AgentEvent(type="done")))
    facts[position] = value
    with pytest.raises(StoreValidationError):
        decode_row(cbor2.dumps(facts))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("type", 5),
        ("type", ""),
        ("text", 5),
        ("timestamp", 5),
        ("failure", {"kind": "none of them"}),
        ("failure", {"summary": "without a kind"}),
        ("usage", []),
        ("usage", {"input_tokens": "many"}),
        ("usage", {"timestamp": 5}),
        ("synthetic", {"a": 1}),
        ("runtime", {1: 2}),
        ("raw", "{}"),
        ("raw", cbor2.CBORTag(262, "{}")),
        ("raw", cbor2.CBORTag(4711, b"{}")),
    ],
)
def test_an_envelope_member_of_the_wrong_type_is_refused(member: str, value: object) -> None:
    content: list[Any] = ["greenroom.event.v1", *[None] * len(EVENT_MEMBERS)]
    content[1] = "done"
    content[1 + EVENT_MEMBERS.index(member)] = value
    with pytest.raises(StoreValidationError):
        decode_envelope(content)


def test_another_schema_is_refused_and_members_of_tomorrow_are_ignored() -> None:
    with pytest.raises(StoreValidationError):
        decode_envelope(["greenroom.event.v2", "done"])
    with pytest.raises(StoreValidationError):
        decode_envelope([])
    content = encode_envelope(AgentEvent(type="done", timestamp=NOON))
    content += [None] * (len(EVENT_MEMBERS) + 5 - len(content)) + [{"of": "tomorrow"}]
    assert decode_envelope(content) == AgentEvent(type="done", timestamp=NOON)


def test_stored_times_sort_as_text() -> None:
    zone = timezone(timedelta(hours=-7))
    assert time_text(NOON.astimezone(zone)) == "2026-04-03T12:00:00.000000000Z"
    earlier, later = NOON - timedelta(microseconds=1), NOON
    assert time_text(earlier) < time_text(later)
    assert parse_time(time_text(earlier)) == earlier


def test_digits_below_a_microsecond_are_accepted_and_cut() -> None:
    assert parse_time("2026-04-03T12:00:00.000001999Z") == NOON + timedelta(microseconds=1)


@pytest.mark.parametrize("text", ["", "noon", "2026-04-03T12:00:00", 5])
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(StoreValidationError):
        parse_time(text)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("2026-04-03T12:00:00.000000000Z", "2026-04-03T12:00:00Z"),
        ("2026-04-03T12:00:00.120000000Z", "2026-04-03T12:00:00.12Z"),
        ("2026-04-03T10:00:00Z", "2026-04-03T10:00:00Z"),
        ("soon", "soon"),
    ],
)
def test_times_in_json_drop_trailing_zeros(stored: str, shown: str) -> None:
    assert short_time(stored) == shown


def test_a_stored_row_is_a_value() -> None:
    row = row_of(AgentEvent(type="done", timestamp=NOON))
    one, same = decode_row(row), decode_row(row)
    other = decode_row(row_of(AgentEvent(type="done", timestamp=NOON), sequence=18))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "row"
    assert one.cursor == (3, 17)
    assert "turn-1" in repr(one)


def test_content_is_rendered_once_and_only_when_asked_for() -> None:
    rendered: list[str] = []

    def render() -> str:
        rendered.append("x")
        return "{}"

    stored = SessionEvent(**FACTS, event=AgentEvent(type="done"), content=render)
    assert not rendered
    assert (stored.content, stored.content) == ("{}", "{}")
    assert rendered == ["x"]
