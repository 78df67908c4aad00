"""A file of tables across its replacements: a place is read from the file it was given for.

A position is the offset in a file, marked with how many files were replaced before it. Rules owned
here:

- While the index of a reader is still that of the file before, that one is held open for it.
- Whoever opened a file reads it to the end, whatever its name means by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..actors.errors import StorageError
from .files import ReadFile, SharedFile

GENERATION_BITS = 48
"""An offset has fewer: 256 TiB."""
OPEN_TRIES = 8
"""Replacements that may come between finding a file and opening it; one is rare."""


class PositionedFile(Protocol):
    """What positions are read from."""

    def open(self, position: int) -> ReadFile | None:
        """Open the file of a position; ``None`` when that is out of date: the index has a new one.

        :raises StorageError: it can not be opened.
        """

    def forget_replaced(self) -> None:
        """Nobody asks for positions in the file before any more."""


def offset_at(position: int) -> int:
    """The offset in its file of a position."""
    return position & ((1 << GENERATION_BITS) - 1)


def is_same_file(position: int, other: int) -> bool:
    """Whether two positions are of one file."""
    return position >> GENERATION_BITS == other >> GENERATION_BITS


class _Current(NamedTuple):
    generation: int
    replaced: ReadFile | None
    """The file before, while positions in it are still asked for."""


class TableFile:
    """The name of a file and what it means. One thread replaces, any opens."""

    __slots__ = ("_current", "_open_read", "path")

    def __init__(self, path: str, open_read: Callable[[str], ReadFile]) -> None:
        self.path = path
        self._open_read = open_read
        self._current = _Current(0, None)

    @property
    def first_position(self) -> int:
        """The position of byte 0."""
        return self._current.generation << GENERATION_BITS

    @property
    def next_position(self) -> int:
        """The position that byte 0 of the next file will have."""
        return (self._current.generation + 1) << GENERATION_BITS

    def replace(self, rename: Callable[[], None]) -> None:
        """Give the name to the next file.

        :raises OSError: the old file could not be opened, or not replaced: all is as it was.
        """
        before = self._current
        self._current = _Current(before.generation + 1, self._open_read(self.path))
        try:
            rename()
        except BaseException:
            self._current = before
            raise

    def forget_replaced(self) -> None:
        """See :meth:`PositionedFile.forget_replaced`."""
        self._current = _Current(self._current.generation, None)

    def open(self, position: int) -> ReadFile | None:
        """See :meth:`PositionedFile.open`."""
        generation = position >> GENERATION_BITS
        for _ in range(OPEN_TRIES):
            current = self._current
            if generation == current.generation:
                try:
                    file = self._open_read(self.path)
                except OSError as error:
                    raise StorageError(
                        f"open {self.path}: {error.strerror or error}",
                        operation="open",
                        path=self.path,
                    ) from error
                if self._current is current:
                    return file
                file.close()
            elif generation + 1 == current.generation and current.replaced is not None:
                return SharedFile(current.replaced)
            else:
                return None
        return None


class HeldFile:
    """A file that is kept open, so that its name may be given to another."""

    __slots__ = ("_file",)

    def __init__(self, file: ReadFile | None) -> None:
        """:param file: ``None`` when there is none, and so no position."""
        self._file = file

    def open(self, position: int) -> ReadFile | None:
        """See :meth:`PositionedFile.open`."""
        return self._file and SharedFile(self._file)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file is not None:
            self._file.close()

    def forget_replaced(self) -> None:
        """It is never replaced."""
