"""The socket that rows go out on: it never blocks, and no peer makes it grow without end.

Rules owned here: what a slow subscriber's queue can not take is dropped there, and the subscriber
reads it from the store (trap Z1). libzmq keeps every subscription of every peer, whether accepted
or not, and can disconnect none (trap Z3): beyond a number the socket is replaced, and honest
subscribers come back and lose nothing. A socket file that something removed is made anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq
import zmq.backend

from .errors import BusEndpointError, BusError
from .frames import HEARTBEAT_TOPIC
from .security import require_encryption

SEND_FRAMES_MAX = 500
"""Frames queued for one subscriber before its next ones are dropped."""
SUBSCRIPTIONS_MAX = 4000
"""Subscriptions at once, and between two looks at them: two of each of 2,000 subscribers."""
TOPICS_BYTES_MAX = 200_000
"""All topics at once, by size: libzmq spends up to a hundred bytes on one of theirs."""
SUBSCRIPTIONS_QUEUED_MAX = 4
"""Subscriptions of one peer that libzmq takes in at once. With a longer queue its input thread
refills it faster than it is read, and one call takes in all that a peer can send, without end."""
SUBSCRIPTION_BYTES_MAX = 512
"""The longest subscription; a peer with a longer one is disconnected."""
BACKLOG = 256
"""Connections that wait to be accepted."""
HANDSHAKE_MS = 5000
"""How long a connection may take to say who it is."""
_IPC = "ipc://"


class EventsSocket:
    """One bound XPUB.

    :param secure: sets the options of encryption before each bind; ``None`` for a local address.
    :raises BusEndpointError: the address can not be bound.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        address: str,
        logger: logging.Logger,
        secure: Callable[[zmq.Socket[Any]], object] | None = None,
    ) -> None:
        self.address = address
        self.subscriptions = 0
        """Of all peers, each topic once per peer."""
        self.subscribers = 0
        """Peers that want heartbeats: the honest ones."""
        self.rebinds = 0
        self._context = context
        self._logger = logger
        self._secure = secure
        self._closed = False
        self._socket = self._bind()
        self.send_now = self._sender()
        """``send_now(frame, zmq.NOBLOCK)``; raises ``zmq.ZMQError``. Never to be kept: a rebound
        socket has another one."""
        with contextlib.suppress(zmq.ZMQError):  # what a wildcard port became
            self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def closed(self) -> bool:
        """Whether the socket is gone, until it is made anew."""
        return bool(self._socket.closed)

    def look(self) -> bool:
        """Take in new subscriptions; whether the socket had to be replaced."""
        looked = 0
        while not self._socket.closed and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            message: bytes = self._socket.recv(zmq.NOBLOCK)
            looked += 1
            step = 1 if message.startswith(b"\1") else -1
            self.subscriptions += step
            self._topics_bytes += step * len(message)
            if message[1:] == HEARTBEAT_TOPIC:
                self.subscribers += step
            most = max(self.subscriptions, looked)
            if most > SUBSCRIPTIONS_MAX or self._topics_bytes > TOPICS_BYTES_MAX:
                self._logger.warning("bus: too many subscriptions, all are dropped")
                self.rebind()
                return True
        return False

    def lost(self) -> bool:
        """Whether the socket is gone, or somebody removed its file."""
        return self._socket.closed or (self.address.startswith(_IPC) and not os.path.exists(
            self.address.removeprefix(_IPC)
        ))

    def rebind(self) -> None:
        """Drop every peer; those that still want something connect again.

        :raises BusEndpointError: the address can not be bound any more; the old socket is gone.
        """
        self.rebinds += 1
        self._socket.close(linger=0)
        self._socket = self._bind()
        self.send_now = self._sender()

    def close(self, linger_ms: int) -> None:
        """Let the last frames leave; idempotent."""
        if not self._closed:
            self._closed = True
            self._socket.close(linger=linger_ms)

    def _sender(self) -> Callable[[bytes, int], object]:
        # The binding's own send: pyzmq's, in Python, costs a third of a frame.
        return partial(zmq.backend.Socket.send, self._socket)

    def _bind(self) -> zmq.Socket[Any]:
        sock: zmq.Socket[Any] = self._context.socket(zmq.XPUB)
        try:
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.XPUB_VERBOSER, 1),
                (zmq.SNDHWM, SEND_FRAMES_MAX),
                (zmq.RCVHWM, SUBSCRIPTIONS_QUEUED_MAX),
                (zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX),
                (zmq.BACKLOG, BACKLOG),
                (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            ):
                sock.setsockopt(option, value)
            if self._secure is not None:
                self._secure(sock)
            require_encryption(sock, self.address)
            sock.bind(self.address)
        except (zmq.ZMQError, BusError) as error:
            sock.close(linger=0)
            raise BusEndpointError(f"{self.address}: {error}", path=self.address) from error
        self.subscriptions = self.subscribers = self._topics_bytes = 0
        return sock
