"""What is kept of a session beside its events: statistics, permission log, hook runs (03 6, 9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..errors import StoreValidationError
from .event import TokenUsage

USAGE_TABLE, STATS_TABLE = "token_usage", "token_stats"
PERMISSIONS_TABLE, HOOK_RUNS_TABLE = "permissions", "hook_runs"
"""Tables of ``state.journal``. What of them belongs to the conversation carries its epoch."""


@dataclass(frozen=True, slots=True)
class TokenStats:
    """Tokens and cost of all turns of a session that ended; absent is ``None`` (03 9).

    A clear of the conversation leaves it as it is.
    """

    id: str
    session_id: str
    agent_name: str
    turn_count: int
    updated_at: datetime
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost_amount: float | None = None
    cost_currency: str | None = None


@dataclass(frozen=True, slots=True)
class SessionUsage:
    """The usage of each turn of the conversation, oldest first, and the session's statistics."""

    turns: tuple[TokenUsage, ...] = ()
    stats: TokenStats | None = None


@dataclass(frozen=True, slots=True)
class PermissionRecord:
    """One request for a permission, and its one decision once there is one (03 9).

    :param policy_used: the permission mode of the session when it was asked.
    :param options: what the agent offered, as in the event.
    """

    id: str
    session_id: str
    agent_name: str
    turn_id: str
    asked_at: datetime
    policy_used: str
    request_id: str = ""
    tool_call_id: str = ""
    title: str = ""
    action: str = ""
    resource: str = ""
    options: tuple[dict[str, Any], ...] = ()
    decision: str = ""
    decided_at: datetime | None = None

    @property
    def is_pending(self) -> bool:
        """Whether nobody has decided."""
        return not self.decision


class HookMode(StrEnum):
    """Whether the session waited for a hook."""

    SYNC = "sync"
    ASYNC = "async"


class HookOutcome(StrEnum):
    """What came of a hook."""

    APPLIED = "applied"
    DENIED = "denied"
    FAILED = "failed"
    SKIPPED = "skipped"
    DROPPED = "dropped"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class HookRunRecord:
    """One run of one hook (03 6).

    :param duration: nanoseconds.
    :param patch_applied: what the hook changed, as plain data.
    :raises StoreValidationError: a blank name, an unknown mode or outcome. Field: ``field``.
    """

    hook_name: str
    event: str
    recorded_at: datetime
    source: str = ""
    mode: HookMode = HookMode.SYNC
    outcome: HookOutcome = HookOutcome.APPLIED
    duration: int = 0
    dispatch_depth: int = 0
    patch_applied: Any = None
    error: str = ""
    required: bool = False

    def __post_init__(self) -> None:
        if not self.hook_name.strip():
            raise StoreValidationError("hooks: hook name is required", field="hook_name")
        _check(self.mode, HookMode, "mode")
        _check(self.outcome, HookOutcome, "outcome")


@dataclass(frozen=True, slots=True)
class HookRunQuery:
    """Which hook runs, ascending by time; a limit keeps the most recent (03 6).

    :param since: earliest ``recorded_at``, itself included.
    :raises StoreValidationError: an unknown outcome, or a negative limit. Field: ``field``.
    """

    event: str = ""
    outcome: str = ""
    since: datetime | None = None
    limit: int = 0

    def __post_init__(self) -> None:
        if self.outcome:
            _check(self.outcome, HookOutcome, "outcome")
        if self.limit < 0:
            raise StoreValidationError(f"hooks: invalid run limit {self.limit}", field="limit")

    def matches(self, run: HookRunRecord) -> bool:
        """Whether a run is asked for; the limit is the reader's."""
        return (
            self.event in ("", run.event)
            and self.outcome in ("", run.outcome)
            and (self.since is None or run.recorded_at >= self.since)
        )


def _check(value: str, members: type[StrEnum], name: str) -> None:
    if value not in set(members):
        shown = f"run {name}" if members is HookOutcome else name
        raise StoreValidationError(f'hooks: invalid hook {shown} "{value}"', field=name)
