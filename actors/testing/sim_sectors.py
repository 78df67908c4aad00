"""The data of one simulated file, and what a power loss may leave of it (see ``sim_files``)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

SECTOR_BYTES = 512
"""What a disk writes as a whole."""


@dataclass(slots=True)
class Inode:
    """The data of one file: what is durable, and the writes since."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    """Offset and bytes of each append, and ``(size, b"")`` of each cut."""
    forgotten: list[tuple[int, bytes]] = field(default_factory=list)
    """Writes whose sync failed: shown, and never on the medium however often it is synced."""

    def copy(self) -> Inode:
        """The same data, to be changed on its own."""
        return Inode(bytearray(self.data), self.durable, list(self.writes), list(self.forgotten))

    def sync(self) -> None:
        """All that was not forgotten is durable."""
        durable = bytearray(self.data)
        for offset, written in self.forgotten:
            had = self.durable[offset : offset + len(written)]
            durable[offset : offset + len(written)] = had.ljust(len(written), b"\0")
        self.durable = bytes(durable)
        self.writes.clear()

    def forget(self) -> None:
        """A sync failed: what was not durable never will be."""
        self.forgotten += [write for write in self.writes if write[1]]
        self.writes.clear()

    def cut(self, size: int) -> None:
        """Cut the file."""
        del self.data[size:]
        self.forgotten = [
            (offset, written[: size - offset])
            for offset, written in self.forgotten
            if offset < size
        ]
        self.writes.append((size, b""))


def after_loss(inode: Inode, chance: random.Random, kind: int) -> Inode:
    """``kind`` 0 loses every unsynced write, 1 keeps all, 2 a prefix, 3 any sectors of them."""
    data = bytearray(inode.durable)
    if kind == 1:
        for offset, written in inode.writes:
            _write(data, offset, written)
    elif kind == 2 and inode.writes:
        kept = chance.randint(0, len(inode.writes))
        for offset, written in inode.writes[:kept]:
            _write(data, offset, written)
        if kept < len(inode.writes):
            offset, written = inode.writes[kept]
            if written:
                _write(data, offset, written[: chance.randint(0, len(written))])
    elif kind == 3:
        for offset, written in inode.writes:
            if written:
                _write(data, offset, _some_sectors(offset, written, chance))
            elif chance.random() < 0.5:
                del data[offset:]
    return Inode(data, bytes(data))


def _some_sectors(offset: int, written: bytes, chance: random.Random) -> bytes:
    """The write with some of its sectors never done: zeros, as the file had grown before."""
    left = bytearray(written)
    first, last = offset // SECTOR_BYTES, (offset + len(written) - 1) // SECTOR_BYTES
    for sector in range(first, last + 1):
        if chance.random() < 0.4:
            begin = max(sector * SECTOR_BYTES - offset, 0)
            end = min((sector + 1) * SECTOR_BYTES - offset, len(written))
            left[begin:end] = bytes(end - begin)
    return bytes(left)


def _write(data: bytearray, offset: int, written: bytes) -> None:
    if len(data) < offset:
        data += bytes(offset - len(data))
    if written:
        data[offset : offset + len(written)] = written
    else:
        del data[offset:]


def lost_sectors(inode: Inode) -> Iterator[Inode]:
    """What may be left of the last append; see :meth:`SimFileSystem.after_lost_sectors`."""
    offset, written = inode.writes[-1]
    first, last = offset // SECTOR_BYTES, (offset + len(written) - 1) // SECTOR_BYTES
    for kept in range(1 << last - first + 1):
        data = bytearray(inode.data)
        end = offset
        for sector in range(first, last + 1):
            begin = max(sector * SECTOR_BYTES, offset)
            stop = min((sector + 1) * SECTOR_BYTES, offset + len(written))
            if kept >> (sector - first) & 1:
                end = stop
            else:
                data[begin:stop] = bytes(stop - begin)
        for left in (data, data[:end]):
            yield Inode(left, bytes(left))
