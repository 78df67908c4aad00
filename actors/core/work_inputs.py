"""What an agent does by itself, as inputs of the session (07 4.6, 4.9, 4.10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentTurnOpened:
    """The agent began to work without a prompt; its events follow, then the end of its stream."""

    turn_id: str
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentWorkChanged:
    """What the agent does, as far as turns do not tell it.

    ``state``: ``running``, ``blocked`` (it waits for its user), ``unknown`` or ``idle``.
    ``background``: ids of what goes on beside or after the turn.
    """

    state: str
    background: tuple[str, ...] = ()
    at_s: float = 0.0
