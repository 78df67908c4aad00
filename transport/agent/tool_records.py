"""What is kept about a process that works for a session: the record, its owner, scopes. Pure.

Rules it owns (04 9): what of a command line may be kept, and which records a scope means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum

from ...actors.model.failure import bound_text

TEXT_BYTES_MAX = 256
"""Bytes kept of a command, a directory, an argument or an error."""
ARGS_MAX = 32
ARGS_CUT = "[truncated]"
REDACTED = "[redacted]"


class ProcessSource(StrEnum):
    """Who started a process."""

    ACP_AGENT = "acp_agent"
    ACP_TERMINAL = "acp_terminal"
    SANDBOX_TERMINAL = "sandbox_terminal"
    HOOK = "hook"
    EXTENSION = "extension"
    SUBPROCESS = "subprocess"


class ProcessState(StrEnum):
    """Where a process stands; the first two are active."""

    RUNNING = "running"
    INTERRUPTING = "interrupting"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    STALE = "stale"


ACTIVE_STATES = frozenset({ProcessState.RUNNING, ProcessState.INTERRUPTING})


@dataclass(frozen=True, slots=True)
class ProcessOwner:
    """Whom a process works for; blank means nobody of that kind.

    :param session_id: greenroom's id of the session.
    :param acp_session_id: the agent's own (D28).
    """

    session_id: str = ""
    acp_session_id: str = ""
    turn_id: str = ""
    tool_call_id: str = ""
    terminal_id: str = ""
    extension_name: str = ""
    hook_name: str = ""
    sandbox_id: str = ""

    def with_terminal(self, turn_id: str, terminal_id: str) -> ProcessOwner:
        """The owner of a terminal of this session."""
        return replace(self, turn_id=turn_id, terminal_id=terminal_id)


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process, as it is stored.

    :param start_mark: boot and clock tick of its start; blank where the system tells none (D35).
    :param started_by_pid: the runtime that started it.
    """

    id: str
    source: ProcessSource
    owner: ProcessOwner
    pid: int
    process_group_id: int
    command: str
    args: tuple[str, ...]
    cwd: str
    started_at: datetime
    start_mark: str
    started_by_pid: int
    state: ProcessState
    created_at: datetime
    updated_at: datetime
    exit_code: int | None = None
    error: str = ""
    completed_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        """Whether the process runs, as far as is known."""
        return self.state in ACTIVE_STATES


@dataclass(frozen=True, slots=True)
class Scope:
    """Which processes are meant: all that is given must match; blank means not given.

    :param session_id: greenroom's id of the session or the agent's own (D28).
    :param reason: kept with what is interrupted by it.
    """

    process_id: str = ""
    session_id: str = ""
    turn_id: str = ""
    tool_call_id: str = ""
    terminal_id: str = ""
    extension_name: str = ""
    hook_name: str = ""
    source: str = ""
    reason: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given, which would mean everything."""
        return not any(getattr(self, f.name) for f in fields(self) if f.name != "reason")

    def covers(self, record: ProcessRecord) -> bool:
        """Whether the record is meant."""
        owner = record.owner
        return all(
            not wanted or wanted in found
            for wanted, found in (
                (self.process_id, (record.id,)),
                (self.session_id, (owner.session_id, owner.acp_session_id)),
                (self.turn_id, (owner.turn_id,)),
                (self.tool_call_id, (owner.tool_call_id,)),
                (self.terminal_id, (owner.terminal_id,)),
                (self.extension_name, (owner.extension_name,)),
                (self.hook_name, (owner.hook_name,)),
                (self.source, (record.source.value,)),
            )
        )


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """A process to be registered.

    :param pid: 0 for one that is not on this machine.
    :param started_at: ``None``: looked up.
    :param interrupt: ends it; called in the hub, may block its greenlet.
    """

    source: ProcessSource | str
    owner: ProcessOwner = field(default_factory=ProcessOwner)
    pid: int = 0
    process_group_id: int = 0
    command: str = ""
    args: tuple[str, ...] = ()
    cwd: str = ""
    started_at: datetime | None = None
    state: ProcessState | str = ProcessState.RUNNING
    interrupt: Callable[[], None] | None = None


@dataclass(slots=True)
class InterruptReport:
    """What an interrupt found and did."""

    matched: int = 0
    signaled: int = 0
    stale: int = 0
    unavailable: int = 0


@dataclass(slots=True)
class ReconcileReport:
    """What a look at the stored records after a start of the runtime found."""

    checked: int = 0
    recovered: int = 0
    stale: int = 0


_SECRET_FLAG = re.compile(
    r"(?i)^(--?[\w-]*(?:token|password|passwd|secret|api-?_?key|authorization|credential)[\w-]*)"
    r"(=.*)?$",
    re.DOTALL,
)
_INLINE_SECRET = re.compile(
    r"(?i)\b(bearer\s+|(?:[\w-]*(?:token|password|secret|authorization))\s*[=:]\s*"
    r"(?:bearer\s+|basic\s+)?)[^\s\"'&;,]+"
)


def bounded(text: str) -> str:
    """Trimmed, without inline secrets, cut at a character (D35)."""
    return bound_text(_INLINE_SECRET.sub(rf"\g<1>{REDACTED}", text.strip()), TEXT_BYTES_MAX)


def bounded_args(args: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments without secrets: ``--flag=[redacted]``, or the argument after the flag."""
    kept: list[str] = []
    hide_next = False
    for arg in args[:ARGS_MAX]:
        flag = _SECRET_FLAG.match(arg.strip())
        if hide_next and not arg.startswith("-"):
            kept.append(REDACTED)
            hide_next = False
        elif flag is not None:
            hide_next = flag[2] is None
            kept.append(bounded(flag[1]) + ("" if hide_next else f"={REDACTED}"))
        else:
            hide_next = False
            kept.append(bounded(arg))
    return (*kept, ARGS_CUT) if len(args) > ARGS_MAX else tuple(kept)
