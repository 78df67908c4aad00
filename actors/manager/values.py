"""Results of the operations as plain data, and back: what a control connection carries.

Plain data is null, booleans, numbers, text, bytes, lists, and maps by text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from ..model.event import AgentEvent, RawJSON, SessionEvent
from ..model.health import HealthRecoveryResult, SessionHealth
from ..model.home import HomeStatus
from ..model.query import TurnHistory
from ..model.records import HookRunRecord, PermissionRecord, SessionUsage
from ..model.repair import RepairResult
from ..model.session import SessionInfo
from ..model.turn import InputQueueSummary, SendPromptResult
from .metrics import RuntimeMetrics


@dataclass(frozen=True, slots=True)
class Codec:
    """How one kind of result travels."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def to_plain(value: Any) -> Any:
    """A value of the model as plain data; an event by its own codec."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def from_plain(value: Any, kind: Any) -> Any:
    """A value of the model from plain data; an event by its own codec.

    :raises msgspec.ValidationError: it is not of that kind.
    """
    return msgspec.convert(value, kind, builtin_types=(bytes,))


def _agent_event_to_plain(event: AgentEvent) -> Any:
    """The raw JSON as the bytes it is: it travels as it came."""
    raw = event.raw
    if raw is None:
        return to_plain(event)
    return {**to_plain(msgspec.structs.replace(event, raw=None)), "raw": raw.data}


def _agent_event_from_plain(value: Any) -> AgentEvent:
    event: AgentEvent = from_plain({**value, "raw": None}, AgentEvent)
    raw = value.get("raw")
    return event if raw is None else msgspec.structs.replace(event, raw=RawJSON(raw))


def _of(kind: Any) -> Codec:
    return Codec(to_plain, lambda value: from_plain(value, kind))


def _event_to_plain(row: SessionEvent) -> list[Any]:
    return [
        row.id,
        row.session_id,
        row.epoch,
        row.sequence,
        row.turn_id,
        row.type,
        row.agent_name,
        row.timestamp.isoformat(),
        row.content,
        _agent_event_to_plain(row.event),
    ]


def _event_from_plain(fields: Sequence[Any]) -> SessionEvent:
    row_id, session_id, epoch, sequence, turn_id, kind, agent, when, content, event = fields
    return SessionEvent(
        id=row_id,
        session_id=session_id,
        epoch=epoch,
        sequence=sequence,
        turn_id=turn_id,
        type=kind,
        agent_name=agent,
        timestamp=datetime.fromisoformat(when),
        content=content,
        event=_agent_event_from_plain(event),
    )


def _history_to_plain(turns: Sequence[TurnHistory]) -> list[Any]:
    return [[turn.turn_id, [_event_to_plain(row) for row in turn.events]] for turn in turns]


def _history_from_plain(turns: Sequence[Any]) -> tuple[TurnHistory, ...]:
    return tuple(
        TurnHistory(turn_id, tuple(_event_from_plain(row) for row in rows))
        for turn_id, rows in turns
    )


def _sent_to_plain(result: SendPromptResult) -> Any:
    return to_plain(replace(result, events=None))


PLAIN = Codec(_same, _same)
NOTHING = Codec(lambda _: None, _same)
SESSION_ID = Codec(lambda session: session.id, _same)
INFO = _of(SessionInfo)
INFOS = Codec(to_plain, lambda value: tuple(from_plain(value, list[SessionInfo])))
QUEUE = _of(InputQueueSummary)
REPAIR = _of(RepairResult)
USAGE = _of(SessionUsage)
HEALTH = _of(SessionHealth)
HEALTHS = _of(tuple[SessionHealth, ...])
HEALTH_RECOVERY = _of(HealthRecoveryResult)
HOME_STATUS = _of(HomeStatus)
METRICS = _of(RuntimeMetrics)
PERMISSIONS = _of(tuple[PermissionRecord, ...])
HOOK_RUNS = _of(tuple[HookRunRecord, ...])
SENT = Codec(_sent_to_plain, lambda value: from_plain(value, SendPromptResult))
AGENT_EVENT = Codec(_agent_event_to_plain, _agent_event_from_plain)
EVENTS = Codec(
    lambda rows: [_event_to_plain(row) for row in rows],
    lambda rows: tuple(_event_from_plain(row) for row in rows),
)
HISTORY = Codec(_history_to_plain, _history_from_plain)
