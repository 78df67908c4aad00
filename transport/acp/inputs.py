"""What a session reports, in no version's words: the inputs of the turn machine (07 11).

A codec of a protocol version makes these from messages; nothing behind them knows a version.
``raw`` is always the agent's own object, verbatim.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ...actors.errors import RequestError
from ...actors.model.agent import SessionConfigOption
from ...actors.model.event import RawJSON, TokenUsage


class TextAdded(msgspec.Struct, frozen=True, gc=False):
    """One block of a message or a thought of the agent.

    :param role: the type of the event it becomes, ``agent_message`` or ``thought``.
    :param message_id: of the message it belongs to; blank where messages have none.
    """

    role: str
    text: str
    raw: RawJSON
    message_id: str = ""


class UserChunk(msgspec.Struct, frozen=True, gc=False):
    """A piece of a user's message: an echo of our prompt, or somebody else's (07 R22)."""

    text: str
    raw: RawJSON
    message_id: str = ""


class MessageSet(msgspec.Struct, frozen=True, gc=False):
    """A whole message, which replaces what was said of it so far (07 R23).

    :param role: the type of the event it becomes; ``user_message`` for a user's.
    :param text: of all its blocks; ``None`` leaves the content as it is.
    :param has_blocks: whether there is any block, be it without text.
    """

    role: str
    message_id: str
    text: str | None
    has_blocks: bool
    token: str
    raw: RawJSON


class ToolChanged(msgspec.Struct, frozen=True, gc=False):
    """A tool call was announced or went on.

    :param announces: whether this announces the call, not only updates it.
    :param final: whether it is over now.
    :param upserts: whether the first report of a call announces it, whatever it says.
    :param error: why it is over, where the status says so (``cancelled``; 07 R20).
    :param cancellable: whether the agent stops it when asked; ``None`` leaves that as it is.
    """

    tool_call_id: str
    title: str
    announces: bool
    final: bool
    raw: RawJSON
    upserts: bool = False
    error: str = ""
    cancellable: bool | None = None


class TerminalChanged(msgspec.Struct, frozen=True, gc=False):
    """A terminal of the agent's own was announced, wrote something, or ended.

    :param data: bytes of output; ``None`` when there are none.
    :param replaces: whether they replace all output so far.
    """

    terminal_id: str
    token: str
    data: bytes | None
    replaces: bool
    exited: bool
    raw: RawJSON
    cancellable: bool | None = None


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
    :param child: the session of a subagent that this announces, or blank.
    """

    token: str
    fact: bool
    raw: RawJSON
    child: str = ""


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """An update that lacks what it can not do without; lost, with a line in the log."""

    reason: str


class TurnEnded(msgspec.Struct, frozen=True):
    """The work on a prompt is over."""

    stop_reason: str = ""
    usage: TokenUsage = TokenUsage()


class TurnFailed(msgspec.Struct, frozen=True):
    """The work on a prompt failed."""

    error: RequestError
    usage: TokenUsage = TokenUsage()


class PromptInserted(msgspec.Struct, frozen=True):
    """The agent took the prompt into its session, as that message; the work is yet to come."""

    message_id: str


class PromptRefused(msgspec.Struct, frozen=True):
    """The prompt never became part of the session."""

    error: RequestError


class StateSeen(msgspec.Struct, frozen=True):
    """What the agent is doing (07 4.1).

    :param state: ``idle``, ``running``, ``requires_action``, or any other token, which is busy.
    :param background: ids of work that goes on beside it; ``None`` when it was not reported.
    :param end: how the work ended; with ``idle`` only.
    """

    state: str
    background: tuple[str, ...] | None
    end: TurnEnded | TurnFailed


Report: TypeAlias = (
    TextAdded
    | UserChunk
    | MessageSet
    | ToolChanged
    | TerminalChanged
    | PlanChanged
    | UsageSeen
    | OptionsChanged
    | SessionNoted
)
"""What may become events."""
Update: TypeAlias = Report | StateSeen | Unreadable
"""One ``session/update``."""
PromptOutcome: TypeAlias = TurnEnded | TurnFailed | PromptInserted | PromptRefused
"""What the answer to a prompt means, which depends on the version."""
