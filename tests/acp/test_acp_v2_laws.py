"""Laws of a v2 session that hold in every schedule (07 11)."""

import contextlib
import json

from greenroom.actors.errors import CallerError
from greenroom.actors.model.agent import ApproveRequest
from greenroom.transport.acp.outputs import (
    Disconnected,
    EventsEmitted,
    SessionClosed,
    TurnClosed,
    TurnOpened,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

SESSION = "acp-1"
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
BACKGROUND_TYPES = {"tool_call", "tool_result", "system"}


def block(words):
    return {"type": "text", "text": words}


UPDATES = st.sampled_from(
    [
        ("agent_message_chunk", {"messageId": "a", "content": block("x")}),
        ("agent_message", {"messageId": "a", "content": [block("xy")]}),
        ("user_message_chunk", {"messageId": "m-1", "content": block("hello")}),
        ("user_message_chunk", {"messageId": "m-2", "content": block("hello")}),
        ("user_message", {"messageId": "u", "content": [block("steer")]}),
        ("tool_call_update", {"toolCallId": "t1", "title": "T", "capabilities": {"cancel": {}}}),
        ("tool_call_update", {"toolCallId": "t1", "status": "completed"}),
        ("terminal_output_chunk", {"terminalId": "x", "data": "YQ=="}),
        ("usage_update", {"used": 1, "size": 2}),
        ("state_update", {"state": "running"}),
        ("state_update", {"state": "running", "background": []}),
        ("state_update", {"state": "requires_action"}),
        ("state_update", {"state": "odd"}),
        ("state_update", {"state": "idle", "stopReason": "end_turn"}),
        ("state_update", {"state": "idle", "stopReason": "cancelled"}),
        ("state_update", {"state": "idle", "stopReason": "error"}),
    ]
)
ANSWERS = st.sampled_from(
    [
        {"result": {"messageId": "m-1"}},
        {"result": {"messageId": "m-2"}},
        {"result": {"messageId": "unseen"}},
        {"result": None},
        {"error": {"code": -32800, "message": "Request cancelled"}},
        {"error": {"code": -32603, "message": "Internal error"}},
    ]
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), UPDATES),
        st.tuples(st.just("update"), UPDATES),
        st.tuples(st.sampled_from(["answer", "old answer"]), ANSWERS),
        st.tuples(
            st.sampled_from(
                ["prompt", "prompt", "cancel", "steer", "ask", "approve", "timer", "stop"]
            ),
            st.integers(0, 4),
        ),
    ),
    max_size=30,
)


def act(peer, action, value, turns):
    client = peer.client
    match action:
        case "update":
            kind, members = value
            peer.update(kind, **members)
        case "answer" | "old answer":
            prompts = [m["id"] for m in peer.sent if m.get("method") == "session/prompt"]
            if prompts:
                peer.say(id=prompts[-1 if action == "answer" else 0], **value)
        case "prompt":
            peer.do(client.prompt(f"turn-{len(turns)}", "hello", {}))
            turns.append(f"turn-{len(turns)}")
        case "cancel":
            peer.do(client.cancel())
        case "steer":
            peer.do(client.steer(f"s-{len(peer.sent)}", "left"))
        case "ask":
            options = [{"optionId": "y", "name": "Y", "kind": "allow_once"}]
            params = {"sessionId": SESSION, "title": "?", "options": options}
            peer.say(id=100 + value, method="session/request_permission", params=params)
        case "approve":
            request = ApproveRequest("allow-once", turn_id=turns[-1] if turns else "x")
            peer.do(client.resolve_permission(request))
        case "timer":
            if peer.timers:
                name = sorted(peer.timers)[value % len(peer.timers)]
                del peer.timers[name]
                peer.do(client.timer_fired(name))
        case "stop":
            peer.do(client.stop_requested())


@settings(RELAXED, max_examples=200)
@given(ACTIONS)
@example(
    [  # a permission of the agent's own turn, which the prompt that is taken ends
        ("prompt", 0),
        (
            "update",
            (
                "agent_message_chunk",
                {"messageId": "a", "content": {"type": "text", "text": "x"}},
            ),
        ),
        ("ask", 0),
        ("timer", 0),
        ("answer", {"result": {"messageId": "m-1"}}),
    ]
)
def test_in_every_schedule_each_turn_ends_once(make_v2_peer, actions):
    peer = make_v2_peer().started({"_meta": {"steering": {"supported": True}}})
    prompted = []
    for action, value in actions:
        with contextlib.suppress(CallerError):
            act(peer, action, value, prompted)
    peer.do(peer.client.receive_eof("gone"))
    assert not peer.timers
    outputs = [o for o in peer.outputs if not isinstance(o, SessionClosed)]
    assert outputs[-1] == Disconnected("gone")
    opened = [o.turn_id for o in outputs if isinstance(o, TurnOpened)]
    closed = [o.turn_id for o in outputs if isinstance(o, TurnClosed)]
    assert sorted(closed) == sorted(prompted + opened)
    check_order(outputs, set(prompted))
    for answered in range(100, 105):
        answers = [m for m in peer.sent if m.get("id") == answered and "method" not in m]
        assert len(answers) <= sum(a == "ask" and v == answered - 100 for a, v in actions)


def check_order(outputs, known):
    """Content comes within its turn only, and after the end only what goes on in the background."""
    over, own = set(), ""
    for output in outputs:
        match output:
            case TurnOpened(turn_id):
                assert own == "", "two turns of the agent's own"
                own = turn_id
                known.add(turn_id)
            case TurnClosed(turn_id):
                over.add(turn_id)
                own = "" if turn_id == own else own
            case EventsEmitted(events):
                for event in events:
                    assert event.turn_id in known | {""}
                    if event.turn_id in over:
                        assert event.type in BACKGROUND_TYPES
                    elif event.turn_id and own and not event.is_terminal:
                        assert event.turn_id == own, "content of two turns at once"
    calls = [e for o in outputs if isinstance(o, EventsEmitted) for e in o.events]
    announced = set()
    for event in calls:
        if event.type == "tool_call":
            announced.add((event.turn_id, event.tool_call_id))
        elif event.type == "tool_result":
            assert (event.turn_id, event.tool_call_id) in announced


@settings(RELAXED, max_examples=30)
@given(st.lists(UPDATES, max_size=12), st.integers(0, 12), st.integers(1, 200))
def test_however_it_is_read_the_same_happens(make_v2_peer, updates, answered, size):
    lines = []
    for kind, members in updates:
        params = {"sessionId": SESSION, "update": {"sessionUpdate": kind, **members}}
        lines.append(json.dumps({"method": "session/update", "params": params}))
    peer = make_v2_peer().started().prompted()
    answer = {"id": peer.sent[-1]["id"], "result": {"messageId": "m-1"}}
    lines.insert(answered, json.dumps(answer))
    data = ("\n".join(lines) + "\n").encode()
    told = []
    for step in (len(data), size, 1):
        peer = make_v2_peer().started().prompted()
        for start in range(0, len(data), step):
            peer.raw(data[start : start + step])
        peer.do(peer.client.receive_eof("gone"))
        others = [repr(o) for o in peer.outputs if not isinstance(o, EventsEmitted)]
        told.append((peer.events, others, peer.sent))
    assert told[0] == told[1] == told[2]
