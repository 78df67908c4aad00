"""spec 01 16.1: what a stored state means when nobody runs the session."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from greenroom.actors.core.recovery import classify_inactive_meta_for_recovery, is_stalled
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.session import (
    SessionLivenessMeta,
    SessionMeta,
    StallState,
    State,
    StopReason,
)

NOW = datetime(2026, 4, 3, 10, tzinfo=UTC)
META = SessionMeta(
    id="sess-1",
    agent_name="demo",
    workspace_id="ws-1",
    state=State.ACTIVE,
    created_at=NOW,
    updated_at=NOW,
    acp_session_id="acp-1",
)


@pytest.mark.parametrize(
    ("state", "reason", "detail", "kind", "acp"),
    [
        (
            State.ACTIVE,
            StopReason.AGENT_CRASHED,
            "daemon crashed while session active",
            FailureKind.PROCESS_EXIT,
            "acp-1",
        ),
        (
            State.STOPPING,
            StopReason.AGENT_CRASHED,
            "stop did not complete",
            FailureKind.PROCESS_EXIT,
            "acp-1",
        ),
        (State.STARTING, StopReason.ERROR, "start did not complete", FailureKind.STARTUP, ""),
    ],
)
def test_rows(state, reason, detail, kind, acp):
    given = replace(META, state=state)
    meta, changed = classify_inactive_meta_for_recovery(NOW, given)
    assert changed
    assert (meta.state, meta.stop_reason, meta.stop_detail) == (State.STOPPED, reason, detail)
    assert (meta.failure, meta.acp_session_id) == (SessionFailure(kind, detail), acp)
    assert meta.updated_at == NOW
    assert given.state is state, "the input is not touched"


def test_a_stopped_session_is_left_alone():
    stopped = replace(META, state=State.STOPPED)
    assert classify_inactive_meta_for_recovery(NOW, stopped) == (stopped, False)


def test_a_deliberate_stop_reason_is_kept():
    stopping = replace(META, state=State.STOPPING, stop_reason=StopReason.USER_CANCELED)
    meta, _ = classify_inactive_meta_for_recovery(NOW, stopping)
    assert meta.stop_reason is StopReason.USER_CANCELED


@pytest.mark.parametrize(
    ("failure", "summary"),
    [
        (SessionFailure(FailureKind.TIMEOUT, "slow"), "slow"),
        (SessionFailure(FailureKind.TIMEOUT, " "), "daemon crashed while session active"),
    ],
)
def test_an_existing_failure_is_kept_and_only_filled(failure, summary):
    meta, _ = classify_inactive_meta_for_recovery(NOW, replace(META, failure=failure))
    assert meta.failure == SessionFailure(FailureKind.TIMEOUT, summary)


@pytest.mark.parametrize(
    ("liveness", "alive", "detail", "stall"),
    [
        (None, True, "daemon exited while session subprocess remained alive", None),
        (
            SessionLivenessMeta(9, NOW, NOW),
            True,
            "daemon exited while session subprocess remained alive",
            StallState.NONE,
        ),
        (
            SessionLivenessMeta(9, NOW, NOW - timedelta(seconds=120)),
            True,
            "daemon exited while stalled session subprocess remained alive",
            StallState.STALLED,
        ),
        (
            SessionLivenessMeta(9, NOW, NOW - timedelta(seconds=120)),
            False,
            "daemon crashed while session active",
            StallState.NONE,
        ),
        (
            SessionLivenessMeta(9, NOW, NOW, StallState.STALLED, "why"),
            True,
            "daemon exited while stalled session subprocess remained alive",
            StallState.STALLED,
        ),
    ],
)
def test_a_surviving_process_is_told(liveness, alive, detail, stall):
    given = replace(META, liveness=liveness)
    meta, _ = classify_inactive_meta_for_recovery(NOW, given, process_alive=alive)
    assert meta.stop_detail == detail
    assert (meta.liveness.stall_state if meta.liveness else None) == stall
    if stall is StallState.STALLED:
        assert meta.liveness.stall_reason in ("why", "activity_timeout")


def test_17_nothing_known_is_not_stalled():
    assert not is_stalled(NOW, None)
    assert not is_stalled(NOW, SessionLivenessMeta(9))
