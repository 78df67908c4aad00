"""Cursors: where a subscriber stands, as one printable string; pure.

A cursor names the last row had of each session followed, by epoch and sequence, and means
"everything after this, of what I follow" (03 7). To its holder it is opaque.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import cbor2

from .errors import BusCursorError

Position: TypeAlias = tuple[int, int]
"""``(epoch, sequence)`` of the last row; ``(0, 0)`` before the first."""
NOWHERE: Position = (0, 0)


@dataclass(frozen=True, slots=True)
class Lag:
    """Published events of a session were missed, or came late, and are read from the store.

    :param epoch: with ``sequence``, the last event of the session before those.
    """

    session_id: str
    epoch: int
    sequence: int


_PREFIX = "gr1."
_NUMBER_MAX = 2**63 - 1


def encode_cursor(positions: Mapping[str, Position]) -> str:
    """Positions as one printable string."""
    vector = [[session_id, *positions[session_id]] for session_id in sorted(positions)]
    return _PREFIX + base64.urlsafe_b64encode(cbor2.dumps(vector)).decode()


def decode_cursor(text: str) -> dict[str, Position]:
    """The positions in a string of :func:`encode_cursor`.

    :raises BusCursorError: it is none.
    """
    try:
        if not text.startswith(_PREFIX):
            raise BusCursorError("cursor: not a cursor of this version")
        vector = cbor2.loads(base64.b64decode(text[len(_PREFIX) :], b"-_", validate=True))
    except Exception as error:  # whatever a decoder makes of garbage, it is garbage
        raise BusCursorError("cursor: not a cursor of this version") from error
    positions: dict[str, Position] = {}
    for item in vector if isinstance(vector, list) else [None]:
        match item:
            case [str(session_id), int(epoch), int(sequence)] if (
                0 <= epoch <= _NUMBER_MAX and 0 <= sequence <= _NUMBER_MAX
            ):
                positions[session_id] = (epoch, sequence)
            case _:
                raise BusCursorError("cursor: not a cursor of this version")
    return positions
