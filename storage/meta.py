"""``meta.json``: what is known about a session without opening its store (01 3.1, 3.3).

Rules owned here: the document is checked on every read and every write; unknown members are
ignored and lost on a rewrite; a missing, ``null`` or empty optional member reads as empty and
is not written; a session type nobody knows reads as ``user`` (01 2.2), a state nobody knows is
kept as it is; a record without lineage is its own root (05 1.7).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from ..actors.errors import SessionNotFoundError, StorageError, StoreValidationError
from ..actors.model.session import (
    SessionLineage,
    SessionLivenessMeta,
    SessionMeta,
    SessionType,
    State,
)
from .atomic_file import write_atomically
from .files import FileSystem, OsFileSystem

META_MODE = 0o644
META_BYTES_MAX = 1 << 20
"""No document of ours comes near; more is not read into memory."""

_REQUIRED = ("id", "agent_name", "workspace_id", "state", "created_at", "updated_at")
_TIMES: Mapping[str, tuple[str, ...]] = {
    "": ("created_at", "updated_at"),
    "liveness": ("subprocess_started_at", "last_update_at"),
}
_PATH_IN_MESSAGE = re.compile(r"at `\$\.(?P<path>[^`]+)`$")
_MISSING_IN_MESSAGE = re.compile(r"missing required field `(?P<name>\w+)`")


def read_meta(path: Path, fs: FileSystem | None = None) -> SessionMeta:
    """The document at ``path``.

    :raises SessionNotFoundError: there is no such file.
    :raises StoreValidationError: it is no valid meta document. Field: ``field`` (dotted; blank
        when the file is no JSON object at all).
    :raises StorageError: it can not be read.
    """
    try:
        file = (fs or OsFileSystem()).open_read(str(path))
        try:
            data = file.read(0, META_BYTES_MAX + 1)
        finally:
            file.close()
    except (FileNotFoundError, NotADirectoryError) as error:
        session_id = path.parent.name
        raise SessionNotFoundError(
            f'read meta: session "{session_id}" not found',
            session_id=session_id,
            operation="read meta",
        ) from error
    except OSError as error:
        raise StorageError(
            f"read meta {path}: {error.strerror or error}", path=str(path), operation="read meta"
        ) from error
    return decode_meta(data, path.parent.name)


def write_meta(path: Path, meta: SessionMeta, fs: FileSystem | None = None) -> None:
    """Replace the document at ``path``, durably and as a whole; parents are made (0755).

    :raises StoreValidationError: the document is not valid; nothing was written.
    :raises StorageError: the file system refused.
    """
    write_atomically(path, encode_meta(meta), mode=META_MODE, fs=fs)


def encode_meta(meta: SessionMeta) -> bytes:
    """The document as indented JSON with a newline at its end, empty members left out.

    :raises StoreValidationError: see :func:`read_meta`.
    """
    document: dict[str, Any] = msgspec.to_builtins(_in_utc(_checked(meta)))
    liveness = document["liveness"]
    if liveness is not None and liveness["subprocess_pid"] == 0:
        del liveness["subprocess_pid"]
    try:
        text = msgspec.json.encode(_without_empty(document))
    except UnicodeEncodeError as error:
        raise _invalid(meta.id, "", str(error)) from error
    return msgspec.json.format(text, indent=2) + b"\n"


def decode_meta(data: bytes, session_id: str = "") -> SessionMeta:
    """The document in ``data``.

    :param session_id: whose it is, for messages.
    :raises StoreValidationError: see :func:`read_meta`.
    """
    if len(data) > META_BYTES_MAX:
        raise _invalid(session_id, "", f"longer than {META_BYTES_MAX} bytes")
    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(session_id, "", str(error)) from error
    document = _without_empty(document)
    state = document.get("state")
    if not isinstance(state, str) or not state.strip():
        raise _invalid(session_id, "state", "required")
    kind = document.get("session_type", "")
    known = {member.value for member in SessionType}
    kind = kind.strip() if isinstance(kind, str) else ""
    document["session_type"] = kind if kind in known else SessionType.USER.value
    document["state"] = State.STOPPED.value
    try:
        meta = msgspec.convert(document, type=SessionMeta)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _invalid(session_id, _field_of(str(error)), str(error)) from error
    known_state = state in set(State)
    meta = dataclasses.replace(meta, state=State(state) if known_state else cast(State, state))
    return _in_utc(_checked(meta))


def _without_empty(document: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in document.items():
        inner = _without_empty(value) if isinstance(value, dict) else value
        if inner is not None and inner != "" and inner != {}:
            kept[name] = inner
    return kept


def _checked(meta: SessionMeta) -> SessionMeta:
    for name in _REQUIRED:
        value = getattr(meta, name)
        if isinstance(value, str) and not value.strip():
            raise _invalid(meta.id, name, "required")
    if meta.liveness is not None:
        _check_liveness(meta.id, meta.liveness)
    lineage = meta.lineage or SessionLineage()
    if not lineage.parent_session_id and not lineage.root_session_id:
        lineage = dataclasses.replace(lineage, root_session_id=meta.id)
    _check_lineage(meta.id, lineage)
    return dataclasses.replace(meta, lineage=lineage)


def _check_liveness(session_id: str, liveness: SessionLivenessMeta) -> None:
    """01 3.2."""
    if liveness.subprocess_pid < 0:
        raise _invalid(session_id, "liveness.subprocess_pid", "negative")
    if bool(liveness.stall_state) != bool(liveness.stall_reason):
        missing = "stall_reason" if liveness.stall_state else "stall_state"
        raise _invalid(session_id, f"liveness.{missing}", "state and reason come together")


def _check_lineage(session_id: str, lineage: SessionLineage) -> None:
    """05 1.7: the rows that hold for a stored record."""
    depth, root, parent = lineage.spawn_depth, lineage.root_session_id, lineage.parent_session_id
    if depth < 0:
        raise _invalid(session_id, "lineage.spawn_depth", "negative")
    if not parent and (depth != 0 or root != session_id):
        wrong = "spawn_depth" if depth != 0 else "root_session_id"
        raise _invalid(session_id, f"lineage.{wrong}", "a root has depth 0 and itself as root")
    if parent and (depth == 0 or not root or session_id in (parent, root)):
        wrong = "spawn_depth" if depth == 0 else "root_session_id"
        raise _invalid(session_id, f"lineage.{wrong}", "a child has a depth and another root")


def _in_utc(meta: SessionMeta) -> SessionMeta:
    changed: dict[str, Any] = {
        name: _utc(meta.id, name, getattr(meta, name)) for name in _TIMES[""]
    }
    liveness = meta.liveness
    if liveness is not None:
        inner: dict[str, Any] = {
            name: _utc(meta.id, f"liveness.{name}", value)
            for name in _TIMES["liveness"]
            if (value := getattr(liveness, name)) is not None
        }
        liveness = dataclasses.replace(liveness, **inner)
    return dataclasses.replace(meta, liveness=liveness, **changed)


def _utc(session_id: str, name: str, value: datetime) -> datetime:
    if value.tzinfo is None:
        raise _invalid(session_id, name, "a time without a zone")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise _invalid(session_id, name, "out of range") from error


def _field_of(message: str) -> str:
    found = _PATH_IN_MESSAGE.search(message)
    path = found["path"] if found else ""
    missing = _MISSING_IN_MESSAGE.search(message)
    return ".".join(part for part in (path, missing["name"] if missing else "") if part)


def _invalid(session_id: str, field: str, reason: str) -> StoreValidationError:
    what = f"{field}: {reason}" if field else reason
    return StoreValidationError(
        f'meta of session "{session_id}": {what}',
        session_id=session_id,
        operation="meta",
        field=field,
    )
