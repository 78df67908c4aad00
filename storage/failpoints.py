"""Named crash points: where a test stops the process, or makes a step fail.

In production :func:`reach` finds nothing armed and returns. A test arms a point with a callable
that kills the process or raises; it must disarm it again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class FailPoint(StrEnum):
    """Every point at which a crash leaves the files in a state of its own."""

    JOURNAL_CREATED = "journal.created"
    """A new journal has its header."""
    TAIL_CUT = "journal.tail_cut"
    """A torn tail was cut off."""
    LOG_WRITE = "log.write"
    """A commit is about to be written."""
    LOG_WRITTEN = "log.written"
    """A commit was written and not yet synced or acknowledged."""
    LOG_SYNCED = "log.synced"
    """A commit was synced and not yet acknowledged."""
    MATERIALISE = "materialise"
    """A journal is about to take over committed records."""
    MATERIALISED = "materialised"
    """A journal has taken over committed records."""
    REPLAYED = "replay.done"
    """The log's tail is in the journals, and these are synced."""
    SEGMENT_CREATED = "log.segment_created"
    """The next segment exists, the last one still does."""
    QUARANTINED = "quarantined"
    """Damaged bytes were copied, and are still in their file."""
    CHECKPOINT = "checkpoint"
    """The journals are synced, the segments that fed them still exist."""
    SEAL = "seal"
    """A grown events.journal is synced and about to be sealed."""
    SEAL_PREPARED = "seal.prepared"
    """The file that follows the sealed one is there, under a name of its own."""
    SEALED = "seal.renamed"
    """The sealed file has its name; no file has that of the open one."""
    SEAL_ENDED = "seal.ended"
    """The following file has the name of the open one."""
    COMPACTION = "compaction"
    """A new file of tables was begun beside the one that counts."""
    COMPACTION_COPIED = "compaction.copied"
    """It holds the snapshot, not on the medium."""
    COMPACTION_SYNCED = "compaction.synced"
    """It is whole and on the medium, and has not the name of the one that counts."""
    COMPACTION_RENAMED = "compaction.renamed"
    """It has the name, which is not on the medium."""
    COMPACTION_ENDED = "compaction.ended"
    """It counts."""
    SEGMENT_RETIRED = "log.segment_retired"
    """The last segment is gone."""
    CLEAR_PARTS = "clear.parts"
    """The sealed parts of a conversation are set aside, its open file is not."""
    CLEAR_BACKED_UP = "clear.backed_up"
    """The whole conversation is set aside, nothing has its name."""
    CLEAR_OPENED = "clear.opened"
    """The new conversation is activated, and not yet the one that counts."""
    CLEAR_COMMITTED = "clear.committed"
    """The new conversation counts, the old one is still set aside."""
    CLEAR_BACKUPS_GONE = "clear.backups_gone"
    """The old conversation is gone, the marker still there."""
    CLEAR_RESTORING = "clear.restoring"
    """The open file of the old conversation is back, its sealed parts are not."""


_armed: dict[FailPoint, Callable[[], None]] = {}


def arm(point: FailPoint, act: Callable[[], None]) -> None:
    """Have ``act`` called whenever ``point`` is reached."""
    _armed[point] = act


def disarm() -> None:
    """Forget everything that was armed."""
    _armed.clear()


def reach(point: FailPoint) -> None:
    """Pass a point: nothing happens unless it is armed."""
    if _armed:
        act = _armed.get(point)
        if act is not None:
            act()
