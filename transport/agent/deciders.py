"""What a host may decide for an agent: tool calls before they are served, answers to questions.

Pure vocabulary (04 5.6; 07 R28). Both are asked in a greenlet of the hub, one for each request, and
may block it; the context ends when the answer is not wanted any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ..acp.outputs import ElicitationAsked
from .context import CallContext


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call before any side effect of it.

    :param tool_id: ``Read``, ``Write``, ``Bash`` or a name of the agent's.
    :param input: as JSON values.
    :param turn_id: the turn it belongs to, or blank.
    """

    tool_id: str
    read_only: bool
    input: Any
    turn_id: str = ""


@runtime_checkable
class ToolExecutionGateway(Protocol):
    """Looks at every tool call that comes through us (04 5.6)."""

    def intercept(self, ctx: CallContext, request: ToolRequest) -> ToolRequest | None:
        """The request to serve; ``None`` means as it came.

        Only the input may be changed, and not that of a permission request.

        :raises PermissionDeniedError: it must not be served. Any other error refuses it too.
        """
        ...


@runtime_checkable
class ToolCallObserver(Protocol):
    """A gateway that is also told what came of the calls it let through; optional."""

    def served(self, request: ToolRequest, result: Any, error: Exception | None) -> None:
        """A file or terminal call was served, or failed with ``error``; must not block.

        :param result: what the agent was answered.
        """
        ...


@dataclass(frozen=True, slots=True)
class ElicitationAnswer:
    """An answer to a question of the agent.

    :param action: ``accept``, ``decline`` or ``cancel``.
    :param content: of a form that is accepted.
    """

    action: str
    content: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class ElicitationAnswerer(Protocol):
    """Answers the questions of agents (07 R28); without one every question is declined."""

    def answer(self, ctx: CallContext, asked: ElicitationAsked) -> ElicitationAnswer:
        """The answer; an error is taken as ``cancel``."""
        ...

    def ended(self, asked: ElicitationAsked, why: str) -> None:
        """A question needs no answer any more, or what an accepted link leads to was done.

        Must not block.

        :param why: ``completed``, ``withdrawn``, ``canceled`` or ``timed_out``.
        """
        ...
