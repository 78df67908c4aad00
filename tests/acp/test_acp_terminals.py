"""Terminals an agent asks for, and what a network turn may do (04 5.2, 5.5; D19, D20; 07 R5)."""

import pytest
from greenroom.actors.errors import RequestError
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.acp import client_calls, options
from greenroom.transport.acp.outputs import ClientCallAsked, ClientCallCancelled, KillTerminals

SESSION = "acp-1"
ALL = PermissionMode.APPROVE_ALL


@pytest.fixture
def shell(make_peer):
    """A peer whose agent may start terminals, with an open turn."""
    return make_peer(terminal=True, permissions=ALL).started().prompted()


def call(peer, method, request_id=7, **params):
    return peer.say(
        id=request_id, method=f"terminal/{method}", params={"sessionId": SESSION, **params}
    )


def create(peer, terminal_id="term-1", request_id=7, **params):
    """Create a terminal; the shell gives it that id."""
    [asked] = call(peer, "create", request_id, **{"command": "make", **params})
    peer.do(peer.client.answer(asked.key, {"terminalId": terminal_id}))
    return asked


def refusal(peer, request_id=7):
    return peer.answer_to(request_id)["error"]


def network(peer, turn_id="turn-1"):
    peer.do(peer.client.prompt(turn_id, "hello", {"turn_source": "network"}))
    return peer


def test_terminals_are_advertised_where_they_are_served(make_peer):
    peer = make_peer(terminal=True)
    peer.do(peer.client.start())
    assert peer.sent[0]["params"]["clientCapabilities"]["terminal"] is True


def test_a_terminal_is_asked_for_with_checked_members(shell):
    env = [{"name": "A", "value": "1"}]
    asked = create(shell, args=["-j"], env=env, cwd="/ws/sub", outputByteLimit=10.0)
    assert asked == ClientCallAsked(
        asked.key,
        "terminal/create",
        {
            "sessionId": SESSION,
            "command": "make",
            "args": ("-j",),
            "env": (("A", "1"),),
            "cwd": "/ws/sub",
            "outputByteLimit": 10,
        },
        "turn-1",
    )
    assert shell.answer_to(7)["result"] == {"terminalId": "term-1"}


@pytest.mark.parametrize("method", ["output", "wait_for_exit", "kill", "release"])
def test_what_is_done_with_a_terminal_names_it(shell, method):
    create(shell)
    [asked] = call(shell, method, 8, terminalId="term-1")
    assert (asked.method, asked.params["terminalId"]) == (f"terminal/{method}", "term-1")
    shell.do(shell.client.answer(asked.key, {}))
    assert shell.answer_to(8)["result"] == {}


@pytest.mark.parametrize("method", ["output", "wait_for_exit", "kill", "release"])
def test_d19_an_unknown_terminal_is_not_found(shell, method):
    call(shell, method, terminalId="term-9")
    assert refusal(shell)["code"] == -32002


def test_a_released_terminal_is_gone(shell):
    create(shell)
    [asked] = call(shell, "release", 8, terminalId="term-1")
    shell.do(shell.client.answer(asked.key, {}))
    call(shell, "output", 9, terminalId="term-1")
    assert refusal(shell, 9)["code"] == -32002


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("create", {"command": 5}),
        ("create", {"command": " "}),
        ("create", {"command": "echo 'open"}),
        ("create", {"command": "a", "args": "b"}),
        ("create", {"command": "a", "args": [5]}),
        ("create", {"command": "a", "env": [{"name": "A"}]}),
        ("create", {"command": "a", "outputByteLimit": "1"}),
        ("create", {"command": "a", "cwd": "/etc"}),
        ("create", {"command": "a", "cwd": " "}),
        ("create", {}),
        ("output", {}),
        ("kill", {"terminalId": 5}),
    ],
)
def test_a_malformed_terminal_call_has_no_effect(shell, method, params):
    call(shell, method, **params)
    assert refusal(shell)["code"] == -32602
    assert shell.events == []


@pytest.mark.parametrize("mode", [PermissionMode.DENY_ALL, PermissionMode.APPROVE_READS])
def test_a_mode_that_asks_starts_nothing_unasked(make_peer, mode):
    peer = make_peer(terminal=True, permissions=mode).started().prompted()
    call(peer, "create", command="make")
    assert refusal(peer)["code"] == -32602


def test_what_somebody_allowed_may_be_run_while_the_call_lasts(make_peer):
    peer = make_peer(terminal=True).started().prompted()
    peer.ask(1, kind="execute")
    peer.do(peer.client.resolve_permission(ApproveRequest("allow-once", turn_id="turn-1")))
    create(peer)
    peer.update("tool_call_update", toolCallId="call-1", status="completed")
    call(peer, "create", 8, command="make")
    assert refusal(peer, 8)["code"] == -32602


def test_an_agent_that_was_not_offered_terminals_gets_none(make_peer):
    peer = make_peer(permissions=ALL).started().prompted()
    call(peer, "create", command="make")
    assert refusal(peer)["code"] == -32601


def test_an_error_of_the_shell_creates_nothing(shell):
    [asked] = call(shell, "create", command="make")
    error = RequestError("no such command", code=-32603)
    shell.do(shell.client.answer_error(asked.key, error))
    call(shell, "output", 8, terminalId="term-1")
    assert refusal(shell, 8)["code"] == -32002


@pytest.mark.parametrize("result", [None, {}, {"terminalId": 5}])
def test_an_answer_without_an_id_creates_nothing_we_know(shell, result):
    [asked] = call(shell, "create", command="make")
    shell.do(shell.client.answer(asked.key, result))
    shell.do(shell.client.cancel())
    shell.ended("cancelled")
    assert not [o for o in shell.outputs if isinstance(o, KillTerminals)]


def test_terminals_have_a_limit(shell, monkeypatch):
    monkeypatch.setattr(client_calls, "CLIENT_TERMINALS_MAX", 2)
    assert options.CLIENT_TERMINALS_MAX > 2
    create(shell)
    call(shell, "create", 8, command="make")
    call(shell, "create", 9, command="make")
    assert "too many" in str(refusal(shell, 9))


def test_r5_a_cancelled_turn_takes_its_terminals_along(shell):
    create(shell, "old")
    shell.ended()
    shell.prompted("turn-2")
    for number, name in enumerate(["a", "b", "c", "d"], start=20):
        create(shell, name, number)
    [waited] = call(shell, "wait_for_exit", 30, terminalId="b")
    shell.do(shell.client.answer(waited.key, {"exitCode": 0}))
    for number, status in ((31, {"exitCode": 0}), (32, None)):
        [shown] = call(shell, "output", number, terminalId="c" if status else "d")
        result = {"output": "", "truncated": False, "exitStatus": status}
        shell.do(shell.client.answer(shown.key, result))
    shell.do(shell.client.cancel())
    shell.ended("cancelled")
    kills = [o for o in shell.outputs if isinstance(o, KillTerminals)]
    assert kills == [KillTerminals("turn-2", ("a", "d"))]


def test_a_wait_for_a_terminal_that_was_released_still_completes(shell):
    create(shell)
    [waited] = call(shell, "wait_for_exit", 8, terminalId="term-1")
    [released] = call(shell, "release", 9, terminalId="term-1")
    shell.do(shell.client.answer(released.key, {}))
    shell.do(shell.client.answer(waited.key, {"exitCode": 0}))
    assert shell.answer_to(8)["result"] == {"exitCode": 0}


def test_a_withdrawn_wait_is_answered_and_dropped(shell):
    create(shell)
    [waited] = call(shell, "wait_for_exit", 8, terminalId="term-1")
    outputs = shell.say(method="$/cancel_request", params={"requestId": 8})
    assert outputs == [ClientCallCancelled(waited.key)]
    assert refusal(shell, 8)["code"] == -32800


# ---- network turns


@pytest.mark.parametrize(
    ("command", "args", "passes"),
    [
        ("greenroom network send", ["peer", "hi"], True),
        ("greenroom", ["network", "status"], True),
        ("greenroom network", [], False),
        ("greenroom network config", [], False),
        ("greenroom", [], False),
        ("make", [], False),
    ],
)
def test_a_network_turn_runs_the_network_command_only(make_peer, command, args, passes):
    peer = network(make_peer(terminal=True, permissions=ALL).started())
    env = [{"name": "PATH", "value": "/tmp"}]
    outputs = call(peer, "create", command=command, args=args, env=env)
    if passes:
        assert outputs[0].params["env"] == ()
    else:
        assert refusal(peer)["code"] == -32602


def test_the_network_command_is_the_hosts(make_peer):
    peer = network(make_peer(terminal=True, permissions=ALL, network_command=("net",)).started())
    [asked] = call(peer, "create", command="net send")
    assert asked.params["command"] == "net send"


def test_a_network_turn_touches_only_its_own_terminals(make_peer):
    peer = make_peer(terminal=True, permissions=ALL).started().prompted("turn-0")
    create(peer, "users")
    peer.ended()
    network(peer, "turn-1")
    create(peer, "first", 20, command="greenroom network send")
    peer.ended()
    network(peer, "turn-2")
    create(peer, "second", 21, command="greenroom network send")
    answered = {}
    for number, (method, name) in enumerate(
        (method, name)
        for method in ("output", "wait_for_exit", "kill", "release")
        for name in ("users", "first", "second")
    ):
        outputs = call(peer, method, 100 + number, terminalId=name)
        answered[method, name] = any(isinstance(o, ClientCallAsked) for o in outputs)
    assert [key for key, passed in answered.items() if not passed] == [
        ("output", "users"),
        ("output", "first"),
        ("wait_for_exit", "users"),
        ("wait_for_exit", "first"),
        ("kill", "users"),
        ("release", "users"),
    ]
