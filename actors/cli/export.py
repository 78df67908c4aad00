"""``greenroom export``: one session as values that other programs read, or as its own files.

===========  ===================================================================================
``jsonl``    one JSON value a line: the session, its rows in order, then what is kept beside them
``cbor``     the same values as a CBOR sequence (RFC 8742)
``archive``  a tar.gz of the session's directory, byte for byte, and ``MANIFEST.json`` with the
             length and SHA-256 of each file; put under ``sessions/`` of a home, it is a session
===========  ===================================================================================

Rows are read in pages, so memory does not grow with the history. A file appears under its name
only when it is complete.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cbor2
import click
import msgspec

from ..errors import SessionError, SessionNotActiveError, StorageError
from ..manager.options import default_home
from ..model.event import SessionEvent
from ..model.session import SessionInfo, State
from .connection import Manager, any_manager
from .failures import USAGE, OneLine
from .rendering import event_document
from .tail import row_document

VERSION = 1
"""Of the values; written with the first one."""
PAGE_ROWS = 500
"""Rows held in memory at a time."""

Write = Callable[[dict[str, object]], None]


def export(*, home: Path | None, session_id: str, form: str, output: Path | None) -> None:
    """Write a session to a file or standard output; the count of rows shows on stderr.

    :raises SessionNotFoundError: no such session.
    :raises SessionNotActiveError: an archive of a session that runs.
    :raises StorageError: it can not be read, or the file not written.
    """
    if form != "jsonl" and output is None and sys.stdout.isatty():
        raise OneLine(f"{form} is not text: name a file with --output", USAGE)
    with any_manager(home) as manager:
        info = manager.status(session_id)
        with _target(output) as target:
            if form == "archive":
                _archive(info, Path((home or default_home()) / "sessions" / info.id), target)
            else:
                _values(manager, info, _writer(form, target))


@contextmanager
def _target(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that gets its name at the end."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, output)
    except OSError as error:
        raise StorageError(
            f"write {output}: {error.strerror or error}", operation="export", path=str(output)
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _writer(form: str, target: BinaryIO) -> Write:
    def json_line(value: dict[str, object]) -> None:
        target.write(msgspec.json.encode(value) + b"\n")

    def cbor_item(value: dict[str, object]) -> None:
        target.write(cbor2.dumps(msgspec.to_builtins(value, str_keys=True)))

    return json_line if form == "jsonl" else cbor_item


def _values(manager: Manager, info: SessionInfo, write: Write) -> None:
    last = manager.events(info.id, limit=1)
    total = last[-1].sequence if last else 0
    write({"type": "session", "version": VERSION, "rows": total, "session": info})
    for number, row in enumerate(_rows(manager, info.id, total), 1):
        row_type, event = row.type, event_document(row.event)
        write({**row_document(row), "type": "event", "event_type": row_type, "event": event})
        if number % PAGE_ROWS == 0 or number == total:
            _progress(number, total)
    usage = manager.usage(info.id)
    for turn in usage.turns:
        write({"type": "usage", "usage": turn})
    if usage.stats is not None:
        write({"type": "statistics", "statistics": usage.stats})
    for record in manager.permission_log(info.id):
        write({"type": "permission", "permission": record})
    for run in manager.hook_runs(info.id):
        write({"type": "hook_run", "hook_run": run})


def _rows(manager: Manager, session_id: str, total: int) -> Iterator[SessionEvent]:
    """The rows up to the last one there was when it began, page by page."""
    at, epoch = 0, 0
    while at < total:
        page = manager.events(
            session_id, after_sequence=at, limit=min(PAGE_ROWS, total - at), order="head"
        )
        if not page or page[0].sequence != at + 1 or page[0].epoch < epoch:
            raise SessionError(
                f'export: the conversation of "{session_id}" was cleared meanwhile',
                session_id=session_id,
                operation="export",
            )
        yield from page
        at, epoch = page[-1].sequence, page[-1].epoch


def _archive(info: SessionInfo, directory: Path, target: BinaryIO) -> None:
    if info.state is not State.STOPPED:
        raise SessionNotActiveError(
            f'export: "{info.id}" runs, its files are in motion: stop it first, or use '
            "--format jsonl",
            session_id=info.id,
            operation="export",
            state=info.state,
        )
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    manifest: dict[str, object] = {}
    with tarfile.open(fileobj=target, mode="w|gz") as archive:
        for number, path in enumerate(paths, 1):
            name = f"{info.id}/{path.relative_to(directory)}"
            manifest[name] = _add(archive, path, name)
            _progress(number, len(paths), "files")
        listed = msgspec.json.encode({"version": VERSION, "session_id": info.id, "files": manifest})
        member = tarfile.TarInfo("MANIFEST.json")
        member.size, member.mode = len(listed), 0o600
        archive.addfile(member, io.BytesIO(listed))


class _Hashing:
    """A file that is read once, its hash known afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sum.update(data)
        return data


def _add(archive: tarfile.TarFile, path: Path, name: str) -> dict[str, object]:
    with path.open("rb") as file:
        member = archive.gettarinfo(arcname=name, fileobj=file)
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        hashing = _Hashing(file)
        archive.addfile(member, hashing)
    return {"bytes": member.size, "sha256": hashing.sum.hexdigest()}


def _progress(count: int, total: int, what: str = "rows") -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{count} of {total} {what}", nl=count == total, err=True)
    elif count == total:
        click.echo(f"{total} {what}", err=True)
