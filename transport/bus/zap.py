"""ZeroMQ authentication requests and replies, to frames and back (ZeroMQ RFC 27); pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import BusProtocolError

ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = "greenroom"
VERSION = b"1.0"
CURVE = b"CURVE"
KEY_BYTES = 32
_BASE85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_TO_Z85 = bytes.maketrans(_BASE85, _Z85)


@dataclass(frozen=True, slots=True)
class ZapRequest:
    """libzmq asks whether a connection may be made.

    :param public_key: of the peer, as Z85 text.
    """

    request_id: bytes
    domain: str
    address: str
    public_key: str


def z85_of(key: bytes) -> str:
    """The text of a key (ZeroMQ RFC 32).

    :raises BusProtocolError: it is no key.
    """
    if len(key) != KEY_BYTES:
        raise BusProtocolError("zap: a key of another length")
    # The same arithmetic with another alphabet.
    return base64.b85encode(key).translate(_TO_Z85).decode()


def decode_zap(parts: Sequence[bytes]) -> ZapRequest:
    """A request.

    :raises BusProtocolError: it is none, of another version, or of another mechanism than CURVE.
    """
    match list(parts):
        case [version, request_id, domain, address, _identity, mechanism, key] if (
            version == VERSION and mechanism == CURVE
        ):
            return ZapRequest(
                request_id,
                domain.decode(errors="replace"),
                address.decode(errors="replace"),
                z85_of(key),
            )
        case _:
            raise BusProtocolError("zap: no CURVE request")


def allow(request_id: bytes, user: str) -> list[bytes]:
    """The reply that lets a peer in, under a name."""
    return [VERSION, request_id, b"200", b"OK", user.encode(), b""]


def deny(request_id: bytes) -> list[bytes]:
    """The reply that does not; the peer is not told why."""
    return [VERSION, request_id, b"400", b"no", b"", b""]
