"""What is kept in step with the rows: usage, statistics, permission log; a pure fold (03 9).

Every row that is about to be stored passes here; the documents it gives rise to go into the same
commit, so a row and what is kept of it are never apart.

===================  ========================================================================
row                  documents
===================  ========================================================================
any with ``usage``   the newest known value of each field, for the turn
``done``, ``error``  the turn's usage, if it has any; ``done`` adds it to the statistics
``permission``       one record per request, put again with the decision; none twice
===================  ========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from ..model.event import AgentEvent, EventType, TokenUsage
from ..model.records import (
    HOOK_RUNS_TABLE,
    PERMISSIONS_TABLE,
    STATS_TABLE,
    USAGE_TABLE,
    HookRunRecord,
    PermissionRecord,
    TokenStats,
)
from ..model.runs import heads_of
from .effects import TableChange

STATS_PREFIX, PERMISSION_PREFIX, HOOK_RUN_PREFIX = "tok", "perm", "hook"
KEPT_TYPES = frozenset({EventType.DONE.value, EventType.ERROR.value, EventType.PERMISSION.value})
"""Rows that may give rise to documents whatever they carry."""
OPEN_ASKS_MAX = 1000
"""Undecided requests remembered; the decision of an older one makes a record of its own."""

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Books:
    """What the fold remembers of one incarnation of a session.

    :param epoch: of the store; usage of another one belongs to another conversation.
    :param id_seed: what the ids of its records are made of.
    """

    session_id: str
    agent_name: str
    policy: str
    epoch: int
    id_seed: str
    stats: TokenStats | None = None
    usage: TokenUsage | None = None
    asks: Mapping[str, PermissionRecord] = field(default_factory=dict)
    records: int = 0


def load_stats(document: Mapping[str, Any] | None) -> TokenStats | None:
    """The statistics as they are stored.

    :raises msgspec.ValidationError: the document is none of statistics.
    """
    return None if document is None else msgspec.convert(dict(document), TokenStats)


def enter(books: Books, events: Sequence[AgentEvent]) -> tuple[Books, tuple[TableChange, ...]]:
    """Take in the rows of one commit; returns what goes into it with them."""
    changes: list[TableChange] = []
    for event in heads_of(events):
        # Nearly every row is of no other kind; this runs for each.
        if event.usage is None and event.type not in KEPT_TYPES:
            continue
        if event.usage is not None and not event.usage.is_zero:
            books = replace(books, usage=_merged(books.usage, event))
        if event.type in (EventType.DONE, EventType.ERROR):
            books = _close_turn(books, event, changes)
        elif event.type == EventType.PERMISSION:
            books = _permission(books, event, changes)
    return books, tuple(changes)


def hook_run(books: Books, run: HookRunRecord) -> tuple[Books, TableChange]:
    """The record of a hook run; it belongs to the conversation."""
    books = replace(books, records=books.records + 1)
    document = {**asdict(run), "epoch": books.epoch}
    return books, TableChange(HOOK_RUNS_TABLE, _minted(books, HOOK_RUN_PREFIX), document)


def add_turn(
    stats: TokenStats | None, fresh: TokenStats, usage: TokenUsage, at: datetime
) -> TokenStats:
    """The statistics with one more turn; absent and absent stays absent."""
    before = stats or fresh
    return replace(
        before,
        turn_count=before.turn_count + 1,
        updated_at=usage.timestamp or at,
        input_tokens=_sum(before.input_tokens, usage.input_tokens),
        output_tokens=_sum(before.output_tokens, usage.output_tokens),
        total_tokens=_sum(before.total_tokens, usage.total_tokens),
        cost_amount=_sum(before.cost_amount, usage.cost_amount),
        cost_currency=usage.cost_currency or before.cost_currency,
    )


def _merged(usage: TokenUsage | None, event: AgentEvent) -> TokenUsage:
    told = event.usage
    assert told is not None
    if usage is None or usage.turn_id != event.turn_id:
        usage = TokenUsage(turn_id=event.turn_id)
    return msgspec.structs.replace(
        usage.merge(told),
        turn_id=event.turn_id,
        timestamp=told.timestamp or event.timestamp,
    )


def _close_turn(books: Books, event: AgentEvent, changes: list[TableChange]) -> Books:
    usage = books.usage
    if usage is None or usage.turn_id != event.turn_id:
        return books
    document = {**msgspec.structs.asdict(usage), "epoch": books.epoch}
    changes.append(TableChange(USAGE_TABLE, usage.turn_id, document))
    if event.type == EventType.DONE:
        fresh = TokenStats(
            id=_minted(books, STATS_PREFIX),
            session_id=books.session_id,
            agent_name=books.agent_name,
            turn_count=0,
            updated_at=event.timestamp,
        )
        stats = add_turn(books.stats, fresh, usage, event.timestamp)
        changes.append(TableChange(STATS_TABLE, stats.agent_name, asdict(stats)))
        books = replace(books, stats=stats)
    return replace(books, usage=None)


def _permission(books: Books, event: AgentEvent, changes: list[TableChange]) -> Books:
    asked = books.asks.get(event.request_id) if event.request_id else None
    if asked is None:
        books = replace(books, records=books.records + 1)
        asked = PermissionRecord(
            id=_minted(books, PERMISSION_PREFIX),
            session_id=books.session_id,
            agent_name=books.agent_name,
            turn_id=event.turn_id,
            asked_at=event.timestamp,
            policy_used=books.policy,
            request_id=event.request_id,
            tool_call_id=event.tool_call_id,
            title=event.title,
            action=event.action,
            resource=event.resource,
            options=_options(event),
        )
    if event.decision:
        asked = replace(asked, decision=event.decision, decided_at=event.timestamp)
    changes.append(TableChange(PERMISSIONS_TABLE, asked.id, asdict(asked)))
    open_asks = {key: ask for key, ask in books.asks.items() if key != event.request_id}
    if asked.is_pending and event.request_id:
        open_asks[event.request_id] = asked
        if len(open_asks) > OPEN_ASKS_MAX:
            del open_asks[next(iter(open_asks))]
    return replace(books, asks=open_asks)


def _options(event: AgentEvent) -> tuple[dict[str, Any], ...]:
    raw = event.raw.value if event.raw is not None else None
    options = raw.get("options") if isinstance(raw, dict) else None
    if not isinstance(options, list):
        return ()
    return tuple(option for option in options if isinstance(option, dict))


def _minted(books: Books, prefix: str) -> str:
    text = f"{books.id_seed}/{prefix}/{books.records}"
    return f"{prefix}-{blake2b(text.encode(), digest_size=8).hexdigest()}"


def _sum(have: N | None, more: N | None) -> N | None:
    if have is None or more is None:
        return more if have is None else have
    return have + more
