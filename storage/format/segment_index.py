"""The index file of a sealed part of ``events.journal`` (03 14.1). Rebuildable, never truth.

One CBOR item ``[facts, crc32c of facts]``; ``facts`` holds the arrays as they are in memory, so
that opening a long history copies bytes and parses none. What does not fit the part beside it, or
was written by another kind of machine, is no index: it is made again from the part.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import cbor2
from crc32c import crc32c

from .row_index import Runs

INDEX_FORMAT = "greenroom.index.v1"
BLOCK_BYTES = 64 * 1024
"""Bytes of a sealed part under one checksum, verified when the first of them is read."""
_ORDER = array("I", [1]).tobytes() + bytes((array("Q").itemsize, array("I").itemsize))
"""How this machine writes arrays."""


@dataclass(slots=True)
class SegmentIndex:
    """What is known about one sealed part.

    :param name: whose it is.
    :param number: of its first record; ``last_number`` of its last.
    :param sequence: of its first row.
    :param start: position in the whole journal of its first record; ``end`` behind its last.
    :param file_bytes: length of the file.
    :param blocks: CRC-32C of each ``BLOCK_BYTES`` of the file.
    """

    name: str
    number: int
    last_number: int
    sequence: int
    start: int
    end: int
    file_bytes: int
    epoch: int
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    epochs: list[tuple[int, int]] = field(default_factory=list)
    values: tuple[Runs, Runs, Runs] = field(default_factory=lambda: ({}, {}, {}))
    blocks: array[int] = field(default_factory=lambda: array("I"))


def encode_index(index: SegmentIndex) -> bytes:
    """The bytes of an index file."""
    facts = cbor2.dumps(
        [
            INDEX_FORMAT,
            _ORDER,
            index.name,
            index.number,
            index.last_number,
            index.sequence,
            index.start,
            index.end,
            index.file_bytes,
            index.epoch,
            index.offsets.tobytes(),
            index.sizes.tobytes(),
            [list(pair) for pair in index.epochs],
            [{value: runs.tobytes() for value, runs in part.items()} for part in index.values],
            index.blocks.tobytes(),
        ]
    )
    return cbor2.dumps([facts, crc32c(facts)])


def decode_index(data: bytes, name: str) -> SegmentIndex | None:
    """The index in ``data``; ``None`` for anything that is no whole index of ``name``'s."""
    try:
        facts, checksum = cbor2.loads(data)
        if crc32c(facts) != checksum:
            return None
        form, order, owner, *numbers, offsets, sizes, epochs, values, blocks = cbor2.loads(facts)
        if (form, order, owner) != (INDEX_FORMAT, _ORDER, name):
            return None
        types, turns, agents = (
            {value: _array("Q", runs) for value, runs in part.items()} for part in values
        )
        number, last_number, sequence, start, end, file_bytes, epoch = numbers
        return SegmentIndex(
            name,
            number,
            last_number,
            sequence,
            start,
            end,
            file_bytes,
            epoch,
            _array("Q", offsets),
            _array("I", sizes),
            [(known, first) for known, first in epochs],
            (types, turns, agents),
            _array("I", blocks),
        )
    except (cbor2.CBORError, ValueError, TypeError, AttributeError):
        return None


def block_sums(data: bytes) -> array[int]:
    """The checksums of a whole file."""
    view = memoryview(data)
    starts = range(0, len(data), BLOCK_BYTES)
    return array("I", (crc32c(view[at : at + BLOCK_BYTES]) for at in starts))


def _array(code: str, data: bytes) -> array[int]:
    values = array(code)
    values.frombytes(data)
    return values
