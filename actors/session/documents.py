"""A session's directory apart from its journals: its meta document, and whether it is there.

A Protocol, so that a simulation keeps them on its own disk; every call does file work and waits.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from ...storage.atomic_file import write_atomically
from ...storage.meta import read_meta, write_meta
from ..core.crash_bundle import CRASH_BUNDLE_MODE
from ..errors import StorageError
from ..model.session import SessionMeta

PRIVATE = 0o700


class Documents(Protocol):
    """The files of sessions that are no journals."""

    def read_meta(self, path: Path) -> SessionMeta:
        """The document at ``path``; raises as :func:`greenroom.storage.meta.read_meta`."""

    def write_meta(self, path: Path, meta: SessionMeta) -> None:
        """Replace the document at ``path``, durably and as a whole."""

    def write_bundle(self, path: Path, data: bytes) -> None:
        """Keep a crash bundle, for its owner's eyes; raises ``StorageError``."""

    def read_bundle(self, path: Path) -> bytes:
        """A crash bundle; raises ``StorageError``."""

    def is_directory(self, path: Path) -> bool:
        """Whether a session has a directory."""

    def remove_tree(self, path: Path) -> None:
        """Remove a session's directory and all in it; a missing one is no error."""


class OsDocuments:
    """The files of the operating system."""

    def read_meta(self, path: Path) -> SessionMeta:
        """See :meth:`Documents.read_meta`."""
        return read_meta(path)

    def write_meta(self, path: Path, meta: SessionMeta) -> None:
        """See :meth:`Documents.write_meta`."""
        write_meta(path, meta)

    def write_bundle(self, path: Path, data: bytes) -> None:
        """See :meth:`Documents.write_bundle`."""
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.parent.parent.chmod(PRIVATE)
                path.parent.chmod(PRIVATE)
        except OSError as error:
            raise StorageError(f"write {path}: {error.strerror}", path=str(path)) from error
        write_atomically(path, data, mode=CRASH_BUNDLE_MODE)

    def read_bundle(self, path: Path) -> bytes:
        """See :meth:`Documents.read_bundle`."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise StorageError(f"read {path}: {error.strerror}", path=str(path)) from error

    def is_directory(self, path: Path) -> bool:
        """See :meth:`Documents.is_directory`."""
        return path.is_dir()

    def remove_tree(self, path: Path) -> None:
        """See :meth:`Documents.remove_tree`."""
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return
