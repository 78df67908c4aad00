"""What the agent asks of us: permissions, files, and all the rest (04 5, 6; 07 R1, R24-R30)."""

import json

import pytest

from greenroom.actors.errors import (
    InvalidPermissionDecisionError,
    PathOutsideWorkspaceError,
    PendingPermissionNotFoundError,
    RequestError,
)
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.acp.outputs import ClientCallAsked, ClientCallCancelled

SESSION = "acp-1"
ALWAYS = [{"optionId": "a", "name": "A", "kind": "allow_always"}]
CANCELLED = {"outcome": {"outcome": "cancelled"}}


def selected(option_id):
    return {"outcome": {"outcome": "selected", "optionId": option_id}}


def decisions(peer):
    return [(e.request_id, e.decision) for e in peer.events if e.type == "permission"]


def resolve(peer, decision, **which):
    return peer.do(peer.client.resolve_permission(ApproveRequest(decision, **which)))


# ---- permissions


@pytest.mark.parametrize(
    ("mode", "kind", "answer", "decision"),
    [
        (PermissionMode.DENY_ALL, "read", "o-no", "reject-once"),
        (PermissionMode.DENY_ALL, "edit", "o-no", "reject-once"),
        (PermissionMode.APPROVE_READS, "read", "o-once", "allow-once"),
        (PermissionMode.APPROVE_ALL, "execute", "o-once", "allow-once"),
    ],
)
def test_the_policy_answers_what_it_can(make_peer, mode, kind, answer, decision):
    peer = make_peer(permissions=mode).started().prompted()
    peer.ask(7, kind=kind)
    assert peer.answer_to(7)["result"] == selected(answer)
    assert decisions(peer) == [("turn-1:call-1", decision)]
    assert not peer.timers


def test_what_it_can_not_waits_for_somebody(peer):
    peer.prompted().chunk("before")
    peer.ask("x-1", locations=[{"path": "/ws/a"}])
    assert peer.types == ["agent_message", "permission"]
    assert decisions(peer) == [("turn-1:call-1", "")]
    assert list(peer.timers.values()) == [300.0]
    resolve(peer, "allow-always", turn_id="turn-1")
    assert peer.answer_to("x-1")["result"] == selected("o-always")
    assert decisions(peer)[1:] == [("turn-1:call-1", "allow-always")]
    assert not peer.timers
    with pytest.raises(PendingPermissionNotFoundError):
        resolve(peer, "allow-always", turn_id="turn-1")


def test_an_answer_that_is_not_offered_leaves_it_pending(peer):
    peer.prompted().ask(7)
    with pytest.raises(InvalidPermissionDecisionError):
        resolve(peer, "reject-always", request_id="turn-1:call-1")
    resolve(peer, "reject-once", request_id="turn-1:call-1")
    assert peer.answer_to(7)["result"] == selected("o-no")


def test_nobody_in_time_is_a_rejection(peer):
    peer.prompted().ask(7)
    peer.fire("permission")
    assert peer.answer_to(7)["result"] == selected("o-no")
    assert decisions(peer)[-1] == ("turn-1:call-1", "reject-once")
    peer.ask(8, toolCallId="b", options=ALWAYS)
    peer.fire("permission")
    assert peer.answer_to(8)["result"] == CANCELLED
    assert decisions(peer)[-1] == ("turn-1:b", "canceled")


@pytest.mark.parametrize("mode", list(PermissionMode))
@pytest.mark.parametrize("path", ["/etc/passwd", "/ws-evil", "", "a\0b"])
def test_a_path_outside_is_rejected_in_every_mode(make_peer, mode, path):
    peer = make_peer(permissions=mode).started().prompted()
    peer.ask(7, kind="read", locations=[{"path": "/ws/a"}, {"path": path}])
    assert peer.answer_to(7)["result"] == selected("o-no")


def test_the_host_may_know_better_where_a_path_leads(make_peer):
    def locate(path):
        if path == "/ws/link":
            raise PathOutsideWorkspaceError(path)
        return path

    peer = make_peer(locate=locate).started().prompted()
    peer.ask(7, kind="read", locations=[{"path": "/ws/link"}])
    assert peer.answer_to(7)["result"] == selected("o-no")
    peer.ask(8, kind="read", locations=[{"path": "/elsewhere"}])
    assert peer.answer_to(8)["result"] == selected("o-once")


def test_an_automatic_answer_never_lasts(make_peer, peer):
    peer.prompted().ask(7, kind="read", options=ALWAYS)
    assert decisions(peer) == [("turn-1:call-1", "")]
    resolve(peer, "allow-always", request_id="turn-1:call-1")
    assert peer.answer_to(7)["result"] == selected("a")
    all_ = make_peer(permissions=PermissionMode.APPROVE_ALL).started().prompted()
    all_.ask(7, options=ALWAYS)
    assert decisions(all_) == [("turn-1:call-1", "allow-always")]


@pytest.mark.parametrize(
    "options", [[], None, [{"optionId": "x", "kind": "maybe"}], [{"kind": "allow_once"}]]
)
def test_without_an_option_we_know_the_answer_is_cancelled(peer, options):
    peer.prompted().ask(7, options=options)
    assert peer.answer_to(7)["result"] == CANCELLED
    assert decisions(peer) == [("turn-1:call-1", "canceled")]


def test_of_two_options_of_a_kind_the_first_is_taken(peer):
    twice = [{"optionId": n, "kind": "allow_once"} for n in ("first", "second")]
    peer.prompted().ask(7, kind="read", options=twice)
    assert peer.answer_to(7)["result"] == selected("first")


def test_a_cancel_answers_what_waits_and_what_comes_after(peer):
    peer.prompted().ask(7)
    peer.ask(8, toolCallId="b")
    peer.do(peer.client.cancel())
    assert [peer.answer_to(n)["result"] for n in (7, 8)] == [CANCELLED] * 2
    peer.ask(9, toolCallId="c")
    assert peer.answer_to(9)["result"] == CANCELLED
    assert decisions(peer)[2:] == [
        ("turn-1:call-1", "canceled"),
        ("turn-1:b", "canceled"),
        ("turn-1:c", "canceled"),
    ]
    peer.ended("cancelled")
    assert peer.types[-1] == "done"


@pytest.mark.parametrize(
    "end",
    [
        lambda peer: peer.ended(),
        lambda peer: peer.reply(error={"code": 1, "message": "x"}, to="session/prompt"),
        lambda peer: peer.do(peer.client.receive_eof("gone")),
    ],
)
def test_the_end_of_the_turn_takes_its_requests_along(peer, end):
    peer.prompted().ask(7)
    end(peer)
    assert decisions(peer)[-1] == ("turn-1:call-1", "canceled")
    assert peer.types[-1] in ("done", "error")
    with pytest.raises(PendingPermissionNotFoundError):
        resolve(peer, "allow-once", request_id="turn-1:call-1")
    assert not peer.timers


def test_the_agent_may_withdraw_its_request(peer):
    peer.prompted().ask(7)
    withdraw = {"method": "$/cancel_request", "params": {"requestId": 7}}
    peer.say(**withdraw)
    assert peer.answer_to(7)["result"] == CANCELLED
    assert decisions(peer)[-1] == ("turn-1:call-1", "canceled")
    before = len(peer.outputs)
    for params in ({"requestId": 7}, {"requestId": [7]}, [], None):
        peer.say(method="$/cancel_request", params=params)
    assert len(peer.outputs) == before
    assert peer.answer_to(7)


def test_requests_between_turns_have_no_turn(peer):
    peer.ask(7)
    assert [(e.request_id, e.turn_id) for e in peer.events] == [("call-1", "")]
    resolve(peer, "allow-once", request_id="call-1")
    assert peer.answer_to(7)["result"] == selected("o-once")


def test_one_id_for_two_requests_is_told_apart(peer):
    peer.prompted().ask(7)
    peer.ask(8)
    assert decisions(peer) == [("turn-1:call-1", ""), ("turn-1:call-1:1", "")]


@pytest.mark.parametrize("params", [None, [], {"toolCall": 1}, {"options": "x"}])
def test_malformed_permission_params_are_refused(peer, params):
    peer.prompted().say(id=7, method="session/request_permission", params=params)
    assert peer.answer_to(7)["error"]["code"] == -32602
    assert peer.events == []


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


def test_a_file_error_is_passed_through(peer):
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


def test_an_agent_that_was_not_offered_files_gets_none(make_peer):
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
def test_what_we_do_not_serve_is_refused_at_once(peer, method):
    peer.say(id=0, method=method, params={})
    assert refusal(peer, 0)["code"] == -32601
    assert refusal(peer, 0)["data"] == {"method": method}


def test_elicitation_is_declined(peer):
    peer.say(id=7, method="elicitation/create", params={"message": "?"})
    assert peer.answer_to(7)["result"] == {"action": "decline"}


def test_an_update_may_be_a_request(peer):
    params = {"sessionId": SESSION, "update": {"sessionUpdate": "plan", "entries": []}}
    peer.prompted().say(id=7, method="session/update", params=params)
    assert peer.types == ["plan"]
    assert peer.answer_to(7)["result"] is None
    peer.say(id=8, method="session/update", params={})
    assert refusal(peer, 8)["code"] == -32602


def test_ids_come_back_as_they_came(peer):
    peer.raw(b'{"id":1.0,"method":"x"}\n{"id":"1","method":"x"}\n{"id":null,"method":"x"}\n')
    assert [json.dumps(m["id"]) for m in peer.sent] == ["1.0", '"1"', "null"]
