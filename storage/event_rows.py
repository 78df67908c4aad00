"""The rows of one session: where each one lies, and every way to read them (03 7, 14.1).

Memory holds an offset and a size per row, and the bytes of those rows that are committed and not
yet in the journal; everything else is read from the file. One thread, the hub's, changes this
object (``replay``, ``commit``, ``trim``); any thread may read: a row is readable from the moment
``committed`` covers it, and it leaves memory only after the file has it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..actors.errors import StoreValidationError
from ..actors.model.event import SessionEvent
from ..actors.model.query import HEAD, EventQuery, TurnHistory
from .files import File
from .format.operations import row_places
from .format.records import FRAME_BYTES
from .format.rows import decode_row, row_position
from .journal import read_exactly

READ_BYTES = 1024 * 1024
"""Bytes of the journal read at a time."""
BLOCK_ROWS = 1024
"""Rows looked at together when a filtered query goes backwards."""


class Cursor(NamedTuple):
    """Where a follower goes on: after ``sequence``; ``reset`` when its own place is not there."""

    sequence: int
    reset: bool


class EventRows:
    """The index of one ``events.journal`` and the rows that are not in it yet."""

    __slots__ = (
        "_epochs",
        "_offsets",
        "_oldest",
        "_open_file",
        "_recent",
        "_sizes",
        "committed",
        "end",
        "number",
        "path",
        "session_id",
    )

    def __init__(self, session_id: str, path: str, open_file: Callable[[], File]) -> None:
        """:param open_file: opens the journal for reading; the file is closed after each read."""
        self.session_id = session_id
        self.path = path
        self._open_file = open_file
        self._offsets = array("Q")
        self._sizes = array("I")
        self._epochs: list[tuple[int, int]] = []
        self._recent: dict[int, bytes] = {}
        self._oldest = 0  # the lowest sequence in `_recent`
        self.committed = 0
        """Sequence of the last committed row."""
        self.number = 0
        """Number of the last committed record."""
        self.end = 0
        """Length the journal has, or will have, with every committed record in it."""

    @property
    def epoch(self) -> int:
        """Epoch of the last committed record; 0 when there is none."""
        return self._epochs[-1][0] if self._epochs else 0

    def replay(self, offset: int, payload: bytes) -> None:
        """Take in one record of the file.

        :raises StoreValidationError: a record of another session, or out of order.
        """
        epoch, number, places = row_places(payload)
        if number != self.number + 1 or epoch < self.epoch:
            raise StoreValidationError(f"store: record {number} after {self.number}")
        self.number = number
        self._note_epoch(epoch)
        if places:
            # One look per record: what it holds was encoded together.
            expected = (self.session_id, epoch, self.committed + 1)
            if row_position(payload, places[0].offset) != expected:
                raise StoreValidationError(f"store: row {expected} is missing")
        for position, size in places:
            self._add(offset + position, size)
        self.end = offset + len(payload)

    def commit(self, epoch: int, payload: bytes, rows: Sequence[bytes]) -> None:
        """Take in one record that the log has committed and the file will get."""
        self.number += 1
        self._note_epoch(epoch)
        offset = self.end + FRAME_BYTES
        position = 0
        if not self._recent:
            self._oldest = self.committed + 1
        for row in rows:
            position = payload.index(row, position)
            self._recent[self.committed + 1] = row
            self._add(offset + position, len(row))
            position += len(row)
        self.end = offset + len(payload)

    def trim(self, materialised: int) -> None:
        """Forget the bytes of rows that lie before ``materialised`` in the file."""
        # Counted, not taken from the dictionary: its first key is found past all deleted ones.
        while self._recent:
            index = self._oldest - 1
            if self._offsets[index] + self._sizes[index] > materialised:
                return
            del self._recent[self._oldest]
            self._oldest += 1

    @property
    def recent(self) -> int:
        """How many rows are held in memory."""
        return len(self._recent)

    def _note_epoch(self, epoch: int) -> None:
        if epoch > self.epoch:
            self._epochs.append((epoch, self.committed + 1))

    def _add(self, offset: int, size: int) -> None:
        self._offsets.append(offset)
        self._sizes.append(size)
        # Last: it makes the row visible to other threads.
        self.committed += 1

    def resolve(self, epoch: int, sequence: int) -> Cursor:
        """Where a follower with that cursor goes on (03 7, 14.1).

        A cursor is in the store when its epoch is and that epoch reached its sequence; ``(0, 0)``
        always is. Any other is a reset: to the beginning of the latest epoch of the store that is
        not later than the cursor's, or to the first row when there is none.
        """
        if (epoch, sequence) == (0, 0):
            return Cursor(0, reset=False)
        last = self.committed
        for known, first in reversed(self._epochs):
            if known == epoch and first - 1 <= sequence <= last:
                return Cursor(sequence, reset=False)
            if known <= epoch:
                return Cursor(first - 1, reset=True)
            last = first - 1
        return Cursor(0, reset=True)

    def rows_after(
        self, sequence: int, *, bytes_max: int, until: int | None = None
    ) -> list[bytes]:
        """Raw rows after a sequence, in order: as many as fit, and one whatever its size.

        :param until: the last sequence wanted; ``None`` is all that is committed.
        """
        first = max(sequence, 0) + 1
        last = self.committed if until is None else min(until, self.committed)
        size = 0
        stop = first
        while stop <= last:
            size += self._sizes[stop - 1]
            if size > bytes_max and stop > first:
                break
            stop += 1
        return list(self._rows(first, stop - 1))

    def query(self, query: EventQuery) -> list[SessionEvent]:
        """The events a query asks for, ascending (03 7)."""
        first = query.after_sequence + 1
        last = self.committed
        limit = query.limit or last
        if not query.has_filter:
            if query.order == HEAD:
                last = min(last, query.after_sequence + limit)
            else:
                first = max(first, last - limit + 1)
            return [decode_row(row) for row in self._rows(first, last)]
        match = _matcher(query)
        if query.order == HEAD or not query.limit:
            found: list[SessionEvent] = []
            for row in self._rows(first, last):
                event = match(row)
                if event is not None:
                    found.append(event)
                    if len(found) == limit:
                        break
            return found
        return self._last_matches(match, first, last, limit)

    def history(self, query: EventQuery) -> list[TurnHistory]:
        """The same events grouped by turn, in order of each turn's first one (03 7)."""
        turns: dict[str, list[SessionEvent]] = {}
        for event in self.query(query):
            turns.setdefault(event.turn_id, []).append(event)
        return [TurnHistory(turn_id, tuple(events)) for turn_id, events in turns.items()]

    def _last_matches(
        self, match: Callable[[bytes], SessionEvent | None], first: int, last: int, limit: int
    ) -> list[SessionEvent]:
        found: list[SessionEvent] = []
        while last >= first and len(found) < limit:
            begin = max(first, last - BLOCK_ROWS + 1)
            block = [match(row) for row in self._rows(begin, last)]
            found.extend(event for event in reversed(block) if event is not None)
            last = begin - 1
        return found[limit - 1 :: -1] if len(found) > limit else found[::-1]

    def _rows(self, first: int, last: int) -> Iterator[bytes]:
        file: File | None = None
        try:
            while first <= last:
                row = self._recent.get(first)
                if row is not None:
                    yield row
                    first += 1
                    continue
                file = file or self._open_file()
                stop = self._chunk_end(first, last)
                base = self._offsets[first - 1]
                size = self._offsets[stop - 1] + self._sizes[stop - 1] - base
                data = read_exactly(file, self.path, base, size)
                for index in range(first - 1, stop):
                    start = self._offsets[index] - base
                    yield data[start : start + self._sizes[index]]
                first = stop + 1
        finally:
            if file is not None:
                file.close()

    def _chunk_end(self, first: int, last: int) -> int:
        """The last row to read together with ``first``: within ``READ_BYTES``, in the file."""
        base = self._offsets[first - 1]
        stop = first
        while (
            stop < last
            and stop + 1 not in self._recent
            and self._offsets[stop] + self._sizes[stop] - base <= READ_BYTES
        ):
            stop += 1
        return stop


def _matcher(query: EventQuery) -> Callable[[bytes], SessionEvent | None]:
    facts = [
        (name, value)
        for name in ("type", "agent_name", "turn_id")
        if (value := getattr(query, name))
    ]
    # Bytes first: a row that does not hold the text anywhere need not be decoded.
    needles = [value.encode("utf-8", "surrogatepass") for _, value in facts]

    def match(row: bytes) -> SessionEvent | None:
        for needle in needles:
            if needle not in row:
                return None
        event = decode_row(row)
        if query.since is not None and event.timestamp < query.since:
            return None
        return event if all(getattr(event, name) == value for name, value in facts) else None

    return match
