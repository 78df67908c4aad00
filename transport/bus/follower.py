"""What every subscriber does between two waits: ask the store, take in what arrived.

The shells differ in how they wait, a thread, a greenlet or a coroutine; this part never does.
Rules owned here: subscribe first, then ask for heads and pages, then go live (trap Z2); a request
has a timeout and is asked again; a runtime that is gone is waited for; after silence the store is
asked whether it really is silence, at growing intervals.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

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
from .errors import BusError, BusProtocolError, BusRemoteError
from .filters import EventFilter
from .frames import Heartbeat, decode_frame
from .positions import Lag
from .wanted import HeadsWanted, RowsWanted

IDLE_SYNC_S = 1.0
IDLE_SYNC_FACTOR_MAX = 16
"""Silence is checked ever more rarely, at most this many times more."""
REQUEST_TIMEOUT_S = 2.0
RETRY_S = 0.05
"""Pause before a request is tried again that could not be sent."""
FAILURES_MAX = 5
"""Failed answers in a row, without any progress between them, before the caller is told."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a subscriber is.

    :param idle_sync_s: seconds without an event after which the store is asked for one.
    :param request_timeout_s: seconds after which an unanswered request is asked again.
    """

    idle_sync_s: float = IDLE_SYNC_S
    request_timeout_s: float = REQUEST_TIMEOUT_S


class Follower:
    """The machine and its sockets, for one thread at a time.

    A shell repeats ``pause = begin()``, waits so long or until the connection is readable, then
    ``take_in()`` and ``take()``.

    :param shown: hides events from the caller.
    :param on_lag: told of each lag, before the events that were late are handed out.
    """

    def __init__(
        self,
        connection: Connection,
        machine: CursorMachine,
        pace: Pace,
        *,
        shown: EventFilter | None = None,
        on_lag: Callable[[Lag], object] | None = None,
    ) -> None:
        self.connection = connection
        self.machine = machine
        self._pace = pace
        self._shown = shown
        self._on_lag = on_lag
        self._idle_factor = 1
        self._request_id = 0
        self._asked: HeadsWanted | RowsWanted | None = None
        self._ask_at = 0.0
        self._heard_at = time.monotonic()
        self._failures = 0

    def take(self) -> SessionEvent | None:
        """The next event for the caller, ``None`` until more was taken in."""
        event = self.machine.take()
        if self._shown is not None:
            while event is not None and not self._shown.shows(event):
                event = self.machine.take()
        return event

    def take_all(self) -> list[SessionEvent]:
        """All events that are there for the caller."""
        events = self.machine.take_all()
        if self._shown is not None:
            return [event for event in events if self._shown.shows(event)]
        return events

    def begin(self, deadline: float = math.inf) -> float:
        """Ask what is to be asked; seconds until there is something to do without an arrival."""
        now = time.monotonic()
        silent_at = self._heard_at + self._pace.idle_sync_s * self._idle_factor
        if self._asked is None and now >= silent_at:
            self._heard_at = now
            self._idle_factor = min(self._idle_factor * 2, IDLE_SYNC_FACTOR_MAX)
            self.machine.ask_heads()
            self._look_again()
            silent_at = now + self._pace.idle_sync_s * self._idle_factor
        if now >= self._ask_at:
            self._ask(now)
        until = min(self._ask_at, deadline, silent_at if self._asked is None else math.inf)
        return max(until - now, 0.0)

    def take_in(self) -> None:
        """Feed the machine with what has arrived.

        :raises BusProtocolError: the runtime speaks another version.
        :raises BusRemoteError: the runtime failed to answer, again and again.
        """
        self._take_frames()
        self._take_replies()
        if self._asked is None and time.monotonic() >= self._ask_at:
            # Now, so that the store is read while the caller looks at what there is.
            self._ask(time.monotonic())
        while self.machine.lags:
            lag = self.machine.lags.popleft()
            if self._on_lag is not None:
                self._on_lag(lag)

    def _ask(self, now: float) -> None:
        wanted = self.machine.wants()
        self._asked, self._ask_at = None, math.inf
        if wanted is None:
            return
        self._request_id += 1
        if self.connection.send(encode_request(_request(self._request_id, wanted))):
            self._asked, self._ask_at = wanted, now + self._pace.request_timeout_s
        else:
            self._ask_at = now + RETRY_S

    def _answered(self, pause_s: float = 0.0) -> None:
        self._asked, self._ask_at = None, time.monotonic() + pause_s

    def _heard(self) -> None:
        self._heard_at = time.monotonic()
        self._idle_factor = 1

    def _look_again(self) -> None:
        """The machine may want something now; a pause or a time-out that runs stays as it is."""
        if self._ask_at == math.inf:
            self._ask_at = 0.0

    def _take_frames(self) -> None:
        for data in self.connection.frames():
            try:
                frame = decode_frame(data)
            except BusProtocolError as error:
                if error.version is not None:
                    raise
                self.machine.garbage += 1
                self.machine.ask_heads()
                self._look_again()
                continue
            if not isinstance(frame, Heartbeat):
                self._heard()
                self.machine.on_frame(frame)
            elif self.machine.on_heartbeat(frame):
                # Another life of the runtime: what was asked of the one before is void.
                self._heard()
                self._answered()
            self._look_again()

    def _take_replies(self) -> None:
        for data in self.connection.replies():
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
                self.machine.on_heads(reply)
            case RowsWanted(), RowsReply():
                self.machine.on_page(wanted, reply)
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
            self.machine.postpone(self._asked.session_id)
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
