"""Permissions of ACP v2, and what such an agent may not ask for (07 6, 7; R1, R24, R25)."""

import pytest
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.acp.outputs import WorkChanged

SESSION = "acp-1"
OPTIONS = [
    {"optionId": "y", "name": "Y", "kind": "allow_once"},
    {"optionId": "n", "name": "N", "kind": "reject_once"},
    {"optionId": "x", "name": "X", "kind": "ask_the_oracle"},
]


def ask(peer, subject=None, request_id=900, options=OPTIONS, **members):
    params = {"sessionId": SESSION, "title": "May I?", "options": options, **members}
    if subject is not None:
        params["subject"] = subject
    return peer.say(id=request_id, method="session/request_permission", params=params)


def selected(option_id):
    return {"outcome": {"outcome": "selected", "optionId": option_id}}


# ---- permissions


def test_r25_the_subject_says_what_a_permission_is_about(v2):
    v2.running()
    call = {"toolCallId": "c-1", "title": "Edit a", "kind": "edit", "rawInput": {"a": 1}}
    ask(v2, {"type": "tool_call", "toolCall": call})
    assert v2.types == ["tool_call", "permission"]
    assert v2.events[0].raw.value == call
    permission = v2.events[1]
    assert (permission.title, permission.tool_call_id) == ("May I?", "c-1")
    assert v2.outputs[-1] == WorkChanged("blocked") or WorkChanged("blocked") in v2.outputs
    v2.do(v2.client.resolve_permission(ApproveRequest("allow-once", turn_id="turn-1")))
    assert v2.answer_to(900)["result"] == selected("y")
    assert v2.outputs[-1] == WorkChanged("running")


@pytest.mark.parametrize("mode", list(PermissionMode))
@pytest.mark.parametrize(
    ("subject", "in_reads"),
    [
        ({"type": "tool_call", "toolCall": {"toolCallId": "c", "kind": "read"}}, "y"),
        ({"type": "command", "command": "make", "cwd": "/ws"}, None),
        ({"type": "command", "command": "make", "cwd": "/etc"}, "n"),
        ({"type": "command", "command": "make"}, None),
        ({"type": "seance"}, None),
        ({"type": "tool_call"}, None),
        (None, None),
    ],
)
def test_r25_the_policy_judges_by_the_subject(make_v2_peer, mode, subject, in_reads):
    peer = make_v2_peer(permissions=mode).started().running()
    ask(peer, subject)
    answers = [m["result"] for m in peer.sent if m.get("id") == 900]
    outside = subject is not None and subject.get("cwd") == "/etc"
    wanted = {
        PermissionMode.DENY_ALL: "n",
        PermissionMode.APPROVE_ALL: "n" if outside else "y",
        PermissionMode.APPROVE_READS: in_reads,
    }[mode]
    assert answers == ([selected(wanted)] if wanted else [])


def test_r24_an_unknown_kind_of_option_is_never_chosen(v2):
    v2.running()
    ask(v2, options=OPTIONS[2:])
    assert v2.answer_to(900)["result"] == {"outcome": {"outcome": "cancelled"}}


def test_r1_a_cancel_answers_what_waits(v2):
    v2.running()
    ask(v2)
    v2.do(v2.client.cancel())
    assert v2.answer_to(900)["result"] == {"outcome": {"outcome": "cancelled"}}
    v2.say(method="$/cancel_request", params={"requestId": 900})
    ask(v2, request_id=901)
    assert v2.answer_to(901)["result"] == {"outcome": {"outcome": "cancelled"}}


@pytest.mark.parametrize(
    "params", [7, {"options": 5}, {"subject": {"type": "tool_call", "toolCall": {}}, "options": {}}]
)
def test_malformed_permission_params_are_refused(v2, params):
    v2.running()
    v2.say(id=5, method="session/request_permission", params=params)
    assert v2.answer_to(5)["error"]["code"] == -32602


def test_d26_a_request_waits_behind_the_reports_before_it(v2):
    v2.prompted()
    v2.state("running")
    v2.update("tool_call_update", toolCallId="c-1", title="T")
    ask(v2)
    ask(v2, request_id=901)
    v2.say(method="$/cancel_request", params={"requestId": 901})
    assert v2.types == []
    v2.insert()
    assert [(e.type, e.turn_id) for e in v2.events] == [
        ("tool_call", "turn-1"),
        ("permission", "turn-1"),
    ]
    assert v2.answer_to(901)["error"]["code"] == -32800


def test_a_request_before_any_report_is_served_at_once(v2):
    v2.prompted()
    ask(v2)
    assert [(e.type, e.turn_id) for e in v2.events] == [("permission", "")]


@pytest.mark.parametrize(
    "method",
    [
        "fs/read_text_file",
        "fs/write_text_file",
        "terminal/create",
        "terminal/output",
        "terminal/wait_for_exit",
        "terminal/kill",
        "terminal/release",
        "mcp/message",
    ],
)
def test_files_and_terminals_are_the_agents_own(make_v2_peer, method):
    peer = make_v2_peer(permissions=PermissionMode.APPROVE_ALL, terminal=True).started().running()
    peer.say(id=3, method=method, params={"sessionId": SESSION, "path": "/ws/a", "command": "ls"})
    assert peer.answer_to(3)["error"]["code"] == -32601
