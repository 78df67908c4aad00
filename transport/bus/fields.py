"""The fields that messages of the bus are made of, each with its check; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cbor2

from .errors import BusProtocolError

VERSION = 1
"""Of frames, requests and replies together; another one is refused by name."""

_NUMBER_MAX = 2**63 - 1
_ID_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Head:
    """Where the store of a session ends."""

    session_id: str
    epoch: int
    sequence: int


def versioned(data: bytes, what: str) -> list[Any]:
    """The members of a CBOR array after its version.

    :raises BusProtocolError: it is no such array, or its version is not :data:`VERSION`.
    """
    try:
        document = cbor2.loads(data)
    except Exception as error:  # whatever a decoder makes of garbage, it is garbage
        raise BusProtocolError(f"{what}: {error}") from error
    if type(document) is not list or not document or type(document[0]) is not int:
        raise BusProtocolError(f"{what}: no array that begins with a version")
    if document[0] != VERSION:
        raise BusProtocolError(
            f"{what}: version {document[0]}, this side speaks {VERSION}", version=document[0]
        )
    return document[1:]


def number_of(value: Any) -> int:
    """An integer from 0 to 2**63 - 1.

    :raises BusProtocolError: it is none.
    """
    if type(value) is int and 0 <= value <= _NUMBER_MAX:
        return value
    raise BusProtocolError("a field is no number in range")


def session_id_of(value: Any) -> str:
    """A text that can stand in a topic.

    :raises BusProtocolError: it is none.
    """
    if isinstance(value, str) and 0 < len(value) <= _ID_BYTES_MAX and "\0" not in value:
        return value
    raise BusProtocolError("a field is no session id")


def heads_of(value: Any) -> tuple[Head, ...]:
    """A list of ``[session_id, epoch, sequence]``.

    :raises BusProtocolError: it is none.
    """
    heads = []
    for item in value if type(value) is list else [None]:
        match item:
            case [session_id, epoch, sequence]:
                heads.append(Head(session_id_of(session_id), number_of(epoch), number_of(sequence)))
            case _:
                raise BusProtocolError("a field is no list of heads")
    return tuple(heads)


def plain_heads(heads: Iterable[Head]) -> list[list[Any]]:
    """Heads as :func:`heads_of` reads them."""
    return [[head.session_id, head.epoch, head.sequence] for head in heads]
