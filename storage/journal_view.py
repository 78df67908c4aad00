"""A journal that is only read, with the calls of :class:`Journal`, sealed parts included.

Nothing is created, cut or repaired. Damage ends the reading and stands in the report.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..actors.errors import ReadOnlyRecordEventsError, StoreClosedError
from .event_files import EventFiles, OpenedPart, SealedPart
from .files import FileSystem, ReadFile
from .format.table_index import TableHistory
from .journal import RecoveryReport, read_exactly, read_journal
from .segmented_journal import sealed_names


class JournalView:
    """The records of one journal; positions count from the beginning of its first part."""

    is_compacting = False

    def __init__(
        self, fs: FileSystem, path: str, kind: str, name: str, history: TableHistory
    ) -> None:
        """:param history: takes in what the journal holds.

        :raises StoreCorruptError: no readable header, or the header of another file.
        :raises StorageError: a file can not be opened or read.
        """
        self.path = path
        self._files = EventFiles(path, fs.open_read, kind=kind, name=name)
        self._kind, self._name = kind, name
        self._opened: OpenedPart | None = None
        self._closed = False
        for part in sealed_names(fs, path):
            file, report = self._take(fs, part, history)
            if report.damage is not None or report.torn_bytes:
                break
            file.close()
            self._files.seal(SealedPart(part, self._files.tail_start, self.size, 0, 0, 0))
        else:
            file, report = self._take(fs, path, history)
        # Kept: its name may be given to another file.
        self._tail = file
        self.report = report

    @property
    def source(self) -> JournalView:
        """What the places are read from."""
        return self

    def _take(
        self, fs: FileSystem, path: str, history: TableHistory
    ) -> tuple[ReadFile, RecoveryReport]:
        shift = self._files.tail_start - self._files.header_bytes
        file, report = read_journal(
            fs,
            path,
            kind=self._kind,
            name=self._name,
            replay=lambda offset, payload: history.replay(offset + shift, payload),
            ended=lambda compacted: history.end(compacted=compacted),
        )
        self.size = report.end + shift
        """Bytes of the parts up to the last record, in positions."""
        return file, report

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at a position; see :meth:`Journal.read`."""
        if self._closed:
            raise StoreClosedError(f"{self.path} is closed", path=self.path)
        files = self._files
        if offset >= files.tail_start:
            shift = files.tail_start - files.header_bytes
            return read_exactly(self._tail, self.path, offset - shift, size)
        if self._opened is None or not self._opened.covers(offset):
            self._give_back()
            self._opened = self._files.open(offset)
        return self._opened.read(offset, size)

    def append(self, payloads: Sequence[bytes]) -> list[int]:
        """:raises ReadOnlyRecordEventsError: always."""
        raise ReadOnlyRecordEventsError(f"{self.path} is open read-only", operation="append")

    def sync(self) -> None:
        """Nothing was written."""

    def compact(self, budget: int) -> None:
        """Nothing is rewritten."""

    def close(self) -> None:
        """Give the descriptor back for good."""
        self._closed = True
        self._tail.close()
        self._give_back()

    def _give_back(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
