"""Which user messages in a turn are our own prompt come back (07 4.3, R22).

Where messages have ids, the one that the prompt became is an echo, and nothing else is. Without
ids, chunks are held as long as their joined text starts one of the prompts; the first agent content
proves that they were an echo, any other chunk that they were not.
"""

from __future__ import annotations

from .inputs import UserChunk


class Echo:
    """Tells the echo of our prompt from other user messages.

    :param prompts: texts it may have: as sent, and as the caller wrote it.
    """

    def __init__(self, prompts: tuple[str, ...]) -> None:
        self._candidates = prompts
        self._offset = 0
        self._held: list[UserChunk] = []
        self.message_id = ""
        """The id the prompt was given; with one, texts are not compared any more."""

    def take(self, chunk: UserChunk) -> list[UserChunk]:
        """The chunks that are somebody's message after all."""
        if self.message_id:
            return [] if chunk.message_id == self.message_id else [chunk]
        matching = tuple(
            text for text in self._candidates if text.startswith(chunk.text, self._offset)
        )
        if matching:
            self._candidates = matching
            self._offset += len(chunk.text)
            if chunk.text:  # empty ones could pile up without end, and say nothing
                self._held.append(chunk)
            return []
        spoken = [*self._held, chunk]
        self.end()
        return spoken

    def end(self) -> None:
        """No echo is expected any more, unless it is known by its id."""
        self._candidates = ()
        self._held = []
