"""spec 02 13: the markers of error events and of stopped sessions, row by row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from greenroom.actors.core.stop_markers import (
    AUTH_KINDS,
    GONE_KINDS,
    MCP_DEPTH_MAX,
    MCP_KEYS,
    MCP_REASONS,
    has_mcp_auth_reason,
    marker_for,
)
from greenroom.actors.model.event import AgentEvent, EventType, RawJSON
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.session import StopReason

NOW = datetime(2026, 4, 3, tzinfo=UTC)
MCP = RawJSON(b'{"data":{"reason":"mcp_auth_expired"}}')


def failed(kind, summary=""):
    return None if kind is None else SessionFailure(FailureKind(kind), summary)


def of_error(kind, *, cancelled=False, **fields):
    event = AgentEvent(type=EventType.ERROR, turn_id="t1", failure=failed(kind), **fields)
    return marker_for(event, NOW, turn_cancelled=cancelled)


def of_stop(reason, kind=None, **fields):
    event = AgentEvent(
        type=EventType.SESSION_STOPPED,
        turn_id="t2",
        stop_reason=reason,
        failure=failed(kind),
        **fields,
    )
    return marker_for(event, NOW)


def told(note):
    return None if note is None else (note.title.removeprefix("transcript_marker."), note.text)


@pytest.mark.parametrize("kind", [None, *FailureKind])
def test_13_errors(kind):
    expected = {None: None, FailureKind.CANCELLATION: None}
    auth = ("provider_failure", "Provider authentication failed.")
    expected |= dict.fromkeys(AUTH_KINDS, auth)
    note = of_error(kind)
    assert told(note) == expected.get(kind, ("provider_failure", "Provider failed."))
    if note is not None:
        assert (note.type, note.turn_id, note.timestamp) == (
            "transcript_marker.created",
            "t1",
            NOW,
        )
        assert note.raw.value["evidence"] == {"event_type": "error", "failure_kind": kind}


@pytest.mark.parametrize("kind", FailureKind)
def test_13_an_mcp_reason_counts_for_auth_and_permission_failures_only(kind):
    note = of_error(kind, raw=MCP)
    is_mcp = note is not None and note.title == "transcript_marker.mcp_auth_required"
    assert is_mcp is (kind in AUTH_KINDS)
    if is_mcp:
        assert note.text == "MCP authentication is required."


@pytest.mark.parametrize("kind", FailureKind)
def test_13_a_cancelled_turn_is_not_also_a_provider_failure(kind):
    assert (of_error(kind, cancelled=True) is not None) is (kind in GONE_KINDS)


@pytest.mark.parametrize(
    ("fields", "summary"),
    [
        ({"text": "a", "error": "b"}, "a"),
        ({"text": " ", "error": "b"}, "b"),
        ({"runtime": {"last_activity_detail": "c"}}, "c"),
        ({"runtime": {"last_activity_detail": 5}}, "d"),
        ({"runtime": {}}, "d"),
        ({}, "d"),
    ],
)
def test_13_the_summary_of_an_error(fields, summary):
    event = AgentEvent(
        type=EventType.ERROR, turn_id="t1", failure=failed("prompt_failure", "d"), **fields
    )
    assert marker_for(event, NOW).text == summary


@pytest.mark.parametrize("kind", [None, *FailureKind])
@pytest.mark.parametrize("reason", ["", *StopReason])
def test_13_stopped_sessions(reason, kind):
    if reason == "timeout" or kind == "timeout":
        expected = ("prompt_timeout", "Session timed out.")
    elif reason == "user_canceled" or kind == "cancellation":
        expected = ("prompt_interrupted", "Session interrupted by operator.")
    else:
        expected = ("provider_failure", "Provider failed.") if kind else None
    note = of_stop(reason, kind)
    assert told(note) == expected
    if note is not None:
        evidence = {"event_type": "session_stopped", "stop_reason": reason, "failure_kind": kind}
        assert note.turn_id == "t2"
        assert note.raw.value["evidence"] == {n: v for n, v in evidence.items() if v}


@pytest.mark.parametrize(
    ("fields", "summary"),
    [
        ({"text": "a", "error": "b"}, "b"),
        ({"text": "a"}, "a"),
        ({"runtime": {"last_activity_detail": "c"}}, "Session timed out."),
    ],
)
def test_13_the_summary_of_a_stop(fields, summary):
    assert of_stop("timeout", "timeout", **fields).text == summary


@pytest.mark.parametrize("kind", [k for k in EventType if k not in ("error", "session_stopped")])
def test_13_other_events_leave_none_here(kind):
    event = AgentEvent(type=kind, turn_id="t1", failure=failed("prompt_failure"))
    assert marker_for(event, NOW) is None


@pytest.mark.parametrize("key", sorted(MCP_KEYS))
@pytest.mark.parametrize("reason", sorted(MCP_REASONS))
def test_13_mcp_reasons(key, reason):
    assert has_mcp_auth_reason(RawJSON.of({"error": [{key: reason}]}))
    assert has_mcp_auth_reason(RawJSON.of({key: [1, "x", f" {reason} "]}))
    assert not has_mcp_auth_reason(RawJSON.of({"other": reason}))
    assert not has_mcp_auth_reason(RawJSON.of({key: {"x": reason}, "a": 5}))


@pytest.mark.parametrize("wrap", [lambda v: {"a": v}, lambda v: [v]])
def test_13_the_seventeenth_level_is_not_looked_at(wrap):
    value: object = {"reason": "mcp_auth_required"}
    for _ in range(MCP_DEPTH_MAX - 1):
        value = wrap(value)
    assert has_mcp_auth_reason(RawJSON.of(value))
    assert not has_mcp_auth_reason(RawJSON.of(wrap(value)))


@pytest.mark.parametrize("raw", [None, RawJSON(b"no json"), RawJSON(b'"mcp_auth_required"')])
def test_13_no_reason_in_what_is_no_object(raw):
    assert not has_mcp_auth_reason(raw)
