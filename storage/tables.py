"""TinyDB on a journal: tables whose documents stay on disk.

:class:`JournalDB` is a :class:`tinydb.TinyDB`; its storage appends one record per call and keeps
only the place of each document in memory. Rules owned here:

- Insert, and update or remove by ``doc_ids``, cost O(1) whatever the table holds. A query reads the
  table once, in file order, and writes what it changed.
- All changes of one call are one record: after a crash all of them are there, or none.
- ``sync``: ``each`` call is on the medium when it returns; ``group`` syncs every ``GROUP_RECORDS``
  calls and at close; ``none`` leaves it to the kernel.
- A stock ``TinyDB(path, storage=JournalStorage)`` is correct too: the whole it writes is compared
  with what is there, and the difference is appended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from tinydb import TinyDB
from tinydb.queries import QueryLike
from tinydb.table import Document, Table

from .format.operations import (
    DocID,
    DropTable,
    InvalidDocumentError,
    Location,
    Operation,
    Put,
    Remove,
    encode_document,
)
from .format.snapshot import empty_table
from .table_storage import JournalStorage, Sync, stored_id

__all__ = ["JournalDB", "JournalStorage", "JournalTable", "Sync"]

Fields = Mapping[str, Any] | Callable[[MutableMapping[str, Any]], None]


class JournalTable(Table):
    """A table whose documents are read from the journal one by one."""

    _storage: JournalStorage
    _next_id: int | None  # type: ignore[assignment]
    # Integers as in TinyDB; the tables of a session have text ids too.
    document_id_class = staticmethod(stored_id)  # type: ignore[assignment]

    def __len__(self) -> int:
        """How many documents the table holds; O(1)."""
        return len(self._storage.places(self.name))

    def insert(self, document: Mapping[str, Any]) -> int:
        """Insert a document; see :meth:`tinydb.table.Table.insert`. O(1)."""
        return self.insert_multiple((document,))[0]

    def insert_multiple(self, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Insert documents in one record: all of them, or none.

        :raises ValueError: one is no mapping, has no stored form, or an id that is taken.
        """
        puts: dict[int, bytes] = {}
        places = self._storage.places(self.name)
        next_id = self._next_id
        for document in documents:
            if not isinstance(document, Mapping):
                raise InvalidDocumentError("Document is not a Mapping", field="document")
            if isinstance(document, self.document_class):
                doc_id: int = document.doc_id
            else:
                doc_id = self._first_free() if next_id is None else next_id
            if doc_id in places or doc_id in puts:
                raise InvalidDocumentError(
                    f"Document with ID {doc_id} already exists", field="doc_id"
                )
            puts[doc_id] = encode_document(document)
            # One above all others, also after an id that the caller chose.
            next_id = max(doc_id, self._first_free() - 1 if next_id is None else next_id - 1) + 1
        self._commit([Put(self.name, doc_id, data) for doc_id, data in puts.items()])
        self._next_id = next_id
        return list(puts)

    def get(
        self,
        cond: QueryLike | None = None,
        doc_id: int | None = None,
        doc_ids: list[int] | None = None,
    ) -> Any:
        """One document, or those of ``doc_ids``; O(1) each by id."""
        places = self._storage.places(self.name)
        if doc_id is not None:
            place = places.get(stored_id(doc_id))
            return None if place is None else self._document(doc_id, place)
        if doc_ids is not None:
            wanted = {stored_id(wanted_id) for wanted_id in doc_ids}
            found = [(key, places[key]) for key in sorted(wanted & places.keys(), key=_order)]
            return [self._document(self.document_id_class(key), place) for key, place in found]
        return super().get(cond)  # type: ignore[arg-type]

    def update(
        self,
        fields: Fields,
        cond: QueryLike | None = None,
        doc_ids: Iterable[int] | None = None,
    ) -> list[int]:
        """Update matching documents; see :meth:`tinydb.table.Table.update`.

        O(1) per document by ``doc_ids``; only documents that changed are written.
        """
        return self._change(
            ((doc_id, document, [fields]) for doc_id, document in self._chosen(cond, doc_ids))
        )

    def update_multiple(self, updates: Iterable[tuple[Fields, QueryLike]]) -> list[int]:
        """Apply several conditional updates in one pass and one record."""
        pairs = list(updates)

        def matching(document: dict[str, Any]) -> Iterator[Fields]:
            # Lazily: a later condition sees what an earlier update did.
            return (fields for fields, cond in pairs if cond(document))

        return self._change(
            (doc_id, document, matching(document)) for doc_id, document in self._chosen(None, None)
        )

    def remove(
        self, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None
    ) -> list[int]:
        """Remove matching documents; see :meth:`tinydb.table.Table.remove`."""
        if doc_ids is not None:
            places = self._storage.places(self.name)
            removed = [doc_id for doc_id in doc_ids if stored_id(doc_id) in places]
        elif cond is not None:
            removed = [doc_id for doc_id, _ in self._chosen(cond, None)]
        else:
            raise RuntimeError("Use truncate() to remove all documents")
        self._commit([Remove(self.name, stored_id(doc_id)) for doc_id in removed])
        return removed

    def truncate(self) -> None:
        """Remove all documents; the table stays."""
        self._commit([DropTable(self.name), *empty_table(self.name)])
        self._next_id = None

    def _chosen(
        self, cond: QueryLike | None, doc_ids: Iterable[int] | None
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        storage = self._storage
        # Whoever iterates may write in between: both are of this moment.
        places, source = storage.places(self.name), storage.source
        if doc_ids is not None:
            for doc_id in list(doc_ids):
                place = places.get(stored_id(doc_id))
                if place is not None:
                    yield doc_id, storage.load(place, source)
            return
        for key, place in list(places.items()):
            document = storage.load(place, source)
            if cond is None or cond(document):
                yield self.document_id_class(key), document

    def _change(
        self, changes: Iterable[tuple[int, dict[str, Any], Iterable[Fields]]]
    ) -> list[int]:
        changed: dict[DocID, dict[str, Any]] = {}
        operations: dict[DocID, Operation] = {}
        updated = []
        for doc_id, found, updates in changes:
            key = stored_id(doc_id)
            # An id given twice is updated twice.
            document = changed.get(key, found)
            before = encode_document(document)
            for fields in updates:
                if callable(fields):
                    fields(document)
                else:
                    document.update(fields)
                updated.append(doc_id)
            after = encode_document(document)
            if after != before:
                changed[key] = document
                operations[key] = Put(self.name, key, after)
        self._commit(list(operations.values()))
        return updated

    def _document(self, doc_id: Any, place: Location) -> Document:
        return self.document_class(self._storage.load(place), doc_id)

    def _commit(self, operations: list[Operation]) -> None:
        self._storage.commit(operations)
        self.clear_cache()

    def _first_free(self) -> int:
        places = self._storage.places(self.name)
        return max((doc_id for doc_id in places if isinstance(doc_id, int)), default=0) + 1

    # What Table itself builds on.

    def _get_next_id(self) -> int:
        next_id = self._first_free() if self._next_id is None else self._next_id
        self._next_id = next_id + 1
        return next_id

    def _read_table(self) -> Mapping[str, Mapping[str, Any]]:  # type: ignore[override]
        return _Documents(self._storage, self.name)

    def _update_table(self, updater: Callable[[dict[int, Mapping[str, Any]]], None]) -> None:
        table: dict[int, Any] = dict(self._chosen(None, None))
        updater(table)
        self._commit(self._storage.difference(self.name, table))


class JournalDB(TinyDB):
    """A TinyDB on a journal: ``JournalDB(path, sync="each"|"group"|"none")``."""

    table_class = JournalTable
    default_storage_class = JournalStorage  # type: ignore[assignment]
    _storage: JournalStorage

    def tables(self) -> set[str]:
        """The names of all tables, without reading a document."""
        return self._storage.table_names()

    def drop_tables(self) -> None:
        """Drop all tables in one record."""
        self._storage.commit([DropTable(name) for name in sorted(self.tables())])
        self._tables.clear()

    def drop_table(self, name: str) -> None:
        """Drop one table; one that does not exist is no error."""
        self._tables.pop(name, None)
        if name in self.tables():
            self._storage.commit([DropTable(name)])

    def sync(self) -> None:
        """Return when every change so far is on the medium."""
        self._storage.sync()


class _Documents(Mapping[str, Mapping[str, Any]]):
    """A table as TinyDB reads it: text ids, and documents loaded one at a time."""

    def __init__(self, storage: JournalStorage, table: str) -> None:
        self._storage = storage
        # Documents that are replaced or removed meanwhile stay readable where they were.
        self._source = storage.source
        self._places = {str(doc_id): place for doc_id, place in storage.places(table).items()}

    def __getitem__(self, doc_id: str) -> Mapping[str, Any]:
        return self._storage.load(self._places[doc_id], self._source)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _order(doc_id: DocID) -> tuple[bool, Any]:
    return isinstance(doc_id, str), doc_id
