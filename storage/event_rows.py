"""The rows of one session: where each one lies, and every way to read them (03 7, 14.1).

Memory holds the index, and the bytes of those rows that are committed and not yet in the journal;
everything else is read from its files. One thread, the hub's, changes this object (``replay``,
``commit``, ``trim``); any thread may read: a row is readable from the moment ``committed`` covers
it, and it leaves memory only after a file has it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import NamedTuple

from ..actors.errors import StoreValidationError
from ..actors.model.event import SessionEvent
from ..actors.model.query import HEAD, EventQuery, TurnHistory
from .event_files import EventFiles, OpenedPart, SealedPart
from .format.operations import appended_places, row_places
from .format.records import FRAME_BYTES
from .format.row_index import KNOWN_TYPES, RowIndex, RowKey, row_key
from .format.rows import decode_row, row_position
from .format.segment_index import SegmentIndex

READ_BYTES = 1024 * 1024
"""Bytes of the journal read at a time."""
PAGE_ROWS = 256
"""Rows whose lengths are added up at once."""
BLOCK_ROWS = 1024
"""Rows looked at together when their times must be looked at."""


class Cursor(NamedTuple):
    """Where a follower goes on: after ``sequence``; ``reset`` when its own place is not there."""

    sequence: int
    reset: bool


class EventRows:
    """The rows of one ``events.journal``, in its files or not there yet."""

    __slots__ = (
        "_index",
        "_oldest",
        "_recent",
        "end",
        "epoch_floor",
        "files",
        "number",
        "session_id",
    )

    def __init__(self, session_id: str, files: EventFiles) -> None:
        self.session_id = session_id
        self.files = files
        self._index = RowIndex()
        self._recent: dict[int, bytes] = {}
        self._oldest = 0  # the lowest sequence in `_recent`
        self.epoch_floor = 0
        """Least epoch of the next activation, when rows of later ones were lost."""
        self.number = 0
        """Number of the last committed record."""
        self.end = files.header_bytes
        """Position that the journal has, or will have, with every committed record in it."""

    @property
    def path(self) -> str:
        """The ``events.journal``."""
        return self.files.path

    @property
    def committed(self) -> int:
        """Sequence of the last committed row."""
        return self._index.count

    @property
    def epoch(self) -> int:
        """Epoch of the last committed record; 0 when there is none."""
        epochs = self._index.epochs
        return epochs[-1][0] if epochs else 0

    @property
    def epochs(self) -> frozenset[int]:
        """The epochs of all committed records."""
        return frozenset(epoch for epoch, _ in self._index.epochs)

    def replay(self, offset: int, payload: bytes) -> None:
        """Take in one record of the files, whose payload is at a position.

        :raises StoreValidationError: a record of another session, or out of order.
        """
        epoch, number, places = row_places(payload)
        if number != self.number + 1 or epoch < self.epoch:
            raise StoreValidationError(f"store: record {number} after {self.number}")
        if places:
            # One look per record: what it holds was encoded together.
            expected = (self.session_id, epoch, self.committed + 1)
            if row_position(payload, places[0].offset) != expected:
                raise StoreValidationError(f"store: row {expected} is missing")
        keys = [row_key(payload, position, KNOWN_TYPES) for position, _ in places]
        # Nothing was changed so far: what is refused leaves no trace.
        self.number = number
        self._index.note_epoch(epoch)
        for (position, size), key in zip(places, keys, strict=True):
            self._index.add(offset + position, size, key)
        self.end = offset + len(payload)

    def take_index(self, index: SegmentIndex) -> bool:
        """Take in a sealed part by its index; ``False`` when it does not follow."""
        follows = (self.number + 1, self.committed + 1, self.end)
        if (index.number, index.sequence, index.start) != follows or index.epoch < self.epoch:
            return False
        epochs = [pair for pair in index.epochs if pair[0] > self.epoch]
        self._index.extend(index.offsets, index.sizes, epochs, index.values)
        self.number, self.end = index.last_number, index.end
        return True

    def index_of(self, part: SealedPart) -> SegmentIndex | None:
        """The index of a sealed part; ``None`` while not all of its rows are committed."""
        if part.last_number > self.number:
            return None
        index = self._index
        first = bisect_left(index.offsets, part.start, 0, index.count)
        last = bisect_left(index.offsets, part.end, 0, index.count)
        return SegmentIndex(
            self.session_id,
            part.number,
            part.last_number,
            first + 1,
            part.start,
            part.end,
            0,
            part.epoch,
            index.offsets[first:last],
            index.sizes[first:last],
            [(e, at) for e, at in index.epochs if e <= part.epoch and first < at <= last + 1],
            index.part(first + 1, last),
        )

    def commit(
        self, epoch: int, payload: bytes, rows: Sequence[bytes], keys: Sequence[RowKey]
    ) -> None:
        """Take in one record that the log has committed and the files will get.

        :param rows: what the last operations of ``payload`` append.
        """
        self._index.note_epoch(epoch)
        offset = self.end + FRAME_BYTES
        first = self.committed + 1
        if not self._recent:
            self._oldest = first
        self._recent.update(zip(range(first, first + len(rows)), rows, strict=True))
        sizes = [len(row) for row in rows]
        places = [offset + place for place in appended_places(payload, sizes)]
        self._index.extend_with(places, sizes, keys)
        self.end = offset + len(payload)
        # Last: who asks for the index of a part looks at it first.
        self.number += 1

    def trim(self, materialised: int) -> None:
        """Forget the bytes of rows that lie before ``materialised`` in the files."""
        if not self._recent:
            return
        offsets, sizes = self._index.offsets, self._index.sizes
        last = bisect_left(offsets, materialised, 0, self.committed)
        if last and offsets[last - 1] + sizes[last - 1] > materialised:
            last -= 1
        # Counted, not taken from the dictionary: its first key is found past all deleted ones.
        for sequence in range(self._oldest, last + 1):
            del self._recent[sequence]
        self._oldest = max(self._oldest, last + 1)

    @property
    def recent(self) -> int:
        """How many rows are held in memory."""
        return len(self._recent)

    def turn_ids(self) -> list[str]:
        """The turns that have rows, in the order of their first ones; reads no row."""
        return self._index.turn_ids()

    def resolve(self, epoch: int, sequence: int) -> Cursor:
        """Where a follower with that cursor goes on (03 7, 14.1).

        A cursor is in the store when its epoch is and that epoch reached its sequence; ``(0, 0)``
        always is. Any other is a reset: to the beginning of the latest epoch of the store that is
        not later than the cursor's, or to the first row when there is none.
        """
        if (epoch, sequence) == (0, 0):
            return Cursor(0, reset=False)
        last = self.committed
        for known, first in reversed(self._index.epochs):
            if known == epoch and first - 1 <= sequence <= last:
                return Cursor(sequence, reset=False)
            if known <= epoch:
                return Cursor(first - 1, reset=True)
            last = first - 1
        return Cursor(0, reset=True)

    def rows_after(self, sequence: int, *, bytes_max: int, until: int | None = None) -> list[bytes]:
        """Raw rows after a sequence, in order: as many as fit, and one whatever its size.

        :param until: the last sequence wanted; ``None`` is all that is committed.
        """
        first = max(sequence, 0) + 1
        last = self.committed if until is None else min(until, self.committed)
        return list(self._rows(range(first, self._page_end(first, last, bytes_max))))

    def query(self, query: EventQuery) -> list[SessionEvent]:
        """The events a query asks for, ascending (03 7); reads no other row but for ``since``."""
        chosen = self._index.select(query, self.committed)
        limit = query.limit or None
        if query.since is None:
            found = [decode_row(row) for row in self._rows(list(islice(chosen, limit)))]
        else:
            found = []
            while block := list(islice(chosen, BLOCK_ROWS)):
                events = [decode_row(row) for row in self._rows(block)]
                found += [event for event in events if event.timestamp >= query.since]
                if limit is not None and len(found) >= limit:
                    break
            found = found[:limit]
        # The last N were found from the end.
        return found[::-1] if limit is not None and query.order != HEAD else found

    def history(self, query: EventQuery) -> list[TurnHistory]:
        """The same events grouped by turn, in order of each turn's first one (03 7)."""
        turns: dict[str, list[SessionEvent]] = {}
        for event in self.query(query):
            turns.setdefault(event.turn_id, []).append(event)
        return [TurnHistory(turn_id, tuple(events)) for turn_id, events in turns.items()]

    def _rows(self, sequences: Sequence[int]) -> Iterator[bytes]:
        """The rows of ascending or descending sequences, in that order."""
        if len(sequences) > 1 and sequences[0] > sequences[-1]:
            ascending = list(self._rows(sequences[::-1]))
            yield from reversed(ascending)
            return
        opened: OpenedPart | None = None
        offsets, sizes, recent = self._index.offsets, self._index.sizes, self._recent
        at = 0
        try:
            while at < len(sequences):
                row = recent.get(sequences[at])
                if row is not None:
                    yield row
                    at += 1
                    continue
                base = offsets[sequences[at] - 1]
                if opened is None or not opened.holds(base):
                    if opened is not None:
                        opened.close()
                    opened = self.files.open(base)
                first = sequences[at] - 1
                stop = self._chunk_end(sequences, at, opened)
                data = opened.read(base, offsets[stop - 1] + sizes[stop - 1] - base)
                for offset, size in zip(offsets[first:stop], sizes[first:stop], strict=True):
                    yield data[offset - base : offset - base + size]
                at += stop - first
        finally:
            if opened is not None:
                opened.close()

    def _page_end(self, first: int, last: int, bytes_max: int) -> int:
        """Behind the last row from ``first`` on that fits with those before it; at least one."""
        sizes = self._index.sizes
        stop, left = first, bytes_max
        while stop <= last:
            block = sizes[stop - 1 : min(stop - 1 + PAGE_ROWS, last)]
            taken = sum(block)
            if taken > left:
                stop += bisect_right(list(accumulate(block)), left)
                break
            left -= taken
            stop += len(block)
        return max(stop, min(first + 1, last + 1))

    def _chunk_end(self, sequences: Sequence[int], at: int, opened: OpenedPart) -> int:
        """The last of the rows to read together with ``at``: neighbours within ``READ_BYTES``."""
        offsets, sizes = self._index.offsets, self._index.sizes
        first = sequences[at]
        # Ascending: as long as they are neighbours, each is as far from the first as its place.
        gap = bisect_right(
            range(at, len(sequences)), first - at, key=lambda place: sequences[place] - place
        )
        last = first + gap - 1
        oldest = self._oldest
        if self._recent and first < oldest:
            last = min(last, oldest - 1)
        limit = offsets[first - 1] + READ_BYTES
        stop = bisect_left(offsets, min(limit, opened.end), first, last)
        if stop > first and offsets[stop - 1] + sizes[stop - 1] > limit:
            stop -= 1
        return stop
