"""The files of one session's events: sealed parts ``events.journal.<n>`` and the open one.

A position counts the bytes of records from the beginning of the history on, as if it were one
file: it does not change when a part is sealed. Rules owned here:

- Finding the file of a position and opening it is safe while another thread seals.
- A block of a sealed part is verified when the first byte of it is read.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from crc32c import crc32c

from ..actors.errors import StorageError, StoreCorruptError
from .files import File
from .format.records import encode_header
from .format.segment_index import BLOCK_BYTES
from .journal import read_exactly

BEYOND = 1 << 63
"""Behind every position."""
OPEN_TRIES = 8
"""Seals that may come between finding a file and opening it; one is rare."""


class SealedPart:
    """One sealed file. ``blocks`` is empty while its index is not made."""

    __slots__ = ("blocks", "end", "epoch", "last_number", "number", "path", "start", "verified")

    def __init__(
        self, path: str, start: int, end: int, number: int, last_number: int, epoch: int
    ) -> None:
        self.path = path
        self.start = start
        self.end = end
        self.number = number
        self.last_number = last_number
        self.epoch = epoch
        self.blocks: array[int] = array("I")
        self.verified: set[int] = set()

    @property
    def records_bytes(self) -> int:
        """Bytes of its records."""
        return self.end - self.start


class EventFiles:
    """The parts of one history, in order. ``seal`` is for one thread, the rest for any."""

    __slots__ = ("_open_file", "header_bytes", "path", "sealed", "tail_path")

    def __init__(
        self, path: str, open_file: Callable[[str], File], *, kind: str, name: str
    ) -> None:
        """:param open_file: opens a file for reading; it is closed after each read."""
        self.path = path
        self.tail_path = path
        """What is read behind the sealed parts: the open file, or a part that is damaged."""
        self._open_file = open_file
        self.header_bytes = len(encode_header(kind, name))
        self.sealed: list[SealedPart] = []

    @property
    def tail_start(self) -> int:
        """Position of the first record of the open file."""
        return self.sealed[-1].end if self.sealed else self.header_bytes

    def next_path(self) -> str:
        """The name of the next sealed part."""
        return f"{self.path}.{len(self.sealed) + 1}"

    def seal(self, part: SealedPart) -> None:
        """The open file is about to get the name of ``part``."""
        self.sealed.append(part)

    def file_end(self, position: int) -> int | None:
        """Where the file of a position ends; ``None`` for the open one."""
        part = self._part(position)
        return None if part is None else part.end

    def open(self, position: int) -> OpenedPart:
        """Open the file that holds a position.

        :raises StorageError: it can not be opened.
        """
        for _ in range(OPEN_TRIES):
            known = len(self.sealed)
            part = self._part(position)
            start = self.tail_start if part is None else part.start
            path = self.tail_path if part is None else part.path
            file = self._try(path)
            if file is None and part is not None:
                # Announced, and not yet renamed.
                file = self._try(self.path)
                if file is not None and self._is_renamed(path):
                    file.close()
                    continue
            if file is None:
                continue
            if len(self.sealed) == known:
                return OpenedPart(file, path, start - self.header_bytes, start, part)
            file.close()
        raise StorageError(f"open {self.path}: it is missing", operation="open", path=self.path)

    def _part(self, position: int) -> SealedPart | None:
        low, high = 0, len(self.sealed)
        while low < high:
            middle = (low + high) // 2
            if self.sealed[middle].end <= position:
                low = middle + 1
            else:
                high = middle
        return self.sealed[low] if low < len(self.sealed) else None

    def _try(self, path: str) -> File | None:
        try:
            return self._open_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(
                f"open {path}: {error.strerror or error}", operation="open", path=path
            ) from error

    def _is_renamed(self, path: str) -> bool:
        file = self._try(path)
        if file is not None:
            file.close()
        return file is not None


class OpenedPart:
    """One file of a history, open for a read; reads are by position."""

    __slots__ = ("_begins", "_file", "_path", "_shift", "part")

    def __init__(
        self, file: File, path: str, shift: int, begins: int, part: SealedPart | None
    ) -> None:
        """:param begins: position of the file's first record."""
        self._begins = begins
        self._file = file
        self._path = path
        self._shift = shift
        self.part = part

    @property
    def end(self) -> int:
        """Position behind which another file begins; beyond all others while there is none."""
        return BEYOND if self.part is None else self.part.end

    def holds(self, position: int) -> bool:
        """Whether a position lies in this file, or in the open one while none was sealed."""
        return self.part is None or position < self.part.end

    def covers(self, position: int) -> bool:
        """Whether a position lies in this file and no earlier one."""
        begins = self._begins if self.part is None else self.part.start
        return position >= begins and self.holds(position)

    def read(self, position: int, size: int) -> bytes:
        """Bytes at a position; those of a sealed part are verified.

        :raises StoreCorruptError: they are not what was written, or missing.
        :raises StorageError: the read failed.
        """
        offset = position - self._shift
        part = self.part
        if part is None or not part.blocks:
            return read_exactly(self._file, self._path, offset, size)
        first, last = offset // BLOCK_BYTES, (offset + size - 1) // BLOCK_BYTES
        if all(block in part.verified for block in range(first, last + 1)):
            return read_exactly(self._file, self._path, offset, size)
        data = self._verified(part, first, last)
        begin = offset - first * BLOCK_BYTES
        if len(data) < begin + size:
            raise self._damaged(offset)
        return data[begin : begin + size]

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def _verified(self, part: SealedPart, first: int, last: int) -> bytes:
        start = first * BLOCK_BYTES
        try:
            data = self._file.read(start, (last - first + 1) * BLOCK_BYTES)
        except OSError as error:
            raise StorageError(
                f"read {self._path}: {error.strerror or error}", operation="read", path=self._path
            ) from error
        view = memoryview(data)
        for block in range(first, last + 1):
            at = (block - first) * BLOCK_BYTES
            if (
                block >= len(part.blocks)
                or crc32c(view[at : at + BLOCK_BYTES]) != (part.blocks[block])
            ):
                raise self._damaged(block * BLOCK_BYTES)
            part.verified.add(block)
        return data

    def _damaged(self, offset: int) -> StoreCorruptError:
        return StoreCorruptError(
            f"{self._path} is damaged at byte {offset}", path=self._path, offset=offset
        )
