"""What an error means: failure kind, summary, and what the user can do (04 8; 07 R9, R12).

Summaries are bounded but not redacted: the session layer redacts what it stores (03 2.3).
"""

from __future__ import annotations

import re

from ...actors.errors import AgentError, AgentStartError, LoadSessionFailedError, RequestError
from ...actors.model.failure import FailureKind, SessionFailure, failure
from . import jsonrpc
from .jsonrpc import error_text

CANCELLED_TEXTS = ("request canceled", "request cancelled", "context canceled")
SESSION_LOSS_PHRASES = (
    "process exited unexpectedly",
    "peer disconnected before response",
    "please start a new session",
    "session not found",
    "resource not found",
)
SESSION_MISSING_PHRASES = ("please start a new session", "session not found", "resource not found")
"""Of the phrases above those that speak of the session, not of the connection."""
SUPPRESSIBLE_TEXTS = (
    "context canceled",
    "context deadline exceeded",
    "peer disconnected before response",
)

AUTH_CODES = frozenset({401, jsonrpc.AUTH_REQUIRED})
DENIED_CODES = frozenset({403})

# First match wins, top to bottom. A number matches as a whole number only (D32).
RECOVERY = tuple(
    (kind, action, guidance, re.compile(pattern))
    for kind, action, guidance, pattern in (
        (
            "invalid_model",
            "change_model",
            "choose a model the provider offers",
            r"invalid model|unknown model|model not found|model does not exist|unsupported model",
        ),
        (
            "model_unavailable",
            "change_model",
            "choose another model",
            r"model (is )?unavailable|model (is )?not available|not available for this provider"
            r"|not available in your region",
        ),
        (
            "rate_limited",
            "retry",
            "wait, then try again, or check the quota",
            r"\b429\b|rate[ _]limit|too many requests|quota exceeded|insufficient_quota",
        ),
        (
            "permission_denied",
            "no_retry",
            "the account may not do this",
            r"\b403\b|forbidden|permission denied|access denied|not entitled|entitlement",
        ),
        (
            "transient",
            "retry",
            "try again",
            r"timeout|timed out|connection (refused|reset)|network is unreachable"
            r"|temporary failure|temporarily unavailable|server error|overloaded"
            r"|(http|status)( code)?:? (500|502|503|504|529)\b|\b529\b",
        ),
        (
            "not_authenticated",
            "login",
            "log in with the agent's own command, or set its key",
            r"not logged in|not authenticated|unauthorized|authentication (required|failed)"
            r"|login required|(invalid|missing|no) api key|expired token|\b401\b",
        ),
    )
)
MISSING_CLI = ("missing_cli", "install_cli", "install the agent's command")
BY_CODE = (
    (AUTH_CODES, "not_authenticated"),
    (DENIED_CODES, "permission_denied"),
)
_MARK = "; provider_failure_kind="


def failure_from_error(error: BaseException, fallback: FailureKind) -> FailureKind:
    """The kind of a failure: the first row of 04 8 that matches.

    :param error: what was raised, with its causes.
    :param fallback: the kind of the step that failed.
    """
    classified = classified_failure(error)
    if classified is not None:
        return classified.kind
    for cause in _chain(error):
        match cause:
            case TimeoutError():
                return FailureKind.TIMEOUT
            case EOFError() | BrokenPipeError() | ConnectionError():
                return FailureKind.TRANSPORT
            case RequestError():
                return _kind_of_request_error(cause, fallback)
    return fallback


def classified_failure(error: BaseException) -> SessionFailure | None:
    """The first failure that somebody below has settled already; it wins."""
    for cause in _chain(error):
        found = getattr(cause, "failure", None)
        if isinstance(found, SessionFailure):
            return found
    return None


def _kind_of_request_error(error: RequestError, fallback: FailureKind) -> FailureKind:
    text = error_text(error).lower()
    if error.code == jsonrpc.REQUEST_CANCELLED or _has(text, CANCELLED_TEXTS):
        return FailureKind.CANCELLATION
    if fallback is FailureKind.PROMPT and _has(text, SESSION_LOSS_PHRASES):
        return FailureKind.PROCESS_EXIT
    if fallback in (FailureKind.PROMPT, FailureKind.LOAD_SESSION):
        return fallback
    return FailureKind.PROTOCOL


def is_suppressible(error: BaseException) -> bool:
    """Whether the error only says that a requested stop took effect (04 8)."""
    if failure_from_error(error, FailureKind.UNKNOWN) is FailureKind.CANCELLATION:
        return True
    return any(
        isinstance(cause, TimeoutError)
        or (isinstance(cause, RequestError) and _has(error_text(cause).lower(), SUPPRESSIBLE_TEXTS))
        for cause in _chain(error)
    )


def is_load_session_resource_missing(error: BaseException | None) -> bool:
    """Whether a restore failed because the agent does not have the session (04 2.5; 07 8, R12).

    Then a fresh session is the way on. It has to be a :class:`LoadSessionFailedError` over a
    JSON-RPC error: -32002, or any other code whose text speaks of a lost session.
    """
    chain = [] if error is None else list(_chain(error))
    if not any(isinstance(cause, LoadSessionFailedError) for cause in chain):
        return False
    return any(
        isinstance(cause, RequestError)
        and (
            cause.code == jsonrpc.RESOURCE_NOT_FOUND
            or _has(error_text(cause).lower(), SESSION_MISSING_PHRASES)
        )
        for cause in chain
    )


def make_failure(kind: FailureKind, step: str, error: BaseException) -> SessionFailure:
    """A failure of that kind: "step: error", and what the user can do next.

    :param step: what failed, such as ``ACP session/new failed``.
    """
    text = describe(error)
    summary = text if step in text else f"{step}: {text}"
    return failure(kind, with_recovery(summary, error))


def step_error(
    kind: FailureKind,
    step: str,
    cause: BaseException,
    raised: type[AgentError] = AgentStartError,
) -> AgentError:
    """The error that a failed step of the start raises, over its cause; it is classified."""
    settled = make_failure(kind, step, cause)
    error = raised(settled.summary, failure=settled)
    error.__cause__ = cause
    return error


def describe(error: BaseException) -> str:
    """The text of an error with that of its causes, each once."""
    parts: list[str] = []
    for cause in _chain(error):
        text = error_text(cause) if isinstance(cause, RequestError) else str(cause)
        if text and not any(text in part for part in parts):
            parts.append(text)
    return ": ".join(parts) or type(error).__name__


def with_recovery(summary: str, error: BaseException) -> str:
    """``summary`` with the recovery metadata of the error, once, where a row matches."""
    row = _recovery_row(summary.lower(), error)
    if row is None or _MARK in summary:
        return summary
    kind, action, guidance = row
    return f"{summary}{_MARK}{kind}; next_action={action}; guidance={guidance}"


def _recovery_row(text: str, error: BaseException) -> tuple[str, str, str] | None:
    causes = list(_chain(error))
    # A missing command shows as the real thing only: "session not found" is none (D32).
    if any(isinstance(cause, FileNotFoundError) for cause in causes):
        return MISSING_CLI
    codes = {cause.code for cause in causes if isinstance(cause, RequestError)}
    for wanted, kind in BY_CODE:
        if codes & wanted:
            return next(row[:3] for row in RECOVERY if row[0] == kind)
    return next((row[:3] for row in RECOVERY if row[3].search(text)), None)


def _has(text: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in text for phrase in phrases)


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__
    return chain
