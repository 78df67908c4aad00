"""Whom a message of the agent is for, and what happens when it stops or is gone (04 3, 7.2, 11).

It holds the parts of one client together; the rules are theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...actors.errors import AgentError, RequestError
from . import agent_calls, elicitation, gateway, jsonrpc, methods
from .agent_calls import AgentCalls
from .connection import Connection, InboundCall
from .conversation import Conversation, PromptCall
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
from .options import LOG_TEXT_MAX, ClientOpts
from .outbox import Outbox
from .outputs import Disconnected, NoticeSeen, SessionClosed
from .session_calls import SessionCall, SessionCalls
from .starting import REPLAY_MAX, REPLAY_SILENCE, STEP, Starting, StepCall
from .steering import SteerCall
from .text_lines import decode_text_line
from .turns import StopCall

NO_ID: Id = None


@dataclass(frozen=True, slots=True)
class CloseCall:
    """``session/close`` waits for its answer."""


class Dispatch:
    """The parts of one client, and the ways between them.

    :param opts: how to talk to the agent.
    """

    def __init__(self, opts: ClientOpts) -> None:
        self.connection: Connection[Any] = Connection()
        self.outbox = Outbox()
        self.starting = Starting(opts, self.connection, self.outbox)
        self.calls = AgentCalls(opts, self.connection, self.outbox)
        self.conversation = Conversation(opts, self.connection, self.outbox, self.calls)
        handshake = self.starting.handshake
        self.sessions = SessionCalls(opts, self.connection, self.outbox, handshake)
        self.stopping = False
        self._session_closed = False

    @property
    def is_usable(self) -> bool:
        """Whether the session is ready and nothing ends it."""
        return self.starting.ready and not self.stopping and not self.connection.closed

    # ---- messages

    def receive(self, lines: list[bytes]) -> None:
        """Lines of the agent, in order."""
        says = self._teller()
        for line in lines:
            if says is not None and says(line):
                continue
            if self.starting.failed:
                return
            self._dispatch(jsonrpc.decode(line))
            says = self._teller()

    def _teller(self) -> Callable[[bytes], bool] | None:
        """While text is just one more event: takes a line that only adds some, and says so.

        The same as :meth:`_dispatch` does with it, without the questions whose answers are known.
        """
        turn, handshake = self.conversation.turns.streaming, self.starting.handshake
        if turn is None:
            return None
        say, events = turn.say, self.outbox.events
        session_id, text_key = handshake.acp_session_id, handshake.codec.text_key

        def says(line: bytes) -> bool:
            chunk = decode_text_line(line)
            if chunk is None or chunk.session_id != session_id:
                return False
            key = text_key(chunk)
            if key is None:
                return False
            say(key, chunk, events)
            return True

        return says

    def _dispatch(self, message: Message) -> None:
        match message:
            case UpdateSeen():
                self._update(message)
            case Response():
                purpose = self.connection.take_response(message)
                self._answered(purpose, message)
            case Request():
                self._request(message)
            case Notification():
                self._notification(message)
            case BadRequest(raw_id, error):
                self.connection.refuse(raw_id, error)
            case _:
                self.outbox.log("warning", f"line skipped: {message.reason}")

    def _update(self, seen: UpdateSeen) -> None:
        if not self.starting.ready:
            self.starting.take(seen)
        elif seen.session_id != self.starting.handshake.acp_session_id:
            if self.conversation.turns.reports.is_child(seen.session_id):
                self.conversation.take_child(seen.update)
            else:
                self.outbox.log("info", f"update for session {seen.session_id!r} dropped")
        else:
            update = self.starting.handshake.codec.decode_update(seen.update)
            if isinstance(update, OptionsChanged):
                self.starting.handshake.replace_options(update.options)
            self.conversation.take(update)

    def _answered(self, purpose: Any, response: Response) -> None:
        match purpose:
            case StepCall():
                answer = Answer(decode_value(response.result), response.error)
                self.starting.answered(purpose, answer)
                self._after_step()
            case PromptCall(turn):
                self.conversation.prompt_answered(turn, response)
            case SteerCall():
                self.conversation.steer_answered(purpose, response)
            case SessionCall():
                self.sessions.answered(purpose, response)
            case CloseCall():
                self._put_session_closed()
            case StopCall():
                pass  # what comes of it comes as a report
            case _:
                self.outbox.log("info", f"answer with unknown id {response.id!r} ignored")

    def _after_step(self) -> None:
        handshake = self.starting.handshake
        self.calls.codec = handshake.codec
        if self.starting.ready:
            self.conversation.ready(handshake.codec, handshake.acp_session_id)
            self.calls.ready = not self.stopping
            state, self.starting.state = self.starting.state, None
            if state is not None:
                self.conversation.take(state)

    def _request(self, request: Request) -> None:
        call = self.connection.take_request(request)
        if call is None:
            return
        if call.method == methods.SESSION_UPDATE:
            seen = decode_update_params(call.params)
            if seen is None:
                refusal = rpc_error(jsonrpc.INVALID_PARAMS, "no update")
                self.connection.answer_error(call.key, refusal)
                return
            self._update(seen)
            self.connection.answer(call.key, None)
        elif not self.conversation.postpone(lambda: self._serve(call)):
            self._serve(call)

    def _serve(self, call: InboundCall) -> None:
        self.calls.serve(call, self.conversation.turns.open)

    def _notification(self, notification: Notification) -> None:
        match notification.method:
            case methods.CANCEL_REQUEST:
                self.calls.withdraw(notification.params)
            case methods.ELICITATION_COMPLETE:
                self.calls.questions.completed(notification.params)
            case methods.SESSION_UPDATE:
                self.outbox.log("warning", "update without sessionId or update")
            case method:
                if not method.startswith("_"):
                    self.outbox.log("info", f"notification {method!r} ignored")
                self.outbox.put(NoticeSeen(method[:LOG_TEXT_MAX]))

    # ---- time

    def timer_fired(self, name: str) -> None:
        """A timer that was still wanted ran out."""
        if name.startswith(agent_calls.TIMER):
            self.calls.timer_fired(name)
        elif name.startswith(elicitation.TIMER):
            self.calls.questions.timer_fired(name)
        elif name.startswith(gateway.TIMER):
            self.calls.precheck_over(name)
        elif name.startswith(STEP) or name in (REPLAY_SILENCE, REPLAY_MAX):
            self.starting.timer_fired(name)
            self._after_step()
        else:
            self.conversation.timer_fired(name)

    # ---- the end

    def disconnect(self, cause: str) -> None:
        """Nothing more will be read or written."""
        waiting, _ = self.connection.disconnect()
        error = rpc_error(jsonrpc.INTERNAL_ERROR, jsonrpc.PEER_GONE)
        error.__cause__ = AgentError(cause)
        self.calls.disconnected()
        # A prompt that was answered before the end is done, not failed.
        self.conversation.settle()
        self.starting.disconnected(error)
        for purpose in waiting:
            self._answered(purpose, Response(NO_ID, b"null", error))
        self.conversation.disconnected(error)
        self._put_session_closed()
        self.outbox.disarm_all()
        self.outbox.put(Disconnected(cause))

    def stop(self) -> None:
        """The process will be stopped."""
        self.stopping = True
        self.conversation.turns.stopping = True
        if self.starting.ready and not self.connection.closed:
            self.conversation.stop()
            self.calls.ready = False
            if self.starting.handshake.caps.supports_close_session and self._send_close():
                return
        self._put_session_closed()

    def _send_close(self) -> bool:
        try:
            params = {"sessionId": self.starting.handshake.acp_session_id}
            self.connection.request(methods.SESSION_CLOSE, params, CloseCall())
        except RequestError:
            return False  # an agent may call its session by a name too long to repeat
        return True

    def _put_session_closed(self) -> None:
        if self.stopping and not self._session_closed:
            self._session_closed = True
            self.outbox.put(SessionClosed())
