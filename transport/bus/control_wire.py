"""The DEALER of a caller, and what tells that it is connected anew; for one thread at a time."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterator
from typing import Any

import zmq

from .connection import RECONNECT_MS, RECONNECT_MS_MAX, use_keys
from .credentials import Credentials, check_address
from .errors import BusEndpointError
from .frames import MESSAGE_BYTES_MAX

ANSWERS_QUEUED_MAX = 2000
CALLS_QUEUED_MAX = 1000
MESSAGES_PER_LOOK = 100


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
        self._connected = self._sending = self._changed = False
        self._monitor = self._dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._poller = zmq.Poller()
        for readable in (self._dealer, self._monitor, self._wakee):
            self._poller.register(readable, zmq.POLLIN)
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
            self._dealer.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def wait(self, seconds: float, *, sending: bool) -> None:
        """Until something can be received, :meth:`wake` was called, or the time is up.

        :param sending: something is to be sent: also until it can be.
        """
        if sending is not self._sending:
            self._sending = sending
            self._poller.modify(self._dealer, zmq.POLLIN | (zmq.POLLOUT if sending else 0))
        limit = None if seconds == math.inf else math.ceil(max(seconds, 0.0) * 1000)
        for readable, _ in self._poller.poll(limit):
            if readable is self._monitor:
                self._changed = True
            elif readable is not self._dealer:
                self._wakee.recv(4096)

    def reconnected(self) -> bool:
        """Whether the connection was lost and made anew since this was asked last."""
        if not self._changed:
            return False
        self._changed = False
        found = 0
        while True:
            try:
                self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            found += 1
        first, self._connected = not self._connected and found > 0, self._connected or found > 0
        return found > first

    def messages(self) -> Iterator[bytes]:
        """What has arrived."""
        for _ in range(MESSAGES_PER_LOOK):
            # Asking costs a tenth of the exception that an empty socket raises.
            if not int(self._dealer.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            data: bytes = self._dealer.recv(zmq.NOBLOCK)
            yield data

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
