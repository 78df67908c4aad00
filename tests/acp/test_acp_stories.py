"""One story, told by an agent of each version: the same events, the same transcript (07 11)."""

import itertools

import pytest
from greenroom.actors.model.agent import ApproveRequest
from greenroom.actors.model.event import SessionEvent
from greenroom.storage.format.transcript import to_ui_messages
from greenroom.storage.format.transcript_parts import join_ui_message_text, to_json
from greenroom.transport.acp.outputs import TurnClosed, WorkChanged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SESSION = "acp-1"
PROMPT = "write it"
RELAXED = settings(
    deadline=None, suppress_health_check=list(HealthCheck), max_examples=60, derandomize=True
)


def block(words):
    return {"type": "text", "text": words}


class TellerV1:
    """Tells steps of a story as an agent of version 1 would."""

    def __init__(self, make_peer, **opts):
        self.peer = make_peer(**opts).started()
        self.turns = 0

    def prompt(self):
        self.turns += 1
        self.peer.do(self.peer.client.prompt(f"turn-{self.turns}", PROMPT, {}))

    def echo(self):
        self.peer.chunk(PROMPT, "user_message_chunk")

    def say(self, words):
        self.peer.chunk(words)

    def think(self, words):
        self.peer.chunk(words, "agent_thought_chunk")

    def tool(self, name):
        self.peer.update("tool_call", toolCallId=name, title=f"Tool {name}", kind="edit")

    def tool_ends(self, name, status):
        self.peer.update("tool_call_update", toolCallId=name, status=status)

    def permission(self, number, name):
        self.peer.ask(number, toolCallId=name, title=f"Tool {name}", kind="edit")

    def usage(self, used):
        self.peer.update("usage_update", used=used, size=100)

    def title(self, words):
        self.peer.update("session_info_update", title=words)

    def end(self, reason="end_turn"):
        usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
        self.peer.reply({"stopReason": reason, "usage": usage}, to="session/prompt")
        self.peer.fire("settle")

    def fail(self, code, message):
        self.peer.reply(error={"code": code, "message": message}, to="session/prompt")

    def approve(self, decision):
        request = ApproveRequest(decision, turn_id=f"turn-{self.turns}")
        self.peer.do(self.peer.client.resolve_permission(request))

    def cancel(self):
        self.peer.do(self.peer.client.cancel())

    def eof(self):
        self.peer.do(self.peer.client.receive_eof("agent exited"))


class TellerV2(TellerV1):
    """Tells the same as an agent of version 2 would."""

    def prompt(self):
        super().prompt()
        self.number = itertools.count(1)
        self.peer.insert(f"m-{self.turns}")
        self.peer.state("running")

    def echo(self):
        self.peer.update("user_message", messageId=f"m-{self.turns}", content=[])
        self.peer.say_text(PROMPT, f"m-{self.turns}", "user_message_chunk")

    def say(self, words):
        self.peer.say_text(words, f"a-{self.turns}")

    def think(self, words):
        self.peer.say_text(words, f"a-{self.turns}", "agent_thought_chunk")

    def tool(self, name):
        self.peer.update("tool_call_update", toolCallId=name, title=f"Tool {name}", kind="edit")

    def permission(self, number, name):
        self.peer.state("requires_action")
        options = [
            {"optionId": "o-once", "name": "Once", "kind": "allow_once"},
            {"optionId": "o-no", "name": "No", "kind": "reject_once"},
        ]
        subject = {"type": "command", "command": "x", "cwd": "/ws", "toolCallId": name}
        params = {"sessionId": SESSION, "title": f"Tool {name}", "subject": subject}
        self.peer.say(
            id=number, method="session/request_permission", params={**params, "options": options}
        )

    def approve(self, decision):
        super().approve(decision)
        self.peer.state("running")

    def end(self, reason="end_turn"):
        usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
        self.peer.idle(reason, usage=usage)
        self.peer.fire("settle")

    def fail(self, code, message):
        self.peer.idle("error", error={"code": code, "message": message})


def plain(event):
    """What of an event must not depend on the version: all but the agent's own words."""
    kind = event.failure.kind if event.failure else None
    usage = event.usage and (event.usage.input_tokens, event.usage.context_used)
    return (
        event.type,
        event.turn_id,
        event.text,
        event.title,
        event.tool_call_id,
        event.decision,
        event.stop_reason,
        kind,
        usage,
    )


def stored(events):
    """Events as rows of a store."""
    return [
        SessionEvent(
            id=f"e-{number}",
            session_id="s",
            epoch=1,
            sequence=number,
            turn_id=event.turn_id,
            type=event.type,
            agent_name="agent",
            timestamp=event.timestamp,
            event=event,
            content=event.text or event.title,
        )
        for number, event in enumerate(events, start=1)
    ]


def transcript(events):
    messages = to_ui_messages(stored(events))
    return [to_json(message)["role"] for message in messages], join_ui_message_text(messages)


def tell(teller, story):
    for step, *arguments in story:
        getattr(teller, step)(*arguments)
    return teller.peer


STORIES = {
    "plain": [("prompt",), ("echo",), ("say", "hi"), ("say", " there"), ("end",)],
    "no echo": [("prompt",), ("think", "hm"), ("say", "hi"), ("end", "max_tokens")],
    "silent": [("prompt",), ("echo",), ("end",)],
    "tools": [
        ("prompt",),
        ("tool", "c-1"),
        ("permission", 50, "c-1"),
        ("approve", "allow-once"),
        ("tool_ends", "c-1", "completed"),
        ("tool", "c-2"),
        ("tool_ends", "c-2", "failed"),
        ("tool_ends", "c-2", "failed"),
        ("say", "done"),
        ("usage", 7),
        ("end",),
        ("title", "About it"),
    ],
    "rejected": [
        ("prompt",),
        ("permission", 50, "c-1"),
        ("approve", "reject-once"),
        ("end", "refusal"),
    ],
    "cancelled": [
        ("prompt",),
        ("say", "well"),
        ("permission", 50, "c-1"),
        ("cancel",),
        ("end", "cancelled"),
    ],
    "failed": [("prompt",), ("say", "well"), ("fail", -32603, "model overloaded")],
    "unauthorised": [("prompt",), ("fail", 401, "bad key")],
    "cancel failed": [("prompt",), ("cancel",), ("fail", -32603, "odd")],
    "died": [("prompt",), ("say", "well"), ("permission", 50, "c-1"), ("eof",)],
    "two turns": [
        ("prompt",),
        ("say", "one"),
        ("end",),
        ("usage", 9),
        ("prompt",),
        ("say", "two"),
        ("end",),
    ],
}


def both(make_peer, make_v2_peer, story):
    v1 = tell(TellerV1(make_peer), story)
    v2 = tell(TellerV2(make_v2_peer), story)
    assert [plain(event) for event in v1.events] == [plain(event) for event in v2.events]
    assert transcript(v1.events) == transcript(v2.events)
    assert v1.closed == v2.closed
    return v1, v2


@pytest.mark.parametrize("name", STORIES)
def test_the_same_story_gives_the_same_events(make_peer, make_v2_peer, name):
    v1, v2 = both(make_peer, make_v2_peer, STORIES[name])
    assert v1.events
    assert all(isinstance(closed, TurnClosed) for closed in v1.closed)
    if name != "died":  # what a dead agent last said it was doing is all one
        assert [o for o in v1.outputs if isinstance(o, WorkChanged)] == [
            o for o in v2.outputs if isinstance(o, WorkChanged)
        ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["say", "think"]), st.text("ab ", min_size=1, max_size=3)),
        st.tuples(st.just("tool"), st.sampled_from(["c-1", "c-2"])),
        st.tuples(
            st.just("tool_ends"),
            st.sampled_from(["c-1", "c-2"]),
            st.sampled_from(["completed", "failed"]),
        ),
        st.tuples(st.just("usage"), st.integers(0, 9)),
        st.tuples(st.just("title"), st.text("ab", max_size=3)),
    ),
    max_size=12,
)
ENDS = st.sampled_from(
    [("end",), ("end", "refusal"), ("end", "cancelled"), ("fail", 403, "no"), ("eof",)]
)


@RELAXED
@given(STEPS, ENDS, st.booleans())
def test_any_story_gives_the_same_events(make_peer, make_v2_peer, steps, end, echoed):
    announced = set()
    story = [("prompt",), *([("echo",)] if echoed else [])]
    for step in steps:
        if step[0] == "tool_ends" and step[1] not in announced:
            continue  # of a call that was never announced the two versions say different things
        if step[0] == "tool":
            announced.add(step[1])
        story.append(step)
    both(make_peer, make_v2_peer, [*story, end])


def test_an_answer_an_idle_and_a_cancel_in_any_order_end_alike(make_v2_peer):
    told = set()
    for order in itertools.permutations(["answer", "idle", "cancel"]):
        peer = make_v2_peer().started().prompted()
        peer.state("running")
        peer.say_text("hello", "m-1", "user_message_chunk")
        peer.say_text("hi")
        for step in order:
            match step:
                case "answer":
                    peer.insert("m-1")
                case "idle":
                    peer.idle("cancelled")
                case "cancel":
                    peer.do(peer.client.cancel())
        peer.fire("settle")
        assert not peer.timers
        told.add(tuple((event.type, event.turn_id) for event in peer.events))
    assert told == {(("agent_message", "turn-1"), ("done", "turn-1"))}


# ---- however it is read


def story_bytes(make_v2_peer, pieces):
    peer = make_v2_peer().started().prompted()
    for piece in pieces:
        peer.raw(piece)
    peer.do(peer.client.receive_eof("gone"))
    return [plain(event) for event in peer.events], peer.sent


def test_bytes_of_v2_whole_or_split_say_the_same(make_v2_peer):
    teller = make_v2_peer().started().prompted()
    wire = []
    teller.raw = lambda data: wire.append(data) or []
    teller.state("running")
    teller.say_text("hello", "m-1", "user_message_chunk")
    teller.say_text("hi \U0001f600")
    teller.update("tool_call_update", toolCallId="c", status="completed")
    teller.insert("m-1")
    teller.update("terminal_output_chunk", terminalId="x", data="YQ==")
    teller.idle()
    teller.state("running")
    teller.say_text("more", "a-2")
    whole = b"".join(wire)
    wanted = story_bytes(make_v2_peer, [whole])
    assert len(wanted[0]) > 6
    assert story_bytes(make_v2_peer, [whole[n : n + 1] for n in range(len(whole))]) == wanted
    for cut in range(0, len(whole), 37):
        assert story_bytes(make_v2_peer, [whole[:cut], whole[cut:]]) == wanted
