"""What a crash bundle holds and how it is called; writing it is the shell's (01 11.3).

``<session>-<kind>-<unix nanoseconds>.json``: the name is safe on any file system and never longer
than ``NAME_BYTES_MAX``; only the session's part is cut, so that the moment survives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ..model.failure import FailureKind, SessionFailure
from ..model.secret_text import MARK, is_secret_name
from .redaction import Redactor

CRASH_BUNDLE_SCHEMA = "greenroom.crash_bundle.v1"
CRASH_BUNDLE_MODE = 0o600
CRASH_TEXT_BYTES_MAX = 32768
"""Longest text of a bundle, each."""
NAME_BYTES_MAX = 160
"""Longest name without its suffix."""
SUFFIX = ".json"

BUNDLED_KINDS = frozenset(
    {
        FailureKind.STARTUP,
        FailureKind.HANDSHAKE,
        FailureKind.LOAD_SESSION,
        FailureKind.PROTOCOL,
        FailureKind.PROMPT,
        FailureKind.PROCESS_EXIT,
        FailureKind.TRANSPORT,
    }
)
"""Failures worth a bundle; the other five are nobody's crash."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CrashedProcess:
    """What is known of the agent process."""

    pid: int = 0
    command: str = ""
    args: tuple[str, ...] = ()
    cwd: str = ""
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CrashFacts:
    """Everything a bundle tells; blank and ``None`` are left out.

    :param failure: before the path of the bundle is known.
    :param created_at: UTC.
    """

    session_id: str
    failure: SessionFailure
    created_at: datetime
    agent_name: str = ""
    provider: str = ""
    state: str = ""
    process: CrashedProcess | None = None
    error: str = ""
    stderr: str = ""


def wants_crash_bundle(failure: SessionFailure | None) -> bool:
    """Whether a bundle is written for this failure, and is not yet."""
    return failure is not None and failure.kind in BUNDLED_KINDS and not failure.crash_bundle_path


def crash_bundle(facts: CrashFacts, redactor: Redactor) -> bytes:
    """The bytes of the bundle: JSON, two spaces deep, and a newline; every text redacted."""

    def shown(text: str) -> str:
        return redactor.redact_and_bound(text, CRASH_TEXT_BYTES_MAX)

    failure = {
        "kind": str(facts.failure.kind),
        "summary": shown(facts.failure.summary),
    }
    members: dict[str, Any] = {
        "schema": CRASH_BUNDLE_SCHEMA,
        "session_id": facts.session_id,
        "agent_name": facts.agent_name,
        "provider": facts.provider,
        "state": facts.state,
        "failure": {name: value for name, value in failure.items() if value},
        "process": _process(facts.process, redactor),
        "error": shown(facts.error),
        "stderr": shown(facts.stderr),
        "created_at": facts.created_at,
    }
    told = {name: value for name, value in members.items() if value}
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def crash_bundle_name(session_id: str, kind: str, created_at: datetime) -> str:
    """The name of the bundle's file, without a directory.

    :param created_at: UTC.
    """
    nanos = (created_at - _EPOCH) // timedelta(microseconds=1) * 1000
    ending = f"-{_safe(kind)}-{_safe(str(nanos))}"
    room = NAME_BYTES_MAX - len(ending)
    session = _safe(session_id)[:room].rstrip("-_") or "unknown"
    return f"{session}{ending}{SUFFIX}"


def _safe(part: str) -> str:
    return _UNSAFE.sub("-", part).strip("-") or "unknown"


def _process(process: CrashedProcess | None, redactor: Redactor) -> dict[str, Any]:
    if process is None:
        return {}
    members = {
        "pid": process.pid,
        "command": redactor.redact_and_bound(process.command, CRASH_TEXT_BYTES_MAX),
        "args": _args(process.args, redactor),
        "cwd": redactor.redact(process.cwd),
        "started_at": process.started_at,
    }
    return {name: value for name, value in members.items() if value}


def _args(args: tuple[str, ...], redactor: Redactor) -> list[str]:
    """The arguments that fit; the one after a flag that names a secret is hidden whole."""
    shown: list[str] = []
    room = CRASH_TEXT_BYTES_MAX
    named_secret = False
    for arg in args:
        if room <= 0:
            break
        text = MARK if named_secret else redactor.redact_and_bound(arg, room)
        named_secret = arg.startswith("-") and "=" not in arg and is_secret_name(arg)
        room -= len(text.encode("utf-8", "replace"))
        shown.append(text)
    return shown
