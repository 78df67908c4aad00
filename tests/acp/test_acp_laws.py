"""Laws of the client that hold for every agent: reads, schedules, noise (07 11)."""

import contextlib
import json
from itertools import pairwise

import pytest
from greenroom.actors.errors import CallerError
from greenroom.actors.model.agent import ApproveRequest
from greenroom.transport.acp.outputs import (
    ClientCallAsked,
    Disconnected,
    EventsEmitted,
    Ready,
    SessionClosed,
    StartFailed,
    TurnClosed,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SESSION = "acp-1"
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))


def line(**message):
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n"


def update(kind, /, session=SESSION, **members):
    params = {"sessionId": session, "update": {"sessionUpdate": kind, **members}}
    return line(method="session/update", params=params)


def text(words, kind="agent_message_chunk"):
    return update(kind, content={"type": "text", "text": words})


def permission(request_id, tool, kind):
    options = [
        {"optionId": "y", "name": "Y", "kind": "allow_once"},
        {"optionId": "n", "name": "N", "kind": "reject_once"},
    ]
    call = {"toolCallId": tool, "title": "T", "kind": kind}
    params = {"sessionId": SESSION, "toolCall": call, "options": options}
    return line(id=request_id, method="session/request_permission", params=params)


# A turn as agents write them: echo, thoughts, tools in and out of order, callbacks, odd lines.
STORY = b"".join(
    [
        b"",
        text("hel", "user_message_chunk"),
        text("lo", "user_message_chunk"),
        text("think \U0001f914", "agent_thought_chunk"),
        update("plan", entries=[{"content": "c", "priority": "high", "status": "pending"}]),
        update("tool_call", toolCallId="t1", title="Read", kind="read", status="pending"),
        line(
            id=0,
            method="fs/read_text_file",
            params={"sessionId": SESSION, "path": "/ws/a", "line": 1},
        ),
        permission("p-1", "t1", "read"),
        update("tool_call_update", toolCallId="t1", status="completed", rawOutput={"n": 1}),
        b"\r\n",
        update("tool_call_update", toolCallId="t2", status="failed"),
        update("tool_call_update", toolCallId="t2", status="failed"),
        update("tool_call", toolCallId="t2", title="Late"),
        permission("p-2", "t3", "edit"),
        line(method="$/cancel_request", params={"requestId": "p-2"}),
        line(id=9, method="vendor/unknown", params={}),
        line(method="_vendor/note"),
        b"not json\n",
        b'{"method":"session/update","params":{"sessionId":"acp-1","update":{"x":"\xff"}}}\n',
        update("brand_new_kind", anything=[1, {"a": None}]),
        update("plan", session="other"),
        update("usage_update", used=5, size=10),
        text("answer " * 50),
        line(id=3, result={"stopReason": "end_turn", "usage": {"inputTokens": 1}}),
        text("late"),
    ]
)


def fed(make_peer, pieces):
    """Outputs and messages of one story; neighbouring events joined, as reads cut them."""
    peer = make_peer().started().prompted()
    for piece in pieces:
        peer.raw(piece)
    joined = []
    for output in peer.outputs:
        if joined and isinstance(output, EventsEmitted) and isinstance(joined[-1], EventsEmitted):
            output = EventsEmitted((*joined.pop().events, *output.events))
        joined.append(output)
    return joined, peer.sent


@pytest.fixture(scope="module")
def whole(make_peer):
    return fed(make_peer, [STORY])


def test_the_story_is_worth_telling(whole):
    outputs, sent = whole
    events = [e.type for o in outputs if isinstance(o, EventsEmitted) for e in o.events]
    assert {"thought", "plan", "tool_call", "tool_result", "permission", "usage"} <= set(events)
    assert any(isinstance(output, ClientCallAsked) for output in outputs)
    assert len(sent) == 4


def test_byte_by_byte_the_same_happens(make_peer, whole):
    assert fed(make_peer, [STORY[n : n + 1] for n in range(len(STORY))]) == whole


@RELAXED
@given(st.lists(st.integers(0, len(STORY)), max_size=12))
def test_split_anywhere_the_same_happens(make_peer, whole, cuts):
    edges = [0, *sorted(cuts), len(STORY)]
    pieces = [STORY[a:b] for a, b in pairwise(edges)]
    assert fed(make_peer, pieces) == whole


# ---- every schedule

LINES = st.sampled_from(
    [
        text("a"),
        text("hello", "user_message_chunk"),
        update("tool_call", toolCallId="t1", title="T"),
        update("tool_call_update", toolCallId="t1", status="completed"),
        update("usage_update", used=1, size=2),
        update("config_option_update", configOptions=[]),
        permission(50, "t1", "edit"),
        permission(51, "t2", "read"),
        line(method="$/cancel_request", params={"requestId": 50}),
        line(id=52, method="fs/read_text_file", params={"sessionId": SESSION, "path": "/ws/a"}),
        b"garbage\n",
    ]
)
ANSWERS = st.sampled_from(
    [
        {"result": {"stopReason": "end_turn"}},
        {"result": {"stopReason": "cancelled"}},
        {"result": None},
        {"error": {"code": -32800, "message": "Request cancelled"}},
        {"error": {"code": -32603, "message": "Internal error"}},
    ]
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("line"), LINES),
        st.tuples(st.just("answer"), ANSWERS),
        st.tuples(st.just("old answer"), ANSWERS),
        st.tuples(
            st.sampled_from(
                [
                    "prompt",
                    "cancel",
                    "steer",
                    "approve",
                    "timer",
                    "file",
                    "stop",
                    "eof",
                ]
            ),
            st.integers(0, 3),
        ),
    ),
    max_size=30,
)


def act(peer, action, value, turns, keys):
    client = peer.client
    match action:
        case "line":
            peer.raw(value)
        case "answer" | "old answer":
            prompts = [m["id"] for m in peer.sent if m.get("method") == "session/prompt"]
            if prompts:
                peer.say(id=prompts[-1 if action == "answer" else 0], **value)
        case "prompt":
            turns.append(f"turn-{len(turns)}")
            peer.do(client.prompt(turns[-1], "hello", {}))
        case "cancel":
            peer.do(client.cancel())
        case "steer":
            peer.do(client.steer(f"s-{len(peer.sent)}", "left"))
        case "approve":
            request = ApproveRequest("allow-once", turn_id=turns[-1] if turns else "x")
            peer.do(client.resolve_permission(request))
        case "timer":
            if peer.timers:
                name = sorted(peer.timers)[value % len(peer.timers)]
                del peer.timers[name]
                peer.do(client.timer_fired(name))
        case "file":
            peer.do(client.answer(keys[-1] if keys else 1, {"content": ""}))
        case "stop":
            peer.do(client.stop_requested())
        case "eof":
            peer.do(client.receive_eof("gone"))


@settings(RELAXED, max_examples=200)
@given(ACTIONS)
def test_in_every_schedule_each_turn_ends_once_and_keeps_to_itself(make_peer, actions):
    peer = make_peer().started({"_meta": {"steering": {"supported": True}}})
    turns, begun, keys = [], [], []
    for action, value in [*actions, ("eof", 0)]:
        with contextlib.suppress(CallerError):
            act(peer, action, value, turns, keys)
        if peer.client.turn_id and peer.client.turn_id not in begun:
            begun.append(peer.client.turn_id)
        keys = [o.key for o in peer.outputs if isinstance(o, ClientCallAsked)]
    check(peer, begun)


def check(peer, begun):
    closed = [output.turn_id for output in peer.closed]
    assert closed == begun
    assert not peer.timers
    assert [o for o in peer.outputs if not isinstance(o, SessionClosed)][-1] == Disconnected("gone")
    assert sum(isinstance(output, Disconnected) for output in peer.outputs) == 1
    assert peer.outputs.count(SessionClosed()) <= 1
    open_turns, ended = iter([*begun, ""]), set()
    current = next(open_turns)
    for output in peer.outputs:
        match output:
            case EventsEmitted(events):
                for event in events:
                    assert event.turn_id in ("", current)
                    assert event.turn_id == "" or event.turn_id not in ended
                    if event.is_terminal:
                        ended.add(event.turn_id)
            case TurnClosed(turn_id):
                assert turn_id == current
                ended.add(turn_id)
                current = next(open_turns)
    calls = {}
    for event in peer.events:
        if event.type == "tool_result":
            assert calls.get((event.turn_id, event.tool_call_id))
        calls[event.turn_id, event.tool_call_id] = True


# ---- noise in every state

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 60)
    | st.sampled_from([SESSION, "end_turn", "t1", "completed", "/ws/a", "read", "allow_once", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "sessionId",
                    "update",
                    "sessionUpdate",
                    "content",
                    "toolCall",
                    "toolCallId",
                    "options",
                    "optionId",
                    "kind",
                    "path",
                    "requestId",
                    "protocolVersion",
                    "stopReason",
                    "code",
                    "message",
                    "agentCapabilities",
                    "sessionCapabilities",
                    "configOptions",
                    "modes",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 6) | VALUES,
        "method": st.sampled_from(
            [
                "session/update",
                "session/request_permission",
                "fs/read_text_file",
                "x",
                "fs/write_text_file",
                "$/cancel_request",
                "elicitation/create",
            ]
        )
        | VALUES,
        "params": VALUES,
        "result": VALUES,
        "error": VALUES,
    },
)


@settings(RELAXED, max_examples=100)
@given(st.sampled_from(["starting", "loading", "idle", "turn"]), st.lists(MESSAGES, max_size=8))
def test_no_message_in_any_state_raises(make_peer, state, messages):
    peer = make_peer(resume_session_id=SESSION if state == "loading" else "")
    if state in ("idle", "turn"):
        peer.started()
        if state == "turn":
            peer.prompted()
    else:
        peer.do(peer.client.start())
        if state == "loading":
            peer.reply({"protocolVersion": 1, "agentCapabilities": {"loadSession": True}})
    for message in messages:
        peer.raw(json.dumps(message).encode() + b"\n")
    peer.do(peer.client.receive_eof("gone"))
    assert isinstance(peer.outputs[-1], Disconnected)
    assert not peer.timers
    if state in ("starting", "loading"):
        outcomes = [o for o in peer.outputs if isinstance(o, Ready | StartFailed)]
        assert len(outcomes) == 1


@RELAXED
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_no_bytes_raise(make_peer, pieces):
    peer = make_peer().started().prompted()
    for piece in pieces:
        peer.raw(piece)
    peer.do(peer.client.receive_eof("gone"))
    assert peer.types[-1] == "error"
