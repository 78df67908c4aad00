"""Workspaces: a directory, its canonical path, and an id that stays (06 7.3)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tinydb import where

from ...storage.table_storage import JournalStorage, Sync
from ...storage.tables import JournalDB
from ..errors import SessionValueError, WorkspaceNotFoundError, WorkspaceRootMissingError

WORKSPACES_TABLE = "workspaces"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A registered directory."""

    id: str
    root: str


class DirectoryWorkspaces:
    """Keeps the directories sessions ran in, in ``catalog.journal``.

    :param path: the catalog file. All methods do file work: run them off the hub.
    """

    def __init__(self, path: Path) -> None:
        self._db = JournalDB(path, sync=Sync.NONE)
        self._table = self._db.table(WORKSPACES_TABLE)

    @property
    def storage(self) -> JournalStorage:
        """The catalog, for what else is kept in it."""
        storage: JournalStorage = self._db.storage  # type: ignore[assignment]
        return storage

    def roots(self) -> dict[str, str]:
        """The directories of all workspaces, by id; whether they exist is not checked."""
        return {str(found["id"]): str(found["root"]) for found in self._table.all()}

    def resolve_or_register(self, path: str | os.PathLike[str]) -> Workspace:
        """The workspace of a directory; registers it when it is new.

        :raises SessionValueError: blank, or holding a NUL byte.
        :raises WorkspaceRootMissingError: no such directory.
        """
        given = os.fspath(path)
        if not given.strip() or "\0" in given:
            raise SessionValueError("workspace path is required")
        root = os.path.realpath(os.path.expanduser(given))
        self._check(root, given)
        workspace = Workspace("ws-" + hashlib.sha256(root.encode()).hexdigest()[:16], root)
        if not self._table.contains(where("id") == workspace.id):
            self._table.insert({"id": workspace.id, "root": root})
            self._db.sync()
        return workspace

    def resolve(self, reference: str) -> Workspace:
        """A registered workspace, by id or by absolute path.

        :raises WorkspaceNotFoundError: not registered.
        :raises WorkspaceRootMissingError: registered, but the directory is gone.
        """
        if os.path.isabs(reference):
            return self.resolve_or_register(reference)
        found = self._table.get(where("id") == reference.strip())
        if found is None:
            raise WorkspaceNotFoundError(
                f'workspace "{reference}" is not known', workspace=reference
            )
        root = str(found["root"])
        self._check(root, root)
        return Workspace(str(found["id"]), root)

    def root_of(self, workspace_id: str) -> str:
        """The directory of a workspace, blank when unknown; whether it exists is not checked."""
        found = self._table.get(where("id") == workspace_id)
        return "" if found is None else str(found["root"])

    def close(self) -> None:
        """Close the catalog."""
        self._db.close()

    @staticmethod
    def _check(root: str, given: str) -> None:
        if not os.path.isdir(root):
            raise WorkspaceRootMissingError(
                f'workspace "{given}" is not a directory; create it or name another one',
                path=given,
            )
