"""What the stored meta of a session that nobody runs really means (01 16.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..model.failure import FailureKind, SessionFailure
from ..model.session import (
    SessionLivenessMeta,
    SessionMeta,
    StallState,
    State,
    StopReason,
)
from ..model.settings import DEFAULT_LIVENESS_STALL_AFTER


@dataclass(frozen=True, slots=True)
class _Row:
    reason: StopReason
    detail: str
    failure: FailureKind
    keeps_acp_id: bool


INTERRUPTED: dict[State, _Row] = {
    State.ACTIVE: _Row(
        StopReason.AGENT_CRASHED,
        "daemon crashed while session active",
        FailureKind.PROCESS_EXIT,
        True,
    ),
    State.STOPPING: _Row(
        StopReason.AGENT_CRASHED, "stop did not complete", FailureKind.PROCESS_EXIT, True
    ),
    State.STARTING: _Row(StopReason.ERROR, "start did not complete", FailureKind.STARTUP, False),
}
"""What a state on disk means when no runtime holds the session."""


def classify_inactive_meta_for_recovery(
    now: datetime, meta: SessionMeta, *, process_alive: bool = False
) -> tuple[SessionMeta, bool]:
    """The stopped view of a session that nobody runs, and whether it differs from what is stored.

    :param now: UTC.
    :param process_alive: whether the recorded agent process still runs, and is the same process.
    """
    row = INTERRUPTED.get(meta.state)
    if row is None:
        return meta, False
    stalled = process_alive and is_stalled(now, meta.liveness)
    reason, detail = meta.stop_reason or row.reason, row.detail
    if process_alive:
        what = "stalled session subprocess" if stalled else "session subprocess"
        detail = f"daemon exited while {what} remained alive"
    recovered = replace(
        meta,
        state=State.STOPPED,
        stop_reason=reason,
        stop_detail=detail,
        failure=_filled(meta.failure, row.failure, detail),
        acp_session_id=meta.acp_session_id if row.keeps_acp_id else "",
        liveness=_stall(meta.liveness, stalled),
    )
    return recovered, True


def is_stalled(now: datetime, liveness: SessionLivenessMeta | None) -> bool:
    """Whether a surviving agent showed no life for the stall window (01 17)."""
    if liveness is None:
        return False
    if liveness.stall_state is StallState.STALLED:
        return True
    last = liveness.last_update_at
    return last is not None and now - last >= timedelta(seconds=DEFAULT_LIVENESS_STALL_AFTER)


def _filled(failure: SessionFailure | None, kind: FailureKind, detail: str) -> SessionFailure:
    if failure is None:
        return SessionFailure(kind, detail)
    return failure if failure.summary.strip() else replace(failure, summary=detail)


def _stall(liveness: SessionLivenessMeta | None, stalled: bool) -> SessionLivenessMeta | None:
    if liveness is None:
        return None
    if not stalled:
        return replace(liveness, stall_state=StallState.NONE, stall_reason="")
    reason = liveness.stall_reason or "activity_timeout"
    return replace(liveness, stall_state=StallState.STALLED, stall_reason=reason)
