"""The files of a clear: the conversation is set aside, replaced, and dropped or brought back.

A crash at any step leaves the old conversation or the new one, never a mix (03 12.1). Rules
owned here:

- ``events.journal`` is set aside last and comes back first of its files: while its backup is
  there, everything under a name of its own belongs to the new conversation.
- ``meta.json`` is copied beside them: an old conversation comes back with the document it had.
- The marker is the commit: with it the backups go, without it they come back.

===========  ======  ===============================================================
backups      marker  :func:`finish_clear`
===========  ======  ===============================================================
none         no      nothing
none         yes     the marker goes
some         yes     the backups go, then the marker: the new conversation stays
some         no      new files go, the backups get their names back: the old one stays
===========  ======  ===============================================================
"""

from __future__ import annotations

import re
from enum import StrEnum

from ..actors.errors import StorageError
from .failpoints import FailPoint, reach
from .files import FileSystem
from .layout import EVENTS

JOURNAL = f"{EVENTS}.journal"
META = "meta.json"
BACKUP = ".clear-backup"
MARKER = f"{JOURNAL}.clear-committed"
MARKER_TEXT = b"committed\n"

_CONVERSATION = re.compile(rf"^{re.escape(JOURNAL)}(\.\d+(\.idx)?|\.new)?$")


class ClearOutcome(StrEnum):
    """What :func:`finish_clear` found."""

    NONE = "none"
    OLD = "old"
    NEW = "new"


def begin_clear(fs: FileSystem, directory: str) -> None:
    """Set the conversation in a session's directory aside; nobody has it open.

    :raises StorageError: a step failed; the conversation is back, or will be after
        :func:`finish_clear`.
    """
    finish_clear(fs, directory)
    try:
        _complete_seal(fs, directory)
        _copy_meta(fs, directory)
        parts = [name for name in _conversation(fs, directory) if name != JOURNAL]
        for name in parts:
            fs.rename(f"{directory}/{name}", f"{directory}/{name}{BACKUP}")
        fs.sync_directory(directory)
        reach(FailPoint.CLEAR_PARTS)
        if fs.exists(f"{directory}/{JOURNAL}"):
            fs.rename(f"{directory}/{JOURNAL}", f"{directory}/{JOURNAL}{BACKUP}")
        fs.sync_directory(directory)
        reach(FailPoint.CLEAR_BACKED_UP)
    except OSError as error:
        failure = _failed("back up", directory, error)
        undo_clear(fs, directory)
        raise failure from error


def commit_clear(fs: FileSystem, directory: str) -> None:
    """The new conversation is on the medium and stays.

    :raises StorageError: that could not be said; :func:`undo_clear` brings the old one back.
    """
    path = f"{directory}/{MARKER}"
    try:
        file = fs.open_append(path)
        try:
            file.append(MARKER_TEXT)
            file.sync()
        finally:
            file.close()
        fs.sync_directory(directory)
    except OSError as error:
        raise _failed("commit", directory, error) from error
    reach(FailPoint.CLEAR_COMMITTED)


def undo_clear(fs: FileSystem, directory: str) -> None:
    """Bring the old conversation back over whatever is there; the new one is closed.

    :raises StorageError: a step failed; the next opening does it again.
    """
    try:
        if fs.exists(f"{directory}/{MARKER}"):
            fs.remove(f"{directory}/{MARKER}")
            fs.sync_directory(directory)
    except OSError as error:
        raise _failed("undo", directory, error) from error
    finish_clear(fs, directory)


def finish_clear(fs: FileSystem, directory: str) -> ClearOutcome:
    """End a clear that was interrupted, the way its marker says; see the table above.

    :raises StorageError: a step failed; the next opening does it again.
    """
    try:
        names = fs.names(directory)
        backups = [name for name in names if name.endswith(BACKUP)]
        if MARKER in names:
            for name in backups:
                fs.remove(f"{directory}/{name}")
            fs.sync_directory(directory)
            reach(FailPoint.CLEAR_BACKUPS_GONE)
            fs.remove(f"{directory}/{MARKER}")
            fs.sync_directory(directory)
            return ClearOutcome.NEW
        if not backups:
            return ClearOutcome.NONE
        _restore(fs, directory, names, backups)
        return ClearOutcome.OLD
    except OSError as error:
        raise _failed("finish", directory, error) from error


def has_clear(fs: FileSystem, directory: str) -> bool:
    """Whether a clear of the session in ``directory`` is under way, or was interrupted.

    :raises OSError: the directory can not be read.
    """
    return any(name.endswith(BACKUP) or name == MARKER for name in fs.names(directory))


def _restore(fs: FileSystem, directory: str, names: list[str], backups: list[str]) -> None:
    meta = f"{META}{BACKUP}"
    if f"{JOURNAL}{BACKUP}" in backups:
        for name in names:
            if _CONVERSATION.match(name):
                fs.remove(f"{directory}/{name}")
        fs.sync_directory(directory)
        if meta in backups:
            fs.rename(f"{directory}/{meta}", f"{directory}/{META}")
        fs.rename(f"{directory}/{JOURNAL}{BACKUP}", f"{directory}/{JOURNAL}")
        fs.sync_directory(directory)
        reach(FailPoint.CLEAR_RESTORING)
    elif meta in backups:
        # The document itself is only changed once the journal is set aside.
        fs.remove(f"{directory}/{meta}")
    for name in backups:
        if name not in (meta, f"{JOURNAL}{BACKUP}"):
            fs.rename(f"{directory}/{name}", f"{directory}/{name.removesuffix(BACKUP)}")
    fs.sync_directory(directory)


def _complete_seal(fs: FileSystem, directory: str) -> None:
    """A journal between the two renames of a seal gets its name; a leftover of one goes."""
    journal, following = f"{directory}/{JOURNAL}", f"{directory}/{JOURNAL}.new"
    if not fs.exists(following):
        return
    if fs.exists(journal):
        fs.remove(following)
    else:
        fs.rename(following, journal)
    fs.sync_directory(directory)


def _copy_meta(fs: FileSystem, directory: str) -> None:
    if not fs.exists(f"{directory}/{META}"):
        return
    source = fs.open_read(f"{directory}/{META}")
    try:
        data = source.read(0, source.size())
    finally:
        source.close()
    copy = fs.open_append(f"{directory}/{META}{BACKUP}")
    try:
        copy.append(data)
        copy.sync()
    finally:
        copy.close()
    fs.sync_directory(directory)


def _conversation(fs: FileSystem, directory: str) -> list[str]:
    return [name for name in fs.names(directory) if _CONVERSATION.match(name)]


def _failed(step: str, directory: str, error: OSError) -> StorageError:
    return StorageError(
        f"clear: {step} {directory}: {error.strerror or error}",
        operation="clear",
        path=directory,
    )
