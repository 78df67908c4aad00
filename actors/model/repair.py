"""What a repair of a session's history found and did (03 10)."""

from __future__ import annotations

from dataclasses import dataclass

REPAIR_SEVERITY_INFO = "info"
REPAIR_SEVERITY_WARNING = "warning"
REPAIR_SEVERITY_ERROR = "error"

REPAIR_ISSUE_SEQUENCE_GAP = "event_sequence_gap"
REPAIR_ISSUE_SEQUENCE_DUPLICATE = "event_sequence_duplicate"
REPAIR_ISSUE_SEQUENCE_REGRESSION = "event_sequence_regression"
REPAIR_ISSUE_INVALID_EVENT_JSON = "invalid_event_json"
REPAIR_ISSUE_EVENT_TYPE_MISMATCH = "event_type_mismatch"
REPAIR_ISSUE_DANGLING_TOOL_CALL_MISSING_ID = "dangling_tool_call_missing_id"
REPAIR_ISSUE_NO_REPAIRABLE_TURN = "no_repairable_turn"
REPAIR_ISSUE_TERMINAL_EVENT_ALREADY_EXISTS = "terminal_event_already_exists"
REPAIR_ISSUE_SESSION_NOT_STOPPED = "session_not_stopped"
REPAIR_ISSUE_STOP_REASON_REQUIRES_FORCE = "stop_reason_requires_force"

REPAIR_ACTION_APPEND_INTERRUPTED_TOOL_RESULT = "append_interrupted_tool_result"
REPAIR_ACTION_APPEND_TERMINAL_ERROR = "append_terminal_error"


@dataclass(frozen=True, slots=True)
class RepairOpts:
    """How to repair.

    :param dry_run: plan only, change nothing.
    :param force: also repair a session that was stopped on purpose.
    """

    dry_run: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class RepairIssue:
    """One finding; ``code`` and ``severity`` are the constants above."""

    code: str
    severity: str
    turn_id: str = ""
    event_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RepairAction:
    """One row that is missing, and whether it was appended."""

    code: str
    turn_id: str
    event_id: str = ""
    tool_call_id: str = ""
    tool_name: str = ""
    persisted: bool = False


@dataclass(frozen=True, slots=True)
class RepairResult:
    """Findings in row order, actions in the order of their rows."""

    session_id: str
    issues: tuple[RepairIssue, ...] = ()
    actions: tuple[RepairAction, ...] = ()
    persisted: bool = False
