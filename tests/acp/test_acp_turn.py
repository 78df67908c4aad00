"""One turn: its prompt, its events, and what is no event (04 4; 07 R8, R11, R22)."""

import pytest
from greenroom.actors.errors import (
    PromptInProgressError,
    SessionValueError,
)
from greenroom.actors.model.event import NO_TIME, TokenUsage
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.options import (
    FRAME_BYTES_MAX,
)
from greenroom.transport.acp.outputs import Logged, TurnClosed

SESSION = "acp-1"


def texts(peer):
    return [(event.type, event.text) for event in peer.events]


# ---- a prompt


def test_a_prompt_is_one_text_and_its_events_carry_both_ids(peer):
    peer.do(peer.client.prompt("turn-1", " hello \n", {"turn_source": "user"}))
    assert peer.client.turn_id == "turn-1"
    assert peer.sent[-1]["params"] == {
        "sessionId": SESSION,
        "prompt": [{"type": "text", "text": "hello"}],
        "_meta": {"turn_source": "user"},
    }
    peer.chunk("hi")
    [event] = peer.events
    assert (event.session_id, event.turn_id, event.timestamp) == (SESSION, "turn-1", NO_TIME)
    assert event.raw.value == {
        "sessionUpdate": "agent_message_chunk",
        "content": {"type": "text", "text": "hi"},
    }


def test_a_turn_ends_with_done_after_a_silence(peer):
    peer.prompted().chunk("hi")
    peer.reply({"stopReason": "max_tokens", "usage": {"inputTokens": 3}})
    assert peer.timers == {"settle:1": 0.05, "settle_max:1": 0.1}
    assert peer.types == ["agent_message"]
    assert peer.client.turn_id == "turn-1"
    peer.fire("settle")
    done = peer.events[-1]
    assert (done.type, done.stop_reason) == ("done", "max_tokens")
    assert done.usage == TokenUsage(turn_id="turn-1", input_tokens=3)
    assert peer.outputs[-1] == TurnClosed("turn-1")
    assert (peer.client.turn_id, peer.timers) == ("", {})
    assert "_meta" not in peer.sent[-1]["params"]


def test_r11_late_updates_belong_to_the_turn_and_keep_it_open_for_a_while(peer):
    peer.prompted().chunk("a")
    peer.reply({"stopReason": "end_turn"})
    peer.timers["settle:1"] = 0
    peer.chunk("b")
    assert peer.timers["settle:1"] == 0.05
    peer.update("usage_update")
    peer.fire("settle_max")
    assert texts(peer) == [("agent_message", "a"), ("agent_message", "b"), ("done", "")]
    peer.chunk("c")
    peer.chunk("d")
    assert peer.types[-1] == "done"
    assert [o for o in peer.outputs if isinstance(o, Logged)] == [
        Logged("info", "content outside a turn dropped")
    ]


def test_an_agent_known_to_answer_last_needs_no_silence(make_peer):
    peer = make_peer(settle_s=0).started().prompted()
    peer.chunk("a")
    peer.reply({"stopReason": "end_turn"})
    assert peer.types == ["agent_message", "done"]
    assert not peer.timers


@pytest.mark.parametrize("result", [None, {}, [], {"stopReason": 5}])
def test_an_answer_without_a_reason_is_done_without_one(peer, result):
    peer.prompted().chunk("a")
    peer.reply(result)
    peer.fire("settle")
    assert peer.events[-1].stop_reason == ""


def test_r8_a_turn_without_any_output_is_done_with_a_warning(peer):
    peer.prompted().update("usage_update", used=1, size=2)
    peer.ended()
    assert peer.types == ["usage", "runtime_warning", "done"]
    peer.prompted("turn-2").ended("refusal")
    assert peer.types[3:] == ["done"]


def test_r4_one_turn_at_a_time(peer):
    peer.prompted()
    with pytest.raises(PromptInProgressError):
        peer.client.prompt("turn-2", "more", {})
    peer.chunk("a")
    peer.ended().prompted("turn-2")
    assert peer.client.turn_id == "turn-2"


@pytest.mark.parametrize(("turn_id", "text"), [("", "hello"), (" ", "hello"), ("t", " \n")])
def test_a_prompt_needs_an_id_and_a_text(peer, turn_id, text):
    with pytest.raises(SessionValueError):
        peer.client.prompt(turn_id, text, {})


def test_a_prompt_that_is_too_long_fails_its_turn_and_nothing_else(make_peer):
    peer = make_peer(system_prompt="be nice").started()
    peer.do(peer.client.prompt("turn-1", "x" * FRAME_BYTES_MAX, {}))
    assert peer.sent == []
    [event] = peer.events
    assert (event.type, event.failure.kind) == ("error", FailureKind.PROMPT)
    assert peer.closed == [TurnClosed("turn-1")]
    peer.prompted("turn-2")
    assert peer.sent[-1]["params"]["prompt"][0]["text"].startswith("Session instructions")


@pytest.mark.parametrize(
    ("delivery", "text"),
    [
        (
            "first_turn_prefix",
            "Session instructions (treat as system guidance for this conversation):\n\n"
            "be nice\n\nUser request:\n\nhello",
        ),
        ("native", "hello"),
    ],
)
def test_the_system_prompt_goes_with_the_first_prompt_only(make_peer, delivery, text):
    peer = make_peer(system_prompt=" be nice ", system_prompt_delivery=delivery).started()
    peer.do(peer.client.prompt("turn-1", "hello", {"a": 1}))
    params = peer.sent[-1]["params"]
    assert params["prompt"] == [{"type": "text", "text": text}]
    assert params["_meta"] == {"a": 1, "system": {"prompt_delivery": delivery}}
    peer.ended().prompted("turn-2")
    assert peer.sent[-1]["params"] == {
        "sessionId": SESSION,
        "prompt": [{"type": "text", "text": "hello"}],
    }


# ---- events of updates


@pytest.mark.parametrize(
    ("kind", "members", "type_", "title"),
    [
        ("agent_thought_chunk", {"content": {"type": "text", "text": "t"}}, "thought", ""),
        ("plan", {"entries": []}, "plan", ""),
        ("tool_call", {"toolCallId": "t", "title": "T"}, "tool_call", "T"),
        ("available_commands_update", {}, "system", "available_commands_update"),
        ("current_mode_update", {"currentModeId": "x"}, "system", "current_mode_update"),
        ("config_option_update", {"configOptions": []}, "system", "config_option_update"),
        ("session_info_update", {"title": "x"}, "system", "session_info_update"),
        ("notice", {"severity": "info", "title": "x"}, "system", "notice"),
        ("plan_removed", {"planId": "x"}, "system", "plan_removed"),
        ("never_heard_of", {"content": {"type": "text", "text": "t"}}, "system", "never_heard_of"),
    ],
)
def test_each_kind_has_its_event(peer, kind, members, type_, title):
    peer.prompted().update(kind, **members)
    [event] = peer.events
    assert (event.type, event.title, event.turn_id) == (type_, title, "turn-1")
    assert event.raw.value["sessionUpdate"] == kind


def test_an_update_that_can_not_be_read_is_logged_and_lost_alone(peer):
    peer.prompted().update(5)
    peer.update("agent_message_chunk")
    peer.chunk("a")
    assert texts(peer) == [("agent_message", "a")]
    assert len([o for o in peer.outputs if isinstance(o, Logged)]) == 2


def test_d15_updates_of_another_session_are_dropped(peer):
    peer.prompted().update("plan", session="other", entries=[])
    assert peer.events == []
    assert isinstance(peer.outputs[-1], Logged)


def test_options_change_in_a_turn_and_between_turns(peer):
    option = {"id": "x", "name": "X", "type": "boolean", "currentValue": True}
    peer.update("config_option_update", configOptions=[option])
    assert peer.client.caps.config_options[0].current == "true"
    peer.prompted().update("config_option_update", configOptions=[])
    assert peer.client.caps.config_options == ()
    assert [event.turn_id for event in peer.events] == ["", "turn-1"]


def test_r11_facts_between_turns_are_events_without_a_turn(peer):
    peer.update("usage_update", used=5, size=9)
    peer.update("usage_update")
    peer.update("session_info_update", title="t")
    assert [(event.type, event.turn_id) for event in peer.events] == [
        ("usage", ""),
        ("system", ""),
    ]
    assert peer.events[0].session_id == SESSION


def test_usage_is_merged_over_the_turn_and_starts_anew_with_the_next(peer):
    peer.prompted().update("usage_update", used=5, size=9)
    peer.update("usage_update", used=6, cost={"amount": 0.5, "currency": "USD"})
    peer.reply({"stopReason": "refusal", "usage": {"inputTokens": 3, "cacheReadTokens": 1}})
    peer.fire("settle")
    assert [event.usage for event in peer.events] == [
        TokenUsage(turn_id="turn-1", context_used=5, context_size=9),
        merged := TokenUsage(
            turn_id="turn-1",
            context_used=6,
            context_size=9,
            cost_amount=0.5,
            cost_currency="USD",
        ),
        merged.merge(TokenUsage(input_tokens=3, cache_read_tokens=1)),
    ]
    peer.prompted("turn-2").ended("refusal")
    assert peer.events[-1].usage is None


# ---- echo


def test_r22_the_echo_of_the_prompt_is_no_event(make_peer):
    for system_prompt, echo in [("", "hello"), ("be nice", "hello"), ("x", "Session instr")]:
        peer = make_peer(system_prompt=system_prompt).started().prompted()
        for piece in (echo[:2], "", echo[2:]):
            peer.chunk(piece, "user_message_chunk")
        peer.chunk("answer")
        assert texts(peer) == [("agent_message", "answer")]


def test_a_user_message_that_only_starts_like_the_prompt_is_one(peer):
    peer.prompted()
    peer.chunk("hel", "user_message_chunk")
    assert peer.events == []
    peer.chunk("icopter", "user_message_chunk")
    peer.chunk("hello", "user_message_chunk")
    assert texts(peer) == [
        ("user_message", "hel"),
        ("user_message", "icopter"),
        ("user_message", "hello"),
    ]


def test_after_the_first_content_every_user_message_is_one(peer):
    peer.prompted().chunk("answer")
    peer.chunk("hello", "user_message_chunk")
    assert texts(peer)[1:] == [("user_message", "hello")]
