"""The update kinds of ACP v2, upserts, terminals of the agent, permissions (07 5, 6; R19-R25)."""

import pytest
from greenroom.actors.errors import OperationUnavailableError
from greenroom.transport.acp.inputs import SessionNoted, Unreadable
from greenroom.transport.acp.messages import Messages
from greenroom.transport.acp.options import (
    BACKGROUND_MAX,
    ECHOES_MAX,
    MESSAGES_MAX,
    TERMINAL_TAIL_BYTES,
    TERMINALS_MAX,
)
from greenroom.transport.acp.outputs import Logged
from greenroom.transport.acp.readers import block_text, blocks_text
from greenroom.transport.acp.updates_v2 import decode_tool, decode_update

SESSION = "acp-1"


def text(words):
    return [{"type": "text", "text": words}]


def told(peer):
    return [(event.type, event.text) for event in peer.events]


# ---- messages


def test_r23_an_upsert_adds_only_what_was_not_streamed(v2):
    v2.running()
    v2.say_text("a", "m", "agent_thought_chunk")
    v2.say_text("hel", "m")
    v2.update("agent_message", messageId="m", content=text("hel"))
    v2.update("agent_message", messageId="m")
    v2.update("agent_message", messageId="m", content=text("hello"))
    v2.say_text("!", "m")
    v2.update("agent_message", messageId="m", content=text("hello!"))
    v2.update("agent_message", messageId="new", content=text("other"))
    assert told(v2) == [
        ("thought", "a"),
        ("agent_message", "hel"),
        ("agent_message", "lo"),
        ("agent_message", "!"),
        ("agent_message", "other"),
    ]


@pytest.mark.parametrize("content", [None, [], text("jello"), text("he")])
def test_r23_an_upsert_that_takes_something_back_is_noted(v2, content):
    v2.running()
    v2.say_text("hello", "m")
    v2.update("agent_message", messageId="m", content=content)
    assert v2.types == ["agent_message", "system"]
    assert v2.events[-1].title == "agent_message"


def test_r23_an_empty_message_of_a_replay_says_nothing(v2):
    v2.running()
    v2.update("agent_thought", messageId="m", content=[])
    v2.update("agent_message", messageId="m", content=None)
    assert v2.types == []
    image = {"type": "image", "data": "AA==", "mimeType": "image/png"}
    v2.update("agent_message", messageId="i", content=[image])
    v2.update("agent_message", messageId="i", content=[image])
    assert told(v2) == [("agent_message", "")]


def test_of_too_many_messages_the_oldest_are_forgotten():
    messages = Messages()
    for number in range(MESSAGES_MAX + 1):
        messages.add(("agent_message", str(number)), "x")
    assert ("agent_message", "0") not in messages
    assert messages.replace(("agent_message", "1"), "xy") == "y"
    assert messages.replace(("agent_message", "0"), "xy") == "xy"


def test_only_so_many_messages_may_be_the_echo(v2):
    v2.prompted()
    for number in range(ECHOES_MAX):
        v2.say_text("no", f"u-{number}", "user_message_chunk")
        v2.say_text("hello", f"u-{number}", "user_message_chunk")
    v2.say_text("hello", "one too many", "user_message_chunk")
    v2.fire("insertion")
    v2.say_text("hi")
    v2.fire("insertion")
    assert [event.turn_id for event in v2.events] == ["agent-turn-1"]


def test_a_whole_message_is_work_like_any_other(v2):
    v2.prompted()
    v2.update("agent_message", messageId="m", content=text("hi"))
    v2.fire("insertion")
    assert [(e.turn_id, e.text) for e in v2.events] == [("agent-turn-1", "hi")]


def test_an_echo_may_come_as_a_whole_message(v2):
    v2.prompted()
    v2.update("user_message", messageId="m", content=text("hello"))
    v2.update("user_message", messageId="odd")
    v2.fire("insertion")
    v2.say_text("hi")
    assert told(v2) == [("agent_message", "hi")]


# ---- tools


def test_r19_the_first_upsert_of_a_call_announces_it(v2):
    v2.running()
    v2.update("tool_call_update", toolCallId="c-1", title="Read", kind="read")
    v2.update("tool_call_content_chunk", toolCallId="c-1", content={"type": "odd"})
    v2.update("tool_call_update", toolCallId="c-1", status="completed", title=None)
    v2.update("tool_call_update", toolCallId="c-2", status="failed")
    assert [(e.type, e.tool_call_id, e.error) for e in v2.events] == [
        ("tool_call", "c-1", ""),
        ("tool_call", "c-1", ""),
        ("tool_result", "c-1", ""),
        ("tool_call", "c-2", ""),
        ("tool_result", "c-2", ""),
    ]


def test_r20_cancelled_is_a_result_and_paused_and_odd_are_not(v2):
    v2.running()
    for status in ("paused", "exploded", 5, "cancelled"):
        v2.update("tool_call_update", toolCallId="c-1", title=7, status=status)
    assert v2.types == ["tool_call"] * 3 + ["tool_result"]
    assert v2.events[-1].error == "cancelled"


def test_r5_the_end_of_a_cancelled_turn_stops_what_still_runs(v2):
    v2.running()
    can = {"capabilities": {"cancel": {}}}
    v2.update("tool_call_update", toolCallId="c-1", **can)
    v2.update("tool_call_update", toolCallId="c-2", **can)
    v2.update("tool_call_update", toolCallId="c-2", status="completed")
    v2.update("tool_call_update", toolCallId="c-3", **can)
    v2.update("tool_call_update", toolCallId="c-3", capabilities=None)
    v2.update("terminal_update", terminalId="x-1", **can)
    v2.update("terminal_update", terminalId="x-2", **can)
    v2.update("terminal_update", terminalId="x-2", exitStatus={})
    v2.do(v2.client.cancel())
    v2.ended("cancelled")
    stops = [(m["method"], m["params"]) for m in v2.sent if "/cancel" in m["method"]][1:]
    assert stops == [
        ("tool_call/cancel", {"sessionId": SESSION, "toolCallId": "c-1"}),
        ("terminal/cancel", {"sessionId": SESSION, "terminalId": "x-1"}),
    ]
    assert v2.reply({}, to="terminal/cancel") == []


def test_a_call_or_terminal_can_be_stopped_where_the_agent_offers_it(v2):
    v2.running()
    can = {"capabilities": {"cancel": {}}}
    v2.update("tool_call_update", toolCallId="c-1", **can)
    v2.update("terminal_update", terminalId="x-1", **can)
    v2.update("terminal_update", terminalId="x-2")
    v2.do(v2.client.stop_tool("c-1"))
    v2.do(v2.client.stop_terminal("x-1"))
    assert v2.methods[-2:] == ["tool_call/cancel", "terminal/cancel"]
    v2.update("terminal_update", terminalId="x-1", exitStatus={"exitCode": 0})
    for stop, name in [
        (v2.client.stop_tool, "c-9"),
        (v2.client.stop_terminal, "x-1"),
        (v2.client.stop_terminal, "x-2"),
        (v2.client.stop_terminal, "x-9"),
    ]:
        with pytest.raises(OperationUnavailableError):
            stop(name)
    v2.ended()
    with pytest.raises(OperationUnavailableError):
        v2.client.stop_tool("c-1")


def test_a_stop_that_meets_a_broken_pipe_is_no_matter(v2):
    v2.running()
    v2.update("tool_call_update", toolCallId="c-1", capabilities={"cancel": {}})
    v2.do(v2.client.cancel())
    v2.do(v2.client.receive_eof("gone"))
    assert v2.types == ["tool_call", "error"]


def test_what_outlives_turns_is_remembered_up_to_a_limit(v2):
    v2.running()
    for number in range(BACKGROUND_MAX + 1):
        v2.update("tool_call_update", toolCallId=f"c-{number}")
    v2.ended()
    v2.outputs.clear()
    v2.update("tool_call_update", toolCallId="c-0", status="completed")
    v2.update("tool_call_update", toolCallId="c-1", status="completed")
    assert [event.tool_call_id for event in v2.events] == ["c-1"]


# ---- terminals of the agent


def test_the_bytes_of_a_terminal_may_split_a_character(v2):
    v2.running()
    v2.update("terminal_update", terminalId="x", command="make", output={"data": "b2xk"})
    v2.update("terminal_update", terminalId="x", output={"data": "bmV3"})
    v2.update("terminal_output_chunk", terminalId="x", data="w6k="[:2] + "==")
    v2.update("terminal_output_chunk", terminalId="x", data="qQ==")
    assert [(e.title, e.text) for e in v2.events] == [
        ("terminal_update", "old"),
        ("terminal_update", "new"),
        ("terminal_output_chunk", ""),
        ("terminal_output_chunk", "\u00e9"),
    ]
    assert v2.client.terminal_text("x") == "new\u00e9"
    v2.update("terminal_update", terminalId="x", output=None)
    assert (v2.client.terminal_text("x"), v2.client.terminal_text("y")) == ("", "")


def test_only_the_end_of_a_terminals_output_is_kept(v2):
    v2.running()
    for _ in range(3):
        v2.update("terminal_output_chunk", terminalId="x", data="w6nDqcOp" * 8000)
    assert len(v2.client.terminal_text("x").encode()) <= TERMINAL_TAIL_BYTES
    assert set(v2.client.terminal_text("x")) == {"\u00e9"}
    for number in range(TERMINALS_MAX):
        v2.update("terminal_update", terminalId=f"x-{number}", output={"data": "YQ=="})
    assert v2.client.terminal_text("x") == ""


def test_a_terminal_outside_any_turn_is_a_fact(v2):
    v2.update("terminal_output_chunk", terminalId="x", data="YQ==")
    assert [(e.type, e.turn_id, e.text) for e in v2.events] == [("system", "", "a")]


# ---- everything else


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("plan_update", {"plan": {"type": "items", "planId": "p", "entries": []}}),
        ("plan_removed", {"planId": "p"}),
        ("plan", {"entries": []}),
        ("tool_call", {"toolCallId": "c", "title": "T"}),
        ("current_mode_update", {"currentModeId": "m"}),
        ("available_commands_update", {"availableCommands": []}),
        ("session_info_update", {"title": None}),
        ("notice", {"severity": "info", "title": "n"}),
        ("compaction_update", {"compactionId": "c", "status": "completed"}),
        ("compaction_summary_chunk", {"compactionId": "c", "content": text("x")[0]}),
        ("session_message", {"messageId": "m"}),
        ("never_seen", {}),
    ],
)
def test_d14_every_other_kind_is_noted_under_its_token(v2, kind, members):
    v2.running()
    v2.update(kind, **members)
    [event] = v2.events
    assert (event.type, event.title, event.turn_id) == ("system", kind, "turn-1")


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("agent_message_chunk", {"content": text("x")[0]}),
        ("agent_message_chunk", {"messageId": "m"}),
        ("agent_message_chunk", {"messageId": "m", "content": 5}),
        ("agent_message", {"content": []}),
        ("tool_call_update", {"toolCallId": None}),
        ("tool_call_content_chunk", {"toolCallId": "c"}),
        ("terminal_update", {}),
        ("terminal_output_chunk", {"terminalId": "x"}),
        ("terminal_output_chunk", {"terminalId": "x", "data": "no base64!"}),
        ("terminal_output_chunk", {"terminalId": "x", "data": "\u00e9"}),
        ("state_update", {}),
    ],
)
def test_an_update_without_what_it_needs_is_lost_alone(v2, kind, members):
    v2.running()
    [logged] = v2.update(kind, **members)
    assert isinstance(logged, Logged)


@pytest.mark.parametrize("data", [b"7", b"{", b"[" * 100_000, b'{"sessionUpdate":""}'])
def test_an_update_that_is_none_is_unreadable(data):
    assert isinstance(decode_update(data), Unreadable)
    assert decode_tool(data) is None


def test_blocks_that_are_none_say_nothing():
    assert block_text(b"[" * 100_000) is None
    assert blocks_text(b"[" * 100_000) == ("", False)
    assert blocks_text(b'[5,{"type":"text","text":"a"},{"type":"resource_link","uri":"u"}]') == (
        "au",
        True,
    )


def test_options_of_v2_have_other_names(v2):
    option = {
        "configId": "deep",
        "name": "Deep",
        "type": "boolean",
        "currentValue": True,
    }
    v2.update("config_option_update", configOptions=[option, {**option, "type": "odd"}])
    [found] = v2.client.caps.config_options
    assert (found.id, found.kind, found.current) == ("deep", "boolean", "true")


def test_the_reports_of_a_subagent_are_kept_whole(v2):
    v2.running()
    v2.update("subagent_update", sessionId="child-1", title="helper")
    v2.update("agent_message_chunk", session="child-1", messageId="m", content=text("x")[0])
    v2.update("state_update", session="child-1", state="idle")
    v2.ended()
    v2.update("agent_message_chunk", session="child-1", messageId="m", content=text("y")[0])
    v2.update("agent_message_chunk", session="other", messageId="m", content=text("y")[0])
    assert [(e.type, e.title, e.turn_id) for e in v2.events] == [
        ("system", "subagent_update", "turn-1"),
        ("system", "subagent", "turn-1"),
        ("system", "subagent", "turn-1"),
        ("done", "", "turn-1"),
        ("system", "subagent", ""),
    ]
    assert isinstance(decode_update(b'{"sessionUpdate":"subagent_update"}'), SessionNoted)
