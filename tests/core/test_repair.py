"""spec 03 10: what a repair finds, what it refuses, and the rows it plans."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from greenroom.actors.core.repair import (
    INTERRUPTED_RESULT,
    INTERRUPTED_TURN,
    SEVERITIES,
    plan_session_repair,
    with_persisted,
)
from greenroom.actors.core.row_decoding import decode_problem
from greenroom.actors.model import repair as names
from greenroom.actors.model.event import AgentEvent, EventType, SessionEvent
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.repair import RepairAction, RepairOpts, RepairResult
from greenroom.actors.model.session import SessionMeta, State, StopReason
from greenroom.storage.format.envelope import content_text, encode_envelope, render_envelope

NOW = datetime(2026, 4, 3, 10, tzinfo=UTC)
FAILURE = SessionFailure(FailureKind.PROCESS_EXIT, "gone")


def meta_with(**changes):
    fields = {
        "state": State.STOPPED,
        "stop_reason": StopReason.AGENT_CRASHED,
        "failure": FAILURE,
        "acp_session_id": "acp-1",
        **changes,
    }
    return SessionMeta(
        id="sess-1",
        agent_name="demo",
        workspace_id="ws",
        created_at=NOW,
        updated_at=NOW,
        **fields,
    )


def row(sequence, kind, turn="t1", *, id="", told=None, content=None, **fields):
    event = AgentEvent(type=told or kind, timestamp=NOW, **fields)
    return SessionEvent(
        id=id or f"ev-{sequence}",
        session_id="sess-1",
        epoch=1,
        sequence=sequence,
        turn_id=turn,
        type=kind,
        agent_name="demo",
        timestamp=NOW,
        event=event,
        content=content_text(event) if content is None else content,
    )


def plan(*rows, meta=None, problems=None, **opts):
    return plan_session_repair(
        "sess-1", meta or meta_with(), RepairOpts(**opts), rows, problems=problems, now=NOW
    )


def found(result):
    return [(issue.code, issue.detail) for issue in result.issues]


def planned(result):
    return [(a.code, a.turn_id, a.tool_call_id) for a in result.actions]


TERMINAL = names.REPAIR_ACTION_APPEND_TERMINAL_ERROR
RESULT = names.REPAIR_ACTION_APPEND_INTERRUPTED_TOOL_RESULT
INTERRUPTED = (row(1, "user_message"), row(2, "agent_message"))


@pytest.mark.parametrize(
    ("sequences", "issues", "blocks"),
    [
        ((1, 2), [], False),
        ((1, 4), [("event_sequence_gap", "expected sequence 2, found 4")], False),
        ((2,), [("event_sequence_gap", "expected sequence 1, found 2")], False),
        ((0,), [("event_sequence_gap", "expected sequence 1, found 0")], False),
        ((1, 1), [("event_sequence_duplicate", "duplicate sequence 1")], True),
        (
            (1, 2, 3, 5, 4),
            [
                ("event_sequence_gap", "expected sequence 4, found 5"),
                ("event_sequence_regression", "sequence regressed from 5 to 4"),
            ],
            True,
        ),
        (
            (1, 5, 2, 6),
            [
                ("event_sequence_gap", "expected sequence 2, found 5"),
                ("event_sequence_regression", "sequence regressed from 5 to 2"),
            ],
            True,
        ),
    ],
)
def test_10_2_sequences_in_the_order_of_the_journal(sequences, issues, blocks):
    rows = [row(n, "user_message", id=f"ev-{i}") for i, n in enumerate(sequences)]
    result, events = plan(*rows)
    assert found(result) == issues
    assert bool(result.actions) is not blocks
    assert bool(events) is not blocks


def test_10_2_issues_of_a_row_in_their_order():
    rows = (
        row(1, "user_message"),
        row(3, "tool_call", told="tool_result"),
        row(3, "tool_call", id="b", turn="", turn_id="t9"),
        row(4, "agent_message", content="plain text"),
        row(5, "", told="tool_call"),
    )
    result, events = plan(*rows)
    assert [(i.code, i.severity, i.turn_id, i.event_id) for i in result.issues] == [
        ("event_sequence_gap", "warning", "t1", "ev-3"),
        ("event_type_mismatch", "error", "t1", "ev-3"),
        ("dangling_tool_call_missing_id", "warning", "t1", "ev-3"),
        ("event_sequence_duplicate", "error", "t9", "b"),
        ("dangling_tool_call_missing_id", "warning", "t9", "b"),
        ("invalid_event_json", "error", "t1", "ev-4"),
        ("dangling_tool_call_missing_id", "warning", "t1", "ev-5"),
    ]
    assert result.issues[1].detail == 'stored type "tool_call" does not match payload type ' + (
        '"tool_result"'
    )
    assert (result.actions, events) == ((), ())


def test_10_2_a_row_that_does_not_decode_is_skipped():
    bad = row(2, "tool_call", told="other")
    result, _ = plan(INTERRUPTED[0], bad, problems={"ev-2": "damaged"})
    assert found(result) == [("invalid_event_json", "damaged")]
    assert result.actions == ()
    assert plan(INTERRUPTED[0], bad, problems={})[0].issues[0].code == "event_type_mismatch"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", False),
        (" \n", False),
        ("null", False),
        ("{}", False),
        ('{"type":"done","unknown":5,"raw":[1],"failure":null}', False),
        ('{"usage":{"input_tokens":5,"timestamp":"2026-04-03T10:00:00Z"}}', False),
        ("plain text", True),
        ("[]", True),
        ('{"type":5}', True),
        ('{"schema":5}', True),
        ('{"tool_name":5}', True),
        ('{"failure":{"kind":"nope"}}', True),
        ('{"usage":{"input_tokens":"5"}}', True),
        ('{"runtime":[]}', True),
        ('{"zzz":' * 100_000, True),
        ('{"text":"\ud800"}', True),
    ],
)
def test_3_1_strict_decoding(content, problem):
    assert bool(decode_problem(content)) is problem


def test_3_1_what_is_stored_decodes():
    event = AgentEvent(type="error", failure=FAILURE, timestamp=NOW, runtime={"idle_seconds": 5})
    assert decode_problem(render_envelope(encode_envelope(event))) == ""


def test_10_2_severities_of_all_codes():
    codes = {getattr(names, n) for n in dir(names) if n.startswith("REPAIR_ISSUE_")}
    assert set(SEVERITIES) == codes
    assert len(codes) == 10


def test_10_3_gate_1_blocking_issues_leave_only_the_analysis():
    result, _ = plan(row(1, "user_message"), row(1, "done", id="b"), meta=meta_with())
    assert [issue.code for issue in result.issues] == ["event_sequence_duplicate"]


@pytest.mark.parametrize("rows", [(), (row(1, "session_stopped"),), (row(1, "done", turn=" "),)])
def test_10_3_gate_2_no_turn(rows):
    result, events = plan(*rows, meta=meta_with(state=State.ACTIVE))
    assert found(result) == [
        ("no_repairable_turn", "no prompt turn exists in the session event store")
    ]
    assert (result.issues[0].turn_id, result.actions, events) == ("", (), ())


@pytest.mark.parametrize("kind", ["done", "error"])
def test_10_3_gate_3_a_terminal_turn_still_gets_its_tool_results(kind):
    rows = (row(1, "user_message"), row(2, "tool_call", tool_call_id="c1"), row(3, kind))
    result, _ = plan(*rows)
    assert found(result) == [
        ("terminal_event_already_exists", "the final prompt turn already has a terminal event")
    ]
    assert result.issues[0].turn_id == "t1"
    assert planned(result) == [(RESULT, "t1", "c1")]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("state", [State.ACTIVE, State.STARTING, State.STOPPING])
def test_10_3_gate_4_only_stopped_sessions(state, dry_run, force):
    result, events = plan(*INTERRUPTED, meta=meta_with(state=state), dry_run=dry_run, force=force)
    assert found(result) == [("session_not_stopped", "repair only mutates stopped sessions")]
    assert (result.issues[0].turn_id, result.actions, events) == ("t1", (), ())


@pytest.mark.parametrize("reason", [None, *StopReason])
@pytest.mark.parametrize("force", [False, True])
def test_10_3_gate_5_deliberate_stops_require_force(reason, force):
    result, _ = plan(*INTERRUPTED, meta=meta_with(stop_reason=reason), force=force)
    if force or reason in ("agent_crashed", "error"):
        assert found(result) == []
        assert planned(result) == [(TERMINAL, "t1", "")]
    else:
        detail = f'stop reason "{reason or ""}" requires force before repair can mutate'
        assert found(result) == [("stop_reason_requires_force", detail)]
        assert (result.issues[0].turn_id, result.actions) == ("t1", ())


def test_10_3_results_by_id_then_one_terminal_error():
    rows = (
        row(1, "user_message"),
        row(2, "tool_call", tool_call_id="c2", title="bash"),
        row(3, "tool_call", tool_call_id="c1", title="old"),
        row(4, "tool_call", tool_call_id="c1", title="read"),
        row(5, "tool_call", tool_call_id="c1"),
        row(6, "tool_call", tool_call_id="c0"),
        row(7, "tool_result", tool_call_id="c0"),
        row(8, "tool_result"),
        row(9, "tool_call"),
    )
    result, events = plan(*rows)
    assert [(a.code, a.tool_call_id, a.tool_name) for a in result.actions] == [
        (RESULT, "c1", "read"),
        (RESULT, "c2", "bash"),
        (TERMINAL, "", ""),
    ]
    assert [e.type for e in events] == ["tool_result", "tool_result", "error"]
    assert not any(a.persisted or a.event_id for a in result.actions)


@pytest.mark.parametrize("kind", ["usage", "transcript_marker.created", "hook.dispatch.start"])
def test_10_2_rows_without_prompt_data_need_nothing(kind):
    result, _ = plan(row(1, kind))
    assert (found(result), result.actions) == ([], ())


@pytest.mark.parametrize(
    "kind",
    [
        *("synthetic_reentry", "thought", "plan", "runtime_progress", "runtime_warning"),
        *("permission", "system", "tool_result"),
    ],
)
def test_10_2_rows_with_prompt_data_need_a_terminal_error(kind):
    assert planned(plan(row(1, kind))[0]) == [(TERMINAL, "t1", "")]


@pytest.mark.parametrize("kind", ["transcript_marker.created", "hook.dispatch.start", "system"])
def test_10_2_a_trailing_row_in_a_fresh_turn_hides_nothing(kind):
    result, _ = plan(*INTERRUPTED, row(3, kind, turn="t2"))
    assert planned(result) == [(TERMINAL, "t1", "")]


def test_10_2_a_process_exit_in_a_later_turn_hides_nothing():
    rows = (
        row(1, "user_message"),
        row(2, "tool_call", tool_call_id="c1"),
        row(3, "error", turn="t2", failure=FAILURE),
        row(4, "session_stopped", turn="t3"),
    )
    assert planned(plan(*rows)[0]) == [(RESULT, "t1", "c1"), (TERMINAL, "t1", "")]


def test_10_2_the_final_turn_is_the_one_with_the_last_input():
    rows = (
        row(1, "user_message"),
        row(2, "done"),
        row(3, "user_message", turn="t2"),
        row(4, "agent_message", turn="t1"),
    )
    assert planned(plan(*rows)[0]) == [(TERMINAL, "t2", "")]
    steered = (*rows, row(5, "user_message", turn="t1"))
    assert found(plan(*steered)[0])[0][0] == "terminal_event_already_exists"


def test_10_2_turns_are_followed_by_sequence():
    rows = (row(1, "user_message"), row(2, "user_message", turn="t2"))
    for order in (rows, rows[::-1]):
        result, _ = plan_session_repair("sess-1", meta_with(), RepairOpts(), order, problems={})
        blocked = order is not rows
        assert planned(result) == ([] if blocked else [(TERMINAL, "t2", "")])


def test_10_2_the_turn_id_of_the_payload_stands_in():
    assert planned(plan(row(1, "user_message", turn="", turn_id="t7"))[0]) == [(TERMINAL, "t7", "")]


def test_10_3_a_dry_run_plans_and_appends_nothing():
    result, events = plan(*INTERRUPTED, dry_run=True)
    assert result == RepairResult("sess-1", (), (RepairAction(TERMINAL, "t1"),), persisted=False)
    assert events == ()


@pytest.mark.parametrize(("name", "title"), [("bash", "bash"), ("", "interrupted tool result")])
def test_10_4_the_row_of_a_tool_result_and_its_stored_form(name, title):
    _, (event, _) = plan(row(1, "user_message"), row(2, "tool_call", tool_call_id="c1", title=name))
    assert (event.type, event.turn_id, event.session_id, event.timestamp) == (
        EventType.TOOL_RESULT,
        "t1",
        "acp-1",
        NOW,
    )
    assert (event.tool_call_id, event.title, event.error) == ("c1", title, INTERRUPTED_RESULT)
    stored = content_text(event)
    assert '"raw":' not in stored
    assert f'"tool_name":"{title}"' in stored
    assert '"tool_error":true' in stored
    assert f'"error":"{INTERRUPTED_RESULT}","raw_output"' in stored
    told = {"repair": True, "toolName": name} if name else {"repair": True}
    assert event.raw.value["_meta"] == {"greenroom": told}
    assert event.raw.value["toolCallId"] == "c1"


@pytest.mark.parametrize("reason", [None, StopReason.ERROR])
def test_10_4_the_terminal_row(reason):
    _, (event,) = plan(*INTERRUPTED, meta=meta_with(stop_reason=reason), force=True)
    assert event == AgentEvent(
        type=EventType.ERROR,
        session_id="acp-1",
        turn_id="t1",
        timestamp=NOW,
        stop_reason=reason or "",
        error=INTERRUPTED_TURN,
        failure=FAILURE,
    )


def test_10_4_the_result_tells_what_was_appended():
    result, events = plan(row(1, "user_message"), row(2, "tool_call", tool_call_id="c1"))
    told = with_persisted(result, ["ev-8", "ev-9"])
    assert [(a.event_id, a.persisted) for a in told.actions] == [("ev-8", True), ("ev-9", True)]
    assert told.persisted
    assert len(events) == 2
    assert not with_persisted(RepairResult("sess-1"), []).persisted
    with pytest.raises(ValueError, match="zip"):
        with_persisted(result, ["ev-8"])


def test_10_3_a_second_run_plans_nothing():
    rows = [row(1, "user_message"), row(2, "tool_call", tool_call_id="c1", title="bash")]
    _, events = plan(*rows)
    for sequence, event in enumerate(events, start=3):
        rows.append(row(sequence, event.type, tool_call_id=event.tool_call_id, title=event.title))
    result, again = plan(*rows)
    assert [issue.code for issue in result.issues] == ["terminal_event_already_exists"]
    assert (result.actions, again) == ((), ())
