"""Reading what is kept of a session beside its events: usage, permission log, hook runs (03 9)."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ..actors.errors import StoreValidationError
from ..actors.model.event import EventType, TokenUsage
from ..actors.model.query import EventQuery
from ..actors.model.records import (
    HOOK_RUNS_TABLE,
    PERMISSIONS_TABLE,
    STATS_TABLE,
    USAGE_TABLE,
    HookRunQuery,
    HookRunRecord,
    PermissionRecord,
    SessionUsage,
    TokenStats,
)
from .readonly import SessionReader
from .state_documents import StateOp

EPOCH = "epoch"
"""Member of a document that belongs to the conversation: the epoch it was stored in."""

T = TypeVar("T")


def session_usage(reader: SessionReader) -> SessionUsage:
    """The usage of each ended turn, oldest first, and the statistics of the session.

    :raises StoreValidationError: a stored document is none of these.
    """
    turns = [_decoded(found, TokenUsage) for found in _of_conversation(reader, USAGE_TABLE)]
    stats = [_decoded(found, TokenStats) for found in _all(reader, STATS_TABLE)]
    return SessionUsage(tuple(turns), stats[-1] if stats else None)


def token_usage(reader: SessionReader, turn_id: str) -> TokenUsage | None:
    """The usage of one turn; of a turn that has not ended, what its rows say so far.

    :raises StoreValidationError: the stored document is no usage.
    """
    found = reader.state_document(USAGE_TABLE, turn_id)
    if found is not None and found.get(EPOCH) in reader.epochs():
        return _decoded(found, TokenUsage)
    usage: TokenUsage | None = None
    for row in reader.query(EventQuery(turn_id=turn_id, type=EventType.USAGE)):
        if row.event.usage is not None:
            usage = (usage or TokenUsage(turn_id=turn_id)).merge(row.event.usage)
    return usage


def permission_log(reader: SessionReader) -> tuple[PermissionRecord, ...]:
    """Every request for a permission, in the order they were asked; a clear keeps them.

    :raises StoreValidationError: a stored document is no such record.
    """
    return tuple(_decoded(found, PermissionRecord) for found in _all(reader, PERMISSIONS_TABLE))


def hook_runs(reader: SessionReader, query: HookRunQuery) -> tuple[HookRunRecord, ...]:
    """The hook runs of the conversation that are asked for (03 6).

    :raises StoreValidationError: a stored document is no hook run; the whole query fails.
    """
    runs = [_decoded(found, HookRunRecord) for found in _of_conversation(reader, HOOK_RUNS_TABLE)]
    chosen = sorted((run for run in runs if query.matches(run)), key=lambda run: run.recorded_at)
    return tuple(chosen[-query.limit :] if query.limit else chosen)


def forgotten(reader: SessionReader) -> list[StateOp]:
    """What may go when the conversation is cleared: documents of those cleared before it."""
    known = reader.epochs()
    return [
        StateOp(table, doc_id, None)
        for table in (USAGE_TABLE, HOOK_RUNS_TABLE)
        for doc_id, found in reader.state_documents(table).items()
        if found.get(EPOCH) not in known
    ]


def _of_conversation(reader: SessionReader, table: str) -> list[dict[str, Any]]:
    known = reader.epochs()
    return [found for found in _all(reader, table) if found.get(EPOCH) in known]


def _all(reader: SessionReader, table: str) -> list[dict[str, Any]]:
    return list(reader.state_documents(table).values())


def _decoded(document: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise StoreValidationError(
            f"store: no {kind.__name__}: {error}", field="document"
        ) from error
