"""The DEALER of a caller, and what tells that it is connected anew; for one thread at a time."""

from __future__ import annotations

import contextlib
import math
import socket
from typing import Any

import zmq
from zmq import zmq_poll

from .connection import RECONNECT_MS, RECONNECT_MS_MAX, use_keys
from .credentials import Credentials, check_address
from .errors import BusEndpointError
from .frames import MESSAGE_BYTES_MAX

ANSWERS_QUEUED_MAX = 2000
CALLS_QUEUED_MAX = 1000
# As numbers: arithmetic on the enums costs more than the calls they are for.
_EVENTS, _READABLE, _WRITABLE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
_NOW = int(zmq.NOBLOCK)


class ControlWire:
    """One connection to a control plane.

    :raises BusEndpointError: an address that is none, or that needs keys.
    """

    def __init__(self, address: str, keys: Credentials | None) -> None:
        check_address(address, keys is not None)
        self._wakee, self._waker = socket.socketpair()
        self._wakee.setblocking(False)
        self._waker.setblocking(False)
        self._context: zmq.Context[Any] = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, ANSWERS_QUEUED_MAX),
            (zmq.SNDHWM, CALLS_QUEUED_MAX),
            (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX),
        ):
            self._dealer.setsockopt(option, value)
        if keys is not None:
            use_keys(self._dealer, keys)
        self._connected = False
        self._monitor = self._dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        wakee: Any = self._wakee  # a descriptor will do; the annotations of pyzmq do not say so
        self._receiving = [(self._dealer, _READABLE), (wakee, _READABLE)]
        self._sending = [(self._dealer, _READABLE | _WRITABLE), (wakee, _READABLE)]
        try:
            self._dealer.connect(address)
        except zmq.ZMQError as error:
            self.destroy()
            raise BusEndpointError(f"{address}: {error}", path=address) from error

    @property
    def destroyed(self) -> bool:
        """Whether :meth:`destroy` was called."""
        return bool(self._context.closed)

    def send(self, data: bytes) -> bool:
        """Whether it was taken, to leave as soon as there is a connection; not by a full queue."""
        try:
            self._dealer.send(data, _NOW)
        except zmq.Again:
            return False
        return True

    def wait(self, seconds: float, *, sending: bool) -> bool:
        """Until something can be received, :meth:`wake` was called, or the time is up.

        :param sending: something is to be sent: also until it can be.
        :returns: whether something can be received.
        """
        watched = self._sending if sending else self._receiving
        limit = -1 if seconds == math.inf else math.ceil(max(seconds, 0.0) * 1000)
        readable = False
        for ready, events in zmq_poll(watched, limit):
            if ready is self._dealer:
                readable = bool(events & _READABLE)
            else:
                self._wakee.recv(4096)
        return readable

    def reconnected(self) -> bool:
        """Whether the connection was lost and made anew since this was asked last."""
        found = 0
        while int(self._monitor.get(_EVENTS)) & _READABLE:
            self._monitor.recv_multipart(zmq.NOBLOCK)
            found += 1
        first, self._connected = not self._connected and found > 0, self._connected or found > 0
        return found > first

    def receive(self) -> bytes:
        """A message that can be received."""
        data: bytes = self._dealer.recv(_NOW)
        return data

    def readable(self) -> bool:
        """Whether a message can be received."""
        # Asking costs a tenth of the exception that an empty socket raises.
        return bool(int(self._dealer.get(_EVENTS)) & _READABLE)

    def wake(self) -> None:
        """End a :meth:`wait` in another thread, now or the next one."""
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def destroy(self) -> None:
        """Close everything; no thread may be using it. Idempotent."""
        if self.destroyed:
            return
        with contextlib.closing(self._wakee), contextlib.closing(self._waker):
            with contextlib.suppress(zmq.ZMQError):
                self._dealer.disable_monitor()
            self._context.destroy(linger=0)
