"""A runtime that is reached from other machines: its gate, its encrypted sockets, its callers.

Rules owned here: nothing is bound without the gate; a key that was revoked is cut off within
``LOOK_S``, also where it is connected already (Z3: no peer can be disconnected alone, so all are,
and those that still may come back lose nothing).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import zmq

from ...transport.bus.control_server import ControlServer
from ...transport.bus.endpoints import Endpoints
from ...transport.bus.keys import KeyStore
from ...transport.bus.publisher import Remote
from ...transport.bus.roles import Role
from ...transport.bus.security import Gate
from ..errors import SessionValueError
from .world import RowPublisher

LOOK_S = 0.25
"""Between two looks whether a key was revoked."""
ANY_PORT = "*"


def listen_addresses(listen: str) -> Endpoints:
    """The three addresses of ``host:port``: events there, catching up and calls on the next two.

    :raises SessionValueError: no host and port; ``*`` is any free port.
    """
    host, _, port = listen.rpartition(":")
    if not host or not (port == ANY_PORT or (port.isdigit() and 0 < int(port) <= 65533)):
        raise SessionValueError(f'listen: "{listen}" is not host:port')
    ports = [port] * 3 if port == ANY_PORT else [str(int(port) + n) for n in range(3)]
    return Endpoints(*(f"tcp://{host}:{one}" for one in ports))


class Listening:
    """The encrypted way into a runtime.

    :param listen: ``host:port``.
    :param make_server: a control server for callers with keys, from what tells their roles.
    :raises BusError: the keys can not be used, or an address not be bound; nothing stays behind.
    """

    def __init__(
        self,
        home: Path,
        listen: str,
        publisher: RowPublisher,
        make_server: Callable[[Callable[[str], Role]], ControlServer],
        logger: logging.Logger,
    ) -> None:
        wanted = listen_addresses(listen)
        context: zmq.Context[Any] = zmq.Context()
        with contextlib.ExitStack() as undo:
            undo.callback(context.term)
            self._gate = Gate(KeyStore(home), context, logger)
            self.public_key = self._gate.open()
            undo.callback(self._gate.close)
            self._publisher = publisher
            events = publisher.listen(Remote(wanted, self._gate.secure), context)
            undo.callback(publisher.unlisten)
            server = make_server(self._gate.role_of)
            server.open(context, wanted.commands, self._gate.secure)
            undo.callback(server.close)
            self.endpoints = Endpoints(events.events, events.control, server.address)
            timer = gevent.get_hub().loop.timer(LOOK_S, LOOK_S, ref=False)
            timer.start(self._look)
            undo.callback(timer.close)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Let nobody in any more."""
        self._undo.close()

    def _look(self) -> None:
        if self._gate.someone_was_revoked():
            self._publisher.drop_remote()
