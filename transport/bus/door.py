"""One way into a runtime's bus: an events socket and a control socket at a pair of addresses.

Rules owned here: the control socket belongs to one greenlet, which answers one bounded request at a
time and lets the hub work between two (trap Z4); a peer that does not read its replies loses them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
import zmq
import zmq.green

from .answers import Answers
from .catchup import REQUEST_BYTES_MAX
from .endpoints import Endpoints
from .errors import BusEndpointError, BusError
from .events_socket import BACKLOG, HANDSHAKE_MS, EventsSocket
from .heads import HeadTable
from .security import require_encryption

REQUESTS_MAX = 64
"""Requests queued of one peer; more wait in its own socket."""
REPLIES_MAX = 4
"""Replies queued for one peer that does not read; further ones are dropped."""
PARKED_MAX = 256
"""Requests that wait for the first look at all heads; older ones are dropped, and asked again."""


class Door:
    """Both sockets, bound.

    :param secure: sets the options of encryption; ``None`` for local addresses.
    :raises BusEndpointError: an address can not be bound; nothing stays behind.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        endpoints: Endpoints,
        *,
        answers: Answers,
        heads: HeadTable,
        logger: logging.Logger,
        secure: Callable[[zmq.Socket[Any]], object] | None = None,
    ) -> None:
        self._answers = answers
        self._heads = heads
        self._logger = logger
        self._parked: deque[tuple[bytes, bytes]] = deque(maxlen=PARKED_MAX)
        self._reading: gevent.Greenlet | None = None
        self.events = EventsSocket(context, endpoints.events, logger, secure)
        self._context = context
        self._dropped = False
        self._secure = secure
        try:
            self._control, control = self._bind_control(endpoints.control)
        except BusEndpointError:
            self.events.close(0)
            raise
        self.endpoints = Endpoints(self.events.address, control)
        self._serving = gevent.spawn(self._serve)

    def drop(self) -> None:
        """Disconnect every peer that asks; those that may come back do, after :meth:`reopen`."""
        self._serving.kill(block=False)
        self._control.close(linger=0)
        self._dropped = True

    def reopen(self) -> None:
        """Answer again after :meth:`drop`; otherwise nothing.

        :raises BusEndpointError: the address can not be bound, or not yet.
        """
        if self._dropped:
            self._control, _ = self._bind_control(self.endpoints.control)
            self._dropped = False
            self._serving = gevent.spawn(self._serve)

    def close(self, linger_ms: int) -> None:
        """Stop answering and let the last frames leave."""
        self._serving.kill()
        if self._reading is not None:
            self._reading.kill()
        self._control.close(linger=0)
        self.events.close(linger_ms)

    def _bind_control(self, address: str) -> tuple[Any, str]:
        green: Any = zmq.green.Context
        sock: Any = green.shadow(self._context.underlying).socket(zmq.ROUTER)
        try:
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.RCVHWM, REQUESTS_MAX),
                (zmq.SNDHWM, REPLIES_MAX),
                (zmq.MAXMSGSIZE, REQUEST_BYTES_MAX),
                (zmq.BACKLOG, BACKLOG),
                (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            ):
                sock.setsockopt(option, value)
            if self._secure is not None:
                self._secure(sock)
            require_encryption(sock, address)
            sock.bind(address)
            return sock, sock.getsockopt_string(zmq.LAST_ENDPOINT)
        except (zmq.ZMQError, BusError) as error:
            sock.close(linger=0)
            raise BusEndpointError(f"{address}: {error}", path=address) from error

    def _serve(self) -> None:
        while True:
            parts = self._control.recv_multipart()
            if len(parts) != 2:
                continue
            peer, data = parts
            if not self._heads.complete and self._answers.wants_all_heads(data):
                self._park(peer, data)
                continue
            self._reply(peer, data)
            gevent.sleep(0)  # a page is work for the hub: let others in between two

    def _reply(self, peer: bytes, data: bytes) -> None:
        try:
            self._control.send_multipart([peer, self._answers.answer(data)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            self._logger.debug("bus: a reply was not taken: %s", error)

    def _park(self, peer: bytes, data: bytes) -> None:
        self._parked.append((peer, data))
        if self._reading is None:
            self._reading = gevent.spawn(self._read_heads)

    def _read_heads(self) -> None:
        try:
            for _ in self._heads.read_store():
                gevent.sleep(0)
            while self._parked:
                self._reply(*self._parked.popleft())
                gevent.sleep(0)
        except Exception:
            # The next request tries again.
            self._logger.exception("bus: the heads could not be read")
        finally:
            self._reading = None
