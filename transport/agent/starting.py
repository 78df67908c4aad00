"""The steps of a start that need no process yet, and what a failed one is told as (04 2.1, 2.4)."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from ...actors.errors import (
    AgentNotAvailableError,
    AgentStartError,
    SessionValueError,
    WorkspaceRootMissingError,
)
from ...actors.model.agent import PermissionMode
from ...actors.model.failure import (
    FAILURE_SUMMARY_BYTES_MAX,
    FailureKind,
    bound_text,
    failure,
)
from ...actors.model.secret_text import hide_values
from ..acp.failures import make_failure
from ..acp.outputs import StartFailed
from .ending import shown_stderr
from .launcher import ChildHandle, launch
from .process import ACPAgentProcess
from .protocol import StartOpts

STDERR_IN_FAILURE_BYTES_MAX = 1024
"""Of the agent's stderr appended to a failed start; half of what a summary may have (D7)."""
DELIVERIES = frozenset({"", "first_turn_prefix", "native"})


def package_version() -> str:
    """The version agents are told; ``0`` when greenroom is not installed as a package."""
    try:
        return version("greenroom")
    except PackageNotFoundError:
        return "0"


def validated(opts: StartOpts) -> tuple[StartOpts, tuple[str, ...]]:
    """The options with what is checked in 04 2.1 checked, and the canonical roots."""
    wrong = [
        text
        for text, is_wrong in (
            ("agent name is required", not opts.agent_name.strip()),
            ("command is required", not any(part.strip() for part in opts.command[:1])),
            ("cwd is required", not opts.cwd.strip()),
            (
                "an additional directory is not absolute",
                any(path.strip() and not os.path.isabs(path) for path in opts.additional_dirs),
            ),
            (
                f"unknown permissions {opts.permissions!r}",
                opts.permissions not in set(PermissionMode),
            ),
            (
                f"unknown system prompt delivery {opts.system_prompt_delivery!r}",
                opts.system_prompt_delivery not in DELIVERIES,
            ),
        )
        if is_wrong
    ]
    if wrong:
        raise startup_error("invalid ACP start options", SessionValueError("; ".join(wrong)))
    cwd = _directory(opts.cwd)
    others = [_directory(path) for path in opts.additional_dirs if path.strip()]
    roots = tuple(dict.fromkeys([cwd, *others]))
    return replace(opts, cwd=cwd, permissions=PermissionMode(opts.permissions)), roots


def _directory(path: str) -> str:
    canonical = os.path.realpath(path)
    if not os.path.isdir(canonical):
        raise WorkspaceRootMissingError(f"the directory {path} does not exist", path=path)
    return canonical


def launched(opts: StartOpts) -> ChildHandle:
    """The child process of checked options.

    :raises AgentNotAvailableError: the command is not there.
    :raises AgentStartError: the system refused.
    """
    given = dict(opts.env)
    env = {**os.environ, **given} if opts.inherit_env else given
    try:
        return launch(opts.command, cwd=opts.cwd, env=env)
    except AgentNotAvailableError as error:
        error.agent_name = opts.agent_name
        raise
    except OSError as error:
        where = f"agent {opts.agent_name}, command {opts.command[0]}, in {opts.cwd}"
        raise startup_error(f"agent subprocess startup failed ({where})", error) from error


def startup_error(step: str, cause: Exception) -> AgentStartError:
    """The error of a step that failed before the agent was talked to."""
    settled = make_failure(FailureKind.STARTUP, step, cause)
    error = AgentStartError(settled.summary, failure=settled)
    error.__cause__ = cause
    return error


def start_error(outcome: StartFailed, process: ACPAgentProcess) -> AgentStartError:
    """The error of a failed handshake, with the end of what the agent wrote to stderr (D7)."""
    tail = shown_stderr(process.stderr(), STDERR_IN_FAILURE_BYTES_MAX)
    settled = outcome.failure
    settled = failure(settled.kind, hide_values(settled.summary))
    if tail:
        room = FAILURE_SUMMARY_BYTES_MAX - len(tail.encode()) - len("; stderr=")
        settled = failure(settled.kind, f"{bound_text(settled.summary, room)}; stderr={tail}")
    error = AgentStartError(settled.summary, failure=settled)
    is_plain = type(outcome.error) is AgentStartError
    error.__cause__ = outcome.error.__cause__ if is_plain else outcome.error
    return error
