"""Writing what lives of a file of tables into a new file, a little at a time (03 14.1).

The old file stays the one that counts, and takes appends, until :class:`Compaction` is done and
its owner renames the new one over it. Rules owned here:

- Every record that is taken over is verified first: damage is never copied as if it were whole.
- What is appended meanwhile follows, so that the new file holds all that the old one does.
- The new file is on the medium when the compaction is done. One whose sync failed is given up.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from ..actors.errors import StoreCorruptError
from .failpoints import FailPoint, reach
from .files import FileSystem, ReadFile
from .format.operations import Location, Operation, Put
from .format.records import COMPACTED, Corrupt, Record, Torn, decode_header, scan
from .format.snapshot import (
    SNAPSHOT_RECORD_BYTES,
    Piece,
    empty_table,
    encode_snapshot_part,
    neighbours,
    snapshot_parts,
)
from .format.table_index import TableHistory
from .journal import HEADER_BYTES_MAX, Journal, open_journal, read_exactly
from .unsynced import forget_unsynced

SYNC_BYTES = 512 * 1024
"""Bytes of the new file between two syncs: the last one must not wait for all of it."""


class Compaction:
    """One rewriting of a journal. For the thread that appends to it.

    ``history`` is that of the new file, with positions from ``position`` on; ``journal`` is the
    new file, once it is begun.
    """

    def __init__(
        self, fs: FileSystem, source: Journal, *, kind: str, name: str, position: int
    ) -> None:
        """:param position: what is added to the offsets of the new file."""
        self._fs = fs
        self._source = source
        self._kind, self._name = kind, name
        self._position = position
        self._unsynced = self._owed = 0
        self._work = self._run()
        self.path = compaction_path(source.path)
        self.history = TableHistory()
        self.journal: Journal | None = None

    def step(self, budget: int) -> bool:
        """Read or write about so many bytes more; whether the new file is done.

        :raises StoreCorruptError: the old file is damaged.
        :raises StorageError, OSError: a file can not be read or written.
        """
        self._owed += budget
        while self._owed > 0:
            done = next(self._work, None)
            if done is None:
                return True
            self._owed -= done
        return False

    def give_up(self) -> None:
        """Close and remove what was made, as far as it can be; the old file is untouched."""
        self._work.close()
        if self.journal is not None:
            self.journal.close()
        remove_compaction(self._fs, self._source.path)

    def _run(self) -> Generator[int, None, None]:
        old = self._fs.open_read(self._source.path)
        try:
            yield from self._copy_all(old)
        finally:
            old.close()

    def _copy_all(self, old: ReadFile) -> Iterator[int]:
        stand = self._source.end
        lived = TableHistory()
        start = decode_header(old.read(0, HEADER_BYTES_MAX)).size
        for record in _whole_records(old, self._source.path, start, stand):
            lived.replay(*record)
            yield len(record.payload)
        new = self._begin()
        reach(FailPoint.COMPACTION)
        yield from self._copy_documents(old, new, lived)
        reach(FailPoint.COMPACTION_COPIED)
        while stand < self._source.end:
            until = self._source.end
            yield from self._copy_records(old, new, stand, until)
            stand = until
        new.sync()
        reach(FailPoint.COMPACTION_SYNCED)

    def _begin(self) -> Journal:
        remove_compaction(self._fs, self._source.path)
        self.journal = open_journal(
            self._fs,
            self.path,
            kind=self._kind,
            name=self._name,
            replay=lambda offset, payload: None,
            form=COMPACTED,
            sync_name=False,
        )
        return self.journal

    def _copy_documents(self, old: ReadFile, new: Journal, lived: TableHistory) -> Iterator[int]:
        parts = snapshot_parts(lived.index)
        part: list[Piece] | None = next(parts)
        while part is not None:
            following = next(parts, None)
            operations: list[Operation] = []
            for piece in part:
                if piece.doc_id is None:
                    operations += empty_table(piece.table)
            documents = self._documents(old, [piece.place for piece in part])
            for piece in part:
                if piece.doc_id is not None:
                    operations.append(Put(piece.table, piece.doc_id, next(documents)))
            payload = encode_snapshot_part(
                lived.epoch, lived.number, operations, more=following is not None
            )
            yield self._append(new, [payload])
            part = following

    def _documents(self, old: ReadFile, places: list[Location]) -> Iterator[bytes]:
        for run in neighbours([place for place in places if place.size]):
            base = run[0].offset
            data = read_exactly(old, self._source.path, base, run[-1].offset + run[-1].size - base)
            for offset, size in run:
                yield data[offset - base : offset - base + size]

    def _copy_records(self, old: ReadFile, new: Journal, start: int, until: int) -> Iterator[int]:
        waiting: list[bytes] = []
        size = 0
        for record in _whole_records(old, self._source.path, start, until):
            waiting.append(record.payload)
            size += len(record.payload)
            if size >= SNAPSHOT_RECORD_BYTES:
                yield self._append(new, waiting)
                waiting, size = [], 0
        if waiting:
            yield self._append(new, waiting)

    def _append(self, new: Journal, payloads: list[bytes]) -> int:
        written = 0
        for offset, payload in zip(new.append(payloads), payloads, strict=True):
            self.history.replay(self._position + offset, payload)
            written += len(payload)
        self._unsynced += written
        if self._unsynced >= SYNC_BYTES:
            new.sync()
            self._unsynced = 0
        return written


def compaction_path(path: str) -> str:
    """Where the new file is written."""
    return f"{path}.compact"


def remove_compaction(fs: FileSystem, path: str) -> None:
    """Remove what a compaction left that did not end."""
    if fs.exists(compaction_path(path)):
        fs.remove(compaction_path(path))
    forget_unsynced(fs, compaction_path(path))


def _whole_records(file: ReadFile, path: str, start: int, until: int) -> Iterator[Record]:
    """The records from ``start`` to ``until``, each verified."""
    at = start
    if at >= until:
        return
    for item in scan(file.read, start):
        match item:
            case Record(offset, payload):
                yield item
                at = offset + len(payload)
                if at >= until:
                    return
            case Torn(offset) | Corrupt(offset):
                raise StoreCorruptError(
                    f"{path} is damaged at byte {offset}", path=path, offset=offset
                )
    raise StoreCorruptError(f"{path} ends at byte {at}", path=path, offset=at)
