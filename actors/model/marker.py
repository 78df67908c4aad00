"""The kinds of transcript markers: a closed vocabulary (02 13)."""

from __future__ import annotations

from enum import StrEnum


class MarkerKind(StrEnum):
    """What a marker tells (02 13)."""

    PROMPT_CANCEL = "transcript_marker.prompt_cancel"
    PROMPT_TIMEOUT = "transcript_marker.prompt_timeout"
    PROMPT_INTERRUPTED = "transcript_marker.prompt_interrupted"
    PROMPT_STEERED = "transcript_marker.prompt_steered"
    PROMPT_QUEUED = "transcript_marker.prompt_queued"
    PROMPT_ACCEPTED = "transcript_marker.prompt_accepted"
    PROMPT_DROPPED = "transcript_marker.prompt_dropped"
    SESSION_UNHEALTHY = "transcript_marker.session_unhealthy"
    SESSION_RECOVERED = "transcript_marker.session_recovered"
    MCP_AUTH_REQUIRED = "transcript_marker.mcp_auth_required"
    PROVIDER_FAILURE = "transcript_marker.provider_failure"
