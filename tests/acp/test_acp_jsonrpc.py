"""JSON-RPC messages, one line each (04 3)."""

import json

import pytest
from greenroom.actors.errors import RequestError
from greenroom.transport.acp import jsonrpc
from greenroom.transport.acp.jsonrpc import (
    BadRequest,
    Junk,
    Notification,
    Request,
    Response,
    UpdateSeen,
    decode,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"[{}]",
        b"1",
        b'"text"',
        b"null",
        b"{}",
        b'{"a":1} trailing',
        b'{"params":{"a":NaN}}',
        b'{"method":5}',
        b'{"params":1e999,"id":1e999,"result":1}',
        b'{"id":null,"error":{"code":-32700,"message":"Parse error"}}',
        b'{"id":true,"result":1}',
        b'{"id":{},"result":1}',
        b'{"params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\x00\xff",
    ],
)
def test_what_is_no_message_is_junk_and_never_raises(line):
    assert isinstance(decode(line), Junk)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id":1,"method":"m"}', Request(1, b"1", "m", b"null")),
        (b'{"id":"a","method":"m","params":[1]}', Request("a", b'"a"', "m", b"[1]")),
        (b'{"id":null,"method":"m"}', Request(None, b"null", "m", b"null")),
        (b'{"method":"m","params":{"a":1}}', Notification("m", b'{"a":1}')),
        (b'{"id":1.0,"result":{"a":1}}', Response(1, b'{"a":1}')),
        (b'{"id":1e0}', Response(1, b"null")),
        (b'{"id":1,"result":null,"error":null}', Response(1, b"null")),
        (b'\xef\xbb\xbf{"id":1,"result":2}', Response(1, b"2")),
        (
            b'{"method":"session/update","params":{"sessionId":"s","update":{"a":1}}}',
            UpdateSeen("s", b'{"a":1}'),
        ),
        (
            b'{"method":"session\\/update","params":{"sessionId":"s","update":{}}}',
            UpdateSeen("s", b"{}"),
        ),
        (
            b'{"method":"session/update","params":{"sessionId":5}}',
            Notification("session/update", b'{"sessionId":5}'),
        ),
        (
            b'{"id":4,"method":"session/update","params":{"sessionId":"s","update":{}}}',
            Request(4, b"4", "session/update", b'{"sessionId":"s","update":{}}'),
        ),
        (b'{"method":"m","params":"session/update"}', Notification("m", b'"session/update"')),
    ],
)
def test_a_line_is_classified_by_its_members(line, message):
    assert decode(line) == message


def test_numbers_are_equal_as_ids_and_text_is_not():
    ids = {jsonrpc.canonical_id(value)[1] for value in (1, 1.0, 1e0)}
    assert ids == {1}
    assert jsonrpc.canonical_id("1") == (True, "1")


@pytest.mark.parametrize("raw_id", [b"[]", b"{}", b"false"])
def test_a_request_with_an_impossible_id_is_refused(raw_id):
    message = decode(b'{"method":"m","id":' + raw_id + b"}")
    assert isinstance(message, BadRequest)
    assert (message.raw_id, message.error.code) == (b"null", jsonrpc.INVALID_REQUEST)


def test_a_request_whose_method_is_no_text_is_refused_under_its_id():
    message = decode(b'{"id":7,"method":{}}')
    assert isinstance(message, BadRequest)
    assert (message.raw_id, message.error.code) == (b"7", jsonrpc.INVALID_REQUEST)


@pytest.mark.parametrize(
    ("error", "code", "text", "data"),
    [
        ({"code": -1, "message": "no", "data": [1]}, -1, "no", [1]),
        ({"code": "x", "message": "no"}, jsonrpc.INTERNAL_ERROR, "no", None),
        ({"code": True, "message": "no"}, jsonrpc.INTERNAL_ERROR, "no", None),
        ("broken", jsonrpc.INTERNAL_ERROR, "malformed error", "broken"),
    ],
)
def test_an_error_beats_a_result_however_malformed(error, code, text, data):
    line = json.dumps({"id": 1, "result": 1, "error": error}).encode()
    message = decode(line)
    assert isinstance(message, Response)
    assert isinstance(message.error, RequestError)
    assert (message.error.code, str(message.error), message.error.data) == (code, text, data)


def test_bytes_that_are_no_utf8_and_lone_surrogates_are_replaced():
    message = decode(b'{"method":"m","params":"a\xffb"}')
    assert message == Notification("m", '"a\ufffdb"'.encode())
    assert decode(b'{"method":"m","params":"a\\ud800b"}') == Notification("m", b'"a?b"')


@RELAXED
@given(st.binary(max_size=200))
def test_any_bytes_are_some_message(line):
    assert decode(line) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@RELAXED
@given(st.dictionaries(st.sampled_from(["id", "method", "params", "result", "error"]), JSON))
def test_any_object_is_some_message(value):
    assert decode(json.dumps(value).encode()) is not None


def test_messages_of_ours_are_one_line_each():
    lines = [
        jsonrpc.encode_request(1, "m", {"text": "a\nb"}),
        jsonrpc.encode_notification("m", {}),
        jsonrpc.encode_result(b"1.0", None),
        jsonrpc.encode_error(b'"x"', jsonrpc.rpc_error(jsonrpc.METHOD_NOT_FOUND, method="m")),
        jsonrpc.encode_error(b"1", RequestError("no", code=5)),
    ]
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    assert [json.loads(line) for line in lines] == [
        {"jsonrpc": "2.0", "id": 1, "method": "m", "params": {"text": "a\nb"}},
        {"jsonrpc": "2.0", "method": "m", "params": {}},
        {"jsonrpc": "2.0", "id": 1.0, "result": None},
        {
            "jsonrpc": "2.0",
            "id": "x",
            "error": {"code": -32601, "message": "Method not found", "data": {"method": "m"}},
        },
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 5, "message": "no"}},
    ]
    assert b"1.0" in lines[2]


def test_a_lone_surrogate_of_ours_does_not_lose_the_message():
    line = jsonrpc.encode_request(1, "m", {"a": ["x\ud800", 5], "b": ("\ud800",)})
    assert json.loads(line)["params"] == {"a": ["x?", 5], "b": ["?"]}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "no"),
        ("why", "no: why"),
        ({"error": "why"}, "no: why"),
        ({"error": "why", "more": 1}, 'no: {"error": "why", "more": 1}'),
    ],
)
def test_the_text_of_an_error_holds_its_data(data, text):
    assert jsonrpc.error_text(RequestError("no", code=1, data=data)) == text


def test_values_out_of_range_decode_to_nothing():
    assert jsonrpc.decode_value(b"1e999") is None
    assert jsonrpc.decode_object(b"[]") is None
    assert jsonrpc.decode_object(b'{"a":1}') == {"a": 1}


def test_log_text_is_cut():
    assert jsonrpc.excerpt("a") == "a"
    assert len(jsonrpc.excerpt("a" * 10_000)) < 300
