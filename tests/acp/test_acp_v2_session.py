"""A session of ACP v2: held prompts, insertion, echo, state, work of the agent's own (07 4)."""

import itertools

import pytest
from greenroom.actors.errors import PromptInProgressError
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.options import HELD_CONTENT_MAX
from greenroom.transport.acp.outputs import (
    Disconnected,
    Logged,
    SessionClosed,
    TurnClosed,
    TurnOpened,
    WorkChanged,
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


# ---- ends


def test_a_missing_stop_reason_is_a_blank_one(v2):
    v2.running()
    v2.idle(None)
    v2.fire("settle")
    assert (v2.events[-1].type, v2.events[-1].stop_reason) == ("done", "")


def test_r8_a_turn_without_output_is_reported(v2):
    v2.running().ended()
    assert v2.types == ["runtime_warning", "done"]


def test_idle_with_an_error_is_a_failed_turn(v2):
    v2.running()
    error = {"code": 401, "message": "bad key", "data": {"why": "expired"}}
    v2.idle("error", error=error, usage={"inputTokens": 1})
    [event] = v2.events
    assert event.type == "error"
    assert "next_action=login" in event.error
    assert event.raw.value == error


def test_idle_with_an_error_that_says_nothing_is_one_all_the_same(v2):
    v2.running()
    v2.idle("error")
    assert "gave no reason" in v2.events[-1].error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": -32800, "message": "Request cancelled"}, FailureKind.CANCELLATION),
        ({"code": -32602, "message": "Invalid params"}, FailureKind.PROMPT),
        ({"code": -32002, "message": "Resource not found"}, FailureKind.PROCESS_EXIT),
    ],
)
def test_a_prompt_that_was_never_inserted_is_an_error(v2, error, kind):
    v2.prompted()
    v2.reply(error=error)
    assert (v2.types, v2.events[0].failure.kind) == (["error"], kind)
    assert v2.closed == [TurnClosed("turn-1")]


def test_what_came_before_a_refusal_is_the_agents_own(v2):
    v2.prompted()
    v2.state("running")
    v2.say_text("mine")
    v2.reply(error={"code": -32602, "message": "Invalid params"})
    v2.idle()
    assert [(event.type, event.turn_id) for event in v2.events] == [
        ("error", "turn-1"),
        ("agent_message", "agent-turn-1"),
        ("done", "agent-turn-1"),
    ]


@pytest.mark.parametrize("result", [None, {}, {"messageId": 5}, []])
def test_r16_an_answer_without_a_message_is_a_failure(v2, result):
    v2.prompted()
    v2.reply(result)
    assert v2.types == ["error"]


@pytest.mark.parametrize("inserted", [True, False])
def test_the_end_of_the_process_ends_the_turn(v2, inserted):
    v2.prompted()
    if inserted:
        v2.insert()
    v2.do(v2.client.receive_eof("agent exited"))
    assert (v2.types, v2.events[0].failure.kind) == (["error"], FailureKind.PROCESS_EXIT)
    assert v2.outputs[-1] == Disconnected("agent exited")


def test_a_held_prompt_dies_with_the_agent_and_so_does_its_own_work(v2):
    v2.prompted()
    v2.state("running")
    v2.say_text("mine")
    v2.ask(7)
    v2.do(v2.client.receive_eof("gone"))
    assert [(event.type, event.turn_id) for event in v2.events] == [
        ("error", "turn-1"),
        ("agent_message", "agent-turn-1"),
        ("error", "agent-turn-1"),
    ]


# ---- cancel


def test_a_cancel_of_work_ends_with_idle(v2):
    v2.running()
    v2.do(v2.client.cancel())
    v2.do(v2.client.cancel())
    assert v2.methods.count("session/cancel") == 1
    assert "$/cancel_request" not in v2.methods
    v2.state("running")
    v2.idle("cancelled")
    v2.fire("settle")
    assert (v2.events[-1].type, v2.events[-1].stop_reason) == ("done", "cancelled")
    assert v2.closed == [TurnClosed("turn-1")]


def test_a_cancel_of_a_held_prompt_takes_it_back(v2):
    v2.prompted()
    request_id = v2.sent[-1]["id"]
    v2.do(v2.client.cancel())
    assert v2.sent[-2]["method"] == "session/cancel"
    assert v2.sent[-1] == {
        "jsonrpc": "2.0",
        "method": "$/cancel_request",
        "params": {"requestId": request_id},
    }
    v2.reply(error={"code": -32800, "message": "Request cancelled"}, to="session/prompt")
    assert v2.events[0].failure.kind is FailureKind.CANCELLATION
    assert v2.closed == [TurnClosed("turn-1")]
    assert not v2.timers


def test_a_cancel_while_idle_is_not_waited_for(v2):
    v2.do(v2.client.cancel())
    assert (v2.methods, v2.timers) == (["session/cancel"], {})


def test_an_insertion_after_we_gave_up_is_cancelled(v2):
    v2.prompted()
    v2.do(v2.client.cancel())
    v2.fire("cancel_grace")
    assert v2.closed == [TurnClosed("turn-1", suspect=True)]
    v2.insert()
    assert v2.methods.count("session/cancel") == 2
    v2.state("running")
    v2.say_text("too late")
    v2.idle("cancelled")
    assert [event.turn_id for event in v2.events] == ["turn-1", "agent-turn-1", "agent-turn-1"]


def test_an_insertion_after_we_gave_up_does_not_cancel_the_next_prompt(v2):
    v2.prompted()
    v2.do(v2.client.cancel())
    v2.fire("cancel_grace")
    [first] = [m["id"] for m in v2.sent if m["method"] == "session/prompt"]
    v2.prompted("turn-2")
    v2.say(id=first, result={"messageId": "m-1"})
    assert v2.methods.count("session/cancel") == 1


def test_d27_an_agent_deaf_to_cancel_is_given_up_and_what_it_says_dropped(v2):
    v2.running()
    v2.do(v2.client.cancel())
    v2.fire("cancel_grace")
    assert "did not acknowledge" in v2.events[-1].error
    v2.say_text("still here")
    v2.state("running")
    v2.prompted("turn-2")
    v2.say_text("and here")
    v2.idle("cancelled")
    v2.say_text("hello", "m-2", "user_message_chunk")
    v2.insert("m-2")
    v2.say_text("answer", "a-2")
    v2.ended()
    assert told(v2)[1:] == [("agent_message", "turn-2", "answer"), ("done", "turn-2", "")]


def test_r3_a_cancel_nobody_asked_for_is_suspect(v2):
    v2.running().ended("cancelled")
    assert v2.closed == [TurnClosed("turn-1", suspect=True)]


def test_the_grace_of_a_held_prompt_leaves_other_work_alone(v2):
    v2.prompted()
    v2.state("running")
    v2.fire("insertion")
    v2.say_text("mine")
    v2.do(v2.client.cancel())
    [held, own] = sorted(v2.timers)
    assert (held, own) == ("cancel_grace:1", "cancel_grace:2")
    del v2.timers[held]
    v2.do(v2.client.timer_fired(held))
    assert v2.closed == [TurnClosed("turn-1", suspect=True)]
    v2.idle("cancelled")
    assert v2.closed[1:] == [TurnClosed("agent-turn-1")]


def test_the_grace_of_other_work_leaves_the_held_prompt_alone(v2):
    v2.prompted()
    v2.state("running")
    v2.fire("insertion")
    v2.do(v2.client.cancel())
    del v2.timers["cancel_grace:2"]
    v2.do(v2.client.timer_fired("cancel_grace:2"))
    assert v2.closed == [TurnClosed("agent-turn-1", suspect=True)]
    v2.insert()
    v2.idle("cancelled")
    v2.fire("settle")
    assert v2.closed[1:] == [TurnClosed("turn-1")]


def test_what_waited_with_a_held_prompt_we_gave_up_is_the_agents_own(v2):
    v2.prompted()
    v2.do(v2.client.cancel())
    v2.state("running")
    v2.say_text("mine")
    v2.fire("cancel_grace")
    assert [(e.type, e.turn_id) for e in v2.events] == [
        ("error", "turn-1"),
        ("agent_message", "agent-turn-1"),
    ]


@pytest.mark.parametrize("held", [True, False])
def test_a_stop_is_silent_and_closes_the_session(v2, held):
    v2.prompted()
    if not held:
        v2.insert()
    v2.do(v2.client.stop_requested())
    wanted = ["session/cancel", *(["$/cancel_request"] if held else []), "session/close"]
    assert v2.methods[1:] == wanted
    v2.reply(error={"code": -32002, "message": "Resource not found"}, to="session/close")
    assert v2.outputs[-1] == SessionClosed()
    v2.do(v2.client.receive_eof("gone"))
    assert v2.types == []
    assert v2.closed == [TurnClosed("turn-1", suspect=True)]


# ---- state


def test_work_without_a_prompt_is_a_turn_of_its_own(v2):
    v2.state("running")
    assert v2.outputs == [TurnOpened("agent-turn-1")]
    assert v2.client.turn_id == "agent-turn-1"
    with pytest.raises(PromptInProgressError):
        v2.client.prompt("turn-1", "hello", {})
    v2.say_text("news")
    v2.do(v2.client.cancel())
    v2.idle("cancelled")
    assert told(v2) == [("agent_message", "agent-turn-1", "news"), ("done", "agent-turn-1", "")]
    assert v2.closed == [TurnClosed("agent-turn-1")]
    assert not v2.timers
    v2.running().ended()


def test_own_work_right_after_a_turn_does_not_run_into_it(v2):
    v2.running()
    v2.say_text("hi")
    v2.idle()
    v2.state("running")
    v2.say_text("more")
    v2.idle()
    assert [(event.type, event.turn_id) for event in v2.events] == [
        ("agent_message", "turn-1"),
        ("done", "turn-1"),
        ("agent_message", "agent-turn-1"),
        ("done", "agent-turn-1"),
    ]


def test_what_is_no_work_opens_no_turn(v2):
    v2.prompted()
    v2.update("session_info_update", title="T")
    v2.fire("insertion")
    assert [(event.type, event.turn_id) for event in v2.events] == [("system", "")]
    assert v2.client.acp_session_id == SESSION


def test_snapshots_that_repeat_are_no_events(v2):
    for _ in range(3):
        v2.idle()
    assert v2.outputs == []
    v2.running()
    v2.outputs.clear()
    for _ in range(3):
        v2.state("running")
    assert v2.outputs == []


def test_waiting_for_the_user_and_unknown_states_are_told(v2):
    v2.running()
    for state in ("requires_action", "requires_action", "running", "pondering", "running"):
        v2.state(state)
    v2.state("requires_action")
    v2.idle("cancelled")
    assert [work.state for work in seen(v2, WorkChanged)] == [
        "blocked",
        "running",
        "unknown",
        "running",
        "blocked",
        "running",  # until it has settled
    ]


def test_an_unknown_state_without_a_turn_is_work_too(v2):
    v2.state("pondering")
    assert v2.outputs == [TurnOpened("agent-turn-1"), WorkChanged("unknown")]


@pytest.mark.parametrize("state", [None, "", 5])
def test_a_state_that_is_none_is_logged(v2, state):
    [logged] = v2.state(state)
    assert isinstance(logged, Logged)


def test_background_work_is_told_and_keeps_nobody_busy(v2):
    v2.running()
    items = [
        {"type": "terminal", "terminalId": "x-1"},
        {"type": "tool_call", "toolCallId": "c-1"},
        {"type": "subagent", "sessionId": "s-1"},
        {"type": "ritual"},
        {"type": "terminal"},
        {"type": 5},
        7,
    ]
    v2.state("running", background=items)
    v2.ended()
    assert seen(v2, WorkChanged) == [WorkChanged("running", ("x-1", "c-1", "s-1", "ritual"))]
    v2.state("idle", background=None)
    v2.idle(background=[])
    assert seen(v2, WorkChanged)[1:] == [WorkChanged("idle")]
    v2.running("turn-2")


def test_background_updates_belong_to_the_turn_that_announced_them(v2):
    v2.running()
    v2.update("tool_call_update", toolCallId="c-1", title="Build", status="in_progress")
    v2.update("terminal_update", terminalId="x-1", command="make")
    v2.ended()
    v2.update("tool_call_update", toolCallId="c-1", status="in_progress")
    v2.running("turn-2")
    v2.update("terminal_output_chunk", terminalId="x-1", data="b2s=")
    v2.update("tool_call_update", toolCallId="c-1", status="completed")
    v2.update("tool_call_update", toolCallId="c-2", title="Other")
    v2.update("tool_call_update", toolCallId="c-1", status="completed")
    late = [(e.type, e.turn_id, e.tool_call_id, e.text) for e in v2.events][3:]
    assert late == [
        ("tool_call", "turn-1", "c-1", ""),
        ("system", "turn-1", "", "ok"),
        ("tool_result", "turn-1", "c-1", ""),
        ("tool_call", "turn-2", "c-2", ""),
        ("tool_call", "turn-2", "c-1", ""),
        ("tool_result", "turn-2", "c-1", ""),
    ]
