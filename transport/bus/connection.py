"""The two sockets of a subscriber and the means to wake it, for one thread at a time.

Rules owned here: both sockets reconnect by themselves for ever; what is received is bounded in
number and size; a question is refused, not queued, while no runtime is connected.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterator
from typing import Any

import zmq

from .credentials import Credentials, check_address, key_of
from .endpoints import Endpoints
from .errors import BusEndpointError
from .frames import HEARTBEAT_TOPIC, MESSAGE_BYTES_MAX, SESSION_TOPICS, session_topic

RECEIVE_FRAMES_MAX = 1000
"""Frames queued for a caller that does not read; further ones are dropped and read later."""
FRAMES_PER_LOOK = 100
"""Frames handed on before the other socket is looked at."""
RECONNECT_MS, RECONNECT_MS_MAX = 20, 500


class Connection:
    """A SUB and a DEALER socket to one runtime.

    :param session_id: whose frames are subscribed to; ``None`` is everybody's.
    :param keys: for an address that is not local.
    :raises BusEndpointError: an address that is none, or that needs keys.
    """

    def __init__(
        self, endpoints: Endpoints, session_id: str | None, keys: Credentials | None = None
    ) -> None:
        check_address(endpoints.events, keys is not None)
        check_address(endpoints.control, keys is not None)
        self._wakee, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._context: zmq.Context[Any] = zmq.Context()
        self._events = self._context.socket(zmq.SUB)
        self._control = self._context.socket(zmq.DEALER)
        for sock in (self._events, self._control):
            sock.setsockopt(zmq.LINGER, 0)
            sock.setsockopt(zmq.RCVHWM, RECEIVE_FRAMES_MAX)
            sock.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
            sock.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            sock.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
            if keys is not None:
                use_keys(sock, keys)
        self._control.setsockopt(zmq.IMMEDIATE, 1)
        topic = SESSION_TOPICS if session_id is None else session_topic(session_id)
        self._events.setsockopt(zmq.SUBSCRIBE, topic)
        self._events.setsockopt(zmq.SUBSCRIBE, HEARTBEAT_TOPIC)
        self._poller = zmq.Poller()
        for readable in (self._events, self._control, self._wakee):
            self._poller.register(readable, zmq.POLLIN)
        try:
            self._events.connect(endpoints.events)
            self._control.connect(endpoints.control)
        except zmq.ZMQError as error:
            self.destroy()
            raise BusEndpointError(f"{endpoints.events}: {error}") from error

    @property
    def destroyed(self) -> bool:
        """Whether :meth:`destroy` was called."""
        return bool(self._context.closed)

    def send(self, request: bytes) -> bool:
        """Ask; ``False`` when nobody is connected."""
        try:
            self._control.send(request, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def wait(self, seconds: float) -> None:
        """Until something can be received, :meth:`wake` was called, or the time is up."""
        self._poller.poll(math.ceil(max(seconds, 0.0) * 1000))

    def descriptors(self) -> tuple[int, int, int]:
        """What becomes readable when there may be something to take; ask :meth:`ready` first."""
        events, control = (int(s.getsockopt(zmq.FD)) for s in (self._events, self._control))
        return events, control, self._wakee.fileno()

    def ready(self) -> bool:
        """Whether something can be taken now.

        The descriptors only tell of changes, and any use of a socket may swallow one.
        """
        return any(
            int(sock.getsockopt(zmq.EVENTS)) & zmq.POLLIN for sock in (self._events, self._control)
        )

    def frames(self) -> Iterator[bytes]:
        """What was published and has arrived, ``FRAMES_PER_LOOK`` at most."""
        for _ in range(FRAMES_PER_LOOK):
            try:
                frame: bytes = self._events.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield frame

    def replies(self) -> Iterator[bytes]:
        """Answers that have arrived."""
        for _ in range(FRAMES_PER_LOOK):
            try:
                reply: bytes = self._control.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield reply

    def wake(self) -> None:
        """End a :meth:`wait` in another thread, now or the next one."""
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def destroy(self) -> None:
        """Close everything; no thread may be using it."""
        with contextlib.closing(self._wakee), contextlib.closing(self._waker):
            self._context.destroy(linger=0)


def use_keys(sock: zmq.Socket[Any], keys: Credentials) -> None:
    """Make a socket the client of an encrypted connection."""
    sock.setsockopt(zmq.CURVE_SERVERKEY, key_of(keys.server))
    sock.setsockopt(zmq.CURVE_PUBLICKEY, key_of(keys.pair.public))
    sock.setsockopt(zmq.CURVE_SECRETKEY, key_of(keys.pair.secret))
