"""Records: how a journal's bytes are framed, and the verdict on how they end (03 14.1).

A file is a CBOR sequence: one header item, then records. A record is one CBOR item
``[crc32c_of_payload, payload]`` in fixed width: ``82``, ``1a`` and 4 bytes of CRC-32C, ``5a`` and
4 bytes of length, payload. :func:`scan` yields the records and at last one verdict:

========  ==============================================================================
End       the bytes end where a record ends
Torn      what follows is no record, and no record follows it: the tail of a cut write
Corrupt   what follows is no record, but a later one is, or may be: damage, never cut
========  ==============================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cbor2
from crc32c import crc32c

from ...actors.errors import StoreCorruptError, StoreValidationError
from .cbor_items import item_end

FORMAT = "greenroom.journal.v1"
COMPACTED = "greenroom.journal.v2"
"""Format of a journal that begins with a snapshot; as long as the other, so that offsets agree."""
PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
"""Longest payload of one record; no longer one is written, and none is believed."""
SCAN_READ_BYTES = 256 * 1024
"""Bytes read at a time while scanning."""
RESYNC_CHECK_BYTES_MAX = 4 * PAYLOAD_BYTES_MAX
"""Bytes checksummed in search of a record after a damaged one; then the damage counts as such."""

_FRAME = struct.Struct(">BBIBI")
FRAME_BYTES = _FRAME.size
"""Bytes a record adds to its payload."""
_ARRAY_2, _UINT32, _BYTES32 = 0x82, 0x1A, 0x5A
MARK = bytes((_ARRAY_2, _UINT32))

Read = Callable[[int, int], bytes]
"""``read(offset, size)``: up to ``size`` bytes at ``offset``; fewer only at the end."""


class Header(NamedTuple):
    """What a file is: its kind, whose it is, where its records begin, and their format."""

    kind: str
    name: str
    size: int
    form: str = FORMAT


class Record(NamedTuple):
    """A whole record; ``offset`` is that of its payload."""

    offset: int
    payload: bytes


class End(NamedTuple):
    """The records end at ``offset``, and so do the bytes."""

    offset: int


class Torn(NamedTuple):
    """The records end at ``offset``; the rest is the tail of a write that was cut."""

    offset: int


class Corrupt(NamedTuple):
    """The records up to ``offset`` are whole; what stands there is damaged."""

    offset: int


Verdict = End | Torn | Corrupt


def encode_header(kind: str, name: str, form: str = FORMAT) -> bytes:
    """The first item of a file: ``[format, kind, name, crc32c of the three]``."""
    facts = cbor2.dumps([form, kind, name])
    return cbor2.dumps([form, kind, name, crc32c(facts)])


def decode_header(data: bytes) -> Header:
    """Read the first item of a file.

    :raises StoreCorruptError: no header, a damaged one, or one of another format.
    """
    try:
        size = item_end(data, 0)
        items = cbor2.loads(data[:size])
        form, kind, name, checksum = items
        intact = crc32c(cbor2.dumps([form, kind, name])) == checksum
    except (StoreValidationError, cbor2.CBORError, ValueError, TypeError) as error:
        raise StoreCorruptError("store: no readable header", offset=0) from error
    if not intact:
        raise StoreCorruptError("store: damaged header", offset=0)
    if form not in (FORMAT, COMPACTED):
        raise StoreCorruptError(
            f"store: header of another format: {form!r}", offset=0, foreign=True
        )
    return Header(kind, name, size, form)


def encode_record(payload: bytes) -> bytes:
    """Frame one payload.

    :raises StoreValidationError: an empty payload, or one over ``PAYLOAD_BYTES_MAX``.
    """
    size = len(payload)
    if not 0 < size <= PAYLOAD_BYTES_MAX:
        raise StoreValidationError(
            f"store: a record of {size} bytes, the limit is {PAYLOAD_BYTES_MAX}", field="record"
        )
    return _FRAME.pack(_ARRAY_2, _UINT32, crc32c(payload), _BYTES32, size) + payload


def record_at(data: bytes, at: int) -> bytes | None:
    """The payload of the whole record that begins at ``at``; ``None`` when there is none."""
    if len(data) - at < FRAME_BYTES:
        return None
    array, uint32, checksum, bytes32, size = _FRAME.unpack_from(data, at)
    if (array, uint32, bytes32) != (_ARRAY_2, _UINT32, _BYTES32):
        return None
    payload = data[at + FRAME_BYTES : at + FRAME_BYTES + size]
    return payload if size and len(payload) == size and crc32c(payload) == checksum else None


def scan(read: Read, start: int) -> Iterator[Record | Verdict]:
    """Yield every whole record from ``start`` on, then exactly one verdict.

    Memory is bounded by the longest record; the verdict of an intact file costs one read.
    """
    buffer = b""
    position = 0  # in the buffer
    base = start  # file offset of the buffer's first byte
    while True:
        if len(buffer) - position < FRAME_BYTES:
            base += position
            kept = buffer[position:]
            buffer = kept + read(base + len(kept), SCAN_READ_BYTES)
            position = 0
            if not buffer:
                yield End(base)
                return
            if len(buffer) < FRAME_BYTES:
                break
        array, uint32, checksum, bytes32, size = _FRAME.unpack_from(buffer, position)
        if (
            (array, uint32, bytes32) != (_ARRAY_2, _UINT32, _BYTES32)
            or not 0 < size <= PAYLOAD_BYTES_MAX
        ):
            break
        begin = position + FRAME_BYTES
        if len(buffer) - begin < size:
            base += position
            kept = buffer[position:]
            wanted = max(FRAME_BYTES + size - len(kept), SCAN_READ_BYTES)
            buffer = kept + read(base + len(kept), wanted)
            position, begin = 0, FRAME_BYTES
        payload = buffer[begin : begin + size]
        if len(payload) != size or crc32c(payload) != checksum:
            break
        yield Record(base + begin, payload)
        position = begin + size
    yield _verdict(read, base + position)


def _verdict(read: Read, offset: int) -> Verdict:
    """Torn or corrupt: look for a whole record anywhere behind a broken one.

    The search gives up, and says corrupt, when it has checksummed ``RESYNC_CHECK_BYTES_MAX``.
    """
    budget = RESYNC_CHECK_BYTES_MAX
    position = offset + 1
    while chunk := read(position, SCAN_READ_BYTES):
        found = chunk.find(MARK)
        while found != -1:
            size = _framed_size(read, position + found)
            if size:
                budget -= size
                if budget < 0 or _is_record(read, position + found, size):
                    return Corrupt(offset)
            found = chunk.find(MARK, found + 1)
        # The mark may straddle two chunks: look at the last byte again.
        position += max(len(chunk) - 1, 1)
    return Torn(offset)


def _framed_size(read: Read, offset: int) -> int:
    head = read(offset, FRAME_BYTES)
    if len(head) < FRAME_BYTES:
        return 0
    _, _, _, bytes32, size = _FRAME.unpack(head)
    fits = bytes32 == _BYTES32 and 0 < size <= PAYLOAD_BYTES_MAX
    return int(size) if fits else 0


def _is_record(read: Read, offset: int, size: int) -> bool:
    frame = read(offset, FRAME_BYTES + size)
    return len(frame) == FRAME_BYTES + size and (
        crc32c(frame[FRAME_BYTES:]) == int.from_bytes(frame[2:6], "big")
    )
