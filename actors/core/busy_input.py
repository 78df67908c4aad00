"""The durable input queue: queue, interrupt and steer, fenced by a generation (02 7, 8).

The session owns its queue: an entry changes here and in the store by the same step, so reading
the generation and using it is one act.

===========  ===========  ==============================
from         to           by
===========  ===========  ==============================
(new)        queued       ``enqueue``, ``stage``
queued       sent         ``dispatched``, ``consume_steer``
sent         queued       ``put_back`` (the agent did not take the steering text)
queued       failed       ``failed`` (a hook refused it)
queued       canceled     ``fence``, ``cancel``, a newer ``stage``
===========  ===========  ==============================

An entry becomes ``sent`` in the same commit as its input row, so none is ever found half sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import msgspec

from ..errors import (
    SessionInputQueueEntryNotFoundError,
    SessionInputQueueFullError,
    SessionValueError,
)
from ..model.failure import FAILURE_SUMMARY_BYTES_MAX, bound_text
from ..model.ids import QUEUE_ENTRY_PREFIX
from ..model.turn import BusyInputMode, QueueEntry, QueueStatus
from .effects import TableChange
from .state import InputQueue, SessionState, mint

QUEUE_TABLE = "input_queue"
GENERATION_TABLE = "input_state"
GENERATION_KEY = "generation"
Change = tuple[InputQueue, tuple[TableChange, ...]]


def load(documents: Iterable[Mapping[str, Any]], generation: int) -> InputQueue:
    """The queue as it is stored; entries in a final status only advance the numbering.

    :raises msgspec.ValidationError: a document that is no queue entry.
    """
    entries = sorted((msgspec.convert(d, QueueEntry) for d in documents), key=lambda e: e.seq)
    pending = tuple(_requeued(e) for e in entries if e.status in _PENDING)
    return InputQueue(generation, entries[-1].seq if entries else 0, pending)


_PENDING = frozenset({QueueStatus.QUEUED, QueueStatus.DISPATCHING})


def _requeued(entry: QueueEntry) -> QueueEntry:
    return replace(entry, status=QueueStatus.QUEUED, dispatch_started_at=None)


def document(entry: QueueEntry) -> dict[str, Any]:
    """An entry as it is stored."""
    return {f.name: getattr(entry, f.name) for f in fields(entry)}


def check_text(text: str, bytes_max: int) -> str:
    """The trimmed text of an input.

    :raises SessionValueError: blank, or longer than ``bytes_max`` bytes of UTF-8.
    """
    trimmed = text.strip()
    if not trimmed:
        raise SessionValueError("input queue: text is required")
    if len(trimmed.encode("utf-8", "replace")) > bytes_max:
        raise SessionValueError(
            f"input queue: text exceeds session.busy_input.max_text_bytes ({bytes_max})"
        )
    return trimmed


def new_entry(
    state: SessionState, text: str, mode: BusyInputMode, now: datetime
) -> tuple[SessionState, QueueEntry]:
    """An input of the session's present generation, in no queue yet."""
    state, entry_id = mint(state, QUEUE_ENTRY_PREFIX)
    entry = QueueEntry(
        id=entry_id,
        session_id=state.id,
        seq=0,
        status=QueueStatus.QUEUED,
        mode=mode,
        text=text,
        session_generation=state.queue.generation,
        enqueued_at=now,
        updated_at=now,
    )
    return state, entry


def enqueue(queue: InputQueue, entry: QueueEntry, cap: int) -> tuple[InputQueue, QueueEntry, int]:
    """Append an entry; returns it numbered, with its 1-based position.

    :raises SessionInputQueueFullError: ``cap`` entries are pending, of whatever mode.
    """
    if len(queue.entries) >= cap:
        raise SessionInputQueueFullError(
            f'session "{entry.session_id}": the input queue is full ({cap}); '
            f"{SessionInputQueueFullError.advice}",
            session_id=entry.session_id,
            queue_cap=cap,
        )
    numbered = _numbered(queue, entry)
    return _appended(queue, numbered), numbered, len(queue.entries) + 1


def stage(queue: InputQueue, entry: QueueEntry, now: datetime) -> tuple[Change, QueueEntry]:
    """Stage a steering text; an earlier staged one is superseded (at most one is pending)."""
    queue, changes = _cancel(queue, lambda e: e.mode is BusyInputMode.STEER, now)
    numbered = _numbered(queue, entry)
    return (_appended(queue, numbered), (*changes, put(numbered))), numbered


def fence(queue: InputQueue, now: datetime) -> tuple[Change, int]:
    """Advance the generation and cancel everything older, in one change; returns how many."""
    fenced, changes = _cancel(queue, lambda e: True, now)
    generation = queue.generation + 1
    advanced = TableChange(GENERATION_TABLE, GENERATION_KEY, {"input_generation": generation})
    return (replace(fenced, generation=generation), (*changes, advanced)), len(queue.entries)


def cancel(queue: InputQueue, entry_id: str, now: datetime) -> tuple[Change, QueueEntry]:
    """Take one pending entry back.

    :raises SessionInputQueueEntryNotFoundError: no such pending entry.
    """
    for entry in queue.entries:
        if entry.id == entry_id:
            change = _cancel(queue, lambda e: e.id == entry_id, now)
            return change, replace(entry, status=QueueStatus.CANCELED)
    raise SessionInputQueueEntryNotFoundError(
        f'input queue: no pending entry "{entry_id}"', queue_entry_id=entry_id
    )


def next_entry(queue: InputQueue) -> QueueEntry | None:
    """The entry to dispatch: lowest ``seq``, of either mode."""
    return queue.entries[0] if queue.entries else None


def holds(queue: InputQueue, entry_id: str) -> bool:
    """Whether that entry waits still."""
    return any(entry.id == entry_id for entry in queue.entries)


def staged_steer(queue: InputQueue) -> QueueEntry | None:
    """The steering text waiting for a tool boundary."""
    return next((e for e in queue.entries if e.mode is BusyInputMode.STEER), None)


def sent(queue: InputQueue, entry: QueueEntry, now: datetime) -> Change:
    """The entry went to the agent: it leaves the queue."""
    done = replace(
        entry,
        status=QueueStatus.SENT,
        attempt_count=entry.attempt_count + 1,
        dispatch_started_at=now,
        sent_at=now,
        updated_at=now,
    )
    return _without(queue, entry.id), (put(done),)


def failed(queue: InputQueue, entry: QueueEntry, summary: str, now: datetime) -> Change:
    """The entry could not be sent: it leaves the queue, and says why (02 7.7)."""
    told = bound_text(summary, FAILURE_SUMMARY_BYTES_MAX)
    over = replace(
        entry, status=QueueStatus.FAILED, failed_at=now, failure_summary=told, updated_at=now
    )
    return _without(queue, entry.id), (put(over),)


def put_back(queue: InputQueue, entry: QueueEntry, now: datetime) -> Change:
    """The agent did not take it: queued again, at its old place."""
    again = replace(_requeued(entry), sent_at=None, updated_at=now)
    entries = sorted((*queue.entries, again), key=lambda e: e.seq)
    return replace(queue, entries=tuple(entries)), (put(again),)


def take_back_steering(
    state: SessionState, now: datetime
) -> tuple[SessionState, tuple[TableChange, ...]]:
    """The session ends before the agent answered a steering text: it is queued again.

    Whether the agent took it will never be known, but it is not in the history (02 7.7).
    """
    if state.steering is None:
        return state, ()
    queue, changes = put_back(state.queue, state.steering, now)
    return replace(state, queue=queue, steering=None), changes


def put(entry: QueueEntry) -> TableChange:
    """The change that stores an entry."""
    return TableChange(QUEUE_TABLE, entry.id, document(entry))


def _numbered(queue: InputQueue, entry: QueueEntry) -> QueueEntry:
    return replace(entry, seq=queue.last_seq + 1, session_generation=queue.generation)


def _appended(queue: InputQueue, entry: QueueEntry) -> InputQueue:
    return replace(queue, last_seq=entry.seq, entries=(*queue.entries, entry))


def _without(queue: InputQueue, entry_id: str) -> InputQueue:
    return replace(queue, entries=tuple(e for e in queue.entries if e.id != entry_id))


def _cancel(queue: InputQueue, matches: Any, now: datetime) -> Change:
    gone = [e for e in queue.entries if matches(e)]
    changes = tuple(
        put(replace(e, status=QueueStatus.CANCELED, canceled_at=now, updated_at=now)) for e in gone
    )
    kept = tuple(e for e in queue.entries if e not in gone)
    return replace(queue, entries=kept), changes
