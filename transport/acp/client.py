"""The ACP client of one agent process, without any I/O: bytes and calls in, outputs and bytes out.

It composes lines, connection, handshake, conversation and the agent's requests, and owns only what
lies between them: which of them a message belongs to, and that after the connection is lost nothing
happens any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...actors.errors import (
    AgentError,
    OperationUnavailableError,
    RequestError,
    SessionValueError,
)
from ...actors.model.agent import ApproveRequest, Caps
from . import codec_v1, jsonrpc
from .agent_calls import TIMER as PERMISSION
from .agent_calls import AgentCalls
from .connection import Connection
from .conversation import Conversation, PromptCall, SteerCall
from .handshake import Answer
from .inputs import OptionsChanged
from .jsonrpc import (
    BadRequest,
    Id,
    Message,
    Notification,
    Request,
    Response,
    UpdateSeen,
    decode_update_params,
    decode_value,
    rpc_error,
)
from .lines import LineSplitter
from .options import FRAME_BYTES_MAX, ClientOpts
from .outbox import Outbox
from .outputs import Disconnected, Output, SessionClosed
from .starting import REPLAY_MAX, REPLAY_SILENCE, STEP, Starting, StepCall
from .updates import decode_update

NO_ID: Id = None


@dataclass(frozen=True, slots=True)
class CloseCall:
    """``session/close`` waits for its answer."""


class AcpClient:
    """Talk to one agent process over ACP.

    After every call: write what ``data_to_send`` returns, then act on the outputs in order.
    Nothing here blocks, reads a clock or raises for what an agent does.

    :param opts: how to talk to it.
    """

    def __init__(self, opts: ClientOpts) -> None:
        self._lines = LineSplitter()
        self._connection: Connection[Any] = Connection()
        self._outbox = Outbox()
        self._starting = Starting(opts, self._connection, self._outbox)
        self._calls = AgentCalls(opts, self._connection, self._outbox)
        self._conversation = Conversation(opts, self._connection, self._outbox, self._calls)
        self._started = False
        self._stopping = False
        self._session_closed = False

    @property
    def caps(self) -> Caps:
        """What the agent can do; replaced when the agent changes its options."""
        return self._starting.handshake.caps

    @property
    def acp_session_id(self) -> str:
        """The agent's id of the session; blank before it is known."""
        return self._starting.handshake.acp_session_id

    @property
    def turn_id(self) -> str:
        """The open turn, or blank."""
        turn = self._conversation.turn
        return turn.turn_id if turn else ""

    # ---- bytes

    def receive_data(self, data: bytes) -> list[Output]:
        """Take bytes from the agent. Whole, split or byte-wise: the same happens.

        After the connection was lost or the start has failed nothing is taken.
        """
        if not self._connection.closed:
            self._receive(self._lines.feed(data))
            if self._lines.overflowed:
                self._disconnect(f"line of {FRAME_BYTES_MAX} bytes or more")
        return self._outbox.drain()

    def receive_eof(self, cause: str) -> list[Output]:
        """The pipe or the process is gone. Only the first call does anything.

        :param cause: for people; part of every failure that comes of it.
        """
        if not self._connection.closed:
            self._receive(self._lines.finish())
            self._disconnect(cause)
        return self._outbox.drain()

    def data_to_send(self) -> bytes:
        """The bytes to write now, each returned once; ``b""`` when there are none."""
        return self._connection.data_to_send()

    # ---- calls

    def start(self) -> list[Output]:
        """Begin the handshake; ends in one ``Ready`` or one ``StartFailed``.

        :raises OperationUnavailableError: it was begun before.
        """
        if self._started:
            raise OperationUnavailableError("already started", operation="start")
        self._started = True
        self._starting.begin()
        return self._outbox.drain()

    def prompt(self, turn_id: str, text: str, meta: Mapping[str, Any]) -> list[Output]:
        """Open a turn and send its prompt.

        :raises SessionValueError: blank turn id or text.
        :raises PromptInProgressError: a turn is open.
        :raises OperationUnavailableError: not ready, stopping or disconnected.
        """
        _require(turn_id=turn_id, text=text)
        self._require_ready("prompt")
        self._conversation.prompt(turn_id, text, meta)
        return self._outbox.drain()

    def cancel(self) -> list[Output]:
        """Ask the agent to end the open turn, once; it closes by its answer or the grace (D27).

        Pending permissions are answered ``cancelled`` at once. Without a turn only the
        notification is sent, without a session nothing.
        """
        if self._starting.ready and not self._connection.closed and not self._stopping:
            self._conversation.cancel()
        return self._outbox.drain()

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
        self._conversation.steer(steer_id, text)
        return self._outbox.drain()

    def resolve_permission(self, request: ApproveRequest) -> list[Output]:
        """Answer a pending permission request (04 6.4).

        :raises SessionValueError: no such decision, or neither id given.
        :raises PendingPermissionNotFoundError: nothing of that id is pending.
        :raises PendingPermissionConflictError: several requests of the turn are.
        :raises InvalidPermissionDecisionError: the agent did not offer it; it stays pending.
        """
        self._calls.resolve(request)
        return self._outbox.drain()

    def answer(self, key: int, result: Any) -> list[Output]:
        """Answer a ``ClientCallAsked``; a key that is not open any more is ignored."""
        self._calls.answer(key, result)
        return self._outbox.drain()

    def answer_error(self, key: int, error: RequestError) -> list[Output]:
        """Refuse a ``ClientCallAsked``; a key that is not open any more is ignored."""
        self._calls.answer_error(key, error)
        return self._outbox.drain()

    def timer_fired(self, name: str) -> list[Output]:
        """A timer ran out; one that was cancelled meanwhile does nothing."""
        if self._outbox.fired(name):
            if name.startswith(PERMISSION):
                self._calls.timer_fired(name)
            elif name.startswith(STEP) or name in (REPLAY_SILENCE, REPLAY_MAX):
                self._starting.timer_fired(name)
                self._after_step()
            else:
                self._conversation.timer_fired(name)
        return self._outbox.drain()

    def stop_requested(self) -> list[Output]:
        """The process will be stopped: cancel and close the session (04 7.2, D30).

        From now on an error that only says so ends a turn without a terminal event. One
        ``SessionClosed`` follows, at once where there is nothing to wait for.
        """
        if not self._stopping:
            self._stopping = True
            self._stop()
        return self._outbox.drain()

    def _stop(self) -> None:
        self._conversation.stopping = True
        if self._starting.ready and not self._connection.closed:
            self._conversation.stop()
            self._calls.ready = False
            if self.caps.supports_close_session and self._send_close():
                return
        self._put_session_closed()

    def _send_close(self) -> bool:
        try:
            params = {"sessionId": self.acp_session_id}
            self._connection.request(codec_v1.SESSION_CLOSE, params, CloseCall())
        except RequestError:
            return False  # an agent may call its session by a name too long to repeat
        return True

    def _put_session_closed(self) -> None:
        if self._stopping and not self._session_closed:
            self._session_closed = True
            self._outbox.put(SessionClosed())

    def _require_ready(self, operation: str) -> None:
        if not self._starting.ready or self._stopping or self._connection.closed:
            raise OperationUnavailableError("the agent is not ready", operation=operation)

    # ---- messages

    def _receive(self, lines: list[bytes]) -> None:
        for line in lines:
            if self._starting.failed:
                return
            self._dispatch(jsonrpc.decode(line))

    def _dispatch(self, message: Message) -> None:
        match message:
            case UpdateSeen():
                self._update(message)
            case Response():
                purpose = self._connection.take_response(message)
                self._answered(purpose, message)
            case Request():
                self._request(message)
            case Notification():
                self._notification(message)
            case BadRequest(raw_id, error):
                self._connection.refuse(raw_id, error)
            case _:
                self._outbox.log("warning", f"line skipped: {message.reason}")

    def _update(self, seen: UpdateSeen) -> None:
        if not self._starting.ready:
            self._starting.take(seen)
        elif seen.session_id != self.acp_session_id:
            self._outbox.log("info", f"update for session {seen.session_id!r} dropped")
        else:
            update = decode_update(seen.update)
            if isinstance(update, OptionsChanged):
                self._starting.handshake.replace_options(update.options)
            self._conversation.take(update)

    def _answered(self, purpose: Any, response: Response) -> None:
        match purpose:
            case StepCall():
                answer = Answer(decode_value(response.result), response.error)
                self._starting.answered(purpose, answer)
                self._after_step()
            case PromptCall(turn):
                self._conversation.prompt_answered(turn, response)
            case SteerCall(steer_id):
                self._conversation.steer_answered(steer_id, response)
            case CloseCall():
                self._put_session_closed()
            case _:
                self._outbox.log("info", f"answer with unknown id {response.id!r} ignored")

    def _after_step(self) -> None:
        if self._starting.ready:
            self._conversation.session_id = self.acp_session_id
            self._calls.ready = not self._stopping

    def _request(self, request: Request) -> None:
        call = self._connection.take_request(request)
        if call is None:
            return
        if call.method == codec_v1.SESSION_UPDATE:
            seen = decode_update_params(call.params)
            if seen is None:
                refusal = rpc_error(jsonrpc.INVALID_PARAMS, "no update")
                self._connection.answer_error(call.key, refusal)
                return
            self._update(seen)
            self._connection.answer(call.key, None)
        else:
            self._calls.serve(call, self._conversation.turn)

    def _notification(self, notification: Notification) -> None:
        match notification.method:
            case codec_v1.CANCEL_REQUEST:
                self._calls.withdraw(notification.params)
            case codec_v1.SESSION_UPDATE:
                self._outbox.log("warning", "update without sessionId or update")
            case method if not method.startswith("_"):
                self._outbox.log("info", f"notification {method!r} ignored")

    # ---- the end

    def _disconnect(self, cause: str) -> None:
        waiting, _ = self._connection.disconnect()
        error = rpc_error(jsonrpc.INTERNAL_ERROR, jsonrpc.PEER_GONE)
        error.__cause__ = AgentError(cause)
        self._calls.disconnected()
        # A prompt that was answered before the end is done, not failed.
        self._conversation.settle()
        self._starting.disconnected(error)
        for purpose in waiting:
            self._answered(purpose, Response(NO_ID, b"null", error))
        self._put_session_closed()
        self._outbox.disarm_all()
        self._outbox.put(Disconnected(cause))


def _require(**members: str) -> None:
    for name, value in members.items():
        if not value.strip():
            raise SessionValueError(f"{name} is blank", field=name)
