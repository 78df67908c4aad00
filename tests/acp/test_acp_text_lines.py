"""A chunk of text read in one look means what the careful way makes of it (04 4.3; 07 5)."""

from __future__ import annotations

import json

import pytest
from greenroom.transport.acp import codec_v1, codec_v2
from greenroom.transport.acp.inputs import TextAdded
from greenroom.transport.acp.jsonrpc import UpdateSeen, decode
from greenroom.transport.acp.text_lines import decode_text_line
from hypothesis import given
from hypothesis import strategies as st

CODECS = [codec_v1, codec_v2]
KINDS = ["agent_message_chunk", "agent_thought_chunk", "user_message_chunk", "odd_chunk", "plan"]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
JUNK = st.none() | st.integers() | TEXTS | st.lists(st.integers(), max_size=2)


def line_of(update, **members):
    message = {"jsonrpc": "2.0", "method": "session/update", **members}
    message["params"] = {"sessionId": "s-1", "update": update, "_meta": {"n": 1}}
    return message


def chunk(kind="agent_message_chunk", text="hi", **members):
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}, **members}


def in_one_look(codec, line):
    seen = decode_text_line(line)
    key = None if seen is None else codec.text_key(seen)
    return None if key is None else TextAdded(key[0], seen.text, seen.raw, key[1])


@st.composite
def lines(draw):
    update = chunk(draw(st.sampled_from(KINDS)), draw(TEXTS | JUNK))
    for name in draw(st.sets(st.sampled_from(["messageId", "title", "_meta", "content", "x"]))):
        update[name] = draw(JUNK | st.just({"type": "text", "text": "t", "annotations": {}}))
    message = line_of(update)
    for name in draw(st.sets(st.sampled_from(["id", "method", "params", "extra"]), max_size=1)):
        message[name] = draw(JUNK)
    return json.dumps(message, ensure_ascii=draw(st.booleans())).encode()


@given(lines(), st.integers(0, 10), st.binary(max_size=1))
def test_r20_what_is_taken_in_one_look_means_the_same_in_the_careful_way(line, at, dirt):
    if at == 0:
        line = line.replace(b"hi", dirt).replace(b"t", dirt, 3)
    for codec in CODECS:
        added = in_one_look(codec, line)
        if added is not None:
            seen = decode(line)
            assert isinstance(seen, UpdateSeen)
            assert codec.decode_update(seen.update) == added
            assert added.raw.data == seen.update


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", ["agent_message_chunk", "agent_thought_chunk"])
def test_r20_the_form_every_agent_uses_is_taken(codec, kind):
    line = json.dumps(line_of(chunk(kind, "h\u00e9", messageId="m-1"))).encode()
    added = in_one_look(codec, line)
    assert isinstance(added, TextAdded)
    assert (added.text, added.raw.value["messageId"]) == ("h\u00e9", "m-1")


@pytest.mark.parametrize(
    "line",
    [
        line_of(chunk(), id=1),
        line_of(chunk(), method="session/other_chunk"),
        line_of({**chunk(), "content": {"type": "image", "text": "x"}}),
        line_of({**chunk(), "content": None}),
        line_of(chunk(text=1)),
        line_of(chunk(messageId=5)),
    ],
)
def test_r20_every_other_form_goes_the_careful_way(line):
    assert decode_text_line(json.dumps(line).encode()) is None


@pytest.mark.parametrize(
    "data", [b'_chunk"', b'{"a_chunk"', b"[" * 10_000 + b'"_chunk"', b'\xff_chunk"']
)
def test_r20_what_is_no_message_is_left_to_the_careful_way(data):
    assert decode_text_line(data) is None


def test_r20_bytes_that_are_no_text_are_mended_in_the_raw_value_too():
    line = json.dumps(line_of(chunk(text="hi", x="dirt"))).encode().replace(b"dirt", b"\xff")
    added = in_one_look(codec_v1, line)
    assert added is not None
    assert added.raw.value["x"] == "\ufffd"
