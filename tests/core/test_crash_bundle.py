"""spec 01 11.3: for which failures, what it tells, and a name that is safe."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from greenroom.actors.core.crash_bundle import (
    BUNDLED_KINDS,
    CRASH_TEXT_BYTES_MAX,
    NAME_BYTES_MAX,
    CrashedProcess,
    CrashFacts,
    crash_bundle,
    crash_bundle_name,
    wants_crash_bundle,
)
from greenroom.actors.core.redaction import Redactor
from greenroom.actors.model.failure import FailureKind, SessionFailure
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 4, 3, 10, 0, 0, 123456, tzinfo=UTC)
NANOS = 1775210400123456000
FAILURE = SessionFailure(FailureKind.PROCESS_EXIT, "gone: token=abc")


@pytest.mark.parametrize("kind", FailureKind)
def test_11_3_for_which_kinds(kind):
    other = {"cancellation", "permission_failure", "provider_auth_failure", "timeout"}
    expected = kind not in other | {"unknown_failure"}
    assert wants_crash_bundle(SessionFailure(kind)) is expected
    assert not wants_crash_bundle(SessionFailure(kind, "", "/already/there.json"))
    assert len(BUNDLED_KINDS) == 7


def test_11_3_no_failure_no_bundle():
    assert not wants_crash_bundle(None)


def test_11_3_content():
    redactor = Redactor()
    redactor.register("hunter2hunter2")
    facts = CrashFacts(
        "sess-1",
        FAILURE,
        NOW,
        agent_name="demo",
        provider="claude",
        state="active",
        process=CrashedProcess(77, "/bin/agent", ("--key", "hunter2hunter2", "-v"), "/ws", NOW),
        error="password: x",
        stderr="é" * CRASH_TEXT_BYTES_MAX,
    )
    data = crash_bundle(facts, redactor)
    assert data.endswith(b"}\n")
    assert data.startswith(b'{\n  "schema": "greenroom.crash_bundle.v1",\n')
    told = json.loads(data)
    assert list(told) == [
        *("schema", "session_id", "agent_name", "provider", "state"),
        *("failure", "process", "error", "stderr", "created_at"),
    ]
    assert told["failure"] == {"kind": "process_exit", "summary": "gone: token=[REDACTED]"}
    assert told["process"] == {
        "pid": 77,
        "command": "/bin/agent",
        "args": ["--key", "[REDACTED]", "-v"],
        "cwd": "/ws",
        "started_at": "2026-04-03T10:00:00.123456Z",
    }
    assert told["error"] == "password: [REDACTED]"
    assert len(told["stderr"].encode()) <= CRASH_TEXT_BYTES_MAX
    assert told["stderr"].endswith("...[truncated]")
    assert told["created_at"] == "2026-04-03T10:00:00.123456Z"


def test_11_3_what_is_not_known_is_left_out():
    facts = CrashFacts("sess-1", SessionFailure(FailureKind.STARTUP), NOW)
    assert list(json.loads(crash_bundle(facts, Redactor()))) == [
        *("schema", "session_id", "failure", "created_at"),
    ]
    empty = CrashFacts("s", FAILURE, NOW, process=CrashedProcess())
    assert "process" not in json.loads(crash_bundle(empty, Redactor()))


def args_of(*args):
    facts = CrashFacts("s", FAILURE, NOW, process=CrashedProcess(args=args))
    return json.loads(crash_bundle(facts, Redactor()))["process"]["args"]


def test_11_3_the_value_of_a_secret_flag_is_hidden():
    assert args_of("--api-key", "abc", "--token=abc", "x", "token", "y") == [
        *("--api-key", "[REDACTED]", "--token=[REDACTED]", "x", "token", "y"),
    ]


def test_11_3_arguments_are_bounded_together():
    kept = args_of(*["x" * 1000] * 100)
    assert len("".join(kept)) <= CRASH_TEXT_BYTES_MAX
    assert len(kept) == 33
    assert args_of("--token", "a" * 100_000, "z" * 100_000)[:2] == ["--token", "[REDACTED]"]
    full = "x" * (CRASH_TEXT_BYTES_MAX - len("--token"))
    assert args_of(full, "--token", "a") == [full, "--token"]


@pytest.mark.parametrize(
    ("session", "kind", "name"),
    [
        ("sess-1", "process_exit", f"sess-1-process_exit-{NANOS}.json"),
        ("../../etc", "a b", f"etc-a-b-{NANOS}.json"),
        ("", "", f"unknown-unknown-{NANOS}.json"),
        ("---", "é", f"unknown-unknown-{NANOS}.json"),
        ("a" * 500, "x", f"{'a' * (NAME_BYTES_MAX - 22)}-x-{NANOS}.json"),
        ("a" + "_" * 500, "x", f"a-x-{NANOS}.json"),
        ("_" * 500, "x", f"unknown-x-{NANOS}.json"),
    ],
)
def test_11_3_name(session, kind, name):
    assert crash_bundle_name(session, kind, NOW) == name


@given(st.text(max_size=300), st.sampled_from(FailureKind), st.datetimes(timezones=st.just(UTC)))
def test_law_a_name_is_safe_short_and_keeps_its_moment(session, kind, moment):
    name = crash_bundle_name(session, kind, moment)
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.json", name)
    assert len(name) <= NAME_BYTES_MAX + len(".json")
    micros = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    nanos = int(name.removesuffix(".json").rsplit("-", 1)[1])
    assert abs(nanos // 10**9 - abs(micros)) <= 1
