"""What a session reports, in no version's words: the inputs of the turn machine (07 11).

A codec of a protocol version makes these from messages; nothing behind them knows a version.
``raw`` is always the agent's own object, verbatim.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ...actors.model.agent import SessionConfigOption
from ...actors.model.event import RawJSON, TokenUsage


class TextAdded(msgspec.Struct, frozen=True, gc=False):
    """One block of a message or a thought of the agent.

    :param role: the type of the event it becomes, ``agent_message`` or ``thought``.
    """

    role: str
    text: str
    raw: RawJSON


class UserChunk(msgspec.Struct, frozen=True, gc=False):
    """A piece of a user's message: an echo of our prompt, or somebody else's (07 R22)."""

    text: str
    raw: RawJSON


class ToolChanged(msgspec.Struct, frozen=True, gc=False):
    """A tool call was announced or went on.

    :param announces: whether this announces the call, not only updates it.
    :param final: whether it is completed or failed now.
    """

    tool_call_id: str
    title: str
    announces: bool
    final: bool
    raw: RawJSON


class PlanChanged(msgspec.Struct, frozen=True, gc=False):
    """The agent's plan, complete."""

    raw: RawJSON


class UsageSeen(msgspec.Struct, frozen=True, gc=False):
    """Usage as reported; the turn merges it."""

    usage: TokenUsage
    raw: RawJSON


class OptionsChanged(msgspec.Struct, frozen=True, gc=False):
    """The agent's settings, complete."""

    token: str
    options: tuple[SessionConfigOption, ...]
    raw: RawJSON


class SessionNoted(msgspec.Struct, frozen=True, gc=False):
    """Anything else, known or not, under its own token.

    :param fact: whether it says something about the session, also between turns (07 R11).
    """

    token: str
    fact: bool
    raw: RawJSON


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """An update that lacks what it can not do without; lost, with a line in the log."""

    reason: str


Update: TypeAlias = (
    TextAdded
    | UserChunk
    | ToolChanged
    | PlanChanged
    | UsageSeen
    | OptionsChanged
    | SessionNoted
    | Unreadable
)
