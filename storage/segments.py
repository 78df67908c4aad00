"""Making the directories of a home, and passing from one segment of its log to the next."""

from __future__ import annotations

from collections.abc import Sequence

from ..actors.errors import StorageError
from .failpoints import FailPoint, reach
from .files import FileSystem
from .journal import Journal, open_journal
from .layout import LOG, Layout
from .unsynced import forget_unsynced

WAL_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of full segments that may wait for the journals they feed."""
SEGMENTS_PER_LOG = 4
"""A segment is full at this part of ``wal_bytes_max``."""

def make_directories(fs: FileSystem, layout: Layout) -> None:
    """Make what is missing of a home, and close all of it to others (mode 0700).

    :raises StorageError: a directory can not be made.
    """
    try:
        made = [
            fs.make_directory(path)
            for path in (str(layout.home), layout.sessions, layout.wal, layout.logs)
        ]
        if any(made):
            fs.sync_directory(str(layout.home))
    except OSError as error:
        raise StorageError(
            f"make {layout.home}: {error}", operation="open", path=str(layout.home)
        ) from error


class LogSegments:
    """The segments of a home's log: which there are, and which may go.

    ``following`` is for the log's writer, ``retire`` for whoever has synced the journals.
    """

    def __init__(
        self,
        fs: FileSystem,
        layout: Layout,
        numbers: list[int],
        *,
        wal_bytes_max: int = WAL_BYTES_MAX,
    ) -> None:
        """:param numbers: the present segments, ascending."""
        self._fs = fs
        self._layout = layout
        self._sizes = dict.fromkeys(numbers, 0)
        self._kept: frozenset[int] = frozenset()
        self.wal_bytes_max = wal_bytes_max
        """Bytes of full segments over which the log takes no more writes."""
        self._segment_bytes = max(wal_bytes_max // SEGMENTS_PER_LOG, 1)
        self._full_at = self._segment_bytes
        self.error: StorageError | None = None
        """Why the last step with a segment failed, until one succeeded."""

    @property
    def numbers(self) -> list[int]:
        """The segments that exist, ascending."""
        return sorted(self._sizes)

    @property
    def full_bytes(self) -> int:
        """Bytes of the segments that wait to be retired."""
        return sum(list(self._sizes.values()))

    def begin(self, *, keep: bool) -> Journal:
        """Begin a new segment, then remove the others unless they are still needed.

        :param keep: whether some journal still lacks records of theirs.
        """
        before = self.numbers
        segment = self._create()
        if keep:
            self._kept = frozenset(before)
        else:
            self.retire(before)
            if self.error is not None:
                raise self.error
        return segment

    def following(self, segment: Journal) -> Journal | None:
        """The segment to go on with once this one is full; ``None`` while it is not."""
        if segment.end < self._full_at:
            return None
        try:
            following = self._create()
        except (StorageError, OSError) as error:
            # Not now: the log goes on where it is, and tries again when it has grown more.
            self.error = _failed("begin a segment", error)
            self._full_at = segment.end + self._segment_bytes
            return None
        self._sizes[self.numbers[-2]] = segment.end
        self._full_at = self._segment_bytes
        return following

    def full_segments(self) -> list[int]:
        """The segments that take no more records, but for those kept from before."""
        return [number for number in self.numbers[:-1] if number not in self._kept]

    def retire(self, numbers: Sequence[int]) -> None:
        """Remove segments whose records are all in synced journals; what fails is done later."""
        try:
            for number in numbers:
                self._fs.remove(self._layout.segment(number))
                forget_unsynced(self._fs, self._layout.segment(number))
                self._sizes.pop(number, None)
            if numbers:
                self._fs.sync_directory(self._layout.wal)
                reach(FailPoint.SEGMENT_RETIRED)
            self.error = None
        except OSError as error:
            self.error = _failed("retire a segment", error)

    def _create(self) -> Journal:
        number = max(self._sizes, default=0) + 1
        segment = open_journal(
            self._fs, self._layout.segment(number), kind=LOG, name="", replay=_nothing
        )
        self._sizes[number] = 0
        reach(FailPoint.SEGMENT_CREATED)
        return segment


def _nothing(offset: int, payload: bytes) -> None:
    """A new segment holds no record."""


def _failed(operation: str, error: Exception) -> StorageError:
    failure = StorageError(f"{operation}: {error}", operation=operation)
    failure.__cause__ = error
    return failure
