"""The gate of a runtime: who may connect from another machine, and what they may do there.

Rules owned here: a socket with an address that is not local is bound with CURVE or not at all; a
peer whose key is not on the list gets no event and no answer; what its role allows is looked up per
call, so a key that was revoked is refused at once, also on a connection that stands. The local
sockets have no gate: their directory is closed to others.
"""

from __future__ import annotations

import logging
from typing import Any

import zmq

from .credentials import KeyPair, check_address, key_of
from .errors import BusForbiddenError, BusProtocolError, BusSecurityError
from .hub_socket import HubSocket
from .keys import AllowedKey, KeyStore
from .roles import Role
from .zap import DOMAIN, ENDPOINT, ZapRequest, allow, decode_zap, deny


class Gate:
    """Lets keys of a list in; lives in the hub thread that opened it.

    :param keys: whose list it is; changes to it count at once.
    :param context: that of the sockets it guards.
    """

    def __init__(
        self, keys: KeyStore, context: zmq.Context[Any], logger: logging.Logger | None = None
    ) -> None:
        self._keys = keys
        self._context = context
        self._logger = logger or logging.getLogger(__name__)
        self._pair: KeyPair | None = None
        self._socket: HubSocket | None = None
        self._changed_at = -1
        self._by_key: dict[str, AllowedKey] = {}
        self._by_name: dict[str, AllowedKey] = {}
        self._let_in: set[str] = set()
        self.admitted = 0
        self.denied = 0

    def open(self) -> str:
        """Begin to answer for the context; the runtime's public key.

        :raises BusSecurityError: the keys can not be used, or the context has a gate already.
        """
        self._pair = self._keys.server()
        self._read_list()
        sock = self._context.socket(zmq.ROUTER)
        try:
            sock.setsockopt(zmq.LINGER, 0)
            sock.bind(ENDPOINT)
        except zmq.ZMQError as error:
            sock.close(linger=0)
            raise BusSecurityError(f"gate: {error}") from error
        self._socket = HubSocket(sock, self._on_request, self._logger)
        return self._pair.public

    def close(self) -> None:
        """Let nobody in any more; idempotent."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def secure(self, sock: zmq.Socket[Any]) -> None:
        """Make a socket, before it is bound, one that this gate guards.

        :raises BusSecurityError: the gate is not open.
        """
        if self._pair is None or self._socket is None:
            raise BusSecurityError("the gate is not open")
        sock.setsockopt(zmq.CURVE_SERVER, 1)
        sock.setsockopt(zmq.CURVE_SECRETKEY, key_of(self._pair.secret))
        sock.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)

    def role_of(self, user: str) -> Role:
        """What a peer may do; the owner of the local sockets has no name and may do everything.

        :raises BusForbiddenError: its key was revoked.
        """
        if not user:
            return Role.ADMIN
        self._read_list()
        known = self._by_name.get(user)
        if known is None:
            raise BusForbiddenError(f'the key "{user}" was revoked')
        return known.role

    def someone_was_revoked(self) -> bool:
        """Whether a key that was let in is not on the list any more; each is told once."""
        self._read_list()
        gone = self._let_in.difference(self._by_key)
        self._let_in -= gone
        return bool(gone)

    def _read_list(self) -> None:
        changed_at = self._keys.changed_at()
        if changed_at == self._changed_at:
            return
        try:
            allowed = self._keys.allowed()
        except BusSecurityError as error:
            # Nobody comes in by a list that others could have written.
            self._logger.error("bus: %s", error)
            allowed = []
        self._changed_at = changed_at
        self._by_key = {key.public: key for key in allowed}
        self._by_name = {key.name: key for key in allowed}

    def _on_request(self, parts: list[bytes], user: str) -> None:
        envelope, request = parts[:2], parts[2:]
        try:
            asked = decode_zap(request)
        except BusProtocolError as error:
            self._logger.warning("bus: %s", error)
            self._answer(envelope, deny(request[1] if len(request) > 1 else b""))
            return
        self._answer(envelope, self._decide(asked))

    def _decide(self, asked: ZapRequest) -> list[bytes]:
        self._read_list()
        known = self._by_key.get(asked.public_key)
        if known is None or asked.domain != DOMAIN:
            self.denied += 1
            self._logger.warning("bus: a key from %s is not allowed", asked.address)
            return deny(asked.request_id)
        self.admitted += 1
        self._let_in.add(known.public)
        return allow(asked.request_id, known.name)

    def _answer(self, envelope: list[bytes], reply: list[bytes]) -> None:
        if self._socket is not None:
            self._socket.send([*envelope, *reply])


def require_encryption(sock: zmq.Socket[Any], address: str) -> None:
    """Whether a socket may be bound to an address.

    :raises BusEndpointError: the address is not local, and the socket has no keys.
    """
    check_address(address, encrypted=int(sock.getsockopt(zmq.MECHANISM)) == zmq.CURVE)
