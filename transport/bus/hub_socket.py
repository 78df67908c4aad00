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
# As numbers: arithmetic on the enums costs more than the calls they are for.
_EVENTS, _READABLE = int(zmq.EVENTS), int(zmq.POLLIN)
_NOW, _NOW_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK) | int(zmq.SNDMORE)


class HubSocket:
    """One bound socket.

    :param sock: open and bound; closed by :meth:`close`.
    :param on_message: called with the parts of each message and the name its sender's key was
        given, in the loop: it must not block.
    :param guarded: whether senders have keys; otherwise their name is empty.
    """

    def __init__(
        self,
        sock: zmq.Socket[Any],
        on_message: Callable[[list[bytes], str], object],
        logger: logging.Logger,
        *,
        guarded: bool = False,
    ) -> None:
        self._socket = sock
        self._on_message = on_message
        self._logger = logger
        self._guarded = guarded
        self._loop = gevent.get_hub().loop
        self._scheduled = False
        self._draining = False
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
            for part in parts[:-1]:
                self._socket.send(part, _NOW_MORE)
            self._socket.send(parts[-1], _NOW)
        except zmq.Again:
            return False
        finally:
            if not self._draining:  # which looks itself
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

    def _readable(self) -> bool:
        # Asking costs a tenth of the exception that an empty socket raises.
        return not self._closed and bool(int(self._socket.get(_EVENTS)) & _READABLE)

    def _look(self) -> None:
        if not self._scheduled and self._readable():
            self._scheduled = True
            self._loop.run_callback(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        self._draining = True
        try:
            for _ in range(MESSAGES_PER_TURN):
                if not self._readable():
                    return
                self._take()
        finally:
            self._draining = False
        self._look()

    def _take(self) -> None:
        if self._guarded:
            frames = self._socket.recv_multipart(_NOW, copy=False)
            parts, user = [frame.bytes for frame in frames], str(frames[-1].get("User-Id"))
        else:
            parts, user = self._socket.recv_multipart(_NOW), ""
        try:
            self._on_message(parts, user)
        except Exception:
            # One message must not end the service for everybody.
            self._logger.exception("bus: a message failed")
