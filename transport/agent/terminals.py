"""Commands an agent runs through us: made, watched, killed, forgotten (04 5.5).

Each leads a process group of its own, reads nothing, and writes into a ring. Rules it owns: the
command is looked up on the PATH it will have, its directory is entered by descriptor (D20); a
terminal whose leader was reaped is never signalled (D22); what a command leaves behind in its group
dies with it. All in the hub, but for the looking up.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import gevent
from gevent.event import AsyncResult

from ...actors.errors import AgentNotAvailableError, RequestError
from .context import CallContext
from .environment import filtered
from .files import Workspace
from .launcher import START_VARIABLE, find_command
from .natives import Offload
from .output_ring import output_limit
from .terminal_process import TerminalProcess, start_command
from .tool_processes import ToolProcesses
from .tool_records import ProcessConfig, ProcessOwner, ProcessSource

ARGS_TOLD = 8
"""Words of a command that a sign of life names."""
TERMINALS_MAX = 64
"""Terminals of one agent that it has not released; each may hold a ring and a process."""
RESOURCE_NOT_FOUND = -32002
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SHELL = "/bin/sh"
SHELL_CHARACTERS = frozenset("|&;<>$`(){}*?[]#~!\n")
"""A command without arguments that holds one of these was written for a shell."""


@dataclass(frozen=True, slots=True)
class TerminalRequest:
    """What ``terminal/create`` asks for.

    :param command: split like a POSIX shell does, nothing expanded; ``args`` come after it.
        Without ``args`` it may be a whole line for a shell, and is given to one (see ``_argv``).
    :param env: goes over our own environment without its secrets.
    :param cwd: inside the workspace; blank for the session's own directory.
    :param output_byte_limit: ``None`` for the default.
    """

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    output_byte_limit: int | None = None


class Terminals:
    """The terminals of one agent process.

    :param workspace: where their directories must lie.
    :param offload: runs blocking work in a native thread.
    :param registry: every terminal is registered there before the agent hears of it.
    :param owner: of the agent; a terminal's adds its turn and its own id.
    :param token: marks what they start as this agent's (07 R33).
    :param network_command: what turns that came over the network may run; never by a shell.
    :param pidfd: whether exits are watched by pidfd where the system has it.
    :param active: told, with a kind and the command, when one writes.
    """

    def __init__(
        self,
        workspace: Workspace,
        offload: Offload,
        registry: ToolProcesses,
        *,
        token: str,
        network_command: tuple[str, ...] = (),
        pidfd: bool = True,
        active: Callable[[str, str], None] = lambda kind, detail: None,
    ) -> None:
        self.owner = ProcessOwner()
        self._workspace = workspace
        self._offload = offload
        self._registry = registry
        self._token = token
        self._network_command = network_command
        self._pidfd = pidfd
        self._active = active
        self._numbers = count(1)
        self._open: dict[str, TerminalProcess] = {}
        self._running: set[TerminalProcess] = set()
        self._starting = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._open) + self._starting

    def create(self, request: TerminalRequest, turn_id: str) -> str:
        """Start a command; blocks the greenlet until it runs and is registered.

        :returns: the id of the terminal.
        :raises RequestError: -32602 blank, unbalanced quotes, no such command or directory;
            -32603 too many terminals, the process is ending, or the system refused.
        :raises PathOutsideWorkspaceError: the directory leads outside.
        :raises InvalidPathError: a NUL byte.
        """
        self._check_room()
        self._starting += 1
        try:
            return self._create(request, turn_id)
        finally:
            self._starting -= 1

    def _check_room(self) -> None:
        if self._closed:
            raise RequestError("the agent process is ending", code=INTERNAL_ERROR)
        if len(self) >= TERMINALS_MAX:
            raise RequestError(
                f"{TERMINALS_MAX} terminals are open; release some", code=INTERNAL_ERROR
            )

    def _create(self, request: TerminalRequest, turn_id: str) -> str:
        argv = _argv(request, self._network_command)
        env = {**filtered(os.environ), **dict(request.env), START_VARIABLE: self._token}
        fd, cwd, argv = self._offload(_prepare, self._workspace, request.cwd, argv, env)
        env["PWD"] = cwd
        terminal_id = f"term-{next(self._numbers)}"
        terminal = start_command(
            argv,
            fd,
            cwd,
            env,
            limit=output_limit(request.output_byte_limit),
            offload=self._offload,
            pidfd=self._pidfd,
        )
        terminal.turn_id = turn_id
        terminal.wrote = partial(self._active, "terminal_output", " ".join(argv[:ARGS_TOLD]))
        self._running.add(terminal)
        terminal.exited.rawlink(lambda _: self._running.discard(terminal))
        # Known before it is registered: a stop of the agent meanwhile must find it.
        self._open[terminal_id] = terminal
        try:
            config = self._config(terminal, terminal_id)
            terminal.attach(self._registry.register(CallContext(), config))
        except Exception:
            self._open.pop(terminal_id, None)
            terminal.kill()
            raise
        if self._closed:
            terminal.kill()
        return terminal_id

    def _config(self, terminal: TerminalProcess, terminal_id: str) -> ProcessConfig:
        return ProcessConfig(
            source=ProcessSource.ACP_TERMINAL,
            owner=self.owner.with_terminal(terminal.turn_id, terminal_id),
            pid=terminal.pid,
            process_group_id=terminal.pid,
            command=terminal.argv[0],
            args=terminal.argv[1:],
            cwd=terminal.cwd,
            interrupt=terminal.kill,
        )

    def output(self, terminal_id: str) -> dict[str, Any]:
        """The end of what it wrote, and how it ended if it did.

        :raises RequestError: -32002 no such terminal; so do the other calls.
        """
        return self._find(terminal_id).answer()

    def exit_of(self, terminal_id: str) -> AsyncResult[dict[str, Any]]:
        """Gets ``exitCode`` or ``signal``; also when the terminal is released meanwhile."""
        return self._find(terminal_id).exited

    def kill(self, terminal_id: str) -> None:
        """Kill its group; the terminal stays."""
        self._find(terminal_id).kill()

    def release(self, terminal_id: str) -> None:
        """Kill its group and forget it."""
        self._find(terminal_id).kill()
        del self._open[terminal_id]

    def kill_turn(self, turn_id: str) -> None:
        """Kill what was started in a turn and still runs (07 R5)."""
        for terminal in self._running:
            if terminal.turn_id == turn_id:
                terminal.kill()

    def close(self) -> None:
        """Kill all; no more are made. What they leave is cleared in the background."""
        self._closed = True
        for terminal in self._running:
            terminal.kill()

    def wait(self, seconds: float) -> bool:
        """After :meth:`close`: whether all were gone in time."""
        running = [terminal.exited for terminal in self._running]
        done = gevent.wait(running, timeout=seconds)
        self._open.clear()
        return len(done) == len(running)

    def _find(self, terminal_id: str) -> TerminalProcess:
        terminal = self._open.get(terminal_id)
        if terminal is None:
            raise RequestError(
                f"no terminal {terminal_id[:64]!r}",
                code=RESOURCE_NOT_FOUND,
                data={"terminalId": terminal_id[:64]},
            )
        return terminal


def _argv(request: TerminalRequest, network_command: tuple[str, ...]) -> tuple[str, ...]:
    """The command to execute.

    Some agents send words, others one line for a shell; split, ``a && b`` would run as one strange
    ``a``. What begins like the network command is only ever split: it was allowed as those words.
    """
    try:
        argv = (*shlex.split(request.command), *request.args)
    except ValueError as error:
        raise RequestError(f"command: {error}", code=INVALID_PARAMS) from error
    is_line = not request.args and not SHELL_CHARACTERS.isdisjoint(request.command)
    if is_line and (not network_command or argv[: len(network_command)] != network_command):
        argv = (SHELL, "-c", request.command)
    if not argv or not argv[0].strip():
        raise RequestError("command is blank", code=INVALID_PARAMS)
    if any("\0" in text for text in (*argv, *(part for pair in request.env for part in pair))):
        raise RequestError("a NUL byte in command, args or env", code=INVALID_PARAMS)
    if any(not name or "=" in name for name, _ in request.env):
        raise RequestError("env holds a name that is none", code=INVALID_PARAMS)
    return argv


def _prepare(
    workspace: Workspace, cwd: str, argv: tuple[str, ...], env: dict[str, str]
) -> tuple[int, str, tuple[str, ...]]:
    """The descriptor and path of the directory, and argv with the command found. Blocks."""
    command = argv[0]
    if os.sep not in command:
        try:
            command = find_command(command, env.get("PATH", os.defpath))
        except AgentNotAvailableError:
            raise RequestError(f"command not found: {command[:256]}", code=INVALID_PARAMS) from None
    fd, path = workspace.open_directory(cwd or workspace.roots[0])
    return fd, path, (command, *argv[1:])
