"""Where every session ends, known without asking the store each time; pure but for its source.

Rules owned here: what is published is noted, so that a look at the heads of 10,000 sessions costs
no look at any of them; the first look reads the store once, in short steps; afterwards a few
entries are compared with the store per heartbeat, so that a change nobody published shows within a
while.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from ...actors.errors import SessionError, SessionNotFoundError
from ...storage.format.rows import row_position
from .fields import Head

CHECKS_PER_BEAT = 64
"""Entries compared with the store per heartbeat."""
READS_PER_STEP = 16
"""Heads read from the store between two turns of the hub, on the first look."""
_KEPT_BYTES = 1200
"""The beginning of a row that its position surely lies in: a session id has 1024 bytes at most."""


class HeadSource(Protocol):
    """The part of a store that is asked for heads; ``None``, or an error, is an unknown session."""

    def session_ids(self) -> Sequence[str]: ...
    def head(self, session_id: str) -> tuple[int, int] | None: ...


class HeadTable:
    """The last position of each session.

    :param source: asked in the hub thread.
    """

    def __init__(self, source: HeadSource) -> None:
        self._source = source
        self.fresh: dict[str, bytes] = {}
        """The last rows noted, by session; a publisher may write here itself."""
        self._heads: dict[str, bytes | tuple[int, int]] = {}
        self._changed: dict[str, None] = {}
        self._names: list[str] = []
        self._to_check: deque[str] = deque()
        self.complete = False
        """Whether the store was read."""

    def note(self, session_id: str, row: bytes) -> None:
        """``row`` is the last one of its session now."""
        self.fresh[session_id] = row

    def take_changed(self) -> list[str]:
        """The sessions noted since this was asked last."""
        self._settle()
        changed, self._changed = self._changed, {}
        return list(changed)

    def _settle(self) -> None:
        """Take in what was noted: not while publishing, which happens for every row."""
        if not self.fresh:
            return
        fresh = dict(self.fresh)
        self.fresh.clear()
        for session_id, row in fresh.items():
            if session_id not in self._heads:
                insort(self._names, session_id)
            self._heads[session_id] = row if len(row) <= _KEPT_BYTES else row[:_KEPT_BYTES]
            self._changed[session_id] = None

    def head(self, session_id: str) -> Head:
        """The head noted last.

        :raises KeyError: none is known.
        :raises StoreValidationError: what was noted is no row; it is forgotten.
        """
        self._settle()
        found = self._heads[session_id]
        if isinstance(found, bytes):
            try:
                _, epoch, sequence = row_position(found)
            except SessionError:
                self.forget(session_id)
                raise
            found = self._heads[session_id] = (epoch, sequence)
        return Head(session_id, *found)

    def read_store(self) -> Iterator[None]:
        """Take in what the store has; the caller lets others work between the steps."""
        for count, session_id in enumerate(list(self._source.session_ids())):
            self._settle()
            if session_id not in self._heads:
                self.refresh(session_id)
            if count % READS_PER_STEP == 0:
                yield
        self.complete = True

    def refresh(self, session_id: str) -> Head | None:
        """Ask the store about one session; ``None`` when it knows none."""
        self._settle()
        try:
            found = self._source.head(session_id)
        except SessionNotFoundError:
            found = None
        except SessionError:
            # A damaged session must not hide the others; whoever reads it is told.
            return None
        if found is None:
            self.forget(session_id)
            return None
        if session_id not in self._heads:
            insort(self._names, session_id)
        self._heads[session_id] = found
        return Head(session_id, *found)

    def check_some(self) -> list[str]:
        """Compare a few entries with the store; those that were not as noted."""
        self._settle()
        changed = []
        if not self._to_check:
            self._to_check.extend(self._names)
        for _ in range(min(CHECKS_PER_BEAT, len(self._to_check))):
            session_id = self._to_check.popleft()
            if session_id in self._heads:
                try:
                    noted: Head | None = self.head(session_id)
                except SessionError:
                    noted = None
                found = self.refresh(session_id)
                if found is not None and found != noted:
                    changed.append(session_id)
        return changed

    def forget(self, session_id: str) -> None:
        """The session is gone."""
        self._settle()
        if self._heads.pop(session_id, None) is not None:
            self._names.remove(session_id)

    def page(self, after: str, limit: int) -> tuple[tuple[Head, ...], bool]:
        """Heads of the sessions whose id is greater than ``after``; whether there are more."""
        self._settle()
        start = bisect_right(self._names, after) if after else 0
        names = self._names[start : start + limit]
        more = start + limit < len(self._names)
        heads = []
        for name in names:
            try:
                heads.append(self.head(name))
            except SessionError:
                continue
        return tuple(heads), more
