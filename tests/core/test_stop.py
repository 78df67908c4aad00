"""spec 01 9.1-9.3, 11.2: the table of causes, row by row."""

from __future__ import annotations

import pytest
from greenroom.actors.core.stop import (
    STOP_DETAIL_BYTES_MAX,
    classify_stop,
    failed_start_reason,
    merge_cause,
)
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.session import StopCause as C
from greenroom.actors.model.session import StopReason as R

CLEAN = [
    (C.NONE, "x", R.COMPLETED, "", None),
    (C.COMPLETED, "x", R.COMPLETED, "", None),
    (C.FAILED, "", R.ERROR, "", (FailureKind.UNKNOWN, "session failed")),
    (C.FAILED, "why", R.ERROR, "why", (FailureKind.UNKNOWN, "why")),
    (
        C.USER_REQUESTED,
        "",
        R.USER_CANCELED,
        "",
        (FailureKind.CANCELLATION, "session canceled by user"),
    ),
    (
        C.USER_REQUESTED,
        "Max_Iterations hit",
        R.MAX_ITERATIONS,
        "Max_Iterations hit",
        (FailureKind.CANCELLATION, "Max_Iterations hit"),
    ),
    (
        C.USER_REQUESTED,
        "loop_detected",
        R.LOOP_DETECTED,
        "loop_detected",
        (FailureKind.CANCELLATION, "loop_detected"),
    ),
    (
        C.USER_REQUESTED,
        "budget_exceeded",
        R.BUDGET_EXCEEDED,
        "budget_exceeded",
        (FailureKind.CANCELLATION, "budget_exceeded"),
    ),
    (C.SHUTDOWN, "", R.SHUTDOWN, "daemon shutdown", None),
    (C.SHUTDOWN, "bye", R.SHUTDOWN, "bye", None),
    (
        C.HOOK_DENIED,
        "",
        R.HOOK_STOPPED,
        "",
        (FailureKind.PERMISSION, "session stopped by hook policy"),
    ),
    (C.PROCESS_EXITED, "x", R.ERROR, "process exited unexpectedly", None),
    (C.TIMEOUT, "", R.TIMEOUT, "activity_timeout", (FailureKind.TIMEOUT, "activity_timeout")),
    (
        C.TIMEOUT,
        "prompt_deadline_exceeded",
        R.TIMEOUT,
        "prompt_deadline_exceeded",
        (FailureKind.TIMEOUT, "prompt_deadline_exceeded"),
    ),
    (C.CLEAR_CONVERSATION, "", R.COMPLETED, "conversation cleared", None),
]


@pytest.mark.parametrize(("cause", "detail", "reason", "stored", "failure"), CLEAN)
def test_9_1_a_clean_exit(cause, detail, reason, stored, failure):
    ending = classify_stop(cause, detail, "", None)
    assert (ending.reason, ending.detail) == (reason, stored)
    assert ending.failure == (None if failure is None else SessionFailure(*failure))


@pytest.mark.parametrize(
    ("cause", "reason"),
    [(C.NONE, R.ERROR), (C.COMPLETED, R.COMPLETED), (C.PROCESS_EXITED, R.AGENT_CRASHED)],
)
def test_9_1_an_exit_nobody_asked_for_keeps_its_error(cause, reason):
    told = SessionFailure(FailureKind.TRANSPORT, "pipe")
    assert classify_stop(cause, "", "died", told).failure == told
    ending = classify_stop(cause, "", "died", None)
    assert (ending.reason, ending.detail) == (reason, "died")
    assert ending.failure == SessionFailure(FailureKind.PROCESS_EXIT, "died")


def test_9_1_a_requested_stop_keeps_the_failure_of_its_cause():
    ending = classify_stop(C.USER_REQUESTED, "", "exit status 1", None)
    assert ending.reason is R.USER_CANCELED
    assert ending.failure is not None
    assert ending.failure.kind is FailureKind.CANCELLATION


def test_9_1_detail_is_bounded():
    ending = classify_stop(C.NONE, "", "x" * 5000, None)
    assert len(ending.detail.encode()) == STOP_DETAIL_BYTES_MAX


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ((C.NONE, "", C.NONE, "x"), (C.NONE, "")),
        ((C.NONE, "old", C.SHUTDOWN, ""), (C.SHUTDOWN, "")),
        ((C.SHUTDOWN, "a", C.SHUTDOWN, "b"), (C.SHUTDOWN, "b")),
        ((C.SHUTDOWN, "a", C.SHUTDOWN, " "), (C.SHUTDOWN, "a")),
        ((C.SHUTDOWN, "a", C.TIMEOUT, "b"), (C.SHUTDOWN, "a")),
    ],
)
def test_9_2_first_cause_wins(given, merged):
    assert merge_cause(*given) == merged


def test_11_2_reasons_of_a_failed_start():
    rows = {kind: failed_start_reason(kind) for kind in FailureKind}
    assert rows.pop(FailureKind.CANCELLATION) is R.USER_CANCELED
    assert rows.pop(FailureKind.TIMEOUT) is R.TIMEOUT
    assert rows.pop(FailureKind.PROCESS_EXIT) is R.AGENT_CRASHED
    assert set(rows.values()) == {R.ERROR}
