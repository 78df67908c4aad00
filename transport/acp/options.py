"""What an ACP client is made with: options and limits, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...actors.model.agent import PermissionMode

FRAME_BYTES_MAX = 10 * 1024 * 1024
"""A line of this length or more closes the connection; none is written (04 1.3, D8)."""
INBOUND_REQUESTS_MAX = 64
"""Requests of the agent that run at the same time (D11)."""
DEFERRED_RESULTS_MAX = 128
"""Tool results per turn that wait for their call (04 4.4)."""
KNOWN_TOOLS_MAX = 4096
"""Tool calls a turn remembers; of a forgotten one a result announces the call anew."""
HELD_UPDATES_MAX = 256
"""Updates held for a session whose id is not known yet (07 R13)."""
LIST_PAGES_MAX = 20
"""Pages of ``session/list`` read in search of one session (07 8)."""
HELD_BYTES_MAX = FRAME_BYTES_MAX
"""Bytes of all updates held so."""
STEERS_PENDING_MAX = 16
"""Steering messages that wait for their answer at the same time."""
LOG_TEXT_MAX = 256
"""Characters of the agent's text that go into one log line."""
LOG_LINES_MAX = 1000
"""Log lines about one agent process; a last one says that there are no more."""


@dataclass(frozen=True, slots=True)
class McpServer:
    """A stdio MCP server the agent is told of (04 2.7); remote ones are not passed on."""

    name: str
    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ClientOpts:
    """How to talk to one agent process. Blank means "not asked for".

    :param cwd: canonical absolute directory of the session.
    :param additional_dirs: further canonical roots, in order, without ``cwd``.
    :param permissions: the static policy (04 5.2).
    :param system_prompt: goes in front of the first prompt of the process (04 4.1).
    :param system_prompt_delivery: ``first_turn_prefix`` or ``native`` (``_meta`` only).
    :param resume_session_id: the agent's id of the session to attach to.
    :param mcp_servers: passed to the agent as they stand.
    :param auth_method: id of the authentication method to use right after initialize (07 R35).
    :param fs: whether file callbacks are advertised and served (07 R27).
    :param legacy_dirs: also send the unstandardised ``additional_dirs`` (D3).
    :param prefer_gateway_modes: try the agent's ``default`` and ``ask`` modes first (04 2.6).
    :param locate: gives the canonical form of a path, or raises ``InvalidPathError`` or
        ``PathOutsideWorkspaceError``; absent, paths are judged by their names alone.
    :param settle_s: silence after the prompt's answer that ends the turn; twice that at most.
        0 ends it with the answer, for agents known to answer last (04 4.2).
    :param cancel_grace_s: how long a cancelled turn may take to end (D27).
    :param permission_timeout_s: an unanswered permission request is rejected after this.
    :param replay_silence_s: silence after ``session/load`` that ends the replay (07 8).
    """

    cwd: str
    additional_dirs: tuple[str, ...] = ()
    permissions: PermissionMode = PermissionMode.APPROVE_READS
    system_prompt: str = ""
    system_prompt_delivery: str = "first_turn_prefix"
    resume_session_id: str = ""
    model: str = ""
    reasoning_effort: str = ""
    mcp_servers: tuple[McpServer, ...] = ()
    auth_method: str = ""
    client_version: str = "0"
    fs: bool = True
    legacy_dirs: bool = True
    prefer_gateway_modes: bool = True
    locate: Callable[[str], str] | None = None
    initialize_timeout_s: float = 30.0
    session_timeout_s: float = 60.0
    set_timeout_s: float = 15.0
    settle_s: float = 0.05
    cancel_grace_s: float = 5.0
    permission_timeout_s: float = 300.0
    replay_silence_s: float = 0.1
    replay_silence_max_s: float = 2.0
