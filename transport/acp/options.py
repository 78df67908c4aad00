"""What an ACP client is made with: options and limits, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...actors.model.agent import PermissionMode

FRAME_BYTES_MAX = 10 * 1024 * 1024
"""A line of this length or more closes the connection; none is written (04 1.3, D8)."""
DECODED_BYTES_MAX = 512 * 1024
"""JSON of one value that is looked into, besides texts: nobody else is served meanwhile."""
DECODED_MEMBERS_MAX = 4096
"""Members of an object in a longer value; one with more is not looked into."""
DECODED_DEPTH_MAX = 4
"""Objects within each other in a longer value that are looked into."""
ERROR_TEXT_MAX = 16 * 1024
"""Characters of an agent's error that are read."""
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
HELD_CONTENT_MAX = 256
"""Reports held until it is known whether they belong to a prompt (07 4.2)."""
MESSAGES_MAX = 256
"""Messages of a turn that a later upsert is compared with (07 R23)."""
ECHOES_MAX = 64
"""User messages seen while a prompt waits to become one (07 4.3)."""
BACKGROUND_MAX = 1024
"""Tool calls and terminals that outlive their turn and are still attributed to it (07 4.10)."""
TERMINALS_MAX = 64
"""Terminals of the agent's own whose output is kept."""
TERMINAL_TAIL_BYTES = 64 * 1024
"""Of the output of one of them the last so many bytes."""
CLIENT_TERMINALS_MAX = 1024
"""Terminals of ours an agent may hold at the same time."""
ELICITATIONS_MAX = 64
"""Questions of the agent that wait for somebody, and those answered but not completed."""
PRECHECKS_MAX = 256
"""Tool calls looked at by the gateway that wait for their announcement (04 5.6)."""
SESSION_CALLS_MAX = 64
"""Requests about sessions that wait for their answer at the same time."""
STEERS_PENDING_MAX = 16
"""Steering messages that wait for their answer at the same time."""
LOG_TEXT_MAX = 256
"""Characters of the agent's text that go into one log line."""
LOG_LINES_MAX = 1000
"""Log lines about one agent process; a last one says that there are no more."""


@dataclass(frozen=True, slots=True)
class McpServer:
    """An MCP server the agent is told of, if it can use one of that kind (04 2.7; 07 6).

    :param type: ``stdio`` with ``command``, ``args`` and ``env``; ``http`` or ``sse`` with ``url``
        and ``headers``.
    """

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    type: str = "stdio"
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ClientOpts:
    """How to talk to one agent process. Blank means "not asked for".

    :param cwd: canonical absolute directory of the session.
    :param additional_dirs: further canonical roots, in order, without ``cwd``.
    :param permissions: the static policy (04 5.2).
    :param system_prompt: goes in front of the first prompt of the process (04 4.1).
    :param system_prompt_delivery: ``first_turn_prefix`` or ``native`` (``_meta`` only).
    :param native_system_prompt: with ``native`` also give the prompt to ``session/new``, where the
        agent takes one; the protocol calls that unstable (D12).
    :param acp_version: ``auto`` asks for v1, and takes v2 where the agent speaks nothing else;
        ``1`` and ``2`` force (07 1).
    :param resume_session_id: the agent's id of the session to attach to.
    :param mcp_servers: passed to the agent as they stand.
    :param auth_method: id of the authentication method to use right after initialize (07 R35).
    :param fs: whether file callbacks are advertised and served (07 R27).
    :param terminal: whether terminal callbacks are.
    :param elicitation: whether somebody answers the questions of the agent (07 R28).
    :param gateway: whether tool calls are shown to a gateway before they are served (04 5.6).
    :param replay: whether a v2 agent is asked to tell the history of a restored session; for a
        host whose own is empty (07 4.11).
    :param provider_name: with ``claude`` prompts carry ``cache_control``, and so they do with a
        ``runtime_provider`` of ``anthropic``; some ``provider_base_url`` keep it longer (04 4.1).
    :param network_command: the command network turns may run, before its subcommand (04 5.5).
    :param new_turn_id: names turns that the agent begins itself; absent, they are numbered.
    :param legacy_dirs: also send the unstandardised ``additional_dirs`` (D3).
    :param prefer_gateway_modes: try the agent's ``default`` and ``ask`` modes first (04 2.6).
    :param locate: gives the canonical form of a path, or raises ``InvalidPathError`` or
        ``PathOutsideWorkspaceError``; absent, paths are judged by their names alone.
    :param settle_s: silence after the prompt's answer that ends the turn; twice that at most.
        0 ends it with the answer, for agents known to answer last (04 4.2).
    :param cancel_grace_s: how long a cancelled turn may take to end (D27).
    :param permission_timeout_s: an unanswered permission request is rejected after this.
    :param insertion_wait_s: how long reports wait for the word that a prompt was inserted before
        they count as work of the agent's own (07 4.2).
    :param unowned_silence_s: silence that ends a turn which nothing else ends (07 9.1).
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
    acp_version: str = "auto"
    native_system_prompt: bool = False
    replay: bool = False
    provider_name: str = ""
    runtime_provider: str = ""
    provider_base_url: str = ""
    network_command: tuple[str, ...] = ("greenroom", "network")
    new_turn_id: Callable[[], str] | None = None
    fs: bool = True
    terminal: bool = False
    elicitation: bool = False
    gateway: bool = False
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
    insertion_wait_s: float = 2.0
    unowned_silence_s: float = 2.0
