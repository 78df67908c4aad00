"""Where the rows of a session lie, and which of them have a type, a turn or an agent (03 14.3).

Pure, and rebuildable from the rows: an index is never truth. For each value of a member the rows
that have it are kept as runs ``first, last, first, last, ...``: a streamed answer is one run. A
query walks the runs of its rarest value, so it looks at no row that is not in its result.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from ...actors.model.event import EventType
from ...actors.model.query import EventQuery
from .cbor_items import read_head, read_text, read_unsigned

INDEXED = ("type", "turn_id", "agent_name")
"""The members of a row that queries filter by."""


class RowKey(NamedTuple):
    """What a row is found by."""

    type: str
    turn_id: str
    agent_name: str


Runs = dict[str, "array[int]"]
"""By value: the sequences that have it, as runs, ascending."""


class RowIndex:
    """The index of all rows of one session. One thread adds, any reads up to ``count``."""

    __slots__ = ("_key", "_tails", "count", "epochs", "offsets", "sizes", "values")

    def __init__(self) -> None:
        self.offsets = array("Q")
        self.sizes = array("I")
        self.epochs: list[tuple[int, int]] = []
        """Each epoch with the sequence of the first row it may have."""
        self.values: tuple[Runs, Runs, Runs] = ({}, {}, {})
        """Runs by type, by turn and by agent."""
        self.count = 0
        self._key: RowKey | None = None
        self._tails: list[array[int]] = []

    def add(self, offset: int, size: int, key: RowKey) -> None:
        """One row more, at ``offset`` of the journal."""
        sequence = self.count + 1
        self.offsets.append(offset)
        self.sizes.append(size)
        if key == self._key:
            for runs in self._tails:
                runs[-1] = sequence
        else:
            self._begin_runs(sequence, key)
        # Last: it makes the row visible to other threads.
        self.count = sequence

    def extend_with(
        self, offsets: Sequence[int], sizes: Sequence[int], keys: Iterable[RowKey]
    ) -> None:
        """Rows more; neighbours with equal keys cost one look together."""
        self.offsets.extend(offsets)
        self.sizes.extend(sizes)
        last = self.count
        for key, equal in groupby(keys):
            first, last = last + 1, last + sum(1 for _ in equal)
            if key != self._key:
                self._begin_runs(first, key)
            for runs in self._tails:
                runs[-1] = last
        # Last: it makes the rows visible to other threads.
        self.count = last

    def _begin_runs(self, sequence: int, key: RowKey) -> None:
        self._key = key
        self._tails = []
        for runs_of, value in zip(self.values, key, strict=True):
            runs = runs_of.get(value)
            if runs is None:
                runs = runs_of[value] = array("Q")
            if runs and runs[-1] == sequence - 1:
                runs[-1] = sequence
            else:
                runs.extend((sequence, sequence))
            self._tails.append(runs)

    def note_epoch(self, epoch: int) -> None:
        """Rows that come from now on are of this epoch."""
        if not self.epochs or epoch > self.epochs[-1][0]:
            self.epochs.append((epoch, self.count + 1))

    def turn_ids(self) -> list[str]:
        """All turns, in the order of their first rows."""
        return list(self.values[1])

    def select(self, query: EventQuery, last: int) -> Iterator[int]:
        """The sequences that match type, turn and agent, up to ``last``.

        Ascending, but descending for a query that wants the last N.
        """
        first = query.after_sequence + 1
        backwards = bool(query.limit) and query.order != "head"
        chosen = []
        for name, runs_of in zip(INDEXED, self.values, strict=True):
            value = getattr(query, name)
            if value:
                runs = runs_of.get(value)
                if runs is None:
                    return
                chosen.append(runs)
        if not chosen:
            yield from range(last, first - 1, -1) if backwards else range(first, last + 1)
            return
        chosen.sort(key=len)
        for begin, end in _common(chosen, 0, first, last, backwards):
            yield from range(end, begin - 1, -1) if backwards else range(begin, end + 1)

    def part(self, first: int, last: int) -> tuple[Runs, Runs, Runs]:
        """The runs within ``first..last``."""
        found: tuple[Runs, Runs, Runs] = ({}, {}, {})
        for runs_of, within in zip(self.values, found, strict=True):
            for value, runs in list(runs_of.items()):
                flat = [
                    bound
                    for begin, end in _common([runs], 0, first, last, False)
                    for bound in (begin, end)
                ]
                if flat:
                    within[value] = array("Q", flat)
        return found

    def extend(
        self,
        offsets: array[int],
        sizes: array[int],
        epochs: list[tuple[int, int]],
        values: tuple[Runs, Runs, Runs],
    ) -> None:
        """Rows that follow, from the index of a sealed file."""
        self.offsets.extend(offsets)
        self.sizes.extend(sizes)
        self.epochs.extend(epochs)
        for runs_of, more in zip(self.values, values, strict=True):
            for value, runs in more.items():
                have = runs_of.get(value)
                if have is None:
                    runs_of[value] = runs
                elif have[-1] + 1 == runs[0]:
                    have[-1] = runs[1]
                    have.extend(runs[2:])
                else:
                    have.extend(runs)
        self._key = None
        self.count += len(offsets)


def row_key(data: bytes, offset: int, known: Mapping[str, str]) -> RowKey:
    """What the row at ``offset`` is found by, without decoding the rest.

    :param known: one text per value, so that equal values are one object.
    :raises StoreValidationError: no row.
    """
    _, size, offset = read_head(data, offset + 1)
    _, offset = read_unsigned(data, offset + size)
    _, offset = read_unsigned(data, offset)
    _, size, offset = read_head(data, offset)
    turn_id, offset = read_text(data, offset + size)
    kind, offset = read_text(data, offset)
    agent_name, _ = read_text(data, offset)
    return RowKey(known.get(kind, kind), turn_id, agent_name)


KNOWN_TYPES: Mapping[str, str] = {item.value: item.value for item in EventType}


def _common(
    chosen: list[array[int]], at: int, first: int, last: int, backwards: bool
) -> Iterator[tuple[int, int]]:
    """The runs that are within ``first..last`` and in all of ``chosen`` from ``at`` on."""
    runs = chosen[at]
    # A run is a pair: the one that may hold `first` begins at an even place.
    begin = max(bisect_right(runs, first) - 1, 0) & ~1
    end = bisect_left(runs, last + 1)
    end += end & 1
    places = range(end - 2, begin - 2, -2) if backwards else range(begin, end, 2)
    for place in places:
        low, high = max(runs[place], first), min(runs[place + 1], last)
        if low > high:
            continue
        if at + 1 == len(chosen):
            yield low, high
        else:
            yield from _common(chosen, at + 1, low, high, backwards)
