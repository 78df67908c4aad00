"""What the records of a file of tables come to: which documents live, and where they lie (03 14.1).

All that is kept of such a file in memory, and rebuilt from it when it is opened. Rules owned here:

- A table exists from its first document on until it is dropped, also when it is empty.
- The numbers of records go up by one. A snapshot may only come first; its parts have one number,
  and the last of them says that it is the last.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...actors.errors import StoreValidationError
from .operations import (
    EVENTS_TABLE,
    Activate,
    AppendRow,
    DocID,
    DropTable,
    Location,
    Operation,
    Put,
    Remove,
    Restore,
    decode_payload,
    placed,
)
from .rows import row_position

PUT_BYTES = 16
"""What a document takes in a file beside its own bytes and the names of its table and its id."""


class TableIndex:
    """Where each document lies, by table and id."""

    __slots__ = ("live_bytes", "tables")

    def __init__(self) -> None:
        self.tables: dict[str, dict[DocID, Location]] = {}
        self.live_bytes = 0
        """About what the documents would take in a file with nothing else in it."""

    def apply(self, operations: Sequence[Operation], payload: bytes, offset: int) -> None:
        """Apply one record whose payload lies at ``offset`` of the file."""
        for operation, position in placed(payload, operations):
            match operation:
                case Put(table, doc_id, document):
                    self._put(table, doc_id, Location(offset + position, len(document)))
                case Remove(table, doc_id):
                    gone = self.tables.get(table, {}).pop(doc_id, None)
                    self.live_bytes -= _cost(table, doc_id, gone)
                case DropTable(table):
                    documents = self.tables.pop(table, {})
                    self.live_bytes -= sum(_cost(table, *item) for item in documents.items())
                case AppendRow(row):
                    place = Location(offset + position, len(row))
                    self._put(EVENTS_TABLE, row_position(row).sequence, place)
                case Activate() | Restore():
                    pass

    def _put(self, table: str, doc_id: DocID, place: Location) -> None:
        documents = self.tables.setdefault(table, {})
        self.live_bytes += _cost(table, doc_id, place) - _cost(table, doc_id, documents.get(doc_id))
        documents[doc_id] = place


class TableHistory:
    """The records of one file, taken in one by one: their index, and which must come next."""

    __slots__ = ("epoch", "index", "number", "records", "restoring")

    def __init__(self) -> None:
        self.index = TableIndex()
        self.number = 0
        """Number of the last record."""
        self.epoch = 0
        """Epoch of the last record."""
        self.records = 0
        """How many records the file has."""
        self.restoring = False
        """Whether a part of the snapshot is still to come."""

    def replay(self, offset: int, payload: bytes) -> None:
        """Take in one record of the file, whose payload lies at ``offset``.

        :raises StoreValidationError: no payload, or a record out of order.
        """
        epoch, number, operations = decode_payload(payload)
        part = operations[0] if operations and isinstance(operations[0], Restore) else None
        if not self._follows(number, part):
            raise StoreValidationError(f"store: record {number} after {self.number}")
        self.epoch, self.number = epoch, number
        self.records += 1
        self.restoring = part is not None and part.more
        self.index.apply(operations, payload, offset)

    def commit(self, offset: int, payload: bytes, operations: Sequence[Operation]) -> None:
        """Take in the next record, made of ``operations`` and just written."""
        self.number += 1
        self.records += 1
        self.index.apply(operations, payload, offset)

    def end(self, *, compacted: bool) -> None:
        """The file has no further record.

        :param compacted: whether its header promises a snapshot.
        :raises StoreValidationError: a snapshot that is not whole.
        """
        if self.restoring or (compacted and not self.records):
            raise StoreValidationError("store: a snapshot that is cut")

    def _follows(self, number: int, part: Restore | None) -> bool:
        if part is None:
            return number == self.number + 1 and not self.restoring
        return not self.records or (self.restoring and number == self.number)


def _cost(table: str, doc_id: DocID, place: Location | None) -> int:
    if place is None:
        return 0
    return place.size + len(table) + len(str(doc_id)) + PUT_BYTES
