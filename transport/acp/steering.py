"""Text sent into a running turn, and what the agent says of it (07 9.1; D18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...actors.errors import OperationUnavailableError, RequestError
from . import codec, jsonrpc, methods
from .connection import Connection
from .jsonrpc import Response, decode_value, rpc_error
from .options import STEERS_PENDING_MAX, ClientOpts
from .outbox import Outbox
from .outputs import SteerAnswered

NEW_TURN = "new_turn"


@dataclass(frozen=True, slots=True)
class SteerCall:
    """A steering message waits for its answer."""

    steer_id: str


class Steering:
    """The steering messages of one session.

    A message whose turn ended first is reported as failed. Its answer is still read, for it may
    say that the agent made a turn of it.
    """

    def __init__(self, opts: ClientOpts, connection: Connection[Any], outbox: Outbox) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._pending: dict[str, tuple[int, SteerCall]] = {}
        self._given_up: dict[int, SteerCall] = {}

    def send(self, session_id: str, steer_id: str, text: str) -> None:
        """Send text into the turn.

        :raises OperationUnavailableError: too many such messages are unanswered.
        """
        if len(self._pending) >= STEERS_PENDING_MAX or steer_id in self._pending:
            raise OperationUnavailableError("too many unanswered steering messages")
        params = codec.steering_params(self._opts, session_id, text.strip())
        call = SteerCall(steer_id)
        try:
            request_id = self._connection.request(methods.STEERING, params, call)
        except RequestError as error:
            self._outbox.put(SteerAnswered(steer_id, "failed", error))
        else:
            self._pending[steer_id] = request_id, call

    def answered(self, call: SteerCall, response: Response) -> bool:
        """The agent took it, refused it, or is gone; whether it began a turn with it."""
        outcome, error = "", response.error
        if error is None:
            outcome = codec.decode_steering(decode_value(response.result))
            if not outcome:
                error = rpc_error(jsonrpc.INTERNAL_ERROR, "the answer is no steering outcome")
        stale = [number for number, given_up in self._given_up.items() if given_up is call]
        if stale:
            del self._given_up[stale[0]]
        else:
            del self._pending[call.steer_id]
            self._outbox.put(SteerAnswered(call.steer_id, outcome or "failed", error))
        return outcome == NEW_TURN

    def give_up(self) -> None:
        """The answer to a steering message is awaited as long as the turn runs (D18)."""
        error = rpc_error(jsonrpc.REQUEST_CANCELLED, "the turn ended first")
        for steer_id, (request_id, call) in self._pending.items():
            self._given_up[request_id] = call
            self._outbox.put(SteerAnswered(steer_id, "failed", error))
        self._pending.clear()
        while len(self._given_up) > STEERS_PENDING_MAX:
            oldest = next(iter(self._given_up))
            del self._given_up[oldest]
            self._connection.forget(oldest)
