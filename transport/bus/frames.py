"""What a runtime publishes, to bytes and back; pure.

Two kinds of messages, each one ZeroMQ frame:

- rows: ``s/<session_id>\\0`` and a CBOR sequence of one or more rows of that session;
- heartbeat: ``h\\0`` and a CBOR array ``[version, instance, number, frames, heads | null]``.

Whatever the bytes, decoding gives a message or raises :class:`BusProtocolError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cbor2

from ...actors.model.event import SessionEvent
from .arrived import arrived_events
from .errors import BusProtocolError
from .fields import VERSION, Head, heads_of, number_of, plain_heads, session_id_of, versioned

SESSION_TOPICS = b"s/"
"""Prefix of every rows frame; what a subscriber of all sessions subscribes to."""
HEARTBEAT_TOPIC = b"h\0"

FRAME_BYTES_MAX = 64 * 1024
"""Rows published together share frames up to this size; a single longer row goes alone."""
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""The longest message a subscriber takes from the runtime."""
HEARTBEAT_HEADS_MAX = 256


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one session and one epoch whose sequences follow each other from ``first``."""

    epoch: int
    first: int
    events: Sequence[SessionEvent]

    @property
    def last(self) -> int:
        """The sequence of the last row."""
        return self.first + len(self.events) - 1


@dataclass(frozen=True, slots=True)
class RowsFrame:
    """Published rows, not looked into; see :func:`runs_of`."""

    session_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the publisher did, so that a subscriber can see what it did not get.

    :param instance: random per publisher; another one is another life of the runtime.
    :param number: +1 per heartbeat of the instance.
    :param frames: rows frames published so far by the instance, to everybody.
    :param heads: the sessions published since the heartbeat before; ``None`` if too many.
    """

    instance: str
    number: int
    frames: int
    heads: tuple[Head, ...] | None


Frame: TypeAlias = RowsFrame | Heartbeat


def session_topic(session_id: str) -> bytes:
    """The prefix of the frames of one session."""
    return SESSION_TOPICS + session_id.encode() + b"\0"


def encode_frames(
    session_id: str, rows: Sequence[bytes], bytes_max: int = FRAME_BYTES_MAX
) -> list[bytes]:
    """Rows as the fewest frames that keep their order and ``bytes_max``."""
    if len(rows) == 1:
        return [b"s/%b\0%b" % (session_id.encode(), rows[0])]
    topic = session_topic(session_id)
    frames: list[bytes] = []
    parts, size = [topic], len(topic)
    for row in rows:
        if len(parts) > 1 and size + len(row) > bytes_max:
            frames.append(b"".join(parts))
            parts, size = [topic], len(topic)
        parts.append(row)
        size += len(row)
    if len(parts) > 1:
        frames.append(b"".join(parts))
    return frames


def decode_frame(data: bytes) -> Frame:
    """A frame of the events socket.

    :raises BusProtocolError: it is none.
    """
    if data.startswith(HEARTBEAT_TOPIC):
        return _heartbeat(data[len(HEARTBEAT_TOPIC) :])
    end = data.find(b"\0")
    if not data.startswith(SESSION_TOPICS) or end < 0:
        raise BusProtocolError("frame: unknown topic")
    try:
        session_id = data[len(SESSION_TOPICS) : end].decode()
    except UnicodeDecodeError as error:
        raise BusProtocolError("frame: a topic that is no text") from error
    return RowsFrame(session_id_of(session_id), data[end + 1 :])


def runs_of(session_id: str, body: bytes) -> tuple[Run, ...]:
    """The rows of one frame or page, in the runs they form.

    :raises BusProtocolError: they are no rows, none at all, or not all of ``session_id``.
    """
    events = arrived_events(body)
    if not events:
        raise BusProtocolError("rows: none")
    starts = [0]
    epoch, expected = events[0].epoch, events[0].sequence
    for index, event in enumerate(events):
        if event.session_id != session_id:
            raise BusProtocolError(f'rows: of "{event.session_id}" instead of "{session_id}"')
        if event.sequence != expected or event.epoch != epoch:
            starts.append(index)
            epoch = event.epoch
        expected = event.sequence + 1
    ends = [*starts[1:], len(events)]
    return tuple(
        Run(events[start].epoch, events[start].sequence, events[start:end])
        for start, end in zip(starts, ends, strict=True)
    )


def encode_heartbeat(beat: Heartbeat) -> bytes:
    """A heartbeat frame."""
    heads = None if beat.heads is None else plain_heads(beat.heads)
    body = [VERSION, beat.instance, beat.number, beat.frames, heads]
    return HEARTBEAT_TOPIC + cbor2.dumps(body)


def _heartbeat(body: bytes) -> Heartbeat:
    match versioned(body, "heartbeat"):
        case [str(instance), number, frames, heads]:
            known = None if heads is None else heads_of(heads)
            return Heartbeat(instance, number_of(number), number_of(frames), known)
        case _:
            raise BusProtocolError("heartbeat: unknown fields")
