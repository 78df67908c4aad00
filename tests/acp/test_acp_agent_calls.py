"""What the agent asks permission for (04 5.2, 6; 07 R1, R24; D23-D26)."""

import pytest
from greenroom.actors.errors import (
    InvalidPermissionDecisionError,
    PathOutsideWorkspaceError,
    PendingPermissionNotFoundError,
)
from greenroom.actors.model.agent import ApproveRequest, PermissionMode

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


def test_d23_an_automatic_answer_never_lasts(make_peer, peer):
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


def test_r24_of_two_options_of_a_kind_the_first_is_taken(peer):
    twice = [{"optionId": n, "kind": "allow_once"} for n in ("first", "second")]
    peer.prompted().ask(7, kind="read", options=twice)
    assert peer.answer_to(7)["result"] == selected("first")


def test_d24_r1_a_cancel_answers_what_waits_and_what_comes_after(peer):
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
def test_d24_the_end_of_the_turn_takes_its_requests_along(peer, end):
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
