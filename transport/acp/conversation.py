"""The turns of a ready session: prompt, updates, cancel, steering, end (04 4, 7.1; 07 9, 10).

At most one turn is open; its content never reaches another. A prompt that was given up on is an
orphan: until it is answered, or the next prompt is sent, what comes is nobody's (D27).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...actors.errors import OperationUnavailableError, PromptInProgressError, RequestError
from . import codec_v1, jsonrpc
from .agent_calls import AgentCalls
from .connection import Connection
from .failures import is_suppressible
from .inputs import ToolChanged, Unreadable, Update
from .jsonrpc import Response, decode_value, rpc_error
from .options import STEERS_PENDING_MAX, ClientOpts
from .outbox import Outbox
from .outputs import SteerAnswered, TurnClosed
from .turn import Turn, cancel_was_refused, fact_event
from .updates import decode_usage

GRACE = "cancel_grace"
SETTLE = "settle"
SETTLE_MAX = "settle_max"
TURN_TIMERS = (GRACE, SETTLE, SETTLE_MAX)


@dataclass(frozen=True, slots=True)
class PromptCall:
    """The prompt of a turn waits for its answer."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class SteerCall:
    """A steering message waits for its answer."""

    steer_id: str


class Conversation:
    """The turns of one session, one after the other.

    :param opts: limits, and the system prompt.
    :param connection: where prompts are sent.
    :param outbox: takes events and ends.
    :param calls: the agent's requests, some of which end with the turn.
    """

    def __init__(
        self, opts: ClientOpts, connection: Connection[Any], outbox: Outbox, calls: AgentCalls
    ) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._calls = calls
        self.session_id = ""
        self.turn: Turn | None = None
        self.stopping = False
        self._system_prompt_due = bool(opts.system_prompt.strip())
        self._turns = 0
        self._steers: dict[str, int] = {}
        self._drop_logged = False

    # ---- a turn begins

    def prompt(self, turn_id: str, text: str, meta: Mapping[str, Any]) -> None:
        """Send a prompt.

        :raises PromptInProgressError: a turn is open.
        """
        if self.turn is not None:
            raise PromptInProgressError(f"prompt already in progress: {self.turn.turn_id}")
        message = text.strip()
        sent, sent_meta = message, meta
        if self._system_prompt_due:
            sent, sent_meta = codec_v1.first_prompt(self._opts, message, meta)
        self.turn = turn = Turn(turn_id, self.session_id, (sent, message))
        self._turns += 1
        self._drop_logged = False
        self._calls.network_turn = meta.get("turn_source") == "network"
        params = codec_v1.prompt_params(self.session_id, sent, sent_meta)
        try:
            self._connection.request(codec_v1.SESSION_PROMPT, params, PromptCall(turn))
        except RequestError as error:
            self._fail(turn, error)
        else:
            # Only a prompt that was sent has delivered it (D12).
            self._system_prompt_due = False

    # ---- reports

    def take(self, update: Update) -> None:
        """An update of this session."""
        if isinstance(update, Unreadable):
            self._outbox.log("warning", update.reason)
            return
        if isinstance(update, ToolChanged) and update.final:
            self._calls.tool_finished(update.tool_call_id)
        events = self._outbox.events
        turn = self.turn
        if turn is None:
            fact = fact_event(update, self.session_id)
            if fact is not None:
                events.append(fact)
            elif not self._drop_logged:
                self._drop_logged = True
                self._outbox.log("info", "content outside a turn dropped")
            return
        before = len(events)
        turn.take(update, events)
        if not turn.is_open and len(events) > before:
            self._outbox.arm(self._timer(SETTLE), self._opts.settle_s)

    # ---- steering

    def steer(self, steer_id: str, text: str) -> None:
        """Send text into the turn.

        :raises OperationUnavailableError: too many such messages are unanswered.
        """
        if len(self._steers) >= STEERS_PENDING_MAX or steer_id in self._steers:
            raise OperationUnavailableError("too many unanswered steering messages")
        params = codec_v1.steering_params(self.session_id, text.strip())
        try:
            request_id = self._connection.request(codec_v1.STEERING, params, SteerCall(steer_id))
        except RequestError as error:
            self._outbox.put(SteerAnswered(steer_id, "failed", error))
        else:
            self._steers[steer_id] = request_id

    def steer_answered(self, steer_id: str, response: Response) -> None:
        """The agent took it, refused it, or is gone."""
        if self._steers.pop(steer_id, None) is None:
            return  # given up on with its turn
        outcome, error = "", response.error
        if error is None:
            outcome = codec_v1.decode_steering(decode_value(response.result))
            if not outcome:
                error = rpc_error(jsonrpc.INTERNAL_ERROR, "the answer is no steering outcome")
        self._outbox.put(SteerAnswered(steer_id, outcome or "failed", error))

    def _give_up_steers(self) -> None:
        """The answer to a steering message is awaited as long as the turn runs (D18)."""
        error = rpc_error(jsonrpc.REQUEST_CANCELLED, "the turn ended first")
        for steer_id, request_id in self._steers.items():
            self._connection.forget(request_id)
            self._outbox.put(SteerAnswered(steer_id, "failed", error))
        self._steers.clear()

    # ---- a turn ends

    def cancel(self) -> None:
        """Ask the agent to end the turn; its answer ends it, or the grace (D27)."""
        turn = self.turn
        if turn is None:
            self._send_cancel()
        elif turn.is_open and not turn.cancel_sent:
            turn.cancel_sent = True
            self._send_cancel()
            self._calls.cancel_permissions()
            self._outbox.arm(self._timer(GRACE), self._opts.cancel_grace_s)

    def stop(self) -> None:
        """As cancel, but the process will not be waited for."""
        self.stopping = True
        turn = self.turn
        if turn is None or not turn.cancel_sent:
            self._send_cancel()
        if turn is not None:
            turn.cancel_sent = True
            self._outbox.disarm(self._timer(GRACE))
        self._calls.cancel_permissions()

    def _send_cancel(self) -> None:
        self._connection.notify(codec_v1.SESSION_CANCEL, {"sessionId": self.session_id})

    def prompt_answered(self, turn: Turn, response: Response) -> None:
        """The answer to a prompt, or the news that there will be none."""
        if turn is not self.turn:
            self._outbox.log("info", f"late answer to the prompt of turn {turn.turn_id} dropped")
            return
        self._calls.cancel_permissions()
        if response.error is not None:
            self._fail(turn, response.error)
            return
        stop_reason, usage = codec_v1.decode_stop(decode_value(response.result))
        turn.answered(stop_reason, decode_usage(usage))
        self._outbox.disarm(self._timer(GRACE))
        if self._opts.settle_s <= 0:
            self._finish(turn)
            return
        self._outbox.arm(self._timer(SETTLE), self._opts.settle_s)
        self._outbox.arm(self._timer(SETTLE_MAX), 2 * self._opts.settle_s)

    def timer_fired(self, name: str) -> None:
        """The grace of a cancel is over, or the turn has settled."""
        turn = self.turn
        assert turn is not None, "timers of a turn end with it"
        if name == self._timer(GRACE):
            self._calls.cancel_permissions()
            turn.abandon(self._outbox.events)
            self._close(turn, suspect=True)
        else:
            self._finish(turn)

    def settle(self) -> None:
        """Nothing more will come: a turn that was answered ends now."""
        if self.turn is not None and not self.turn.is_open:
            self._finish(self.turn)

    def _finish(self, turn: Turn) -> None:
        turn.finish(self._outbox.events)
        self._close(turn, turn.suspect)

    def _fail(self, turn: Turn, error: RequestError) -> None:
        suspect = turn.cancel_sent and cancel_was_refused(error)
        if self.stopping and is_suppressible(error):
            turn.close(self._outbox.events)
        else:
            turn.fail(error, self._outbox.events)
        self._close(turn, suspect)

    def _close(self, turn: Turn, suspect: bool) -> None:
        for name in TURN_TIMERS:
            self._outbox.disarm(self._timer(name))
        self._give_up_steers()
        self._calls.turn_over()
        self.turn = None
        self._outbox.put(TurnClosed(turn.turn_id, suspect))

    def _timer(self, name: str) -> str:
        """Timers carry the number of their turn: one that fires late hits no other."""
        return f"{name}:{self._turns}"
