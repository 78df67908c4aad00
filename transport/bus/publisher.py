"""The runtime's end of the bus: publish rows, and answer questions about the store.

Rules owned here: everything runs in the hub thread that called ``open()``. Rows go out on a plain
XPUB that never blocks: what a slow subscriber's queue can not take is dropped there, and the
subscriber reads it from the store (trap Z1). The control socket belongs to one greenlet, which
answers one bounded request at a time (trap Z4). Nothing that goes wrong here reaches the caller
of ``publish()``: recording does not depend on who listens (03 15).
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gevent
import zmq
import zmq.green

from ...actors.errors import SessionError, SessionNotFoundError
from ...storage.format.rows import row_position
from .catchup import (
    HEADS_PER_REPLY_MAX,
    PAGE_BYTES_MAX,
    REQUEST_BYTES_MAX,
    ErrorReply,
    HeadsReply,
    HeadsRequest,
    RowsRequest,
    decode_request,
    encode_page,
    encode_reply,
    request_id_of,
)
from .endpoints import Endpoints, prepare_endpoints
from .errors import BusClosedError, BusEndpointError, BusProtocolError
from .fields import Head
from .frames import HEARTBEAT_HEADS_MAX, Heartbeat, encode_frames, encode_heartbeat
from .positions import NOWHERE

__all__ = ["Endpoints", "Publisher", "RowSource", "RowsPage"]

HEARTBEAT_S = 0.5
"""Between two heartbeats; a subscriber notices a lost tail after at most this time."""
SEND_FRAMES_MAX = 1000
"""Frames queued for one subscriber before its next ones are dropped."""
SUBSCRIPTIONS_MAX = 8000
"""Distinct topics subscribed to at once. Beyond, the socket is replaced: libzmq keeps every
subscription of every peer and can disconnect none (trap Z3). Honest subscribers come back."""
DRAIN_EVERY_FRAMES = 256
"""Frames between two looks at new subscriptions, besides one per heartbeat."""
REQUESTS_MAX = 64
"""Requests queued of one peer; more wait in its own socket."""
REPLIES_MAX = 4
"""Replies queued for one peer that does not read; further ones are dropped."""
CLOSE_LINGER_MS = 250
"""How long the last frames may take to leave on ``close()``."""


class RowsPage(Protocol):
    """What a store answers: rows after a position, and where it ends."""

    @property
    def rows(self) -> Sequence[bytes]: ...
    @property
    def head_epoch(self) -> int: ...
    @property
    def head_sequence(self) -> int: ...
    @property
    def reset(self) -> bool: ...


class RowSource(Protocol):
    """The committed rows of a runtime, read in the hub thread.

    A head is ``(epoch, sequence)``; a position equal to a head is in the store. ``rows_after``
    returns at least one row while there is one, and with ``reset`` when the position is not in
    the store: then from the last position that is.
    """

    def heads(self) -> Mapping[str, tuple[int, int]]: ...
    def head(self, session_id: str) -> tuple[int, int] | None: ...
    def rows_after(
        self, session_id: str, epoch: int, sequence: int, bytes_max: int
    ) -> RowsPage: ...


class Publisher:
    """Publishes the rows of one home.

    :param home: its directory; ``endpoints.json`` is written there.
    :param source: what catch-up reads from.
    :param logger: where trouble goes; by default the logger of this module.
    """

    def __init__(
        self, home: Path, *, source: RowSource, logger: logging.Logger | None = None
    ) -> None:
        self._home = home
        self._source = source
        self._logger = logger or logging.getLogger(__name__)
        self._owner = os.getpid()
        self._endpoints: Endpoints | None = None
        self._context: zmq.Context[Any] | None = None
        self._events: zmq.Socket[Any] | None = None
        self._control: Any = None
        self._greenlet: gevent.Greenlet | None = None
        self._timer: Any = None
        self._subscriptions = 0
        self._changed: dict[str, bytes] = {}
        self._begin_instance()

    @property
    def endpoints(self) -> Endpoints:
        """The addresses.

        :raises BusClosedError: not open.
        """
        if self._endpoints is None:
            raise BusClosedError("the publisher is not open")
        return self._endpoints

    def open(self) -> Endpoints:
        """Bind the sockets, write ``endpoints.json`` and begin to answer.

        :raises BusEndpointError: the sockets or the file can not be made; nothing stays behind.
        """
        self._endpoints = prepare_endpoints(self._home)
        self._context = zmq.Context()
        try:
            self._bind_events()
            green: Any = zmq.green.Context
            self._control = green.shadow(self._context.underlying).socket(zmq.ROUTER)
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.RCVHWM, REQUESTS_MAX),
                (zmq.SNDHWM, REPLIES_MAX),
                (zmq.MAXMSGSIZE, REQUEST_BYTES_MAX),
            ):
                self._control.setsockopt(option, value)
            self._control.bind(self._endpoints.control)
            self._endpoints.write(self._home)
        except (zmq.ZMQError, OSError) as error:
            self.close()
            raise BusEndpointError(f"bus of {self._home}: {error}", path=str(self._home)) from error
        self._greenlet = gevent.spawn(self._serve)
        self._timer = gevent.get_hub().loop.timer(HEARTBEAT_S, HEARTBEAT_S, ref=False)
        self._timer.start(self.beat)
        return self._endpoints

    def publish(self, session_id: str, rows: Sequence[bytes]) -> None:
        """Send stored rows of a session to whoever follows it; on a closed publisher, nothing.

        :raises BusClosedError: in a process forked from the one that opened it.
        """
        self._check_owner()
        if self._events is None or not rows:
            return
        if session_id in self._changed or len(self._changed) <= HEARTBEAT_HEADS_MAX:
            self._changed[session_id] = rows[-1]
        for frame in encode_frames(session_id, rows):
            self._frames += 1
            self._send(frame)
            if self._frames % DRAIN_EVERY_FRAMES == 0:
                self._drain_subscriptions()

    def beat(self) -> None:
        """Send a heartbeat now; a timer does it every ``HEARTBEAT_S``."""
        if self._events is None or self._owner != os.getpid():
            return
        changed, self._changed = self._changed, {}
        heads: tuple[Head, ...] | None = None
        if len(changed) <= HEARTBEAT_HEADS_MAX:
            try:
                heads = tuple(Head(*row_position(row)) for row in changed.values())
            except SessionError as error:
                self._logger.error("bus: published bytes that are no row: %s", error)
        self._beats += 1
        self._send(encode_heartbeat(Heartbeat(self._instance, self._beats, self._frames, heads)))
        self._drain_subscriptions()

    def close(self) -> None:
        """Stop answering, let the last frames leave, remove ``endpoints.json``; idempotent."""
        self._check_owner()
        if self._timer is not None:
            self._timer.close()
        if self._greenlet is not None:
            self._greenlet.kill()
        self._timer = self._greenlet = None
        if self._control is not None:
            self._control.close(linger=0)
        if self._events is not None:
            self._events.close(linger=CLOSE_LINGER_MS)
        self._control = self._events = None
        if self._context is not None:
            self._context.term()
        if self._endpoints is not None:
            self._endpoints.withdraw(self._home)
        self._context = self._endpoints = None

    def _check_owner(self) -> None:
        if self._owner != os.getpid():
            raise BusClosedError("the publisher belongs to the parent process")

    def _begin_instance(self) -> None:
        self._instance = secrets.token_hex(8)
        self._beats = self._frames = 0
        self._changed = {}

    def _bind_events(self) -> None:
        assert self._context is not None
        assert self._endpoints is not None
        self._events = self._context.socket(zmq.XPUB)
        for option, value in (
            (zmq.LINGER, CLOSE_LINGER_MS),
            (zmq.SNDHWM, SEND_FRAMES_MAX),
            (zmq.RCVHWM, SEND_FRAMES_MAX),
            (zmq.MAXMSGSIZE, REQUEST_BYTES_MAX),
        ):
            self._events.setsockopt(option, value)
        self._events.bind(self._endpoints.events)
        self._subscriptions = 0

    def _send(self, frame: bytes) -> None:
        assert self._events is not None
        try:
            self._events.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            pass  # as good as dropped by a full queue: the subscriber reads the store
        except zmq.ZMQError as error:
            self._logger.warning("bus: publish: %s", error)

    def _drain_subscriptions(self) -> None:
        assert self._events is not None
        while int(self._events.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            message: bytes = self._events.recv(zmq.NOBLOCK)
            self._subscriptions += 1 if message.startswith(b"\1") else -1
            if self._subscriptions > SUBSCRIPTIONS_MAX:
                self._logger.warning(
                    "bus: more than %d subscriptions, all are dropped", SUBSCRIPTIONS_MAX
                )
                self._events.close(linger=0)
                self._bind_events()
                self._begin_instance()

    def _serve(self) -> None:
        while True:
            parts = self._control.recv_multipart()
            if len(parts) != 2:
                continue
            identity, data = parts
            try:
                self._control.send_multipart([identity, self._answer(data)], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                self._logger.debug("bus: a reply was not taken: %s", error)
            gevent.sleep(0)  # a page is work for the hub: let others in between two

    def _answer(self, data: bytes) -> bytes:
        try:
            match decode_request(data):
                case HeadsRequest(request_id, session_id, after):
                    return encode_reply(self._heads(request_id, session_id, after))
                case RowsRequest() as request:
                    return self._page(request)
        except (BusProtocolError, SessionError) as error:
            return encode_reply(ErrorReply(request_id_of(data), str(error)))
        except Exception as error:
            # A bug of the store must not end the service for everybody; the asker is told.
            self._logger.exception("bus: a request failed")
            return encode_reply(ErrorReply(request_id_of(data), f"internal error: {error!r}"))

    def _page(self, request: RowsRequest) -> bytes:
        session_id, position = request.session_id, (request.epoch, request.sequence)
        bytes_max = min(request.bytes_max, PAGE_BYTES_MAX)
        try:
            page = self._source.rows_after(session_id, *position, bytes_max)
        except SessionNotFoundError:
            # Deleted since the asker heard of it: nothing of it is stored any more.
            return encode_page(request, (), NOWHERE, position != NOWHERE)
        return encode_page(request, page.rows, (page.head_epoch, page.head_sequence), page.reset)

    def _heads(self, request_id: int, session_id: str | None, after: str) -> HeadsReply:
        if session_id is not None:
            try:
                head = self._source.head(session_id)
            except SessionNotFoundError:
                head = None
            known = () if head is None else (Head(session_id, *head),)
            return HeadsReply(request_id, known, more=False)
        heads = self._source.heads()
        names = sorted(name for name in heads if name > after)
        page = tuple(Head(name, *heads[name]) for name in names[:HEADS_PER_REPLY_MAX])
        return HeadsReply(request_id, page, more=len(names) > HEADS_PER_REPLY_MAX)
