"""The demo agent's methods: which requests it serves and what each answers (07 2, 3, 9)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from .directives import parse
from .memory import Conversation, Memory, open_memory, unknown
from .story import perform
from .turn import Cancelled, Turn
from .wire import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    JSON,
    METHOD_NOT_FOUND,
    Connection,
    RPCError,
)

PROTOCOL_VERSION = 1
DEFAULT_PACE = 0.03
PACE_VARIABLE = "GREENROOM_DEMO_PACE"
MODES = (
    ("ask", "Ask", "Ask before writing a file or running a command"),
    ("auto", "Auto", "Never ask"),
)
REPLAYED = {"user": "user_message_chunk", "agent": "agent_message_chunk"}
"""How a remembered role is shown again by ``session/load``."""


class Agent:
    """One agent process: its sessions and their running turns.

    :param connection: to the client.
    :param memory: where conversations are kept.
    :param pace: seconds between two chunks.
    """

    def __init__(self, connection: Connection, memory: Memory, pace: float) -> None:
        self._connection = connection
        self._memory = memory
        self._pace = pace
        self._client_files: frozenset[str] = frozenset()
        self._conversations: dict[str, Conversation] = {}
        self._turns: dict[str, tuple[Any, Turn]] = {}
        self._deaf = False
        self._methods: dict[str, Callable[[JSON], Any]] = {
            "initialize": self._initialize,
            "session/new": self._new,
            "session/load": self._load,
            "session/resume": self._resume,
            "session/close": self._close,
            "session/set_mode": self._set_mode,
            "_session/steering": self._steer,
        }

    def serve(self) -> None:
        """Answer the client until it goes away."""
        for message in self._connection.requests():
            params = message.get("params")
            if "id" in message:
                self._answer(message["id"], message["method"], params)
            else:
                self._note(message["method"], params if isinstance(params, dict) else {})
        if self._deaf:
            threading.Event().wait()
        for _, turn in list(self._turns.values()):
            turn.cancel()

    def _answer(self, request_id: Any, method: str, params: Any) -> None:
        try:
            if not isinstance(params, dict):
                raise RPCError(INVALID_PARAMS, f"{method}: params must be an object")
            if method == "session/prompt":
                self._prompt(request_id, params)
            elif (serve := self._methods.get(method)) is not None:
                self._connection.reply(request_id, serve(params))
            else:
                raise RPCError(METHOD_NOT_FOUND, f"Method not found: {method}", {"method": method})
        except RPCError as error:
            self._connection.fail(request_id, error)

    def _note(self, method: str, params: JSON) -> None:
        if self._deaf:
            return
        running = list(self._turns.items())
        for session_id, (request_id, turn) in running:
            mine = (
                params.get("sessionId") == session_id
                if method == "session/cancel"
                else method == "$/cancel_request" and params.get("requestId") == request_id
            )
            if mine:
                turn.cancel()

    def _initialize(self, params: JSON) -> JSON:
        offered = params.get("clientCapabilities")
        files = offered.get("fs") if isinstance(offered, dict) else None
        if isinstance(files, dict):
            self._client_files = frozenset(name for name, on in files.items() if on is True)
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": {"image": False, "audio": False, "embeddedContext": False},
                "sessionCapabilities": {"resume": {}, "close": {}},
            },
            "authMethods": [],
            "agentInfo": {"name": "greenroom-demo", "title": "Demo agent", "version": "1"},
            "_meta": {"steering": {"supported": True}},
        }

    def _new(self, params: JSON) -> JSON:
        conversation = self._memory.create(_cwd(params))
        self._conversations[conversation.session_id] = conversation
        return {"sessionId": conversation.session_id, **_modes(conversation)}

    def _resume(self, params: JSON) -> JSON:
        cwd = _cwd(params)
        conversation = self._memory.load(str(params.get("sessionId", "")))
        if conversation.session_id in self._turns:
            raise RPCError(INVALID_REQUEST, "the session is busy with a prompt")
        conversation.cwd = cwd
        self._conversations[conversation.session_id] = conversation
        return _modes(conversation)

    def _load(self, params: JSON) -> JSON:
        answer = self._resume(params)
        session_id = params["sessionId"]
        for number, (role, text) in enumerate(self._conversations[session_id].entries):
            update: JSON = (
                {"sessionUpdate": REPLAYED[role], "content": {"type": "text", "text": text}}
                if role in REPLAYED
                else {
                    "sessionUpdate": "tool_call",
                    "toolCallId": f"replayed-{number}",
                    "title": text,
                    "status": "completed",
                }
            )
            self._connection.notify("session/update", {"sessionId": session_id, "update": update})
        return answer

    def _close(self, params: JSON) -> JSON:
        conversation = self._conversation(params)
        running = self._turns.get(conversation.session_id)
        if running is not None:
            running[1].cancel()
        del self._conversations[conversation.session_id]
        return {}

    def _set_mode(self, params: JSON) -> JSON:
        conversation = self._conversation(params)
        if params.get("modeId") not in {mode for mode, _, _ in MODES}:
            raise RPCError(INVALID_PARAMS, f"unknown mode {params.get('modeId')!r}")
        conversation.mode = params["modeId"]
        self._memory.save(conversation)
        return {}

    def _steer(self, params: JSON) -> JSON:
        """A text for the running turn. We never start a turn ourselves, whatever is asked."""
        conversation = self._conversation(params)
        running = self._turns.get(conversation.session_id)
        text = _text(params)
        if running is not None and running[1].steer(text):
            self._hear(text)
            return {"outcome": "injected"}
        return {"outcome": "promptRequired", "reason": "noRunningTurn"}

    def _prompt(self, request_id: Any, params: JSON) -> None:
        conversation = self._conversation(params)
        if conversation.session_id in self._turns:
            raise RPCError(INVALID_REQUEST, "a prompt is already running in this session")
        turn = Turn(
            self._connection,
            conversation,
            prompt=_text(params),
            pace=self._pace,
            client_files=self._client_files,
        )
        self._hear(turn.prompt)
        conversation.add("user", turn.prompt)
        self._memory.save(conversation)
        self._turns[conversation.session_id] = (request_id, turn)
        threading.Thread(target=self._play, args=(request_id, turn), daemon=True).start()

    def _play(self, request_id: Any, turn: Turn) -> None:
        failure: RPCError | None = None
        stop_reason = "end_turn"
        try:
            perform(turn)
        except Cancelled:
            stop_reason = "cancelled"
        except RPCError as error:
            failure = error
        except Exception as error:
            # The top of a thread: an unanswered prompt would hang the client.
            failure = RPCError(INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        with contextlib.suppress(OSError):
            self._memory.save(turn.conversation)
        # Forget first: whoever reads the answer may send the next prompt at once.
        del self._turns[turn.conversation.session_id]
        if failure is not None:
            self._connection.fail(request_id, failure)
        else:
            self._connection.reply(request_id, {"stopReason": stop_reason})

    def _hear(self, text: str) -> None:
        # Deafness is the reader's state, so it is set here and not in the turn's thread.
        self._deaf = self._deaf or any(step.verb == "deaf" for step in parse(text))

    def _conversation(self, params: JSON) -> Conversation:
        session_id = params.get("sessionId")
        found = self._conversations.get(session_id) if isinstance(session_id, str) else None
        if found is None:
            raise unknown(str(session_id))
        return found


def _cwd(params: JSON) -> str:
    cwd = params.get("cwd")
    if not isinstance(cwd, str) or not os.path.isabs(cwd):
        raise RPCError(INVALID_PARAMS, "cwd must be an absolute path")
    return cwd


def _modes(conversation: Conversation) -> JSON:
    return {
        "modes": {
            "currentModeId": conversation.mode,
            "availableModes": [
                {"id": mode, "name": name, "description": text} for mode, name, text in MODES
            ],
        }
    }


def _text(params: JSON) -> str:
    """The text of a prompt; links count by their address, other blocks are not for us."""
    blocks = params.get("prompt")
    if not isinstance(blocks, list):
        raise RPCError(INVALID_PARAMS, "prompt must be a list of content blocks")
    texts = (
        block.get("text") or block.get("uri") or "" for block in blocks if isinstance(block, dict)
    )
    return "\n".join(str(text) for text in texts if text)


def _pace() -> float:
    try:
        return max(0.0, float(os.environ[PACE_VARIABLE]))
    except (KeyError, ValueError):
        return DEFAULT_PACE


def main() -> None:
    """Serve ACP on stdin and stdout; leave at once at end of input."""
    agent = Agent(Connection(sys.stdin.buffer, sys.stdout.buffer), open_memory(), _pace())
    try:
        agent.serve()
    except KeyboardInterrupt:
        os._exit(130)
    # Turns are threads that may wait for a client that is gone: they do not hold us back.
    os._exit(0)
