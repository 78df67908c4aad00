"""The documents of one ``state.journal``: queue, permissions, health, generation (03 14.2).

Memory holds where each document lies; the bytes only of those that are committed and not yet in
the file. As with event rows, one thread changes this object and any may read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..actors.errors import StorageError
from .files import ReadFile
from .format.operations import (
    DocID,
    Location,
    Operation,
    Put,
    Remove,
    decode_document,
    encode_document,
    placed,
)
from .format.records import FRAME_BYTES
from .format.snapshot import is_compaction_due
from .format.table_index import TableHistory, TableIndex
from .journal import read_exactly
from .table_file import OPEN_TRIES, PositionedFile, is_same_file, offset_at
from .table_journal import Compacted

NEVER = 1 << 63
"""Longer than any journal."""
RETRY_RATIO = 1.5
"""How much longer than when it failed a journal is when its compaction is asked for again."""


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


@dataclass(frozen=True, slots=True)
class _View:
    """What a reader finds: where documents lie, and the bytes of those that no file has yet."""

    index: TableIndex
    recent: dict[int, bytes]


class _Waiting(NamedTuple):
    """A committed record that is not in the file; ``end`` is the position behind it."""

    number: int
    end: int
    payload: bytes
    operations: Sequence[Operation]


class StateDocuments:
    """The tables of one session's state."""

    __slots__ = ("_compact_at", "_file", "_history", "_view", "_waiting", "compact", "end", "path")

    def __init__(self, path: str, history: TableHistory, file: PositionedFile, end: int) -> None:
        """:param history: of the file; changed by this object from now on.

        :param end: position behind the last record.
        """
        self.path = path
        self._history = history
        self._file = file
        self._view = _View(history.index, {})
        self._waiting: deque[_Waiting] = deque()
        self._compact_at = 0
        self.end = end
        """Position the journal has, or will have, with every committed record in it."""
        self.compact: Callable[[], None] | None = None
        """Asks for a compaction; :meth:`compacted` must be called when it is over."""

    @property
    def number(self) -> int:
        """Number of the last committed record."""
        return self._history.number

    @property
    def recent(self) -> int:
        """How many documents are held in memory."""
        return len(self._view.recent)

    def commit(self, payload: bytes, operations: Sequence[Operation]) -> None:
        """Take in one record that the log has committed and the file will get."""
        self._take_in(payload, operations)
        self._waiting.append(_Waiting(self.number, self.end, payload, operations))
        self.compact_when_due()

    def trim(self, materialised: int) -> None:
        """Forget the bytes of documents that lie before ``materialised`` in the file."""
        if not is_same_file(materialised, self.end):
            # Of a file that this object has not gone over to.
            return
        waiting, recent = self._waiting, self._view.recent
        while waiting and waiting[0].end <= materialised:
            _, end, payload, operations = waiting.popleft()
            for operation, place in placed(payload, operations):
                if isinstance(operation, Put):
                    recent.pop(end - len(payload) + place, None)

    def compact_when_due(self, *, ending: bool = False) -> None:
        """Have the file compacted if that is worth it and not under way."""
        size = offset_at(self.end)
        history = self._history
        if (
            self.compact is not None
            and size >= self._compact_at
            and is_compaction_due(size, history.records, history.index.live_bytes, ending=ending)
        ):
            self._compact_at = NEVER
            self.compact()

    def compacted(self, compacted: Compacted | None) -> None:
        """A compaction is over: go over to the new file; ``None`` when it failed."""
        if compacted is None:
            self._compact_at = int(offset_at(self.end) * RETRY_RATIO)
            return
        self._compact_at = 0
        self._history, self.end = compacted
        later = [record for record in self._waiting if record.number > self.number]
        self._waiting.clear()
        self._view = _View(self._history.index, {})
        for _, _, payload, operations in later:
            self._take_in(payload, operations)
            self._waiting.append(_Waiting(self.number, self.end, payload, operations))
        self._file.forget_replaced()

    def document(self, table: str, doc_id: DocID) -> dict[str, Any] | None:
        """A committed document, or ``None``."""

        def find(index: TableIndex) -> dict[DocID, Location]:
            place = index.tables.get(table, {}).get(doc_id)
            return {} if place is None else {doc_id: place}

        return self._read(find).get(doc_id)

    def documents(self, table: str) -> dict[DocID, dict[str, Any]]:
        """All committed documents of a table by id, in the order their ids were first put."""
        return self._read(lambda index: dict(index.tables.get(table, {})))

    def _take_in(self, payload: bytes, operations: Sequence[Operation]) -> None:
        position = self.end + FRAME_BYTES
        # The bytes first: a reader that finds the place must find them too.
        for operation, place in placed(payload, operations):
            if isinstance(operation, Put):
                self._view.recent[position + place] = operation.document
        self._history.commit(position, payload, operations)
        self.end = position + len(payload)

    def _read(
        self, find: Callable[[TableIndex], dict[DocID, Location]]
    ) -> dict[DocID, dict[str, Any]]:
        for _ in range(OPEN_TRIES):
            view = self._view
            places = find(view.index)
            found = self._read_in(view, places.values())
            if found is not None:
                return dict(zip(places, found, strict=True))
        raise StorageError(f"read {self.path}: it is replaced all the time", path=self.path)

    def _read_in(self, view: _View, places: Iterable[Location]) -> list[dict[str, Any]] | None:
        """The documents of a view, ``None`` when its file is gone."""
        file: ReadFile | None = None
        documents = []
        try:
            for position, size in places:
                data = view.recent.get(position)
                if data is None:
                    file = file or self._file.open(position)
                    if file is None:
                        return None
                    data = read_exactly(file, self.path, offset_at(position), size)
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
