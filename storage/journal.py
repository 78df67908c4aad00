"""One append-only file of records: read to the end first, then appended to (03 14.1).

There is no journal handle that could append to a file it has not read: :func:`open_journal` replays
the whole file through a callable and only then returns a :class:`Journal`. Rules owned here:

- A torn tail is cut and reported. Damage before whole records raises and touches nothing.
- A write that fails is cut back to the last good end; if that fails too, or a sync failed, the
  handle refuses all further writes.
- Offsets only: no payload stays in memory.
- A reading open creates nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..actors.errors import (
    StorageError,
    StoreClosedError,
    StoreCorruptError,
    StoreSyncFailedError,
    StoreValidationError,
)
from .failpoints import FailPoint, reach
from .files import File, FileSystem, ReadFile
from .format.records import (
    COMPACTED,
    FORMAT,
    FRAME_BYTES,
    Corrupt,
    Record,
    Torn,
    decode_header,
    encode_header,
    encode_record,
    scan,
)
from .unsynced import copy_unsynced, note_unsynced

HEADER_BYTES_MAX = 4096
"""Longest header believed: the format, a kind and a name of at most 200 bytes each."""

Replay = Callable[[int, bytes], None]
"""Takes each record of a file in order: the offset of its payload, and the payload."""
Ended = Callable[[bool], None]
"""Told behind the last record whether the header promised a snapshot; may refuse that end."""


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What opening a journal found.

    :param end: bytes of the file that are whole; a writable open leaves exactly these.
    :param torn_bytes: length of the torn tail behind them, cut by a writable open.
    :param damage: offset of damage before whole records; ``None`` when there is none.
    :param quarantine: where a writable open put what it could not serve; else blank.
    """

    path: str
    records: int
    end: int
    torn_bytes: int = 0
    damage: int | None = None
    quarantine: str = ""


class Journal:
    """A journal that was read to its end and takes appends. Not for two threads at a time."""

    __slots__ = ("_broken", "_closed", "_file", "_fs", "end", "path", "report")

    def __init__(self, fs: FileSystem, file: File | None, report: RecoveryReport) -> None:
        """:param file: ``None`` for a parked journal."""
        self._fs = fs
        self._file = file
        self._broken: StorageError | None = None
        self._closed = False
        self.path = report.path
        self.report = report
        self.end = report.end
        """Offset at which the next record will begin; only whole records lie before it."""

    @property
    def broken(self) -> StorageError | None:
        """Why the handle takes no more writes, once it does not."""
        return self._broken

    def append(self, payloads: Sequence[bytes]) -> list[int]:
        """Write the payloads, one record each, in one call; returns their offsets.

        :raises StoreValidationError: a payload that is empty or too long; nothing was written.
        :raises StorageError: the write failed; nothing of it is left in the file.
        :raises StoreSyncFailedError: an earlier sync failed.
        """
        data = b"".join([encode_record(payload) for payload in payloads])
        file = self._writable()
        try:
            file.append(data)
        except OSError as error:
            self._roll_back(file)
            raise _failed("append", self.path, error) from error
        offsets = []
        for payload in payloads:
            offsets.append(self.end + FRAME_BYTES)
            self.end += FRAME_BYTES + len(payload)
        return offsets

    def sync(self) -> None:
        """Return when everything appended is on the medium.

        :raises StoreSyncFailedError: it may not be; the handle takes no further writes, as the
            kernel may have dropped the data it could not write.
        """
        file = self._writable()
        try:
            file.sync()
        except OSError as error:
            self._broken = StoreSyncFailedError(
                f"sync {self.path}: {error.strerror}", operation="sync", path=self.path
            )
            note_unsynced(self._fs, self.path)
            raise self._broken from error

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file.

        :raises StoreCorruptError: the file is shorter than it was.
        :raises StorageError: the read failed.
        """
        return read_exactly(self._opened(), self.path, offset, size)

    def complete(self) -> None:
        """An activation ends; nothing is to be done."""

    def refuse(self, error: StorageError) -> None:
        """Take no more writes, for a reason that lies beside the file."""
        self._broken = error

    def park(self) -> None:
        """Give the descriptor back until the next call; a closed journal stays closed."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Give the descriptor back for good; does not sync. A second call does nothing."""
        self._closed = True
        self.park()

    def _writable(self) -> File:
        if self._broken is not None:
            raise self._broken
        return self._opened()

    def _opened(self) -> File:
        if self._closed:
            raise StoreClosedError(f"{self.path} is closed", path=self.path)
        if self._file is None:
            try:
                # Read first: a parked journal whose file was removed must not be made anew.
                self._fs.open_read(self.path).close()
                file = self._fs.open_append(self.path)
                size = file.size()
            except OSError as error:
                raise _failed("open", self.path, error) from error
            if size != self.end:
                file.close()
                raise StoreCorruptError(
                    f"{self.path} has {size} bytes instead of {self.end}",
                    path=self.path,
                    offset=min(size, self.end),
                )
            self._file = file
        return self._file

    def _roll_back(self, file: File) -> None:
        try:
            file.truncate(self.end)
        except OSError as error:
            self._broken = _failed("roll back", self.path, error)


def open_journal(
    fs: FileSystem,
    path: str,
    *,
    kind: str,
    name: str,
    replay: Replay,
    ended: Ended = lambda compacted: None,
    form: str = FORMAT,
    sync_name: bool = True,
) -> Journal:
    """Open a journal for appending, making it when it is missing.

    :param kind: what the file is; with ``name``, whose. Both are checked against the header.
    :param ended: may raise :class:`StoreValidationError` for records that can not be all.
    :param form: what the header of a new file says.
    :param sync_name: whether a new file's name is synced before returning.
    :raises StoreCorruptError: no readable header, the header of another file, or damage before
        whole records. Fields: ``path``, ``offset``. The file is untouched.
    :raises StorageError: the file can not be opened, read or written.
    """
    try:
        copy_unsynced(fs, path)
        file = fs.open_append(path)
    except OSError as error:
        raise _failed("open", path, error) from error
    try:
        report = _recover(file, path, (kind, name), replay, ended)
        if report.torn_bytes:
            file.truncate(report.end)
            reach(FailPoint.TAIL_CUT)
        if not report.end:
            header = encode_header(kind, name, form)
            file.append(header)
            report = RecoveryReport(path, 0, len(header), report.torn_bytes)
            reach(FailPoint.JOURNAL_CREATED)
            if sync_name:
                file.sync()
                fs.sync_directory(path.rpartition("/")[0] or ".")
    except OSError as error:
        file.close()
        raise _failed("open", path, error) from error
    except BaseException:
        file.close()
        raise
    return Journal(fs, file, report)


def read_journal(
    fs: FileSystem,
    path: str,
    *,
    kind: str,
    name: str,
    replay: Replay,
    ended: Ended = lambda compacted: None,
) -> tuple[File, RecoveryReport]:
    """Read a journal without changing anything; the caller closes the file.

    A torn tail is left out. Damage ends the reading early and stands in the report.

    :raises StoreCorruptError: no readable header, or the header of another file.
    :raises StorageError: the file can not be opened or read.
    """
    try:
        file = fs.open_read(path)
    except OSError as error:
        raise _failed("open", path, error) from error
    try:
        return file, _recover(file, path, (kind, name), replay, ended, damaged_too=True)
    except OSError as error:
        file.close()
        raise _failed("read", path, error) from error
    except BaseException:
        file.close()
        raise


def read_exactly(file: ReadFile, path: str, offset: int, size: int) -> bytes:
    """``size`` bytes at ``offset``.

    :raises StoreCorruptError: the file ends before. Fields: ``path``, ``offset``.
    :raises StorageError: the read failed.
    """
    try:
        data = file.read(offset, size)
    except OSError as error:
        raise _failed("read", path, error) from error
    if len(data) != size:
        raise StoreCorruptError(
            f"{path} ends before byte {offset + size}", path=path, offset=offset
        )
    return data


def _recover(
    file: File,
    path: str,
    owner: tuple[str, str],
    replay: Replay,
    ended: Ended,
    *,
    damaged_too: bool = False,
) -> RecoveryReport:
    start = file.read(0, HEADER_BYTES_MAX)
    header = encode_header(*owner)
    cut = header.startswith(start) and start != header
    if cut or (not start.strip(b"\0") and len(start) <= len(header)):
        # Empty, or the power went while the header was written: there can be no record yet.
        return RecoveryReport(path, 0, 0, torn_bytes=len(start))
    try:
        found = decode_header(start)
    except StoreCorruptError as error:
        raise StoreCorruptError(
            f"{path}: {error}", path=path, offset=0, foreign=error.foreign
        ) from error
    if (found.kind, found.name) != owner:
        raise StoreCorruptError(
            f'{path} is the {found.kind} of "{found.name}"', path=path, offset=0, foreign=True
        )
    records = torn_bytes = 0
    damage: int | None = None
    end = found.size
    for item in scan(file.read, found.size):
        match item:
            case Record(offset, payload):
                try:
                    replay(offset, payload)
                except StoreValidationError as error:
                    raise StoreCorruptError(
                        f"{path}, byte {end}: {error}", path=path, offset=end
                    ) from error
                records += 1
                end = offset + len(payload)
            case Torn(offset):
                torn_bytes = file.size() - offset
            case Corrupt(offset):
                damage = offset
    if damage is None:
        try:
            ended(found.form == COMPACTED)
        except StoreValidationError:
            damage, torn_bytes = end, 0
    if damage is not None and not damaged_too:
        raise StoreCorruptError(f"{path} is damaged at byte {damage}", path=path, offset=damage)
    return RecoveryReport(path, records, end, torn_bytes, damage)


def _failed(operation: str, path: str, error: OSError) -> StorageError:
    return StorageError(
        f"{operation} {path}: {error.strerror or error}", operation=operation, path=path
    )
