"""Making the directories of a home, and passing from one segment of its log to the next."""

from __future__ import annotations

from ..actors.errors import StorageError
from .failpoints import FailPoint, reach
from .files import FileSystem
from .journal import Journal, open_journal
from .layout import LOG, Layout


def make_directories(fs: FileSystem, layout: Layout) -> None:
    """Make what is missing of a home, and close all of it to others (mode 0700).

    :raises StorageError: a directory can not be made.
    """
    try:
        made = [
            fs.make_directory(path)
            for path in (str(layout.home), layout.sessions, layout.wal, layout.logs)
        ]
        if any(made):
            fs.sync_directory(str(layout.home))
    except OSError as error:
        raise StorageError(
            f"make {layout.home}: {error}", operation="open", path=str(layout.home)
        ) from error


def next_segment(
    fs: FileSystem, layout: Layout, segments: list[int], *, keep: bool
) -> tuple[Journal, list[int]]:
    """Begin a new segment, then remove the others unless they are still needed.

    :param segments: numbers of the present segments, ascending.
    :param keep: whether some journal still lacks records of theirs.
    :returns: the new segment, and the numbers of all that exist now.
    """
    number = segments[-1] + 1 if segments else 1
    segment = open_journal(
        fs, layout.segment(number), kind=LOG, name="", replay=lambda offset, payload: None
    )
    reach(FailPoint.SEGMENT_CREATED)
    if keep:
        return segment, [*segments, number]
    for old in segments:
        fs.remove(layout.segment(old))
    fs.sync_directory(layout.wal)
    reach(FailPoint.SEGMENT_RETIRED)
    return segment, [number]
