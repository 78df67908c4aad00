"""Events: what an agent turn produces (03 2), and the stored row of one (03 4).

An event is a :class:`msgspec.Struct`: one is made for every line an agent writes, and a frozen
dataclass of this width costs ten times as much to build. A stored row renders its text lazily.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from .failure import SessionFailure

EVENT_SCHEMA = "greenroom.event.v1"
EVENT_TYPE_SESSION_STOPPED = "session_stopped"
NO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""The zero time: "not set", as in the stored form (03 2.2)."""


class EventType(StrEnum):
    """The event type tokens (03 2.1). Readers meet unknown tokens too: compare, never assume."""

    USER_MESSAGE = "user_message"
    SYNTHETIC_REENTRY = "synthetic_reentry"
    AGENT_MESSAGE = "agent_message"
    THOUGHT = "thought"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    PLAN = "plan"
    PERMISSION = "permission"
    USAGE = "usage"
    SYSTEM = "system"
    RUNTIME_PROGRESS = "runtime_progress"
    RUNTIME_WARNING = "runtime_warning"
    DONE = "done"
    ERROR = "error"
    SESSION_STOPPED = EVENT_TYPE_SESSION_STOPPED
    MARKER_CREATED = "transcript_marker.created"
    MARKER_REDACTED = "transcript_marker.redacted"
    HOOK_START = "hook.dispatch.start"
    HOOK_COMPLETE = "hook.dispatch.complete"


TEXT_CHUNK_TYPES = frozenset({EventType.AGENT_MESSAGE.value, EventType.THOUGHT.value})
"""Chunks of what an agent says; nearly all events are of these types."""
TERMINAL_TYPES = frozenset({EventType.DONE.value, EventType.ERROR.value})
INPUT_TYPES = frozenset({EventType.USER_MESSAGE.value, EventType.SYNTHETIC_REENTRY.value})
MARKER_TYPES = frozenset({EventType.MARKER_CREATED.value, EventType.MARKER_REDACTED.value})


class RawJSON(msgspec.Struct, eq=False, gc=False):
    """JSON text as it came, decoded at most once and only when asked for.

    ``RawJSON(data)`` holds the UTF-8 bytes of one JSON value. ``RawJSON(None, make, source)`` is
    what ``make(source)`` gives when somebody first looks, for of most events nobody does; ``make``
    is pure and gives JSON text whatever happens.
    """

    _data: bytes | None = None
    _make: Callable[[Any], bytes] | None = None
    _source: Any = None
    _value: Any = msgspec.UNSET

    @classmethod
    def of(cls, value: Any) -> RawJSON:
        """The JSON text of a value made here."""
        return cls(msgspec.json.encode(value))

    @property
    def data(self) -> bytes:
        """The UTF-8 bytes of the text."""
        data = self._data
        if data is None:
            assert self._make is not None, "made by one of the two constructors"
            data = self._data = self._make(self._source)
        return data

    @property
    def value(self) -> Any:
        """The decoded value; ``None`` when the bytes are no JSON, or nested too deep."""
        if self._value is msgspec.UNSET:
            try:
                self._value = msgspec.json.decode(self.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._value = None
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawJSON) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"RawJSON({self.data!r})"


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Token counts and cost of a turn; absent is ``None``, never 0 (03 2.2)."""

    turn_id: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    thought_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    context_used: int | None = None
    context_size: int | None = None
    cost_amount: float | None = None
    cost_currency: str | None = None
    timestamp: datetime | None = None

    def merge(self, newer: TokenUsage) -> TokenUsage:
        """Field by field the newer value where it is present (03 2.2)."""
        fresh = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(newer, name)) is not None and value != ""
        }
        return msgspec.structs.replace(self, **fresh)

    @property
    def is_zero(self) -> bool:
        """Whether all ten value fields are absent."""
        return all(
            getattr(self, name) is None
            for name in self.__struct_fields__
            if name not in ("turn_id", "timestamp")
        )


class AgentEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened in or around a turn (03 2.2).

    The order of the fields up to ``raw`` is the order of the stored envelope; never reorder.
    """

    type: str
    session_id: str = ""
    """The id the *agent* gave its session, not greenroom's."""
    turn_id: str = ""
    request_id: str = ""
    task_id: str = ""
    run_id: str = ""
    workflow_id: str = ""
    claim_token_hash: str = ""
    lease_until: datetime | None = None
    coordinator_session_id: str = ""
    scheduler_reason: str = ""
    hook_event: str = ""
    hook_name: str = ""
    actor_kind: str = ""
    actor_id: str = ""
    release_reason: str = ""
    timestamp: datetime = NO_TIME
    text: str = ""
    title: str = ""
    tool_call_id: str = ""
    stop_reason: str = ""
    action: str = ""
    resource: str = ""
    decision: str = ""
    error: str = ""
    failure: SessionFailure | None = None
    synthetic: dict[str, str] | None = None
    usage: TokenUsage | None = None
    runtime: dict[str, Any] | None = None
    raw: RawJSON | None = None
    tool_prechecked: bool = False
    """In memory only."""
    persisted: bool = True
    """In memory only; ``False`` marks a copy whose append failed (03 5)."""

    @property
    def is_terminal(self) -> bool:
        """Whether the event ends its turn."""
        return self.type in TERMINAL_TYPES


class SessionEvent:
    """One stored row (03 4); a value, never changed after it was made.

    :param content: the canonical envelope as compact JSON text, or any text; or a callable that
        renders it, called once and only when :attr:`content` is asked for.
    """

    __slots__ = (
        "_content",
        "agent_name",
        "epoch",
        "event",
        "id",
        "sequence",
        "session_id",
        "timestamp",
        "turn_id",
        "type",
    )

    def __init__(
        self,
        *,
        id: str,
        session_id: str,
        epoch: int,
        sequence: int,
        turn_id: str,
        type: str,
        agent_name: str,
        timestamp: datetime,
        event: AgentEvent,
        content: str | Callable[[], str] = "",
    ) -> None:
        self.id = id
        self.session_id = session_id
        self.epoch = epoch
        self.sequence = sequence
        self.turn_id = turn_id
        self.type = type
        self.agent_name = agent_name
        self.timestamp = timestamp
        self.event = event
        self._content = content

    @property
    def content(self) -> str:
        """The stored content as text (03 3.1)."""
        content = self._content
        if not isinstance(content, str):
            content = self._content = content()
        return content

    @property
    def cursor(self) -> tuple[int, int]:
        """``(epoch, sequence)``: everything after this comes later."""
        return self.epoch, self.sequence

    def _facts(self) -> tuple[object, ...]:
        return (
            self.id,
            self.session_id,
            self.epoch,
            self.sequence,
            self.turn_id,
            self.type,
            self.agent_name,
            self.timestamp,
            self.event,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SessionEvent):
            return NotImplemented
        return self._facts() == other._facts() and self.content == other.content

    def __hash__(self) -> int:
        return hash((self.session_id, self.epoch, self.sequence, self.id))

    def __repr__(self) -> str:
        return (
            f"SessionEvent(session_id={self.session_id!r}, cursor={self.cursor!r}, "
            f"id={self.id!r}, turn_id={self.turn_id!r}, type={self.type!r}, event={self.event!r})"
        )
