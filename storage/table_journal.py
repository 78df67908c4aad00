"""A journal of tables: appended to like any other, and rewritten when most of it is dead (03 14.1).

Positions are those of :class:`TableFile`. Rules owned here:

- A rewriting that fails is no failure of a write: the file goes on as it is.
- The old file counts until the new one, whole and on the medium, has taken its name. When it is not
  sure that the medium knows the new name, the journal takes no more writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from ..actors.errors import (
    StorageError,
    StoreCorruptError,
    StoreSyncFailedError,
    StoreValidationError,
)
from .compaction import Compaction, remove_compaction
from .failpoints import FailPoint, reach
from .files import FileSystem, ReadFile
from .format.snapshot import encode_snapshot_part
from .format.table_index import TableHistory
from .journal import Journal, RecoveryReport, open_journal, read_journal
from .quarantine import set_aside
from .table_file import TableFile


class Compacted(NamedTuple):
    """What a file holds that was just rewritten: its history, and the position of its end."""

    history: TableHistory
    end: int


class TableJournal:
    """A journal of tables that is open for appending. Not for two threads at a time."""

    def __init__(
        self, fs: FileSystem, journal: Journal, file: TableFile, *, kind: str, name: str
    ) -> None:
        self._fs = fs
        self._journal = journal
        self._kind, self._name = kind, name
        self._compaction: Compaction | None = None
        self.file = file
        """What others read from."""
        self.report = journal.report

    @property
    def path(self) -> str:
        """The file."""
        return self._journal.path

    @property
    def end(self) -> int:
        """Position behind the last record."""
        return self.file.first_position + self._journal.end

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self._journal.end

    @property
    def source(self) -> Source:
        """What the present positions are read from, also when the file was replaced."""
        return Source(self._journal, self.file.first_position)

    @property
    def is_compacting(self) -> bool:
        """Whether a rewriting was begun and is not over."""
        return self._compaction is not None

    def append(self, payloads: Sequence[bytes]) -> list[int]:
        """See :meth:`Journal.append`; returns the positions of the payloads."""
        first = self.file.first_position
        return [first + offset for offset in self._journal.append(payloads)]

    def sync(self) -> None:
        """See :meth:`Journal.sync`."""
        self._journal.sync()

    def complete(self) -> None:
        """An activation ends: one rewriting that was begun is ended."""
        while self._compaction is not None:
            self.compact(self._journal.end)

    def compact(self, budget: int) -> Compacted | None:
        """Rewrite the file, reading or writing about so many bytes of it now.

        :return: what is left once it is done, else ``None``.
        :raises StorageError: it failed, and is over; the file is as it was.
        """
        if self._journal.broken is not None:
            raise self._journal.broken
        if self._compaction is None:
            self._compaction = Compaction(
                self._fs,
                self._journal,
                kind=self._kind,
                name=self._name,
                position=self.file.next_position,
            )
        compaction = self._compaction
        try:
            if not compaction.step(budget):
                return None
            return self._replace(compaction)
        except (OSError, StorageError) as error:
            self._compaction = None
            with contextlib.suppress(OSError):
                compaction.give_up()
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"compact {self.path}: {error.strerror or error}",
                operation="compact",
                path=self.path,
            ) from error

    def park(self) -> None:
        """See :meth:`Journal.park`."""
        self._journal.park()

    def close(self) -> None:
        """Give the descriptors back for good; a rewriting that is not done is given up."""
        compaction, self._compaction = self._compaction, None
        if compaction is not None:
            with contextlib.suppress(OSError):
                compaction.give_up()
        self._journal.close()

    def _replace(self, compaction: Compaction) -> Compacted:
        made = compaction.journal
        assert made is not None
        made.close()
        self.file.replace(lambda: self._fs.rename(made.path, self.path))
        self._compaction = None
        reach(FailPoint.COMPACTION_RENAMED)
        # The old one is not closed: it closes itself when nobody reads it any more.
        history = compaction.history
        self._journal = Journal(
            self._fs, None, RecoveryReport(self.path, history.records, made.end)
        )
        self._sync_name()
        reach(FailPoint.COMPACTION_ENDED)
        return Compacted(history, self.end)

    def _sync_name(self) -> None:
        try:
            self._fs.sync_directory(self.path.rpartition("/")[0] or ".")
        except OSError as error:
            failure = StoreSyncFailedError(
                f"sync the name of {self.path}: {error.strerror}", operation="sync", path=self.path
            )
            failure.__cause__ = error
            self._journal.refuse(failure)


class Source(NamedTuple):
    """One file of a journal of tables, read by the positions it had."""

    journal: Journal
    first_position: int

    def read(self, position: int, size: int) -> bytes:
        """See :meth:`Journal.read`."""
        return self.journal.read(position - self.first_position, size)


def open_tables(
    fs: FileSystem,
    path: str,
    history: TableHistory,
    *,
    kind: str,
    name: str,
    mend: bool = False,
    sync_name: bool = True,
) -> TableJournal:
    """Open a journal of tables for appending, making it when it is missing.

    :param history: takes in what it holds.
    :param mend: whether a snapshot that is cut shall count as whole from now on.
    :raises StoreCorruptError, StorageError: see :func:`open_journal`.
    """
    cut = False

    def ended(compacted: bool) -> None:
        nonlocal cut
        try:
            history.end(compacted=compacted)
        except StoreValidationError:
            cut = True
            if not mend:
                raise

    try:
        remove_compaction(fs, path)
    except OSError as error:
        raise StorageError(
            f"open {path}: {error.strerror or error}", operation="open", path=path
        ) from error
    journal = open_journal(
        fs, path, kind=kind, name=name, replay=history.replay, ended=ended, sync_name=sync_name
    )
    if cut:
        payload = encode_snapshot_part(history.epoch, history.number, [], more=False)
        (offset,) = journal.append([payload])
        history.replay(offset, payload)
    return TableJournal(fs, journal, TableFile(path, fs.open_read), kind=kind, name=name)


def recover_tables(
    fs: FileSystem,
    path: str,
    *,
    kind: str,
    name: str,
    begin_anew: bool = True,
    sync_name: bool = True,
) -> tuple[TableHistory, TableJournal]:
    """The same, with what is damaged set aside: the correct prefix is served (03 14.1).

    :param begin_anew: whether a file without a readable header is set aside as a whole.
    :return: what the journal holds, and the journal; its report says what was set aside.
    :raises StoreCorruptError: the header of another file, or of another version; or no header.
    :raises StorageError: a file can not be opened, read or written.
    """
    open_ = partial(open_tables, fs, path, kind=kind, name=name, sync_name=sync_name)
    history = TableHistory()
    try:
        return history, open_(history)
    except StoreCorruptError as error:
        if error.foreign or not (error.offset or begin_anew):
            raise
        lost = set_aside(fs, [path], error.offset, path)
    history = TableHistory()
    journal = open_(history, mend=True)
    journal.report = dataclasses.replace(journal.report, damage=lost.offset, quarantine=lost.path)
    return history, journal


def read_tables(
    fs: FileSystem, path: str, history: TableHistory, *, kind: str, name: str
) -> tuple[ReadFile, RecoveryReport]:
    """Read a journal of tables; the positions in ``history`` are those of the file returned.

    :raises StoreCorruptError, StorageError: see :func:`read_journal`.
    """
    return read_journal(
        fs,
        path,
        kind=kind,
        name=name,
        replay=history.replay,
        ended=lambda compacted: history.end(compacted=compacted),
    )
