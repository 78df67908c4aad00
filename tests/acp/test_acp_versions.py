"""Which version is spoken, and the handshake of v2 (07 1, 2)."""

import pytest
from greenroom.actors.model.agent import PermissionMode
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.failures import is_load_session_resource_missing
from greenroom.transport.acp.options import McpServer
from greenroom.transport.acp.outputs import Ready, TurnOpened

SESSION = "acp-1"
INFO = {"name": "agent", "version": "2"}
V2 = {"protocolVersion": 2, "info": INFO, "capabilities": {"session": {}}}
LOGIN = [
    {"methodId": "key", "name": "K", "type": "agent"},
    {"methodId": "tty", "name": "T", "type": "terminal"},
    {"methodId": "odd", "name": "O", "type": "carrier_pigeon"},
    {"name": "no id"},
]
MODE = {
    "configId": "how",
    "name": "How",
    "category": "mode",
    "type": "select",
    "currentValue": "auto",
    "options": [{"value": mode, "name": mode} for mode in ("auto", "ask", "plan")],
}


def refused(supported):
    data = {"requested": 1, "supported": supported}
    return {"code": -32022, "message": "Unsupported protocol version", "data": data}


# ---- negotiation


def test_auto_asks_for_plain_v1_and_takes_it(make_peer):
    peer = make_peer().begun()
    assert peer.sent[0]["params"]["protocolVersion"] == 1
    assert "info" not in peer.sent[0]["params"]
    assert peer.client.caps.protocol_version == 1


def test_auto_takes_v2_where_the_answer_has_its_shape(make_peer):
    peer = make_peer()
    peer.do(peer.client.start())
    peer.reply(V2)
    assert peer.methods == ["initialize", "session/new"]
    assert (peer.client.caps.protocol_version, peer.client.caps.owns_files) == (2, True)


def test_auto_asks_for_v2_once_where_v1_is_refused(make_peer):
    peer = make_peer()
    peer.do(peer.client.start())
    peer.reply(error=refused([2, 3]))
    assert peer.sent[-1]["params"] == {
        "protocolVersion": 2,
        "info": {"name": "greenroom", "version": "0"},
        "capabilities": {},
    }
    peer.reply(V2)
    peer.reply({"sessionId": SESSION})
    assert peer.outcome.caps.protocol_version == 2


def test_a_second_refusal_is_final(make_peer):
    peer = make_peer()
    peer.do(peer.client.start())
    peer.reply(error=refused([2]))
    peer.reply(error=refused([2]))
    peer.failed(FailureKind.HANDSHAKE, "Unsupported protocol version")
    assert peer.methods == ["initialize"] * 2


@pytest.mark.parametrize(
    ("setting", "supported"),
    [("auto", [1]), ("auto", [3]), ("auto", "2"), ("auto", None), ("1", [2]), ("2", [1])],
)
def test_without_a_common_version_the_start_ends(make_peer, setting, supported):
    peer = make_peer(acp_version=setting)
    peer.do(peer.client.start())
    peer.reply(error=refused(supported))
    peer.failed(FailureKind.HANDSHAKE)
    assert peer.methods == ["initialize"]


def test_any_other_error_is_not_retried(make_peer):
    peer = make_peer()
    peer.do(peer.client.start())
    peer.reply(error={"code": -32602, "message": "Invalid params", "data": {"supported": [2]}})
    peer.failed(FailureKind.HANDSHAKE, "Invalid params")
    assert peer.methods == ["initialize"]


@pytest.mark.parametrize(
    ("setting", "answer", "version"),
    [
        ("auto", {"protocolVersion": 1, "info": INFO}, 1),
        ("auto", {**V2, "protocolVersion": 2.0}, 2),
        ("1", {"protocolVersion": 1}, 1),
        ("2", V2, 2),
        ("1", V2, None),
        ("2", {"protocolVersion": 1}, None),
        ("2", {"protocolVersion": 2}, None),
        ("auto", {"protocolVersion": 2}, None),
        ("auto", {**V2, "protocolVersion": 3}, None),
        ("auto", {"info": INFO}, None),
        ("3", None, None),
    ],
)
def test_d1_the_answer_settles_the_version_or_ends_the_start(make_peer, setting, answer, version):
    peer = make_peer(acp_version=setting)
    peer.do(peer.client.start())
    if answer is not None:
        peer.reply(answer)
    if version is None:
        peer.failed(FailureKind.HANDSHAKE, "version")
        assert peer.methods == ([] if setting == "3" else ["initialize"])
    else:
        assert peer.client.caps.protocol_version == version


@pytest.mark.parametrize("capabilities", [{}, None, {"session": None}, {"session": True}])
def test_a_v2_agent_without_sessions_is_of_no_use(make_v2_peer, capabilities):
    peer = make_v2_peer().begun({"capabilities": capabilities})
    peer.failed(FailureKind.HANDSHAKE, "no sessions")


# ---- what is offered, and asked for


def test_capabilities_of_v2_are_read(make_v2_peer):
    session = {"delete": {}, "fork": {}, "title": {}, "additionalDirectories": {}}
    peer = make_v2_peer().begun(
        {
            "capabilities": {"session": session},
            "authMethods": LOGIN,
            "_meta": {"steering": {"supported": True}},
        }
    )
    caps = peer.client.caps
    assert caps.supports_resume_session
    assert caps.supports_close_session
    assert caps.supports_list_sessions
    assert (caps.supports_delete_session, caps.supports_fork_session) == (True, True)
    assert (caps.supports_session_title, caps.supports_logout) == (True, True)
    assert (caps.supports_steering, caps.supports_load_session) == (True, False)
    assert (caps.auth_methods, caps.agent_info) == (("key", "tty", "odd"), "agent 2")


def test_a_v2_session_is_asked_for_strictly(make_v2_peer):
    servers = (
        McpServer("db", "/bin/db", ("-v",), (("A", "1"),)),
        McpServer("web", type="http", url="https://x", headers=(("H", "1"),)),
        McpServer("old", type="sse", url="https://y"),
    )
    session = {"mcp": {"stdio": {}, "http": {}}, "additionalDirectories": {}}
    peer = make_v2_peer(mcp_servers=servers, additional_dirs=("/more",))
    peer.begun({"capabilities": {"session": session}})
    assert peer.sent[-1]["params"] == {
        "cwd": "/ws",
        "mcpServers": [
            {
                "type": "stdio",
                "name": "db",
                "command": "/bin/db",
                "args": ["-v"],
                "env": [{"name": "A", "value": "1"}],
            },
            {
                "type": "http",
                "name": "web",
                "url": "https://x",
                "headers": [{"name": "H", "value": "1"}],
            },
        ],
        "additionalDirectories": ["/more"],
    }
    plain = make_v2_peer(mcp_servers=servers, additional_dirs=("/more",)).begun(V2)
    assert plain.sent[-1]["params"] == {"cwd": "/ws"}


def test_v1_is_told_of_remote_servers_where_it_can_use_them(make_peer):
    servers = tuple(McpServer(kind, type=kind, url="u") for kind in ("http", "sse"))
    offer = {"agentCapabilities": {"mcpCapabilities": {"http": True, "sse": "yes"}}}
    peer = make_peer(mcp_servers=servers).begun(offer)
    [server] = peer.sent[-1]["params"]["mcpServers"]
    assert server == {"type": "http", "name": "http", "url": "u", "headers": []}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("opts", "is_sent"),
    [
        ({"native_system_prompt": True, "system_prompt_delivery": "native"}, True),
        ({"native_system_prompt": True}, False),
        ({"system_prompt_delivery": "native"}, False),
    ],
)
def test_d12_a_native_system_prompt_goes_with_the_session(
    make_peer, make_v2_peer, version, opts, is_sent
):
    if version == 1:
        offer = {"agentCapabilities": {"sessionCapabilities": {"systemPrompt": {}}}}
        peer = make_peer(system_prompt=" be nice ", **opts).begun(offer)
    else:
        offer = {"capabilities": {"session": {"systemPrompt": {}}}}
        peer = make_v2_peer(system_prompt=" be nice ", **opts).begun(offer)
    prompt = {"mode": "append", "content": [{"type": "text", "text": "be nice"}]}
    assert peer.sent[-1]["params"].get("systemPrompt") == (prompt if is_sent else None)


def test_r35_a_v2_login_is_by_its_own_method(make_v2_peer):
    peer = make_v2_peer(auth_method="key").begun({"authMethods": LOGIN})
    assert peer.sent[-1]["method"] == "auth/login"
    assert peer.sent[-1]["params"] == {"methodId": "key"}
    peer.reply({})
    peer.reply(error={"code": -32000, "message": "Authentication required"})
    assert peer.methods[-1] == "auth/login"


@pytest.mark.parametrize("method", ["tty", "odd"])
def test_no_login_by_a_method_that_is_not_the_agents(make_v2_peer, method):
    peer = make_v2_peer(auth_method=method).begun({"authMethods": LOGIN})
    assert peer.methods == ["initialize", "session/new"]


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (PermissionMode.DENY_ALL, "plan"),
        (PermissionMode.APPROVE_READS, "ask"),
        (PermissionMode.APPROVE_ALL, "ask"),
    ],
)
def test_a_v2_start_sets_a_mode_that_fits_the_permissions(make_v2_peer, mode, wanted):
    peer = make_v2_peer(permissions=mode).begun()
    peer.reply({"sessionId": SESSION, "configOptions": [MODE]})
    assert peer.sent[-1]["method"] == "session/set_config_option"
    assert peer.sent[-1]["params"] == {
        "sessionId": SESSION,
        "configId": "how",
        "type": "id",
        "value": wanted,
    }
    peer.reply({"configOptions": [{**MODE, "currentValue": wanted}]})
    [option] = peer.outcome.caps.config_options
    assert (option.id, option.current) == ("how", wanted)


# ---- an earlier session


def test_a_v2_session_is_resumed_without_a_replay(make_v2_peer):
    peer = make_v2_peer(resume_session_id=SESSION).begun()
    assert peer.methods[-1] == "session/list"
    peer.reply({"sessions": [{"sessionId": SESSION, "cwd": "/ws"}]})
    assert peer.sent[-1]["method"] == "session/resume"
    assert peer.sent[-1]["params"] == {"sessionId": SESSION, "cwd": "/ws"}
    peer.idle("cancelled")
    peer.reply({})
    assert peer.outcome == Ready(SESSION, peer.client.caps, True)
    assert (peer.types, peer.client.turn_id) == ([], "")


def test_a_replay_is_asked_for_where_there_is_no_history(make_v2_peer):
    peer = make_v2_peer(resume_session_id=SESSION, replay=True).begun()
    peer.reply(error={"code": -32603, "message": "no list"})
    assert peer.sent[-1]["params"]["replayFrom"] == {"type": "start"}
    peer.say_text("hello", "m-1", "user_message_chunk")
    peer.say_text("hi")
    peer.idle()
    peer.reply({})
    assert (peer.outcome.replayed, peer.types) == (2, [])


def test_work_in_the_snapshot_is_a_turn_of_the_agents_own(make_v2_peer):
    peer = make_v2_peer(resume_session_id=SESSION, new_turn_id=lambda: "own-1").begun()
    peer.reply({"sessions": [{"sessionId": SESSION}]})
    peer.state("running")
    peer.reply({})
    ready = peer.outputs.index(peer.outcome)
    assert peer.outputs[ready + 1 :][:1] == [TurnOpened("own-1")]
    peer.say_text("going on")
    peer.idle()
    assert [(e.type, e.turn_id) for e in peer.events] == [
        ("agent_message", "own-1"),
        ("done", "own-1"),
    ]


@pytest.mark.parametrize("code", [-32002, -32602])
def test_r12_a_session_that_v2_lacks_is_missing(make_v2_peer, code):
    peer = make_v2_peer(resume_session_id=SESSION).begun()
    peer.reply({"sessions": [{"sessionId": SESSION}]})
    peer.reply(error={"code": code, "message": "Session not found"})
    error = peer.failed(FailureKind.LOAD_SESSION)
    assert is_load_session_resource_missing(error)
