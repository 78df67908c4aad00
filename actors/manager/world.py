"""What a runtime is built on, in one place, so that a simulation can replace exactly that.

Time, files, threads, sockets and randomness: :class:`World` is the real one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Protocol, TypeVar

import zmq

from ...storage.catalog import CATALOG_FILE, SessionCatalog
from ...storage.home import HomeStore
from ...transport.bus.endpoints import Endpoints
from ...transport.bus.publisher import Publisher, PublisherMetrics, Remote
from ..runtime.clock import GeventClock, Timekeeper
from ..runtime.future import GreenFuture
from ..runtime.hub import Hub
from ..runtime.native import NativeWorker
from ..session.documents import Documents, OsDocuments
from ..session.ports import Observer
from .options import ManagerOptions
from .process_probe import process_alive
from .workspaces import DirectoryWorkspaces, Workspace

T = TypeVar("T")


class FileWorker(Protocol):
    """Runs blocking file work outside of the hub."""

    def submit(self, fn: Callable[..., T], *args: Any) -> GreenFuture[T]:
        """Have ``fn(*args)`` called; its result or exception is the future's."""

    def close(self, timeout: float | None = None) -> bool:
        """Finish what was accepted; whether all has ended."""


class RowPublisher(Protocol):
    """Where stored rows go out to subscribers."""

    @property
    def endpoints(self) -> Endpoints:
        """Where subscribers find it."""

    def open(self) -> object:
        """Begin to serve."""

    def publish(self, session_id: str, rows: Sequence[bytes]) -> None:
        """Send encoded rows of a session; never blocks, never raises."""

    def listen(self, remote: Remote, context: zmq.Context[Any]) -> Endpoints:
        """Be reached by other machines too."""

    def drop_remote(self) -> None:
        """Disconnect everybody from other machines."""

    def unlisten(self) -> None:
        """Be reached by the local addresses only."""

    def metrics(self) -> PublisherMetrics:
        """A snapshot of its counters."""

    def close(self) -> None:
        """Send what is left and end."""


class Workspaces(Protocol):
    """The directories that sessions work in; all methods do file work."""

    def resolve_or_register(self, path: str | PathLike[str]) -> Workspace:
        """The workspace of a directory."""

    def resolve(self, reference: str) -> Workspace:
        """A registered workspace, by id or by absolute path."""

    def root_of(self, workspace_id: str) -> str:
        """The directory of a workspace, blank when unknown."""

    def roots(self) -> dict[str, str]:
        """The directories of all workspaces, by id."""

    def close(self) -> None:
        """Close the catalog."""


class World:
    """The real world."""

    documents: Documents = OsDocuments()
    observer: Observer | None = None
    """Told of every step of every session."""

    def clock(self, hub: Hub) -> Timekeeper:
        """The time of the runtime and its sessions."""
        return GeventClock(hub)

    def home(self, options: ManagerOptions, hub: Hub) -> HomeStore:
        """The store of the home, opened."""
        return HomeStore.open(
            options.home,
            post=hub.post,
            durability=options.durability,
            sync_interval=options.sync_interval,
            fs=options.file_system,
        )

    def worker(self) -> FileWorker:
        """Where blocking file work runs."""
        return NativeWorker("greenroom-files")

    def workspaces(self, options: ManagerOptions) -> Workspaces:
        """The known workspaces."""
        return DirectoryWorkspaces(options.home / CATALOG_FILE)

    def catalog(self, options: ManagerOptions, workspaces: Workspaces) -> SessionCatalog | None:
        """The sessions of the home at a glance; it shares its file with the workspaces."""
        if not isinstance(workspaces, DirectoryWorkspaces):
            return None
        return SessionCatalog(workspaces.storage, options.home / "sessions")

    def publisher(self, options: ManagerOptions, home: HomeStore) -> RowPublisher:
        """The bus, not open yet."""
        return Publisher(options.home, source=home, logger=options.logger)

    def id_seed(self) -> str:
        """What the ids of one incarnation of a session are made of."""
        return secrets.token_hex(16)

    def process_alive(self, pid: int) -> bool:
        """Whether a process of that id runs (01 17)."""
        return process_alive(pid)
