"""From a fresh pipe to a new session (04 2.5; 07 1, 2; D1-D4, D37, R12-R17, R35)."""

import pytest
from greenroom.actors.errors import (
    AgentStartError,
    OperationUnavailableError,
)
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.options import FRAME_BYTES_MAX, McpServer
from greenroom.transport.acp.outputs import Logged, Ready

SESSION = "acp-1"
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


def begun(make_peer, initialize=None, **opts):
    return make_peer(**opts).begun(initialize)


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


def test_r27_files_can_be_left_unadvertised(make_peer):
    peer = make_peer(fs=False)
    peer.do(peer.client.start())
    capabilities = peer.sent[0]["params"]["clientCapabilities"]
    assert capabilities["fs"] == {"readTextFile": False, "writeTextFile": False}


@pytest.mark.parametrize("version", [0, 2, 99, "1", True, None, 1.5])
def test_any_other_version_ends_the_start_and_nothing_more_is_sent(make_peer, version):
    peer = begun(make_peer, {"protocolVersion": version})
    peer.failed(FailureKind.HANDSHAKE, "version 1", repr(version))
    assert peer.methods == ["initialize"]


def test_an_answer_in_the_shape_of_v2_ends_the_start_where_v1_is_forced(make_peer):
    info = {"name": "a", "version": "1"}
    peer = begun(make_peer, {"protocolVersion": 2, "info": info}, acp_version="1")
    peer.failed(FailureKind.HANDSHAKE, "version 1")


@pytest.mark.parametrize("result", [None, [], 5, {}])
def test_an_answer_without_a_version_ends_the_start(make_peer, result):
    peer = make_peer()
    peer.do(peer.client.start())
    peer.reply(result)
    peer.failed(FailureKind.HANDSHAKE)


def test_r16_everything_but_the_version_may_be_missing(make_peer):
    peer = begun(make_peer, {"protocolVersion": 1.0})
    peer.reply({"sessionId": SESSION})
    assert peer.outcome == Ready(SESSION, peer.client.caps, False)


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


def test_r35_a_configured_login_comes_right_after_initialize(make_peer):
    peer = begun(make_peer, {"authMethods": [{"id": "key", "name": "K"}]}, auth_method="key")
    assert peer.methods == ["initialize", "authenticate"]
    assert peer.sent[-1]["params"] == {"methodId": "key"}
    peer.reply(None)
    assert peer.methods[-1] == "session/new"


def test_a_login_that_fails_is_an_auth_failure(make_peer):
    peer = begun(make_peer, {"authMethods": [{"id": "key", "name": "K"}]}, auth_method="key")
    peer.reply(error={"code": -32000, "message": "bad key"})
    peer.failed(FailureKind.PROVIDER_AUTH, "bad key", "next_action=login")


@pytest.mark.parametrize(
    "offered", [[], [{"id": "key", "name": "K", "type": "terminal"}], [{"id": "other"}]]
)
def test_a_login_that_is_not_offered_is_not_sent(make_peer, offered):
    peer = begun(make_peer, {"authMethods": offered}, auth_method="key")
    assert peer.methods == ["initialize", "session/new"]
    peer.reply(error={"code": -32000, "message": "Authentication required"})
    error = peer.failed(FailureKind.PROVIDER_AUTH, *[method["id"] for method in offered])
    assert type(error) is AgentStartError


def test_d37_a_session_that_wants_a_login_is_asked_for_once_more_after_it(make_peer):
    peer = begun(make_peer, {"authMethods": [{"id": "key", "name": "K"}]}, auth_method="key")
    peer.reply({})
    peer.reply(error={"code": -32000, "message": "Authentication required"})
    peer.reply({})
    assert peer.methods[1:] == ["authenticate", "session/new", "authenticate", "session/new"]
    peer.reply(error={"code": -32000, "message": "Authentication required"})
    peer.failed(FailureKind.PROVIDER_AUTH, "key")


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


def test_d3_directories_are_sent_in_the_standard_way_only_where_advertised(make_peer):
    peer = begun(make_peer, additional_dirs=("/more",), legacy_dirs=False)
    assert peer.sent[-1]["params"] == {"cwd": "/ws", "mcpServers": []}


@pytest.mark.parametrize("result", [None, {}, {"sessionId": "  "}, {"sessionId": 5}, []])
def test_d4_a_session_without_an_id_is_none(make_peer, result):
    peer = begun(make_peer)
    peer.reply(result)
    peer.failed(FailureKind.PROTOCOL, "session/new", "sessionId")


def test_an_error_of_session_new_is_kept_as_the_cause(make_peer):
    peer = begun(make_peer)
    peer.reply(error={"code": -32603, "message": "Internal error", "data": {"details": "why"}})
    error = peer.failed(FailureKind.PROTOCOL, "ACP session/new failed", "why")
    assert error.__cause__.code == -32603


def test_r13_updates_before_the_answer_are_held_for_the_session_it_names(make_peer):
    peer = begun(make_peer)
    peer.update("available_commands_update", availableCommands=[])
    peer.update("session_info_update", session="other", title="x")
    peer.update("config_option_update", configOptions=[EFFORT])
    assert peer.events == []
    peer.reply({"sessionId": SESSION})
    ready = peer.outcome
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
    assert [option.id for option in peer.outcome.caps.config_options] == ["model"]


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
