"""A subscriber for greenlets: it waits in the hub, which goes on meanwhile.

It may live in the very hub of the publisher it follows. Plain sockets and their descriptors, no
``zmq.green`` underneath: a wait is over when a descriptor changes, and whether something can be
taken is asked before each (trap Z4: one greenlet reads at a time).
"""

from __future__ import annotations

import math
from select import POLLIN
from typing import Any

import gevent
from gevent.lock import Semaphore
from gevent.select import poll

from .subscriber import Subscriber

_SECONDS_MAX = 3600.0


class GreenSubscriber(Subscriber):
    """:class:`Subscriber`, to be called from greenlets of one hub only."""

    def _make_lock(self) -> Any:
        return Semaphore(1)

    def _pause(self, seconds: float) -> None:
        if seconds <= 0 or self._connection.ready():
            gevent.sleep(0)  # a busy bus must not keep the hub from everybody else
            return
        readable = poll()
        for descriptor in self._connection.descriptors():
            readable.register(descriptor, POLLIN)
        readable.poll(math.ceil(min(seconds, _SECONDS_MAX) * 1000))
