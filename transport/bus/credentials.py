"""Keys of one side of an encrypted connection, and which addresses may do without; pure.

Rule owned here: an address that leaves this user's directory is spoken to with CURVE only, in both
directions. Local ``ipc`` trusts whoever can enter its directory, and that is its owner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import BusEndpointError, BusSecurityError

KEY_CHARS = 40
"""A CURVE key as Z85 text (ZeroMQ RFC 32)."""
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
LOCAL_SCHEMES = ("ipc://", "inproc://")


def key_of(text: str) -> bytes:
    """The bytes that ZeroMQ wants of a key.

    :raises BusSecurityError: no key.
    """
    if _KEY.fullmatch(text) is None:
        raise BusSecurityError("a CURVE key is 40 characters of Z85 text")
    return text.encode()


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair; the secret half is never shown."""

    public: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        key_of(self.public)
        key_of(self.secret)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client of a ``tcp://`` runtime needs: its own pair, and the runtime's public key."""

    pair: KeyPair
    server: str

    def __post_init__(self) -> None:
        key_of(self.server)


def check_address(address: str, encrypted: bool) -> None:
    """Whether an address may be used.

    :raises BusEndpointError: it leaves this machine's file system, and there are no keys.
    """
    if not encrypted and not address.startswith(LOCAL_SCHEMES):
        raise BusEndpointError(
            f"{address} is not local: it needs keys (`greenroom keys`)", path=address
        )
