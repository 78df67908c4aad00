"""A legal line is at most 10 MiB, and nobody waits long for one (04 1.3; P6)."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import msgspec
import pytest
from greenroom.actors.core.redaction import SEARCHED_MAX, Redactor, redact_events
from greenroom.actors.errors import RequestError
from greenroom.actors.model.event import AgentEvent, RawJSON
from greenroom.actors.model.secret_text import MARK
from greenroom.storage.format.row_encoder import RowEncoder
from greenroom.transport.acp.jsonrpc import decode_value, error_text
from greenroom.transport.acp.options import (
    DECODED_BYTES_MAX,
    DECODED_DEPTH_MAX,
    DECODED_MEMBERS_MAX,
    ERROR_TEXT_MAX,
    FRAME_BYTES_MAX,
)
from greenroom.transport.acp.outputs import EventsEmitted

LONG = "x" * (DECODED_BYTES_MAX + 1)
ROOM = FRAME_BYTES_MAX - 4096
HUB_BLOCK_MAX_S = 0.25


def left_out(value):
    return f"[{len(msgspec.json.encode(value))} bytes left out]"


def test_p6_a_value_within_the_limit_is_read_whole():
    value = {"list": [1] * 1000, "text": "x"}
    assert decode_value(json.dumps(value).encode()) == value


def test_p6_texts_are_read_whatever_their_length():
    value = {"toolCall": {"rawInput": {"path": "/ws/a", "content": LONG}}, "n": [1]}
    assert decode_value(json.dumps(value).encode()) == value
    assert decode_value(json.dumps(LONG).encode()) == LONG


def test_p6_a_longer_list_is_left_out_and_the_rest_is_read():
    entries = [1] * DECODED_BYTES_MAX
    data = msgspec.json.encode({"a": "b", "list": entries, "small": [1, 2]})
    assert decode_value(data) == {"a": "b", "list": left_out(entries), "small": [1, 2]}


def test_p6_many_lists_share_the_limit():
    half = [1] * (DECODED_BYTES_MAX // 4)
    read = decode_value(msgspec.json.encode({"a": half, "b": half, "c": half}))
    assert read == {"a": half, "b": left_out(half), "c": left_out(half)}


def test_p6_an_object_of_too_many_members_is_left_out():
    many = {str(n): "x" * (DECODED_BYTES_MAX // DECODED_MEMBERS_MAX) for n in range(5000)}
    assert decode_value(msgspec.json.encode({"many": many})) == {"many": left_out(many)}


def test_p6_objects_in_objects_are_read_to_a_depth():
    value = inner = {"text": LONG}
    for _ in range(DECODED_DEPTH_MAX):
        value = {"in": value}
    read = decode_value(msgspec.json.encode(value))
    for _ in range(DECODED_DEPTH_MAX):
        read = read["in"]
    assert read == left_out(inner)


def test_p6_no_json_is_no_value():
    assert decode_value(b"{" + b" " * DECODED_BYTES_MAX) is None


@pytest.mark.parametrize("data", [None, "x" * 99_999, {"error": "x" * 99_999}, ["x" * 99_999]])
def test_p6_of_an_error_the_beginning_is_read(data):
    text = error_text(RequestError("m" * ERROR_TEXT_MAX + "end", code=1, data=data))
    assert text == "m" * ERROR_TEXT_MAX


def test_p6_a_long_line_that_would_have_to_be_mended_is_skipped(make_peer):
    peer = make_peer().started().prompted()
    peer.update("plan", x=["\ud800"] * DECODED_BYTES_MAX)
    assert peer.events == []


def test_3_3_what_is_too_long_to_search_and_looks_suspicious_is_hidden_whole():
    redactor = Redactor()
    redactor.register("hush-hush-1")
    fill = "x" * SEARCHED_MAX
    assert redactor.redact(f"{fill} token: a") == MARK
    assert redactor.redact(f"{fill} hush-hush-1") == MARK
    assert redactor.redact(plain := f"{fill}: b") is plain
    assert redactor.redact_raw(RawJSON.of({"token": fill})).value == MARK
    assert redactor.redact_raw(raw := RawJSON.of({"a": fill})) is raw


def lists(unit, **members):
    size = len(json.dumps(unit)) + 2
    return {**members, "list": [unit] * (ROOM // size)}


def update(kind, **members):
    params = {"sessionId": "acp-1", "update": {"sessionUpdate": kind, **members}}
    return {"method": "session/update", "params": params}


def filled(kind, name, unit, **members):
    return update(kind, **members, **{name: lists(unit)["list"]})


SELECT = {"id": "m", "name": "n", "type": "select", "options": [{"value": "a", "name": "A"}]}
CALL = {"toolCallId": "t", "title": "T"}
OPTIONS = [{"optionId": "y", "name": "Y", "kind": "allow_once"}]
LINES = {
    "text": update("agent_message_chunk", content={"type": "text", "text": "word: " * (ROOM // 6)}),
    "secrets": update(
        "agent_message_chunk", content={"type": "text", "text": "token: a " * (ROOM // 9)}
    ),
    "options": filled("config_option_update", "configOptions", SELECT),
    "raw input": update("tool_call", rawInput=lists({"x": 1}), **CALL),
    "secret input": update("tool_call", rawInput=lists({"token": "v"}), **CALL),
    "output": filled("tool_call_update", "rawOutput", {"x": 1}, status="completed", **CALL),
    "plan": filled("plan", "entries", {"content": "c", "status": "pending"}),
    "commands": filled("available_commands_update", "availableCommands", {"name": "c"}),
    "usage": filled("usage_update", "x", {"a": 1}, used=1, size=2),
    "unknown": filled("new_kind", "x", {"a": 1}),
    "permission": {
        "id": 1,
        "method": "session/request_permission",
        "params": {
            "sessionId": "acp-1",
            "toolCall": {**CALL, "rawInput": lists({"a": 1})},
            "options": OPTIONS,
        },
    },
    "error": {"id": 3, "error": {"code": 1, "message": "m", "data": lists({"a": 1})}},
    "error text": {"id": 3, "error": {"code": 1, "message": "401 no " * (ROOM // 7)}},
    "answer": {"id": 3, "result": lists({"a": 1}, stopReason="end_turn")},
    "surrogates": filled("plan", "entries", "\ud800"),
}


@pytest.mark.chaos
@pytest.mark.parametrize("name", LINES)
def test_p6_no_legal_line_holds_the_hub_up(make_peer, name):
    line = json.dumps(LINES[name]).encode() + b"\n"
    assert len(line) < FRAME_BYTES_MAX
    spent = []
    for _ in range(3):  # the best of three: the machine has other things to do
        peer = make_peer().started().prompted()
        began = time.perf_counter()
        outputs = peer.client.receive_data(line)
        received = time.perf_counter()
        for output in outputs:
            if isinstance(output, EventsEmitted):
                for event in redact_events(output.events, Redactor()):
                    stored(event)
        spent.append(max(received - began, time.perf_counter() - received))
    assert min(spent) < HUB_BLOCK_MAX_S


def stored(event: AgentEvent) -> bytes:
    now = datetime.now(UTC)
    event = msgspec.structs.replace(event, timestamp=now)
    return RowEncoder("s", 1).encode(1, "ev-1", "a", now, event)
