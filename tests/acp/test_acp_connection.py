"""The tables of open requests, both ways (04 3; D8, D11)."""

import json

import pytest
from greenroom.actors.errors import RequestError
from greenroom.transport.acp import jsonrpc
from greenroom.transport.acp.connection import Connection
from greenroom.transport.acp.jsonrpc import Request, Response


def written(connection):
    return [json.loads(line) for line in connection.data_to_send().splitlines()]


def asked(number, method="m"):
    return Request(number, str(number).encode(), method, b"{}")


def test_ids_count_from_one_and_bytes_come_once():
    connection = Connection[str]()
    assert [connection.request("m", {}, "a"), connection.request("m", {}, "b")] == [1, 2]
    assert [message["id"] for message in written(connection)] == [1, 2]
    assert connection.data_to_send() == b""


def test_an_answer_finds_its_purpose_once():
    connection = Connection[str]()
    connection.request("m", {}, "a")
    assert connection.take_response(Response("1", b"null")) is None
    assert connection.take_response(Response(1.0, b"null")) == "a"
    assert connection.take_response(Response(1, b"null")) is None


def test_a_forgotten_request_gets_no_answer():
    connection = Connection[str]()
    connection.forget(connection.request("m", {}, "a"))
    assert connection.take_response(Response(1, b"null")) is None
    connection.forget(99)


def test_d8_a_request_over_the_limit_is_not_written_and_costs_no_id():
    connection = Connection[str](frame_bytes_max=100)
    with pytest.raises(RequestError) as raised:
        connection.request("m", {"text": "x" * 100}, "a")
    assert raised.value.data == {"error": "m is longer than 100 bytes"}
    assert connection.data_to_send() == b""
    assert connection.request("m", {}, "a") == 1


def test_an_answer_over_the_limit_becomes_an_error():
    connection = Connection[str](frame_bytes_max=200)
    call = connection.take_request(asked(5))
    assert connection.answer(call.key, "x" * 300)
    [answer] = written(connection)
    assert (answer["id"], answer["error"]["code"]) == (5, jsonrpc.INTERNAL_ERROR)


def test_a_call_is_answered_once():
    connection = Connection[str]()
    call = connection.take_request(asked(5))
    assert connection.find(5) is call
    assert connection.answer(call.key, None)
    assert not connection.answer(call.key, None)
    assert not connection.answer_error(call.key, jsonrpc.rpc_error(1))
    assert connection.find(5) is None
    assert written(connection) == [{"jsonrpc": "2.0", "id": 5, "result": None}]


def test_an_id_in_use_is_refused_and_free_again_after_the_answer():
    connection = Connection[str]()
    call = connection.take_request(asked(5))
    assert connection.take_request(asked(5)) is None
    connection.answer_error(call.key, jsonrpc.rpc_error(jsonrpc.INVALID_PARAMS))
    codes = [message["error"]["code"] for message in written(connection)]
    assert codes == [jsonrpc.INVALID_REQUEST, jsonrpc.INVALID_PARAMS]
    assert connection.take_request(asked(5)) is not None


def test_d11_too_many_open_calls_are_refused():
    connection = Connection[str]()
    calls = [connection.take_request(asked(number)) for number in range(64)]
    assert all(calls)
    assert connection.take_request(asked(64)) is None
    [refusal] = written(connection)
    assert (refusal["id"], refusal["error"]["code"]) == (64, jsonrpc.INTERNAL_ERROR)
    assert refusal["error"]["data"]["error"] == "too many concurrent requests"
    connection.answer(calls[0].key, None)
    assert connection.take_request(asked(64)) is not None


def test_after_the_end_nothing_is_written():
    connection = Connection[str]()
    connection.request("m", {}, "a")
    call = connection.take_request(asked(5))
    assert connection.disconnect() == (["a"], [call])
    connection.notify("m", {})
    assert not connection.answer(call.key, None)
    assert connection.data_to_send() == b""
    with pytest.raises(RequestError) as raised:
        connection.request("m", {}, "a")
    assert raised.value.data == {"error": "peer disconnected before response"}
