"""Conversations of the demo agent, kept as one small JSON file each, so that load survives a kill.

A file is replaced whole (temporary file, rename): a kill leaves the old one or the new one.
"""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .wire import NOT_FOUND, RPCError

STATE_VARIABLE = "GREENROOM_DEMO_STATE"
ENTRIES_MAX = 400
"""Newest entries kept of a conversation."""
TEXT_CHARS_MAX = 20_000
"""Kept of one entry's text."""

_SESSION_ID = re.compile(r"demo-[0-9a-f]{16}")


@dataclass
class Conversation:
    """One session.

    ``entries`` are ``(role, text)`` with the roles ``user``, ``agent`` and ``tool`` (its title);
    ``standing`` is the permission given or refused for good: ``always``, ``never`` or blank.
    """

    session_id: str
    cwd: str
    mode: str = "ask"
    standing: str = ""
    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, role: str, text: str) -> None:
        """Append an entry; text that goes on in the same role joins the last one."""
        if role == "agent" and self.entries and self.entries[-1][0] == role:
            text = self.entries.pop()[1] + text
        self.entries.append((role, text[:TEXT_CHARS_MAX]))
        del self.entries[:-ENTRIES_MAX]

    @property
    def turns(self) -> int:
        """How many prompts are remembered."""
        return sum(role == "user" for role, _ in self.entries)


class Memory:
    """The directory of conversations.

    :param directory: made with mode 0700 if missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def create(self, cwd: str) -> Conversation:
        """A new conversation, stored."""
        conversation = Conversation(f"demo-{os.urandom(8).hex()}", cwd)
        self.save(conversation)
        return conversation

    def save(self, conversation: Conversation) -> None:
        """Replace the stored form."""
        path = self._path(conversation.session_id)
        body = {name: getattr(conversation, name) for name in Conversation.__dataclass_fields__}
        body["entries"] = list(conversation.entries)
        fresh = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        fresh.write_text(json.dumps(body), encoding="utf-8")
        os.replace(fresh, path)

    def load(self, session_id: str) -> Conversation:
        """The stored conversation.

        :raises RPCError: -32002, there is none of that id.
        """
        try:
            body: dict[str, Any] = json.loads(self._path(session_id).read_text(encoding="utf-8"))
            body["entries"] = [(str(role), str(text)) for role, text in body["entries"]]
            return Conversation(**body)
        except (OSError, ValueError, TypeError, KeyError):
            raise unknown(session_id) from None

    def _path(self, session_id: str) -> Path:
        if not _SESSION_ID.fullmatch(session_id):
            raise unknown(session_id)
        return self.directory / f"{session_id}.json"


def unknown(session_id: str) -> RPCError:
    """The error for a session nobody knows."""
    return RPCError(NOT_FOUND, f"Resource not found: {session_id}", {"sessionId": session_id})


def open_memory() -> Memory:
    """The directory named by the environment, else a private one under the temporary directory."""
    named = os.environ.get(STATE_VARIABLE)
    if named:
        directory = Path(named)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Memory(directory)
    import tempfile  # costs a tenth of the start-up, and only this branch needs it

    directory = Path(tempfile.gettempdir()) / f"greenroom-demo-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        # Somebody else was there first: in a shared directory that is an attack, not an accident.
        directory = Path(tempfile.mkdtemp(prefix="greenroom-demo-"))
    else:
        directory.chmod(0o700)
    return Memory(directory)
