"""Files, grants and all else an agent may ask for (04 5; 07 R27-R30)."""

import json

import pytest
from greenroom.actors.errors import (
    RequestError,
)
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.acp.outputs import ClientCallAsked, ClientCallCancelled

SESSION = "acp-1"


def selected(option_id):
    return {"outcome": {"outcome": "selected", "optionId": option_id}}


def resolve(peer, decision, **which):
    return peer.do(peer.client.resolve_permission(ApproveRequest(decision, **which)))


# ---- files


def file_call(peer, request_id=7, method="fs/write_text_file", **params):
    params = {"sessionId": SESSION, "path": "/ws/a", **params}
    if "write" in method:
        params.setdefault("content", "x")
    return peer.say(id=request_id, method=method, params=params)


def refusal(peer, request_id=7):
    return peer.answer_to(request_id)["error"]


def test_a_read_is_passed_on_and_answered(peer):
    [asked] = file_call(peer, method="fs/read_text_file", line=2.0, limit=None)
    assert asked == ClientCallAsked(
        asked.key,
        "fs/read_text_file",
        {"sessionId": SESSION, "path": "/ws/a", "line": 2, "limit": None},
    )
    peer.do(peer.client.answer(asked.key, {"content": "text"}))
    peer.do(peer.client.answer(asked.key, {"content": "again"}))
    assert peer.answer_to(7)["result"] == {"content": "text"}


def test_r26_a_file_error_is_passed_through(peer):
    [asked] = file_call(peer, method="fs/read_text_file")
    error = RequestError("Resource not found: /ws/a", code=-32002, data={"uri": "/ws/a"})
    peer.do(peer.client.answer_error(asked.key, error))
    peer.do(peer.client.answer_error(asked.key, error))
    assert refusal(peer) == {
        "code": -32002,
        "message": "Resource not found: /ws/a",
        "data": {"uri": "/ws/a"},
    }


@pytest.mark.parametrize(
    ("mode", "method"),
    [
        (PermissionMode.DENY_ALL, "fs/read_text_file"),
        (PermissionMode.DENY_ALL, "fs/write_text_file"),
        (PermissionMode.APPROVE_READS, "fs/write_text_file"),
    ],
)
def test_a_file_call_against_the_policy_is_refused(make_peer, mode, method):
    peer = make_peer(permissions=mode).started().prompted()
    assert file_call(peer, method=method) == []
    assert refusal(peer)["code"] == -32602
    assert mode.value in refusal(peer)["data"]["error"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("fs/read_text_file", {"path": 5}),
        ("fs/read_text_file", {"path": None}),
        ("fs/read_text_file", {"line": "2"}),
        ("fs/read_text_file", {"limit": True}),
        ("fs/read_text_file", {"line": 1.5}),
        ("fs/write_text_file", {"content": None}),
        ("fs/read_text_file", {"path": "/etc/passwd"}),
        ("fs/read_text_file", {"path": " "}),
        ("fs/write_text_file", {"path": "../x"}),
    ],
)
def test_a_malformed_file_call_has_no_effect(make_peer, method, params):
    peer = make_peer(permissions=PermissionMode.APPROVE_ALL).started()
    assert file_call(peer, method=method, **params) == []
    assert refusal(peer)["code"] == -32602


def test_file_params_have_to_be_an_object(peer):
    peer.say(id=7, method="fs/read_text_file", params=[1])
    assert refusal(peer)["code"] == -32602


def test_a_withdrawn_file_call_is_answered_and_dropped(peer):
    [asked] = file_call(peer, method="fs/read_text_file")
    assert peer.say(method="$/cancel_request", params={"requestId": 7.0}) == [
        ClientCallCancelled(asked.key)
    ]
    assert refusal(peer)["code"] == -32800
    peer.do(peer.client.answer(asked.key, {"content": "late"}))
    assert refusal(peer)


def test_file_calls_end_with_the_connection(peer):
    [asked] = file_call(peer, method="fs/read_text_file")
    assert ClientCallCancelled(asked.key) in peer.do(peer.client.receive_eof("gone"))


def test_r27_an_agent_that_was_not_offered_files_gets_none(make_peer):
    peer = make_peer(fs=False, permissions=PermissionMode.APPROVE_ALL).started()
    file_call(peer)
    assert refusal(peer) == {
        "code": -32601,
        "message": "Method not found",
        "data": {"method": "fs/write_text_file"},
    }


# ---- grants


def granted(peer, decision="allow-once", **members):
    peer.prompted().ask(900, **members)
    resolve(peer, decision, turn_id="turn-1")
    return peer


def test_what_somebody_allowed_may_be_written(peer):
    granted(peer)
    assert len(file_call(peer)) == 1
    assert len(file_call(peer, 8, path="/ws/b")) == 1


def test_a_grant_covers_the_paths_it_named(peer):
    granted(peer, locations=[{"path": "/ws/x/../a"}])
    assert len(file_call(peer)) == 1
    file_call(peer, 8, path="/ws/b")
    assert refusal(peer, 8)["code"] == -32602


@pytest.mark.parametrize("decision", ["reject-once"])
def test_a_rejection_grants_nothing(peer, decision):
    granted(peer, decision)
    file_call(peer)
    assert refusal(peer)["code"] == -32602


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_grant_ends_with_its_tool_call(peer, status):
    granted(peer).update("tool_call_update", toolCallId="call-1", status="in_progress")
    assert len(file_call(peer)) == 1
    peer.update("tool_call_update", toolCallId="call-1", status=status)
    file_call(peer, 8)
    assert refusal(peer, 8)["code"] == -32602


def test_a_grant_ends_with_its_turn(peer):
    granted(peer).ended().prompted("turn-2")
    file_call(peer)
    assert refusal(peer)["code"] == -32602


def test_a_network_turn_writes_nothing(make_peer):
    peer = make_peer(permissions=PermissionMode.APPROVE_ALL).started()
    peer.do(peer.client.prompt("turn-1", "hello", {"turn_source": "network"}))
    file_call(peer)
    assert refusal(peer)["code"] == -32602
    peer.ended().prompted("turn-2")
    assert len(file_call(peer, 8)) == 1


# ---- everything else


@pytest.mark.parametrize(
    "method", ["terminal/create", "_vendor/thing", "vendor/thing", "initialize", ""]
)
def test_r30_what_we_do_not_serve_is_refused_at_once(peer, method):
    peer.say(id=0, method=method, params={})
    assert refusal(peer, 0)["code"] == -32601
    assert refusal(peer, 0)["data"] == {"method": method}


def test_r28_elicitation_is_declined(peer):
    peer.say(id=7, method="elicitation/create", params={"message": "?"})
    assert peer.answer_to(7)["result"] == {"action": "decline"}


def test_an_update_may_be_a_request(peer):
    params = {"sessionId": SESSION, "update": {"sessionUpdate": "plan", "entries": []}}
    peer.prompted().say(id=7, method="session/update", params=params)
    assert peer.types == ["plan"]
    assert peer.answer_to(7)["result"] is None
    peer.say(id=8, method="session/update", params={})
    assert refusal(peer, 8)["code"] == -32602


def test_r29_ids_come_back_as_they_came(peer):
    peer.raw(b'{"id":1.0,"method":"x"}\n{"id":"1","method":"x"}\n{"id":null,"method":"x"}\n')
    assert [json.dumps(m["id"]) for m in peer.sent] == ["1.0", '"1"', "null"]
