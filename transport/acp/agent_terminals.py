"""The terminals an agent runs itself: their text, decoded as it comes, and the end of it (07 7).

The bytes of a chunk may split a character, so each terminal has a decoder of its own.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field

from .inputs import TerminalChanged
from .options import TERMINAL_TAIL_BYTES, TERMINALS_MAX

_Decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(slots=True)
class AgentTerminal:
    """One terminal.

    :param turn_id: of the turn that announced it.
    """

    turn_id: str
    tail: str = ""
    exited: bool = False
    cancellable: bool = False
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: _Decoder("replace"))


class AgentTerminals:
    """All terminals of one agent; of too many the oldest are forgotten."""

    def __init__(self) -> None:
        self._terminals: dict[str, AgentTerminal] = {}

    def get(self, terminal_id: str) -> AgentTerminal | None:
        """The terminal of that id, if it was announced."""
        return self._terminals.get(terminal_id)

    def take(self, update: TerminalChanged, turn_id: str) -> tuple[AgentTerminal, str]:
        """The terminal after a report, and the text that the report added.

        :param turn_id: the open turn, which announces a terminal not seen before.
        """
        terminal = self._terminals.get(update.terminal_id)
        if terminal is None:
            terminal = self._terminals[update.terminal_id] = AgentTerminal(turn_id)
            if len(self._terminals) > TERMINALS_MAX:
                del self._terminals[next(iter(self._terminals))]
        terminal.exited |= update.exited
        if update.cancellable is not None:
            terminal.cancellable = update.cancellable
        if update.data is None:
            return terminal, ""
        if update.replaces:
            terminal.decoder.reset()
            terminal.tail = ""
        text = terminal.decoder.decode(update.data)
        terminal.tail = _tail(terminal.tail + text)
        return terminal, text

    def stoppable(self, turn_id: str) -> list[str]:
        """Those of a turn that still run and that the agent stops when asked to."""
        return [
            terminal_id
            for terminal_id, terminal in self._terminals.items()
            if terminal.turn_id == turn_id and terminal.cancellable and not terminal.exited
        ]


def _tail(text: str) -> str:
    kept = text[-TERMINAL_TAIL_BYTES:].encode()[-TERMINAL_TAIL_BYTES:]
    return kept.decode("utf-8", "ignore")
