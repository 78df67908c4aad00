"""Bytes of the bus: what is encoded is decoded, and garbage is a BusProtocolError, nothing else."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.format.rows import encode_row
from greenroom.transport.bus.catchup import (
    REASON_CHARS_MAX,
    ErrorReply,
    HeadsReply,
    HeadsRequest,
    RowsReply,
    RowsRequest,
    decode_reply,
    decode_request,
    encode_page,
    encode_reply,
    encode_request,
    request_id_of,
)
from greenroom.transport.bus.errors import BusCursorError, BusProtocolError
from greenroom.transport.bus.fields import VERSION, Head
from greenroom.transport.bus.frames import (
    FRAME_BYTES_MAX,
    Heartbeat,
    RowsFrame,
    decode_frame,
    encode_frames,
    encode_heartbeat,
    runs_of,
    session_topic,
)
from greenroom.transport.bus.positions import decode_cursor, encode_cursor
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 4, 3, tzinfo=UTC)
IDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1)
NUMBERS = st.integers(0, 2**63 - 1)
HEADS = st.lists(st.builds(Head, IDS, NUMBERS, NUMBERS), max_size=4).map(tuple)


def row(session_id: str, epoch: int, sequence: int, text: str = "") -> bytes:
    return encode_row(
        session_id=session_id,
        epoch=epoch,
        sequence=sequence,
        id="ev",
        turn_id="t",
        type="agent_message",
        agent_name="n",
        timestamp=NOW,
        event=AgentEvent(type="agent_message", text=text, timestamp=NOW),
    )


# -- frames -----------------------------------------------------------------------------------


@given(IDS, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=8))
def test_rows_come_back_in_order_and_in_runs(
    session_id: str, positions: list[tuple[int, int]]
) -> None:
    rows = [row(session_id, epoch, sequence) for epoch, sequence in positions]
    (frame,) = encode_frames(session_id, rows)
    assert frame.startswith(session_topic(session_id))
    decoded = decode_frame(frame)
    assert decoded == RowsFrame(session_id, b"".join(rows))
    runs = runs_of(session_id, b"".join(rows))
    assert [event.cursor for run in runs for event in run.events] == positions
    for run in runs:
        assert [event.cursor for event in run.events] == [
            (run.epoch, sequence) for sequence in range(run.first, run.last + 1)
        ]


@given(st.lists(st.integers(1, 400), max_size=12), st.integers(1, 1000))
def test_frames_keep_order_and_limit(sizes: list[int], limit: int) -> None:
    rows = [bytes([index]) * size for index, size in enumerate(sizes)]
    frames = encode_frames("s", rows, limit)
    topic = session_topic("s")
    assert b"".join(frame.removeprefix(topic) for frame in frames) == b"".join(rows)
    for frame in frames:
        assert len(frame) <= limit or frame.removeprefix(topic) in rows


def test_a_frame_holds_the_named_limit() -> None:
    rows = [b"x" * 1000] * 200
    frames = encode_frames("s", rows)
    assert len(frames) == 4
    assert max(map(len, frames)) <= FRAME_BYTES_MAX


@pytest.mark.parametrize(
    "frame",
    [b"", b"x", b"s/a", b"h", b"s/\0", b"s/\xff\0", b"s/" + b"a" * 2000 + b"\0", b"t/a\0"],
)
def test_unknown_topics(frame: bytes) -> None:
    with pytest.raises(BusProtocolError):
        decode_frame(frame)


@pytest.mark.parametrize("body", [b"", b"x", row("b", 1, 1), row("a", 1, 1)[:-1], b"\xff"])
def test_bodies_that_are_no_rows_of_the_session(body: bytes) -> None:
    with pytest.raises(BusProtocolError):
        runs_of("a", body)


@given(st.builds(Heartbeat, st.text(), NUMBERS, NUMBERS, st.none() | HEADS))
def test_heartbeats_come_back(beat: Heartbeat) -> None:
    assert decode_frame(encode_heartbeat(beat)) == beat


# -- requests and replies -----------------------------------------------------------------------


@given(
    st.builds(HeadsRequest, NUMBERS, st.none() | IDS, st.just("") | IDS)
    | st.builds(RowsRequest, NUMBERS, IDS, NUMBERS, NUMBERS, NUMBERS)
)
def test_requests_come_back(request: HeadsRequest | RowsRequest) -> None:
    assert decode_request(encode_request(request)) == request
    assert request_id_of(encode_request(request)) == request.request_id


@given(
    st.builds(HeadsReply, NUMBERS, HEADS, st.booleans())
    | st.builds(ErrorReply, NUMBERS, st.text(max_size=REASON_CHARS_MAX))
)
def test_replies_come_back(reply: HeadsReply | ErrorReply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


def test_a_reason_is_bounded() -> None:
    reply = decode_reply(encode_reply(ErrorReply(1, "x" * 100_000)))
    assert isinstance(reply, ErrorReply)
    assert len(reply.reason) == REASON_CHARS_MAX


def test_pages_come_back() -> None:
    request = RowsRequest(3, "a", 1, 0)
    rows = [row("a", 1, 1), row("a", 1, 2), row("a", 2, 3)]
    reply = decode_reply(encode_page(request, rows, (2, 9), True))
    assert isinstance(reply, RowsReply)
    assert (reply.request_id, reply.session_id) == (3, "a")
    assert [(run.epoch, run.first, run.last) for run in reply.runs] == [(1, 1, 2), (2, 3, 3)]
    assert (reply.head_epoch, reply.head_sequence, reply.reset) == (2, 9, True)
    assert decode_reply(encode_page(request, [], (1, 0), False)) == RowsReply(
        3, "a", (), 1, 0, False
    )


BAD: list[Any] = [
    None,
    [],
    ["x"],
    [True, 1, "heads", None, ""],
    [VERSION],
    [VERSION, 1],
    [VERSION, 1, "drop"],
    [VERSION, "x", "heads", None, ""],
    [VERSION, -1, "heads", None, ""],
    [VERSION, 2**64, "heads", None, ""],
    [VERSION, True, "heads", None, ""],
    [VERSION, 1, "heads", "", ""],
    [VERSION, 1, "heads", "a\0b", ""],
    [VERSION, 1, "heads", None, 0],
    [VERSION, 1, "heads", None, []],
    [VERSION, 1, "heads", None, "", "more"],
    [VERSION, 1, "heads", [], 1],
    [VERSION, 1, "heads", [["a", 1]], False],
    [VERSION, 1, "heads", [["a", 1, -1]], False],
    [VERSION, 1, "heads", {"a": 1}, False],
    [VERSION, 1, "rows", "a", 1],
    [VERSION, 1, "rows", "a", 1, 2, 1.5],
    [VERSION, 1, "rows", "a", b"x", 1, 1, False],
    [VERSION, 1, "rows", "a", "x", 1, 1, False],
    [VERSION, 1, "rows", "a", b"", 1, 1, 0],
    [VERSION, 1, "error", 5],
    [VERSION, "i", 1, 1, [["a"]]],
    [VERSION, 7, 1, 1, None],
]


@pytest.mark.parametrize("document", BAD, ids=repr)
def test_bad_documents(document: Any) -> None:
    data = cbor2.dumps(document)
    for decode in (decode_request, decode_reply):
        with pytest.raises(BusProtocolError):
            decode(data)
    with pytest.raises(BusProtocolError):
        decode_frame(b"h\0" + data)


def test_another_version_is_named() -> None:
    data = cbor2.dumps([VERSION + 1, 5, "heads", None, ""])
    for decode in (decode_request, decode_reply):
        with pytest.raises(BusProtocolError) as caught:
            decode(data)
        assert caught.value.version == VERSION + 1
    assert request_id_of(data) == 5


GARBAGE = st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5),
).map(cbor2.dumps)


@given(GARBAGE)
def test_garbage_is_a_protocol_error_and_nothing_else(data: bytes) -> None:
    for decode in (decode_request, decode_reply, decode_frame):
        with contextlib.suppress(BusProtocolError):
            decode(data)
    for body in (data, row("a", 1, 1) + data, data + row("a", 1, 1)):
        with contextlib.suppress(BusProtocolError):
            runs_of("a", body)
    with contextlib.suppress(BusProtocolError):
        decode_frame(b"h\0" + data)
    with contextlib.suppress(BusProtocolError):
        decode_frame(b"s/" + data)
    assert request_id_of(data) >= 0


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_of_a_page_is_a_page_or_a_protocol_error(index: int, value: int) -> None:
    data = bytearray(encode_page(RowsRequest(1, "a", 0, 0), [row("a", 1, 1)] * 2, (1, 2), False))
    data[index % len(data)] = value
    with contextlib.suppress(BusProtocolError):
        decode_reply(bytes(data))


# -- cursors ----------------------------------------------------------------------------------


@given(st.dictionaries(IDS, st.tuples(NUMBERS, NUMBERS)))
def test_cursors_come_back(positions: dict[str, tuple[int, int]]) -> None:
    text = encode_cursor(positions)
    assert text.isascii()
    assert text.isprintable()
    assert decode_cursor(text) == positions


@given(st.text() | st.binary().map(lambda data: "gr1." + data.hex()))
def test_any_text_is_a_cursor_or_a_cursor_error(text: str) -> None:
    with contextlib.suppress(BusCursorError):
        decode_cursor(text)


@pytest.mark.parametrize("vector", [7, [["a", 1]], [["a", -1, 0]], [["a", 1, 2**64]], [[1, 1, 1]]])
def test_vectors_that_are_no_cursor(vector: Any) -> None:
    import base64

    with pytest.raises(BusCursorError):
        decode_cursor("gr1." + base64.urlsafe_b64encode(cbor2.dumps(vector)).decode())
