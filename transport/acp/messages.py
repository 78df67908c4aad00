"""What was said so far of each message of a turn, to compare a later upsert with (07 R23).

Kept as a length and a digest: the memory of a turn does not grow with its text.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeAlias

from .options import MESSAGES_MAX

Key: TypeAlias = tuple[str, str]
"""Role and message id: thought and answer may share an id (07 5)."""


class _Said:
    __slots__ = ("digest", "length")

    def __init__(self) -> None:
        self.length = 0
        self.digest = blake2b(digest_size=16)

    def add(self, text: str) -> None:
        self.length += len(text)
        self.digest.update(text.encode("utf-8", "surrogatepass"))


class Messages:
    """The messages of one turn; of too many the oldest are forgotten."""

    def __init__(self) -> None:
        self._said: dict[Key, _Said] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._said

    def add(self, key: Key, text: str) -> None:
        """A chunk was appended to a message."""
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = _Said()
            if len(self._said) > MESSAGES_MAX:
                del self._said[next(iter(self._said))]
        said.add(text)

    def replace(self, key: Key, text: str) -> str | None:
        """The message says ``text`` now: what that adds to it; ``None`` when it says otherwise."""
        before = self._said.pop(key, None) or _Said()
        self.add(key, text)
        head = _Said()
        head.add(text[: before.length])
        if head.digest.digest() != before.digest.digest():
            return None
        return text[before.length :]
