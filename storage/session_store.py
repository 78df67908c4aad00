"""The writable store of one session, on the hub's side: nothing here waits (03 4, 13, 14).

``submit`` assigns sequences and ids, encodes each row once and queues one commit; what comes of it
arrives in the hub as a call of ``done``. Rules owned here:

- sequence = last + 1; ids are new; a submit is all or nothing, its rows and its state documents.
- After a failed commit every later submit in flight fails too, and the sequence goes back to the
  last committed one; none of them was readable, so there is no gap.
- A writable open is a new epoch. The first submit carries its activation and is class F, and all
  others come behind it: rows of an epoch that was lost are never mistaken for those of the next.
- Reads serve committed rows only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from ..actors.errors import StoreClosedError, StoreValidationError
from ..actors.model.event import NO_TIME, AgentEvent, SessionEvent
from ..actors.model.query import EventQuery, TurnHistory
from ..actors.model.runs import TextRun, head_of, runs_of
from .commit_log import CommitLog
from .commits import Done, Lane, Part, Stream
from .event_rows import Cursor, EventRows
from .format.operations import (
    Activate,
    DocID,
    Operation,
    encode_operation,
    encode_payload,
    join_payload,
)
from .format.row_encoder import RowEncoder
from .format.row_index import RowKey
from .format.times import time_text
from .journal import RecoveryReport
from .materialiser import Materialiser
from .readonly import SessionReader
from .state_documents import StateDocuments, StateOp, state_operations
from .stored_rows import StoredRow, StoredRows

__all__ = ["SessionStore", "StateOp", "StoredRow"]


class _InFlight(NamedTuple):
    lane: Lane
    rows: Sequence[bytes]
    keys: Sequence[RowKey]
    events: bytes | None
    state: bytes | None
    state_operations: Sequence[Operation]
    done: Done


class SessionStore:
    """One open session. All methods but the reads are for the hub's thread."""

    def __init__(
        self,
        *,
        rows: EventRows,
        state: StateDocuments,
        log: CommitLog,
        materialiser: Materialiser,
        streams: tuple[Stream, Stream],
        reports: tuple[RecoveryReport, RecoveryReport],
        new_event_id: Callable[[], str],
        now: Callable[[], datetime],
        prepare: Callable[[], None] | None,
        closed: Callable[[str, tuple[int, int], Exception | None], None],
    ) -> None:
        self.report, self.state_report = reports
        self._rows = rows
        self._state = state
        self._log = log
        self._materialiser = materialiser
        self._events_stream, self._state_stream = streams
        self._new_event_id = new_event_id
        self._now = now
        self._prepare = prepare
        self._on_closed = closed
        self._reads = SessionReader(rows.session_id, rows, state)
        self._epoch = max(rows.epoch + 1, rows.epoch_floor)
        self._encoder = RowEncoder(rows.session_id, self._epoch)
        self._activation_sent = False
        self._lane = Lane()
        self._in_flight: deque[_InFlight] = deque()
        self._sequence = rows.committed
        self._events_number = rows.number
        self._state_number = state.number
        self._closing: list[Done] = []
        self._finishing = False
        self._closed = False

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._rows.session_id

    @property
    def path(self) -> str:
        """The ``events.journal``."""
        return self._rows.path

    @property
    def is_closing(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed or bool(self._closing)

    def epoch(self) -> int:
        """The epoch of this activation."""
        return self._epoch

    def last_sequence(self) -> int:
        """Sequence of the last committed row."""
        return self._reads.last_sequence()

    def reader(self) -> SessionReader:
        """A reader of the live rows, closed on its own."""
        self._reads.head()
        return SessionReader(self.session_id, self._rows, self._state)

    def activate(self, done: Done, state_ops: Sequence[StateOp] = ()) -> None:
        """Commit the activation record of this epoch (class F); the first submit."""
        self.submit((), agent_name="", state_ops=state_ops, durable=True, done=done)

    def submit(
        self,
        events: Sequence[AgentEvent],
        *,
        agent_name: str,
        state_ops: Sequence[StateOp] = (),
        durable: bool,
        done: Done,
    ) -> StoredRows:
        """Queue one commit of rows and state documents; returns the rows at once.

        :param durable: class F (synced before ``done``), else class P (03 13).
        :param done: called in the hub, in the order of submits, with ``None`` or the error.
        :raises StoreValidationError: a blank turn id, type or agent name, or something that has
            no stored form; nothing was assigned.
        :raises StoreClosedError: the store is closing or closed.
        :raises StoreSyncFailedError: an earlier sync failed.
        :raises StoreOverloadedError: too many writes wait.
        """
        if self._closing or self._closed:
            raise self._closed_error("record")
        stored, keys = self._encode(events, agent_name)
        rows = stored.rows
        operations = state_operations(state_ops)
        events_payload = self._events_payload(rows)
        state_payload = (
            encode_payload(self._epoch, self._state_number + 1, operations) if operations else None
        )
        parts = []
        if events_payload is not None:
            parts.append(Part(self._events_stream, events_payload))
        if state_payload is not None:
            parts.append(Part(self._state_stream, state_payload))
        entry = _InFlight(self._lane, rows, keys, events_payload, state_payload, operations, done)
        # First the assignments, then the queue: what becomes of it may be told at once.
        before = self._assigned()
        first, self._activation_sent = not self._activation_sent, True
        self._sequence += len(rows)
        self._events_number += events_payload is not None
        self._state_number += state_payload is not None
        try:
            self._queue(entry, parts, durable, first)
        except BaseException:
            self._assign(*before)
            raise
        return stored

    def close(self, done: Done) -> None:
        """Write what was submitted, complete and sync this session's journals, then ``done``.

        A second call after that succeeds at once.

        :raises StoreClosedError: it is closing already.
        """
        if self._closed:
            done(None)
            return
        if self._closing:
            raise self._closed_error("close")
        self._closing.append(done)
        self._finish_when_idle()

    # Reads.

    def query(self, query: EventQuery) -> list[SessionEvent]:
        """See :meth:`SessionReader.query`."""
        return self._reads.query(query)

    def history(self, query: EventQuery) -> list[TurnHistory]:
        """See :meth:`SessionReader.history`."""
        return self._reads.history(query)

    def resolve(self, epoch: int, sequence: int) -> Cursor:
        """See :meth:`SessionReader.resolve`."""
        return self._reads.resolve(epoch, sequence)

    def head(self) -> tuple[int, int]:
        """The cursor after everything committed."""
        return self._reads.head()

    def rows_after(self, sequence: int, *, bytes_max: int, until: int | None = None) -> list[bytes]:
        """See :meth:`SessionReader.rows_after`."""
        return self._reads.rows_after(sequence, bytes_max=bytes_max, until=until)

    def state_document(self, table: str, doc_id: DocID) -> dict[str, Any] | None:
        """See :meth:`SessionReader.state_document`."""
        return self._reads.state_document(table, doc_id)

    def state_documents(self, table: str) -> dict[DocID, dict[str, Any]]:
        """See :meth:`SessionReader.state_documents`."""
        return self._reads.state_documents(table)

    # For the home.

    def trim(self) -> None:
        """Forget the bytes of what is in the files by now."""
        self._rows.trim(self._events_stream.materialised)
        self._state.trim(self._state_stream.materialised)

    def _encode(
        self, events: Sequence[AgentEvent], agent_name: str
    ) -> tuple[StoredRows, list[RowKey]]:
        rows: list[bytes] = []
        ids = [self._new_event_id() for _ in range(len(events))]
        keys: list[RowKey] = []
        key: RowKey | None = None
        first = self._sequence + 1
        for run in runs_of(events):
            event = head_of(run)
            if key is None or event.type != key.type or event.turn_id != key.turn_id:
                key = RowKey(event.type, event.turn_id, agent_name)
                if not all(value.strip() for value in key):
                    raise _missing(event, agent_name)
            timestamp = event.timestamp
            if timestamp is NO_TIME or timestamp == NO_TIME:
                timestamp = self._now()
            done = len(rows)
            if isinstance(run, TextRun):
                rows += self._encoder.encode_run(
                    first + done, ids[done : done + len(run)], agent_name, timestamp, run
                )
            else:
                rows.append(
                    self._encoder.encode(first + done, ids[done], agent_name, timestamp, run)
                )
            keys += [key] * (len(rows) - done)
        last = self._sequence + len(rows) if rows else 0
        return StoredRows(self._epoch, last, ids, rows, events), keys

    def _events_payload(self, rows: Sequence[bytes]) -> bytes | None:
        items = []
        if not self._activation_sent:
            items.append(encode_operation(Activate(self._epoch, time_text(self._now()))))
        if not items and not rows:
            return None
        return join_payload(self._epoch, self._events_number + 1, items, rows)

    def _queue(self, entry: _InFlight, parts: Sequence[Part], durable: bool, first: bool) -> None:
        self._in_flight.append(entry)
        try:
            self._log.submit(
                parts,
                lane=entry.lane,
                durable=durable or first,
                done=partial(self._settled, entry),
                prepare=self._prepare if first else None,
            )
        except BaseException:
            self._in_flight.pop()
            raise

    def _settled(self, entry: _InFlight, error: Exception | None) -> None:
        """A commit is through, in the order of submits; called in the hub."""
        self._in_flight.popleft()
        if error is None:
            self._commit(entry)
        elif entry.lane is self._lane:
            # The log refuses the rest of this lane; whatever is submitted from now on is new.
            self._lane = Lane()
            rows = self._rows
            active = rows.epoch == self._epoch
            self._assign(rows.committed, rows.number, self._state.number, active)
        entry.done(error)
        self._finish_when_idle()

    def _assigned(self) -> tuple[int, int, int, bool]:
        return self._sequence, self._events_number, self._state_number, self._activation_sent

    def _assign(self, sequence: int, events: int, state: int, activation_sent: bool) -> None:
        self._sequence = sequence
        self._events_number = events
        self._state_number = state
        self._activation_sent = activation_sent

    def _commit(self, entry: _InFlight) -> None:
        if entry.events is not None:
            self._rows.commit(self._epoch, entry.events, entry.rows, entry.keys)
        if entry.state is not None:
            self._state.commit(entry.state, entry.state_operations)

    def _finish_when_idle(self) -> None:
        if self._closing and not self._finishing and not self._in_flight:
            self._finishing = True
            self._state.compact_when_due(ending=True)
            self._materialiser.finish(
                (self._events_stream, self._state_stream), self._finished
            )

    def _finished(self, error: Exception | None) -> None:
        self._closed = True
        self.trim()
        head = self._reads.head()
        self._reads.close()
        self._on_closed(self.session_id, head, error)
        for done in self._closing:
            done(error)
        self._closing.clear()

    def _closed_error(self, operation: str) -> StoreClosedError:
        return StoreClosedError(
            f'{operation} "{self.session_id}": the store is closed',
            session_id=self.session_id,
            operation=operation,
        )


def _missing(event: AgentEvent, agent_name: str) -> StoreValidationError:
    facts = {"turn_id": event.turn_id, "type": event.type, "agent_name": agent_name}
    field = next(name for name, value in facts.items() if not value.strip())
    return StoreValidationError(f"store: event {field} is required", field=field)
