"""The markers that failed turns and stopped sessions leave in the transcript (02 13).

================  =======================================  ====================  ==============
event             it says                                  marker                else it tells
================  =======================================  ====================  ==============
error             no failure, or ``cancellation``          none
error             auth or permission failure, MCP reason   mcp_auth_required     MCP_AUTH
error             auth or permission failure               provider_failure      AUTH
error             any other failure                        provider_failure      PROVIDER
session_stopped   reason or failure ``timeout``            prompt_timeout        STOPPED_LATE
session_stopped   ``user_canceled``, ``cancellation``      prompt_interrupted    STOPPED_BY_USER
session_stopped   any other failure                        provider_failure      PROVIDER
session_stopped   anything else                            none
================  =======================================  ====================  ==============

A cancelled turn is not also a failure of its provider: of its errors only those that say that the
provider is gone are marked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..model.event import AgentEvent, EventType, RawJSON
from ..model.failure import FailureKind
from ..model.marker import MarkerKind
from ..model.session import StopReason
from .markers import marker

MCP_AUTH = "MCP authentication is required."
AUTH = "Provider authentication failed."
PROVIDER = "Provider failed."
STOPPED_LATE = "Session timed out."
STOPPED_BY_USER = "Session interrupted by operator."

AUTH_KINDS = frozenset({FailureKind.PROVIDER_AUTH, FailureKind.PERMISSION})
GONE_KINDS = frozenset({FailureKind.PROCESS_EXIT, FailureKind.TRANSPORT})
"""Failures that are news even in a turn that was cancelled."""
MCP_KEYS = frozenset({"reason", "reason_code", "reason_codes", "code", "diagnostic_code"})
MCP_REASONS = frozenset(
    {
        "mcp_auth_unconfigured",
        "mcp_auth_required",
        "mcp_auth_expired",
        "mcp_auth_invalid",
        "mcp_auth_refresh_failed",
    }
)
MCP_DEPTH_MAX = 16
"""Nested levels of the raw JSON looked at (02 1)."""


def marker_for(
    event: AgentEvent, now: datetime, *, turn_cancelled: bool = False
) -> AgentEvent | None:
    """The marker an event leaves, if any; it is recorded right after the event.

    :param event: redacted and with its turn id.
    :param turn_cancelled: whether somebody cancelled the turn of an ``error``.
    """
    if event.type == EventType.ERROR:
        found = _of_error(event, turn_cancelled)
        summary = (event.text, event.error, _activity_detail(event), _failure_summary(event))
    elif event.type == EventType.SESSION_STOPPED:
        found = _of_stop(event)
        summary = (event.error, event.text, "", "")
    else:
        return None
    if found is None:
        return None
    kind, fallback = found
    evidence = {
        "event_type": event.type,
        "stop_reason": event.stop_reason if event.type == EventType.SESSION_STOPPED else "",
        "failure_kind": str(event.failure.kind) if event.failure else "",
    }
    return marker(
        kind,
        next((text for text in summary if text.strip()), fallback),
        turn_id=event.turn_id,
        now=now,
        evidence={name: value for name, value in evidence.items() if value},
    )


def has_mcp_auth_reason(raw: RawJSON | None) -> bool:
    """Whether an MCP server's authentication is what is wrong, as the raw JSON says."""
    level: list[Any] = [raw.value] if raw is not None else []
    for _ in range(MCP_DEPTH_MAX):
        following: list[Any] = []
        for value in level:
            match value:
                case dict():
                    if any(_is_mcp_reason(value.get(key)) for key in MCP_KEYS):
                        return True
                    following.extend(value.values())
                case list():
                    following.extend(value)
        level = following
    return False


def _is_mcp_reason(value: Any) -> bool:
    told = value if isinstance(value, list) else [value]
    return any(isinstance(item, str) and item.strip() in MCP_REASONS for item in told)


def _of_error(event: AgentEvent, cancelled: bool) -> tuple[MarkerKind, str] | None:
    kind = event.failure.kind if event.failure else FailureKind.CANCELLATION
    if kind is FailureKind.CANCELLATION or (cancelled and kind not in GONE_KINDS):
        return None
    if kind not in AUTH_KINDS:
        return MarkerKind.PROVIDER_FAILURE, PROVIDER
    if has_mcp_auth_reason(event.raw):
        return MarkerKind.MCP_AUTH_REQUIRED, MCP_AUTH
    return MarkerKind.PROVIDER_FAILURE, AUTH


def _of_stop(event: AgentEvent) -> tuple[MarkerKind, str] | None:
    kind = event.failure.kind if event.failure else None
    if event.stop_reason == StopReason.TIMEOUT or kind is FailureKind.TIMEOUT:
        return MarkerKind.PROMPT_TIMEOUT, STOPPED_LATE
    if event.stop_reason == StopReason.USER_CANCELED or kind is FailureKind.CANCELLATION:
        return MarkerKind.PROMPT_INTERRUPTED, STOPPED_BY_USER
    return None if kind is None else (MarkerKind.PROVIDER_FAILURE, PROVIDER)


def _activity_detail(event: AgentEvent) -> str:
    detail = (event.runtime or {}).get("last_activity_detail", "")
    return detail if isinstance(detail, str) else ""


def _failure_summary(event: AgentEvent) -> str:
    return event.failure.summary if event.failure else ""
