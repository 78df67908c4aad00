"""A journal that is only read, with the calls of :class:`Journal`, sealed parts included.

Nothing is created, cut or repaired. Damage ends the reading and stands in the report.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..actors.errors import ReadOnlyRecordEventsError, StoreClosedError
from .event_files import EventFiles, OpenedPart, SealedPart
from .files import FileSystem
from .journal import RecoveryReport, Replay, read_journal
from .segmented_journal import sealed_names


class JournalView:
    """The records of one journal; positions count from the beginning of its first part."""

    def __init__(self, fs: FileSystem, path: str, kind: str, name: str, replay: Replay) -> None:
        """:raises StoreCorruptError: no readable header, or the header of another file.

        :raises StorageError: a file can not be opened or read.
        """
        self.path = path
        self._files = EventFiles(path, fs.open_read, kind=kind, name=name)
        self._opened: OpenedPart | None = None
        self._closed = False
        for part in sealed_names(fs, path):
            report = self._take(fs, part, kind, name, replay)
            if report.damage is not None or report.torn_bytes:
                self._files.tail_path = part
                self.report = report
                return
            self._files.seal(SealedPart(part, self._files.tail_start, self.end, 0, 0, 0))
        self.report = self._take(fs, path, kind, name, replay)

    def _take(
        self, fs: FileSystem, path: str, kind: str, name: str, replay: Replay
    ) -> RecoveryReport:
        shift = self._files.tail_start - self._files.header_bytes
        file, report = read_journal(
            fs,
            path,
            kind=kind,
            name=name,
            replay=lambda offset, payload: replay(offset + shift, payload),
        )
        file.close()
        self.end = report.end + shift
        """Position behind the last record."""
        return report

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at a position; see :meth:`Journal.read`."""
        if self._closed:
            raise StoreClosedError(f"{self.path} is closed", path=self.path)
        if self._opened is None or not self._opened.covers(offset):
            self._give_back()
            self._opened = self._files.open(offset)
        return self._opened.read(offset, size)

    def append(self, payloads: Sequence[bytes]) -> list[int]:
        """:raises ReadOnlyRecordEventsError: always."""
        raise ReadOnlyRecordEventsError(f"{self.path} is open read-only", operation="append")

    def sync(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """Give the descriptor back for good."""
        self._closed = True
        self._give_back()

    def _give_back(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
