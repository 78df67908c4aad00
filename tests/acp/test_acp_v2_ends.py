"""How a turn of ACP v2 ends: idle, refusal, cancel, stop (07 4.5, 4.7, 4.12; R3, R8, R16)."""

import pytest
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.outputs import (
    Disconnected,
    SessionClosed,
    TurnClosed,
)


def told(peer):
    """Type, turn and text of all events."""
    return [(event.type, event.turn_id, event.text) for event in peer.events]


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
