"""A plain ZeroMQ socket in a gevent hub: arrivals are told by a callback of the loop.

``zmq.green`` costs ten times a plain socket per message. Rules owned here (trap Z4): everything
happens in the hub's thread; a socket's descriptor only tells of changes and any use of the socket
may swallow one, so after each use it is asked whether something is there; a busy peer gets
``MESSAGES_PER_TURN`` before others have their turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import zmq

MESSAGES_PER_TURN = 50


class HubSocket:
    """One bound socket.

    :param sock: open and bound; closed by :meth:`close`.
    :param on_message: called with the frames of each message, in the loop: it must not block.
    """

    def __init__(
        self,
        sock: zmq.Socket[Any],
        on_message: Callable[[list[zmq.Frame]], object],
        logger: logging.Logger,
    ) -> None:
        self._socket = sock
        self._on_message = on_message
        self._logger = logger
        self._loop = gevent.get_hub().loop
        self._scheduled = False
        self._closed = False
        self._watcher = self._loop.io(int(sock.getsockopt(zmq.FD)), 1)
        self._watcher.start(self._drain)
        self._look()

    def send(self, parts: Sequence[bytes]) -> bool:
        """Send without waiting.

        :returns: whether it was taken; not when the peer's queue is full.
        :raises zmq.ZMQError: the peer is gone, or the socket refuses.
        """
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return False
        finally:
            self._look()
        return True

    def close(self) -> None:
        """Stop watching and close the socket; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._watcher.stop()
        self._watcher.close()
        self._socket.close(linger=0)

    def _look(self) -> None:
        if self._scheduled or self._closed:
            return
        if int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._scheduled = True
            self._loop.run_callback(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        for _ in range(MESSAGES_PER_TURN):
            # Asking costs a tenth of the exception that an empty socket raises.
            if self._closed or not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            try:
                self._on_message(parts)
            except Exception:
                # One message must not end the service for everybody.
                self._logger.exception("bus: a message failed")
        self._look()
