"""From a fresh pipe to a session (04 2.5, 2.6; 07 1, 8; D1-D6, R12-R18, R35)."""

import pytest

from greenroom.actors.errors import (
    AgentDoesNotSupportSessionError,
    AgentStartError,
    LoadSessionFailedError,
    OperationUnavailableError,
)
from greenroom.actors.model.agent import PermissionMode
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.failures import is_load_session_resource_missing
from greenroom.transport.acp.options import FRAME_BYTES_MAX, LIST_PAGES_MAX, McpServer
from greenroom.transport.acp.outputs import Disconnected, Logged, Ready, StartFailed

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
    """A peer whose initialize was answered."""
    peer = make_peer(**opts)
    peer.do(peer.client.start())
    peer.reply({"protocolVersion": 1, **(initialize or {})})
    return peer


def methods(peer):
    return [message["method"] for message in peer.sent]


def outcome(peer):
    [found] = [output for output in peer.outputs if isinstance(output, Ready | StartFailed)]
    return found


def failed(peer, kind, *words):
    found = outcome(peer)
    assert isinstance(found, StartFailed), found
    assert found.failure.kind is kind
    assert all(word in found.failure.summary for word in words), found.failure.summary
    assert found.error.failure == found.failure
    assert not peer.timers
    return found.error


# ---- initialize


def test_the_first_request_says_what_we_serve(make_peer):
    peer = make_peer(client_version="1.2")
    peer.do(peer.client.start())
    [message] = peer.sent
    assert (message["id"], message["method"]) == (1, "initialize")
    params = message["params"]
    assert params["protocolVersion"] == 1
    assert params["clientInfo"] == {"name": "greenroom", "version": "1.2"}
    capabilities = params["clientCapabilities"]
    assert capabilities["fs"] == {"readTextFile": True, "writeTextFile": True}
    assert capabilities["terminal"] is False
    assert capabilities["session"]["configOptions"] == {"boolean": {}}
    assert peer.timers == {"step:1": 30.0}
    with pytest.raises(OperationUnavailableError):
        peer.client.start()


def test_files_can_be_left_unadvertised(make_peer):
    peer = make_peer(fs=False)
    peer.do(peer.client.start())
    capabilities = peer.sent[0]["params"]["clientCapabilities"]
    assert capabilities["fs"] == {"readTextFile": False, "writeTextFile": False}


@pytest.mark.parametrize("version", [0, 2, 99, "1", True, None, 1.5])
def test_any_other_version_ends_the_start_and_nothing_more_is_sent(make_peer, version):
    peer = begun(make_peer, {"protocolVersion": version})
    failed(peer, FailureKind.HANDSHAKE, "version 1", repr(version))
    assert methods(peer) == ["initialize"]


def test_an_answer_in_the_shape_of_v2_ends_the_start(make_peer):
    peer = begun(make_peer, {"protocolVersion": 1, "info": {"name": "a", "version": "1"}})
    failed(peer, FailureKind.HANDSHAKE)


@pytest.mark.parametrize("result", [None, [], 5, {}])
def test_an_answer_without_a_version_ends_the_start(make_peer, result):
    peer = make_peer()
    peer.do(peer.client.start())
    peer.reply(result)
    failed(peer, FailureKind.HANDSHAKE)


def test_everything_but_the_version_may_be_missing(make_peer):
    peer = begun(make_peer, {"protocolVersion": 1.0})
    peer.reply({"sessionId": SESSION})
    assert outcome(peer) == Ready(SESSION, peer.client.caps, False)


def test_capabilities_are_read_and_odd_ones_are_absent(make_peer):
    peer = begun(
        make_peer,
        {
            "agentCapabilities": {
                "loadSession": "yes",
                "sessionCapabilities": {"resume": None, "close": {}},
            },
            "authMethods": [{"id": "a", "name": "A"}, {"name": "no id"}, 5],
            "agentInfo": {"name": "tool", "version": "3"},
            "_meta": {"steering": {"supported": True}},
        },
    )
    caps = peer.client.caps
    assert (caps.supports_load_session, caps.supports_resume_session) == (False, False)
    assert (caps.supports_close_session, caps.supports_steering) == (True, True)
    assert (caps.auth_methods, caps.agent_info) == (("a",), "tool 3")


# ---- authenticate


def test_a_configured_login_comes_right_after_initialize(make_peer):
    peer = begun(make_peer, {"authMethods": [{"id": "key", "name": "K"}]}, auth_method="key")
    assert methods(peer) == ["initialize", "authenticate"]
    assert peer.sent[-1]["params"] == {"methodId": "key"}
    peer.reply(None)
    assert methods(peer)[-1] == "session/new"


def test_a_login_that_fails_is_an_auth_failure(make_peer):
    peer = begun(make_peer, {"authMethods": [{"id": "key", "name": "K"}]}, auth_method="key")
    peer.reply(error={"code": -32000, "message": "bad key"})
    failed(peer, FailureKind.PROVIDER_AUTH, "bad key", "next_action=login")


@pytest.mark.parametrize(
    "offered", [[], [{"id": "key", "name": "K", "type": "terminal"}], [{"id": "other"}]]
)
def test_a_login_that_is_not_offered_is_not_sent(make_peer, offered):
    peer = begun(make_peer, {"authMethods": offered}, auth_method="key")
    assert methods(peer) == ["initialize", "session/new"]
    peer.reply(error={"code": -32000, "message": "Authentication required"})
    error = failed(peer, FailureKind.PROVIDER_AUTH, *[method["id"] for method in offered])
    assert type(error) is AgentStartError


def test_a_session_that_wants_a_login_is_asked_for_once_more_after_it(make_peer):
    peer = begun(make_peer, {"authMethods": [{"id": "key", "name": "K"}]}, auth_method="key")
    peer.reply({})
    peer.reply(error={"code": -32000, "message": "Authentication required"})
    peer.reply({})
    assert methods(peer)[1:] == ["authenticate", "session/new", "authenticate", "session/new"]
    peer.reply(error={"code": -32000, "message": "Authentication required"})
    failed(peer, FailureKind.PROVIDER_AUTH, "key")


# ---- a new session


def test_a_new_session_is_asked_for_with_all_that_belongs_to_it(make_peer):
    server = McpServer("db", "/bin/db", ("-v",), (("Z", "1"), ("A", "2")))
    directories = {"agentCapabilities": {"sessionCapabilities": {"additionalDirectories": {}}}}
    peer = begun(
        make_peer, directories, cwd="/ws", additional_dirs=("/more",), mcp_servers=(server,)
    )
    assert peer.sent[-1]["params"] == {
        "cwd": "/ws",
        "mcpServers": [
            {
                "name": "db",
                "command": "/bin/db",
                "args": ["-v"],
                "env": [{"name": "A", "value": "2"}, {"name": "Z", "value": "1"}],
            }
        ],
        "additionalDirectories": ["/more"],
        "additional_dirs": ["/more"],
    }


def test_directories_are_sent_in_the_standard_way_only_where_advertised(make_peer):
    peer = begun(make_peer, additional_dirs=("/more",), legacy_dirs=False)
    assert peer.sent[-1]["params"] == {"cwd": "/ws", "mcpServers": []}


@pytest.mark.parametrize("result", [None, {}, {"sessionId": "  "}, {"sessionId": 5}, []])
def test_a_session_without_an_id_is_none(make_peer, result):
    peer = begun(make_peer)
    peer.reply(result)
    failed(peer, FailureKind.PROTOCOL, "session/new", "sessionId")


def test_an_error_of_session_new_is_kept_as_the_cause(make_peer):
    peer = begun(make_peer)
    peer.reply(error={"code": -32603, "message": "Internal error", "data": {"details": "why"}})
    error = failed(peer, FailureKind.PROTOCOL, "ACP session/new failed", "why")
    assert error.__cause__.code == -32603


def test_updates_before_the_answer_are_held_for_the_session_it_names(make_peer):
    peer = begun(make_peer)
    peer.update("available_commands_update", availableCommands=[])
    peer.update("session_info_update", session="other", title="x")
    peer.update("config_option_update", configOptions=[EFFORT])
    assert peer.events == []
    peer.reply({"sessionId": SESSION})
    ready = outcome(peer)
    assert [event.title for event in peer.events] == [
        "available_commands_update",
        "config_option_update",
    ]
    assert peer.outputs.index(ready) < len(peer.outputs) - 1
    assert {event.turn_id for event in peer.events} == {""}
    assert [option.id for option in ready.caps.config_options] == ["thinking"]
    assert any(isinstance(o, Logged) and "'other'" in o.text for o in peer.outputs)


def test_options_in_the_answer_are_newer_than_those_held(make_peer):
    peer = begun(make_peer)
    peer.update("config_option_update", configOptions=[EFFORT])
    peer.reply({"sessionId": SESSION, "configOptions": [MODEL]})
    assert [option.id for option in outcome(peer).caps.config_options] == ["model"]


def test_updates_are_held_up_to_a_limit(make_peer):
    peer = begun(make_peer)
    for _ in range(300):
        peer.update("session_info_update", title="x")
    peer.reply({"sessionId": SESSION})
    assert len(peer.events) == 256
    assert any(isinstance(o, Logged) and "too many" in o.text for o in peer.outputs)


def test_bytes_of_held_updates_have_a_limit_too(make_peer):
    peer = begun(make_peer)
    for _ in range(3):
        peer.update("session_info_update", title="x" * (FRAME_BYTES_MAX // 2))
    peer.reply({"sessionId": SESSION})
    assert len(peer.events) == 1


def test_updates_before_any_session_is_asked_for_are_dropped(make_peer):
    peer = make_peer()
    peer.do(peer.client.start())
    peer.update("session_info_update", title="x")
    peer.reply({"protocolVersion": 1})
    peer.reply({"sessionId": SESSION})
    assert peer.events == []


# ---- an earlier session


def test_an_agent_that_restores_nothing_is_not_asked_to(make_peer):
    peer = begun(make_peer, resume_session_id=SESSION)
    error = failed(peer, FailureKind.LOAD_SESSION, "not supported")
    assert type(error) is AgentDoesNotSupportSessionError
    assert methods(peer) == ["initialize"]


def test_resume_is_preferred_and_its_answer_may_be_null(make_peer):
    peer = begun(make_peer, RESUMES, resume_session_id=SESSION)
    assert methods(peer)[-1] == "session/resume"
    assert peer.sent[-1]["params"] == {"sessionId": SESSION, "cwd": "/ws", "mcpServers": []}
    peer.reply(None)
    assert outcome(peer) == Ready(SESSION, peer.client.caps, True)


def test_a_resume_that_is_advertised_but_not_served_becomes_a_load(make_peer):
    peer = begun(make_peer, RESUMES, resume_session_id=SESSION)
    peer.reply(error={"code": -32601, "message": "Method not found"})
    assert methods(peer)[-1] == "session/load"
    peer.reply(None)
    peer.fire("replay")
    assert outcome(peer).restored


def test_a_load_waits_until_the_replay_is_over(make_peer):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.chunk("before", "user_message_chunk")
    peer.update("config_option_update", configOptions=[EFFORT])
    peer.reply({"configOptions": [MODEL]})
    assert peer.timers == {"replay": 0.1, "replay_max": 2.0}
    peer.chunk("after")
    peer.update("session_info_update", title="kept")
    peer.fire("replay")
    ready = outcome(peer)
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
    assert outcome(peer).restored
    assert not peer.timers


def test_updates_of_another_session_are_no_replay(make_peer):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.update("session_info_update", session="other", title="x")
    peer.update("tool_call", title="no id")
    peer.reply(None)
    peer.fire("replay")
    assert (outcome(peer).replayed, peer.events) == (0, [])


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
    raised = failed(peer, FailureKind.LOAD_SESSION, "ACP session/load failed")
    assert type(raised) is LoadSessionFailedError
    assert is_load_session_resource_missing(raised) is missing


def test_a_session_that_the_list_lacks_is_not_attached_to(make_peer):
    peer = begun(make_peer, LISTS, resume_session_id=SESSION)
    assert peer.sent[-1]["params"] == {"cwd": "/ws"}
    peer.reply({"sessions": [{"sessionId": "x"}], "nextCursor": "2"})
    assert peer.sent[-1]["params"] == {"cwd": "/ws", "cursor": "2"}
    peer.reply({"sessions": [5, {"sessionId": "y"}]})
    assert methods(peer)[1:] == ["session/list", "session/list"]
    assert is_load_session_resource_missing(failed(peer, FailureKind.LOAD_SESSION))


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
    assert methods(peer)[-1] == "session/load"


def test_a_list_without_end_is_given_up(make_peer):
    peer = begun(make_peer, LISTS, resume_session_id=SESSION)
    for _ in range(LIST_PAGES_MAX):
        peer.reply({"sessions": [], "nextCursor": "more"})
    assert methods(peer).count("session/list") == LIST_PAGES_MAX
    assert methods(peer)[-1] == "session/load"


# ---- settings


def opened(make_peer, session, initialize=None, **opts):
    peer = begun(make_peer, initialize, **opts)
    peer.reply({"sessionId": SESSION, **session})
    return peer


def test_mode_model_and_effort_are_set_in_this_order(make_peer):
    peer = opened(
        make_peer,
        {"modes": MODES, "configOptions": [MODEL, EFFORT]},
        model="b",
        reasoning_effort="high",
    )
    peer.reply(None)
    peer.reply({"configOptions": [MODEL, EFFORT]})
    assert peer.timers == {"step:5": 15.0}
    peer.reply({"configOptions": [{**EFFORT, "currentValue": "high"}]})
    assert [(m["method"], m["params"]) for m in peer.sent[2:]] == [
        ("session/set_mode", {"sessionId": SESSION, "modeId": "Ask"}),
        (
            "session/set_config_option",
            {"sessionId": SESSION, "configId": "model", "value": "b"},
        ),
        (
            "session/set_config_option",
            {"sessionId": SESSION, "configId": "thinking", "value": "high"},
        ),
    ]
    [option] = outcome(peer).caps.config_options
    assert option.current == "high"


def test_an_agent_without_modes_may_have_an_option_for_them(make_peer):
    option = {
        "id": "m",
        "name": "Mode",
        "category": "mode",
        "type": "select",
        "currentValue": "build",
        "options": [{"value": "build"}, {"value": "plan"}],
    }
    peer = opened(make_peer, {"configOptions": [option]})
    assert peer.sent[-1]["params"] == {"sessionId": SESSION, "configId": "m", "value": "plan"}


def test_an_older_agent_has_models_of_its_own(make_peer):
    models = {"currentModelId": "a", "availableModels": [{"modelId": "b", "name": "B"}]}
    peer = opened(make_peer, {"models": models}, model="b")
    message = peer.sent[-1]
    assert message["method"] == "session/set_model"
    assert message["params"] == {"sessionId": SESSION, "modelId": "b"}
    peer.reply({})
    assert outcome(peer).caps.supported_models == ("b",)


@pytest.mark.parametrize(
    ("session", "opts", "words"),
    [
        ({"configOptions": [MODEL]}, {"model": "z"}, ['"z"', 'config option "model"']),
        ({}, {"model": "z"}, ['"z"', "legacy"]),
        (
            {"configOptions": [EFFORT]},
            {"reasoning_effort": "max"},
            ['"max"', 'config option "thinking"'],
        ),
    ],
)
def test_what_is_not_offered_is_not_sent(make_peer, session, opts, words):
    peer = opened(make_peer, session, **opts)
    failed(peer, FailureKind.PROTOCOL, "negotiation failed", *words)
    assert methods(peer) == ["initialize", "session/new"]


def test_an_effort_without_a_setting_is_left_alone(make_peer):
    peer = opened(make_peer, {}, reasoning_effort="high")
    assert isinstance(outcome(peer), Ready)


@pytest.mark.parametrize(
    ("session", "opts", "word"),
    [
        ({"modes": MODES}, {}, "session mode"),
        ({"configOptions": [MODEL]}, {"model": "b"}, "session model"),
        ({"configOptions": [EFFORT]}, {"reasoning_effort": "low"}, "session reasoning"),
    ],
)
def test_a_setting_that_is_refused_fails_the_start(make_peer, session, opts, word):
    peer = opened(make_peer, session, **opts)
    peer.reply(error={"code": -32603, "message": "no"})
    failed(peer, FailureKind.PROTOCOL, f"ACP {word} negotiation failed", "no")


@pytest.mark.parametrize(
    ("permissions", "gateway", "offered", "sent"),
    [
        (PermissionMode.APPROVE_ALL, True, ["auto", "default"], "default"),
        (PermissionMode.APPROVE_ALL, False, ["AUTO", "plan"], "AUTO"),
        (PermissionMode.APPROVE_READS, False, ["ask", "Plan"], "Plan"),
        (PermissionMode.DENY_ALL, False, ["read_only"], "read_only"),
        (PermissionMode.DENY_ALL, True, ["yolo"], None),
    ],
)
def test_the_mode_follows_from_the_permissions(make_peer, permissions, gateway, offered, sent):
    modes = {"currentModeId": "x", "availableModes": [{"id": mode} for mode in offered] + [5]}
    peer = opened(
        make_peer, {"modes": modes}, permissions=permissions, prefer_gateway_modes=gateway
    )
    if sent is None:
        assert isinstance(outcome(peer), Ready)
    else:
        assert peer.sent[-1]["params"]["modeId"] == sent


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
def test_every_step_has_its_limit_and_keeps_its_kind(
    make_peer, answers, initialize, opts, limit, kind
):
    peer = make_peer(**opts)
    peer.do(peer.client.start())
    for answer in answers:
        peer.reply(answer)
    assert list(peer.timers.values()) == [limit]
    peer.fire("step")
    failed(peer, kind, f"timed out after {limit:g} s")
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
    failed(peer, kind, "peer disconnected before response", "status 3")
    assert peer.outputs[-1] == Disconnected("agent exited with status 3")


def test_an_agent_that_dies_during_the_replay_fails_the_load(make_peer):
    peer = begun(make_peer, LOADS, resume_session_id=SESSION)
    peer.reply(None)
    peer.do(peer.client.receive_eof("gone"))
    error = failed(peer, FailureKind.LOAD_SESSION, "gone")
    assert not is_load_session_resource_missing(error)


def test_a_request_that_is_too_long_fails_its_step(make_peer):
    peer = begun(make_peer, additional_dirs=("/" + "x" * FRAME_BYTES_MAX,))
    failed(peer, FailureKind.PROTOCOL, "longer than")


def test_nothing_can_be_asked_before_the_session_is_ready(make_peer):
    peer = begun(make_peer)
    with pytest.raises(OperationUnavailableError):
        peer.client.prompt("turn-1", "hello", {})
    assert peer.do(peer.client.cancel()) == []
    peer.ask(5)
    assert peer.answer_to(5)["result"] == {"outcome": {"outcome": "cancelled"}}
    assert peer.events == []
