"""spec 01 18: badges first match by first match, and who may attach."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from greenroom.actors.core.badge import (
    ROWS,
    Badge,
    BadgeInputs,
    attachable_for_info,
    badge_for_health,
    badge_for_info,
    canonical_badge,
)
from greenroom.actors.model.activity import SessionActivityMeta
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.health import SessionHealth
from greenroom.actors.model.session import (
    SessionInfo,
    SessionLineage,
    SessionLivenessMeta,
    SessionType,
    StallState,
    State,
)

NOW = datetime(2026, 4, 3, 10, tzinfo=UTC)
AUTH = SessionFailure(FailureKind.PROVIDER_AUTH)
DENIED = SessionFailure(FailureKind.PERMISSION)
BROKEN = SessionFailure(FailureKind.PROCESS_EXIT)
CANCELLED = SessionFailure(FailureKind.CANCELLATION)
STALL = SessionLivenessMeta(stall_state=StallState.STALLED, stall_reason="activity_timeout")


@pytest.mark.parametrize(
    ("inputs", "badge"),
    [
        (BadgeInputs("stopped", failure=BROKEN, stalled=True), Badge.FAILED),
        (BadgeInputs(health_state="stopped", failure=AUTH, pending_auth=True), Badge.FAILED),
        (BadgeInputs("stopped", failure=CANCELLED), Badge.STOPPED),
        (BadgeInputs("stopped", pending_auth=True, stalled=True), Badge.STOPPED),
        (BadgeInputs("active", health_state="stopped"), Badge.STOPPED),
        (BadgeInputs("active", pending_auth=True, stalled=True), Badge.WAITING_FOR_AUTH),
        (BadgeInputs("active", failure=AUTH), Badge.WAITING_FOR_AUTH),
        (BadgeInputs("active", failure=DENIED), Badge.WAITING_FOR_AUTH),
        (BadgeInputs("active", stalled=True, health="degraded"), Badge.HUNG),
        (BadgeInputs("active", health="dead"), Badge.HUNG),
        (BadgeInputs("active", health="stale", active_prompt=True), Badge.HUNG),
        (BadgeInputs("active", ineligibility_reason="session_health_hung"), Badge.HUNG),
        (BadgeInputs("active", health="degraded", active_prompt=True), Badge.UNHEALTHY),
        (BadgeInputs("active", ineligibility_reason="session_unhealthy"), Badge.UNHEALTHY),
        (BadgeInputs("starting"), Badge.RUNNING),
        (BadgeInputs("stopping"), Badge.RUNNING),
        (BadgeInputs("active", active_prompt=True), Badge.RUNNING),
        (BadgeInputs(health_state="prompting", health="healthy"), Badge.RUNNING),
        (BadgeInputs("active", failure=BROKEN), Badge.IDLE),
        (BadgeInputs(health_state="idle"), Badge.IDLE),
        (BadgeInputs(health_state="detached"), Badge.IDLE),
        (BadgeInputs(), Badge.UNKNOWN),
        (BadgeInputs("orphaned"), Badge.UNKNOWN),
    ],
)
def test_18_1_first_match(inputs, badge):
    assert canonical_badge(inputs) is badge


def test_18_1_tokens():
    assert len(Badge) == 8
    assert {badge for _, badge in ROWS} | {Badge.UNKNOWN} == set(Badge)


def info_with(state=State.ACTIVE, failure=None, liveness=None):
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
        failure=failure,
        acp_session_id="",
        liveness=liveness,
    )


def doing(turn_id):
    return SimpleNamespace(
        stall_state=StallState.NONE, activity=SessionActivityMeta(turn_id=turn_id)
    )


@pytest.mark.parametrize(
    ("info", "badge"),
    [
        (None, Badge.UNKNOWN),
        (info_with(), Badge.IDLE),
        (info_with(liveness=SessionLivenessMeta(5)), Badge.IDLE),
        (info_with(liveness=doing("t1")), Badge.RUNNING),
        (info_with(liveness=doing(" ")), Badge.IDLE),
        (info_with(liveness=STALL), Badge.HUNG),
        (info_with(State.STOPPED, BROKEN), Badge.FAILED),
        (info_with(State.STOPPED), Badge.STOPPED),
    ],
)
def test_18_1_badge_for_info(info, badge):
    assert badge_for_info(info) is badge


def health_with(**changes):
    fields = {"state": "idle", "health": "healthy", **changes}
    return SessionHealth("sess-1", "ws", "demo", **fields)


@pytest.mark.parametrize(
    ("info", "health", "badge"),
    [
        (None, health_with(), Badge.IDLE),
        (None, health_with(state="stopped", health="dead"), Badge.STOPPED),
        (info_with(State.STOPPED, BROKEN), health_with(), Badge.FAILED),
        (info_with(liveness=STALL), health_with(), Badge.IDLE),
        (info_with(), health_with(active_prompt=True), Badge.RUNNING),
        (info_with(), health_with(ineligibility_reason="session_health_hung"), Badge.HUNG),
    ],
)
def test_18_1_badge_for_health_does_not_use_the_stall_of_the_info(info, health, badge):
    assert badge_for_health(info, health) is badge


@pytest.mark.parametrize(
    ("info", "attachable"),
    [
        (None, False),
        (info_with(), True),
        (info_with(liveness=doing("t1")), True),
        (info_with(State.STARTING), False),
        (info_with(State.STOPPING), False),
        (info_with(State.STOPPED), False),
        (info_with(failure=AUTH), False),
        (info_with(failure=CANCELLED), False),
        (info_with(liveness=STALL), False),
    ],
)
def test_18_2_attachable(info, attachable):
    assert attachable_for_info(info, NOW) is attachable


@pytest.mark.parametrize(
    ("holder", "expires", "attachable"),
    [
        ("", NOW + timedelta(seconds=1), True),
        (" ", NOW + timedelta(seconds=1), True),
        ("me", None, True),
        ("me", NOW, True),
        ("me", NOW - timedelta(seconds=1), True),
        ("me", NOW + timedelta(microseconds=1), False),
    ],
)
def test_18_2_a_lease_keeps_others_out_until_it_expires(holder, expires, attachable):
    info = info_with()
    facts = {name: getattr(info, name) for name in info.__slots__}
    leased = SimpleNamespace(**{**facts, "attached_to": holder, "attach_expires_at": expires})
    assert attachable_for_info(leased, NOW) is attachable
