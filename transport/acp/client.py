"""The ACP client of one agent process, without any I/O: bytes and calls in, outputs and bytes out.

It composes the codec, the connection, the handshake, the turn machine and the permission table,
and owns none of their rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...actors.errors import RequestError
from ...actors.model.agent import ApproveRequest, Caps
from .options import ClientOpts
from .outputs import Output


class AcpClient:
    """Talk to one agent process over ACP.

    After every call: write what ``data_to_send`` returns, then act on the outputs in order.
    Nothing here blocks, reads a clock or raises for what an agent does.

    :param opts: how to talk to it.
    """

    caps: Caps
    """What the agent can do; replaced when the agent changes its options."""
    acp_session_id: str
    """The agent's id of the session; blank before it is known."""
    turn_id: str
    """The open turn, or blank."""

    def __init__(self, opts: ClientOpts) -> None:
        self.caps = Caps()
        self.acp_session_id = ""
        self.turn_id = ""
        self._opts = opts

    def start(self) -> list[Output]:
        """Begin the handshake; ends in one ``Ready`` or one ``StartFailed``."""
        raise NotImplementedError

    def receive_data(self, data: bytes) -> list[Output]:
        """Take bytes from the agent. Whole, split or byte-wise: the same happens."""
        raise NotImplementedError

    def receive_eof(self, cause: str) -> list[Output]:
        """The pipe or the process is gone. Only the first call does anything."""
        raise NotImplementedError

    def data_to_send(self) -> bytes:
        """The bytes to write now, each returned once; ``b""`` when there are none."""
        raise NotImplementedError

    def prompt(self, turn_id: str, text: str, meta: Mapping[str, Any]) -> list[Output]:
        """Open a turn and send its prompt.

        :raises SessionValueError: blank turn id or text.
        :raises PromptInProgressError: a turn is open.
        :raises OperationUnavailableError: not ready, stopping or disconnected.
        """
        raise NotImplementedError

    def cancel(self) -> list[Output]:
        """Ask the agent to end the open turn, once; it closes by its answer or the grace (D27).

        Pending permissions are answered ``cancelled`` at once. Without a turn: only the
        notification is sent.
        """
        raise NotImplementedError

    def steer(self, steer_id: str, text: str) -> list[Output]:
        """Send text into the open turn; ends in one ``SteerAnswered``.

        :raises SessionValueError: blank id or text.
        :raises OperationUnavailableError: the agent does not offer steering, or is not ready.
        """
        raise NotImplementedError

    def resolve_permission(self, request: ApproveRequest) -> list[Output]:
        """Answer a pending permission request (04 6.4).

        :raises SessionValueError: no such decision, or neither id given.
        :raises PendingPermissionNotFoundError: nothing of that id is pending.
        :raises PendingPermissionConflictError: several requests of the turn are.
        :raises InvalidPermissionDecisionError: the agent did not offer it; it stays pending.
        """
        raise NotImplementedError

    def answer(self, key: int, result: Any) -> list[Output]:
        """Answer a ``ClientCallAsked``; a key that is not open any more is ignored."""
        raise NotImplementedError

    def answer_error(self, key: int, error: RequestError) -> list[Output]:
        """Refuse a ``ClientCallAsked``; a key that is not open any more is ignored."""
        raise NotImplementedError

    def timer_fired(self, name: str) -> list[Output]:
        """A timer ran out; one that was cancelled or replaced meanwhile does nothing."""
        raise NotImplementedError

    def stop_requested(self) -> list[Output]:
        """The process will be stopped: cancel and close the session, end turns silently."""
        raise NotImplementedError
