"""How a session or a turn failed: twelve kinds and a bounded summary (01 11.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FAILURE_SUMMARY_BYTES_MAX = 2048
TRUNCATED = "...[truncated]"


class FailureKind(StrEnum):
    """What kind of failure ended a start, a turn or a session."""

    STARTUP = "startup_failure"
    HANDSHAKE = "handshake_failure"
    LOAD_SESSION = "load_session_failure"
    PROTOCOL = "protocol_failure"
    PROMPT = "prompt_failure"
    CANCELLATION = "cancellation"
    PERMISSION = "permission_failure"
    PROVIDER_AUTH = "provider_auth_failure"
    PROCESS_EXIT = "process_exit"
    TRANSPORT = "transport_failure"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown_failure"


@dataclass(frozen=True, slots=True)
class SessionFailure:
    """A typed failure, as it is stored in meta and events (01 3.2).

    :param kind: one of :class:`FailureKind`.
    :param summary: for people; at most ``FAILURE_SUMMARY_BYTES_MAX`` bytes of UTF-8.
    :param crash_bundle_path: file with the details, or blank.
    """

    kind: FailureKind
    summary: str = ""
    crash_bundle_path: str = ""


def bound_text(text: str, bytes_max: int) -> str:
    """Cut ``text`` to ``bytes_max`` bytes of UTF-8 at a code point; the mark counts (01 11.4)."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= bytes_max:
        return text
    if bytes_max <= len(TRUNCATED):
        return encoded[: max(bytes_max, 0)].decode("utf-8", "ignore")
    return encoded[: bytes_max - len(TRUNCATED)].decode("utf-8", "ignore") + TRUNCATED


def failure(kind: FailureKind, summary: str) -> SessionFailure:
    """A failure with its summary bounded."""
    return SessionFailure(kind, bound_text(summary, FAILURE_SUMMARY_BYTES_MAX))
