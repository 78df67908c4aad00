"""A subscriber's end of the bus: stored events in order, gap-free, each once.

Plain pyzmq, for any thread of any process; in the hub of the publisher's own runtime it would wait
for itself. It works only while it is called: there is no thread behind it. Rules owned here:
subscribe first, then ask for heads and pages, then go live (trap Z2); a request has a timeout and
is asked again; a runtime that is gone is waited for; after silence the store is asked whether it
really is silence, at growing intervals.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final

from ...actors.model.event import SessionEvent
from .catchup import (
    ErrorReply,
    HeadsReply,
    HeadsRequest,
    Reply,
    Request,
    RowsReply,
    RowsRequest,
    decode_reply,
    encode_request,
)
from .connection import Connection
from .cursor import CursorMachine
from .endpoints import Endpoints
from .errors import (
    BusClosedError,
    BusCursorError,
    BusError,
    BusProtocolError,
    BusRemoteError,
    BusTimeoutError,
)
from .frames import Frame, Heartbeat, decode_frame
from .positions import Position, decode_cursor
from .wanted import HeadsWanted, RowsWanted

IDLE_SYNC_S = 1.0
IDLE_SYNC_FACTOR_MAX = 16
"""Silence is checked ever more rarely, at most this many times more."""
REQUEST_TIMEOUT_S = 2.0
RETRY_S = 0.05
"""Pause before a request is tried again that could not be sent."""
FAILURES_MAX = 5
"""Failed answers in a row, without any progress between them, before the caller is told."""
NOW_TIMEOUT_S = 5.0
"""How long the runtime may take to say where "now" is."""


class Now(Enum):
    """The type of :attr:`Subscriber.NOW`."""

    NOW = "now"


class Subscriber:
    """Follows one session, or all sessions of a runtime.

    Iterating blocks and ends when the subscriber is closed, also from another thread. One thread
    reads at a time.

    :param where: the home of a runtime, its :class:`Endpoints`, or its ``ipc://`` events address.
    :param session_id: the session followed; ``None`` follows all, also those to come.
    :param after: ``None`` begins with the first stored event, :attr:`NOW` with the next one; a
        string of :meth:`cursor`, or (of one session) the ``cursor`` of an event, goes on there.
    :param idle_sync_s: seconds without an event after which the store is asked for one.
    :param request_timeout_s: seconds after which an unanswered request is asked again.
    :raises BusEndpointError: no runtime in that home.
    :raises BusCursorError: ``after`` is no cursor, or says nothing about ``session_id``.
    :raises BusTimeoutError: ``after=NOW``, and the runtime does not answer.
    """

    NOW: Final = Now.NOW

    def __init__(
        self,
        where: Endpoints | Path | str,
        session_id: str | None = None,
        after: str | Position | Now | None = None,
        *,
        idle_sync_s: float = IDLE_SYNC_S,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._endpoints = Endpoints.of(where)
        positions = _positions(session_id, after)
        self._machine = CursorMachine(session_id, positions, from_now=after is Now.NOW)
        self._idle_sync_s = idle_sync_s
        self._idle_factor = 1
        self._request_timeout_s = request_timeout_s
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._request_id = 0
        self._asked: HeadsWanted | RowsWanted | None = None
        self._ask_at = 0.0
        self._heard_at = time.monotonic()
        self._failures = 0
        self._connection = Connection(self._endpoints, session_id)
        if after is Now.NOW:
            self._find_now()

    # -- the public face ------------------------------------------------------------------------

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

    def next(self, timeout: float | None = None) -> SessionEvent | None:
        """The next event.

        :param timeout: seconds to wait; ``None`` waits for ever.
        :returns: ``None`` when the time is up or the subscriber was closed meanwhile.
        :raises BusClosedError: it is closed, or was made before a fork.
        :raises BusProtocolError: the runtime speaks another version.
        :raises BusRemoteError: the runtime failed to answer, again and again.
        """
        self._check_open()
        return self._machine.take() or self._wait(timeout)

    def _wait(self, timeout: float | None) -> SessionEvent | None:
        event: SessionEvent | None = None
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        with self._reading():
            in_time = True
            while event is None and in_time and not self._closed:
                in_time = self._work(deadline)
                event = self._machine.take()
        return event

    def read(self, timeout: float | None = None) -> list[SessionEvent]:
        """The events that are there, after waiting for the first as :meth:`next` does."""
        events: list[SessionEvent] = []
        event = self.next(timeout)
        while event is not None:
            events.append(event)
            event = self._machine.take()
        return events

    def __iter__(self) -> Iterator[SessionEvent]:
        while not self._closed and self._owner == os.getpid():
            event = self._machine.take() or self._wait(None)
            if event is not None:
                yield event

    def close(self) -> None:
        """Stop; a reader in another thread returns. Idempotent."""
        if self._owner != os.getpid():
            return
        self._closed = True
        self._connection.wake()
        self._settle()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._owner != os.getpid():
            raise BusClosedError("the subscriber belongs to the parent process")
        if self._closed:
            raise BusClosedError("the subscriber is closed")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """The sockets belong to one thread at a time; who leaves last after close() ends them."""
        try:
            with self._lock:
                yield
        finally:
            self._settle()

    def _settle(self) -> None:
        while self._closed and self._lock.acquire(blocking=False):
            try:
                if self._connection.destroyed:
                    return
                self._connection.destroy()
            finally:
                self._lock.release()

    # -- work -----------------------------------------------------------------------------------

    def _find_now(self) -> None:
        deadline = time.monotonic() + NOW_TIMEOUT_S
        with self._reading():
            while not self._machine.synced and self._work(deadline):
                pass
        if not self._machine.synced:
            self.close()
            raise BusTimeoutError(
                f"no runtime answers at {self._endpoints.control}; is it running?",
                timeout_s=NOW_TIMEOUT_S,
            )

    def _work(self, deadline: float) -> bool:
        """Ask, wait and take in, once; whether there is time left."""
        now = time.monotonic()
        silent_at = self._heard_at + self._idle_sync_s * self._idle_factor
        if self._asked is None and now >= silent_at:
            self._heard_at = now
            self._idle_factor = min(self._idle_factor * 2, IDLE_SYNC_FACTOR_MAX)
            self._machine.ask_heads()
            self._look_again()
            silent_at = now + self._idle_sync_s * self._idle_factor
        if now >= self._ask_at:
            self._ask(now)
        until = min(self._ask_at, deadline, silent_at if self._asked is None else math.inf)
        self._connection.wait(until - now)
        self._take_frames()
        self._take_replies()
        return time.monotonic() < deadline

    def _ask(self, now: float) -> None:
        wanted = self._machine.wants()
        self._asked, self._ask_at = None, math.inf
        if wanted is None:
            return
        self._request_id += 1
        if self._connection.send(encode_request(_request(self._request_id, wanted))):
            self._asked, self._ask_at = wanted, now + self._request_timeout_s
        else:
            self._ask_at = now + RETRY_S

    def _answered(self, pause_s: float = 0.0) -> None:
        self._asked, self._ask_at = None, time.monotonic() + pause_s

    def _heard(self) -> None:
        self._heard_at = time.monotonic()
        self._idle_factor = 1

    def _take_frames(self) -> None:
        for data in self._connection.frames():
            frame: Frame | None = None
            try:
                frame = decode_frame(data)
            except BusProtocolError as error:
                if error.version is not None:
                    raise
                self._machine.garbage += 1
                self._machine.ask_heads()
            if isinstance(frame, Heartbeat):
                if self._machine.on_heartbeat(frame):
                    # Another life of the runtime: what was asked of the one before is void.
                    self._heard()
                    self._answered()
            elif frame is not None:
                self._heard()
                self._machine.on_frame(frame)
            self._look_again()

    def _look_again(self) -> None:
        """The machine may want something now; a pause or a time-out that runs stays as it is."""
        if self._ask_at == math.inf:
            self._ask_at = 0.0

    def _take_replies(self) -> None:
        for data in self._connection.replies():
            try:
                reply = decode_reply(data)
                if self._asked is not None and reply.request_id == self._request_id:
                    self._take_reply(self._asked, reply)
            except BusError as error:
                self._failed(error)

    def _take_reply(self, wanted: HeadsWanted | RowsWanted, reply: Reply) -> None:
        match wanted, reply:
            case _, ErrorReply(_, reason):
                session_id = wanted.session_id or ""
                raise BusRemoteError(
                    f'the runtime could not read "{session_id}": {reason}',
                    session_id=session_id,
                    reason=reason,
                )
            case HeadsWanted(), HeadsReply():
                self._machine.on_heads(reply)
            case RowsWanted(), RowsReply():
                self._machine.on_page(wanted, reply)
                self._heard()
            case _:
                raise BusProtocolError("reply: to another question")
        self._failures = 0
        self._answered()

    def _failed(self, error: BusError) -> None:
        """Try again, a few times, with growing pauses; then tell the caller.

        :raises BusError: the one given.
        """
        self._failures += 1
        if isinstance(self._asked, RowsWanted):
            self._machine.postpone(self._asked.session_id)
        self._answered(RETRY_S * 2**self._failures)
        if self._failures >= FAILURES_MAX or getattr(error, "version", None) is not None:
            self._failures = 0
            raise error


def _request(request_id: int, wanted: HeadsWanted | RowsWanted) -> Request:
    match wanted:
        case HeadsWanted(session_id, after):
            return HeadsRequest(request_id, session_id, after)
        case RowsWanted(session_id, epoch, sequence):
            return RowsRequest(request_id, session_id, epoch, sequence)


def _positions(session_id: str | None, after: str | Position | Now | None) -> dict[str, Position]:
    match after:
        case None | Now.NOW:
            return {}
        case str(text):
            return decode_cursor(text)
        case (int(epoch), int(sequence)) if session_id is not None:
            return {session_id: (epoch, sequence)}
        case _:
            raise BusCursorError("cursor: a position is one of a session; name the session")
