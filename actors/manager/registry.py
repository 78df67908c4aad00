"""Which sessions live, and which ids are being started: maps, and nothing that waits (01 6)."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator

from ..errors import SessionNotActiveError
from ..runtime.future import GreenFuture
from ..session.live import LiveSession


class Registry:
    """The live sessions of one runtime; used in its hub only."""

    def __init__(self) -> None:
        self._sessions: dict[str, LiveSession] = {}
        self._ending: dict[str, LiveSession] = {}
        self._pending: dict[str, GreenFuture[None]] = {}
        self._resuming: dict[str, GreenFuture[None]] = {}
        self._exclusive: dict[str, GreenFuture[None]] = {}
        self._readers: dict[str, int] = {}
        self._unread: dict[str, GreenFuture[None]] = {}

    def reserve(self, session_id: str, *, exclusive: bool = False) -> None:
        """Claim an id for a start.

        :param exclusive: the stored session is about to be replaced: who begins to read it waits.
        :raises SessionNotActiveError: the id is live, or another start of it is under way.
        """
        places: tuple[tuple[Container[str], str], ...] = (
            (self._sessions, "active"),
            (self._pending, "starting"),
            (self._ending, "stopping"),
        )
        for where, what in places:
            if session_id in where:
                raise SessionNotActiveError(
                    f'session "{session_id}" is already {what}', session_id=session_id, state=what
                )
        self._pending[session_id] = GreenFuture()
        if exclusive:
            self._exclusive[session_id] = self._pending[session_id]

    def activate(self, live: LiveSession) -> None:
        """The start succeeded: the session is visible from here on."""
        self._sessions[live.id] = live
        self.release(live.id)
        live.left.add_done_callback(lambda _: self._remove(live))
        live.retired.add_done_callback(lambda _: self._forget(live))

    def release(self, session_id: str) -> None:
        """The start is over, one way or the other."""
        self._exclusive.pop(session_id, None)
        pending = self._pending.pop(session_id, None)
        if pending is not None:
            pending.set(None)

    def get(self, session_id: str) -> LiveSession | None:
        """The live session of an id."""
        return self._sessions.get(session_id)

    @contextlib.contextmanager
    def resuming(self, session_id: str) -> Iterator[None]:
        """One resume of an id at a time, from its first look at what is stored."""
        over: GreenFuture[None] = GreenFuture()
        self._resuming[session_id] = over
        try:
            yield
        finally:
            del self._resuming[session_id]
            over.set(None)

    def resumed(self, session_id: str) -> GreenFuture[None] | None:
        """Set when the resume that is under way is over; ``None`` when there is none."""
        return self._resuming.get(session_id)

    def ending(self, session_id: str) -> LiveSession | None:
        """The incarnation of an id whose end is not complete, though nobody finds it any more."""
        return self._ending.get(session_id)

    def all_ending(self) -> list[LiveSession]:
        """All of those."""
        return list(self._ending.values())

    def pending(self, session_id: str) -> GreenFuture[None] | None:
        """Set when the start that is under way is over; ``None`` when there is none."""
        return self._pending.get(session_id)

    def replaced(self, session_id: str) -> GreenFuture[None] | None:
        """Set when the replacement that is under way is over; ``None`` when there is none."""
        return self._exclusive.get(session_id)

    @contextlib.contextmanager
    def reading(self, session_id: str) -> Iterator[None]:
        """What is stored of a session is read meanwhile, and not replaced."""
        self._readers[session_id] = self._readers.get(session_id, 0) + 1
        try:
            yield
        finally:
            self._readers[session_id] -= 1
            if not self._readers[session_id]:
                del self._readers[session_id]
                unread = self._unread.pop(session_id, None)
                if unread is not None:
                    unread.set(None)

    def unread(self, session_id: str) -> GreenFuture[None]:
        """Set once nobody reads what is stored of the session."""
        if session_id in self._readers:
            return self._unread.setdefault(session_id, GreenFuture())
        settled: GreenFuture[None] = GreenFuture()
        settled.set(None)
        return settled

    def starts(self) -> list[GreenFuture[None]]:
        """All starts under way."""
        return list(self._pending.values())

    def all(self) -> list[LiveSession]:
        """The live sessions, oldest first (01 15.3)."""
        return sorted(
            self._sessions.values(), key=lambda live: (live.state.meta.created_at, live.id)
        )

    def _remove(self, live: LiveSession) -> None:
        if self._sessions.get(live.id) is live:
            del self._sessions[live.id]
            if not live.retired.done:
                self._ending[live.id] = live

    def _forget(self, live: LiveSession) -> None:
        self._remove(live)
        if self._ending.get(live.id) is live:
            del self._ending[live.id]
