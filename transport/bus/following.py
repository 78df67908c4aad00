"""What every kind of subscriber has: where it begins, what it shows, and what it tells of itself.

Rules owned here: a filter never moves a cursor; after a fork, and once closed, it is unusable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from enum import Enum
from pathlib import Path
from typing import Final

from .connection import Connection
from .credentials import Credentials
from .cursor import CursorMachine
from .endpoints import Endpoints
from .errors import BusClosedError, BusCursorError, BusTimeoutError
from .filters import EventFilter
from .follower import IDLE_SYNC_S, REQUEST_TIMEOUT_S, Follower, Pace
from .positions import Lag, Position, decode_cursor

NOW_TIMEOUT_S = 5.0
"""How long the runtime may take to say where "now" is."""


class Now(Enum):
    """The type of :attr:`Following.NOW`."""

    NOW = "now"


class Following:
    """One session, or all sessions of a runtime, being followed.

    :param where: the home of a runtime, its :class:`Endpoints`, or its ``ipc://`` events address.
    :param session_id: the session followed; ``None`` follows all, also those to come.
    :param after: ``None`` begins with the first stored event, :attr:`NOW` with the next one; a
        string of :meth:`cursor`, or (of one session) the ``cursor`` of an event, goes on there.
    :param sessions: hands out events of these only, of all that are followed.
    :param types: hands out events of these types only.
    :param agents: hands out events of these agents only.
    :param on_lag: called by the reader with each :class:`Lag`, before the late events.
    :param keys: for a ``tcp://`` address, which is not spoken to without.
    :param idle_sync_s: seconds without an event after which the store is asked for one.
    :param request_timeout_s: seconds after which an unanswered request is asked again.
    :raises BusEndpointError: no runtime in that home, or an address that can not be connected to.
    :raises BusCursorError: ``after`` is no cursor, or says nothing about ``session_id``.
    """

    NOW: Final = Now.NOW

    def __init__(
        self,
        where: Endpoints | Path | str,
        session_id: str | None = None,
        after: str | Position | Now | None = None,
        *,
        sessions: Collection[str] | None = None,
        types: Collection[str] | None = None,
        agents: Collection[str] | None = None,
        on_lag: Callable[[Lag], object] | None = None,
        keys: Credentials | None = None,
        idle_sync_s: float = IDLE_SYNC_S,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._endpoints = Endpoints.of(where)
        self._machine = machine_of(session_id, after)
        shown = EventFilter.of(sessions, types, agents)
        self._owner = os.getpid()
        self._closed = False
        self._connection = Connection(self._endpoints, session_id, keys)
        self._follower = Follower(
            self._connection,
            self._machine,
            Pace(idle_sync_s, request_timeout_s),
            shown=shown,
            on_lag=on_lag,
        )
        self._seeks_now = after is Now.NOW
        self._begin()

    def _begin(self) -> None:
        """What a kind of subscriber does once it is connected."""

    @property
    def lagged(self) -> int:
        """How often published events were missed, or late, and read from the store instead."""
        return self._machine.lagged

    @property
    def resets(self) -> int:
        """How often events handed out were no longer in the store: cleared, or lost with power.

        What comes next begins where the store and the events handed out last agreed, or at the
        first event; its ``sequence`` says where.
        """
        return self._machine.resets

    def cursor(self) -> str:
        """Where to go on after the last event handed out; printable, and opaque."""
        return self._machine.cursor()

    def _check_open(self) -> None:
        if self._owner != os.getpid():
            raise BusClosedError("the subscriber belongs to the parent process")
        if self._closed:
            raise BusClosedError("the subscriber is closed")

    def _no_answer(self) -> BusTimeoutError:
        """What a caller gets that wants "now" of a runtime that does not say where that is."""
        return BusTimeoutError(
            f"no runtime answers at {self._endpoints.control}; is it running?",
            timeout_s=NOW_TIMEOUT_S,
        )


def machine_of(session_id: str | None, after: str | Position | Now | None) -> CursorMachine:
    """The machine that begins where a caller wants to.

    :raises BusCursorError: ``after`` is no cursor, or says nothing about ``session_id``.
    """
    positions: dict[str, Position]
    match after:
        case None | Now.NOW:
            positions = {}
        case str(text):
            positions = decode_cursor(text)
        case (int(epoch), int(sequence)) if session_id is not None:
            positions = {session_id: (epoch, sequence)}
        case _:
            raise BusCursorError("cursor: a position is one of a session; name the session")
    return CursorMachine(session_id, positions, from_now=after is Now.NOW)
