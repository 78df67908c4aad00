"""Plans the repair of an interrupted history: rows are appended, never edited (03 10).

Analysis finds issues row by row (10.2), the gates decide whether anything may be appended (10.3),
and the plan closes the final turn (10.4):

====  ===============================================  =============================  =====
gate  condition                                        issue                          goes
====  ===============================================  =============================  =====
1     a blocking issue was found                       (those of the analysis)        stop
2     no turn                                          no_repairable_turn             stop
3     the final turn has a terminal event              terminal_event_already_exists  on
4     the session is not stopped                       session_not_stopped            stop
5     it was stopped on purpose, and not ``force``     stop_reason_requires_force     stop
====  ===============================================  =============================  =====
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from ..model.event import INPUT_TYPES, NO_TIME, AgentEvent, EventType, RawJSON, SessionEvent
from ..model.repair import (
    REPAIR_ACTION_APPEND_INTERRUPTED_TOOL_RESULT,
    REPAIR_ACTION_APPEND_TERMINAL_ERROR,
    REPAIR_ISSUE_DANGLING_TOOL_CALL_MISSING_ID,
    REPAIR_ISSUE_EVENT_TYPE_MISMATCH,
    REPAIR_ISSUE_INVALID_EVENT_JSON,
    REPAIR_ISSUE_NO_REPAIRABLE_TURN,
    REPAIR_ISSUE_SEQUENCE_DUPLICATE,
    REPAIR_ISSUE_SEQUENCE_GAP,
    REPAIR_ISSUE_SEQUENCE_REGRESSION,
    REPAIR_ISSUE_SESSION_NOT_STOPPED,
    REPAIR_ISSUE_STOP_REASON_REQUIRES_FORCE,
    REPAIR_ISSUE_TERMINAL_EVENT_ALREADY_EXISTS,
    REPAIR_SEVERITY_ERROR,
    REPAIR_SEVERITY_INFO,
    REPAIR_SEVERITY_WARNING,
    RepairAction,
    RepairIssue,
    RepairOpts,
    RepairResult,
)
from ..model.session import SessionMeta, State, StopReason
from .row_decoding import decode_problem

INTERRUPTED_RESULT = "Tool call interrupted before a result was persisted."
INTERRUPTED_RESULT_TITLE = "interrupted tool result"
INTERRUPTED_TURN = "Session interrupted before a terminal prompt event was persisted."

SEVERITIES = {
    REPAIR_ISSUE_SEQUENCE_GAP: REPAIR_SEVERITY_WARNING,
    REPAIR_ISSUE_SEQUENCE_DUPLICATE: REPAIR_SEVERITY_ERROR,
    REPAIR_ISSUE_SEQUENCE_REGRESSION: REPAIR_SEVERITY_ERROR,
    REPAIR_ISSUE_INVALID_EVENT_JSON: REPAIR_SEVERITY_ERROR,
    REPAIR_ISSUE_EVENT_TYPE_MISMATCH: REPAIR_SEVERITY_ERROR,
    REPAIR_ISSUE_DANGLING_TOOL_CALL_MISSING_ID: REPAIR_SEVERITY_WARNING,
    REPAIR_ISSUE_NO_REPAIRABLE_TURN: REPAIR_SEVERITY_INFO,
    REPAIR_ISSUE_TERMINAL_EVENT_ALREADY_EXISTS: REPAIR_SEVERITY_INFO,
    REPAIR_ISSUE_SESSION_NOT_STOPPED: REPAIR_SEVERITY_ERROR,
    REPAIR_ISSUE_STOP_REASON_REQUIRES_FORCE: REPAIR_SEVERITY_ERROR,
}
BLOCKING = frozenset(
    {
        REPAIR_ISSUE_SEQUENCE_DUPLICATE,
        REPAIR_ISSUE_SEQUENCE_REGRESSION,
        REPAIR_ISSUE_INVALID_EVENT_JSON,
        REPAIR_ISSUE_EVENT_TYPE_MISMATCH,
    }
)
"""Found in the history, these forbid to append to it."""
STOPPING = frozenset({REPAIR_ISSUE_SESSION_NOT_STOPPED, REPAIR_ISSUE_STOP_REASON_REQUIRES_FORCE})
"""Gates at which planning ends."""
CRASH_REASONS = frozenset({StopReason.AGENT_CRASHED, StopReason.ERROR})
"""Ends that nobody wanted: they need no ``force``."""
TERMINAL_TYPES = frozenset({EventType.DONE, EventType.ERROR})
PROMPT_TYPES = TERMINAL_TYPES | {
    EventType.USER_MESSAGE,
    EventType.SYNTHETIC_REENTRY,
    EventType.AGENT_MESSAGE,
    EventType.THOUGHT,
    EventType.PLAN,
    EventType.RUNTIME_PROGRESS,
    EventType.RUNTIME_WARNING,
    EventType.PERMISSION,
    EventType.SYSTEM,
    EventType.TOOL_CALL,
    EventType.TOOL_RESULT,
}
"""Rows that make a turn one of a prompt; usage, markers and hook rows do not."""


@dataclass(slots=True)
class _Turn:
    turn_id: str
    has_input: bool = False
    has_prompt_data: bool = False
    terminal: bool = False
    calls: dict[str, str] = field(default_factory=dict)
    results: set[str] = field(default_factory=set)


def plan_session_repair(
    session_id: str,
    meta: SessionMeta,
    opts: RepairOpts,
    rows: Sequence[SessionEvent],
    *,
    problems: Mapping[str, str] | None = None,
    now: datetime = NO_TIME,
) -> tuple[RepairResult, tuple[AgentEvent, ...]]:
    """What is wrong with a history, and the rows that repair it (03 10).

    :param meta: after recovery (01 16).
    :param rows: all rows, in the order of the journal.
    :param problems: row id -> why its content can not be decoded; found out here if ``None``.
    :param now: the time of the new rows, UTC.
    :returns: the result with nothing persisted yet, and the rows to append as one transaction, one
        for each action, in order; none for a dry run.
    """
    if problems is None:
        found = ((row.id, decode_problem(row.content)) for row in rows)
        problems = {row_id: problem for row_id, problem in found if problem}
    issues = _analyse(rows, problems)
    turn = None
    if not any(issue.code in BLOCKING for issue in issues):
        turn = _final_turn(_turns(rows))
        issues.extend(_gates(turn, meta, opts))
    stopped = turn is None or any(issue.code in STOPPING for issue in issues)
    actions = () if turn is None or stopped else _actions(turn)
    result = RepairResult(session_id, tuple(issues), actions)
    if opts.dry_run:
        return result, ()
    return result, tuple(_row(action, meta, now) for action in actions)


def with_persisted(result: RepairResult, event_ids: Sequence[str]) -> RepairResult:
    """The result after its rows were appended under these ids, one for each action."""
    actions = tuple(
        replace(action, event_id=event_id, persisted=True)
        for action, event_id in zip(result.actions, event_ids, strict=True)
    )
    return replace(result, actions=actions, persisted=bool(actions))


def _issue(code: str, turn_id: str = "", event_id: str = "", detail: str = "") -> RepairIssue:
    return RepairIssue(code, SEVERITIES[code], turn_id, event_id, detail)


def _analyse(rows: Iterable[SessionEvent], problems: Mapping[str, str]) -> list[RepairIssue]:
    """Issues in the order of the journal: a sorted one would never show a regression."""
    issues: list[RepairIssue] = []
    previous = 0
    for row in rows:
        turn_id = _turn_id(row)
        if row.sequence != previous + 1:
            code, detail = _sequence_issue(previous, row.sequence)
            issues.append(_issue(code, turn_id, row.id, detail))
        previous = max(previous, row.sequence)
        if row.id in problems:
            detail = problems[row.id]
            issues.append(_issue(REPAIR_ISSUE_INVALID_EVENT_JSON, turn_id, row.id, detail))
            continue
        stored, told = row.type.strip(), row.event.type.strip()
        if stored and told and stored != told:
            detail = f'stored type "{stored}" does not match payload type "{told}"'
            issues.append(_issue(REPAIR_ISSUE_EVENT_TYPE_MISMATCH, turn_id, row.id, detail))
        if _type(row) == EventType.TOOL_CALL and not row.event.tool_call_id.strip():
            issues.append(_issue(REPAIR_ISSUE_DANGLING_TOOL_CALL_MISSING_ID, turn_id, row.id))
    return issues


def _sequence_issue(previous: int, found: int) -> tuple[str, str]:
    if previous > 0 and found == previous:
        return REPAIR_ISSUE_SEQUENCE_DUPLICATE, f"duplicate sequence {found}"
    if previous > 0 and found < previous:
        detail = f"sequence regressed from {previous} to {found}"
        return REPAIR_ISSUE_SEQUENCE_REGRESSION, detail
    return REPAIR_ISSUE_SEQUENCE_GAP, f"expected sequence {previous + 1}, found {found}"


def _turns(rows: Iterable[SessionEvent]) -> list[_Turn]:
    """The turns, each at the place of its last input row, or of its last row without one."""
    turns: dict[str, _Turn] = {}
    for row in sorted(rows, key=lambda r: (r.sequence, r.id)):
        turn_id, kind = _turn_id(row), _type(row)
        if not turn_id or kind == EventType.SESSION_STOPPED:
            continue
        turn = turns.get(turn_id) or _Turn(turn_id)
        if kind in INPUT_TYPES or not turn.has_input:
            turns.pop(turn_id, None)
            turns[turn_id] = turn
        _add(turn, kind, row.event)
    return list(turns.values())


def _add(turn: _Turn, kind: str, event: AgentEvent) -> None:
    turn.has_input = turn.has_input or kind in INPUT_TYPES
    turn.has_prompt_data = turn.has_prompt_data or kind in PROMPT_TYPES
    turn.terminal = turn.terminal or kind in TERMINAL_TYPES
    call_id = event.tool_call_id.strip()
    if kind == EventType.TOOL_CALL and call_id:
        turn.calls[call_id] = event.title.strip() or turn.calls.get(call_id, "")
    if kind == EventType.TOOL_RESULT:
        turn.results.add(call_id)


def _final_turn(turns: Sequence[_Turn]) -> _Turn | None:
    """The last turn with input; a row of the daemon's own after it does not hide it."""
    ranked = ((t.has_input, t.has_prompt_data, place) for place, t in enumerate(turns))
    best = max(ranked, default=None)
    return None if best is None else turns[best[2]]


def _gates(turn: _Turn | None, meta: SessionMeta, opts: RepairOpts) -> list[RepairIssue]:
    if turn is None:
        detail = "no prompt turn exists in the session event store"
        return [_issue(REPAIR_ISSUE_NO_REPAIRABLE_TURN, detail=detail)]
    issues = []
    if turn.terminal:
        detail = "the final prompt turn already has a terminal event"
        code = REPAIR_ISSUE_TERMINAL_EVENT_ALREADY_EXISTS
        issues.append(_issue(code, turn.turn_id, detail=detail))
    if meta.state is not State.STOPPED:
        detail = "repair only mutates stopped sessions"
        issues.append(_issue(REPAIR_ISSUE_SESSION_NOT_STOPPED, turn.turn_id, detail=detail))
    elif not opts.force and meta.stop_reason not in CRASH_REASONS:
        reason = meta.stop_reason or ""
        detail = f'stop reason "{reason}" requires force before repair can mutate'
        code = REPAIR_ISSUE_STOP_REASON_REQUIRES_FORCE
        issues.append(_issue(code, turn.turn_id, detail=detail))
    return issues


def _actions(turn: _Turn) -> tuple[RepairAction, ...]:
    dangling = sorted(turn.calls.keys() - turn.results)
    actions = [
        RepairAction(
            REPAIR_ACTION_APPEND_INTERRUPTED_TOOL_RESULT,
            turn.turn_id,
            tool_call_id=call_id,
            tool_name=turn.calls[call_id],
        )
        for call_id in dangling
    ]
    if turn.has_prompt_data and not turn.terminal:
        actions.append(RepairAction(REPAIR_ACTION_APPEND_TERMINAL_ERROR, turn.turn_id))
    return tuple(actions)


def _row(action: RepairAction, meta: SessionMeta, now: datetime) -> AgentEvent:
    if action.code == REPAIR_ACTION_APPEND_TERMINAL_ERROR:
        return AgentEvent(
            type=EventType.ERROR,
            session_id=meta.acp_session_id,
            turn_id=action.turn_id,
            timestamp=now,
            stop_reason=meta.stop_reason or "",
            error=INTERRUPTED_TURN,
            failure=meta.failure,
        )
    return AgentEvent(
        type=EventType.TOOL_RESULT,
        session_id=meta.acp_session_id,
        turn_id=action.turn_id,
        timestamp=now,
        title=action.tool_name or INTERRUPTED_RESULT_TITLE,
        tool_call_id=action.tool_call_id,
        error=INTERRUPTED_RESULT,
        raw=RawJSON(msgspec.json.encode(_raw_result(action))),
    )


def _raw_result(action: RepairAction) -> dict[str, Any]:
    text = {"type": "text", "text": INTERRUPTED_RESULT}
    repair: dict[str, Any] = {"repair": True}
    if action.tool_name:
        repair["toolName"] = action.tool_name
    return {
        "sessionUpdate": "tool_call_update",
        "status": "failed",
        "toolCallId": action.tool_call_id,
        "rawOutput": {"stderr": INTERRUPTED_RESULT, "error": INTERRUPTED_RESULT},
        "content": [{"type": "content", "content": text}],
        "_meta": {"greenroom": repair},
    }


def _turn_id(row: SessionEvent) -> str:
    return row.turn_id.strip() or row.event.turn_id.strip()


def _type(row: SessionEvent) -> str:
    return row.type.strip() or row.event.type.strip()
