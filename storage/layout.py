"""Where everything of a home lies.

::

    <home>/runtime.lock
    <home>/wal/0000000000000001.log
    <home>/catalog.journal
    <home>/logs/
    <home>/sessions/<id>/events.journal, state.journal, meta.json
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

EVENTS, STATE, CATALOG = "events", "state", "catalog"
"""Kinds of journals; the last part of a stream's name."""
LOG = "log"
"""Kind of a segment of the commit log."""

_SEGMENT = re.compile(r"^(\d{16})\.log$")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one home."""

    home: Path

    @property
    def lock(self) -> Path:
        """The file whose lock says that a runtime owns the home."""
        return self.home / "runtime.lock"

    @property
    def sessions(self) -> str:
        """The directory with one directory per session."""
        return str(self.home / "sessions")

    @property
    def wal(self) -> str:
        """The directory of the commit log."""
        return str(self.home / "wal")

    @property
    def logs(self) -> str:
        """The directory for the programs' own logs."""
        return str(self.home / "logs")

    def session(self, session_id: str) -> str:
        """The directory of one session."""
        return f"{self.sessions}/{session_id}"

    def journal(self, session_id: str, kind: str) -> str:
        """A journal of one session."""
        return f"{self.sessions}/{session_id}/{kind}.journal"

    def meta(self, session_id: str) -> str:
        """The meta document of one session."""
        return f"{self.sessions}/{session_id}/meta.json"

    def segment(self, number: int) -> str:
        """A segment of the commit log."""
        return f"{self.wal}/{number:016d}.log"

    def directory_of(self, stream: str) -> str:
        """The directory that must exist for a stream's journal to be written."""
        session_id, _, _ = stream.rpartition("/")
        return self.session(session_id) if session_id else str(self.home)

    def stream_path(self, stream: str) -> str:
        """The journal that a stream of the commit log feeds."""
        session_id, _, kind = stream.rpartition("/")
        return f"{self.directory_of(stream)}/{kind}.journal" if session_id else str(
            self.home / f"{kind}.journal"
        )


def stream_name(session_id: str, kind: str) -> str:
    """The name in the commit log of one journal of a session."""
    return f"{session_id}/{kind}"


def stream_owner(stream: str) -> tuple[str, str]:
    """Kind and name in the header of the journal that a stream feeds."""
    session_id, _, kind = stream.rpartition("/")
    return kind, session_id


def segment_numbers(names: list[str]) -> list[int]:
    """The numbers of the segments among the names of a directory, ascending."""
    return sorted(int(found[1]) for name in names if (found := _SEGMENT.match(name)))
