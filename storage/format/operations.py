"""Operations: what a record does to the tables of its file, and the index they leave behind.

A record's payload is ``[epoch, number, [operation, ...]]``; ``number`` grows by one with every
record of the file, for ever. One record is one transaction. The operations:

====  ===============================  ===================================================
code  array                            effect
====  ===============================  ===================================================
0     ``[0, row]``                     append an event row (its CBOR, as a byte string)
1     ``[1, table, doc_id, document]`` put a document (its CBOR, as a byte string)
2     ``[2, table, doc_id]``           remove a document
3     ``[3, table]``                   drop a table
4     ``[4, epoch, timestamp]``        a writable activation of the store
5     ``[5, more]``                    part of a snapshot; ``more`` when another one follows
====  ===============================  ===================================================

A journal that was compacted (:data:`~.records.COMPACTED`) begins with a snapshot: records that all
have the number of the last record they stand for, each with operation 5 first.

Rows and documents stand in the payload as byte strings, so a replay learns where each one lies
without decoding any. The codes are final.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cbor2

from ...actors.errors import StoreValidationError
from .cbor_items import ARRAY, BYTES, UNSIGNED, head, item_end, read_head, read_unsigned

APPEND_ROW, PUT, REMOVE, DROP_TABLE, ACTIVATE, RESTORE = range(6)

_PAYLOAD = head(ARRAY, 3)
_APPEND_ROW = head(ARRAY, 2) + head(UNSIGNED, APPEND_ROW)
_APPEND_HEADS = tuple(_APPEND_ROW + head(BYTES, size) for size in range(1024))

EVENTS_TABLE = "events"
"""The table whose documents are event rows, by sequence (03 14.2)."""
ROW_MEMBERS = (
    "session_id",
    "epoch",
    "sequence",
    "id",
    "turn_id",
    "type",
    "agent_name",
    "timestamp",
    "content",
)

DocID = int | str
"""Key of a document in its table."""


class AppendRow(NamedTuple):
    """Append an event row."""

    row: bytes


class Put(NamedTuple):
    """Insert or replace a document; ``document`` is its CBOR."""

    table: str
    doc_id: DocID
    document: bytes


class Remove(NamedTuple):
    """Remove a document; one that is not there is no error."""

    table: str
    doc_id: DocID


class DropTable(NamedTuple):
    """Remove a table with all its documents."""

    table: str


class Activate(NamedTuple):
    """The store was opened for writing as ``epoch``."""

    epoch: int
    timestamp: str


class Restore(NamedTuple):
    """The record is part of a snapshot; ``more`` when another part follows it."""

    more: bool


Operation = AppendRow | Put | Remove | DropTable | Activate | Restore


class Payload(NamedTuple):
    """One decoded record."""

    epoch: int
    number: int
    operations: list[Operation]


class Location(NamedTuple):
    """Where the CBOR of a row or document lies in its file."""

    offset: int
    size: int


class InvalidDocumentError(StoreValidationError, ValueError):
    """A document that can not be stored: no mapping, or under an id that is taken."""


class UnstorableValueError(InvalidDocumentError, TypeError):
    """A document with a member that has no stored form."""


def encode_payload(epoch: int, number: int, operations: Sequence[Operation]) -> bytes:
    """The payload of one record.

    :raises StoreValidationError: a table name or document id that has no stored form.
    """
    try:
        items = [encode_operation(operation) for operation in operations]
    except (cbor2.CBOREncodeError, UnicodeEncodeError) as error:
        raise StoreValidationError(f"store: operation can not be encoded: {error}") from error
    return join_payload(epoch, number, items)


def encode_operation(operation: Operation) -> bytes:
    """One operation, ready for :func:`join_payload`."""
    if type(operation) is AppendRow:
        return append_item(operation.row)
    return cbor2.dumps(_CODES[type(operation)](operation))


def append_item(row: bytes) -> bytes:
    """The operation that appends a row."""
    return _append_head(len(row)) + row


def join_payload(
    epoch: int, number: int, items: Sequence[bytes], rows: Sequence[bytes] = ()
) -> bytes:
    """The payload of one record, of encoded operations.

    :param rows: event rows to append behind them; no row is copied on the way.
    """
    count = len(items) + len(rows)
    pieces = [b""] * (2 * len(rows))
    pieces[::2] = [_append_head(len(row)) for row in rows]
    pieces[1::2] = rows
    start = (_PAYLOAD, head(UNSIGNED, epoch), head(UNSIGNED, number), head(ARRAY, count))
    return b"".join((*start, *items, *pieces))


def appended_places(payload: bytes, sizes: Sequence[int]) -> list[int]:
    """Where the rows of these sizes lie in a payload whose last operations append them."""
    places = []
    position = len(payload)
    for size in reversed(sizes):
        position -= size
        places.append(position)
        position -= len(_append_head(size))
    places.reverse()
    return places


def _append_head(size: int) -> bytes:
    return _APPEND_HEADS[size] if size < 1024 else _APPEND_ROW + head(BYTES, size)


def decode_payload(payload: bytes) -> Payload:
    """Decode one record.

    :raises StoreValidationError: bytes that are no payload, or an unknown operation.
    """
    try:
        epoch, number, operations = cbor2.loads(payload)
        decoded = [_decode(item) for item in operations]
    except (cbor2.CBORError, ValueError, TypeError, RecursionError) as error:
        raise StoreValidationError(f"store: no payload: {error}", field="payload") from error
    if type(epoch) is not int or type(number) is not int:
        raise StoreValidationError("store: no payload: epoch, number", field="payload")
    return Payload(epoch, number, decoded)


def row_places(payload: bytes) -> tuple[int, int, list[Location]]:
    """Epoch and number of a record, and where in its payload the event rows lie.

    For opening a long history: a row costs a look at its head, nothing is decoded.

    :raises StoreValidationError: bytes that are no payload, or an unknown operation.
    """
    major, members, offset = read_head(payload, 0)
    if (major, members) != (ARRAY, 3):
        raise StoreValidationError("store: no payload", field="payload")
    epoch, offset = read_unsigned(payload, offset)
    number, offset = read_unsigned(payload, offset)
    major, count, offset = read_head(payload, offset)
    places = []
    for _ in range(count):
        if payload.startswith(_APPEND_ROW, offset):
            major, size, offset = read_head(payload, offset + len(_APPEND_ROW))
            places.append(Location(offset, size))
            offset += size
        else:
            end = item_end(payload, offset)
            _decode(cbor2.loads(payload[offset:end]))
            offset = end
    if offset != len(payload):
        raise StoreValidationError("store: no payload", field="payload")
    return epoch, number, places


def encode_document(document: Mapping[str, Any]) -> bytes:
    """The CBOR of one document.

    :raises InvalidDocumentError: no mapping; :class:`UnstorableValueError`: a member that CBOR
        does not know.
    """
    if not isinstance(document, Mapping):
        raise InvalidDocumentError("store: document is not a mapping", field="document")
    try:
        return cbor2.dumps(dict(document))
    except (cbor2.CBOREncodeError, UnicodeEncodeError, TypeError, RecursionError) as error:
        raise UnstorableValueError(
            f"store: document can not be encoded: {error}", field="document"
        ) from error


def decode_document(data: bytes) -> dict[str, Any]:
    """The document of its CBOR; that of an event row has the members :data:`ROW_MEMBERS`.

    :raises StoreValidationError: bytes that are no document.
    """
    try:
        document = cbor2.loads(data)
    except (cbor2.CBORError, ValueError, TypeError, RecursionError) as error:
        raise StoreValidationError(f"store: no document: {error}", field="document") from error
    if isinstance(document, list) and len(document) == len(ROW_MEMBERS):
        document = dict(zip(ROW_MEMBERS, document, strict=True))
    if not isinstance(document, dict):
        raise StoreValidationError("store: no document", field="document")
    return document


def placed(payload: bytes, operations: Sequence[Operation]) -> Iterator[tuple[Operation, int]]:
    """Each operation with the offset of its row or document in the payload (else 0).

    An earlier copy of the same bytes may be found instead: read back, it is the same document.
    """
    position = 0
    for operation in operations:
        match operation:
            case AppendRow(row=data) | Put(document=data):
                position = payload.index(data, position)
                yield operation, position
                position += len(data)
            case _:
                yield operation, 0


_CODES: dict[type, Any] = {
    Put: lambda op: [PUT, op.table, op.doc_id, op.document],
    Remove: lambda op: [REMOVE, op.table, op.doc_id],
    DropTable: lambda op: [DROP_TABLE, op.table],
    Activate: lambda op: [ACTIVATE, op.epoch, op.timestamp],
    Restore: lambda op: [RESTORE, op.more],
}


def _decode(item: Any) -> Operation:
    match item:
        case [0, bytes(row)]:
            return AppendRow(row)
        case [1, str(table), int() | str() as doc_id, bytes(document)]:
            return Put(table, doc_id, document)
        case [2, str(table), int() | str() as doc_id]:
            return Remove(table, doc_id)
        case [3, str(table)]:
            return DropTable(table)
        case [4, int(epoch), str(timestamp)]:
            return Activate(epoch, timestamp)
        case [5, bool(more)]:
            return Restore(more)
        case _:
            raise StoreValidationError("store: unknown operation", field="operation")
