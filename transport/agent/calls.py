"""File requests of one agent, served one after another off the hub (04 5.1, 5.4).

One at a time is the bound on memory: an agent that asks for many large files and takes no answer
has one answer waiting, and the client bounds how many requests it may leave open (D11).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent

from ...actors.errors import (
    InvalidPathError,
    PathOutsideWorkspaceError,
    PermissionDeniedError,
    RequestError,
)
from ..acp.outputs import ClientCallAsked
from .files import INVALID_PARAMS, Workspace
from .link import Link
from .natives import Offload

INTERNAL_ERROR = -32603
METHOD_NOT_FOUND = -32601

Served = Callable[[int, Any, Exception | None], None]
"""Told the key of a call, and what it was answered or why it failed; must not block."""


def unheard(key: int, result: Any, error: Exception | None) -> None:
    """Nobody wants to know."""


class FileCalls:
    """The queue of file requests of one agent; a greenlet lives only while there are some.

    :param link: answers go through it.
    :param offload: runs the blocking part.
    :param served: told of every answer.
    """

    def __init__(
        self, link: Link, workspace: Workspace, offload: Offload, served: Served = unheard
    ) -> None:
        self._link = link
        self._workspace = workspace
        self._offload = offload
        self._served = served
        self._waiting: deque[ClientCallAsked] = deque()
        self._is_serving = False

    def ask(self, call: ClientCallAsked) -> None:
        """Serve a request when its turn comes. In the hub."""
        self._waiting.append(call)
        if not self._is_serving:
            self._is_serving = True
            gevent.spawn(self._serve)

    def withdraw(self, key: int) -> None:
        """Forget a request; the one that is being served runs on, and its answer is ignored."""
        self._waiting = deque(call for call in self._waiting if call.key != key)

    def _serve(self) -> None:
        try:
            while self._waiting:
                self._link.drained.wait()
                if self._waiting:
                    self._answer(self._waiting.popleft())
        finally:
            self._is_serving = False

    def _answer(self, call: ClientCallAsked) -> None:
        try:
            result = self._offload(perform, self._workspace, call)
        except Exception as error:
            self._served(call.key, None, error)
            outputs = self._link.client.answer_error(call.key, request_error(error))
        else:
            self._served(call.key, result, None)
            outputs = self._link.client.answer(call.key, result)
        self._link.act(outputs)


def perform(workspace: Workspace, call: ClientCallAsked) -> dict[str, Any]:
    """Do what was asked; blocks."""
    params = call.params
    match call.method:
        case "fs/read_text_file":
            text = workspace.read_text(params["path"], params["line"], params["limit"])
            return {"content": text}
        case "fs/write_text_file":
            workspace.write_text(params["path"], params["content"])
            return {}
    raise RequestError(f"Method not found: {call.method}", code=METHOD_NOT_FOUND)


def request_error(error: Exception) -> RequestError:
    """What the agent is told about a failed request (04 5.1)."""
    match error:
        case RequestError():
            return error
        case InvalidPathError() | PathOutsideWorkspaceError() | PermissionDeniedError():
            code = INVALID_PARAMS
        case _:
            code = INTERNAL_ERROR
    return RequestError(str(error), code=code, data={"error": str(error)})
