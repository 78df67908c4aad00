"""A session of ACP v2: held prompts, insertion, echo, state, work of the agent's own (07 4)."""

import itertools

import pytest
from greenroom.actors.errors import PromptInProgressError
from greenroom.transport.acp.options import HELD_CONTENT_MAX
from greenroom.transport.acp.outputs import (
    Logged,
    TurnClosed,
    TurnOpened,
)

SESSION = "acp-1"


def told(peer):
    """Type, turn and text of all events."""
    return [(event.type, event.turn_id, event.text) for event in peer.events]


def seen(peer, *kinds):
    return [output for output in peer.outputs if isinstance(output, kinds)]


# ---- a turn


def test_a_turn_ends_with_idle_not_with_the_answer(v2):
    v2.prompted()
    assert v2.sent[-1]["params"] == {
        "sessionId": SESSION,
        "prompt": [{"type": "text", "text": "hello"}],
    }
    v2.insert()
    v2.state("running")
    v2.say_text("hi")
    assert v2.closed == []
    v2.idle("end_turn", usage={"inputTokens": 3})
    v2.fire("settle")
    assert told(v2) == [("agent_message", "turn-1", "hi"), ("done", "turn-1", "")]
    assert (v2.events[-1].stop_reason, v2.events[-1].usage.input_tokens) == ("end_turn", 3)
    assert v2.closed == [TurnClosed("turn-1")]


@pytest.mark.parametrize("order", list(itertools.permutations(["running", "echo", "answer"])))
def test_running_echo_and_answer_come_in_any_order(v2, order):
    v2.prompted()
    for step in order:
        match step:
            case "running":
                v2.state("running")
            case "echo":
                v2.say_text("hello", "m-1", "user_message_chunk")
            case "answer":
                v2.insert("m-1")
    v2.say_text("hi")
    v2.ended()
    assert told(v2) == [("agent_message", "turn-1", "hi"), ("done", "turn-1", "")]
    assert seen(v2, TurnOpened) == []


def test_an_idle_that_overtakes_the_answer_waits_for_it(v2):
    v2.prompted()
    v2.state("running")
    v2.say_text("hello", "m-1", "user_message_chunk")
    v2.say_text("hi")
    v2.idle()
    assert v2.types == []
    v2.insert("m-1")
    v2.fire("settle")
    assert told(v2) == [("agent_message", "turn-1", "hi"), ("done", "turn-1", "")]
    assert not v2.timers


def test_an_idle_before_the_insertion_belongs_to_earlier_work(v2):
    v2.prompted()
    v2.state("running")
    v2.say_text("of mine")
    v2.idle()
    v2.say_text("hello", "m-1", "user_message_chunk")
    v2.insert("m-1")
    v2.state("running")
    v2.say_text("of yours", "a-2")
    v2.ended()
    assert told(v2) == [
        ("agent_message", "agent-turn-1", "of mine"),
        ("done", "agent-turn-1", ""),
        ("agent_message", "turn-1", "of yours"),
        ("done", "turn-1", ""),
    ]


def test_content_before_the_echo_is_of_earlier_work_too(v2):
    v2.prompted()
    v2.state("running")
    v2.say_text("of mine")
    v2.update("user_message", messageId="m-1", content=[{"type": "text", "text": "hello"}])
    v2.insert("m-1")
    v2.say_text("of yours", "a-2")
    v2.ended()
    assert told(v2) == [
        ("agent_message", "agent-turn-1", "of mine"),
        ("done", "agent-turn-1", ""),
        ("agent_message", "turn-1", "of yours"),
        ("done", "turn-1", ""),
    ]


def test_facts_before_the_echo_belong_to_the_turn(v2):
    v2.prompted()
    v2.state("running")
    v2.update("usage_update", used=1, size=2)
    v2.say_text("hello", "m-1", "user_message_chunk")
    v2.insert("m-1")
    assert [(event.type, event.turn_id) for event in v2.events] == [("usage", "turn-1")]


def test_the_first_idle_after_the_echo_counts_and_work_goes_on_after_it(v2):
    v2.prompted()
    v2.say_text("hello", "m-1", "user_message_chunk")
    v2.say_text("hi")
    v2.idle()
    v2.state("running")
    v2.say_text("one more thing", "a-2")
    v2.insert("m-1")
    v2.idle()
    assert told(v2) == [
        ("agent_message", "turn-1", "hi"),
        ("done", "turn-1", ""),
        ("agent_message", "agent-turn-1", "one more thing"),
        ("done", "agent-turn-1", ""),
    ]


def test_r22_another_users_message_is_one_and_its_upsert_adds_nothing(v2):
    v2.running()
    v2.say_text("steer", "u-2", "user_message_chunk")
    v2.say_text("hello", "m-turn-1", "user_message_chunk")
    v2.update("user_message", messageId="m-turn-1", content=[{"type": "text", "text": "hello"}])
    v2.update("user_message", messageId="u-2", content=[{"type": "text", "text": "steer left"}])
    assert told(v2) == [
        ("user_message", "turn-1", "steer"),
        ("user_message", "turn-1", " left"),
    ]


def test_what_nobody_can_place_waits_only_so_long(v2):
    v2.prompted()
    v2.state("running")
    v2.say_text("whose?")
    assert (v2.types, v2.timers) == ([], {"insertion:1": 2.0})
    v2.fire("insertion")
    assert seen(v2, TurnOpened) == [TurnOpened("agent-turn-1")]
    v2.say_text(" mine")
    v2.idle()
    v2.insert()
    v2.state("running")
    v2.say_text("yours", "a-2")
    v2.ended()
    assert told(v2) == [
        ("agent_message", "agent-turn-1", "whose?"),
        ("agent_message", "agent-turn-1", " mine"),
        ("done", "agent-turn-1", ""),
        ("agent_message", "turn-1", "yours"),
        ("done", "turn-1", ""),
    ]


def test_the_insertion_ends_work_that_had_not_said_so(v2):
    v2.prompted()
    v2.state("running")
    v2.fire("insertion")
    v2.say_text("mine")
    v2.say_text("hello", "m-1", "user_message_chunk")
    v2.insert("m-1")
    v2.say_text("yours", "a-2")
    assert [event.turn_id for event in v2.events] == ["agent-turn-1"] * 2 + ["turn-1"]


def test_an_echo_speaks_for_an_answer_that_is_late(v2):
    v2.prompted()
    v2.say_text("hel", "m-1", "user_message_chunk")
    v2.say_text("lo", "m-1", "user_message_chunk")
    v2.say_text("hi")
    v2.fire("insertion")
    v2.idle()
    v2.fire("settle")
    assert told(v2) == [("agent_message", "turn-1", "hi"), ("done", "turn-1", "")]
    v2.insert("m-1")
    assert isinstance(v2.outputs[-1], Logged)
    assert "session/cancel" not in v2.methods


def test_the_late_answer_may_know_the_message_better(v2):
    v2.prompted()
    v2.say_text("hello", "m-1", "user_message_chunk")
    v2.fire("insertion")
    v2.insert("m-9")
    v2.say_text("hello", "m-9", "user_message_chunk")
    assert v2.types == []


def test_only_so_much_waits(v2):
    v2.prompted()
    v2.state("running")
    for _ in range(HELD_CONTENT_MAX - 2):
        v2.say_text("x")
    assert v2.types == []
    v2.say_text("x")
    assert len(v2.types) == HELD_CONTENT_MAX - 1
    assert v2.events[0].turn_id == "agent-turn-1"


def test_an_agent_that_says_neither_state_nor_echo_loses_no_text(v2):
    v2.prompted()
    v2.say_text("text")
    v2.fire("insertion")
    v2.insert()
    v2.ended()
    assert [event.text for event in v2.events if event.type == "agent_message"] == ["text"]


def test_a_second_prompt_is_not_sent_while_one_is_open(v2):
    v2.prompted()
    with pytest.raises(PromptInProgressError):
        v2.client.prompt("turn-2", "again", {})
    v2.insert()
    with pytest.raises(PromptInProgressError):
        v2.client.prompt("turn-2", "again", {})
    assert v2.methods == ["session/prompt"]
