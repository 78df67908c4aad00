"""The fold of rows into UI messages, row by row of its tables (03 8)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from greenroom.actors.model.event import (
    NO_TIME,
    AgentEvent,
    EventType,
    RawJSON,
    SessionEvent,
    TokenUsage,
)
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.storage.format.rows import decode_row, encode_row, encode_text_row
from greenroom.storage.format.transcript import (
    TranscriptFold,
    UIMessage,
    UIMessagePart,
    join_ui_message_text,
    to_json,
    to_ui_messages,
    ui_message_text,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 4, 3, 10, tzinfo=UTC)
SHOWN = {"session_id": "acp", "turn_id": "T", "timestamp": "2026-04-03T10:00:00Z"}


class Log:
    """Rows of one session, encoded and decoded as the store does it."""

    def __init__(self) -> None:
        self.rows: list[SessionEvent] = []

    def add(self, kind: str, turn: str = "T", **fields: Any) -> SessionEvent:
        raw = fields.pop("raw", None)
        event = AgentEvent(
            type=kind,
            session_id="acp",
            turn_id=turn,
            timestamp=NOW,
            raw=None if raw is None else RawJSON.of(raw),
            **fields,
        )
        return self._append(encode_row(event=event, **self._facts(kind, turn)))

    def text(self, kind: str, content: str, turn: str = "T") -> SessionEvent:
        return self._append(encode_text_row(content=content, **self._facts(kind, turn)))

    def _facts(self, kind: str, turn: str) -> dict[str, Any]:
        number = len(self.rows) + 1
        return {
            "session_id": "sess",
            "epoch": 1,
            "sequence": number,
            "id": f"ev-{number}",
            "turn_id": turn,
            "type": kind,
            "agent_name": "n",
            "timestamp": NOW,
        }

    def _append(self, row: bytes) -> SessionEvent:
        self.rows.append(decode_row(row))
        return self.rows[-1]

    def fold(self) -> list[dict[str, Any]]:
        messages = to_ui_messages(self.rows)
        assert json.loads(json.dumps([to_json(message) for message in messages]))
        return [to_json(message) for message in messages]


@pytest.fixture
def log() -> Log:
    return Log()


def parts(log: Log) -> list[dict[str, Any]]:
    (message,) = log.fold()
    assert message["role"] == "assistant"
    found: list[dict[str, Any]] = message["parts"]
    return found


def data(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "data-greenroom-event", "data": {"type": kind, **SHOWN, **members}}


# -- messages of one text ---------------------------------------------------------------------


def test_8_3_empty_input_is_an_empty_list() -> None:
    assert to_ui_messages([]) == []


@pytest.mark.parametrize(
    ("kind", "role"), [("user_message", "user"), ("synthetic_reentry", "system")]
)
def test_8_3_input_is_a_message_of_its_own(log: Log, kind: str, role: str) -> None:
    log.add(kind, text=" hello\n")
    log.add(kind, text="  \n")
    assert log.fold() == [
        {
            "id": "ev-1",
            "role": role,
            "parts": [{"type": "text", "text": " hello\n", "state": "done"}],
        }
    ]


@pytest.mark.parametrize(
    ("kind", "fallback"), [("user_message", "user"), ("synthetic_reentry", "system")]
)
def test_8_3_input_without_an_id_falls_back(kind: str, fallback: str) -> None:
    def row(turn: str) -> SessionEvent:
        event = AgentEvent(type=kind, text="x")
        return SessionEvent(
            id="",
            session_id="s",
            epoch=1,
            sequence=1,
            turn_id=turn,
            type=kind,
            agent_name="n",
            timestamp=NOW,
            event=event,
            content=json.dumps({"schema": "greenroom.event.v1", "type": kind, "text": "x"}),
        )

    assert [message.id for message in to_ui_messages([row("T"), row("")])] == ["T", fallback]


def test_8_3_a_marker_is_a_system_message(log: Log) -> None:
    raw = {"kind": "transcript_marker.prompt_cancel", "summary": "Canceled."}
    log.add("agent_message", text="a")
    log.add("transcript_marker.created", raw=raw, title=raw["kind"], text="Canceled.")
    log.add("transcript_marker.redacted", raw=raw)
    log.add("agent_message", text="b")
    assert [(message["id"], message["role"]) for message in log.fold()] == [
        ("T", "assistant"),
        ("ev-2", "system"),
        ("ev-3", "system"),
        ("T-2", "assistant"),
    ]
    assert log.fold()[1]["parts"] == [{"type": "text", "text": "Canceled.", "state": "done"}]


@pytest.mark.parametrize(
    "raw",
    [
        {"kind": "transcript_marker.novel", "summary": "x"},
        {"kind": "transcript_marker.prompt_cancel", "summary": " "},
        {"kind": "transcript_marker.prompt_cancel", "summary": 7},
        {"kind": ["x"], "summary": "x"},
        {},
        None,
    ],
)
def test_8_3_an_invalid_marker_is_an_ordinary_event(log: Log, raw: Any) -> None:
    log.add("transcript_marker.created", raw=raw, text="x")
    part = parts(log)[0]
    assert part["type"] == "data-greenroom-event"
    assert part["data"].get("raw", {}) == (raw or {})
    assert part["data"]["text"] == "x"


def test_8_3_a_marker_needs_a_marker_type(log: Log) -> None:
    log.add("plan", raw={"kind": "transcript_marker.prompt_cancel", "summary": "x"})
    assert parts(log)[0]["type"] == "data-greenroom-event"


# -- text and reasoning -----------------------------------------------------------------------


def test_8_3_chunks_of_one_kind_are_one_part(log: Log) -> None:
    for chunk in ("a", " ", "b\n"):
        log.add("agent_message", text=chunk)
    assert parts(log) == [{"type": "text", "id": "T-text-1", "text": "a b\n", "state": "streaming"}]


def test_8_3_blank_text_is_ignored_unless_its_kind_is_active(log: Log) -> None:
    log.add("agent_message", text="  ")
    log.add("thought", text="t")
    log.add("agent_message", text="\n")
    log.add("thought", text=" u")
    assert parts(log) == [
        {"type": "reasoning", "id": "T-reasoning-1", "text": "t u", "state": "streaming"}
    ]


def test_8_3_kinds_are_counted_apart_and_closed_by_each_other(log: Log) -> None:
    for kind, text in (("thought", "1"), ("agent_message", "2"), ("thought", "3")):
        log.add(kind, text=text)
    assert [(part["id"], part["state"]) for part in parts(log)] == [
        ("T-reasoning-1", "done"),
        ("T-text-1", "done"),
        ("T-reasoning-2", "streaming"),
    ]


@pytest.mark.parametrize("kind", ["plan", "usage", "tool_result", "permission"])
def test_8_3_any_other_row_closes_the_text(log: Log, kind: str) -> None:
    log.add("agent_message", text="a")
    log.add(kind)
    log.add("agent_message", text="b")
    texts = [part for part in parts(log) if part["type"] == "text"]
    assert [(part["id"], part["state"]) for part in texts] == [
        ("T-text-1", "done"),
        ("T-text-2", "streaming"),
    ]


def test_8_3_done_closes_the_text_and_shows_nothing(log: Log) -> None:
    log.add("agent_message", text="a")
    log.add("done", stop_reason="end_turn")
    assert parts(log) == [{"type": "text", "id": "T-text-1", "text": "a", "state": "done"}]


def test_8_3_text_after_done_is_done_too(log: Log) -> None:
    log.add("done")
    log.add("agent_message", text="late")
    assert parts(log)[0]["state"] == "done"


def test_8_3_a_turn_of_only_done_shows_nothing(log: Log) -> None:
    log.add("done")
    assert to_ui_messages(log.rows) == []


def test_8_3_text_that_looks_like_json_stays_text(log: Log) -> None:
    log.add("agent_message", text='{"a": 1}')
    log.add("agent_message", text="{")
    assert parts(log)[0]["text"] == '{"a": 1}{'


# -- messages and their ids -------------------------------------------------------------------


def test_8_3_a_turn_continues_after_input_as_a_new_message(log: Log) -> None:
    log.add("agent_message", text="a")
    log.add("user_message", text="steer")
    log.add("agent_message", text="b")
    log.add("user_message", text="again")
    log.add("agent_message", text="c")
    messages = log.fold()
    assert [message["id"] for message in messages] == ["T", "ev-2", "T-2", "ev-4", "T-3"]
    assert messages[0]["parts"][0]["state"] == "done"
    assert messages[2]["parts"][0]["id"] == "T-2-text-1"


def test_8_3_another_turn_completes_the_one_before(log: Log) -> None:
    log.add("agent_message", turn="A", text="a")
    log.add("agent_message", turn="B", text="b")
    assert [(message["id"], message["parts"][0]["state"]) for message in log.fold()] == [
        ("A", "done"),
        ("B", "streaming"),
    ]


def test_8_3_an_error_is_its_own_message_and_the_turn_is_reopened(log: Log) -> None:
    failure = SessionFailure(FailureKind.PROMPT, "bad")
    log.add("agent_message", text="a")
    log.add("error", error="bad", failure=failure)
    log.add("agent_message", text="b")
    first, error, last = log.fold()
    assert (first["id"], error["id"], last["id"]) == ("T", "ev-2", "T-2")
    shown = data("error", error="bad", failure={"kind": "prompt_failure", "summary": "bad"})
    assert error["parts"] == [shown]


def test_8_3_errors_without_an_id_do_not_join_the_turn() -> None:
    def row(sequence: int, kind: str, turn: str) -> SessionEvent:
        return SessionEvent(
            id="",
            session_id="s",
            epoch=1,
            sequence=sequence,
            turn_id=turn,
            type=kind,
            agent_name="n",
            timestamp=NOW,
            event=AgentEvent(type=kind),
        )

    rows = [row(1, "plan", "T"), row(2, "error", "T"), row(3, "plan", "T")]
    rows += [row(4, "error", ""), row(5, "error", ""), row(6, "plan", "")]
    assert [message.id for message in to_ui_messages(rows)] == [
        "T",
        "T-2",
        "T-3",
        "assistant-error",
        "assistant-error-2",
        "assistant",
    ]


def test_8_3_ids_never_collide(log: Log) -> None:
    log.add("agent_message", turn="ev-2", text="a")
    log.add("user_message", text="u")
    log.add("agent_message", turn="ev-2", text="b")
    assert [message["id"] for message in log.fold()] == ["ev-2", "ev-2-2", "ev-2-3"]


def test_8_3_a_message_that_was_dropped_leaves_its_id(log: Log) -> None:
    log.add("done")
    log.add("user_message", text="u")
    log.add("agent_message", text="a")
    assert [message["id"] for message in log.fold()] == ["ev-2", "T"]


def test_8_3_rows_are_sorted_first(log: Log) -> None:
    for text in "abc":
        log.add("agent_message", text=text)
    log.rows.reverse()
    assert parts(log)[0]["text"] == "abc"


# -- tools ------------------------------------------------------------------------------------


def tool(log: Log, kind: str = "tool_call", call: str = "c1", **raw: Any) -> SessionEvent:
    return log.add(kind, tool_call_id=call, title=raw.get("title", ""), raw=raw)


def test_8_3_a_tool_call_with_input_is_available(log: Log) -> None:
    tool(log, title="Read", rawInput={"path": "/x"})
    assert parts(log) == [
        {
            "type": "tool-Read",
            "state": "input-available",
            "toolName": "Read",
            "toolCallId": "c1",
            "title": "Read",
            "input": {"path": "/x"},
        },
        data("tool_call", title="Read", tool_call_id="c1"),
    ]


@pytest.mark.parametrize("value", [None, "", "  ", [], {}])
def test_8_3_an_input_that_is_not_ready_is_streaming(log: Log, value: Any) -> None:
    tool(log, title="Read", rawInput=value)
    part = parts(log)[0]
    assert part["state"] == "input-streaming"
    assert "input" not in part


@pytest.mark.parametrize("value", [0, 1.5, False, True, "x", [1], {"a": None}])
def test_8_3_an_input_that_is_ready(log: Log, value: Any) -> None:
    tool(log, title="Read", rawInput=value)
    part = parts(log)[0]
    assert part["state"] == "input-available"
    assert part["input"] == value


def test_8_3_updates_of_a_call_are_one_part_and_an_event_each(log: Log) -> None:
    tool(log, title="Read")
    tool(log, rawInput={"a": 1})
    tool(log)
    found = parts(log)
    assert [part["type"] for part in found] == ["tool-Read", *["data-greenroom-event"] * 3]
    assert (found[0]["state"], found[0]["input"]) == ("input-available", {"a": 1})


def test_8_3_a_later_row_names_a_dynamic_tool(log: Log) -> None:
    tool(log)
    assert parts(log)[0] == {
        "type": "dynamic-tool",
        "state": "input-streaming",
        "toolCallId": "c1",
    }
    tool(log, title="Grep")
    tool(log, title="Other")
    part = parts(log)[0]
    assert (part["type"], part["toolName"], part["title"]) == ("tool-Grep", "Grep", "Grep")


def test_8_3_the_title_is_the_first_one(log: Log) -> None:
    named = {"claude": {"toolName": "Bash"}}
    log.add("tool_call", tool_call_id="c1", title="List files", raw={"_meta": named})
    log.add("tool_call", tool_call_id="c1", title="Another", raw={"_meta": named})
    part = parts(log)[0]
    assert (part["type"], part["title"]) == ("tool-Bash", "List files")


def test_8_3_a_call_without_an_id_gets_one_of_its_row(log: Log) -> None:
    log.add("tool_call", title="A")
    log.add("tool_call", title="B")
    keys = [part["toolCallId"] for part in parts(log) if part["type"].startswith("tool-")]
    assert keys == ["T:ev-1", "T:ev-2"]


def test_8_3_a_call_without_id_and_turn_gets_the_id_of_its_row(log: Log) -> None:
    log.add("tool_call", turn="", title="A")
    assert parts(log)[0]["toolCallId"] == "ev-1"


def test_8_3_a_result_completes_its_call(log: Log) -> None:
    tool(log, title="Bash", rawInput={"command": "ls"})
    tool(log, "tool_result", status="completed", rawOutput={"stdout": "a"}, title="Bash")
    part = parts(log)[0]
    assert part == {
        "type": "tool-Bash",
        "state": "output-available",
        "toolName": "Bash",
        "toolCallId": "c1",
        "title": "Bash",
        "input": {"command": "ls"},
        "output": {"type": "tool_result", **SHOWN, "title": "Bash", "tool_call_id": "c1"},
    }
    assert [part["type"] for part in parts(log)] == ["tool-Bash", "data-greenroom-event"]


def test_8_3_a_result_in_a_reopened_turn_remembers_the_input(log: Log) -> None:
    tool(log, title="Bash", rawInput={"command": "ls"})
    log.add("user_message", text="steer")
    tool(log, "tool_result", status="completed", title="Bash", rawInput={"command": "other"})
    (part,) = log.fold()[2]["parts"]
    assert part["input"] == {"command": "ls"}


@pytest.mark.parametrize(("given", "shown"), [({"a": 1}, {"a": 1}), ({}, {}), (None, {})])
def test_8_3_a_result_without_a_call_takes_its_own_input_or_none(
    log: Log, given: Any, shown: Any
) -> None:
    tool(log, "tool_result", status="completed", title="X", rawInput=given)
    assert parts(log)[0]["input"] == shown


@pytest.mark.parametrize(
    ("fields", "raw", "text"),
    [
        ({}, {"rawOutput": {"error": "e", "stderr": "s"}}, "e"),
        ({}, {"rawOutput": {"stderr": "s", "error": " ", "content": "c"}}, "s"),
        ({}, {"rawOutput": {"stderr": " ", "error": " ", "content": "c"}}, "c"),
        ({"title": "Bash"}, {"rawOutput": {"stderr": "s"}}, "s"),
        ({}, {"content": [{"type": "text", "text": "c"}]}, "c"),
        ({"title": "Grep"}, {"rawOutput": {"stdout": "o"}}, "o"),
        ({"error": "event"}, {}, "event"),
        ({"text": "text"}, {}, "text"),
        ({}, {}, ""),
    ],
)
def test_8_3_a_failed_result_says_why(
    log: Log, fields: dict[str, Any], raw: dict[str, Any], text: str
) -> None:
    log.add("tool_result", tool_call_id="c1", raw={"status": "failed", **raw}, **fields)
    part = parts(log)[0]
    assert part["state"] == "output-error"
    assert part.get("errorText", "") == text


def test_8_3_an_error_alone_makes_a_result_failed(log: Log) -> None:
    log.add("tool_result", tool_call_id="c1", error="boom")
    part = parts(log)[0]
    assert (part["state"], part["errorText"]) == ("output-error", "boom")
    assert part["output"]["error"] == "boom"


def test_8_2_the_payload_of_a_failed_result_is_told_the_error(log: Log) -> None:
    raw = {"status": "failed", "rawOutput": {"error": "deep"}}
    log.add("tool_result", tool_call_id="c1", raw=raw)
    assert parts(log)[0]["output"]["error"] == "deep"


def test_8_3_a_late_call_never_leaves_an_output_state(log: Log) -> None:
    tool(log, title="Bash")
    tool(log, "tool_result", status="completed", title="Bash")
    tool(log, title="Bash", rawInput={"a": 1})
    tool(log, title="Bash")
    part = parts(log)[0]
    assert (part["state"], part["input"]) == ("output-available", {"a": 1})


def test_8_3_a_tool_left_open_keeps_its_state_when_the_turn_ends(log: Log) -> None:
    tool(log, title="Bash")
    log.add("done")
    log.add("user_message", text="next")
    assert log.fold()[0]["parts"][0]["state"] == "input-streaming"


# -- data parts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "plan",
        "usage",
        "system",
        "runtime_progress",
        "runtime_warning",
        "session_stopped",
        "hook.dispatch.start",
        "hook.dispatch.complete",
        "novel_type",
    ],
)
def test_8_3_everything_else_is_an_event_part(log: Log, kind: str) -> None:
    log.add(kind, text="t", stop_reason="r")
    assert parts(log) == [data(kind, text="t", stop_reason="r")]


def test_8_1_the_payload_shows_what_is_not_empty_and_no_correlation(log: Log) -> None:
    usage = TokenUsage(input_tokens=3)
    runtime = {"turn_id": "T", "idle_seconds": 0}
    log.add(
        "runtime_warning",
        task_id="task",
        hook_name="h",
        synthetic={"reason": "r"},
        request_id="r1",
        action="a",
        resource="res",
        decision="d",
        usage=usage,
        runtime=runtime,
    )
    assert parts(log) == [
        data(
            "runtime_warning",
            request_id="r1",
            action="a",
            resource="res",
            decision="d",
            usage={"input_tokens": 3},
            runtime=runtime,
        )
    ]


def test_8_3_a_plan_keeps_its_entries(log: Log) -> None:
    log.add("plan", raw={"entries": [{"content": "x"}]})
    assert parts(log)[0]["data"]["raw"] == {"entries": [{"content": "x"}]}


def test_8_2_what_the_event_lacks_comes_from_the_row(log: Log) -> None:
    event = AgentEvent(type="plan", timestamp=NO_TIME)
    log._append(encode_row(event=event, **log._facts("plan", "T")))
    assert parts(log) == [data("plan", session_id="sess")]


def test_8_2_the_turn_of_the_row_counts_and_that_of_the_payload_is_shown(log: Log) -> None:
    event = AgentEvent(type="plan", turn_id="other", timestamp=NOW)
    log._append(encode_row(event=event, **log._facts("plan", "T")))
    (message,) = log.fold()
    assert message["id"] == "T"
    assert message["parts"][0]["data"]["turn_id"] == "other"


# -- permissions ------------------------------------------------------------------------------


def test_8_3_a_decided_permission_replaces_the_pending_one_in_place(log: Log) -> None:
    options = {"request_id": "r1", "options": [{"option_id": "o", "kind": "allow_once"}]}
    log.add("permission", request_id="r1", tool_call_id="c1", raw=options)
    log.add("plan")
    log.add("permission", request_id="r1", tool_call_id="c1", decision="allow-once")
    found = parts(log)
    assert [part["type"] for part in found] == [
        "data-greenroom-permission",
        "data-greenroom-event",
    ]
    assert found[0]["id"] == "r1"
    assert found[0]["data"]["decision"] == "allow-once"


def test_8_3_a_pending_permission_keeps_its_options(log: Log) -> None:
    options = {"request_id": "r1", "options": [{"option_id": "o", "kind": "allow_once"}]}
    log.add("permission", request_id="r1", raw=options)
    assert parts(log)[0]["data"]["raw"] == options


def test_8_3_ids_of_permission_parts(log: Log) -> None:
    log.add("permission", tool_call_id="c1")
    log.add("permission", turn="T", title="none")
    log.add("permission", turn="T", title="none")
    assert [part.get("id") for part in parts(log)] == ["T:c1", None, None]
    alone = Log()
    alone.add("permission", turn="", tool_call_id="c1")
    assert parts(alone)[0]["id"] == "c1"


# -- content that is no envelope --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["agent_message", "thought"])
def test_8_2_plain_text_is_what_was_said(log: Log, kind: str) -> None:
    log.text(kind, "  hello ")
    assert parts(log)[0]["text"] == "hello"


def test_8_2_plain_text_of_a_user(log: Log) -> None:
    log.text("user_message", " hi ")
    log.text("user_message", "{not json")
    log.text("user_message", "[1]")
    assert [message["parts"][0]["text"] for message in log.fold()] == ["hi", "{not json", "[1]"]


@pytest.mark.parametrize("content", ['{"schema": "other", "text": "x"}', '{"text": "x"}', "{}"])
def test_8_2_an_object_of_another_schema_is_the_row_only(log: Log, content: str) -> None:
    log.text("user_message", content)
    log.text("agent_message", content)
    assert to_ui_messages(log.rows) == []


def test_8_2_other_types_show_the_content_as_raw(log: Log) -> None:
    log.text("plan", "free text")
    log.text("plan", "null")
    log.text("plan", "")
    log.text("permission", '{"request_id": " r1 ", "decision": "d", "error": 7, "text": "t"}')
    row = {"session_id": "sess"}
    raw = {"request_id": " r1 ", "decision": "d", "error": 7, "text": "t"}
    assert parts(log) == [
        data("plan", **row, raw="free text"),
        data("plan", **row),
        data("plan", **row),
        {
            "type": "data-greenroom-permission",
            "id": "r1",
            "data": {
                "type": "permission",
                **SHOWN,
                **row,
                "request_id": "r1",
                "decision": "d",
                "raw": raw,
            },
        },
    ]


def test_8_2_an_envelope_stored_as_text_is_an_envelope(log: Log) -> None:
    envelope = {"schema": "greenroom.event.v1", "type": "agent_message", "text": " x "}
    log.text("agent_message", json.dumps(envelope))
    assert parts(log)[0]["text"] == " x "


def test_8_2_the_type_of_the_envelope_counts(log: Log) -> None:
    envelope = {"schema": "greenroom.event.v1", "type": "user_message", "text": "x"}
    log.text("plan", json.dumps(envelope))
    assert [message["role"] for message in log.fold()] == ["user"]


def test_8_2_an_envelope_with_a_bad_member_is_shown_as_raw(log: Log) -> None:
    envelope = {
        "schema": "greenroom.event.v1",
        "type": "tool_result",
        "tool_call_id": "c1",
        "tool_name": "Bash",
        "text": "t",
        "error": "e",
        "action": 7,
        "failure": "no object",
    }
    log.text("tool_result", json.dumps(envelope))
    part = parts(log)[0]
    assert (part["type"], part["state"], part["errorText"]) == ("tool-Bash", "output-error", "e")
    assert part["output"] == {
        "type": "tool_result",
        **SHOWN,
        "session_id": "sess",
        "text": "t",
        "title": "Bash",
        "tool_call_id": "c1",
        "error": "e",
        "raw": envelope,
    }


def test_8_2_content_that_can_not_be_rendered_is_nothing() -> None:
    def broken() -> str:
        raise ValueError("broken")

    row = SessionEvent(
        id="ev-1",
        session_id="s",
        epoch=1,
        sequence=1,
        turn_id="T",
        type="plan",
        agent_name="n",
        timestamp=datetime(2026, 1, 1),
        event=AgentEvent(type="plan"),
        content=broken,
    )
    (message,) = to_ui_messages([row])
    assert message.parts[0].data == {"type": "plan", "session_id": "s", "turn_id": "T"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["schema", "type", "text", "tool_input", "tool_result", "raw", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
CONTENT = (
    st.text(max_size=20)
    | JSON.map(json.dumps)
    | JSON.map(
        lambda value: json.dumps(
            {
                **(
                    value
                    if isinstance(value, dict)
                    else {"tool_result": value, "tool_input": value}
                ),
                "schema": "greenroom.event.v1",
            }
        )
    )
)
KINDS = st.sampled_from([kind.value for kind in EventType] + ["novel", ""])


@given(st.lists(st.tuples(KINDS, CONTENT, st.sampled_from(["", "A", "B"])), max_size=8))
def test_8_3_folding_never_raises_and_row_by_row_is_the_same(
    stored: list[tuple[str, str, str]],
) -> None:
    rows = []
    for number, (kind, content, turn) in enumerate(stored, 1):
        row = SessionEvent(
            id=f"ev-{number}",
            session_id="s",
            epoch=1,
            sequence=number,
            turn_id=turn,
            type=kind,
            agent_name="n",
            timestamp=NOW + timedelta(seconds=number),
            event=AgentEvent(type=kind, text=content),
            content=content,
        )
        rows.append(row)
    fold = TranscriptFold()
    for number, row in enumerate(rows, 1):
        fold.add(row)
        assert fold.messages() == to_ui_messages(rows[:number])
    messages = to_ui_messages(rows)
    assert len({message.id for message in messages}) == len(messages)
    assert all(message.parts for message in messages)
    for message in messages:
        json.dumps(to_json(message))


# -- texts and rendering ----------------------------------------------------------------------


def test_8_3_texts_of_messages() -> None:
    message = UIMessage(
        "m",
        "assistant",
        (
            UIMessagePart("text", text=" a "),
            UIMessagePart("reasoning", text="hidden"),
            UIMessagePart("text", text=" "),
            UIMessagePart("text", text="b"),
        ),
    )
    empty = UIMessage("n", "assistant", ())
    assert ui_message_text(message) == " a \nb"
    assert ui_message_text(empty) == ""
    assert join_ui_message_text([message, empty, message]) == "a \nb\na \nb"


def test_8_1_rendering_uses_the_names_of_the_ai_sdk_and_omits_what_is_empty() -> None:
    part = UIMessagePart(
        "tool-x",
        tool_name="x",
        tool_call_id="c",
        input={},
        raw_input=0,
        output={"type": "t"},
        error_text="e",
        preliminary=False,
    )
    message = UIMessage("m", "assistant", (part,), metadata={"a": 1})
    assert to_json(message) == {
        "id": "m",
        "role": "assistant",
        "metadata": {"a": 1},
        "parts": [
            {
                "type": "tool-x",
                "toolName": "x",
                "toolCallId": "c",
                "input": {},
                "rawInput": 0,
                "output": {"type": "t"},
                "errorText": "e",
                "preliminary": False,
            }
        ],
    }
