"""The static permission policy and the grants that widen it for one tool call (04 5.2).

It decides what the agent may do through us. Where a path leads is confinement's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...actors.errors import PermissionDeniedError, ToolBlockedForNetworkTurnError
from ...actors.model.agent import PermissionDecision, PermissionMode
from .methods import READ_FILE, TERMINAL_CREATE, WRITE_FILE

FILE_CALLS = {
    PermissionMode.DENY_ALL: frozenset[str](),
    PermissionMode.APPROVE_READS: frozenset({READ_FILE}),
    PermissionMode.APPROVE_ALL: frozenset({READ_FILE, WRITE_FILE}),
}
PERMISSION_REQUESTS = {
    # mode: (for kind "read", for every other kind); PENDING asks somebody.
    PermissionMode.DENY_ALL: (PermissionDecision.REJECT_ONCE, PermissionDecision.REJECT_ONCE),
    PermissionMode.APPROVE_READS: (PermissionDecision.ALLOW_ONCE, PermissionDecision.PENDING),
    PermissionMode.APPROVE_ALL: (PermissionDecision.ALLOW_ONCE, PermissionDecision.ALLOW_ONCE),
}

Locate = Callable[[str], str]
"""The canonical form of a path. Raises ``InvalidPathError``, ``PathOutsideWorkspaceError``."""


class Grants:
    """The tool calls somebody allowed, while they and their turn last."""

    def __init__(self) -> None:
        self._paths: dict[str, frozenset[str]] = {}

    def open(self, tool_call_id: str, paths: Iterable[str]) -> None:
        """Allow writes for that call; without paths, anywhere inside the roots."""
        self._paths[tool_call_id] = frozenset(paths)

    def close(self, tool_call_id: str) -> None:
        """The call is completed or failed."""
        self._paths.pop(tool_call_id, None)

    def clear(self) -> None:
        """The turn is over."""
        self._paths.clear()

    def cover(self, path: str) -> bool:
        """Whether an open grant allows a write to the canonical ``path``."""
        return any(not paths or path in paths for paths in self._paths.values())

    def __bool__(self) -> bool:
        return bool(self._paths)


def judge(mode: PermissionMode, kind: str, inside: bool) -> PermissionDecision:
    """The decision on a permission request; ``PENDING`` means that somebody has to be asked.

    :param kind: the tool kind, or blank.
    :param inside: whether all its locations are inside the roots.
    """
    if not inside:
        return PermissionDecision.REJECT_ONCE
    for_reads, for_others = PERMISSION_REQUESTS[mode]
    return for_reads if kind == "read" else for_others


def authorize_file_call(
    mode: PermissionMode,
    method: str,
    path: str,
    locate: Locate,
    grants: Grants,
    network_turn: bool,
) -> None:
    """Let a file call of the agent pass, or raise.

    :raises ToolBlockedForNetworkTurnError: a write in a turn that came over the network.
    :raises PermissionDeniedError: the mode refuses it and no grant covers it.
    :raises InvalidPathError: the path is blank or holds a NUL byte.
    :raises PathOutsideWorkspaceError: it names a place outside the session's directories.
    """
    if method == WRITE_FILE and network_turn:
        raise ToolBlockedForNetworkTurnError(f"{method} is not allowed in a network turn")
    allowed = method in FILE_CALLS[mode]
    if not allowed and not (method == WRITE_FILE and grants):
        raise _denied(mode, method)
    located = locate(path)
    if not allowed and not grants.cover(located):
        raise _denied(mode, method)


def authorize_terminal(mode: PermissionMode, grants: Grants) -> None:
    """Let the agent start a terminal of ours, or raise.

    :raises PermissionDeniedError: the mode refuses it and nothing was allowed to a tool call.
    """
    if mode is not PermissionMode.APPROVE_ALL and not grants:
        raise _denied(mode, TERMINAL_CREATE)


def _denied(mode: PermissionMode, method: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"{method} is not allowed in mode {mode}", operation=method, mode=str(mode)
    )
