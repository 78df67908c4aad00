"""The questions of an agent to its user, and their one answer each (07 6, R28)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...actors.errors import SessionValueError
from . import jsonrpc
from .codec import as_object, as_text
from .connection import Connection, InboundCall
from .jsonrpc import decode_object, rpc_error
from .options import ELICITATIONS_MAX, ClientOpts
from .outbox import Outbox
from .outputs import ElicitationAsked, ElicitationDone

TIMER = "elicitation:"
ACTIONS = frozenset({"accept", "decline", "cancel"})
PROPERTY_TYPES = frozenset({"string", "number", "integer", "boolean", "array"})
"""Of a form; one with any other is declined, for nobody could fill it in."""
COMPLETED, WITHDRAWN, CANCELED, TIMED_OUT = "completed", "withdrawn", "canceled", "timed_out"


@dataclass(frozen=True, slots=True)
class _Open:
    call: InboundCall
    asked: ElicitationAsked


class Elicitations:
    """The questions that wait, and the links whose end is still to be told.

    :param opts: whether anybody answers, and how long that may take.
    :param connection: where they are answered.
    :param outbox: takes questions, ends and timers.
    :param changed: called when one begins or ceases to wait.
    """

    def __init__(
        self,
        opts: ClientOpts,
        connection: Connection[Any],
        outbox: Outbox,
        changed: Callable[[], None],
    ) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._changed = changed
        self._open: dict[int, _Open] = {}
        self._links: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, call: InboundCall, turn_id: str, may_wait: bool) -> None:
        """Put a question to whoever answers, or answer it at once.

        :param may_wait: ``False`` in a turn that is being cancelled.
        :raises RequestError: -32602, it is none.
        """
        body = decode_object(call.params)
        if body is None:
            raise rpc_error(jsonrpc.INVALID_PARAMS, "params is no object")
        if not self._opts.elicitation:
            self._answer(call, "decline")
            return
        asked = _decode(call.key, body, turn_id)
        if asked is None or len(self._open) >= ELICITATIONS_MAX:
            self._answer(call, "decline")
        elif not may_wait:
            self._answer(call, "cancel")
        else:
            self._open[call.key] = _Open(call, asked)
            self._outbox.put(asked)
            self._outbox.arm(f"{TIMER}{call.key}", self._opts.permission_timeout_s)
            self._changed()

    def answer(self, key: int, action: str, content: dict[str, Any] | None) -> None:
        """The user's answer; a key that is not open any more is ignored.

        :raises SessionValueError: no such action.
        """
        if action not in ACTIONS:
            raise SessionValueError(f"unknown answer to an elicitation: {action!r}", field="action")
        waiting = self._take(key)
        if waiting is None:
            return
        asked = waiting.asked
        is_form = asked.mode == "form"
        self._answer(waiting.call, action, content if is_form and action == "accept" else None)
        if not is_form and action == "accept":
            self._links[asked.elicitation_id] = key
            if len(self._links) > ELICITATIONS_MAX:
                del self._links[next(iter(self._links))]
        self._changed()

    def completed(self, params: bytes) -> None:
        """``elicitation/complete``: what a link leads to was done."""
        known = as_text(as_object(decode_object(params)).get("elicitationId"))
        key = self._links.pop(known, None)
        if key is not None:
            self._outbox.put(ElicitationDone(key, COMPLETED))
            return
        for waiting in list(self._open.values()):
            if waiting.asked.mode == "url" and waiting.asked.elicitation_id == known:
                self._end(waiting, "accept", COMPLETED)

    def withdraw(self, key: int) -> bool:
        """The agent takes its question back; ``False`` when it is not open."""
        waiting = self._take(key)
        if waiting is None:
            return False
        self._connection.answer_error(key, rpc_error(jsonrpc.REQUEST_CANCELLED))
        self._outbox.put(ElicitationDone(key, WITHDRAWN))
        self._changed()
        return True

    def cancel(self) -> None:
        """The turn is cancelled or over, or the agent is gone."""
        for waiting in list(self._open.values()):
            self._end(waiting, "cancel", CANCELED)

    def timer_fired(self, name: str) -> None:
        """Nobody answered in time."""
        self._end(self._open[int(name.removeprefix(TIMER))], "cancel", TIMED_OUT)

    def _end(self, waiting: _Open, action: str, why: str) -> None:
        self._take(waiting.call.key)
        self._answer(waiting.call, action)
        self._outbox.put(ElicitationDone(waiting.call.key, why))
        self._changed()

    def _take(self, key: int) -> _Open | None:
        waiting = self._open.pop(key, None)
        if waiting is not None:
            self._outbox.disarm(f"{TIMER}{key}")
        return waiting

    def _answer(
        self, call: InboundCall, action: str, content: dict[str, Any] | None = None
    ) -> None:
        result: dict[str, Any] = {"action": action}
        self._connection.answer(
            call.key, result if content is None else {**result, "content": content}
        )


def _decode(key: int, body: dict[str, Any], turn_id: str) -> ElicitationAsked | None:
    """The question; ``None`` for one that nobody here could answer.

    :raises RequestError: -32602, a member that has to be there is not.
    """
    mode, message = body.get("mode"), body.get("message")
    schema = body.get("requestedSchema")
    if not isinstance(message, str) or not isinstance(mode, str):
        raise rpc_error(jsonrpc.INVALID_PARAMS, "message or mode is missing")
    match mode:
        case "form":
            if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
                raise rpc_error(jsonrpc.INVALID_PARAMS, "requestedSchema is no object schema")
            types = [as_object(item).get("type") for item in schema["properties"].values()]
            if not all(isinstance(kind, str) and kind in PROPERTY_TYPES for kind in types):
                return None
        case "url":
            if not as_text(body.get("url")) or not as_text(body.get("elicitationId")):
                raise rpc_error(jsonrpc.INVALID_PARAMS, "url or elicitationId is missing")
        case _:
            return None
    return ElicitationAsked(
        key=key,
        mode=mode,
        message=message,
        schema=as_object(schema) if mode == "form" else {},
        url=as_text(body.get("url")),
        elicitation_id=as_text(body.get("elicitationId")),
        tool_call_id=as_text(body.get("toolCallId")),
        turn_id=turn_id if "requestId" not in body else "",
    )
