"""Requests about sessions beside the conversation: list, fork, settings, log in (07 3, 11).

Each is sent only where the agent offers it, and answered once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from ...actors.errors import OperationUnavailableError, RequestError, SessionValueError
from . import codec, config_options, methods
from .codec import as_object, as_text
from .config_options import NotOffered, Setting
from .connection import Connection
from .handshake import Handshake
from .jsonrpc import Response, decode_value
from .options import SESSION_CALLS_MAX, ClientOpts
from .outbox import Outbox
from .outputs import SessionAnswered

SET_MODE, SET_MODEL, SET_EFFORT, SET_OPTION = "set_mode", "set_model", "set_effort", "set_option"
SETTINGS = frozenset({SET_MODE, SET_MODEL, SET_EFFORT, SET_OPTION})


@dataclass(frozen=True, slots=True)
class SessionCall:
    """A request about sessions waits for its answer."""

    call_id: int
    operation: str


class SessionCalls:
    """Sends these requests and reports their answers.

    :param opts: directories and servers, for forks.
    :param connection: where they are sent.
    :param outbox: takes the answers.
    :param handshake: what the agent offers, and its options, which settings change.
    """

    def __init__(
        self,
        opts: ClientOpts,
        connection: Connection[Any],
        outbox: Outbox,
        handshake: Handshake,
    ) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._handshake = handshake
        self._numbers = count(1)
        self._waiting: set[int] = set()

    def list_sessions(self, cursor: str = "") -> int:
        """One page of the sessions of this directory."""
        self._require(self._handshake.caps.supports_list_sessions, "list_sessions")
        params = codec.list_params(self._opts, cursor)
        return self._send("list_sessions", methods.SESSION_LIST, params)

    def delete_session(self, session_id: str) -> int:
        """Delete a session of the agent, by its own id."""
        self._require(self._handshake.caps.supports_delete_session, "delete_session")
        params = {"sessionId": _named(session_id, "session_id")}
        return self._send("delete_session", methods.SESSION_DELETE, params)

    def fork_session(self) -> int:
        """Copy this session; the result names the copy, which this process does not attach to."""
        handshake = self._handshake
        self._require(handshake.caps.supports_fork_session, "fork_session")
        params = handshake.codec.session_params(
            self._opts, handshake.offer, handshake.acp_session_id
        )
        params.pop("replayFrom", None)
        return self._send("fork_session", methods.SESSION_FORK, params)

    def set_title(self, title: str) -> int:
        """Name the session; the result has the title the agent made of it."""
        self._require(self._handshake.caps.supports_session_title, "set_title")
        params = {**self._session(), "title": _named(title, "title")}
        return self._send("set_title", methods.SESSION_TITLE, params)

    def log_in(self, method_id: str) -> int:
        """Log in by one of the methods that need no terminal."""
        handshake = self._handshake
        self._require(method_id in handshake.offer.login_methods, "log_in")
        return self._send("log_in", handshake.codec.LOGIN, {"methodId": method_id})

    def log_out(self) -> int:
        """Log out."""
        self._require(self._handshake.caps.supports_logout, "log_out")
        return self._send("log_out", self._handshake.codec.LOGOUT, {})

    # ---- settings

    def set_mode(self, mode: str) -> int:
        """Change the mode, in the agent's spelling."""
        return self._set(SET_MODE, methods.SET_MODE, config_options.named_mode, mode)

    def set_model(self, model: str) -> int:
        """Change the model."""
        return self._set(SET_MODEL, methods.SET_MODEL, config_options.choose_model, model)

    def set_effort(self, effort: str) -> int:
        """Change the reasoning effort."""
        return self._set(SET_EFFORT, methods.SET_OPTION, config_options.choose_effort, effort)

    def set_option(self, option_id: str, value: str) -> int:
        """Change any option; booleans have the values ``true`` and ``false``."""

        def choose(caps: Any, wanted: str) -> Setting | None:
            return config_options.named_option(caps, option_id, wanted)

        return self._set(SET_OPTION, methods.SET_OPTION, choose, value)

    def _set(self, operation: str, method: str, choose: Any, value: str) -> int:
        handshake = self._handshake
        try:
            setting = choose(handshake.caps, _named(value, operation))
        except NotOffered as error:
            raise SessionValueError(str(error), operation=operation) from error
        self._require(setting is not None, operation)
        method, params = handshake.codec.setting_call(handshake.acp_session_id, setting, method)
        return self._send(operation, method, params)

    # ---- there and back

    def _session(self) -> dict[str, Any]:
        return {"sessionId": self._handshake.acp_session_id}

    def _require(self, is_offered: bool, operation: str) -> None:
        if not is_offered:
            raise OperationUnavailableError("the agent does not offer that", operation=operation)

    def _send(self, operation: str, method: str, params: dict[str, Any]) -> int:
        if len(self._waiting) >= SESSION_CALLS_MAX:
            raise OperationUnavailableError("too many unanswered requests", operation=operation)
        call = SessionCall(next(self._numbers), operation)
        try:
            self._connection.request(method, params, call)
        except RequestError as error:
            self._outbox.put(SessionAnswered(call.call_id, operation, {}, error))
        else:
            self._waiting.add(call.call_id)
        return call.call_id

    def answered(self, call: SessionCall, response: Response) -> None:
        """The agent did it, refused it, or is gone; options count from here on (07 R18)."""
        self._waiting.discard(call.call_id)
        result = as_object(decode_value(response.result)) if response.error is None else {}
        if response.error is None and call.operation in SETTINGS:
            self._handshake.apply_options(result)
        elif response.error is None and call.operation == "fork_session":
            # The id is all that is of use here; the copy belongs to another process (07 R14).
            result = {"sessionId": as_text(result.get("sessionId"))}
        self._outbox.put(SessionAnswered(call.call_id, call.operation, result, response.error))


def _named(value: str, field: str) -> str:
    if not value.strip():
        raise SessionValueError(f"{field} is blank", field=field)
    return value
