"""The ``events.journal`` of a session: an open file, and what was sealed of it (03 14.1).

It is written like a :class:`Journal`; positions are those of :class:`EventFiles`. Rules owned here:

- The open file is sealed when it has grown over ``SEAL_BYTES``, and at the end of an activation
  over ``SEAL_AT_END_BYTES``: synced, verified, renamed, and followed by a new, empty file.
- Sealing that fails is no failure of a write: the open file goes on.
- An index is written when all rows of its part are committed; a missing or wrong one is made again
  from the part when the journal is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..actors.errors import StorageError, StoreCorruptError, StoreValidationError
from .event_files import EventFiles, SealedPart
from .failpoints import FailPoint, reach
from .files import FileSystem
from .format.cbor_items import read_unsigned
from .format.records import Corrupt, Record, Torn, decode_header, encode_header, scan
from .format.segment_index import SegmentIndex, block_sums, decode_index, encode_index
from .journal import Journal, RecoveryReport, Replay, open_journal
from .layout import EVENTS

SEAL_BYTES = 4 * 1024 * 1024
"""Length at which the open file is sealed."""
SEAL_AT_END_BYTES = 64 * 1024
"""The same at the end of an activation: the next opening reads at most so much."""
INDEX_BYTES_MAX = 64 * 1024 * 1024
"""Longest index believed."""

Indexed = Callable[[SealedPart], SegmentIndex | None]
"""Makes the index of a part, or says with ``None`` that not all its rows are committed."""


class SegmentedJournal:
    """An ``events.journal`` open for appending. Not for two threads at a time."""

    def __init__(
        self, fs: FileSystem, files: EventFiles, journal: Journal, name: str, indexed: Indexed
    ) -> None:
        self._fs = fs
        self._files = files
        self._journal = journal
        self._name = name
        self._indexed = indexed
        self._seal_at = SEAL_BYTES
        self._following = ""
        self.unindexed = [part for part in files.sealed if not part.blocks]
        """Sealed parts whose index is still to be written."""
        self.report = journal.report

    @property
    def path(self) -> str:
        """The open file."""
        return self._journal.path

    @property
    def end(self) -> int:
        """Position behind the last record."""
        return self._files.tail_start + self._journal.end - self._files.header_bytes

    def append(self, payloads: Sequence[bytes]) -> None:
        """See :meth:`Journal.append`."""
        if self._following:
            self._finish_seal()
        self._journal.append(payloads)
        if self.unindexed:
            self._write_indexes()
        if self._journal.end >= self._seal_at and not self._following:
            self._try_to_seal()

    def sync(self) -> None:
        """See :meth:`Journal.sync`."""
        self._journal.sync()

    def complete(self) -> None:
        """The activation ends: seal what the next opening should not have to read."""
        if self._journal.end >= SEAL_AT_END_BYTES and not self._following:
            self._try_to_seal()
        if self.unindexed:
            self._write_indexes()

    def park(self) -> None:
        """See :meth:`Journal.park`."""
        self._journal.park()

    def close(self) -> None:
        """See :meth:`Journal.close`."""
        self._journal.close()

    def _finish_seal(self) -> None:
        try:
            self._go_on()
        except OSError as error:
            raise StorageError(
                f"seal {self.path}: {error.strerror or error}", operation="seal", path=self.path
            ) from error

    def _try_to_seal(self) -> None:
        try:
            self._seal()
        except (StorageError, OSError):
            # The file goes on, or is opened anew by the next append; tried again when it has
            # grown by as much once more.
            self._seal_at = self._journal.end + SEAL_BYTES

    def _seal(self) -> None:
        files, journal = self._files, self._journal
        journal.sync()
        reach(FailPoint.SEAL)
        start = files.tail_start
        facts = part_facts(self._fs, files.path, EVENTS, self._name)
        part = SealedPart(files.next_path(), start, self.end, *facts)
        following = f"{files.path}.new"
        if self._fs.exists(following):
            self._fs.remove(following)
        made = open_journal(
            self._fs, following, kind=EVENTS, name=self._name, replay=_nothing, sync_name=False
        )
        made.sync()
        made.close()
        reach(FailPoint.SEAL_PREPARED)
        files.seal(part)
        try:
            self._fs.rename(files.path, part.path)
        except OSError:
            files.sealed.pop()
            raise
        self.unindexed.append(part)
        reach(FailPoint.SEALED)
        journal.close()
        self._journal = Journal(self._fs, None, RecoveryReport(files.path, 0, made.end))
        self._seal_at = SEAL_BYTES
        self._following = following
        self._go_on()
        self._write_indexes()

    def _go_on(self) -> None:
        """Give the following file its name, the sealed one having its own on the medium."""
        directory = self._files.path.rpartition("/")[0]
        self._fs.sync_directory(directory)
        self._fs.rename(self._following, self._files.path)
        self._following = ""
        self._fs.sync_directory(directory)
        reach(FailPoint.SEAL_ENDED)

    def _write_indexes(self) -> None:
        while self.unindexed:
            part = self.unindexed[0]
            try:
                index = self._indexed(part)
                if index is None:
                    return
                write_index(self._fs, part, index)
            except (StorageError, OSError):
                # Never truth: made again when the journal is opened.
                pass
            self.unindexed.pop(0)


def write_index(fs: FileSystem, part: SealedPart, index: SegmentIndex) -> None:
    """Write the index of a sealed part beside it; a crash leaves a part of it, or none."""
    file = fs.open_read(part.path)
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    index.blocks = block_sums(data)
    index.file_bytes = len(data)
    path = f"{part.path}.idx"
    if fs.exists(path):
        fs.remove(path)
    target = fs.open_append(path)
    try:
        target.append(encode_index(index))
    finally:
        target.close()
    part.blocks = index.blocks
    # What was verified by the checksums of its records is the same bytes still.


def read_index(fs: FileSystem, path: str, name: str, start: int) -> SegmentIndex | None:
    """The index of the part at ``path``, when it fits it; else ``None``."""
    try:
        file = fs.open_read(f"{path}.idx")
        try:
            size = file.size()
            index = decode_index(file.read(0, size), name) if size < INDEX_BYTES_MAX else None
        finally:
            file.close()
        part = fs.open_read(path)
        try:
            fits = index is not None and (index.file_bytes, index.start) == (part.size(), start)
        finally:
            part.close()
    except OSError:
        return None
    return index if fits else None


def part_facts(fs: FileSystem, path: str, kind: str, name: str) -> tuple[int, int, int]:
    """First and last record number and last epoch of a whole file, every record verified.

    :raises StoreCorruptError: it is not whole, or holds no record.
    """
    file = fs.open_read(path)
    numbers: list[int] = []
    epoch = 0
    try:
        header = encode_header(kind, name)
        if file.read(0, len(header)) != header:
            raise StoreCorruptError(f"{path} has another header", path=path, offset=0)
        for item in scan(file.read, decode_header(header).size):
            match item:
                case Record(offset, payload):
                    try:
                        epoch, at = read_unsigned(payload, 1)
                        numbers.append(read_unsigned(payload, at)[0])
                    except StoreValidationError as error:
                        raise StoreCorruptError(
                            f"{path}, byte {offset}: {error}", path=path, offset=offset
                        ) from error
                case Torn(offset) | Corrupt(offset):
                    raise StoreCorruptError(
                        f"{path} is damaged at byte {offset}", path=path, offset=offset
                    )
    finally:
        file.close()
    if not numbers:
        raise StoreCorruptError(f"{path} holds no record", path=path, offset=0)
    return numbers[0], numbers[-1], epoch


def sealed_names(fs: FileSystem, path: str) -> list[str]:
    """The paths of the sealed parts of a journal, in order; a gap ends the line."""
    names: list[str] = []
    while fs.exists(found := f"{path}.{len(names) + 1}"):
        names.append(found)
    return names


def open_events(
    fs: FileSystem,
    files: EventFiles,
    *,
    name: str,
    replay: Replay,
    indexed: Indexed,
) -> SegmentedJournal:
    """Open the journal for appending, the sealed parts having been taken in already.

    :raises StoreCorruptError, StorageError: see :func:`open_journal`.
    """
    shift = files.tail_start - files.header_bytes
    following = f"{files.path}.new"
    if files.sealed and not fs.exists(files.path) and fs.exists(following):
        # Between the two renames of a seal.
        fs.rename(following, files.path)
    journal = open_journal(
        fs,
        files.path,
        kind=EVENTS,
        name=name,
        replay=lambda offset, payload: replay(offset + shift, payload),
        sync_name=False,
    )
    return SegmentedJournal(fs, files, journal, name, indexed)


def _nothing(offset: int, payload: bytes) -> None:
    """A new file holds no record."""
