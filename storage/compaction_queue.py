"""The journals that are being rewritten: one at a time, a little at a time (03 14.1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..actors.errors import StorageError
from .commits import Post, Stream
from .table_journal import Compacted, TableJournal

STEP_BYTES = 4 * 1024
"""Bytes read or written without looking after anything else."""
PAUSE_S = 0.0005
"""Seconds between two steps, in which other threads get on."""

CompactionDone = Callable[[Compacted | None], None]


class _Asked(NamedTuple):
    journal: TableJournal
    done: CompactionDone


class CompactionQueue:
    """Rewrites journals for the thread that appends to them."""

    __slots__ = ("_asked", "_post")

    def __init__(self, post: Post) -> None:
        """:param post: runs a callable in the hub."""
        self._post = post
        self._asked: OrderedDict[Stream, _Asked] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, stream: Stream, journal: TableJournal, done: CompactionDone) -> None:
        """Rewrite a journal; ``done`` is told in the hub, ``None`` when it failed."""
        self._asked[stream] = _Asked(journal, done)

    def step(self) -> StorageError | None:
        """Go on with the first; the error with which it ended, if so."""
        for stream in self._asked:
            return self._go_on(stream, STEP_BYTES)
        return None

    def finish(self, stream: Stream) -> None:
        """Do all that was asked for one journal, whose use ends."""
        while stream in self._asked:
            self._go_on(stream, self._asked[stream].journal.size)

    def _go_on(self, stream: Stream, budget: int) -> StorageError | None:
        journal, done = self._asked[stream]
        failure: StorageError | None = None
        compacted: Compacted | None = None
        try:
            compacted = journal.compact(budget)
        except StorageError as error:
            failure = error
        if compacted is None and failure is None:
            return None
        del self._asked[stream]
        if compacted is not None:
            stream.materialised = compacted.end
        self._post(partial(done, compacted))
        if stream.on_materialised is not None:
            self._post(stream.on_materialised)
        return failure
