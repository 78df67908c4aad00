"""The files and terminals an agent asks us for: who may, and whose they are (04 5.2-5.6).

What the policy lets pass goes to the shell, which confines it; the answer comes back by its key.
Terminals are remembered with the turn that created them.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from ...actors.errors import (
    InvalidPathError,
    PathOutsideWorkspaceError,
    PermissionDeniedError,
    RequestError,
    ToolBlockedForNetworkTurnError,
)
from . import confinement, jsonrpc, methods
from .client_params import check_members, decode_params, tool_input
from .connection import Connection, InboundCall
from .gateway import TOOLS, Prechecks
from .jsonrpc import rpc_error
from .options import CLIENT_TERMINALS_MAX, ClientOpts
from .outbox import Outbox
from .outputs import ClientCallAsked, ClientCallCancelled, InterceptAsked, KillTerminals
from .policy import Grants, authorize_file_call, authorize_terminal

REFUSALS = (
    PermissionDeniedError,
    InvalidPathError,
    PathOutsideWorkspaceError,
    ToolBlockedForNetworkTurnError,
)
NETWORK_SUBCOMMANDS = frozenset(
    {"send", "peers", "channels", "status", "inbox", "threads", "directs", "work"}
)
"""What a network turn may run after the network command (04 5.5)."""


@dataclass(slots=True)
class _Terminal:
    turn_id: str
    by_network: bool
    exited: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    params: dict[str, Any]
    turn_id: str
    by_network: bool


class ClientCalls:
    """The calls that are open, and the terminals there are.

    :param opts: policy and limits.
    :param connection: where the calls are answered.
    :param outbox: takes what the shell has to do.
    :param grants: what somebody allowed.
    :param prechecks: where calls the gateway has seen are noted.
    """

    def __init__(
        self,
        opts: ClientOpts,
        connection: Connection[Any],
        outbox: Outbox,
        grants: Grants,
        prechecks: Prechecks,
    ) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._grants = grants
        self._prechecks = prechecks
        self._roots = (opts.cwd, *opts.additional_dirs)
        self._intercepted: dict[int, _Asked] = {}
        self._asked: dict[int, _Asked] = {}
        self._terminals: dict[str, _Terminal] = {}

    def locate(self, path: str) -> str:
        """The canonical form of a path.

        :raises InvalidPathError: blank, or with a NUL byte.
        :raises PathOutsideWorkspaceError: outside every root.
        """
        if self._opts.locate is not None:
            return self._opts.locate(path)
        return confinement.locate(path, self._roots)

    # ---- asked

    def ask(self, call: InboundCall, turn_id: str, by_network: bool) -> None:
        """Check a call and hand it on.

        :raises RequestError: it is refused.
        """
        params = decode_params(call.method, call.params)
        asked = _Asked(call.method, params, turn_id, by_network)
        tool = TOOLS.get(call.method)
        if self._opts.gateway and tool is not None:
            self._intercepted[call.key] = asked
            given = tool_input(call.method, params)
            read_only = call.method == methods.READ_FILE
            self._outbox.put(InterceptAsked(call.key, tool, read_only, given, turn_id))
        else:
            self._hand_on(call.key, asked)

    def intercepted(self, key: int, patched: Any, error: Exception | None) -> bool:
        """What the gateway says of a call; ``False`` when it is none of these.

        :param patched: the input to use instead, or ``None``.
        """
        asked = self._intercepted.pop(key, None)
        if asked is None:
            return False
        self._prechecks.record(
            asked.turn_id, TOOLS[asked.method], tool_input(asked.method, asked.params)
        )
        try:
            if error is not None:
                raise error
            if patched is not None:
                asked = self._patched(asked, patched)
            self._hand_on(key, asked)
        except RequestError as refused:
            self._connection.answer_error(key, refused)
        except Exception as failed:
            self._connection.answer_error(key, refusal(failed))
        return True

    def _patched(self, asked: _Asked, patched: Any) -> _Asked:
        try:
            body = patched if isinstance(patched, dict) else {}
            members = check_members(asked.method, body)
        except RequestError as error:
            raise PermissionDeniedError("the gateway's input can not be used") from error
        params = {"sessionId": asked.params["sessionId"], **members}
        return _Asked(asked.method, params, asked.turn_id, asked.by_network)

    def _hand_on(self, key: int, asked: _Asked) -> None:
        try:
            params = self._authorized(asked)
        except REFUSALS as error:
            raise refusal(error) from error
        self._asked[key] = asked
        self._outbox.put(ClientCallAsked(key, asked.method, params, asked.turn_id))

    def _authorized(self, asked: _Asked) -> dict[str, Any]:
        """The params to hand on."""
        mode, method, params = self._opts.permissions, asked.method, asked.params
        if method in methods.FILE_METHODS:
            path = params["path"]
            authorize_file_call(mode, method, path, self.locate, self._grants, asked.by_network)
            return params
        if method == methods.TERMINAL_CREATE:
            return self._creatable(asked)
        terminal = self._terminals.get(params["terminalId"])
        if terminal is None:
            raise rpc_error(jsonrpc.RESOURCE_NOT_FOUND, "no such terminal")
        if asked.by_network and not _reaches(asked, terminal):
            raise ToolBlockedForNetworkTurnError(f"{method} is not allowed in a network turn")
        return params

    def _creatable(self, asked: _Asked) -> dict[str, Any]:
        params = asked.params
        argv = _argv(params)
        if asked.by_network:
            if not self._is_network_command(argv):
                raise ToolBlockedForNetworkTurnError("a network turn may not run that command")
            params = {**params, "env": ()}
        authorize_terminal(self._opts.permissions, self._grants)
        if params["cwd"] is not None:
            self.locate(params["cwd"])
        creating = sum(open_.method == methods.TERMINAL_CREATE for open_ in self._asked.values())
        if len(self._terminals) + creating >= CLIENT_TERMINALS_MAX:
            raise rpc_error(jsonrpc.INTERNAL_ERROR, "too many terminals")
        return params

    def _is_network_command(self, argv: list[str]) -> bool:
        prefix = list(self._opts.network_command)
        rest = argv[len(prefix) :]
        return argv[: len(prefix)] == prefix and bool(rest) and rest[0] in NETWORK_SUBCOMMANDS

    # ---- answered

    def answer(self, key: int, result: Any) -> None:
        """The shell did what was asked."""
        asked = self._asked.pop(key, None)
        if asked is not None:
            self._note(asked, result)
            self._connection.answer(key, result)

    def answer_error(self, key: int, error: RequestError) -> None:
        """The shell could not do it."""
        if self._asked.pop(key, None) is not None:
            self._connection.answer_error(key, error)

    def _note(self, asked: _Asked, result: Any) -> None:
        body = result if isinstance(result, dict) else {}
        match asked.method:
            case methods.TERMINAL_CREATE if isinstance(body.get("terminalId"), str):
                owned = _Terminal(asked.turn_id, asked.by_network)
                self._terminals[body["terminalId"]] = owned
            case methods.TERMINAL_RELEASE:
                self._terminals.pop(asked.params["terminalId"], None)
            case methods.TERMINAL_WAIT | methods.TERMINAL_OUTPUT:
                terminal = self._terminals.get(asked.params["terminalId"])
                is_over = asked.method == methods.TERMINAL_WAIT or body.get("exitStatus")
                if terminal is not None and is_over:
                    terminal.exited = True

    def withdraw(self, call: InboundCall) -> None:
        """The agent does not want it any more."""
        known = self._asked.pop(call.key, None) or self._intercepted.pop(call.key, None)
        if known is not None:
            self._outbox.put(ClientCallCancelled(call.key))
        self._connection.answer_error(call.key, rpc_error(jsonrpc.REQUEST_CANCELLED))

    # ---- ends

    def kill_terminals(self, turn_id: str) -> None:
        """A turn was cancelled; what it started does not end by itself (07 R5)."""
        running = tuple(
            name
            for name, terminal in self._terminals.items()
            if terminal.turn_id == turn_id and not terminal.exited
        )
        if running:
            self._outbox.put(KillTerminals(turn_id, running))

    def disconnected(self) -> None:
        """Nobody waits for answers any more."""
        for key in sorted({*self._asked, *self._intercepted}):
            self._outbox.put(ClientCallCancelled(key))
        self._asked.clear()
        self._intercepted.clear()


def refusal(error: Exception) -> RequestError:
    """What the agent is told of a failure that is no JSON-RPC error (04 5.1)."""
    known = isinstance(error, REFUSALS)
    code = jsonrpc.INVALID_PARAMS if known else jsonrpc.INTERNAL_ERROR
    return rpc_error(code, str(error))


def _argv(params: dict[str, Any]) -> list[str]:
    try:
        argv = shlex.split(params["command"])
    except ValueError as error:
        raise rpc_error(jsonrpc.INVALID_PARAMS, f"command: {error}") from error
    if not argv:
        raise rpc_error(jsonrpc.INVALID_PARAMS, "command is blank")
    return [*argv, *(params["args"] or ())]


def _reaches(asked: _Asked, terminal: _Terminal) -> bool:
    """Whether a network turn may touch a terminal (04 5.5)."""
    if asked.method in (methods.TERMINAL_KILL, methods.TERMINAL_RELEASE):
        return terminal.by_network
    return terminal.by_network and terminal.turn_id == asked.turn_id
