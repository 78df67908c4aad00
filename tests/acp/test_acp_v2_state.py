"""What a v2 agent says it does: work of its own, blocked, background (07 4.1, 4.6, 4.9, 4.10)."""

import pytest
from greenroom.actors.errors import PromptInProgressError
from greenroom.transport.acp.outputs import (
    Logged,
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
