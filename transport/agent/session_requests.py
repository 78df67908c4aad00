"""Requests to the agent about its sessions, beside the conversation (07 3)."""

from __future__ import annotations

from gevent.event import AsyncResult

from ...actors.errors import SessionValueError
from ..acp.outputs import SessionAnswered
from .link import Link

OPERATIONS = frozenset(
    {
        "list_sessions",
        "delete_session",
        "fork_session",
        "set_title",
        "log_in",
        "log_out",
        "set_mode",
        "set_model",
        "set_effort",
        "set_option",
    }
)


class SessionRequests:
    """Those that wait for their answer; each gets one, also when the agent is gone. In the hub.

    :param link: what the requests go through.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: dict[int, AsyncResult[SessionAnswered]] = {}

    def send(self, operation: str, *arguments: str) -> AsyncResult[SessionAnswered]:
        """Send one; raises what the method of that name of ``SessionCalls`` raises.

        :raises SessionValueError: there is no such operation.
        """
        if operation not in OPERATIONS:
            raise SessionValueError(f'no request is named "{operation}"', field="operation")
        client = self._link.client
        call_id: int = getattr(client.about_sessions(), operation)(*arguments)
        answer = self._waiting[call_id] = AsyncResult()
        self._link.act(client.drained())
        return answer

    def answered(self, answer: SessionAnswered) -> None:
        """The agent's word."""
        waiting = self._waiting.pop(answer.call_id, None)
        if waiting is not None:
            waiting.set(answer)
