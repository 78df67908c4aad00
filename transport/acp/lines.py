"""Bytes of a pipe into lines, with a limit (04 3.1, 3.2).

A line ends with LF; the LF is not part of it. Blank lines and a CR before the LF do not matter.
"""

from __future__ import annotations

from .options import FRAME_BYTES_MAX


class LineSplitter:
    """Cut a stream of bytes into lines; however the bytes are split, the lines are the same.

    :param bytes_max: a line of this length or more is not delivered: it sets ``overflowed``,
        and nothing is delivered after it.
    """

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        # Pieces, not one growing buffer: a long line that comes byte by byte stays linear.
        self._pieces: list[bytes] = []
        self._held = 0
        self.overflowed = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, blank ones left out."""
        if self.overflowed:
            return []
        head, *rest = data.split(b"\n")
        self._pieces.append(head)
        self._held += len(head)
        lines: list[bytes] = []
        if rest and not self._overflow(self._held):
            self._keep(lines)
            tail = rest.pop()
            for line in rest:
                if self._overflow(len(line)):
                    return lines
                if line and not line.isspace():
                    lines.append(line)
            self._pieces = [tail]
            self._held = len(tail)
        self._overflow(self._held)
        return lines

    def finish(self) -> list[bytes]:
        """The unfinished last line, when the stream has ended."""
        lines: list[bytes] = []
        if not self.overflowed:
            self._keep(lines)
            self._pieces, self._held = [], 0
        return lines

    def _keep(self, lines: list[bytes]) -> None:
        line = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if line and not line.isspace():
            lines.append(line)

    def _overflow(self, size: int) -> bool:
        if size >= self._bytes_max:
            self.overflowed = True
            self._pieces, self._held = [], 0
        return self.overflowed
