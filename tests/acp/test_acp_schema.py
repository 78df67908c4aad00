"""What we write is valid, and what is valid we read; the public SDK's models say what is."""

import types
import typing
from enum import Enum

import pytest
from acp import schema
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.acp.inputs import Unreadable
from greenroom.transport.acp.options import McpServer
from greenroom.transport.acp.outputs import ClientCallAsked, ElicitationAsked, Ready, StartFailed
from greenroom.transport.acp.updates_v1 import decode_update
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, TypeAdapter
from pydantic_core import PydanticUndefined

SESSION = "acp-1"
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)

REQUESTS = {
    "initialize": schema.InitializeRequest,
    "authenticate": schema.AuthenticateRequest,
    "session/new": schema.NewSessionRequest,
    "session/load": schema.LoadSessionRequest,
    "session/resume": schema.ResumeSessionRequest,
    "session/list": schema.ListSessionsRequest,
    "session/close": schema.CloseSessionRequest,
    "session/delete": schema.DeleteSessionRequest,
    "session/fork": schema.ForkSessionRequest,
    "logout": schema.LogoutRequest,
    "session/prompt": schema.PromptRequest,
    "session/cancel": schema.CancelNotification,
    "session/set_mode": schema.SetSessionModeRequest,
    "session/set_config_option": schema.SetSessionConfigOptionSelectRequest,
}
ANSWERS = {
    "session/request_permission": schema.RequestPermissionResponse,
    "fs/read_text_file": schema.ReadTextFileResponse,
    "fs/write_text_file": schema.WriteTextFileResponse,
    "elicitation/create": schema.CreateElicitationResponse,
    "terminal/create": schema.CreateTerminalResponse,
    "terminal/output": schema.TerminalOutputResponse,
    "terminal/wait_for_exit": schema.WaitForTerminalExitResponse,
    "terminal/kill": schema.KillTerminalResponse,
    "terminal/release": schema.ReleaseTerminalResponse,
}
EXTENSIONS = {"_session/steering"}
FULL = {
    "protocolVersion": 1,
    "agentCapabilities": {
        "loadSession": True,
        "sessionCapabilities": {
            "resume": {},
            "close": {},
            "list": {},
            "delete": {},
            "fork": {},
            "additionalDirectories": {},
        },
        "auth": {"logout": {}},
        "mcpCapabilities": {"http": True, "sse": True},
    },
    "authMethods": [{"id": "key", "name": "K"}],
    "_meta": {"steering": {"supported": True}},
}
OPENED = {
    "sessionId": SESSION,
    "modes": {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "Ask"}]},
    "configOptions": [
        {
            "id": "model",
            "name": "M",
            "type": "select",
            "currentValue": "a",
            "options": [{"value": "b", "name": "B"}],
        }
    ],
}


def check_sent(peer):
    """Every request and notification validates; the methods that were seen."""
    for message in peer.sent:
        if "method" not in message or message["method"] in EXTENSIONS:
            continue
        REQUESTS[message["method"]].model_validate(message["params"])
    return {message["method"] for message in peer.sent if "method" in message}


def run_start(make_peer, **opts):
    servers = (
        McpServer("db", "/bin/db", ("-v",), (("A", "1"),)),
        McpServer("web", type="http", url="https://x", headers=(("H", "1"),)),
        McpServer("old", type="sse", url="https://x"),
    )
    peer = make_peer(
        auth_method="key",
        model="b",
        additional_dirs=("/more",),
        mcp_servers=servers,
        terminal=True,
        elicitation=True,
        provider_name="claude",
        **opts,
    )
    peer.do(peer.client.start())
    answers = {
        "initialize": FULL,
        "session/new": OPENED,
        "session/resume": OPENED,
        "session/load": OPENED,
        "session/list": {"sessions": [{"sessionId": SESSION, "cwd": "/ws"}]},
        "session/set_config_option": {"configOptions": OPENED["configOptions"]},
    }
    while not any(isinstance(o, Ready | StartFailed) for o in peer.outputs):
        if "replay" in peer.timers:
            peer.fire("replay")
            continue
        method = peer.sent[-1]["method"]
        if method == "session/resume" and opts.get("cwd") == "/load":
            peer.reply(error={"code": -32601, "message": "Method not found"})
        else:
            peer.reply(answers.get(method, {}))
    return peer


def test_everything_a_session_sends_is_valid(make_peer):
    seen = set()
    resumed = {"resume_session_id": SESSION}
    for opts in ({}, resumed, {**resumed, "cwd": "/load"}):
        peer = run_start(make_peer, system_prompt="be nice", **opts)
        peer.do(peer.client.prompt("turn-1", "hello", {"turn_source": "user"}))
        peer.do(peer.client.steer("s-1", "left"))
        sessions = peer.client.about_sessions()
        sessions.delete_session("old")
        sessions.fork_session()
        sessions.log_out()
        peer.do(peer.client.drained())
        peer.do(peer.client.cancel())
        peer.do(peer.client.stop_requested())
        assert any(isinstance(output, Ready) for output in peer.outputs)
        seen |= check_sent(peer)
    assert seen == set(REQUESTS) | EXTENSIONS


TERMINAL_RESULTS = {
    "terminal/create": {"terminalId": "x"},
    "terminal/output": {"output": "a", "truncated": False, "exitStatus": {"exitCode": 0}},
    "terminal/wait_for_exit": {"exitCode": 0},
    "terminal/kill": {},
    "terminal/release": {},
}


def test_every_answer_to_a_terminal_call_is_valid(make_peer):
    opts = {"terminal": True, "permissions": PermissionMode.APPROVE_ALL}
    peer = make_peer(**opts).started().prompted()
    for number, (method, result) in enumerate(TERMINAL_RESULTS.items(), start=1):
        params = {"sessionId": SESSION, "command": "ls", "terminalId": "x"}
        peer.say(id=number, method=method, params=params)
        peer.do(peer.client.answer(peer.outputs[-1].key, result))
        TypeAdapter(ANSWERS[method]).validate_python(peer.answer_to(number)["result"])


def test_every_answer_to_a_question_is_valid(make_peer):
    peer = make_peer(elicitation=True).started().prompted()
    schema_of = {"type": "object", "properties": {"a": {"type": "string"}}}
    params = {"sessionId": SESSION, "message": "?", "mode": "form", "requestedSchema": schema_of}
    for number, action in enumerate(["accept", "decline", "cancel"], start=1):
        peer.say(id=number, method="elicitation/create", params=params)
        [*_, asked] = [o for o in peer.outputs if isinstance(o, ElicitationAsked)]
        peer.do(peer.client.answer_elicitation(asked.key, action, {"a": "b"}))
        answer = peer.answer_to(number)["result"]
        TypeAdapter(ANSWERS["elicitation/create"]).validate_python(answer)


def test_every_answer_to_the_agent_is_valid(make_peer):
    peer = make_peer().started().prompted()
    peer.ask(1)
    peer.do(peer.client.resolve_permission(ApproveRequest("allow-once", turn_id="turn-1")))
    peer.ask(2, options=[])
    for number, method in ((3, "fs/read_text_file"), (4, "fs/write_text_file")):
        params = {"sessionId": SESSION, "path": "/ws/a", "content": "x"}
        peer.say(id=number, method=method, params=params)
        [asked] = [o for o in peer.outputs[-1:] if isinstance(o, ClientCallAsked)]
        peer.do(peer.client.answer(asked.key, {"content": "x"} if number == 3 else {}))
    peer.say(id=5, method="elicitation/create", params={"message": "?", "mode": "form"})
    asked_by = {
        1: "session/request_permission",
        2: "session/request_permission",
        3: "fs/read_text_file",
        4: "fs/write_text_file",
        5: "elicitation/create",
    }
    for number, method in asked_by.items():
        TypeAdapter(ANSWERS[method]).validate_python(peer.answer_to(number)["result"])


# ---- what the models can produce


def values(annotation, depth=0):
    """A strategy for JSON values of an annotation of the models."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return values(arguments[0], depth)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        wanted = arguments if depth < 4 else [a for a in arguments if a is type(None)] or arguments
        return st.one_of(*[values(argument, depth) for argument in wanted])
    if origin is list:
        return st.lists(values(arguments[0], depth + 1), max_size=2 if depth < 4 else 0)
    if origin is dict:
        return st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
    if isinstance(annotation, type):
        if issubclass(annotation, RootModel):
            return values(annotation.model_fields["root"].annotation, depth)
        if issubclass(annotation, BaseModel):
            return st.deferred(lambda: objects(annotation, depth + 1))
        if issubclass(annotation, Enum):
            return st.sampled_from([member.value for member in annotation])
    plain = {
        str: st.text(max_size=5),
        int: st.integers(0, 100),
        float: st.floats(0, 100),
        bool: st.booleans(),
        type(None): st.none(),
        typing.Any: st.integers() | st.text(max_size=3),
    }
    return plain[annotation]


def objects(model, depth=0):
    """A strategy for JSON objects that the model may hold."""
    required, optional = {}, {}
    for name, field in model.model_fields.items():
        literal = field.default if field.default is not PydanticUndefined else None
        strategy = values(field.annotation, depth)
        if name in DISCRIMINATORS and isinstance(literal, str):
            strategy = st.just(literal)
        known_as = field.alias or name
        (required if field.is_required() or name in DISCRIMINATORS else optional)[known_as] = (
            strategy
        )
    return st.fixed_dictionaries(required, optional=optional)


DISCRIMINATORS = {"session_update", "type", "outcome"}
EVENTS = {
    schema.ToolCallStart: {1, 2},
    schema.ToolCallProgress: {1, 2},
    schema.UserMessageChunk: {0, 1},  # none where it may be the echo of the prompt
}
UPDATES = typing.get_args(schema.SessionNotification.model_fields["update"].annotation)


@pytest.mark.parametrize("model", UPDATES, ids=lambda model: model.__name__)
def test_every_update_of_the_models_is_an_event(make_peer, model):
    @RELAXED
    @given(objects(model))
    def check(value):
        try:
            model.model_validate(value)
        except ValueError:
            return  # constraints the generator does not know
        accepted.append(value["sessionUpdate"])
        assert not isinstance(decode_update(schema_bytes(value)), Unreadable)
        peer = make_peer().started().prompted()
        members = {name: member for name, member in value.items() if name != "sessionUpdate"}
        peer.update(value["sessionUpdate"], **members)
        peer.ended("refusal")
        # A call that arrives final, or a result that announces its call, is two events.
        assert len(peer.events) - 1 in EVENTS.get(model, {1})

    accepted: list[str] = []
    check()
    assert accepted


def schema_bytes(value):
    return RootModel[typing.Any](value).model_dump_json().encode()
