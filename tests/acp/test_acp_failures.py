"""What an error means (04 8; 07 R9, R12)."""

import pytest
from greenroom.actors.errors import (
    AgentError,
    AgentStartError,
    LoadSessionFailedError,
    RequestError,
)
from greenroom.actors.model.failure import FAILURE_SUMMARY_BYTES_MAX, FailureKind, failure
from greenroom.transport.acp import failures
from greenroom.transport.acp.jsonrpc import rpc_error


def over(error, cause):
    error.__cause__ = cause
    return error


GONE = rpc_error(-32603, "peer disconnected before response")


@pytest.mark.parametrize(
    ("error", "fallback", "kind"),
    [
        (
            over(AgentError("x"), AgentStartError("y", failure=failure(FailureKind.TIMEOUT, ""))),
            FailureKind.PROMPT,
            FailureKind.TIMEOUT,
        ),
        (TimeoutError(), FailureKind.PROMPT, FailureKind.TIMEOUT),
        (over(AgentError("x"), TimeoutError()), FailureKind.PROMPT, FailureKind.TIMEOUT),
        (EOFError(), FailureKind.PROMPT, FailureKind.TRANSPORT),
        (BrokenPipeError(), FailureKind.PROMPT, FailureKind.TRANSPORT),
        (RequestError("x", code=-32800), FailureKind.PROMPT, FailureKind.CANCELLATION),
        (RequestError("Request canceled", code=1), FailureKind.PROMPT, FailureKind.CANCELLATION),
        (rpc_error(-32603, "context canceled"), FailureKind.PROTOCOL, FailureKind.CANCELLATION),
        (GONE, FailureKind.PROMPT, FailureKind.PROCESS_EXIT),
        (RequestError("Session not found", code=1), FailureKind.PROMPT, FailureKind.PROCESS_EXIT),
        (GONE, FailureKind.LOAD_SESSION, FailureKind.LOAD_SESSION),
        (RequestError("boom", code=1), FailureKind.PROMPT, FailureKind.PROMPT),
        (RequestError("boom", code=1), FailureKind.HANDSHAKE, FailureKind.PROTOCOL),
        (ValueError("boom"), FailureKind.STARTUP, FailureKind.STARTUP),
    ],
)
def test_d33_the_first_row_that_matches_gives_the_kind(error, fallback, kind):
    assert failures.failure_from_error(error, fallback) is kind


@pytest.mark.parametrize(
    ("error", "suppressible"),
    [
        (RequestError("x", code=-32800), True),
        (GONE, True),
        (rpc_error(-32603, "context deadline exceeded"), True),
        (TimeoutError(), True),
        (AgentStartError("x", failure=failure(FailureKind.CANCELLATION, "")), True),
        (RequestError("boom", code=1), False),
        (ValueError("peer disconnected before response"), False),
    ],
)
def test_what_a_requested_stop_explains_is_suppressible(error, suppressible):
    assert failures.is_suppressible(error) is suppressible


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (None, False),
        (RequestError("Resource not found", code=-32002), False),
        (over(LoadSessionFailedError("x"), RequestError("no", code=-32002)), True),
        (
            over(LoadSessionFailedError("x"), RequestError("Session not found: a", code=-32602)),
            True,
        ),
        (
            over(
                LoadSessionFailedError("x"),
                RequestError("Invalid params", code=-32602, data={"id": "Session not found"}),
            ),
            True,
        ),
        (over(LoadSessionFailedError("x"), RequestError("Internal error", code=-32603)), False),
        (over(LoadSessionFailedError("x"), GONE), False),
        (over(AgentError("y"), over(LoadSessionFailedError("x"), GONE)), False),
    ],
)
def test_r12_a_session_is_missing_by_code_or_by_text(error, missing):
    assert failures.is_load_session_resource_missing(error) is missing


@pytest.mark.parametrize(
    ("text", "code", "row"),
    [
        ("model not found: x", 1, ("invalid_model", "change_model")),
        ("Model is unavailable", 1, ("model_unavailable", "change_model")),
        ("HTTP 429", 1, ("rate_limited", "retry")),
        ("quota exceeded", 1, ("rate_limited", "retry")),
        ("Forbidden", 1, ("permission_denied", "no_retry")),
        ("connection reset by peer", 1, ("transient", "retry")),
        ("status 503", 1, ("transient", "retry")),
        ("missing API key", 1, ("not_authenticated", "login")),
        ("unexpected status 401", 1, ("not_authenticated", "login")),
        ("anything", -32000, ("not_authenticated", "login")),
        ("anything", 401, ("not_authenticated", "login")),
        ("anything", 403, ("permission_denied", "no_retry")),
        ("session not found", 1, None),
        ("line 4290 of 40333", 1, None),
        ("executable not found on path", 1, None),
    ],
)
def test_r9_recovery_is_found_by_code_then_by_text(text, code, row):
    summary = failures.with_recovery(text, RequestError(text, code=code))
    if row is None:
        assert summary == text
    else:
        kind, action = row
        assert f"; provider_failure_kind={kind}; next_action={action}; guidance=" in summary
        assert failures.with_recovery(summary, RequestError(text, code=code)) == summary


def test_d32_only_a_real_missing_executable_is_a_missing_command():
    error = over(AgentError("start failed"), FileNotFoundError("agent"))
    assert "provider_failure_kind=missing_cli" in failures.with_recovery("x", error)


def test_a_summary_names_step_and_error_once_and_is_bounded():
    error = RequestError("boom", code=1, data="why")
    assert failures.make_failure(FailureKind.PROTOCOL, "step", error).summary == "step: boom: why"
    repeated = RequestError("step went wrong", code=1)
    assert failures.make_failure(FailureKind.PROTOCOL, "step", repeated).summary == str(repeated)
    long = failures.make_failure(FailureKind.PROTOCOL, "step", RequestError("x" * 10_000))
    assert len(long.summary.encode()) == FAILURE_SUMMARY_BYTES_MAX


def test_the_error_of_a_step_is_classified_and_keeps_its_cause():
    cause = RequestError("boom", code=1)
    error = failures.step_error(FailureKind.LOAD_SESSION, "step", cause, LoadSessionFailedError)
    assert type(error) is LoadSessionFailedError
    assert error.__cause__ is cause
    assert failures.classified_failure(error).kind is FailureKind.LOAD_SESSION


def test_every_error_has_some_text_even_in_a_circle_of_causes():
    circle = AgentError("a")
    circle.__cause__ = over(AgentError("b"), circle)
    assert failures.describe(circle) == "a: b"
    assert failures.describe(ValueError()) == "ValueError"
