"""Ids: their prefixes and the check that keeps a caller's id inside the sessions directory."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import SessionNotFoundError, SessionValueError

IDGenerator = Callable[[], str]
"""Makes one new id; a blank result is refused by the caller (01 2.1)."""

SESSION_PREFIX = "sess"
TURN_PREFIX = "turn"
QUEUE_ENTRY_PREFIX = "inq"
PERMISSION_PREFIX = "perm"
EVENT_PREFIX = "ev"

ID_BYTES_MAX = 200
"""Longest id accepted: what every file system takes as one name, with room to spare."""

_DRIVE = re.compile(r"^[A-Za-z]:")


def normalize_stored_session_id(session_id: str, operation: str = "read") -> str:
    """Trim an id that will name a directory, and refuse what is no single safe segment.

    The file system is not touched. Rule: spec 01 2.1.

    :raises SessionValueError: not a string, or blank.
    :raises SessionNotFoundError: a path, a drive, a control character, or too long.
    """
    if not isinstance(session_id, str):
        raise SessionValueError(f"{operation}: session id must be a string", operation=operation)
    trimmed = session_id.strip()
    if not trimmed:
        raise SessionValueError(f"{operation}: session id is required", operation=operation)
    unsafe = (
        trimmed in (".", "..")
        or "/" in trimmed
        or "\\" in trimmed
        or _DRIVE.match(trimmed) is not None
        or not trimmed.isprintable()
        or len(trimmed.encode("utf-8", "surrogatepass")) > ID_BYTES_MAX
    )
    if unsafe:
        raise SessionNotFoundError(
            f'{operation}: session "{trimmed}" not found', session_id=trimmed, operation=operation
        )
    return trimmed
