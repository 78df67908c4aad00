"""The record of control calls: who asked for what, and what became of it, a JSON object a line.

Rules owned here: calls that only look are recorded when they came with a key, or were refused;
lines are appended in the hub, through the kernel and not to the disk; of a full file one older is
kept; what the file system refuses is counted, and stops no call.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from ...transport.bus.control_call import Call, Verb
from ...transport.bus.roles import Role

AUDIT_FILE = "audit.jsonl"
OLDER_FILE = "audit.1.jsonl"
AUDIT_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of one file."""
TEXT_CHARS_MAX = 200
"""Of a verb or an id as a caller gave it."""


class AuditLine(msgspec.Struct, frozen=True):
    """One call.

    :param user: the name of the caller's key; empty for the owner of the local sockets.
    :param outcome: ``ok``, ``cancelled``, or the name of the error.
    """

    at: datetime
    user: str
    verb: str
    session_id: str
    request_id: str
    outcome: str


class Audit:
    """Records the calls of one runtime.

    :param verbs: what can be called.
    """

    def __init__(
        self,
        home: Path,
        verbs: Mapping[str, Verb],
        now: Callable[[], datetime],
        logger: logging.Logger,
    ) -> None:
        self._path, self._older = home / AUDIT_FILE, home / OLDER_FILE
        self._verbs = verbs
        self._now = now
        self._logger = logger
        self._handle = -1
        self._size = 0
        self.lost = 0
        """Lines that the file system refused."""

    def __call__(self, call: Call, outcome: str) -> None:
        """A call is over."""
        if self._is_recorded(call):
            line = AuditLine(
                at=self._now(),
                user=call.user,
                verb=call.verb[:TEXT_CHARS_MAX],
                session_id=str(call.args.get("session_id", ""))[:TEXT_CHARS_MAX],
                request_id=call.request_id,
                outcome=outcome,
            )
            self._append(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _is_recorded(self, call: Call) -> bool:
        verb = self._verbs.get(call.verb)
        return bool(call.user) or call.role is None or verb is None or verb.role is not Role.READ

    def _append(self, line: bytes) -> None:
        try:
            if self._handle < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._handle = os.open(self._path, flags, 0o600)
                self._size = os.fstat(self._handle).st_size
            os.write(self._handle, line)
            self._size += len(line)
            if self._size >= AUDIT_BYTES_MAX:
                self.close()
                os.replace(self._path, self._older)
        except OSError as error:
            if not self.lost:
                self._logger.error("audit: %s", error)
            self.lost += 1


def read_audit(home: Path) -> list[AuditLine]:
    """Every recorded call that is still there, oldest first; a torn line is passed over."""
    lines: list[AuditLine] = []
    for name in (OLDER_FILE, AUDIT_FILE):
        with contextlib.suppress(FileNotFoundError):
            for text in (home / name).read_bytes().splitlines():
                with contextlib.suppress(msgspec.MsgspecError):
                    lines.append(msgspec.json.decode(text, type=AuditLine))
    return lines
