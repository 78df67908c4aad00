"""The runtime's end of the bus: publish rows, and answer questions about the store.

Rules owned here: everything runs in the hub thread that called ``open()``. Nothing that goes wrong
here reaches the caller of ``publish()``: recording does not depend on who listens (03 15). A row
too long for a frame is not published; the heartbeat that follows at once makes subscribers read it
from the store, so no queue holds more than its frames times ``FRAME_BYTES_MAX``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import zmq

from ...actors.errors import SessionError
from .answers import Answers, RowSource, RowsPage
from .door import Door
from .endpoints import Endpoints, prepare_endpoints
from .errors import BusClosedError, BusEndpointError
from .events_socket import EventsSocket
from .fields import Head
from .frames import (
    FRAME_BYTES_MAX,
    HEARTBEAT_HEADS_MAX,
    Heartbeat,
    encode_frames,
    encode_heartbeat,
)
from .heads import HeadTable

__all__ = ["Endpoints", "Publisher", "PublisherMetrics", "Remote", "RowSource", "RowsPage"]

HEARTBEAT_S = 0.5
"""Between two heartbeats; a subscriber notices a lost tail after at most this time."""
DRAIN_EVERY_FRAMES = 64
"""Frames between two looks at new subscriptions, besides one per heartbeat."""
CLOSE_LINGER_MS = 250
"""How long the last frames may take to leave on ``close()``."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A second way in, for other machines.

    :param endpoints: ``tcp://`` addresses; port ``*`` is any free one.
    :param secure: sets the options of encryption, of a gate that is open.
    """

    endpoints: Endpoints
    secure: Callable[[zmq.Socket[Any]], object]


@dataclass(frozen=True, slots=True)
class PublisherMetrics:
    """What a publisher did since it was opened, and whom it serves.

    :param withheld: rows too long for a frame, left to be read from the store.
    :param refused: frames that libzmq did not take at all.
    :param pages: pages of rows that subscribers asked for: late joiners, and what was dropped.
    :param rebinds: times an events socket was replaced.
    """

    frames: int
    rows: int
    bytes: int
    withheld: int
    refused: int
    heartbeats: int
    requests: int
    pages: int
    failures: int
    subscribers: int
    subscriptions: int
    rebinds: int


_NOW = int(zmq.NOBLOCK)
_process = os.getpid()
"""This process, without a system call per row."""


def _after_fork() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_after_fork)


class Publisher:
    """Publishes the rows of one home.

    :param home: its directory; ``endpoints.json`` is written there.
    :param source: what catch-up reads from.
    :param logger: where trouble goes; by default the logger of this module.
    :param context: whose sockets to use, one with a gate for ``remote``; by default an own one.
    :param remote: where else to be reached, encrypted.
    """

    def __init__(
        self,
        home: Path,
        *,
        source: RowSource,
        logger: logging.Logger | None = None,
        context: zmq.Context[Any] | None = None,
        remote: Remote | None = None,
    ) -> None:
        self._home = home
        self._logger = logger or logging.getLogger(__name__)
        self._owner = os.getpid()
        self._given_context = context
        self._remote = remote
        self._heads = HeadTable(source)
        self._fresh = self._heads.fresh
        self._answers = Answers(source, self._heads, self._logger)
        self._context: zmq.Context[Any] | None = None
        self._endpoints: Endpoints | None = None
        self._doors: list[Door] = []
        self._sockets: list[EventsSocket] = []
        self._timer: Any = None
        self._frames = self._all_frames = 0
        self._rows = self._bytes = self._withheld = self._refused = 0
        self._beat_soon = False
        self._told = ""
        self._begin_instance()

    @property
    def endpoints(self) -> Endpoints:
        """The local addresses.

        :raises BusClosedError: not open.
        """
        if self._endpoints is None:
            raise BusClosedError("the publisher is not open")
        return self._endpoints

    @property
    def remote_endpoints(self) -> Endpoints | None:
        """The addresses for other machines, if there are any and it is open."""
        return self._doors[1].endpoints if len(self._doors) > 1 else None

    def open(self) -> Endpoints:
        """Bind the sockets, write ``endpoints.json`` and begin to answer.

        :raises BusEndpointError: the sockets or the file can not be made; nothing stays behind.
        """
        self._endpoints = prepare_endpoints(self._home)
        self._context = self._given_context or zmq.Context()
        try:
            self._add(self._door(self._context, self._endpoints))
            if self._remote is not None:
                self._add(self._remote_door(self._context, self._remote))
            self._endpoints.write(self._home)
        except (BusEndpointError, OSError) as error:
            self.close()
            raise BusEndpointError(f"bus of {self._home}: {error}", path=str(self._home)) from error
        self._timer = gevent.get_hub().loop.timer(HEARTBEAT_S, HEARTBEAT_S, ref=False)
        self._timer.start(self.beat)
        return self._endpoints

    def publish(self, session_id: str, rows: Sequence[bytes]) -> None:
        """Send stored rows of a session to whoever follows it; on a closed publisher, nothing.

        :raises BusClosedError: in a process forked from the one that opened it.
        """
        if self._owner != _process:
            self._check_owner()
        if not rows or not self._doors:
            return
        self._fresh[session_id] = rows[-1]
        self._rows += len(rows)
        for frame in encode_frames(session_id, rows):
            self._frames = sent = self._frames + 1
            size = len(frame)
            if size > FRAME_BYTES_MAX:
                self._withhold()
                continue
            self._bytes += size
            for events in self._sockets:
                try:
                    events.send_now(frame, _NOW)
                except zmq.ZMQError as error:
                    self._not_taken(events, error)
            if not sent % DRAIN_EVERY_FRAMES:
                self._look()

    def beat(self) -> None:
        """Send a heartbeat now; a timer does it every ``HEARTBEAT_S``."""
        self._beat_soon = False
        if not self._doors or self._owner != os.getpid():
            return
        changed = dict.fromkeys(self._heads.take_changed())
        if self._heads.complete:
            changed |= dict.fromkeys(self._heads.check_some())
        heads: tuple[Head, ...] | None = None
        if len(changed) <= HEARTBEAT_HEADS_MAX:
            try:
                heads = tuple(self._heads.head(session_id) for session_id in changed)
            except SessionError as error:
                self._logger.error("bus: published bytes that are no row: %s", error)
            except KeyError:
                pass  # forgotten since: whoever followed it asks
        self._beats += 1
        self._send(encode_heartbeat(Heartbeat(self._instance, self._beats, self._frames, heads)))
        self._look()
        for door in self._doors:
            if door.events.lost():
                self._rebind(door)
            # libzmq gives a TCP address back some time after its socket was closed.
            with contextlib.suppress(BusEndpointError):
                door.reopen()

    def drop_remote(self) -> None:
        """Disconnect everybody from other machines; those whose key still counts come back."""
        for door in self._doors[1:]:
            self._rebind(door)
            door.drop()

    def listen(self, remote: Remote, context: zmq.Context[Any]) -> Endpoints:
        """Be reached elsewhere too, by sockets of a context that has a gate; its addresses.

        :raises BusEndpointError: the addresses can not be bound.
        """
        door = self._remote_door(context, remote)
        self._add(door)
        return door.endpoints

    def unlisten(self) -> None:
        """Be reached by the local addresses only."""
        while len(self._doors) > 1:
            self._sockets.pop()
            self._doors.pop().close(CLOSE_LINGER_MS)

    def metrics(self) -> PublisherMetrics:
        """A snapshot."""
        events = [door.events for door in self._doors]
        return PublisherMetrics(
            frames=self._all_frames + self._frames,
            rows=self._rows,
            bytes=self._bytes,
            withheld=self._withheld,
            refused=self._refused,
            heartbeats=self._beats,
            requests=self._answers.requests,
            pages=self._answers.pages,
            failures=self._answers.failures,
            subscribers=sum(socket.subscribers for socket in events),
            subscriptions=sum(socket.subscriptions for socket in events),
            rebinds=sum(socket.rebinds for socket in events),
        )

    def close(self) -> None:
        """Stop answering, let the last frames leave, remove ``endpoints.json``; idempotent."""
        self._check_owner()
        if self._timer is not None:
            self._timer.close()
        self._timer = None
        doors, self._doors, self._sockets = self._doors, [], []
        for door in doors:
            door.close(CLOSE_LINGER_MS)
        if self._context is not None and self._given_context is None:
            self._context.term()
        if self._endpoints is not None:
            self._endpoints.withdraw(self._home)
        self._context = self._endpoints = None

    def _check_owner(self) -> None:
        if self._owner != os.getpid():
            raise BusClosedError("the publisher belongs to the parent process")

    def _door(
        self,
        context: zmq.Context[Any],
        endpoints: Endpoints,
        secure: Callable[[zmq.Socket[Any]], object] | None = None,
    ) -> Door:
        return Door(
            context,
            endpoints,
            answers=self._answers,
            heads=self._heads,
            logger=self._logger,
            secure=secure,
        )

    def _remote_door(self, context: zmq.Context[Any], remote: Remote) -> Door:
        return self._door(context, remote.endpoints, remote.secure)

    def _add(self, door: Door) -> None:
        self._doors.append(door)
        self._sockets.append(door.events)

    def _begin_instance(self) -> None:
        self._instance = secrets.token_hex(8)
        self._all_frames += self._frames
        self._beats = self._frames = 0
        self._heads.take_changed()

    def _withhold(self) -> None:
        self._withheld += 1
        if not self._beat_soon:
            self._beat_soon = True
            gevent.get_hub().loop.run_callback(self.beat)

    def _send(self, frame: bytes) -> None:
        self._bytes += len(frame)
        for events in self._sockets:
            try:
                events.send_now(frame, _NOW)
            except zmq.ZMQError as error:
                self._not_taken(events, error)

    def _not_taken(self, events: EventsSocket, error: zmq.ZMQError) -> None:
        """As good as dropped by a full queue: the subscriber reads the store."""
        self._refused += 1
        # Of a closed socket the next heartbeat tells, when it tries to make it anew.
        if not isinstance(error, zmq.Again) and not events.closed:
            self._logger.warning("bus: publish: %s", error)

    def _look(self) -> None:
        for door in self._doors:
            if self._looked(door):
                self._begin_instance()

    def _looked(self, door: Door) -> bool:
        try:
            return door.events.look()
        except (BusEndpointError, zmq.ZMQError) as error:
            self._logger.error("bus: %s", error)
            return True

    def _rebind(self, door: Door) -> None:
        trouble = f"{door.events.address} was made anew"
        try:
            door.events.rebind()
        except (BusEndpointError, zmq.ZMQError) as error:
            trouble = str(error)
        if trouble != self._told:  # once, not with every heartbeat
            self._logger.warning("bus: %s", trouble)
        self._told = trouble
        self._begin_instance()
