"""Launch one agent as a child process, and nothing else about it.

Rules it owns: the child's environment and the search for its command (04 2.4); three pipes and
nothing else are inherited; the child leads a process group of its own. ``subprocess`` is never
gevent's: that one forks in Python and steals exit codes.

Not one socket pair for stdin and stdout, which would save a descriptor: asyncio takes input that
waits on its *output* socket for the end of the reader, and every agent on asyncio falls silent.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...actors.errors import AgentNotAvailableError, SessionValueError, WorkspaceRootMissingError
from . import natives

PROGRAM_VARIABLE = "GREENROOM_BIN"
START_VARIABLE = "GREENROOM_AGENT_START"
"""Holds a token unique to the start: what left the process group is found by it (07 R33)."""


@dataclass(frozen=True, slots=True)
class ChildHandle:
    """A launched child. Whoever holds it closes the descriptors and reaps the process.

    :param pid: also the id of the process group.
    :param stdin: write end of the child's stdin; our three ends are non-blocking.
    :param stdout: read end of the child's stdout.
    :param stderr: read end of the child's stderr.
    :param argv: as launched, with the resolved command.
    :param start_token: value of ``START_VARIABLE`` in the child's environment.
    :param popen: keeps ``subprocess`` from reaping behind our back; set its ``returncode``.
    """

    pid: int
    stdin: int
    stdout: int
    stderr: int
    argv: tuple[str, ...]
    cwd: str
    start_token: str
    popen: Any


def launch(argv: Iterable[str], *, cwd: str, env: Mapping[str, str] | None = None) -> ChildHandle:
    """Start a child process.

    :param argv: command and arguments; the command is searched on the PATH of ``env``.
    :param cwd: an existing directory.
    :param env: the whole environment; ``None`` or empty means our own.
    :raises SessionValueError: no command.
    :raises AgentNotAvailableError: the command is not there.
    :raises WorkspaceRootMissingError: ``cwd`` is not a directory.
    :raises OSError: the system refused.
    """
    args = tuple(argv)
    if not args or not args[0].strip():
        raise SessionValueError("launch: the command is empty", operation="launch")
    if not os.path.isdir(cwd):
        raise WorkspaceRootMissingError(
            f"the workspace directory {cwd} does not exist", operation="launch", path=cwd
        )
    token = uuid.uuid4().hex
    wanted = dict(env) if env else dict(os.environ)
    environment = child_environment(wanted, running_program(), token)
    # Searched on the PATH that was asked for: our own directory in front is for what the agent
    # runs, not a place agents are launched from unasked.
    args = (find_command(args[0], wanted.get("PATH", os.defpath)), *args[1:])
    return _spawn(args, cwd, environment, token)


def _spawn(
    args: tuple[str, ...], cwd: str, environment: Mapping[str, str], token: str
) -> ChildHandle:
    popen = natives.native_popen()
    fds: list[int] = []
    try:
        for _ in range(3):
            fds += os.pipe()
        child_in, stdin, stdout, child_out, stderr, child_err = fds
        child = popen(
            args,
            stdin=child_in,
            stdout=child_out,
            stderr=child_err,
            cwd=cwd,
            env=environment,
            process_group=0,
        )
    except BaseException:
        _close(fds)
        raise
    _close((child_in, child_out, child_err))
    for fd in (stdin, stdout, stderr):
        os.set_blocking(fd, False)
    return ChildHandle(child.pid, stdin, stdout, stderr, args, cwd, token, child)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        natives.close(fd)


def running_program() -> str:
    """Absolute path of the ``greenroom`` command of this installation, else the interpreter.

    Not through symbolic links: those of a virtual environment lead out of it.
    """
    interpreter = os.path.abspath(sys.executable)
    command = os.path.join(os.path.dirname(interpreter), "greenroom")
    return command if os.access(command, os.X_OK) else interpreter


def child_environment(env: Mapping[str, str], program: str, token: str) -> dict[str, str]:
    """``env`` with the program's path and directory, and the start's token (04 2.4)."""
    directory = os.path.dirname(program)
    rest = [
        entry for entry in env.get("PATH", "").split(os.pathsep) if entry not in ("", directory)
    ]
    path = os.pathsep.join([directory, *rest])
    return {**env, "PATH": path, PROGRAM_VARIABLE: program, START_VARIABLE: token}


def find_command(command: str, path: str) -> str:
    """Absolute path of an executable.

    A command with a slash is taken as a path from our own working directory. A hit only through a
    relative PATH entry is refused: a workspace must not choose what runs.

    :param path: the PATH to search.
    :raises AgentNotAvailableError: nothing there may be executed.
    """
    if os.sep in command:
        if _is_executable(command):
            return os.path.abspath(command)
        raise AgentNotAvailableError(
            f"the agent command {command} is not an executable file; check the path",
            operation="launch",
        )
    entries = path.split(os.pathsep)
    for entry in entries:
        if os.path.isabs(entry) and _is_executable(os.path.join(entry, command)):
            return os.path.join(entry, command)
    if any(_is_executable(os.path.join(e, command)) for e in entries if not os.path.isabs(e)):
        raise AgentNotAvailableError(
            f"the agent command {command} was found only in the current directory, which is not"
            f" searched; give its path, ./{command}",
            operation="launch",
        )
    raise AgentNotAvailableError(
        f"the agent command {command} was not found on PATH; install it, or give its full path",
        operation="launch",
    )


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
