"""The rows of one submit: their bytes at once, everything else for those who ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from ..actors.model.event import AgentEvent


class StoredRow(msgspec.Struct, frozen=True):
    """A row that was submitted: it is stored once ``done`` says so."""

    sequence: int
    epoch: int
    id: str
    row: bytes
    event: AgentEvent


class StoredRows(Sequence[StoredRow]):
    """Rows that follow each other.

    :param epoch: of all of them.
    :param last: sequence of the last one; 0 where there is none.
    :param ids: their ids.
    :param rows: their bytes.
    :param events: what they were made of.
    """

    __slots__ = ("epoch", "events", "ids", "last", "rows")

    def __init__(
        self,
        epoch: int,
        last: int,
        ids: Sequence[str],
        rows: Sequence[bytes],
        events: Sequence[AgentEvent],
    ) -> None:
        self.epoch = epoch
        self.last = last
        self.ids = ids
        self.rows = rows
        self.events = events

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[StoredRow]:
        first = self.last - len(self.rows) + 1
        stored = zip(self.ids, self.rows, self.events, strict=True)
        for sequence, (row_id, row, event) in enumerate(stored, first):
            yield StoredRow(sequence, self.epoch, row_id, row, event)

    @overload
    def __getitem__(self, index: int) -> StoredRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StoredRow]: ...
    def __getitem__(self, index: int | slice) -> StoredRow | Sequence[StoredRow]:
        return list(self)[index]


NO_ROWS = StoredRows(0, 0, (), (), ())
"""What a submit of no event gives."""
