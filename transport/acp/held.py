"""A prompt that the agent has not taken yet, and what comes meanwhile (07 4.2-4.5, 4.8).

Until the agent says that the prompt is part of its session, nobody can tell whether what it reports
is the work on this prompt or the rest of something else: it waits here, for a short time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ...actors.model.event import EventType
from .inputs import (
    MessageSet,
    OptionsChanged,
    Report,
    SessionNoted,
    StateSeen,
    UsageSeen,
    UserChunk,
)
from .options import ECHOES_MAX, HELD_BYTES_MAX, HELD_CONTENT_MAX
from .turn import Turn

USER = EventType.USER_MESSAGE.value


@dataclass(frozen=True, slots=True)
class Postponed:
    """Something that has to come after what waits already."""

    run: Callable[[], None]


Waiting: TypeAlias = Report | StateSeen | Postponed


class HeldPrompt:
    """One prompt that was sent and not inserted.

    :param turn: the turn it will open.
    :param prompts: texts its echo may have.
    :param request_id: of the request it was sent with.
    """

    def __init__(self, turn: Turn, prompts: tuple[str, ...], request_id: int) -> None:
        self.turn = turn
        self.request_id = request_id
        self.is_buffering = True
        """Whether reports wait here; not while they are known to be somebody else's."""
        self._prompts = prompts
        self._updates: list[Waiting] = []
        self._bytes = 0
        # The user messages seen, each with its text as far as it may be the prompt.
        self._said: dict[str, str | None] = {}

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def is_full(self) -> bool:
        """Whether no more can wait."""
        return len(self._updates) >= HELD_CONTENT_MAX or self._bytes >= HELD_BYTES_MAX

    @property
    def may_be_inserted(self) -> bool:
        """Whether any user message was seen: it may turn out to be the prompt."""
        return bool(self._said)

    @property
    def echo_id(self) -> str:
        """The id of the message that has the very text of the prompt, or blank."""
        return next((name for name, text in self._said.items() if text in self._prompts), "")

    def add(self, update: Waiting) -> None:
        """Let a report wait."""
        self._updates.append(update)
        match update:
            case UserChunk():
                said = self._said.get(update.message_id, "")
                self._say(update.message_id, None if said is None else said + update.text)
            case MessageSet(role=role) if role == USER:
                self._say(update.message_id, update.text or "")
        if not isinstance(update, StateSeen | Postponed):
            self._bytes += len(update.raw.data)

    def _say(self, message_id: str, text: str | None) -> None:
        is_start = text is not None and any(prompt.startswith(text) for prompt in self._prompts)
        if message_id in self._said or len(self._said) < ECHOES_MAX:
            self._said[message_id] = text if is_start else None

    def take_all(self) -> list[Waiting]:
        """Everything that waited, in order."""
        updates, self._updates = self._updates, []
        self._said = {}
        self._bytes = 0
        return updates

    def take_before(self, message_id: str) -> list[Waiting]:
        """What came before the message that the prompt became, where that is somebody's work."""
        for index, update in enumerate(self._updates):
            if getattr(update, "message_id", None) == message_id and is_users(update):
                earlier = self._updates[:index]
                if any(_is_content(before) for before in earlier):
                    del self._updates[:index]
                    return earlier
                return []
        return []


def is_users(update: Waiting) -> bool:
    """Whether it is a message of a user, ours or another."""
    return isinstance(update, UserChunk) or (isinstance(update, MessageSet) and update.role == USER)


def _is_content(update: Waiting) -> bool:
    return not isinstance(update, StateSeen | Postponed | OptionsChanged | SessionNoted | UsageSeen)
