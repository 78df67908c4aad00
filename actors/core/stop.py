"""Why a session stopped: cause and exit to reason, detail and failure (01 9.1-9.3, 11.2)."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.failure import FailureKind, SessionFailure, bound_text, failure
from ..model.session import StopCause, StopReason

STOP_DETAIL_BYTES_MAX = 2048

REQUESTED = frozenset(
    {
        StopCause.FAILED,
        StopCause.USER_REQUESTED,
        StopCause.SHUTDOWN,
        StopCause.HOOK_DENIED,
        StopCause.TIMEOUT,
        StopCause.CLEAR_CONVERSATION,
    }
)


@dataclass(frozen=True, slots=True)
class _Row:
    reason: StopReason
    default_detail: str
    keeps_detail: bool
    failure: FailureKind | None
    default_failure: str


CAUSES: dict[StopCause, _Row] = {
    StopCause.NONE: _Row(StopReason.COMPLETED, "", False, None, ""),
    StopCause.COMPLETED: _Row(StopReason.COMPLETED, "", False, None, ""),
    StopCause.FAILED: _Row(StopReason.ERROR, "", True, FailureKind.UNKNOWN, "session failed"),
    StopCause.USER_REQUESTED: _Row(
        StopReason.USER_CANCELED, "", True, FailureKind.CANCELLATION, "session canceled by user"
    ),
    StopCause.SHUTDOWN: _Row(StopReason.SHUTDOWN, "daemon shutdown", True, None, ""),
    StopCause.HOOK_DENIED: _Row(
        StopReason.HOOK_STOPPED,
        "",
        True,
        FailureKind.PERMISSION,
        "session stopped by hook policy",
    ),
    StopCause.PROCESS_EXITED: _Row(
        StopReason.ERROR, "process exited unexpectedly", False, None, ""
    ),
    StopCause.TIMEOUT: _Row(StopReason.TIMEOUT, "activity_timeout", True, FailureKind.TIMEOUT, ""),
    StopCause.CLEAR_CONVERSATION: _Row(
        StopReason.COMPLETED, "conversation cleared", True, None, ""
    ),
}
"""One row per cause, for a process that left cleanly (01 9.1)."""

CRASH_REASONS: dict[StopCause, StopReason] = {
    StopCause.NONE: StopReason.ERROR,
    StopCause.PROCESS_EXITED: StopReason.AGENT_CRASHED,
}
"""The reason instead, when the process ended with an error."""

DETAIL_REASONS = (
    ("max_iterations", StopReason.MAX_ITERATIONS),
    ("loop_detected", StopReason.LOOP_DETECTED),
    ("budget_exceeded", StopReason.BUDGET_EXCEEDED),
)
"""What a caller's detail says about a requested stop; the first substring found."""

FAILED_START_REASONS: dict[FailureKind, StopReason] = {
    FailureKind.CANCELLATION: StopReason.USER_CANCELED,
    FailureKind.TIMEOUT: StopReason.TIMEOUT,
    FailureKind.PROCESS_EXIT: StopReason.AGENT_CRASHED,
}
"""Reason of a failed start by its failure (01 11.2); everything else is ``error``."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is stored about the end of a session."""

    reason: StopReason
    detail: str
    failure: SessionFailure | None


def merge_cause(
    cause: StopCause, detail: str, new_cause: StopCause, new_detail: str
) -> tuple[StopCause, str]:
    """The first cause wins; the same cause may bring a better detail (01 9.2)."""
    if new_cause is StopCause.NONE:
        return cause, detail
    if cause is StopCause.NONE:
        return new_cause, new_detail
    if cause is new_cause and new_detail.strip():
        return cause, new_detail
    return cause, detail


def classify_stop(
    cause: StopCause, detail: str, wait_error: str, wait_failure: SessionFailure | None
) -> Ending:
    """Reason, detail and failure of a stop (01 9.1).

    :param wait_error: how the process ended, blank when cleanly.
    :param wait_failure: the typed form of the same, if there is one.

    A requested stop keeps the failure of its cause even when the process ended badly.
    """
    row = CAUSES[cause]
    wait = bound_text(wait_error, STOP_DETAIL_BYTES_MAX)
    given = detail if row.keeps_detail and detail.strip() else row.default_detail
    reason = row.reason
    if cause is StopCause.USER_REQUESTED:
        lowered = detail.lower()
        reason = next((to for part, to in DETAIL_REASONS if part in lowered), reason)
    if wait and cause not in REQUESTED:
        reason = CRASH_REASONS.get(cause, reason)
        return Ending(reason, wait, wait_failure or failure(FailureKind.PROCESS_EXIT, wait))
    told = None if row.failure is None else failure(row.failure, given or row.default_failure)
    return Ending(reason, bound_text(given, STOP_DETAIL_BYTES_MAX), told)


def failed_start_reason(kind: FailureKind) -> StopReason:
    """The stop reason of a start that failed with ``kind`` (01 11.2)."""
    return FAILED_START_REASONS.get(kind, StopReason.ERROR)
