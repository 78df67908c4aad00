"""After a crash: bring the journals up to what the commit log holds (03 13).

Two passes over the segments: the first finds where each stream's records of its present file
begin, the second copies what the file lacks. Rules owned here:

- Numbers a journal already holds are skipped; it takes the next number only.
- A clear that was interrupted is ended first; records of a conversation that was cleared, or that
  never took the place of the one that stays, are left out: their epoch tells.
- Records of a session whose directory is gone are dropped. A number that does not go up belongs
  to a session made anew under an old id: what came before it is dropped too.
- A journal that can not be brought up to date stands in the report, and its segments stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..actors.errors import StorageError, StoreCorruptError, StoreValidationError
from .clear_files import finish_clear
from .files import File, FileSystem
from .format.cbor_items import read_unsigned
from .format.commits import SYNCED, decode_commit, synced_mark
from .format.records import FRAME_BYTES, MARK, record_at
from .journal import Journal, RecoveryReport, open_journal, read_journal
from .layout import LOG, Layout, stream_owner
from .segmented_journal import SegmentedJournal
from .session_files import open_event_rows, open_state
from .table_journal import TableJournal

COPY_BYTES = 1024 * 1024
"""Bytes of records held for one journal before they are written."""
_PAYLOAD_HEAD = 0x83
"""The head byte of an array of three."""


@dataclass(slots=True)
class ReplayReport:
    """What a replay did.

    :param commits: log records read.
    :param copied: journal records that a journal lacked.
    :param dropped: journal records of sessions that are gone.
    :param torn_bytes: bytes of a cut write at the end of the log.
    :param recovered: journals that were written to.
    :param failed: journals that could not be brought up to date, and why.
    """

    commits: int = 0
    copied: int = 0
    dropped: int = 0
    torn_bytes: int = 0
    recovered: list[RecoveryReport] = field(default_factory=list)
    failed: dict[str, StorageError] = field(default_factory=dict)


class _Target:
    """One journal being brought up to date."""

    def __init__(self, fs: FileSystem, path: str, stream: str) -> None:
        self.held = self.epoch = self.undone = 0
        self.waiting: list[bytes] = []
        self.bytes = 0
        kind, name = stream_owner(stream)
        self.journal: Journal | SegmentedJournal | TableJournal
        match kind:
            case "events":
                finish_clear(fs, path.rpartition("/")[0])
                rows, self.journal = open_event_rows(fs, path.rpartition("/")[0], name)
                self.held, self.epoch = rows.number, rows.epoch
            case "state":
                state, self.journal = open_state(fs, path.rpartition("/")[0], name)
                self.held = state.number
            case _:
                self.journal = open_journal(fs, path, kind=kind, name=name, replay=self._hold)

    def _hold(self, offset: int, payload: bytes) -> None:
        self.held = record_number(payload)

    def copy(self, payload: bytes) -> bool:
        """Take one record; whether the file lacked it."""
        epoch, number = record_head(payload)
        if self.epoch and not self._is_of_this_conversation(epoch, number):
            return False
        if number <= self.held:
            return False
        if number != self.held + 1:
            raise StoreCorruptError(
                f"{self.journal.path} lacks record {self.held + 1}",
                path=self.journal.path,
                offset=self.journal.end,
            )
        self.held, self.epoch = number, self.epoch and epoch
        self.waiting.append(payload)
        self.bytes += len(payload)
        if self.bytes >= COPY_BYTES:
            self.flush()
        return True

    def _is_of_this_conversation(self, epoch: int, number: int) -> bool:
        """Events of one that was cleared, or that never took the place of this, are not."""
        if number <= self.held and epoch > self.epoch:
            self.undone = epoch
        return epoch != self.undone and (number <= self.held or epoch >= self.epoch)

    def flush(self) -> None:
        if self.waiting:
            self.journal.append(self.waiting)
            self.journal.park()
            self.waiting, self.bytes = [], 0


def record_number(payload: bytes) -> int:
    """The number of a journal record; see :func:`record_head`."""
    return record_head(payload)[1]


def record_head(payload: bytes) -> tuple[int, int]:
    """Epoch and number of a journal record, without decoding the rest.

    :raises StoreValidationError: no payload.
    """
    if not payload or payload[0] != _PAYLOAD_HEAD:
        raise StoreValidationError("store: no payload", field="payload")
    epoch, offset = read_unsigned(payload, 1)
    return epoch, read_unsigned(payload, offset)[0]


def replay_log(fs: FileSystem, layout: Layout, segments: list[int]) -> ReplayReport:
    """Bring every journal up to date and sync it.

    :param segments: numbers of the segments, ascending.
    :raises StoreCorruptError: a segment is damaged before whole records; nothing was changed.
    :raises StorageError: a segment can not be read.
    """
    report = ReplayReport()
    begins = _Begins(report)
    for number in segments:
        read_segment(fs, layout, number, begins.visit, report)
    copies = _Copies(fs, layout, begins.positions, report)
    for number in segments:
        read_segment(fs, layout, number, copies.visit)
    copies.complete()
    return report


class _Begins:
    """First pass: for each stream the position of its last record whose number does not go up."""

    def __init__(self, report: ReplayReport) -> None:
        self.positions: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._position = 0
        self._report = report

    def visit(self, parts: list[tuple[str, bytes]]) -> None:
        self._report.commits += 1
        for stream, payload in parts:
            if stream == SYNCED:
                continue
            number = record_number(payload)
            if number <= self._last.get(stream, 0) or stream not in self.positions:
                self.positions[stream] = self._position
            self._last[stream] = number
            self._position += 1


class _Copies:
    """Second pass: give each journal the records it lacks."""

    def __init__(
        self, fs: FileSystem, layout: Layout, begins: dict[str, int], report: ReplayReport
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._begins = begins
        self._report = report
        self._targets: dict[str, _Target] = {}
        self._position = 0

    def visit(self, parts: list[tuple[str, bytes]]) -> None:
        for stream, payload in parts:
            if stream == SYNCED:
                continue
            old = self._position < self._begins[stream]
            self._position += 1
            if stream in self._report.failed:
                continue
            if old or not self._fs.exists(self._layout.directory_of(stream)):
                self._report.dropped += 1
                continue
            try:
                self._report.copied += self._target(stream).copy(payload)
            except StorageError as error:
                self._report.failed[stream] = error

    def complete(self) -> None:
        for stream, target in self._targets.items():
            try:
                target.flush()
                target.journal.sync()
            except StorageError as error:
                self._report.failed[stream] = error
            target.journal.close()
            self._report.recovered.append(target.journal.report)

    def _target(self, stream: str) -> _Target:
        target = self._targets.get(stream)
        if target is None:
            path = self._layout.stream_path(stream)
            target = self._targets[stream] = _Target(self._fs, path, stream)
            # Thousands of journals may be open at once otherwise.
            target.journal.park()
        return target


def read_segment(
    fs: FileSystem,
    layout: Layout,
    number: int,
    visit: Callable[[list[tuple[str, bytes]]], None],
    report: ReplayReport | None = None,
) -> None:
    """Read the commits of a segment; a write that was cut ends it.

    :raises StoreCorruptError: it is damaged before whole records.
    :raises StorageError: it can not be read.
    """
    try:
        file, found = read_journal(
            fs,
            layout.segment(number),
            kind=LOG,
            name="",
            replay=lambda _, payload: visit(decode_commit(payload)),
        )
    except StoreCorruptError as error:
        torn = 0 if error.foreign or error.offset else _unbegun(fs, layout.segment(number))
        if not torn:
            raise
        if report is not None:
            report.torn_bytes += torn
        return
    torn = found.torn_bytes
    try:
        if found.damage is not None and not _was_synced(file, found.damage):
            torn = file.size() - found.damage
    finally:
        file.close()
    if found.damage is not None and not torn:
        raise StoreCorruptError(
            f"{found.path} is damaged at byte {found.damage}", path=found.path, offset=found.damage
        )
    if report is not None:
        report.torn_bytes += torn


def _unbegun(fs: FileSystem, path: str) -> int:
    """The length of a file that was made and never synced; 0 when it holds a record."""
    file = fs.open_read(path)
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    at = data.find(MARK)
    while at != -1:
        if record_at(data, at) is not None:
            return 0
        at = data.find(MARK, at + 1)
    return len(data)


def _was_synced(file: File, offset: int) -> bool:
    """Whether a whole record behind a broken one says that the broken one was on the medium."""
    data = file.read(offset, max(file.size() - offset, 0))
    at = data.find(MARK, 1)
    while at != -1:
        payload = record_at(data, at)
        if payload is not None:
            if synced_mark(decode_commit(payload)) > offset:
                return True
            at += FRAME_BYTES + len(payload) - 1
        at = data.find(MARK, at + 1)
    return False
