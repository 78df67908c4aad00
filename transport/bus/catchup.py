"""Questions to the store of a runtime and its answers, to bytes and back; pure.

Each is one ZeroMQ message on the control socket, a CBOR array ``[version, request_id, verb, ...]``:

==========  ====================================  ==============================================
verb        request                               reply
==========  ====================================  ==============================================
``heads``   ``session_id | null, after``          ``[[session_id, epoch, sequence], ...], more``
``rows``    ``session_id, epoch, sequence,        ``session_id, rows, head_epoch,
            bytes_max``                           head_sequence, reset``
``error``                                         ``reason``
==========  ====================================  ==============================================

``rows`` of a reply is a byte string: a CBOR sequence of rows, as in a frame. Whatever the bytes,
decoding gives a message or raises :class:`BusProtocolError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cbor2

from .errors import BusProtocolError
from .fields import VERSION, Head, heads_of, number_of, plain_heads, session_id_of, versioned
from .frames import Run, runs_of

REQUEST_BYTES_MAX = 4096
"""The longest request the runtime takes; a longer one is not looked at."""
PAGE_BYTES_MAX = 512 * 1024
"""Rows in one reply, by size; at least one row comes, however long."""
HEADS_PER_REPLY_MAX = 10_000
REASON_CHARS_MAX = 1000


@dataclass(frozen=True, slots=True)
class HeadsRequest:
    """Ask where one session ends, or all whose id is greater than ``after``."""

    request_id: int
    session_id: str | None
    after: str = ""


@dataclass(frozen=True, slots=True)
class RowsRequest:
    """Ask for rows after a position, at most ``bytes_max`` bytes of them but at least one."""

    request_id: int
    session_id: str
    epoch: int
    sequence: int
    bytes_max: int = PAGE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class HeadsReply:
    """Heads ascending by session id; ``more``: ask again after the last one."""

    request_id: int
    heads: tuple[Head, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class RowsReply:
    """Rows after the position asked for.

    :param reset: the position is not in the store any more; the rows begin where it and the
        store last agreed.
    """

    request_id: int
    session_id: str
    runs: tuple[Run, ...]
    head_epoch: int
    head_sequence: int
    reset: bool


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The runtime could not answer."""

    request_id: int
    reason: str


Request: TypeAlias = HeadsRequest | RowsRequest
Reply: TypeAlias = HeadsReply | RowsReply | ErrorReply


def encode_request(request: Request) -> bytes:
    """A request."""
    match request:
        case HeadsRequest(request_id, session_id, after):
            return cbor2.dumps([VERSION, request_id, "heads", session_id, after])
        case RowsRequest(request_id, session_id, epoch, sequence, bytes_max):
            return cbor2.dumps(
                [VERSION, request_id, "rows", session_id, epoch, sequence, bytes_max]
            )


def decode_request(data: bytes) -> Request:
    """A request.

    :raises BusProtocolError: it is none, or of another version.
    """
    match versioned(data, "request"):
        case [request_id, "heads", session_id, after]:
            one = None if session_id is None else session_id_of(session_id)
            start = "" if after == "" else session_id_of(after)
            return HeadsRequest(number_of(request_id), one, start)
        case [request_id, "rows", session_id, epoch, sequence, bytes_max]:
            return RowsRequest(
                number_of(request_id),
                session_id_of(session_id),
                number_of(epoch),
                number_of(sequence),
                number_of(bytes_max),
            )
        case _:
            raise BusProtocolError("request: unknown verb or arguments")


def request_id_of(data: bytes) -> int:
    """The id of what may be a request of any version; 0 when there is none to see."""
    try:
        document = cbor2.loads(data)
        return number_of(document[1]) if type(document) is list else 0
    except Exception:  # whatever a decoder makes of garbage, it is garbage
        return 0


def encode_reply(reply: HeadsReply | ErrorReply) -> bytes:
    """A reply without rows; see :func:`encode_page`."""
    match reply:
        case HeadsReply(request_id, heads, more):
            return cbor2.dumps([VERSION, request_id, "heads", plain_heads(heads), more])
        case ErrorReply(request_id, reason):
            return cbor2.dumps([VERSION, request_id, "error", reason[:REASON_CHARS_MAX]])


def encode_page(
    request: RowsRequest, rows: Sequence[bytes], head: tuple[int, int], reset: bool
) -> bytes:
    """The reply with ``rows`` to a request; the rows are not looked into."""
    fields = [request.session_id, b"".join(rows), head[0], head[1], reset]
    return cbor2.dumps([VERSION, request.request_id, "rows", *fields])


def decode_reply(data: bytes) -> Reply:
    """A reply.

    :raises BusProtocolError: it is none, or of another version.
    """
    match versioned(data, "reply"):
        case [request_id, "heads", heads, bool(more)]:
            return HeadsReply(number_of(request_id), heads_of(heads), more)
        case [request_id, "rows", session_id, bytes(body), epoch, sequence, bool(reset)]:
            runs = runs_of(session_id_of(session_id), body) if body else ()
            return RowsReply(
                number_of(request_id),
                session_id,
                runs,
                number_of(epoch),
                number_of(sequence),
                reset,
            )
        case [request_id, "error", str(reason)]:
            return ErrorReply(number_of(request_id), reason)
        case _:
            raise BusProtocolError("reply: unknown verb or fields")
