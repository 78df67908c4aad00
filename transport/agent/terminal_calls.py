"""Terminal requests of one agent, each answered when there is something to say (04 5.5).

The client bounds how many may be open (D11); those that wait each have a greenlet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gevent

from ...actors.errors import RequestError
from ..acp.outputs import ClientCallAsked
from .calls import METHOD_NOT_FOUND, Served, request_error, unheard
from .link import Link
from .terminals import TerminalRequest, Terminals

CREATE = "terminal/create"
OUTPUT = "terminal/output"
WAIT = "terminal/wait_for_exit"
KILL = "terminal/kill"
RELEASE = "terminal/release"
METHODS = frozenset({CREATE, OUTPUT, WAIT, KILL, RELEASE})


class TerminalCalls:
    """Serves the terminal requests of one agent. In the hub.

    :param link: answers go through it.
    :param served: told of every answer.
    """

    def __init__(self, link: Link, terminals: Terminals, served: Served = unheard) -> None:
        self._link = link
        self._terminals = terminals
        self._served = served
        self._waiting: dict[int, gevent.Greenlet] = {}
        self._creating: set[int] = set()

    def ask(self, call: ClientCallAsked) -> None:
        """Serve a request."""
        if call.method == CREATE:
            self._creating.add(call.key)
            gevent.spawn(self._serve, call)
        elif call.method == WAIT:
            self._waiting[call.key] = gevent.spawn(self._serve, call)
        else:
            self._serve(call)

    def withdraw(self, key: int) -> None:
        """Forget a request; a terminal that is being created is killed when it is there."""
        self._creating.discard(key)
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.kill(block=False)

    def _serve(self, call: ClientCallAsked) -> None:
        try:
            result = self._perform(call)
        except Exception as error:
            self._served(call.key, None, error)
            outputs = self._link.client.answer_error(call.key, request_error(error))
        else:
            self._served(call.key, result, None)
            outputs = self._link.client.answer(call.key, result)
        self._waiting.pop(call.key, None)
        self._link.act(outputs)

    def _perform(self, call: ClientCallAsked) -> Any:
        params = call.params
        match call.method:
            case "terminal/create":
                return {"terminalId": self._create(call)}
            case "terminal/output":
                return self._terminals.output(params["terminalId"])
            case "terminal/wait_for_exit":
                return self._terminals.exit_of(params["terminalId"]).get()
            case "terminal/kill":
                self._terminals.kill(params["terminalId"])
            case "terminal/release":
                self._terminals.release(params["terminalId"])
            case method:
                raise RequestError(f"Method not found: {method}", code=METHOD_NOT_FOUND)
        return {}

    def _create(self, call: ClientCallAsked) -> str:
        try:
            terminal_id = self._terminals.create(terminal_request(call.params), call.turn_id)
            if call.key not in self._creating:  # nobody will ever know its id
                self._terminals.release(terminal_id)
            return terminal_id
        finally:
            self._creating.discard(call.key)


def terminal_request(params: Mapping[str, Any]) -> TerminalRequest:
    """What a create asks for; types were checked when it was decoded."""
    return TerminalRequest(
        command=params["command"],
        args=tuple(params.get("args") or ()),
        env=tuple((name, value) for name, value in params.get("env") or ()),
        cwd=params.get("cwd") or "",
        output_byte_limit=params.get("outputByteLimit"),
    )
