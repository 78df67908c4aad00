"""Questions of the agent to the user, and the gateway before tools (07 R28; 04 5.6, 6.2)."""

import pytest
from greenroom.actors.errors import PermissionDeniedError, RequestError, SessionValueError
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.acp import elicitation, gateway
from greenroom.transport.acp.outputs import (
    ClientCallAsked,
    ClientCallCancelled,
    ElicitationAsked,
    ElicitationDone,
    InterceptAsked,
    WorkChanged,
)

SESSION = "acp-1"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
FORM = {"mode": "form", "message": "Who?", "requestedSchema": SCHEMA}
URL = {"mode": "url", "message": "Go", "url": "https://x", "elicitationId": "e-1"}
CANCELLED = {"outcome": {"outcome": "cancelled"}}


@pytest.fixture(params=["v1", "v2"])
def asking(request, make_peer, make_v2_peer):
    """A peer of either version whose user answers, with an open turn."""
    if request.param == "v1":
        return make_peer(elicitation=True).started().prompted()
    return make_v2_peer(elicitation=True).started().running()


def elicit(peer, body, request_id=7, **scope):
    params = {"sessionId": SESSION, **body, **scope}
    return peer.say(id=request_id, method="elicitation/create", params=params)


def only(outputs, kind):
    [found] = [output for output in outputs if isinstance(output, kind)]
    return found


# ---- elicitation


@pytest.mark.parametrize("attended", [True, False])
def test_it_is_advertised_only_where_somebody_answers(make_peer, make_v2_peer, attended):
    for make, member in ((make_peer, "clientCapabilities"), (make_v2_peer, "capabilities")):
        peer = make(elicitation=attended)
        peer.do(peer.client.start())
        offered = peer.sent[0]["params"][member].get("elicitation")
        assert offered == ({"form": {}, "url": {}} if attended else None)


def test_a_question_is_asked_and_answered_once(asking):
    asked = only(elicit(asking, FORM, toolCallId="c-1"), ElicitationAsked)
    assert asked == ElicitationAsked(
        asked.key, "form", "Who?", SCHEMA, "", "", "c-1", asking.client.turn_id
    )
    assert asking.outputs[-1] == WorkChanged("blocked")
    asking.do(asking.client.answer_elicitation(asked.key, "accept", {"name": "me"}))
    asking.do(asking.client.answer_elicitation(asked.key, "decline"))
    assert asking.answer_to(7)["result"] == {"action": "accept", "content": {"name": "me"}}
    assert asking.outputs[-1] == WorkChanged("running")


def test_a_link_is_done_when_the_agent_says_so(asking):
    asked = only(elicit(asking, URL), ElicitationAsked)
    assert (asked.mode, asked.url, asked.elicitation_id) == ("url", "https://x", "e-1")
    asking.do(asking.client.answer_elicitation(asked.key, "accept", {"not": "sent"}))
    assert asking.answer_to(7)["result"] == {"action": "accept"}
    done = {"method": "elicitation/complete", "params": {"elicitationId": "e-1"}}
    assert asking.say(**done) == [ElicitationDone(asked.key, "completed")]
    assert asking.say(**done) == []


def test_a_link_may_be_done_before_it_is_answered(asking):
    elicit(asking, FORM, 6)
    asked = only(elicit(asking, URL), ElicitationAsked)
    asking.say(method="elicitation/complete", params={"elicitationId": "e-1"})
    assert asking.outputs[-1] == ElicitationDone(asked.key, "completed")
    assert asking.answer_to(7)["result"] == {"action": "accept"}


def test_r28_unattended_it_is_declined(make_v2_peer):
    peer = make_v2_peer().started().running()
    elicit(peer, FORM)
    assert peer.answer_to(7)["result"] == {"action": "decline"}


@pytest.mark.parametrize(
    "body",
    [
        {**FORM, "mode": "hologram"},
        {**FORM, "requestedSchema": {"properties": {"a": {"type": "color"}}}},
        {**FORM, "requestedSchema": {"properties": {"a": 5}}},
    ],
)
def test_a_question_nobody_could_answer_is_declined(asking, body):
    elicit(asking, body)
    assert asking.answer_to(7)["result"] == {"action": "decline"}


@pytest.mark.parametrize(
    "body",
    [
        {**FORM, "message": None},
        {**FORM, "mode": 5},
        {**FORM, "requestedSchema": None},
        {**FORM, "requestedSchema": {}},
        {**URL, "url": ""},
        {**URL, "elicitationId": None},
    ],
)
def test_a_malformed_question_is_refused(asking, body):
    elicit(asking, body)
    assert asking.answer_to(7)["error"]["code"] == -32602
    asking.say(id=8, method="elicitation/create", params=[])
    assert asking.answer_to(8)["error"]["code"] == -32602


@pytest.mark.parametrize("end", ["cancel", "turn", "eof"])
def test_r28_the_end_of_the_turn_takes_it_along(asking, end):
    asked = only(elicit(asking, FORM), ElicitationAsked)
    match end:
        case "cancel":
            asking.do(asking.client.cancel())
        case "turn":
            asking.ended()
        case "eof":
            asking.do(asking.client.receive_eof("gone"))
    assert ElicitationDone(asked.key, "canceled") in asking.outputs
    if end != "eof":
        assert asking.answer_to(7)["result"] == {"action": "cancel"}
    elicit(asking, FORM, 8)
    if end == "cancel":
        assert asking.answer_to(8)["result"] == {"action": "cancel"}


def test_nobody_in_time_is_a_cancel(asking):
    asked = only(elicit(asking, FORM), ElicitationAsked)
    asking.fire("elicitation")
    assert ElicitationDone(asked.key, "timed_out") in asking.outputs
    assert asking.answer_to(7)["result"] == {"action": "cancel"}


def test_the_agent_may_take_its_question_back(asking):
    asked = only(elicit(asking, FORM), ElicitationAsked)
    outputs = asking.say(method="$/cancel_request", params={"requestId": 7})
    assert ElicitationDone(asked.key, "withdrawn") in outputs
    assert asking.answer_to(7)["error"]["code"] == -32800


def test_a_question_about_a_request_of_ours_may_come_before_the_session(make_peer):
    peer = make_peer(elicitation=True).begun()
    params = {**FORM, "requestId": 2}
    asked = only(peer.say(id=7, method="elicitation/create", params=params), ElicitationAsked)
    assert asked.turn_id == ""
    peer.do(peer.client.answer_elicitation(asked.key, "decline"))
    assert peer.answer_to(7)["result"] == {"action": "decline"}


def test_an_answer_of_no_kind_is_refused(asking):
    asked = only(elicit(asking, FORM), ElicitationAsked)
    with pytest.raises(SessionValueError):
        asking.client.answer_elicitation(asked.key, "maybe")


def test_questions_have_a_limit(asking, monkeypatch):
    monkeypatch.setattr(elicitation, "ELICITATIONS_MAX", 1)
    first = only(elicit(asking, URL), ElicitationAsked)
    elicit(asking, FORM, 8)
    assert asking.answer_to(8)["result"] == {"action": "decline"}
    asking.do(asking.client.answer_elicitation(first.key, "accept"))
    second = only(elicit(asking, {**URL, "elicitationId": "e-2"}, 9), ElicitationAsked)
    asking.do(asking.client.answer_elicitation(second.key, "accept"))
    for known, outputs in (("e-1", []), ("e-2", [ElicitationDone(second.key, "completed")])):
        assert asking.say(method="elicitation/complete", params={"elicitationId": known}) == outputs


# ---- the gateway


@pytest.fixture
def gated(make_peer):
    opts = {"gateway": True, "terminal": True, "permissions": PermissionMode.APPROVE_ALL}
    return make_peer(**opts).started().prompted()


def read(peer, request_id=7, **params):
    params = {"sessionId": SESSION, "path": "/ws/a", **params}
    return only(peer.say(id=request_id, method="fs/read_text_file", params=params), InterceptAsked)


def announce(peer, **members):
    peer.update("tool_call", toolCallId="c-1", **{"title": "x", **members})
    return peer.events[-1].tool_prechecked


def test_files_and_terminals_are_shown_first(gated):
    shown = read(gated, line=2)
    assert shown == InterceptAsked(shown.key, "Read", True, {"path": "/ws/a", "line": 2}, "turn-1")
    env = [{"name": "A", "value": "1"}]
    params = {"sessionId": SESSION, "command": "ls", "args": ["-l"], "env": env}
    ran = only(gated.say(id=8, method="terminal/create", params=params), InterceptAsked)
    assert (ran.tool_id, ran.read_only) == ("Bash", False)
    assert ran.input == {"command": "ls", "args": ["-l"], "env": env}
    asked = only(gated.do(gated.client.intercepted(ran.key)), ClientCallAsked)
    assert asked.params["args"] == ("-l",)
    patched = {"path": "/ws/b", "limit": 1}
    asked = only(gated.do(gated.client.intercepted(shown.key, patched)), ClientCallAsked)
    assert (asked.params["path"], asked.params["line"], asked.params["limit"]) == ("/ws/b", None, 1)
    assert gated.do(gated.client.intercepted(shown.key)) == []


@pytest.mark.parametrize(
    ("patched", "error", "code"),
    [
        (None, PermissionDeniedError("no"), -32602),
        (None, RuntimeError("hook broke"), -32603),
        (None, RequestError("own", code=-32001), -32001),
        ({"path": 5}, None, -32602),
        ("odd", None, -32602),
        ({"path": "/etc/passwd"}, None, -32602),
    ],
)
def test_the_gateway_may_refuse(gated, patched, error, code):
    shown = read(gated)
    gated.do(gated.client.intercepted(shown.key, patched, error))
    assert gated.answer_to(7)["error"]["code"] == code
    assert not [o for o in gated.outputs if isinstance(o, ClientCallAsked)]


def test_a_call_that_was_looked_at_is_marked_once(gated):
    gated.do(gated.client.intercepted(read(gated).key))
    assert not announce(gated, kind="read", rawInput={"path": "/ws/other"})
    assert not announce(gated, kind="edit", rawInput={"path": "/ws/a"})
    assert announce(gated, kind="read", rawInput={"path": "/ws/a"})
    assert not announce(gated, kind="read", rawInput={"path": "/ws/a"})
    assert not [name for name in gated.timers if name.startswith("precheck")]


@pytest.mark.parametrize(
    "members",
    [
        {"title": "read file"},
        {"_meta": {"vendor": {"toolName": "Read"}, "other": 5}},
        {"kind": "read"},
    ],
)
def test_a_tool_is_known_by_its_kind_a_vendors_name_or_its_title(gated, members):
    gated.do(gated.client.intercepted(read(gated).key))
    assert announce(gated, **members)


def test_a_look_does_not_last(gated):
    gated.do(gated.client.intercepted(read(gated).key))
    assert gated.timers["precheck:1"] == 60.0
    gated.fire("precheck")
    assert not announce(gated, kind="read")


def test_looks_have_a_limit(gated, monkeypatch):
    monkeypatch.setattr(gateway, "PRECHECKS_MAX", 1)
    for number, path in enumerate(["/ws/a", "/ws/b"]):
        gated.do(gated.client.intercepted(read(gated, number, path=path).key))
    assert not announce(gated, kind="read", rawInput={"path": "/ws/a"})
    assert announce(gated, kind="read", rawInput={"path": "/ws/b"})


def ask(peer, **members):
    return only(peer.ask(9, **members), InterceptAsked)


def test_a_permission_is_shown_too(gated):
    shown = ask(gated, kind="edit", rawInput={"a": 1})
    assert (shown.tool_id, shown.read_only, shown.input) == ("Write", False, {"a": 1})
    gated.do(gated.client.intercepted(shown.key, {"a": 1}))
    assert gated.answer_to(9)["result"]["outcome"]["optionId"] == "o-once"
    assert announce(gated, kind="edit", rawInput={"a": 1})


@pytest.mark.parametrize(
    ("patched", "error"), [({"a": 2}, None), (None, PermissionDeniedError("no"))]
)
def test_a_permission_takes_no_patch(gated, patched, error):
    shown = ask(gated, rawInput={"a": 1})
    gated.do(gated.client.intercepted(shown.key, patched, error))
    assert gated.answer_to(9)["result"]["outcome"]["optionId"] == "o-no"
    assert gated.events[-1].decision == "reject-once"


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("x"), -32603), (RequestError("own", code=-32001), -32001)]
)
def test_a_gateway_that_fails_fails_the_permission(gated, error, code):
    gated.do(gated.client.intercepted(ask(gated).key, None, error))
    assert gated.answer_to(9)["error"]["code"] == code


def test_a_permission_without_a_tool_is_not_shown(make_peer):
    peer = make_peer(gateway=True).started().prompted()
    peer.ask(9, title="", kind="think")
    assert peer.types == ["permission"]


def test_after_the_gateway_somebody_may_still_be_asked(make_peer):
    peer = make_peer(gateway=True).started().prompted()
    peer.do(peer.client.intercepted(ask(peer).key))
    peer.do(peer.client.resolve_permission(ApproveRequest("allow-once", turn_id="turn-1")))
    assert peer.answer_to(9)["result"]["outcome"]["optionId"] == "o-once"


@pytest.mark.parametrize("end", ["cancel", "withdraw", "eof"])
def test_what_is_shown_ends_with_its_turn(gated, end):
    shown, file = ask(gated), read(gated)
    match end:
        case "cancel":
            gated.do(gated.client.cancel())
            assert gated.answer_to(9)["result"] == CANCELLED
        case "withdraw":
            gated.say(method="$/cancel_request", params={"requestId": 9})
            gated.say(method="$/cancel_request", params={"requestId": 7})
            assert gated.answer_to(9)["result"] == CANCELLED
            assert gated.answer_to(7)["error"]["code"] == -32800
        case "eof":
            gated.do(gated.client.receive_eof("gone"))
    assert ClientCallCancelled(shown.key) in gated.outputs
    assert (ClientCallCancelled(file.key) in gated.outputs) is (end != "cancel")
    assert not any(event.type == "permission" for event in gated.events)
