"""The documents of one ``state.journal``: queue, permissions, health, generation (03 14.2).

Memory holds where each document lies; the bytes only of those that are committed and not yet in
the file. As with event rows, one thread changes this object and any may read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..actors.errors import StoreValidationError
from .files import File
from .format.operations import (
    DocID,
    Location,
    Operation,
    Put,
    Remove,
    TableIndex,
    decode_document,
    decode_payload,
    encode_document,
)
from .format.records import FRAME_BYTES
from .journal import read_exactly


class StateOp(NamedTuple):
    """One change of the state: put ``document``, or remove what is there when it is ``None``."""

    table: str
    doc_id: DocID
    document: dict[str, Any] | None


CONVERSATION_TABLE, EPOCH_KEY = "conversation", "epoch"


def given_epoch(epoch: int) -> StateOp:
    """The epoch a new conversation was given, kept where it stays if that one is abandoned."""
    return StateOp(CONVERSATION_TABLE, EPOCH_KEY, {"given": epoch})


def epoch_given(state: StateDocuments) -> int:
    """The highest epoch a new conversation was given; 0 when there was none."""
    document = state.document(CONVERSATION_TABLE, EPOCH_KEY)
    return int(document["given"]) if document else 0


class StateDocuments:
    """The tables of one session's state."""

    __slots__ = ("_index", "_open_file", "_recent", "_recent_offsets", "end", "number", "path")

    def __init__(self, path: str, open_file: Callable[[], File]) -> None:
        """:param open_file: opens the journal for reading; the file is closed after each read."""
        self.path = path
        self._open_file = open_file
        self._index = TableIndex()
        self._recent: dict[int, bytes] = {}  # by offset in the file
        self._recent_offsets: list[int] = []  # the same, in their order
        self.number = 0
        """Number of the last committed record."""
        self.end = 0
        """Length the journal has, or will have, with every committed record in it."""

    def replay(self, offset: int, payload: bytes) -> None:
        """Take in one record of the file.

        :raises StoreValidationError: a record out of order.
        """
        _, number, operations = decode_payload(payload)
        if number != self.number + 1:
            raise StoreValidationError(f"store: record {number} after {self.number}")
        self.number = number
        self._index.apply(operations, payload, offset)
        self.end = offset + len(payload)

    def commit(self, payload: bytes, operations: Sequence[Operation]) -> None:
        """Take in one record that the log has committed and the file will get."""
        self.number += 1
        offset = self.end + FRAME_BYTES
        # The bytes first: a reader that finds the place must find them too.
        position = 0
        for operation in operations:
            if isinstance(operation, Put):
                position = payload.index(operation.document, position)
                self._recent[offset + position] = operation.document
                self._recent_offsets.append(offset + position)
                position += len(operation.document)
        self._index.apply(operations, payload, offset)
        self.end = offset + len(payload)

    def trim(self, materialised: int) -> None:
        """Forget the bytes of documents that lie before ``materialised`` in the file."""
        gone = 0
        for offset in self._recent_offsets:
            if offset + len(self._recent[offset]) > materialised:
                break
            del self._recent[offset]
            gone += 1
        del self._recent_offsets[:gone]

    def document(self, table: str, doc_id: DocID) -> dict[str, Any] | None:
        """A committed document, or ``None``."""
        place = self._index.tables.get(table, {}).get(doc_id)
        return None if place is None else next(iter(self._read([place])))

    def documents(self, table: str) -> dict[DocID, dict[str, Any]]:
        """All committed documents of a table by id, in the order their ids were first put."""
        places = dict(self._index.tables.get(table, {}))
        return dict(zip(places, self._read(list(places.values())), strict=True))

    def _read(self, places: Sequence[Location]) -> list[dict[str, Any]]:
        file: File | None = None
        documents = []
        try:
            for offset, size in places:
                data = self._recent.get(offset)
                if data is None:
                    file = file or self._open_file()
                    data = read_exactly(file, self.path, offset, size)
                documents.append(decode_document(data))
        finally:
            if file is not None:
                file.close()
        return documents


def state_operations(state_ops: Sequence[StateOp]) -> list[Operation]:
    """The operations of a submit.

    :raises StoreValidationError: a document that has no stored form.
    """
    return [
        Remove(table, doc_id) if document is None else Put(table, doc_id, encode_document(document))
        for table, doc_id, document in state_ops
    ]
