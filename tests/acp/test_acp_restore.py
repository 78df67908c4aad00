"""Attaching to an earlier session, and the limits of every step (04 2.5; 07 8; D2, D5)."""

import pytest
from greenroom.actors.errors import (
    AgentDoesNotSupportSessionError,
    LoadSessionFailedError,
    OperationUnavailableError,
)
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.failures import is_load_session_resource_missing
from greenroom.transport.acp.options import FRAME_BYTES_MAX, LIST_PAGES_MAX
from greenroom.transport.acp.outputs import Disconnected, Ready

SESSION = "acp-1"
RESUMES = {"agentCapabilities": {"loadSession": True, "sessionCapabilities": {"resume": {}}}}
LOADS = {"agentCapabilities": {"loadSession": True}}
LISTS = {"agentCapabilities": {"loadSession": True, "sessionCapabilities": {"list": {}}}}
MODEL = {
    "id": "model",
    "name": "Model",
    "type": "select",
    "currentValue": "a",
    "options": [{"group": "g", "name": "G", "options": [{"value": "b", "name": "B"}]}],
}
EFFORT = {
    "id": "thinking",
    "name": "Thinking",
    "category": "thought_level",
    "type": "select",
    "currentValue": "low",
    "options": [{"value": "low", "name": "L"}, {"value": "high", "name": "H"}],
}
MODES = {"currentModeId": "Ask", "availableModes": [{"id": "Ask", "name": "Ask"}]}


def begun(make_peer, initialize=None, **opts):
    return make_peer(**opts).begun(initialize)


# ---- an earlier session


def test_an_agent_that_restores_nothing_is_not_asked_to(make_peer):
    peer = begun(make_peer, resume_session_id=SESSION)
    error = peer.failed(FailureKind.LOAD_SESSION, "not supported")
    assert type(error) is AgentDoesNotSupportSessionError
    assert peer.methods == ["initialize"]


def test_d5_r16_resume_is_preferred_and_its_answer_may_be_null(make_peer):
    peer = begun(make_peer, RESUMES, resume_session_id=SESSION)
    assert peer.methods[-1] == "session/resume"
    assert peer.sent[-1]["params"] == {"sessionId": SESSION, "cwd": "/ws", "mcpServers": []}
    peer.reply(None)
    assert peer.outcome == Ready(SESSION, peer.client.caps, True)


def test_a_resume_that_is_advertised_but_not_served_becomes_a_load(make_peer):
    peer = begun(make_peer, RESUMES, resume_session_id=SESSION)
    peer.reply(error={"code": -32601, "message": "Method not found"})
    assert peer.methods[-1] == "session/load"
    peer.reply(None)
    peer.fire("replay")
    assert peer.outcome.restored


def test_an_agent_that_serves_none_of_what_it_advertises_fails_the_restore(make_peer):
    peer = begun(make_peer, RESUMES, resume_session_id=SESSION)
    for _ in range(2):
        peer.reply(error={"code": -32601, "message": "Method not found"})
    peer.failed(FailureKind.LOAD_SESSION, "Method not found")


def test_a_load_waits_until_the_replay_is_over(make_peer):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.chunk("before", "user_message_chunk")
    peer.update("config_option_update", configOptions=[EFFORT])
    peer.reply({"configOptions": [MODEL]})
    assert peer.timers == {"replay": 0.1, "replay_max": 2.0}
    peer.chunk("after")
    peer.update("session_info_update", title="kept")
    peer.fire("replay")
    ready = peer.outcome
    assert (ready.restored, ready.replayed) == (True, 2)
    assert [option.id for option in ready.caps.config_options] == ["model"]
    assert [event.title for event in peer.events] == [
        "config_option_update",
        "session_info_update",
    ]
    assert not peer.timers


def test_a_replay_without_end_is_cut(make_peer):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.reply(None)
    peer.fire("replay_max")
    assert peer.outcome.restored
    assert not peer.timers


def test_updates_of_another_session_are_no_replay(make_peer):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.update("session_info_update", session="other", title="x")
    peer.update("tool_call", title="no id")
    peer.reply(None)
    peer.fire("replay")
    assert (peer.outcome.replayed, peer.events) == (0, [])


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        ({"code": -32002, "message": "Resource not found"}, True),
        ({"code": -32602, "message": "Session not found: x"}, True),
        ({"code": -32603, "message": "Internal error"}, False),
    ],
)
def test_a_restore_that_fails_says_whether_the_session_is_missing(make_peer, error, missing):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.reply(error=error)
    raised = peer.failed(FailureKind.LOAD_SESSION, "ACP session/load failed")
    assert type(raised) is LoadSessionFailedError
    assert is_load_session_resource_missing(raised) is missing


def test_a_session_that_the_list_lacks_is_not_attached_to(make_peer):
    peer = begun(make_peer, LISTS, resume_session_id=SESSION)
    assert peer.sent[-1]["params"] == {"cwd": "/ws"}
    peer.reply({"sessions": [{"sessionId": "x"}], "nextCursor": "2"})
    assert peer.sent[-1]["params"] == {"cwd": "/ws", "cursor": "2"}
    peer.reply({"sessions": [5, {"sessionId": "y"}]})
    assert peer.methods[1:] == ["session/list", "session/list"]
    assert is_load_session_resource_missing(peer.failed(FailureKind.LOAD_SESSION))


@pytest.mark.parametrize(
    "answer",
    [
        {"result": {"sessions": [{"sessionId": SESSION}]}},
        {"result": {"sessions": "odd"}},
        {"result": None},
        {"error": {"code": -32603, "message": "no"}},
    ],
)
def test_a_list_that_has_it_or_can_not_be_read_leads_to_the_load(make_peer, answer):
    peer = begun(make_peer, LISTS, resume_session_id=SESSION)
    peer.reply(**answer)
    assert peer.methods[-1] == "session/load"


def test_a_list_without_end_is_given_up(make_peer):
    peer = begun(make_peer, LISTS, resume_session_id=SESSION)
    for _ in range(LIST_PAGES_MAX):
        peer.reply({"sessions": [], "nextCursor": "more"})
    assert peer.methods.count("session/list") == LIST_PAGES_MAX
    assert peer.methods[-1] == "session/load"


# ---- limits and ends


@pytest.mark.parametrize(
    ("answers", "initialize", "opts", "limit", "kind"),
    [
        ([], {}, {}, 30.0, FailureKind.HANDSHAKE),
        ([{"protocolVersion": 1}], {}, {}, 60.0, FailureKind.PROTOCOL),
        (
            [{"protocolVersion": 1, **LOADS}],
            {},
            {"resume_session_id": SESSION},
            60.0,
            FailureKind.LOAD_SESSION,
        ),
        (
            [{"protocolVersion": 1}, {"sessionId": SESSION, "modes": MODES}],
            {},
            {},
            15.0,
            FailureKind.PROTOCOL,
        ),
    ],
)
def test_d2_r17_every_step_has_its_limit_and_keeps_its_kind(
    make_peer, answers, initialize, opts, limit, kind
):
    peer = make_peer(**opts)
    peer.do(peer.client.start())
    for answer in answers:
        peer.reply(answer)
    assert list(peer.timers.values()) == [limit]
    peer.fire("step")
    peer.failed(kind, f"timed out after {limit:g} s")
    before = len(peer.outputs)
    peer.reply({"sessionId": "late"})
    assert peer.outputs[before:] == []


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_an_agent_that_dies_in_the_handshake_fails_the_step(make_peer, answered):
    peer = make_peer()
    peer.do(peer.client.start())
    for answer in [{"protocolVersion": 1}, {"sessionId": SESSION, "modes": MODES}][:answered]:
        peer.reply(answer)
    peer.do(peer.client.receive_eof("agent exited with status 3"))
    kind = [FailureKind.HANDSHAKE, FailureKind.PROTOCOL, FailureKind.PROTOCOL][answered]
    peer.failed(kind, "peer disconnected before response", "status 3")
    assert peer.outputs[-1] == Disconnected("agent exited with status 3")


def test_an_agent_that_dies_during_the_replay_fails_the_load(make_peer):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.reply(None)
    peer.do(peer.client.receive_eof("gone"))
    error = peer.failed(FailureKind.LOAD_SESSION, "gone")
    assert not is_load_session_resource_missing(error)


def test_a_request_that_is_too_long_fails_its_step(make_peer):
    peer = begun(make_peer, additional_dirs=("/" + "x" * FRAME_BYTES_MAX,))
    peer.failed(FailureKind.PROTOCOL, "longer than")


def test_nothing_can_be_asked_before_the_session_is_ready(make_peer):
    peer = begun(make_peer)
    with pytest.raises(OperationUnavailableError):
        peer.client.prompt("turn-1", "hello", {})
    assert peer.do(peer.client.cancel()) == []
    peer.ask(5)
    assert peer.answer_to(5)["result"] == {"outcome": {"outcome": "cancelled"}}
    assert peer.events == []
