"""spec 05 2.1-2.4, 2.9: the health row and who may be woken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from greenroom.actors.core.health import (
    HealthInputs,
    compute_health,
    is_changed,
    with_eligibility,
)
from greenroom.actors.errors import (
    CallerError,
    InvalidSessionHealthError,
    SessionHealthNotFoundError,
)
from greenroom.actors.model.activity import SessionActivityMeta
from greenroom.actors.model.health import (
    IneligibilityReason,
    SessionHealth,
    SessionHealthListQuery,
)
from greenroom.actors.model.session import (
    SessionInfo,
    SessionLineage,
    SessionLivenessMeta,
    SessionType,
    StallState,
    State,
)

NOW = datetime(2026, 4, 3, 10, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)


def info_with(state, liveness=None):
    return SessionInfo(
        id="sess-1",
        name="",
        agent_name="demo",
        provider="p",
        model="",
        reasoning_effort="",
        workspace_id="ws",
        workspace="/ws",
        channel="",
        type=SessionType.USER,
        lineage=SessionLineage("sess-1"),
        state=state,
        stop_reason=None,
        stop_detail="",
        failure=None,
        acp_session_id="",
        liveness=liveness,
    )


STALL = SessionLivenessMeta(stall_state=StallState.STALLED, stall_reason="activity_timeout")
PREVIOUS = SessionHealth(
    session_id="sess-1",
    workspace_id="ws",
    agent_name="demo",
    state="idle",
    health="healthy",
    last_activity_at=EARLIER,
    last_presence_at=EARLIER,
    last_error="was bad",
    updated_at=EARLIER,
)


@pytest.mark.parametrize(
    ("state", "liveness", "prompt", "attachable", "expected"),
    [
        (State.ACTIVE, None, True, True, ("prompting", "healthy", "session_prompt_active")),
        (State.ACTIVE, None, False, False, ("detached", "healthy", "session_not_attachable")),
        (State.ACTIVE, STALL, False, True, ("idle", "degraded", "session_health_hung")),
        (State.ACTIVE, STALL, True, True, ("prompting", "degraded", "session_health_hung")),
        (State.ACTIVE, None, False, True, ("idle", "healthy", "")),
        (State.STOPPED, STALL, False, False, ("stopped", "dead", "session_health_dead")),
        (State.STARTING, None, False, False, ("detached", "unknown", "session_health_unknown")),
        (State.STARTING, STALL, False, False, ("detached", "degraded", "session_health_hung")),
        (State.STOPPING, None, True, True, ("detached", "unknown", "session_health_unknown")),
        (None, None, False, False, ("detached", "unknown", "session_health_unknown")),
    ],
)
def test_2_3_worked_cases(state, liveness, prompt, attachable, expected):
    info = None if state is None else info_with(state, liveness)
    inputs = HealthInputs(active_prompt=prompt, attachable=attachable)
    row = compute_health(info, None, NOW, inputs, session_id="sess-1")
    assert (row.state, row.health, row.ineligibility_reason) == expected
    assert row.eligible_for_wake is (expected[2] == "")
    assert (row.active_prompt, row.attachable, row.updated_at) == (prompt, attachable, NOW)
    assert row.session_id == "sess-1"
    if info is not None:
        assert row.validate() is row


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"health": "stale", "active_prompt": True}, "session_health_stale"),
        ({"health": "dead"}, "session_health_dead"),
        ({"health": "unknown"}, "session_health_unknown"),
        ({"health": "degraded", "active_prompt": True}, "session_health_hung"),
        ({"active_prompt": True, "attachable": False}, "session_prompt_active"),
        ({"state": "prompting"}, "session_prompt_active"),
        ({"attachable": False}, "session_not_attachable"),
        ({"state": "detached"}, "session_not_attachable"),
        ({"state": "stopped"}, "session_unhealthy"),
        ({}, ""),
    ],
)
def test_2_3_eligibility_first_match(changes, reason):
    row = with_eligibility(replace(PREVIOUS, **{"attachable": True, **changes}))
    assert (row.ineligibility_reason, row.eligible_for_wake) == (reason, not reason)


def test_2_3_activity_comes_from_the_writer_then_the_record_then_the_row():
    active = info_with(State.ACTIVE)
    at = compute_health(active, PREVIOUS, NOW, HealthInputs(activity_at=LATER))
    assert at.last_activity_at == LATER
    seen = SimpleNamespace(
        stall_state=StallState.NONE, activity=SessionActivityMeta(last_activity_at=NOW)
    )
    assert (
        compute_health(
            info_with(State.ACTIVE, seen), PREVIOUS, NOW, HealthInputs()
        ).last_activity_at
        == NOW
    )
    kept = compute_health(active, PREVIOUS, NOW, HealthInputs())
    assert kept.last_activity_at == EARLIER
    assert compute_health(active, None, NOW, HealthInputs()).last_activity_at is None


def test_2_4_presence_moves_only_when_touched():
    active = info_with(State.ACTIVE)
    touched = compute_health(active, PREVIOUS, NOW, HealthInputs(touch_presence=True))
    assert (touched.last_presence_at, touched.last_activity_at) == (NOW, EARLIER)
    prompting = compute_health(active, PREVIOUS, NOW, HealthInputs(active_prompt=True))
    assert prompting.last_presence_at == EARLIER


def test_2_4_updated_at_never_goes_back():
    row = compute_health(None, replace(PREVIOUS, updated_at=LATER), NOW, HealthInputs())
    assert (row.updated_at, row.session_id, row.workspace_id, row.agent_name) == (
        LATER,
        "sess-1",
        "ws",
        "demo",
    )


def test_2_3_the_last_error_stays_until_the_session_is_healthy():
    sick = info_with(State.ACTIVE, STALL)
    assert compute_health(sick, PREVIOUS, NOW, HealthInputs()).last_error == "was bad"
    told = compute_health(sick, PREVIOUS, NOW, HealthInputs(last_error="worse"))
    assert told.last_error == "worse"
    assert compute_health(info_with(State.ACTIVE), PREVIOUS, NOW, HealthInputs()).last_error == ""
    long = compute_health(sick, None, NOW, HealthInputs(last_error="ü" * 5000))
    assert len(long.last_error.encode()) <= 2048


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({}, False),
        ({"updated_at": NOW, "last_error": "", "last_activity_at": NOW}, False),
        ({"state": "prompting"}, True),
        ({"health": "dead"}, True),
        ({"eligible_for_wake": True}, True),
        ({"ineligibility_reason": "session_unhealthy"}, True),
    ],
)
def test_2_9_what_the_hook_is_told(changes, changed):
    assert is_changed(PREVIOUS, replace(PREVIOUS, **changes)) is changed
    assert is_changed(None, PREVIOUS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"session_id": " ", "workspace_id": ""}, "session_id"),
        ({"workspace_id": "", "agent_name": ""}, "workspace_id"),
        ({"agent_name": " ", "state": "x"}, "agent_name"),
        ({"state": "x", "health": "x"}, "state"),
        ({"health": "x", "ineligibility_reason": "x"}, "health"),
        ({"ineligibility_reason": "x", "updated_at": None}, "ineligibility_reason"),
        ({"updated_at": None}, "updated_at"),
    ],
)
def test_2_2_the_first_bad_member_is_named(changes, field):
    with pytest.raises(InvalidSessionHealthError) as caught:
        replace(PREVIOUS, **changes).validate()
    assert caught.value.field == field
    assert issubclass(SessionHealthNotFoundError, CallerError)


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"state": "x"}, "state"), ({"health": "x"}, "health"), ({"limit": -1}, "limit")],
)
def test_2_2_a_bad_query_is_refused(fields, field):
    with pytest.raises(InvalidSessionHealthError) as caught:
        SessionHealthListQuery(**fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({}, True),
        ({"session_id": "sess-1", "workspace_id": "ws", "agent_name": "demo"}, True),
        ({"state": "idle", "health": "healthy", "eligible_for_wake": False, "limit": 1}, True),
        ({"session_id": "sess-2"}, False),
        ({"agent_name": "other"}, False),
        ({"workspace_id": "other"}, False),
        ({"state": "stopped"}, False),
        ({"health": "dead"}, False),
        ({"eligible_for_wake": True}, False),
    ],
)
def test_2_2_query(fields, matches):
    assert SessionHealthListQuery(**fields).matches(PREVIOUS) is matches


def test_2_1_the_reasons_are_a_closed_set():
    assert len(IneligibilityReason) == 8
