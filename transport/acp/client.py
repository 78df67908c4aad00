"""The ACP client of one agent process, without any I/O: bytes and calls in, outputs and bytes out.

The calls a host makes, what each of them needs, and that after the connection is lost nothing
happens any more; all else is done by the parts behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...actors.errors import OperationUnavailableError, RequestError, SessionValueError
from ...actors.model.agent import ApproveRequest, Caps
from .dispatch import Dispatch
from .lines import LineSplitter
from .options import FRAME_BYTES_MAX, ClientOpts
from .outputs import Output
from .session_calls import SessionCalls


class AcpClient:
    """Talk to one agent process over ACP.

    After every call: write what ``data_to_send`` returns, then act on the outputs in order.
    Nothing here blocks, reads a clock or raises for what an agent does.

    :param opts: how to talk to it.
    """

    def __init__(self, opts: ClientOpts) -> None:
        self._lines = LineSplitter()
        self._parts = Dispatch(opts)
        self._started = False

    @property
    def caps(self) -> Caps:
        """What the agent can do; replaced when the agent changes its options."""
        return self._parts.starting.handshake.caps

    @property
    def acp_session_id(self) -> str:
        """The agent's id of the session; blank before it is known."""
        return self._parts.starting.handshake.acp_session_id

    @property
    def turn_id(self) -> str:
        """The open turn, be its prompt taken yet or not; or blank."""
        turn = self._parts.conversation.current
        return turn.turn_id if turn else ""

    # ---- bytes

    def receive_data(self, data: bytes) -> list[Output]:
        """Take bytes from the agent. Whole, split or byte-wise: the same happens.

        After the connection was lost or the start has failed nothing is taken.
        """
        if not self._parts.connection.closed:
            self._parts.receive(self._lines.feed(data))
            if self._lines.overflowed:
                self._parts.disconnect(f"line of {FRAME_BYTES_MAX} bytes or more")
        return self._parts.outbox.drain()

    def receive_eof(self, cause: str) -> list[Output]:
        """The pipe or the process is gone. Only the first call does anything.

        :param cause: for people; part of every failure that comes of it.
        """
        if not self._parts.connection.closed:
            self._parts.receive(self._lines.finish())
            self._parts.disconnect(cause)
        return self._parts.outbox.drain()

    def data_to_send(self) -> bytes:
        """The bytes to write now, each returned once; ``b""`` when there are none."""
        return self._parts.connection.data_to_send()

    # ---- calls

    def start(self) -> list[Output]:
        """Begin the handshake; ends in one ``Ready`` or one ``StartFailed``.

        :raises OperationUnavailableError: it was begun before.
        """
        if self._started:
            raise OperationUnavailableError("already started", operation="start")
        self._started = True
        self._parts.starting.begin()
        return self._parts.outbox.drain()

    def prompt(self, turn_id: str, text: str, meta: Mapping[str, Any]) -> list[Output]:
        """Open a turn and send its prompt.

        :raises SessionValueError: blank turn id or text.
        :raises PromptInProgressError: a turn is open.
        :raises OperationUnavailableError: not ready, stopping or disconnected.
        """
        _require(turn_id=turn_id, text=text)
        self._require_ready("prompt")
        self._parts.conversation.prompt(turn_id, text, meta)
        return self._parts.outbox.drain()

    def cancel(self) -> list[Output]:
        """Ask the agent to end the open turn, once; it closes by its answer or the grace (D27).

        Pending permissions are answered ``cancelled`` at once. Without a turn only the
        notification is sent, without a session nothing.
        """
        if self._parts.is_usable:
            self._parts.conversation.cancel()
        return self._parts.outbox.drain()

    def steer(self, steer_id: str, text: str) -> list[Output]:
        """Send text into the open turn; ends in one ``SteerAnswered``.

        :raises SessionValueError: blank id or text.
        :raises OperationUnavailableError: the agent does not offer steering, or is not ready, or
            too many messages wait for their answer.
        """
        _require(steer_id=steer_id, text=text)
        self._require_ready("steer")
        if not self.caps.supports_steering:
            raise OperationUnavailableError("the agent can not be steered", operation="steer")
        self._parts.conversation.steer(steer_id, text)
        return self._parts.outbox.drain()

    def resolve_permission(self, request: ApproveRequest) -> list[Output]:
        """Answer a pending permission request (04 6.4).

        :raises SessionValueError: no such decision, or neither id given.
        :raises PendingPermissionNotFoundError: nothing of that id is pending.
        :raises PendingPermissionConflictError: several requests of the turn are.
        :raises InvalidPermissionDecisionError: the agent did not offer it; it stays pending.
        """
        self._parts.calls.resolve(request)
        return self._parts.outbox.drain()

    def answer(self, key: int, result: Any) -> list[Output]:
        """Answer a ``ClientCallAsked``; a key that is not open any more is ignored."""
        self._parts.calls.client.answer(key, result)
        return self._parts.outbox.drain()

    def answer_error(self, key: int, error: RequestError) -> list[Output]:
        """Refuse a ``ClientCallAsked``; a key that is not open any more is ignored."""
        self._parts.calls.client.answer_error(key, error)
        return self._parts.outbox.drain()

    def intercepted(
        self, key: int, patched: Any = None, error: Exception | None = None
    ) -> list[Output]:
        """What the gateway says to an ``InterceptAsked``; a key not open any more is ignored.

        :param patched: the input to use instead; a permission request takes no other (04 6.2).
        :param error: why it refuses: ``PermissionDeniedError``, or a failure of its own.
        """
        self._parts.calls.intercepted(key, patched, error)
        return self._parts.outbox.drain()

    def answer_elicitation(
        self, key: int, action: str, content: dict[str, Any] | None = None
    ) -> list[Output]:
        """Answer an ``ElicitationAsked``; a key that is not open any more is ignored.

        :param action: ``accept``, ``decline`` or ``cancel``.
        :param content: of a form that is accepted.
        :raises SessionValueError: no such action.
        """
        self._parts.calls.questions.answer(key, action, content)
        return self._parts.outbox.drain()

    def about_sessions(self) -> SessionCalls:
        """Requests beside the conversation; each returns the id of its ``SessionAnswered``.

        Take :meth:`drained` after each.

        :raises OperationUnavailableError: not ready, stopping or disconnected.
        """
        self._require_ready("about_sessions")
        return self._parts.sessions

    def drained(self) -> list[Output]:
        """The outputs of calls that return something else."""
        return self._parts.outbox.drain()

    def stop_tool(self, tool_call_id: str) -> list[Output]:
        """Ask a v2 agent to end one tool call of the open turn; others can not be asked.

        :raises OperationUnavailableError: the agent does not offer it for that call.
        """
        self._require_ready("stop_tool")
        self._parts.conversation.turns.stop_tool(tool_call_id)
        return self._parts.outbox.drain()

    def stop_terminal(self, terminal_id: str) -> list[Output]:
        """As :meth:`stop_tool`, for a terminal of the agent's own."""
        self._require_ready("stop_terminal")
        self._parts.conversation.turns.stop_terminal(terminal_id)
        return self._parts.outbox.drain()

    def terminal_text(self, terminal_id: str) -> str:
        """The last 64 KiB of what a terminal of the agent's own wrote; blank for no such."""
        terminal = self._parts.conversation.turns.reports.terminal(terminal_id)
        return terminal.tail if terminal else ""

    def timer_fired(self, name: str) -> list[Output]:
        """A timer ran out; one that was cancelled meanwhile does nothing."""
        if self._parts.outbox.fired(name):
            self._parts.timer_fired(name)
        return self._parts.outbox.drain()

    def stop_requested(self) -> list[Output]:
        """The process will be stopped: cancel and close the session (04 7.2, D30).

        From now on an error that only says so ends a turn without a terminal event. One
        ``SessionClosed`` follows, at once where there is nothing to wait for.
        """
        if not self._parts.stopping:
            self._parts.stop()
        return self._parts.outbox.drain()

    def _require_ready(self, operation: str) -> None:
        if not self._parts.is_usable:
            raise OperationUnavailableError("the agent is not ready", operation=operation)


def _require(**members: str) -> None:
    for name, value in members.items():
        if not value.strip():
            raise SessionValueError(f"{name} is blank", field=name)
