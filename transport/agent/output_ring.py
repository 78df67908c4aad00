"""The end of what a command wrote, as text that is always valid (04 5.5.2, D22). Pure.

The last ``limit`` bytes are kept. Cutting leaves no half character at the front; one that is still
incomplete at the end is held back until the rest of it came, or nothing more will.
"""

from __future__ import annotations

import codecs

OUTPUT_BYTES_DEFAULT = 64 * 1024
OUTPUT_BYTES_MAX = 1024 * 1024
"""Kept at most, whatever was asked for: escaped six to one, it still fits into one frame."""
_CHARACTER_BYTES_MAX = 4


def output_limit(asked: int | None) -> int:
    """The bytes to keep for an ``outputByteLimit``: absent is the default, negative is none."""
    if asked is None:
        return OUTPUT_BYTES_DEFAULT
    return min(max(asked, 0), OUTPUT_BYTES_MAX)


class OutputRing:
    """Bytes in, text out.

    :param limit: bytes of UTF-8 that the text may have.
    """

    __slots__ = ("_kept", "_limit", "truncated")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.truncated = False
        """Whether anything was ever cut off."""

    def add(self, data: bytes) -> None:
        """Take what was written."""
        self._kept += data
        if len(self._kept) > self._limit:
            self.truncated = True
        # Twice the size before cutting: the cost of moving bytes stays constant per byte.
        if len(self._kept) > 2 * self._limit + _CHARACTER_BYTES_MAX:
            del self._kept[: len(self._kept) - self._limit]

    def text(self, final: bool) -> str:
        """The end of the output, at most ``limit`` bytes.

        :param final: whether nothing more will come.
        """
        if not self._limit:
            return ""
        kept = bytes(self._kept[-self._limit :])
        if self.truncated:
            kept = _from_a_start(kept)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(kept, final)
        encoded = text.encode()
        if len(encoded) <= self._limit:
            return text
        # Bytes that are no text became longer by being replaced.
        self.truncated = True
        return _from_a_start(encoded[-self._limit :]).decode()


def _from_a_start(data: bytes) -> bytes:
    """``data`` without leading bytes that can not start a character."""
    start = 0
    while start < min(len(data), _CHARACTER_BYTES_MAX - 1) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]
